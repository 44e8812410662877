"""fastMRI single-coil knees: measured k-space, PD registered onto PDFS, which it guides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.datasets.contract import Dataset, Later, Published, Scans, Size
from data_prep.errors import BadInput
from data_prep.io.files import matching

FIRST_EMBEDDED_FILE = 9_000_000
DONOR_SLICES = 24
_FOLDER = "singlecoil_{}"
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


def places(root: Path, split: str) -> list[Path]:
    """Return the folders that may hold a split's files: archives unpack into each other in several ways."""
    own = _FOLDER.format(split)
    named = [root / f"{prefix}{own}" for prefix in ("", "knee_")]
    within = (path / own for path in named)
    return [path for path in (*named, *within) if path.is_dir()]


def files(root: Path, split: str) -> list[Path]:
    """Return a split's files, sorted."""
    # Copies made on other systems carry hidden twins (._file...) that are no scans.
    return sorted(path for place in places(root, split) for path in matching(place, "file*.h5"))


def locate(root: Path, lists: Mapping[str, Path]) -> dict[str, Scans]:
    """Return the pairs of the lists; without lists, each file by itself.

    Raises:
        BadInput: a list is missing or broken, or a file is in both, or twice in the folder.
    """
    from data_prep.datasets.fastmri.pairs import check_splits, read_pair_list

    if not lists:
        loose = {"": sorted(matching(root, "file*.h5"))} | {
            split: files(root, split) for split in ("train", "val")
        }
        return {
            path.stem: Scans(str(path), str(path), split) for split, paths in loose.items() for path in paths
        }
    entries = {key.removesuffix("_pairs"): read_pair_list(path) for key, path in lists.items()}
    check_splits(entries)
    folders = {split: places(root, split) or [root / _FOLDER.format(split)] for split in entries}
    return {
        entry.pdfs: _scans(folders[split], split, entry.pd, entry.pdfs)
        for split, listed in entries.items()
        for entry in listed
    }


def _scans(folders: Sequence[Path], split: str, pd: str, pdfs: str) -> Scans:
    return Scans(str(_file(folders, pdfs)), str(_file(folders, pd)), split)


def _file(folders: Sequence[Path], stem: str) -> Path:
    """Return in which of some folders a file is; of one that is missing, the first.

    Raises:
        BadInput: it is in two folders.
    """
    paths = [folder / f"{stem}.h5" for folder in folders]
    if len(paths) == 1:
        return paths[0]
    there = [path for path in paths if path.is_file()]
    if len(there) > 1:
        raise BadInput(f"{there[1]}: {there[0]} is the same scan; keep one of the two")
    return (there or paths)[0]


def embedded(root: Path, splits: Mapping[str, int]) -> dict[str, Scans]:
    """Return the made-up pairs: those of training and validation pose as published training files."""
    train = splits["train"] + splits["val"]
    pairs = [pair_files(index) for index in range(train + splits["test"])]
    return {
        pdfs: _scans([root / _FOLDER.format(split)], split, pd, pdfs)
        for index, (pd, pdfs) in enumerate(pairs)
        for split in ("train" if index < train else "val",)
    }


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
    published={
        "train": Published(
            227,
            227,
            8_332,
            {"file1000632": "its field of view is 160 mm, that of its PD, file1000116, 150 mm"},
        ),
        "val": Published(45, 45, 1_665),
    },
    lists=("train_pairs", "val_pairs"),
    locate=locate,
    example="singlecoil_train/file1000685.h5 and singlecoil_val/file1000000.h5",
    other_forms={
        "multicoil_*": "k-space of several coils; get singlecoil_train and singlecoil_val of the knees",
        "singlecoil_test*": "the undersampled test set; get singlecoil_train and singlecoil_val",
    },
    describe=Later("data_prep.datasets.fastmri.align:describe"),
    align=Later("data_prep.datasets.fastmri.align:align"),
    align_options=AlignOptions,
    export=Later("data_prep.datasets.fastmri.files:write_volume"),
    imported=Later("data_prep.datasets.fastmri.files:read_volume"),
    kspace=Later("data_prep.datasets.fastmri.prospective:read_kspace"),
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
