"""Aligned subjects to the three split files of a dataset and the manifest that says what became of each.

Subjects are split, never slices, and all subjects of one group go the same way: those of one person, and
pairs of which any two scans name the same person. Every group has a rank hashed from the base
seed and its name, so that the ranking does not change when a subject drops out. In that order the groups
that can be used fill the test split, then validation, then training: test and validation keep their size
when subjects are excluded, training takes the shortfall, and across each border no more subjects move
than were excluded. Where fewer subjects are there than the splits ask for, that is refused, unless the
number of training is said to be the largest (``--at-most``). A group that is too large for the room left in
a split goes to the next, and stays out if it fits in none. A dataset that is published in splits has a pool
of subjects for each, and each pool fills splits of its own
(``Dataset.pools``). Usable subjects beyond the configured numbers stay out, with an empty split in the
manifest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from data_prep.datasets.contract import DatasetId, dataset_of
from data_prep.datasets.record import Subjects, parse_splits, read_record
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import write_rows
from data_prep.io.json_files import write_json
from data_prep.prepare.counts import count_pools, write_manifest
from data_prep.prepare.files import stored_matrix, write_split
from data_prep.prepare.splits import choose_splits
from data_prep.registration.score import outliers

SPLITS = ("train", "val", "test")


def prepare(
    dataset: str,
    aligned: Path,
    subjects: Sequence[str],
    wanted: Mapping[str, int],
    seed: int,
    output: Path,
    at_most: bool = False,
    configuration: str = "",
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write {train,val,test}.h5, manifest.csv, counts.csv and prepared.json into ``output``.

    Subjects whose score is an outlier are printed and remarked in the manifest. The order of ``subjects``
    does not matter. ``configuration``, a hash of what was asked for, is recorded.

    Returns:
        Number of subjects of each split, and the rows of counts.csv.

    Raises:
        BadInput: see ``choose_splits`` and ``write_split``; also a subject listed twice, or embedded and
            published scans mixed.
    """
    repeated = sorted({subject for subject in subjects if list(subjects).count(subject) > 1})
    if repeated:
        raise BadInput(f"--subjects: {repeated[0]} is listed twice; list every subject once")
    entry = dataset_of(dataset)
    records = [
        read_record(aligned, dataset, subject, entry.pools, entry.own_persons) for subject in sorted(subjects)
    ]
    sources = sorted({record.source for record in records})
    if len(sources) > 1:
        raise BadInput(
            f"{aligned}: {' and '.join(sources)} scans are mixed; delete the folder and run the step `align`"
        )
    odd = outliers({record.subject: record.score_after for record in records})
    for subject, remark in odd.items():
        print(f"{subject}: {remark}", flush=True)
    records = [
        replace(record, remark="; ".join(filter(None, (record.remark, odd.get(record.subject)))))
        for record in records
    ]
    chosen = choose_splits(records, dataset, wanted, seed, at_most)
    used = [record for record in records if record.subject in chosen]
    shape = stored_matrix(aligned / f"{used[0].subject}.h5")
    fingerprints = {}
    for split in SPLITS:
        members = [record for record in used if chosen[record.subject] == split]
        fingerprints[split] = write_split(output / f"{split}.h5", aligned, split, members, shape)
    write_manifest(output / "manifest.csv", records, chosen)
    counts = count_pools(records, dataset, chosen, wanted)
    write_rows(output / "counts.csv", list(counts[0]), counts)
    write_json(output / "prepared.json", {"configuration": configuration, "fingerprints": fingerprints})
    return {split: list(chosen.values()).count(split) for split in SPLITS}, counts


@command
def main(
    dataset: Annotated[DatasetId, "name of the dataset"],
    aligned: Annotated[Path, "folder of <subject>.h5 and <subject>.json"],
    subjects: Subjects,
    splits: Annotated[
        dict[str, int],
        partial(parse_splits, "--splits"),
        'number of subjects as JSON, e.g. {"train": 8, "val": 2, "test": 2}',
    ],
    seed: Annotated[int, "base seed; the split follows from it"],
    output: Annotated[Path, "folder for the split files and manifest.csv"],
    at_most: Annotated[bool, "let the training split have fewer subjects than --splits says"] = False,
    configuration: Annotated[str, "sha256 of what is asked for, to be recorded"] = "",
) -> None:
    """Gather the aligned subjects of a dataset into its train, val and test files."""
    got, counts = prepare(dataset, aligned, subjects, splits, seed, output, at_most, configuration)
    for split in SPLITS:
        missing = splits[split] - got[split]
        why = "(not there, excluded, or of a person who does not fit)"
        note = f", {missing} fewer than configured {why}" if missing else ""
        print(f"{dataset} {split}: {got[split]} subjects{note}")
    for row in counts:
        if row["explanation"]:
            print(
                f"{row['splits'].replace(' ', ' and ')}: {row['slices']} slices of {row['used']} subjects "
                f"(paper: {row['paper_slices']} of {row['paper_subjects']}): {row['explanation']}"
            )
