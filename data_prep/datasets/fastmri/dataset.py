"""fastMRI single-coil knees: measured k-space, PD registered onto PDFS, which it guides."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.datasets.contract import Dataset, Later, Scans, Size
from data_prep.errors import BadInput
from data_prep.io.files import matching

FIRST_EMBEDDED_FILE = 9_000_000
DONOR_SLICES = 24
PAIRS = "{}_pairs.csv"  # the lists written beside embedded knees, by split


@dataclass(frozen=True)
class AlignOptions:
    """Whether PD is registered; else pixels are paired as they are."""

    register: bool = True


@dataclass(frozen=True)
class EmbedOptions:
    """The published split to pose as."""

    split: str


def pair_files(index: int) -> tuple[str, str]:
    """Return the file stems (PD, PDFS) of pair ``index``: they differ in their last digit only."""
    first = FIRST_EMBEDDED_FILE + 10 * index
    return f"file{first}", f"file{first + 1}"


def embedded_id(index: int, seed: int) -> str:
    """Return the subject of pair ``index``, its PDFS file."""
    return pair_files(index)[1]


def check_size(size: Size, count: int = DONOR_SLICES) -> None:
    """Refuse what a donor of ``count`` slices cannot fill.

    Raises:
        BadInput: the donor has too few slices, or the matrix is odd or out of range.
    """
    if not 1 <= size.slices <= count:
        raise BadInput(f"slices {size.slices}: the donor knee has {count} slices; choose 1 to {count}")
    if size.matrix % 2 or not 32 <= size.matrix <= 512:
        raise BadInput(f"matrix {size.matrix}: choose an even number from 32 to 512 (320 is published)")


def locate(root: Path, lists: Mapping[str, Path]) -> dict[str, Scans]:
    """Return the pairs of the lists; without lists, each file by itself.

    Raises:
        BadInput: a list is missing or broken, or a file is in both.
    """
    from data_prep.datasets.fastmri.pairs import check_splits, read_pair_list

    if not lists:
        # Copies made on other systems carry hidden twins (._file...) that are no scans.
        places = (root, root / "singlecoil_train", root / "singlecoil_val")
        paths = sorted(path for place in places for path in matching(place, "file*.h5"))
        return {path.stem: Scans(str(path), str(path)) for path in paths}
    entries = {key.removesuffix("_pairs"): read_pair_list(path) for key, path in lists.items()}
    check_splits(entries)
    return {
        entry.pdfs: _scans(root, split, entry.pd, entry.pdfs)
        for split, listed in entries.items()
        for entry in listed
    }


def embedded(root: Path, splits: Mapping[str, int]) -> dict[str, Scans]:
    """Return the made-up pairs: those of training and validation pose as published training files."""
    train = splits["train"] + splits["val"]
    pairs = [pair_files(index) for index in range(train + splits["test"])]
    return {
        pdfs: _scans(root, "train" if index < train else "val", pd, pdfs)
        for index, (pd, pdfs) in enumerate(pairs)
    }


def _scans(root: Path, split: str, pd: str, pdfs: str) -> Scans:
    target, auxiliary = (str(root / f"singlecoil_{split}" / f"{stem}.h5") for stem in (pdfs, pd))
    return Scans(target, auxiliary, split)


DATASET = Dataset(
    id="fastmri",
    label="fastMRI",
    target="PDFS",
    auxiliary="PD",
    # PD's name stands in the pair lists alone; the two of an embedded pair share all but the last digit.
    target_file="singlecoil_train/{subject}.h5",
    auxiliary_file="singlecoil_train/{subject}.h5",
    order=20,
    measured=True,
    drawn_masks=True,
    own_persons=True,
    # The published validation files become the test split, the training files fill the other two.
    pools={"val": ("test",), "train": ("val", "train")},
    # By the published pair lists, slice by slice up to the shorter volume of each pair.
    published={"train": (227, 8_332), "val": (45, 1_665)},
    lists=("train_pairs", "val_pairs"),
    locate=locate,
    describe=Later("data_prep.datasets.fastmri.align:describe"),
    align=Later("data_prep.datasets.fastmri.align:align"),
    align_options=AlignOptions,
    check=Later("data_prep.datasets.fastmri.folder:check"),
    embed=Later("data_prep.datasets.fastmri.embedded:embed"),
    embed_options=EmbedOptions,
    embedded_id=embedded_id,
    embedded_files=(
        "singlecoil_{split}/file{pair}1.h5",
        "singlecoil_{split}/file{pair}0.h5",
        "truth/singlecoil_{split}/file{pair}1.truth.json",
    ),
    embedded=embedded,
    list_embedded=Later("data_prep.datasets.fastmri.embedded:list_embedded"),
    embedded_lists=tuple(map(PAIRS.format, ("train", "val"))),
    maps=("knee",),
    check_size=check_size,
    descent="all knees descend from one knee",
)
