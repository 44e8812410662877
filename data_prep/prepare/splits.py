"""Which subject goes into which split; persons are never divided."""

from collections.abc import Mapping, Sequence

from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import Record
from data_prep.errors import BadInput
from data_prep.seeds import seed_for


def choose_splits(
    records: Sequence[Record], dataset: str, wanted: Mapping[str, int], seed: int, at_most: bool = False
) -> dict[str, str]:
    """Assign subjects to splits by the rule that ``data_prep.prepare`` states.

    Args:
        records: all subjects of the dataset, excluded ones too, in any order.
        dataset: id.
        wanted: number of subjects of each split.
        seed: base seed of the experiment.
        at_most: whether the number of training is the largest, and fewer will do.

    Returns:
        Split by subject, for those that are used.

    Raises:
        BadInput: fewer subjects than the excluded ones explain, a split without any, or leakage.
    """
    chosen: dict[str, str] = {}
    for hint, splits in dataset_of(dataset).pools.items():
        members = [record for record in records if record.split_hint == hint]
        groups = _groups([record for record in members if record.usable])
        ranked = sorted(
            groups, key=lambda name: seed_for(use="split", dataset=dataset, group=name, seed=seed)
        )
        room = {split: wanted[split] for split in splits}
        for name in ranked:
            group = groups[name]
            split = next((split for split in splits if len(group) <= room[split]), None)
            if split is not None:
                room[split] -= len(group)
                chosen.update(dict.fromkeys(group, split))
        excluded = [record for record in members if not record.usable]
        # Persons of several scans may leave each split short of all but one of their scans.
        slack = len(splits) * (max(map(len, groups.values()), default=1) - 1)
        asked, short = sum(wanted[split] for split in splits), sum(room.values())
        unexplained = asked > len(members) or short > len(excluded) + slack
        exact = not (at_most and "train" in splits)
        if (exact and unexplained) or any(room[split] == wanted[split] for split in splits):
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
        f"config: datasets.{dataset}.splits asks for {asked} subjects, but {usable}, of {len(groups)} "
        f"persons, can be used; lower the numbers or add scans (excluded: {reasons or 'none'})"
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
                # A person's id may be a patient's, and messages go to logs; the subjects tell who it is.
                who = "a person" if what == "person" else f"{what} {identity}"
                raise BadInput(
                    f"datasets.{record.dataset}: {who} would be in two splits, {chosen[other]} "
                    f"(subject {other}) and {chosen[record.subject]} (subject {record.subject}); remove one "
                    "of the two from the scans or the pair lists"
                )
