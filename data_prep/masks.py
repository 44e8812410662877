"""Sampling masks: made once, frozen in a file, hashed and drawn.

A frozen mask serves all slices (eq. 1 of the paper); fastMRI's masks are the dataset's own definitions, one
for each file. ``True`` is a sampled position; the zero frequency stands at index n // 2 of either axis. The
patterns are the files of ``data_prep/mask_families/``, found by existing.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from data_prep import archives, mask_families
from data_prep.discovery import entries_of
from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from data_prep.mask_family import Mask, MaskFamily
from data_prep.seeds import seed_for

# Datasets whose masks are drawn for each file; all others have frozen ones.
_DRAWN = ("fastmri",)


@cache
def families() -> dict[str, tuple[str, MaskFamily]]:
    """Return every family with its module, by pattern, in the order of lists and tables.

    Raises:
        BadInput: a file defines no family, or one whose pattern another has; the message names the file.
    """
    found = entries_of(mask_families, "FAMILY", MaskFamily, "pattern", "docs/adding_a_mask.md")
    return dict(sorted(found.items(), key=lambda entry: (entry[1][1].order, entry[0])))


def masks_of(dataset: str) -> tuple[str, ...]:
    """Return the names of the masks that a dataset may be measured with, in the order of tables."""
    drawn = dataset in _DRAWN
    return tuple(name for _, family in families().values() if family.drawn == drawn for name in family.names)


def all_masks() -> tuple[str, ...]:
    """Return the names of all masks in the order of tables."""
    return tuple(name for _, family in families().values() for name in family.names)


def parse_mask(name: str) -> tuple[MaskFamily, int]:
    """Return family and nominal acceleration of a mask's name.

    Raises:
        BadInput: no family has such a mask.
    """
    pattern, _, acceleration = name.rpartition("_")
    if name not in all_masks():
        raise BadInput(f"mask `{name}` is unknown; choose one of {', '.join(all_masks())}")
    return families()[pattern][1], int(acceleration.removesuffix("x"))


def label(name: str) -> str:
    """Return a mask's name as the paper prints it, e.g. 2D-Radial-9× or Equispaced-4×."""
    family, acceleration = parse_mask(name)
    words = [word.upper() if word[0].isdigit() else word.capitalize() for word in family.pattern.split("_")]
    return f"{'-'.join(words)}-{acceleration}×"


def acs_lines(name: str, width: int) -> int:
    """Number of fully sampled centre lines; 0 for the 2D patterns, whose centre is dense by construction."""
    family, acceleration = parse_mask(name)
    return family.acs(width, acceleration)


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
    if min(height, width) < 32:
        raise BadInput(f"mask `{name}`: a matrix of {height} x {width} is too small; use sides of 32 or more")
    # The first dataset to have such masks stays in the seed, so that they keep their bits.
    hashed = seed_for(use="mask", dataset="ixi", mask=name, height=height, width=width, seed=seed)
    return family.make(height, width, acceleration, np.random.RandomState(hashed % 2**32))


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


def fastmri_file_lines(name: str, width: int, stem: str) -> Mask:
    """Return the mask (width,) of one fastMRI file, seeded by the letters of its name without folders."""
    return drawn_lines(name, width, np.random.RandomState(tuple(map(ord, f"{stem}.h5"))))


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
        """Read an ``.npz`` that this module wrote.

        Raises:
            BadInput: the file is missing or not such a file.
        """
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"{path}: the mask is missing; run the step `mask`")
        with archives.opened(path, "not a mask file", "delete it and run the step `mask` again") as stored:
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
    """Make the masks of one setting; ``files`` are fastMRI's stems, needed for drawn masks alone."""
    if not parse_mask(name)[0].drawn:
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


def save(masks: MaskSet, height: int, width: int, seed: int, dataset: str, folder: Path) -> None:
    """Write <name>.npz, .json and .png into ``folder``; the same masks give the same bytes."""
    record = {
        "name": masks.name,
        "dataset": dataset,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "realised_acceleration": masks.realised_acceleration,
        "acs": acs_lines(masks.name, width),
        # Drawn masks are seeded by the names of the files.
        "seed": None if masks.drawn else seed,
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
    parser.add_argument("--dataset", required=True, help="dataset that is measured, e.g. ixi; for the record")
    parser.add_argument("--seed", type=int, required=True, help="base seed; fastMRI's masks do not use it")
    parser.add_argument("--manifest", type=Path, help="manifest.csv of the prepared slices; fastMRI only")
    parser.add_argument("--output", type=Path, required=True, help="folder for <mask>.npz, .json and .png")
    arguments = parser.parse_args()
    files: list[str] = []
    if parse_mask(arguments.mask)[0].drawn:
        if arguments.manifest is None:
            raise BadInput(f"mask `{arguments.mask}` differs from file to file; name them with --manifest")
        files = files_of(arguments.manifest)
    masks = make_masks(arguments.mask, arguments.height, arguments.width, arguments.seed, files)
    save(masks, arguments.height, arguments.width, arguments.seed, arguments.dataset, arguments.output)


if __name__ == "__main__":
    run_command(main)
