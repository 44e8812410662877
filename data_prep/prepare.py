"""Aligned subjects to the three split files of a dataset and the manifest that says what became of each.

Subjects are split, never slices, and all subjects of one group go the same way: those of one person, and
fastMRI pairs of which any two files name the same person. Every group has a rank hashed from the base
seed and its name, so that the ranking does not change when a subject drops out. In that order the groups
that can be used fill the test split, then validation, then training: test and validation keep their size
when subjects are excluded, training takes the shortfall, and across each border no more subjects move
than were excluded. A group that is too large for the room left in a split goes to the next, and stays out
if it fits in none. fastMRI is split in two pools: the published validation files become the test split,
the published training files fill validation and training. Usable subjects beyond the configured numbers
stay out, with an empty split in the manifest.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep import hdf5
from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from data_prep.further_dataset import datasets
from data_prep.json_files import check_fields, read_json
from data_prep.seeds import seed_for

SPLITS = ("train", "val", "test")
MANIFEST_COLUMNS = (
    "dataset",
    "source",
    "subject",
    "group",
    "auxiliary_group",
    "split",
    "status",
    "reason",
    "remark",
    "site",
    "slices",
    "target_slices",
    "auxiliary_slices",
    "target_file",
    "auxiliary_file",
    "target_sha256",
    "auxiliary_sha256",
    "score_before",
    "score_after",
)
# Published split of a pool of subjects -> the splits that it fills, in this order.
_ONE_POOL: dict[str, tuple[str, ...]] = {"": ("test", "val", "train")}
_FASTMRI_POOLS: dict[str, tuple[str, ...]] = {"val": ("test",), "train": ("val", "train")}
# Pool -> subjects and slices in the published data: IXI with 100 slices each (paper, V.A), fastMRI by the
# published pair lists, slice by slice up to the shorter volume of each pair.
PUBLISHED: dict[str, dict[str, tuple[int, int]]] = {
    "ixi": {"": (577, 57_700)},
    "fastmri": {"train": (227, 8_332), "val": (45, 1_665)},
}
COUNT_COLUMNS = (
    "dataset",
    "source",
    "published_split",
    "splits",
    "subjects",
    "excluded",
    "left_over",
    "used",
    "slices",
    "published_subjects",
    "published_slices",
    "explanation",
)
_AGAIN = "delete it and run the step `align` for this subject again"
_UNITS = "arbitrary scanner units"
# Of the subject and slice lists, and of the file's own structures; generous.
_BYTES_PER_SLICE, _HEADER_BYTES = 128, 16_384


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


def _pools(dataset: str) -> Mapping[str, tuple[str, ...]]:
    return _FASTMRI_POOLS if dataset == "fastmri" else _ONE_POOL


def _target_dtype(dataset: str) -> np.dtype[Any]:
    """Return complex numbers for measured k-space, magnitudes for all else."""
    return np.dtype(np.complex64 if dataset == "fastmri" else np.float32)


def read_record(folder: Path, dataset: str, subject: str) -> Record:
    """Read ``<folder>/<subject>.json``.

    Raises:
        BadInput: the file is missing, or a field is missing or wrong.
    """
    path = folder / f"{subject}.json"
    types = {field.name: field.type for field in fields(Record)}
    required = {field.name: field.type for field in fields(Record) if field.default is MISSING}
    stored = read_json(path, "run the step `align` for this subject", _AGAIN, required)
    known = {name: value for name, value in stored.items() if name in types}
    check_fields(known, {name: types[name] for name in known}, path, _AGAIN)
    record = Record(**known)
    expected: dict[str, tuple[str, ...]] = {
        "subject": (subject,),
        "dataset": (dataset,),
        "status": ("ok", "excluded"),
        "split_hint": tuple(_pools(dataset)),
    }
    for name, values in expected.items():
        if getattr(record, name) not in values:
            raise _broken(path, f"field `{name}` is {getattr(record, name)!r}, not {_either(values)}")
    # Without these, the same person or scan could go unnoticed into two splits.
    needed = ["group", "target_file", "auxiliary_file", "target_sha256", "auxiliary_sha256"]
    if dataset == "fastmri":
        needed.append("auxiliary_group")
    for name in needed:
        if record.usable and not getattr(record, name):
            raise _broken(path, f"field `{name}` is empty although `status` is ok")
    if record.usable and record.slices < 1:
        raise _broken(path, f"field `slices` is {record.slices} although `status` is ok")
    return record


def choose_splits(
    records: Sequence[Record], dataset: str, wanted: Mapping[str, int], seed: int
) -> dict[str, str]:
    """Assign subjects to splits by the rule at the top of this module.

    Args:
        records: all subjects of the dataset, excluded ones too, in any order.
        dataset: ``ixi``, ``fastmri`` or a further one.
        wanted: number of subjects of each split.
        seed: base seed of the experiment.

    Returns:
        Split by subject, for those that are used.

    Raises:
        BadInput: fewer subjects than the excluded ones explain, a split without any, or leakage.
    """
    chosen: dict[str, str] = {}
    for hint, splits in _pools(dataset).items():
        groups = _groups([record for record in records if record.usable and record.split_hint == hint])
        ranked = sorted(
            groups, key=lambda name: seed_for(use="split", dataset=dataset, group=name, seed=seed)
        )
        room = {split: wanted[split] for split in splits}
        for name in ranked:
            members = groups[name]
            split = next((split for split in splits if len(members) <= room[split]), None)
            if split is not None:
                room[split] -= len(members)
                chosen.update(dict.fromkeys(members, split))
        excluded = [record for record in records if not record.usable and record.split_hint == hint]
        # Persons of several scans may leave each split short of all but one of their scans.
        slack = len(splits) * (max(map(len, groups.values()), default=1) - 1)
        if sum(room.values()) > len(excluded) + slack or any(
            room[split] == wanted[split] for split in splits
        ):
            raise _too_few(dataset, splits, wanted, groups, excluded)
    _refuse_leakage([record for record in records if record.subject in chosen], chosen)
    return chosen


def _groups(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the subjects that must stay together, by the first of their persons' names."""
    group_of: dict[str, list[Record]] = {}
    for record in records:
        # A pair may bring two groups together.
        joined = {id(group): group for group in map(group_of.get, sorted(record.persons)) if group}
        group = [*(other for known in joined.values() for other in known), record]
        group_of.update({person: group for member in group for person in member.persons})
    groups = {id(group): group for group in group_of.values()}.values()
    return {min(record.group for record in group): [record.subject for record in group] for group in groups}


def _too_few(
    dataset: str,
    splits: Sequence[str],
    wanted: Mapping[str, int],
    groups: Mapping[str, Sequence[str]],
    excluded: Sequence[Record],
) -> BadInput:
    asked = " + ".join(f"{wanted[split]} {split}" for split in splits)
    usable = sum(len(members) for members in groups.values())
    reasons = "; ".join(f"{record.subject}: {record.reason}" for record in excluded)
    return BadInput(
        f"config: datasets.{dataset}.splits asks for {asked} subjects, but {usable} of {len(groups)} persons "
        f"can be used; lower the numbers or add scans (excluded: {reasons or 'none'})"
    )


def _refuse_leakage(records: Sequence[Record], chosen: Mapping[str, str]) -> None:
    """Raise BadInput where a person or a scan, by name or by content, stands in two splits."""
    first: dict[tuple[str, str], str] = {}
    for record in records:
        identities = {
            *(("person", person) for person in record.persons),
            ("file", record.target_file),
            ("file", record.auxiliary_file),
            ("file content", record.target_sha256),
            ("file content", record.auxiliary_sha256),
        }
        for what, identity in sorted(identities):
            other = first.setdefault((what, identity), record.subject)
            if chosen[other] != chosen[record.subject]:
                raise BadInput(
                    f"datasets.{record.dataset}: {what} {identity} would be in two splits, {chosen[other]} "
                    f"(subject {other}) and {chosen[record.subject]} (subject {record.subject}); remove one "
                    "of the two from the scans or the pair lists"
                )


def write_split(
    path: Path, folder: Path, split: str, records: Sequence[Record], shape: tuple[int, int]
) -> str:
    """Write one split, one subject in memory at a time; the same input gives the same bytes.

    Args:
        path: the split's file.
        folder: the aligned subjects.
        split: train, val or test.
        records: the split's subjects, all usable and of one dataset and source.
        shape: height and width of every slice.

    Returns:
        The fingerprint: SHA-256 over each subject's name, number of slices, target and auxiliary.

    Raises:
        BadInput: a subject's file is missing or broken, or its matrix is another.
    """
    dataset, source = records[0].dataset, records[0].source
    total = sum(record.slices for record in records)
    digest = hashlib.sha256()
    voxels = total * shape[0] * shape[1]
    size = voxels * (_target_dtype(dataset).itemsize + 4) + total * _BYTES_PER_SLICE + _HEADER_BYTES
    with replacing(path, size) as temporary, h5py.File(temporary, "w") as output:
        output.create_dataset("target", (total, *shape), _target_dtype(dataset))
        output.create_dataset("auxiliary", (total, *shape), np.float32)
        output["subject"] = [record.subject for record in records for _ in range(record.slices)]
        output["slice"] = np.concatenate([np.arange(record.slices, dtype=np.int32) for record in records])
        start = 0
        for record in records:
            digest.update(json.dumps([record.subject, record.slices, *shape]).encode())
            for name in ("target", "auxiliary"):
                values = _read_volume(folder / f"{record.subject}.h5", name, record, shape)
                output[name][start : start + record.slices] = values
                digest.update(values.view(np.uint8).data)
            start += record.slices
        attributes: dict[str, str | int] = {
            "dataset": dataset,
            "source": source,
            "split": split,
            "units": _UNITS,
            "height": shape[0],
            "width": shape[1],
            "fingerprint": digest.hexdigest(),
        }
        output.attrs.update(attributes)
    return digest.hexdigest()


def _read_volume(path: Path, name: str, record: Record, shape: tuple[int, int]) -> NDArray[Any]:
    with _opened(path) as stored:
        data = _dataset(stored, path, name)
        dtype = _target_dtype(record.dataset) if name == "target" else np.dtype(np.float32)
        if data.dtype != dtype:
            raise _broken(path, f"dataset `{name}` is {data.dtype}, not {dtype}")
        if data.shape[1:] != shape:
            matrix = " x ".join(map(str, data.shape[1:]))
            raise BadInput(
                f"{path}: dataset `{name}` has a matrix of {matrix}, other subjects {shape[0]} x {shape[1]}; "
                f"align all subjects with the same datasets.{record.dataset}.matrix"
            )
        if len(data) != record.slices:
            raise _broken(
                path, f"dataset `{name}` has {len(data)} slices, the JSON file says {record.slices}"
            )
        values: NDArray[Any] = data[()]
    if not np.isfinite(values).all():
        raise _broken(path, f"dataset `{name}` holds NaN or infinite values")
    return values


def _matrix(path: Path) -> tuple[int, int]:
    with _opened(path) as stored:
        data = _dataset(stored, path, "target")
        return int(data.shape[1]), int(data.shape[2])


def _opened(path: Path) -> AbstractContextManager[h5py.File]:
    return hdf5.opened(path, "run the step `align` for this subject", _AGAIN)


def _dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    data = hdf5.dataset(file, name)
    if data is None:
        raise _broken(path, f"dataset `{name}` is missing")
    if data.ndim != 3 or hdf5.too_large(data):
        raise _broken(path, f"dataset `{name}` has shape {data.shape}, not (slice, height, width)")
    return data


def _broken(path: Path, what: str) -> BadInput:
    return BadInput(f"{path}: {what}; {_AGAIN}")


def _either(values: Sequence[str]) -> str:
    return " or ".join(map(repr, values))


def write_manifest(path: Path, records: Sequence[Record], chosen: Mapping[str, str]) -> None:
    """Write one row for each subject, excluded ones too, sorted by subject."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, MANIFEST_COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for record in sorted(records, key=lambda record: record.subject):
            writer.writerow({**vars(record), "split": chosen.get(record.subject, "")})


# ---- counts ---------------------------------------------------------------------------------------


def count_pools(records: Sequence[Record], dataset: str, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """Compare the numbers of subjects and slices with the published data's, pool by pool.

    Args:
        records: all subjects of the dataset, excluded ones too.
        dataset: ``ixi`` or ``fastmri``.
        chosen: from ``choose_splits``.

    Returns:
        One row of counts.csv for each published split of the dataset.
    """
    rows = []
    for hint, splits in _pools(dataset).items():
        members = [record for record in records if record.split_hint == hint]
        used = [record for record in members if record.subject in chosen]
        row = {
            "dataset": dataset,
            "source": records[0].source,
            "published_split": hint,
            "splits": " ".join(splits),
            "subjects": len(members),
            "excluded": sum(not record.usable for record in members),
            "left_over": sum(record.usable and record.subject not in chosen for record in members),
            "used": len(used),
            "slices": sum(record.slices for record in used),
        }
        if records[0].source == "published" and dataset in PUBLISHED:
            row["published_subjects"], row["published_slices"] = PUBLISHED[dataset][hint]
            row["explanation"] = _explained(members, chosen, *PUBLISHED[dataset][hint])
        rows.append(row)
    return rows


def _explained(members: Sequence[Record], chosen: Mapping[str, str], subjects: int, slices: int) -> str:
    """Say where the difference between the slices used and those published comes from."""
    used = [record for record in members if record.subject in chosen]
    excluded = [record for record in members if not record.usable]
    left_over = [record for record in members if record.usable and record.subject not in chosen]
    known, over, here = (
        sum(record.available or 0 for record in group) for group in (excluded, left_over, used)
    )
    kept = sum(record.slices for record in used)
    unknown = sum(record.available is None for record in excluded)
    said = []
    if len(members) != subjects:
        said.append(f"{len(members)} subjects, but {subjects} were published")
    if excluded:
        counted = f"{known} slices" + (f", those of {unknown} unknown" if unknown else "")
        said.append(f"{len(excluded)} excluded, which `reason` in manifest.csv explains ({counted})")
    if left_over:
        said.append(f"{len(left_over)} usable but beyond the configured splits ({over} slices)")
    if here != kept:
        said.append(f"{here - kept} slices of the used scans not wanted by the configuration")
    if not unknown and here + known + over != slices:
        said.append(f"all scans together share {here + known + over} slices, but {slices} were published")
    return "; ".join(said) or "as published"


def write_counts(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``count_pools``'s rows."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, COUNT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# ---- all ------------------------------------------------------------------------------------------


def prepare(
    dataset: str, aligned: Path, subjects: Sequence[str], wanted: Mapping[str, int], seed: int, output: Path
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write {train,val,test}.h5, manifest.csv and counts.csv into ``output``.

    The order of ``subjects`` does not matter.

    Returns:
        Number of subjects of each split, and the rows of counts.csv.

    Raises:
        BadInput: see the functions above; also a subject listed twice, or embedded and published scans mixed.
    """
    repeated = sorted({subject for subject in subjects if list(subjects).count(subject) > 1})
    if repeated:
        raise BadInput(f"--subjects: {repeated[0]} is listed twice; list every subject once")
    records = [read_record(aligned, dataset, subject) for subject in sorted(subjects)]
    sources = sorted({record.source for record in records})
    if len(sources) > 1:
        raise BadInput(
            f"{aligned}: {' and '.join(sources)} scans are mixed; delete the folder and run the step `align`"
        )
    chosen = choose_splits(records, dataset, wanted, seed)
    used = [record for record in records if record.subject in chosen]
    shape = _matrix(aligned / f"{used[0].subject}.h5")
    for split in SPLITS:
        members = [record for record in used if chosen[record.subject] == split]
        write_split(output / f"{split}.h5", aligned, split, members, shape)
    write_manifest(output / "manifest.csv", records, chosen)
    counts = count_pools(records, dataset, chosen)
    write_counts(output / "counts.csv", counts)
    return {split: list(chosen.values()).count(split) for split in SPLITS}, counts


def parse_subjects(text: str) -> list[str]:
    """Read the JSON list of ``--subjects``."""
    subjects = _parse_json("--subjects", text)
    if not isinstance(subjects, list) or not subjects or not all(isinstance(name, str) for name in subjects):
        raise BadInput('--subjects: must be a JSON list of names such as ["IXI900", "IXI901"]')
    return subjects


def parse_splits(text: str) -> dict[str, int]:
    """Read the JSON object of ``--splits``."""
    splits = _parse_json("--splits", text)
    if not isinstance(splits, dict) or set(splits) != set(SPLITS):
        raise BadInput('--splits: must be a JSON object such as {"train": 8, "val": 2, "test": 2}')
    for name, count in splits.items():
        if type(count) is not int or count < 1:
            raise BadInput(f"--splits: `{name}` is {count!r}; give a whole number, at least 1")
    return splits


def _parse_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{option}: not JSON ({error}); quote it for the shell") from error


def main() -> None:
    """Gather the aligned subjects of a dataset into its train, val and test files."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.prepare", description=main.__doc__)
    parser.add_argument("--dataset", required=True, choices=datasets(), help="name of the dataset")
    parser.add_argument(
        "--aligned", type=Path, required=True, help="folder of <subject>.h5 and <subject>.json"
    )
    parser.add_argument("--subjects", required=True, help="JSON list of the subjects to gather")
    parser.add_argument(
        "--splits", required=True, help='number of subjects as JSON, e.g. {"train": 8, "val": 2, "test": 2}'
    )
    parser.add_argument("--seed", type=int, required=True, help="base seed; the split follows from it")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the split files and manifest.csv"
    )
    arguments = parser.parse_args()
    wanted = parse_splits(arguments.splits)
    subjects = parse_subjects(arguments.subjects)
    got, counts = prepare(
        arguments.dataset, arguments.aligned, subjects, wanted, arguments.seed, arguments.output
    )
    for split in SPLITS:
        missing = wanted[split] - got[split]
        note = (
            f", {missing} fewer than configured (excluded, or of a person who does not fit)"
            if missing
            else ""
        )
        print(f"{arguments.dataset} {split}: {got[split]} subjects{note}")
    for row in counts:
        if "explanation" in row:
            print(
                f"{row['splits'].replace(' ', ' and ')}: {row['slices']} slices of {row['used']} subjects "
                f"(published: {row['published_slices']} of {row['published_subjects']}): {row['explanation']}"
            )


if __name__ == "__main__":
    run_command(main)
