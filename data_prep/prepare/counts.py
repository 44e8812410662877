"""manifest.csv and counts.csv: who was used, and how that differs from what was published."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import Published, dataset_of
from data_prep.datasets.record import Record
from data_prep.io.files import write_rows
from data_prep.io.private import named_in

_MOST_NAMES = 20
_UNTABLED = ("transform", "geometry")  # matrices


def write_manifest(path: Path, records: Sequence[Record], chosen: Mapping[str, str]) -> None:
    """Write one row for each subject, excluded ones too, sorted by subject; persons as ``shown_persons``."""
    names = [entry.name for entry in fields(Record) if entry.name not in _UNTABLED]
    columns = ["split" if name == "split_hint" else name for name in names]
    ordered = sorted(records, key=lambda record: record.subject)
    shown = shown_persons(ordered)
    rows = (
        {**asdict(record), "split": chosen.get(record.subject, "")}
        | {name: shown.get(getattr(record, name), "") for name in ("group", "auxiliary_group")}
        for record in ordered
    )
    write_rows(path, columns, ({name: row[name] for name in columns} for row in rows))


def shown_persons(records: Sequence[Record]) -> dict[str, str]:
    """Return what a published table calls each person.

    An id that was read from a scan's header may be a patient's. A hash of it is no secret where ids can be
    guessed or are listed somewhere, so persons are numbered as they appear: a number tells which scans are
    of one person, and nothing else. Those who are made up, or whom the subjects' ids name, keep theirs.

    Args:
        records: of one dataset, in the order of the table.
    """
    told = all(
        record.source == "embedded" or named_in(person, record.subject)
        for record in records
        for person in record.persons
    )
    persons = dict.fromkeys(
        person for record in records for person in (record.group, record.auxiliary_group) if person
    )
    return {person: person if told else f"person-{number}" for number, person in enumerate(persons, 1)}


def count_pools(
    records: Sequence[Record], dataset: str, chosen: Mapping[str, str], wanted: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Compare the numbers of subjects and slices with the published data's, pool by pool.

    Args:
        records: all subjects of the dataset, excluded ones too.
        dataset: id.
        chosen: from ``choose_splits``.
        wanted: number of subjects of each split.

    Returns:
        One row of counts.csv for each published split of the dataset.
    """
    rows = []
    published = dataset_of(dataset).published
    for hint, splits in dataset_of(dataset).pools.items():
        members = [record for record in records if record.split_hint == hint]
        used = [record for record in members if record.subject in chosen]
        taken = {split: sum(chosen[record.subject] == split for record in used) for split in splits}
        short = {split: (taken[split], wanted[split]) for split in splits if taken[split] < wanted[split]}
        known = records[0].source == "published" and hint in published
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
            "published_subjects": published[hint].subjects if known else "",
            "paper_subjects": published[hint].counted if known else "",
            "paper_slices": published[hint].slices if known else "",
            "explanation": _explained(members, chosen, published[hint], short) if known else "",
        }
        rows.append(row)
    return rows


def _explained(
    members: Sequence[Record],
    chosen: Mapping[str, str],
    published: Published,
    short: Mapping[str, tuple[int, int]],
) -> str:
    """Say where the difference between what is used and what the paper counts comes from."""
    used = [record for record in members if record.subject in chosen]
    excluded = [record for record in members if not record.usable]
    left_over = [record for record in members if record.usable and record.subject not in chosen]
    known, over, here = (
        sum(record.available or 0 for record in group) for group in (excluded, left_over, used)
    )
    kept = sum(record.slices for record in used)
    both = sum(bool(record.target_sha256 and record.auxiliary_sha256) for record in members)
    said = []
    if len(members) != published.subjects:
        said.append(f"{len(members)} subjects, but {published.subjects} are published")
    if not both == len(members) == published.counted:
        said.append(f"{both} of {len(members)} have both scans, the paper counts {published.counted}")
    if excluded:
        names = [_named(record, published.holes) for record in excluded[:_MOST_NAMES]]
        more = len(excluded) - len(names)
        names += [f"{more} more, which `reason` in manifest.csv explains"] if more else []
        said.append(f"{len(excluded)} excluded: {', '.join(names)}")
    said += [f"{split} has {number} subjects of {asked}" for split, (number, asked) in short.items()]
    if left_over:
        said.append(f"{len(left_over)} usable but beyond the configured splits ({over} slices)")
    if here != kept:
        said.append(f"{here - kept} slices of the used scans not wanted by the configuration")
    unknown = any(record.available is None for record in excluded)
    if not unknown and here + known + over != published.slices:
        said.append(f"all scans together share {here + known + over} slices, the paper's {published.slices}")
    return "; ".join(said) or "as published"


def _named(record: Record, holes: Mapping[str, str]) -> str:
    """Name an excluded subject, why, if that was to be expected, and the slices that go with it."""
    why = holes.get(record.subject, "`reason` in manifest.csv explains it")
    slices = "" if record.available is None else f", {record.available} slices"
    return f"{record.subject} ({why}{slices})"
