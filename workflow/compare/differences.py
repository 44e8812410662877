"""What differs between two folders, and whether their scores can be compared."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from data_prep.datasets.contract import discover
from data_prep.errors import BadInput
from data_prep.io.json_files import canonical
from data_prep.masks.registry import all_masks, label
from workflow.compare.side import AGAIN, SIDES, Side, shared
from workflow.provenance.files import FILE
from workflow.provenance.runs import leaves

LONGEST, SHOWN = 60, 12  # characters of a text that others wrote; digits of a hash


@dataclass(frozen=True)
class Difference:
    """What differs: its kind (configuration, code, ...), its name, and how it is in the two folders."""

    kind: str
    name: str
    a: str
    b: str


def differences(a: Side, b: Side) -> list[Difference]:
    """Return what differs in configuration, code, packages, devices, data and masks."""
    found: list[Difference] = []
    if a.told and b.told:
        found += _differing("configuration", *map(_settings, (a, b)))
        found += _differing("code", *(_short(side.told["code"]["sources"]) for side in (a, b)))
    found += _differing("runs", *map(_everywhere, (a, b)))
    for dataset in shared(a, b, "dataset"):
        found += _differing(f"data of {dataset}", *(_splits(side, dataset) for side in (a, b)))
        masks = shared(a, b, "mask", dataset)
        found += _differing(f"masks of {dataset}", *(_hashes(side, dataset, masks) for side in (a, b)))
    return found


def _settings(side: Side) -> dict[str, str]:
    try:
        places = {name: canonical(value) for name, value in leaves(side.told["configuration"])}
    except RecursionError as error:
        raise BadInput(f"{side.folder / FILE}: configuration is nested too deeply; {AGAIN}") from error
    return places


def _everywhere(side: Side) -> dict[str, str]:
    """Return what the runs of a folder say of code, packages and devices, all of them together."""
    facts = list(side.runs.values())
    packages = {name for run in facts for name in run["packages"]}
    return {
        "commit": _joined((run["code"]["commit"] or "outside a git checkout")[:SHOWN] for run in facts),
        "device": _joined(run["device"] for run in facts),
        **{name: _joined(run["packages"].get(name, "") for run in facts) for name in sorted(packages)},
    }


def _splits(side: Side, dataset: str) -> dict[str, str]:
    facts = side.facts(dataset)
    names = {split for run in facts for split in run["data_fingerprints"]}
    return {n: _joined(run["data_fingerprints"].get(n, "")[:SHOWN] for run in facts) for n in sorted(names)}


def _hashes(side: Side, dataset: str, masks: Iterable[str]) -> dict[str, str]:
    return {mask: _joined(run["mask_sha256"][:SHOWN] for run in side.facts(dataset, mask)) for mask in masks}


def _short(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:SHOWN] for name, value in hashes.items()}


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values) - {""}))


def _differing(kind: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name) and name != "experiment":
            yield Difference(kind, cut(name), cut(a.get(name, "—")), cut(b.get(name, "—")))


def cut(text: str) -> str:
    """Shorten a text that others wrote."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def dataset_label(name: str) -> str:
    """Return a dataset's name in print; its id where it is not known here."""
    return discover()[name][1].label if name in discover() else name


def mask_label(name: str) -> str:
    """Return a mask's name in print; its id where it is not known here."""
    return label(name) if name in all_masks() else name


def obstacle(a: Side, b: Side, dataset: str) -> str:
    """Say why the scores of a dataset cannot be compared by subject; empty if they can.

    The fingerprints tell that the slices are the same. Where they are not, as at another matrix, checksums of
    the scans may still tell that the subjects are: ids alone do not, which others may have given anew.
    """
    (mine, split), (theirs, other) = a.tests(dataset), b.tests(dataset)
    if mine != theirs:
        return (
            f"the test subjects are others: {len(mine & theirs)} in both, {len(mine - theirs)} in a alone, "
            f"{len(theirs - mine)} in b alone"
        )
    if split == other and len(split) == 1 and split != {""}:
        return ""
    scans = [side.scans(dataset) for side in (a, b)]
    if not all(scans):
        return (
            "the test splits are not the same slices, and without data/"
            f"{dataset}/manifest.csv in both folders nothing tells whether the scans are the same"
        )
    return "" if scans[0] == scans[1] else "the test subjects have the same ids, but are other scans"


def notes(a: Side, b: Side) -> list[str]:
    """Return what has to be known to read the differences, one sentence each."""
    said = []
    for side, name in zip((a, b), SIDES, strict=True):
        if not side.told:
            said.append(
                f"{name} has no {FILE}: configurations and sources are not compared; the workflow's last "
                "step writes it."
            )
    if a.convention != b.convention and a.convention and b.convention:
        said.append(f"Metric conventions differ ({a.convention}, {b.convention}): volumes are compared.")
    if set(a.scores["seed"]) != set(b.scores["seed"]):
        said.append("The training seeds differ: the scores of each folder are averaged over its own first.")
    if a.told and b.told:
        sources = [side.told["code"]["sources"] for side in (a, b)]
        changed = sorted(
            name
            for name in {*sources[0], *sources[1]}
            if name.startswith(("workflow/metrics/", "workflow/evaluate/"))
            and sources[0].get(name) != sources[1].get(name)
        )
        if changed:
            said.append(f"Scores were computed by other code: {cut(', '.join(changed))}.")
    return [*said, *(note for dataset in shared(a, b, "dataset") for note in _notes_of(a, b, dataset))]


def _notes_of(a: Side, b: Side, dataset: str) -> Iterator[str]:
    name = dataset_label(dataset)
    if why := obstacle(a, b, dataset):
        yield f"{name}: not compared, because {why}."
        return
    other = [
        mask_label(mask)
        for mask in shared(a, b, "mask", dataset)
        if len({facts["mask_sha256"] for side in (a, b) for facts in side.facts(dataset, mask)}) > 1
    ]
    if other:
        yield f"{name}: the masks are other realisations, which differ too: {cut(', '.join(other))}."
    if a.tests(dataset)[1] != b.tests(dataset)[1]:
        yield f"{name}: the same scans, prepared otherwise, so that scores differ by that too."
