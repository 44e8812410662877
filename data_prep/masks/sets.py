"""Sampling masks: made once, hashed, and read back.

A frozen mask serves all slices (eq. 1 of the paper); fastMRI's masks are the dataset's own definitions, one
for each file. ``True`` is a sampled position; the zero frequency stands at index n // 2 of either axis. The
patterns are the files of ``data_prep/masks/families/``, found by existing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.errors import BadInput
from data_prep.io import archives
from data_prep.masks.contract import Mask
from data_prep.masks.registry import parse_mask
from data_prep.seeds import seed_for

SMALLEST = 32  # side of a matrix; narrower ones leave some families no line of the centre


def frozen_mask(name: str, height: int, width: int, seed: int) -> Mask:
    """Make the one mask (height, width) of a setting, the same for every dataset of this matrix.

    It holds round(width / R) lines or round(height * width / R) samples, centre included, so that the
    realised acceleration is the nominal one or the nearest that whole lines or samples allow.

    Args:
        name: of a mask that is not drawn.
        height: rows of the matrix, from 32.
        width: columns of the matrix, from 32.
        seed: base seed of the experiment. RandomState is used because its streams are frozen by numpy.
    """
    family, acceleration = parse_mask(name)
    _check_sides(name, height, width)
    # The first dataset to have such masks stays in the seed, so that they keep their bits.
    hashed = seed_for(use="mask", dataset="ixi", mask=name, height=height, width=width, seed=seed)
    return family.make(height, width, acceleration, np.random.RandomState(hashed % 2**32))


def _check_sides(name: str, height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"mask `{name}`: a matrix of {height} x {width} is too small; use sides of {SMALLEST} or more"
        )


def drawn_lines(name: str, width: int, generator: np.random.RandomState) -> Mask:
    """Draw a line mask (width,).

    Args:
        name: of a mask that is drawn.
        width: number of columns.
        generator: freshly seeded; two masks never share one.
    """
    family, acceleration = parse_mask(name)
    lines: Mask = family.make(1, width, acceleration, generator)[0]
    return lines


def file_lines(name: str, width: int, stem: str) -> Mask:
    """Return the mask (width,) of one fastMRI file, seeded by the letters of its name without folders."""
    return drawn_lines(name, width, np.random.RandomState(tuple(map(ord, f"{stem}.h5"))))


def mirrored(mask: Mask, axes: Sequence[int] = (-2, -1)) -> Mask:
    """Mirror samples about the zero frequency: where k-space is known, too, if the image is real.

    The transform of a real image is conjugate symmetric: the value at minus a frequency is the conjugate of
    the value at it. Of an even number of positions, the first mirrors itself, as the zero frequency does.

    Args:
        mask: (..., height, width), the zero frequency at index n // 2.
        axes: those that run over frequencies.
    """
    for axis in axes:
        size = mask.shape[axis]
        mask = np.take(mask, (2 * (size // 2) - np.arange(size)) % size, axis=axis)
    return mask


@dataclass(frozen=True, eq=False)
class MaskSet:
    """The frozen masks of one setting.

    Attributes:
        name: e.g. 2d_radial_9x.
        mask: bool (height, width) of a frozen mask, (file, width) of drawn ones.
        files: fastMRI's subjects (stems of the PDFS files), one for each row of drawn masks; else empty.
    """

    name: str
    mask: Mask
    files: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path | str) -> "MaskSet":
        """Read an ``.npz`` that ``data_prep.masks`` wrote.

        Raises:
            BadInput: the file is missing or not such a file.
        """
        path = Path(path)
        absent, again = "the mask is missing; run the step `mask`", "delete it and run the step `mask` again"
        with archives.opened(path, absent, "not a mask file", again) as stored:
            name, mask = str(stored["name"]), stored["mask"]
            files = tuple(str(stem) for stem in stored["files"])
        return cls(name, mask, files)

    @property
    def drawn(self) -> bool:
        """Whether each file has a mask of its own, and each slice in training."""
        return parse_mask(self.name)[0].drawn

    @property
    def pattern(self) -> str:
        """The name without the acceleration, e.g. 2d_radial."""
        return parse_mask(self.name)[0].pattern

    @property
    def acceleration(self) -> int:
        """Nominal acceleration."""
        return parse_mask(self.name)[1]

    @property
    def realised_acceleration(self) -> float:
        """Positions per sampled position, centre included, over all files."""
        return float(self.mask.size / self.mask.sum())

    @property
    def effective_acceleration(self) -> float:
        """Positions per position that is sampled or whose mirror image is: what real images leave of it."""
        known = self.mask | mirrored(self.mask, (1,) if self.drawn else (0, 1))
        return float(self.mask.size / known.sum())

    @property
    def sha256(self) -> str:
        """Checksum of the mask's shape and values."""
        return hashlib.sha256(repr(self.mask.shape).encode() + self.mask.tobytes()).hexdigest()

    def evaluation(self, subjects: Sequence[str]) -> Mask:
        """Return the masks of slices of the given subjects, (batch, height or 1, width).

        The frozen mask, or each file's own.

        Raises:
            BadInput: a file has no mask in this set of drawn ones.
        """
        if not self.drawn:
            return np.repeat(self.mask[None], len(subjects), axis=0)
        row = {stem: i for i, stem in enumerate(self.files)}
        unknown = sorted(set(subjects) - set(row))
        if unknown:
            raise BadInput(f"mask `{self.name}` has none for file {unknown[0]}; run the step `mask` again")
        return self.mask[[row[subject] for subject in subjects], None]

    def training(self, seeds: Sequence[int]) -> Mask:
        """Return masks for training slices, (batch or 1, height or 1, width).

        The frozen mask, or one drawn anew for each slice, from its seed.
        """
        if not self.drawn:
            return self.mask[None].copy()
        width = self.mask.shape[1]
        drawn = [drawn_lines(self.name, width, np.random.RandomState(seed % 2**32)) for seed in seeds]
        return np.stack(drawn)[:, None]


def make_masks(name: str, height: int, width: int, seed: int, files: Sequence[str] = ()) -> MaskSet:
    """Make the masks of one setting; ``files`` are fastMRI's stems, needed for drawn masks alone.

    Raises:
        BadInput: there is no such mask, or a side is below 32.
    """
    if not parse_mask(name)[0].drawn:
        return MaskSet(name, frozen_mask(name, height, width, seed))
    _check_sides(name, height, width)
    return MaskSet(name, np.stack([file_lines(name, width, stem) for stem in files]), tuple(files))
