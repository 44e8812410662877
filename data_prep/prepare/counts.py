"""manifest.csv and counts.csv: who was used, and how that differs from what was published."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import Record
from data_prep.io.files import write_rows


def write_manifest(path: Path, records: Sequence[Record], chosen: Mapping[str, str]) -> None:
    """Write one row for each subject, excluded ones too, sorted by subject."""
    names = [entry.name for entry in fields(Record) if entry.name != "transform"]
    columns = ["split" if name == "split_hint" else name for name in names]
    ordered = sorted(records, key=lambda record: record.subject)
    rows = ({**asdict(record), "split": chosen.get(record.subject, "")} for record in ordered)
    write_rows(path, columns, ({name: row[name] for name in columns} for row in rows))


def count_pools(records: Sequence[Record], dataset: str, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """Compare the numbers of subjects and slices with the published data's, pool by pool.

    Args:
        records: all subjects of the dataset, excluded ones too.
        dataset: id.
        chosen: from ``choose_splits``.

    Returns:
        One row of counts.csv for each published split of the dataset.
    """
    rows = []
    published = dataset_of(dataset).published
    for hint, splits in dataset_of(dataset).pools.items():
        members = [record for record in records if record.split_hint == hint]
        used = [record for record in members if record.subject in chosen]
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
            "published_subjects": published[hint][0] if known else "",
            "published_slices": published[hint][1] if known else "",
            "explanation": _explained(members, chosen, *published[hint]) if known else "",
        }
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
