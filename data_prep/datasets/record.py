"""What aligning one subject gives: its slices, and the record that stays beside them."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.geometry import Geometry
from data_prep.errors import BadInput
from data_prep.io.json_files import converted, from_json, read_json

AGAIN = "delete it and run the step `align` for this subject again"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the step ``align`` says about one subject; the names are those of its JSON file.

    The order is that of the manifest, which has the chosen split in the place of ``split_hint``.

    ``group`` is the person of the target, ``auxiliary_group`` that of the auxiliary, if it is another's scan.
    ``target_slices`` and ``auxiliary_slices`` are those of the scans, where they were counted, ``slices``
    those that were kept. ``transform`` is the registration's 4x4 matrix, if there was one. ``geometry`` leads
    from the kept slices back to the target's scan.
    """

    dataset: str
    source: str
    subject: str
    group: str
    auxiliary_group: str = ""
    split_hint: str
    status: str
    reason: str
    remark: str = ""
    site: str
    slices: int
    target_slices: int | None = None
    auxiliary_slices: int | None = None
    target_file: str
    auxiliary_file: str
    target_sha256: str
    auxiliary_sha256: str
    score_before: float | None
    score_after: float | None
    transform: list[list[float]] | None = None
    geometry: Geometry | None = None

    @property
    def usable(self) -> bool:
        """Whether the subject was not excluded."""
        return self.status == "ok"

    @property
    def persons(self) -> set[str]:
        """The persons that the subject's scans name."""
        return {self.group, self.auxiliary_group} - {""}

    @property
    def available(self) -> int | None:
        """Slices that target and auxiliary share, or None if the scans could not be opened."""
        if self.target_slices is not None and self.auxiliary_slices is not None:
            return min(self.target_slices, self.auxiliary_slices)
        return self.slices if self.usable else None


@dataclass(frozen=True)
class Aligned:
    """An aligned subject.

    Attributes:
        record: what became of it.
        target: (slice, height, width), float32, or complex64 of measured k-space; no slices if excluded.
        auxiliary: float32, of the same shape.
        picture: draws the quality picture and returns matplotlib's Figure.
    """

    record: Record
    target: NDArray[Any]
    auxiliary: NDArray[np.float32]
    picture: Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """A scan that was undersampled when it was taken.

    Attributes:
        target: complex64 (slice, height, width), whose transform is the k-space that was measured.
        auxiliary: float32, of the same shape; zeros where there is none.
        mask: bool (width,), the columns that were sampled.
        geometry: from the slices to the images that users of the dataset exchange.
    """

    target: NDArray[np.complex64]
    auxiliary: NDArray[np.float32]
    mask: NDArray[np.bool_]
    geometry: Geometry


def read_record(
    folder: Path, dataset: str, subject: str, pools: Collection[str] = (), own_persons: bool = False
) -> Record:
    """Read ``<folder>/<subject>.json``.

    Args:
        folder: of the aligned subjects.
        dataset: id.
        subject: id.
        pools: those that ``split_hint`` may name; none: it is not looked at.
        own_persons: whether each scan must name its person.

    Raises:
        BadInput: the file is missing, or a field is missing or wrong.
    """
    path = folder / f"{subject}.json"
    stored = read_json(path, "run the step `align` for this subject", AGAIN)
    record = converted(Record, stored, str(path), AGAIN)
    expected: dict[str, Collection[str]] = {
        "subject": (subject,),
        "dataset": (dataset,),
        "status": ("ok", "excluded"),
        "split_hint": pools or (record.split_hint,),
    }
    for name, values in expected.items():
        if getattr(record, name) not in values:
            raise broken(
                path, f"field `{name}` is {getattr(record, name)!r}, not {' or '.join(map(repr, values))}"
            )
    # Without these, the same person or scan could go unnoticed into two splits.
    needed = ["group", "target_file", "auxiliary_file", "target_sha256", "auxiliary_sha256"]
    for name in [*needed, "auxiliary_group"] if own_persons else needed:
        if record.usable and not getattr(record, name):
            raise broken(path, f"field `{name}` is empty although `status` is ok")
    if record.usable and record.slices < 1:
        raise broken(path, f"field `slices` is {record.slices} although `status` is ok")
    return record


def broken(path: Path, what: str) -> BadInput:
    """Return the error of an aligned subject's file that is not as the step ``align`` leaves it."""
    return BadInput(f"{path}: {what}; {AGAIN}")


def parse_subjects(text: str) -> list[str]:
    """Read the JSON list of ``--subjects``.

    Raises:
        BadInput: it is something else, or empty.
    """
    remedy = 'give a JSON list of names such as ["BraTS2021_00000", "BraTS2021_00002"], quoted for the shell'
    subjects = from_json(list[str], text, "--subjects", remedy)
    if not subjects:
        raise BadInput(f"--subjects: the list is empty; {remedy}")
    return subjects


Subjects = Annotated[list[str], parse_subjects, "JSON list of subject ids"]


@dataclass(frozen=True)
class _Splits:
    """Number of subjects of each split."""

    train: int
    val: int
    test: int


def parse_splits(option: str, text: str) -> dict[str, int]:
    """Read the JSON object of an option that gives the number of subjects of each split.

    Raises:
        BadInput: it is something else, or a number is below 1.
    """
    remedy = 'give the numbers as JSON, e.g. {"train": 8, "val": 2, "test": 2}'
    splits: dict[str, int] = asdict(from_json(_Splits, text, option, remedy))
    for name, count in splits.items():
        if count < 1:
            raise BadInput(f"{option}: `{name}` is {count!r}; give a whole number, at least 1")
    return splits
