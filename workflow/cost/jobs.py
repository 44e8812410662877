"""What the jobs beside trainings take: seconds, memory and disk, from measured jobs of other sizes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.datasets.contract import dataset_of
from data_prep.io.frames import read_csv
from workflow.cost.estimate import Steps, run_seconds, steps_of
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.room import data_files, slices_of, split_slices
from workflow.provenance.sources import RESOURCES

FILE = RESOURCES / "measured_jobs.csv"
# Seconds that importing torch takes a job, and whatever else does not grow.
START, MASK, PREPARE_PER_BYTE = 3.0, 2.0, 2e-8
_NUMBERS = ("matrix", "slices", "seconds", "memory", "extra")


@dataclass(frozen=True)
class Job:
    """What one job takes.

    Attributes:
        seconds: of one core.
        memory: bytes.
        extra: bytes of what it writes beside arrays: raw scans, pictures.
    """

    seconds: float
    memory: float = 0.0
    extra: float = 0.0


# (job, dataset) -> what a job takes, by the number of voxels.
Table = Mapping[tuple[str, str], Sequence[tuple[float, Job]]]


def read_jobs(path: Path = FILE) -> Table:
    """Read the measured jobs.

    Raises:
        BadInput: the file is missing, or a column is missing or of another type.
    """
    again = "restore it with git"
    kinds = dict.fromkeys(("machine", "job", "dataset"), "string") | dict.fromkeys(_NUMBERS, "float64")
    found: dict[tuple[str, str], list[tuple[float, Job]]] = {}
    for row in read_csv(path, kinds, again, again).to_dict("records"):
        job = Job(row["seconds"], row["memory"], row["extra"])
        found.setdefault((row["job"], row["dataset"]), []).append((row["matrix"] ** 2 * row["slices"], job))
    return {key: sorted(rows, key=lambda row: row[0]) for key, rows in found.items()}


def at(rows: Sequence[tuple[float, Job]], voxels: float) -> Job:
    """Return what a job of so many voxels takes, from measured ones.

    Between two of them in proportion; above the largest as many times what that takes as there are voxels; of
    a smaller one than the smallest, what the smallest takes, of which most is its start.
    """
    sizes = [size for size, _ in rows]
    within = float(np.clip(voxels, sizes[0], sizes[-1]))
    beyond = max(1.0, voxels / sizes[-1])
    seconds, memory, extra = (
        float(np.interp(within, sizes, [getattr(job, name) for _, job in rows]))
        for name in ("seconds", "memory", "extra")
    )
    return Job(seconds * beyond, memory * beyond, extra * beyond)


def data_jobs(plan: Plan, table: Table) -> dict[str, tuple[int, Job | None]]:
    """Return rule -> how many jobs of it there are, and what one takes; None where nothing is known."""
    found: dict[str, tuple[int, Job | None]] = {}
    maps = {name for d in plan.config["datasets"] if plan.subjects.embedded(d) for name in dataset_of(d).maps}
    if maps:
        found["fetch_donor"] = len(maps), table["fetch_donor", ""][0][1]
    for name, configured in plan.config["datasets"].items():
        subjects, pixels = len(plan.subjects[name]), configured["matrix"] ** 2
        for rule, job, slices in (
            (f"embed_{name}", "embed", configured.get("acquired_slices") or 0),
            (f"align {name}", "align", slices_of(configured)),
        ):
            if job == "align" or plan.subjects.embedded(name):
                rows = table.get((job, name))
                found[rule] = subjects, at(rows, pixels * slices) if rows else None
    prepared = sum(files.total for files in data_files(plan) if files.kind == "prepared")
    datasets = len(plan.config["datasets"])
    found["prepare"] = datasets, Job(1.0 + PREPARE_PER_BYTE * prepared / datasets)
    found["mask"] = len({(run.dataset, run.mask) for run in plan.runs}), Job(MASK)
    return found


def jobs_done(plan: Plan) -> Counter[str]:
    """Return rule -> how many of its jobs are not to come, since the shared folder has what they make."""
    found: Counter[str] = Counter()
    subjects, donors = plan.subjects, set[str]()
    for name in plan.config["datasets"]:
        if subjects.embedded(name):
            donors |= {f"{subjects.root}/donors/{maps}.json" for maps in dataset_of(name).maps}
            found[f"embed_{name}"] = _there(scans.target for scans in subjects[name].values())
        aligned = subjects.folder("aligned", name)
        found[f"align {name}"] = _there(f"{aligned}/{subject}.json" for subject in subjects[name])
        found["prepare"] += _there([f"{subjects.folder('data', name)}/prepared.json"])
    found["fetch_donor"] = _there(donors)
    return +found


def _there(paths: Iterable[str]) -> int:
    return sum(Path(path).is_file() for path in paths)


def seconds_per_job(plan: Plan, steps: Mapping[str, Steps], table: Table) -> dict[str, float]:
    """Return rule -> seconds that one of its jobs takes on one device, the mean over those that are known.

    Rules whose jobs nobody measured are left out. Seconds of a training are those of ``steps``.
    """
    found: dict[str, float] = {}
    aligned: list[tuple[int, float]] = []
    for rule, (count, job) in data_jobs(plan, table).items():
        if job is None:
            continue
        if rule.startswith("align "):
            aligned.append((count, job.seconds))
        else:
            found[rule] = job.seconds
    if aligned:
        found["align"] = sum(n * seconds for n, seconds in aligned) / sum(n for n, _ in aligned)
    trained = run_seconds(plan, steps)
    if trained:
        found["train"] = START + sum(trained.values()) / len(trained)
    trust = TrustPlan(plan)
    evaluated = {run: 1 for run in plan.runs if not plan.trained(run.method)}
    probed = {run: trust.conditions(run) for run in trust.runs}
    for rule, runs in (("evaluate", evaluated), ("probe", probed)):
        tested = [
            times * evaluation_seconds(plan, run.dataset, steps_of(plan, steps, run))
            for run, times in runs.items()
        ]
        if tested:
            found[rule] = START + sum(tested) / len(tested)
    return found


def evaluation_seconds(plan: Plan, dataset: str, steps: Steps | None) -> float:
    """Return the seconds that reconstructing a dataset's test slices takes; 0 of what nobody measured."""
    configured = plan.config["datasets"][dataset]
    slices = split_slices(configured)["test"]
    return slices * steps.at(configured["matrix"]).reconstruction if steps else 0.0


def run_jobs(plan: Plan) -> Counter[str]:
    """Return rule -> how many runs are trained, evaluated without training, and probed."""
    found = Counter("train" if plan.trained(run.method) else "evaluate" for run in plan.runs)
    found["probe"] = len(TrustPlan(plan).runs)
    return +found
