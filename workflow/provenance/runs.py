"""The runs of a plan as gatherers read them: each compared with what was planned, and with its own files.

Snakemake runs a job again whose configuration or sources changed, unless it is told to look at times only
(``--rerun-triggers mtime``) or that all is well (``--touch``). So what gathers runs goes by their records.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from data_prep.errors import BadInput
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import canonical, read_json
from workflow.provenance.record import AGAIN, RunRecord, read_run

TRIALS = "tuning/trials"
_AGAIN = "run the workflow again with --forcerun {}, which repeats no training that is as planned"
# Folders of runs, and the rules that make these.
_RULES = {"runs": "train evaluate", TRIALS: "trial"}


@dataclass(frozen=True)
class Planned:
    """Runs that are asked for with one specification.

    Attributes:
        spec: their spec as plain data, but for ``mask`` and ``seed``, which each one's folder names.
        data: ``data_sha256`` of their dataset.
        runs: folders below ``runs/``: dataset/mask/method/seed<k>.
    """

    spec: dict[str, Any]
    data: str
    runs: tuple[str, ...]


# What the commands take that gather runs.
PlannedRuns = Annotated[list[Planned], "the runs, as the plan has them"]


def read_runs(
    results: Path, planned: Iterable[Planned], *files: str, among: str = "runs"
) -> dict[str, RunRecord]:
    """Return the records of planned runs by folder; those that are not there are passed over.

    Args:
        results: folder of the experiment, with ``runs/``, ``masks/`` and ``data/``.
        planned: the runs.
        files: of each run that are to be read, such as ``metrics.csv``.
        among: folder that they lie in, ``runs``, or ``TRIALS`` for those of a tuning.

    Raises:
        BadInput: a run is of another configuration, other data or another mask than the plan's, or a file is
            not the one that its ``run.json`` tells of; the message names both.
    """
    found = {}
    for group in planned:
        for name in group.runs:
            folder = results / among / name
            if any((folder / file).exists() for file in ("run.json", *files)):
                found[name] = read_run(folder)
                _check_run(results, among, name, group, found[name])
                for file in files:
                    check_file(folder / file, found[name])
    return found


def _check_run(results: Path, among: str, name: str, group: Planned, record: RunRecord) -> None:
    """Refuse a run that is not the planned one."""
    path, again = results / among / name / "run.json", _AGAIN.format(_RULES[among])
    dataset, mask, *_, seed = name.split("/")
    wanted = group.spec | {"mask": mask, "seed": int(seed.removeprefix("seed"))}
    if other := _differing(record.spec, wanted):
        raise BadInput(f"{path}: this run is of another configuration ({other}); {again}")
    data = results / "data" / dataset / "prepared.json"
    prepared = read_json(data, damaged=AGAIN, fields={"configuration": str, "fingerprints": dict[str, str]})
    if prepared["configuration"] != group.data:
        raise BadInput(
            f"{data}: these scans were prepared for another configuration of datasets.{dataset}; run the "
            "workflow again with --forceall"
        )
    for split, fingerprint in record.data_fingerprints.items():
        if prepared["fingerprints"].get(split) != fingerprint:
            raise BadInput(f"{path}: this run read another {split}.h5 than {data} tells of; {again}")
    sampled = results / "masks" / dataset / f"{mask}.json"
    if read_json(sampled, damaged=AGAIN, fields={"sha256": str})["sha256"] != record.mask_sha256:
        raise BadInput(f"{path}: this run was sampled by another mask than {sampled} tells of; {again}")


def check_file(path: Path, record: RunRecord) -> None:
    """Refuse a file that is there, but is not the one that the run's record tells of.

    Raises:
        BadInput: naming it.
    """
    if path.exists() and file_sha256(path) != record.outputs.get(path.name):
        raise BadInput(
            f"{path}: this is not the file that run.json beside it tells of, but an older, newer or edited "
            "one; delete run.json and run the workflow again"
        )


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any], most: int = 3) -> str:
    """Say where two specs differ: "training.epochs is 1, planned is 2"."""
    mine, planned = dict(leaves(found)), dict(leaves(wanted))
    names = sorted(name for name in mine | planned if mine.get(name) != planned.get(name))
    said = [f"{name} is {mine.get(name)}, planned is {planned.get(name)}" for name in names[:most]]
    return "; ".join(said) + (f" and {len(names) - most} more" if len(names) > most else "")


def leaves(content: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, each with its keys joined by points."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def run_identity(record: RunRecord) -> str:
    """Return ``identity_of`` a run, by its record."""
    return identity_of(
        record.spec, record.training_hash, record.mask_sha256, record.data_fingerprints.get("test", "")
    )


def identity_of(spec: Mapping[str, Any], training: str | None, mask: str, data: str) -> str:
    """Return the sha256 that tells evaluations of one run from those of another.

    Args:
        spec: of the run.
        training: its training hash.
        mask: checksum of its mask set.
        data: fingerprint of the test split.
    """
    return hashlib.sha256(canonical([spec, training, mask, data]).encode()).hexdigest()
