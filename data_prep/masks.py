"""Sampling masks: made once, frozen in a file, hashed and drawn.

IXI has one mask for all slices (eq. 1 of the paper); the fastMRI masks are the dataset's own definitions, one
for each file. ``True`` is a sampled position; the zero frequency stands at index n // 2 of either axis.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from data_prep.seeds import seed_for

Mask = NDArray[np.bool_]

MASKS: dict[str, tuple[str, ...]] = {
    "ixi": (
        "1d_uniform_6x",
        "1d_uniform_9x",
        "1d_random_3x",
        "1d_random_6x",
        "2d_radial_6x",
        "2d_radial_9x",
        "2d_spiral_6x",
        "2d_spiral_9x",
    ),
    "fastmri": ("random_4x", "random_8x", "equispaced_4x", "equispaced_8x"),
}
IXI_ACS_FRACTION = 0.04
FASTMRI_ACS_FRACTION = {4: 0.08, 8: 0.04}


def parse_mask(name: str) -> tuple[str, str, int]:
    """Return dataset, pattern and nominal acceleration of a mask's name, e.g. ixi, 2d_radial, 9.

    Raises:
        BadInput: no dataset has such a mask.
    """
    for dataset, names in MASKS.items():
        if name in names:
            pattern, _, acceleration = name.rpartition("_")
            return dataset, pattern, int(acceleration.removesuffix("x"))
    known = "; ".join(f"{dataset}: {', '.join(names)}" for dataset, names in MASKS.items())
    raise BadInput(f"mask `{name}` is unknown; choose one of {known}")


def label(name: str) -> str:
    """Return a mask's name as the paper prints it, e.g. 2D-Radial-9× or Equispaced-4×."""
    _, pattern, acceleration = parse_mask(name)
    words = [word.upper() if word[0].isdigit() else word.capitalize() for word in pattern.split("_")]
    return f"{'-'.join(words)}-{acceleration}×"


def acs_lines(name: str, width: int) -> int:
    """Number of fully sampled centre lines; 0 for the 2D patterns, whose centre is dense by construction."""
    _, pattern, acceleration = parse_mask(name)
    if pattern.startswith("2d_"):
        return 0
    fraction = IXI_ACS_FRACTION if pattern.startswith("1d_") else FASTMRI_ACS_FRACTION[acceleration]
    return round(width * fraction)


def centre_block(width: int, lines: int) -> Mask:
    """Return a line mask (width,) with ``lines`` lines around the zero frequency, as fastMRI places them."""
    block = np.zeros(width, dtype=bool)
    start = (width - lines + 1) // 2
    block[start : start + lines] = True
    return block


def frozen_mask(name: str, height: int, width: int, seed: int) -> Mask:
    """Make the one mask (height, width) of an IXI setting.

    It holds round(width / R) lines or round(height * width / R) samples, centre included, so that the
    realised acceleration is the nominal one or the nearest that whole lines or samples allow.

    Args:
        name: one of ``MASKS["ixi"]``.
        height: rows of the matrix, from 32.
        width: columns of the matrix, from 32.
        seed: base seed of the experiment. RandomState is used because its streams are frozen by numpy.
    """
    dataset, pattern, acceleration = parse_mask(name)
    if min(height, width) < 32:
        raise BadInput(f"mask `{name}`: a matrix of {height} x {width} is too small; use sides of 32 or more")
    hashed = seed_for(use="mask", dataset=dataset, mask=name, height=height, width=width, seed=seed)
    generator = np.random.RandomState(hashed % 2**32)
    if pattern in ("1d_uniform", "1d_random"):
        make_lines = uniform_lines if pattern == "1d_uniform" else random_lines
        lines = make_lines(width, round(width / acceleration), acs_lines(name, width), generator)
        return np.repeat(lines[None], height, axis=0)
    samples = round(height * width / acceleration)
    make = radial_samples if pattern == "2d_radial" else spiral_samples
    return make(height, width, samples, generator.uniform())


def uniform_lines(width: int, wanted: int, acs: int, generator: np.random.RandomState) -> Mask:
    """Equally spaced lines joined with the centre block, ``wanted`` lines in all.

    The spacing is width / n with n below ``wanted``: wider than R, to make up for the centre block. It is a
    fraction, so that neighbouring gaps differ by up to one line. The generator chooses the first line; where
    no n meets the number exactly, the first line moves on by sixteenths of the spacing.
    """
    centre = centre_block(width, acs)
    start = generator.uniform()
    best = centre
    for step in range(16):
        offset = (start + step / 16) % 1
        for count in range(wanted - acs, wanted + 1):
            lines = centre.copy()
            lines[np.floor((np.arange(count) + offset) * width / count).astype(int)] = True
            if abs(lines.sum() - wanted) < abs(best.sum() - wanted):
                best = lines
    return best


def random_lines(width: int, wanted: int, acs: int, generator: np.random.RandomState) -> Mask:
    """Centre block and lines drawn without replacement from the others, ``wanted`` lines in all."""
    lines = centre_block(width, acs)
    lines[generator.choice(np.flatnonzero(~lines), wanted - acs, replace=False)] = True
    return lines


def radial_samples(height: int, width: int, wanted: int, offset: float) -> Mask:
    """Spokes through the zero frequency, equally spaced in angle and long enough to reach the corners.

    As many spokes as ``wanted`` samples take; the surplus is taken from the outer ends of all.

    Args:
        height: rows of the matrix.
        width: columns of the matrix.
        wanted: number of samples.
        offset: angle of the first spoke, in [0, 1) of the angle between two.
    """
    reach = int(np.ceil(max(height, width) / np.sqrt(2)))
    radius = np.arange(-reach, reach + 1, dtype=np.float64)
    mask = np.zeros((height, width), dtype=bool)
    spokes = wanted // len(radius)
    while mask.sum() < wanted:
        spokes += 1
        angle = (np.arange(spokes)[:, None] + offset) * np.pi / spokes
        mask = _rasterise(radius * np.sin(angle), radius * np.cos(angle), height, width)
    return _keep_innermost(mask, wanted)


def spiral_samples(height: int, width: int, wanted: int, offset: float) -> Mask:
    """Interleaved spirals whose turns lie half a sample apart in the centre and ever wider outwards.

    The distance between neighbouring turns is d + g r at radius r, which makes the angle
    2 pi log(1 + g r / d) / (N g) for N interleaves; d = 1/2, and two points per sample along the path, leave
    no hole in the centre after rounding to the grid. The growth g is the largest that still gives ``wanted``
    samples; a surplus of a few is taken from the outer end. The corners of k-space stay empty.

    Args:
        height: rows of the matrix.
        width: columns of the matrix.
        wanted: number of samples.
        offset: rotation, in [0, 1) of the angle between two interleaves.
    """
    side = max(height, width)
    distance = 0.5
    interleaves = max(2, round(side / 32))
    rotation = 2 * np.pi * (np.arange(interleaves)[:, None] + offset) / interleaves

    def samples(growth: float) -> Mask:
        fine = np.linspace(0, side / 2, 16 * side)
        winding = 2 * np.pi / interleaves / (distance + growth * fine)
        speed = np.hypot(1, fine * winding)
        length = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(fine))])
        radius = np.interp(np.arange(0, length[-1], 0.5), length, fine)
        angle = rotation + 2 * np.pi / interleaves * np.log1p(growth * radius / distance) / growth
        return _rasterise(radius * np.sin(angle), radius * np.cos(angle), height, width)

    dense, sparse = 1e-4, 16.0
    for _ in range(40):
        middle = float(np.sqrt(dense * sparse))
        if samples(middle).sum() >= wanted:
            dense = middle
        else:
            sparse = middle
    return _keep_innermost(samples(dense), wanted)


def _rasterise(y: NDArray[np.float64], x: NDArray[np.float64], height: int, width: int) -> Mask:
    """Mark the grid positions nearest to the points of a trajectory, in grid steps of the longer side.

    The other side is scaled, since both span the same range of frequencies. Rounding to 1e-6 grid steps first
    keeps the last bit of a platform's sine from deciding where a sample goes.
    """
    side = max(height, width)
    row = height // 2 + np.floor(np.round(y * height / side, 6) + 0.5).astype(int)
    column = width // 2 + np.floor(np.round(x * width / side, 6) + 0.5).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    mask = np.zeros((height, width), dtype=bool)
    mask[row[inside], column[inside]] = True
    return mask


def _keep_innermost(mask: Mask, wanted: int) -> Mask:
    """Keep the ``wanted`` samples nearest to the zero frequency, in units of each axis' range."""
    height, width = mask.shape
    row, column = np.nonzero(mask)
    distance = ((row - height // 2) / height) ** 2 + ((column - width // 2) / width) ** 2
    kept = np.argsort(distance, kind="stable")[:wanted]
    trimmed = np.zeros_like(mask)
    trimmed[row[kept], column[kept]] = True
    return trimmed


def fastmri_lines(name: str, width: int, generator: np.random.RandomState) -> Mask:
    """Return a line mask (width,) of the fastMRI dataset, bit-equal to its own definition.

    Args:
        name: one of ``MASKS["fastmri"]``.
        width: number of columns.
        generator: freshly seeded; two masks never share one.
    """
    _, pattern, acceleration = parse_mask(name)
    acs = acs_lines(name, width)
    if pattern == "random":
        probability = (width / acceleration - acs) / (width - acs)
        lines = generator.uniform(size=width) < probability
    else:
        # Wider than the acceleration, so that the centre block counts towards it.
        spacing = acceleration * (acs - width) / (acs * acceleration - width)
        offset = generator.randint(0, round(spacing))
        lines = np.zeros(width, dtype=bool)
        lines[np.around(np.arange(offset, width - 1, spacing)).astype(int)] = True
    joined: Mask = lines | centre_block(width, acs)
    return joined


def fastmri_file_lines(name: str, width: int, stem: str) -> Mask:
    """Return the mask (width,) of one fastMRI file, seeded by the letters of its name without folders."""
    return fastmri_lines(name, width, np.random.RandomState(tuple(map(ord, f"{stem}.h5"))))


@dataclass(frozen=True, eq=False)
class MaskSet:
    """The frozen masks of one setting.

    Attributes:
        name: e.g. 2d_radial_9x.
        mask: bool (height, width) for IXI, (file, width) for fastMRI.
        files: fastMRI's subjects (stems of the PDFS files), one for each row of ``mask``; empty for IXI.
    """

    name: str
    mask: Mask
    files: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path | str) -> "MaskSet":
        """Read an ``.npz`` that this module wrote.

        Raises:
            BadInput: the file is missing or not such a file.
        """
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"{path}: the mask is missing; run the step `mask`")
        try:
            with np.load(path, allow_pickle=False) as stored:
                name, mask = str(stored["name"]), stored["mask"]
                files = tuple(str(stem) for stem in stored["files"])
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            raise BadInput(f"{path}: not a mask file; delete it and run the step `mask` again") from error
        return cls(name, mask, files)

    @property
    def dataset(self) -> str:
        """``ixi`` or ``fastmri``."""
        return parse_mask(self.name)[0]

    @property
    def pattern(self) -> str:
        """The name without the acceleration, e.g. 2d_radial."""
        return parse_mask(self.name)[1]

    @property
    def acceleration(self) -> int:
        """Nominal acceleration."""
        return parse_mask(self.name)[2]

    @property
    def realised_acceleration(self) -> float:
        """Positions per sampled position, centre included, over all files."""
        return float(self.mask.size / self.mask.sum())

    @property
    def sha256(self) -> str:
        """Checksum of the mask's shape and values."""
        return hashlib.sha256(repr(self.mask.shape).encode() + self.mask.tobytes()).hexdigest()

    def evaluation(self, subjects: Sequence[str]) -> Mask:
        """Return the masks of slices of the given subjects, (batch, height or 1, width).

        IXI: the frozen mask. fastMRI: each file's own.

        Raises:
            BadInput: a fastMRI file has no mask in this set.
        """
        if self.dataset == "ixi":
            return np.repeat(self.mask[None], len(subjects), axis=0)
        row = {stem: i for i, stem in enumerate(self.files)}
        unknown = sorted(set(subjects) - set(row))
        if unknown:
            raise BadInput(f"mask `{self.name}` has none for file {unknown[0]}; run the step `mask` again")
        return self.mask[[row[subject] for subject in subjects], None]

    def training(self, seeds: Sequence[int]) -> Mask:
        """Return masks for training slices, (batch or 1, height or 1, width).

        IXI: the frozen mask. fastMRI: a mask anew for each slice, from its seed.
        """
        if self.dataset == "ixi":
            return self.mask[None].copy()
        width = self.mask.shape[1]
        drawn = [fastmri_lines(self.name, width, np.random.RandomState(seed % 2**32)) for seed in seeds]
        return np.stack(drawn)[:, None]


def make_masks(name: str, height: int, width: int, seed: int, files: Sequence[str] = ()) -> MaskSet:
    """Make the masks of one setting; ``files`` are fastMRI's stems and needed for it alone."""
    if parse_mask(name)[0] == "ixi":
        return MaskSet(name, frozen_mask(name, height, width, seed))
    return MaskSet(name, np.stack([fastmri_file_lines(name, width, stem) for stem in files]), tuple(files))


def files_of(manifest: Path) -> list[str]:
    """Return the usable subjects of a manifest, sorted.

    Raises:
        BadInput: the manifest is missing, is no manifest, or lists no usable subject.
    """
    if not manifest.is_file():
        raise BadInput(f"{manifest}: the manifest is missing; run the step `prepare`")
    with manifest.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if not {"subject", "status"} <= set(rows.fieldnames or ()):
            raise BadInput(
                f"{manifest}: columns `subject` and `status` are missing; run the step `prepare` again"
            )
        files = sorted(row["subject"] for row in rows if row["status"] == "ok")
    if not files:
        raise BadInput(f"{manifest}: column `status` has no `ok`; see its column `reason`")
    return files


def save(masks: MaskSet, height: int, width: int, seed: int, folder: Path) -> None:
    """Write <name>.npz, .json and .png into ``folder``; the same masks give the same bytes."""
    record = {
        "name": masks.name,
        "dataset": masks.dataset,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "realised_acceleration": masks.realised_acceleration,
        "acs": acs_lines(masks.name, width),
        # fastMRI's masks are seeded by the names of its files.
        "seed": seed if masks.dataset == "ixi" else None,
        "sha256": masks.sha256,
        "shape": list(masks.mask.shape),
        "sampled": int(masks.mask.sum()),
    }
    with replacing(folder / f"{masks.name}.npz") as path:
        np.savez(path, name=np.array(masks.name), mask=masks.mask, files=np.array(masks.files, dtype=np.str_))
    with replacing(folder / f"{masks.name}.json") as path:
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with replacing(folder / f"{masks.name}.png") as path:
        _draw(masks, height, width, path)


def _draw(masks: MaskSet, height: int, width: int, path: Path) -> None:
    from matplotlib.figure import Figure

    if masks.files:
        picture = np.repeat(masks.mask[:1], height, axis=0)
        detail = masks.files[0]
    else:
        picture = masks.mask
        detail = f"{height} × {width}"
    acs = acs_lines(masks.name, width)
    if acs:
        detail += f", {int(picture[0].sum())} of {width} lines, ACS {acs}"
    else:
        detail += f", {int(picture.sum()):,} samples"
    figure = Figure(figsize=(3.3, 3.3 * height / width + 0.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(picture, cmap="gray", interpolation="nearest", vmin=0, vmax=1)
    realised = picture.size / picture.sum()
    axes.set_title(f"{label(masks.name)}, realised {realised:.2f}×\n{detail}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.savefig(path, dpi=300, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    """Make, freeze and draw the masks of one setting."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.masks", description=main.__doc__)
    parser.add_argument("--mask", required=True, help="name of the setting, e.g. 2d_radial_9x or random_4x")
    parser.add_argument("--height", type=int, required=True, help="rows of the matrix")
    parser.add_argument("--width", type=int, required=True, help="columns of the matrix")
    parser.add_argument("--seed", type=int, required=True, help="base seed; fastMRI's masks do not use it")
    parser.add_argument("--manifest", type=Path, help="manifest.csv of the prepared slices; fastMRI only")
    parser.add_argument("--output", type=Path, required=True, help="folder for <mask>.npz, .json and .png")
    arguments = parser.parse_args()
    files: list[str] = []
    if parse_mask(arguments.mask)[0] == "fastmri":
        if arguments.manifest is None:
            raise BadInput(f"mask `{arguments.mask}` differs from file to file; name them with --manifest")
        files = files_of(arguments.manifest)
    masks = make_masks(arguments.mask, arguments.height, arguments.width, arguments.seed, files)
    save(masks, arguments.height, arguments.width, arguments.seed, arguments.output)


if __name__ == "__main__":
    run_command(main)
