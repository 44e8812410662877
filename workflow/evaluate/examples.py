"""The example slices that runs leave in ``examples.npz``, and how they are displayed.

Shared by the printed figures and the viewer of ``index.html``; it draws nothing itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput
from data_prep.io import archives
from workflow.plan.definitions import Definition, Row, Run

if TYPE_CHECKING:
    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore


Image = NDArray[np.floating]

# Ends that the scale of an error map can have, as a fraction of the slice's maximum.
ERROR_LIMITS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 1.0)


@dataclass(frozen=True)
class Example:
    """One example slice of a run, in scanner units.

    Attributes:
        subject: whose slice it is.
        slice: its number in its volume.
        target: ground truth (height, width).
        auxiliary: fully sampled auxiliary (height, width).
        zero_filled: |F^-1 k_u| (height, width).
        reconstruction: (height, width); NaN where the training diverged.
        mask: sampled positions, bool (height or 1, width).
        psnr: of the reconstruction in decibels, slice convention.
        ssim: of the reconstruction, slice convention.
        zero_filled_psnr: of the zero-filled image.
        zero_filled_ssim: of the zero-filled image.
    """

    subject: str
    slice: int
    target: Image
    auxiliary: Image
    zero_filled: Image
    reconstruction: Image
    mask: NDArray[np.bool_]
    psnr: float
    ssim: float
    zero_filled_psnr: float
    zero_filled_ssim: float

    @property
    def diverged(self) -> bool:
        """Whether there is no reconstruction to show."""
        return not bool(np.isfinite(self.reconstruction).all())

    @property
    def error(self) -> Image:
        """|reconstruction - target| as a fraction of the slice's maximum (height, width)."""
        error: Image = np.abs(self.reconstruction - self.target) / self.target.max()
        return error


def read_examples(results: Path, definition: Definition, mask: str, method: str) -> list[Example]:
    """Return a run's example slices (first seed); none where there is no run.

    Raises:
        BadInput: the file is damaged or lacks an array.
    """
    run = Run(definition.dataset, mask, method, definition.seeds[0])
    path = results / "runs" / run.path / "examples.npz"
    if not path.exists():
        return []
    absent, again = "no such file; evaluate this run again", "evaluate this run again"
    with archives.opened(path, absent, "not a complete examples file", again) as file:
        arrays = {field.name: file[field.name] for field in fields(Example)}
        if not len(arrays["slice"]):
            raise ValueError("it holds no slice")
        return [
            Example(**{name: of[index] for name, of in arrays.items()})
            for index in range(len(arrays["slice"]))
        ]


@dataclass(frozen=True)
class Block:
    """One example slice under one mask, as every method reconstructs it."""

    mask: str
    reference: Example
    columns: tuple[tuple[Row, Example | None], ...]


def read_blocks(results: Path, definition: Definition, mask: str) -> list[Block]:
    """Gather one mask's examples: for each example slice a block.

    Raises:
        BadInput: no method has an example, or methods were evaluated on different slices.
    """
    columns = [(row, read_examples(results, definition, mask, row.method)) for row in definition.rows]
    found = [(row, examples) for row, examples in columns if examples]
    if not found:
        raise BadInput(
            f"{results}/runs/{definition.dataset}/{mask}: no run has examples.npz; "
            "evaluate a method under this mask"
        )
    first, references = found[0]
    for row, examples in found:
        if len(examples) != len(references) or not all(map(_same_slice, examples, references)):
            raise BadInput(
                f"{results}/runs/{definition.dataset}/{mask}/{row.method}: examples.npz shows another "
                f"slice than {first.method}'s; evaluate both on the same test split"
            )
    return [
        Block(mask, reference, tuple((row, examples[i] if examples else None) for row, examples in columns))
        for i, reference in enumerate(references)
    ]


def _same_slice(one: Example, other: Example) -> bool:
    same = (one.subject, one.slice) == (other.subject, other.slice)
    return same and np.array_equal(one.target, other.target)


def window(target: Image) -> tuple[float, float]:
    """Return the display window of a target and all its reconstructions: 0 to its 99.7th percentile."""
    return 0.0, max(float(np.percentile(target, 99.7)), float(np.finfo(np.float32).tiny))


def error_limit(blocks: Sequence[Block]) -> float:
    """Return the one end of the error scale of a figure: two digits or fewer, rarely exceeded.

    It is the 98th percentile over the pixels of the anatomy of all methods and masks, rounded up to one of
    ``ERROR_LIMITS``, so that one zero-filled edge does not darken the rest.
    """
    pixels = [
        example.error[example.target > 0.05 * example.target.max()]
        for block in blocks
        for _, example in block.columns
        if example is not None and not example.diverged
    ]
    if not pixels:
        return ERROR_LIMITS[-1]
    high = float(np.percentile(np.concatenate(pixels), 98))
    return next((step for step in ERROR_LIMITS if high <= step), ERROR_LIMITS[-1])


def example_of(
    store: "SliceStore", acquisition: "Acquisition", position: int, image: NDArray[np.float32]
) -> dict[str, Any]:
    """Return what the figures show of one slice, scored in the slice convention."""
    from workflow.metrics.volume import slice_metrics

    measurement, _ = acquisition.fixed(store, [position])
    target, auxiliary = (values.abs().cpu().numpy() for values in store.batch([position]))
    zero_filled = (measurement.zero_filled * measurement.scale[:, None, None]).cpu().numpy()
    scores, floor = slice_metrics(target, image[None]), slice_metrics(target, zero_filled)
    return {
        "subject": store.subjects[position],
        "slice": store.slice_indices[position],
        "target": target[0],
        "auxiliary": auxiliary[0],
        "zero_filled": zero_filled[0],
        "reconstruction": image,
        "mask": measurement.mask[0].cpu().numpy(),
        "ssim": scores["ssim"][0],
        "psnr": scores["psnr"][0],
        "zero_filled_ssim": floor["ssim"][0],
        "zero_filled_psnr": floor["psnr"][0],
    }
