"""Metrics of every slice and volume of a test split."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.io.files import replacing, write_rows
from workflow.evaluate.examples import example_of
from workflow.metrics.contract import KEY_COLUMNS, STANDARD, with_standard
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from workflow.metrics.volume import Scores
    from workflow.run.model import Reconstruct


@dataclass
class Evaluation:
    """Scores and example slices of one run.

    Attributes:
        metrics: names of the metrics of each row.
        rows: of metrics.csv; slice rows of a subject, then its volume row (slice -1).
        examples: of examples.npz, one dictionary per example slice, scanner units.
        slices: number of slices reconstructed.
        seconds: of reconstruction, and of metrics.
    """

    metrics: tuple[str, ...] = STANDARD
    rows: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    slices: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"reconstruction": 0.0, "metrics": 0.0})


def evaluate(
    reconstruct: "Reconstruct", spec: RunSpec, store: "SliceStore", acquisition: "Acquisition"
) -> Evaluation:
    """Score a method on the test split, one volume at a time.

    Args:
        reconstruct: the method.
        spec: the run.
        store: the test split.
        acquisition: how it is undersampled.
    """
    import torch

    masks = acquisition.masks
    named = {
        "dataset": spec.dataset,
        "mask": spec.mask,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "method": spec.method,
        "seed": spec.seed,
    }
    result = Evaluation(with_standard(spec.metrics))
    for number, (subject, positions) in enumerate(store.volumes().items()):
        started = time.perf_counter()
        target, images = reconstruct_volume(reconstruct, spec, store, acquisition, positions)
        if images.is_cuda:  # the clock is read when the device is done, not when it has been told what to do
            torch.cuda.synchronize(images.device)
        reconstructed = time.perf_counter()
        indices = [store.slice_indices[position] for position in positions]
        rows = score_rows(target, images, indices, result.metrics)
        result.seconds["reconstruction"] += reconstructed - started
        result.seconds["metrics"] += time.perf_counter() - reconstructed
        result.slices += len(positions)
        result.rows += [{**named, "subject": subject, **row} for row in rows]
        if number < spec.examples:
            central = len(positions) // 2
            image = images[central].cpu().numpy()
            result.examples.append(example_of(store, acquisition, positions[central], image))
    return result


def score_rows(
    target: "Tensor", images: "Tensor", indices: list[int], metrics: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return a volume's rows of metrics.csv without the columns that name it: its slices, then the whole.

    Args:
        target: truth, float32 (slice, height, width), scanner units.
        images: reconstruction, likewise.
        indices: of the slices.
        metrics: their names.
    """
    of_slices, of_volume = _score(target, images, metrics)
    blank = (target.amax(dim=(1, 2)) <= 0).long()
    rows: list[dict[str, Any]] = []
    for i, index in enumerate(indices):
        scores = {name: float(of_slices[name][i]) for name in metrics}
        rows.append({"slice": index, "level": "slice", "blank": int(blank[i]), **scores})
    return [*rows, {"slice": -1, "level": "volume", "blank": int(blank.min()), **of_volume}]


def _score(target: "Tensor", images: "Tensor", metrics: tuple[str, ...]) -> "Scores":
    """Score a volume with the paper's metrics on the device that holds it, and with others on the CPU."""
    from workflow.metrics.volume import metrics_of, scores_of

    if target.device.type == "cpu":
        slices, volume = metrics_of(target.numpy(), images.numpy())
    else:
        from workflow.metrics import on_gpu

        slices, volume = on_gpu.metrics_of(target, images)
    if others := [name for name in metrics if name not in volume]:
        more_slices, more_volume = scores_of(others, target.cpu().numpy(), images.cpu().numpy())
        slices, volume = slices | more_slices, volume | more_volume
    return slices, volume


def reconstruct_volume(
    reconstruct: "Reconstruct",
    spec: RunSpec,
    store: "SliceStore",
    acquisition: "Acquisition",
    positions: list[int],
) -> "tuple[Tensor, Tensor]":
    """Return truth and reconstruction (slice, height, width), float32, of one volume in scanner units."""
    import torch

    shape = (len(positions), store.height, store.width)
    target, images = (torch.empty(shape, device=store.device) for _ in range(2))
    for start in range(0, len(positions), spec.training.batch_size):
        batch = positions[start : start + spec.training.batch_size]
        chosen = slice(start, start + len(batch))
        measurement, _ = acquisition.fixed(store, batch)
        scale = measurement.scale[:, None, None]
        images[chosen] = reconstruct(measurement) * scale
        # As stored: dividing by the scale and back would cost the last bit.
        target[chosen] = store.batch(batch)[0].abs()
    return target, images


def write_evaluation(evaluation: Evaluation, output: Path) -> None:
    """Write metrics.csv and examples.npz; equal results give equal bytes."""
    write_rows(output / "metrics.csv", (*KEY_COLUMNS, *evaluation.metrics), evaluation.rows)
    examples = evaluation.examples
    if examples:
        arrays: dict[str, Any] = {
            name: np.stack([example[name] for example in examples]) for name in examples[0]
        }
    else:
        arrays = {"subject": np.array([], dtype=np.str_)}
    with replacing(output / "examples.npz") as temporary:
        np.savez(temporary, **arrays)
