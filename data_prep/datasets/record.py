"""What aligning one subject leaves behind beside its slices: the record."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import pools
from data_prep.errors import BadInput
from data_prep.io.json_files import check_fields, read_json

AGAIN = "delete it and run the step `align` for this subject again"


@dataclass(frozen=True)
class Record:
    """What the step ``align`` says about one subject; the names are those of its JSON file.

    ``group`` is the person of the target, ``auxiliary_group`` that of a fastMRI pair's auxiliary, which is
    another scan. ``target_slices`` and ``auxiliary_slices`` are those of the scans, where they were counted.
    """

    subject: str
    dataset: str
    source: str
    status: str
    reason: str
    site: str
    group: str
    slices: int
    target_file: str
    auxiliary_file: str
    target_sha256: str
    auxiliary_sha256: str
    score_before: float | None
    score_after: float | None
    split_hint: str
    auxiliary_group: str = ""
    target_slices: int | None = None
    auxiliary_slices: int | None = None
    remark: str = ""

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


def read_record(folder: Path, dataset: str, subject: str) -> Record:
    """Read ``<folder>/<subject>.json``.

    Raises:
        BadInput: the file is missing, or a field is missing or wrong.
    """
    path = folder / f"{subject}.json"
    types = {field.name: field.type for field in fields(Record)}
    required = {field.name: field.type for field in fields(Record) if field.default is MISSING}
    stored = read_json(path, "run the step `align` for this subject", AGAIN, required)
    known = {name: value for name, value in stored.items() if name in types}
    check_fields(known, {name: types[name] for name in known}, path, AGAIN)
    record = Record(**known)
    expected: dict[str, tuple[str, ...]] = {
        "subject": (subject,),
        "dataset": (dataset,),
        "status": ("ok", "excluded"),
        "split_hint": tuple(pools(dataset)),
    }
    for name, values in expected.items():
        if getattr(record, name) not in values:
            raise broken(path, f"field `{name}` is {getattr(record, name)!r}, not {_either(values)}")
    # Without these, the same person or scan could go unnoticed into two splits.
    needed = ["group", "target_file", "auxiliary_file", "target_sha256", "auxiliary_sha256"]
    if dataset == "fastmri":
        needed.append("auxiliary_group")
    for name in needed:
        if record.usable and not getattr(record, name):
            raise broken(path, f"field `{name}` is empty although `status` is ok")
    if record.usable and record.slices < 1:
        raise broken(path, f"field `slices` is {record.slices} although `status` is ok")
    return record


def broken(path: Path, what: str) -> BadInput:
    return BadInput(f"{path}: {what}; {AGAIN}")


def _either(values: Sequence[str]) -> str:
    return " or ".join(map(repr, values))


def parse_subjects(text: str) -> list[str]:
    """Read the JSON list of ``--subjects``."""
    subjects = parse_json("--subjects", text)
    if not isinstance(subjects, list) or not subjects or not all(isinstance(name, str) for name in subjects):
        raise BadInput('--subjects: must be a JSON list of names such as ["IXI900", "IXI901"]')
    return subjects


def parse_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{option}: not JSON ({error}); quote it for the shell") from error
