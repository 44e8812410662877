"""Aligned subjects to the three split files of a dataset and the manifest that says what became of each.

Subjects are split, never slices, and all subjects of one group go the same way: those of one person, and
pairs of which any two scans name the same person. Every group has a rank hashed from the base
seed and its name, so that the ranking does not change when a subject drops out. In that order the groups
that can be used fill the test split, then validation, then training: test and validation keep their size
when subjects are excluded, training takes the shortfall, and across each border no more subjects move
than were excluded. A group that is too large for the room left in a split goes to the next, and stays out
if it fits in none. A
dataset that is published in splits has a pool of subjects for each, and each pool fills splits of its own
(``Dataset.pools``). Usable subjects beyond the configured numbers stay out, with an empty split in the
manifest.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of, datasets
from data_prep.datasets.record import parse_splits, parse_subjects, read_record
from data_prep.errors import BadInput, run_command
from data_prep.io.files import write_rows
from data_prep.io.json_files import write_json
from data_prep.prepare.counts import count_pools, write_manifest
from data_prep.prepare.files import stored_matrix, write_split
from data_prep.prepare.splits import choose_splits

SPLITS = ("train", "val", "test")


def prepare(
    dataset: str,
    aligned: Path,
    subjects: Sequence[str],
    wanted: Mapping[str, int],
    seed: int,
    output: Path,
    configuration: str = "",
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write {train,val,test}.h5, manifest.csv, counts.csv and prepared.json into ``output``.

    The order of ``subjects`` does not matter. ``configuration``, a hash of what was asked for, is recorded.

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
    chosen = choose_splits(records, dataset, wanted, seed)
    used = [record for record in records if record.subject in chosen]
    shape = stored_matrix(aligned / f"{used[0].subject}.h5")
    fingerprints = {}
    for split in SPLITS:
        members = [record for record in used if chosen[record.subject] == split]
        fingerprints[split] = write_split(output / f"{split}.h5", aligned, split, members, shape)
    write_manifest(output / "manifest.csv", records, chosen)
    counts = count_pools(records, dataset, chosen)
    write_rows(output / "counts.csv", list(counts[0]), counts)
    write_json(output / "prepared.json", {"configuration": configuration, "fingerprints": fingerprints})
    return {split: list(chosen.values()).count(split) for split in SPLITS}, counts


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
    parser.add_argument("--configuration", default="", help="sha256 of what is asked for, to be recorded")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the split files and manifest.csv"
    )
    arguments = parser.parse_args()
    wanted = parse_splits("--splits", arguments.splits)
    subjects = parse_subjects(arguments.subjects)
    got, counts = prepare(
        arguments.dataset,
        arguments.aligned,
        subjects,
        wanted,
        arguments.seed,
        arguments.output,
        arguments.configuration,
    )
    for split in SPLITS:
        missing = wanted[split] - got[split]
        why = "(excluded, or of a person who does not fit)"
        note = f", {missing} fewer than configured {why}" if missing else ""
        print(f"{arguments.dataset} {split}: {got[split]} subjects{note}")
    for row in counts:
        if row["explanation"]:
            print(
                f"{row['splits'].replace(' ', ' and ')}: {row['slices']} slices of {row['used']} subjects "
                f"(published: {row['published_slices']} of {row['published_subjects']}): {row['explanation']}"
            )


if __name__ == "__main__":
    run_command(main)
