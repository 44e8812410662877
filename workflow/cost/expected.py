"""What each job of a run will take, by the tables of ``workflow.estimate``, for the display of progress.

Seconds are those of the tables' machines. What matters is their proportion, and what shares an error: the
display learns from the jobs that end how much faster or slower this machine is at each kind of them.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow.cost.estimate import Steps, chosen_steps, read_steps, steps_of, training_seconds
from workflow.cost.jobs import START, Job, Table, data_jobs, evaluation_seconds, read_jobs
from workflow.plan.definitions import Run, Trial
from workflow.plan.plan import Plan
from workflow.plan.room import split_slices
from workflow.plan.tuning import TuningPlan
from workflow.provenance.sources import RESOURCES

# Seconds that a job takes to start, and as many to work, if no table names it: one that draws a figure.
_LIGHT = 1.0
_LEAST = 0.01  # seconds of work, where there is next to nothing to do
# How far a kind of job may be from the tables, as a standard deviation of the logarithm: another machine; a
# method of another size than the measured one; a variant of it.
_RULE, _METHOD, _VARIANT = 0.7, 1.0, 0.5


class Expected:
    """Seconds of the jobs of one configuration."""

    def __init__(self, plan: Plan) -> None:
        """Read the tables.

        Raises:
            BadInput: a table of the repository is damaged.
        """
        self._plan, self._tuning = plan, TuningPlan(plan)
        measured = read_steps(sorted(RESOURCES.glob("measured_steps*.csv")))
        # Full-width ones: of narrow networks a start hides much, and replays were foretold worse by them.
        device, rows = next(iter(measured.items()))
        self._steps: Mapping[str, Steps] = chosen_steps(plan, {device: rows})[device]
        # One that nobody measured is taken for the slowest.
        self._slowest = max((row.steps for row in rows), key=lambda steps: steps.training)
        table: Table = read_jobs()
        self._data: dict[str, tuple[int, Job | None]] = data_jobs(plan, table)

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """Return what a job takes.

        Args:
            rule: its rule.
            wildcards: their values.

        Returns:
            ``seconds`` of work, after a ``start`` that is the same for all sizes; ``path``: from the widest
            to the narrowest kind of job that it belongs to, each with how far that may be from the tables.
        """
        if wildcards.keys() >= {"dataset", "mask", "method", "seed"}:
            return self._of_run(rule, wildcards)
        dataset = wildcards.get("dataset", "")
        _, job = self._data.get(rule) or self._data.get(f"{rule} {dataset}") or (0, None)
        path = [(rule, _RULE), *([(f"{rule} {dataset}", _VARIANT)] if dataset else [])]
        if job is None:
            return {"start": _LIGHT, "seconds": _LIGHT, "path": path}
        return {"start": 0.0, "seconds": job.seconds, "path": path}

    def _of_run(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        plan, dataset, method = self._plan, wildcards["dataset"], wildcards["method"]
        run = Run(dataset, wildcards["mask"], method, int(wildcards["seed"]))
        folder = plan.method(method).folder
        path = [(rule, _RULE), (f"{rule} {folder}", _METHOD)]
        if method != folder:
            path.append((f"{rule} {method}", _VARIANT))
        steps = steps_of(plan, self._steps, run) or self._slowest
        if not plan.trained(method):
            return {"start": 0.0, "seconds": START, "path": path}
        if rule not in ("train", "trial"):
            # Once for a probe too, though the estimate counts its conditions: with them, of recorded runs on
            # a busy machine the time left was sure enough to be shown less often.
            seconds = max(evaluation_seconds(plan, dataset, steps), _LEAST)
            return {"start": START, "seconds": seconds, "path": path}
        trial = wildcards.get("setting")
        spec = self._tuning.spec(Trial(run, trial)) if trial else plan.spec(run)
        configured = plan.config["datasets"][dataset]
        here = steps.at(configured["matrix"])
        seconds = training_seconds(here, split_slices(configured), spec.training.epochs)
        return {"start": START, "seconds": seconds / spec.training.devices, "path": path}


def hand_over(plan: Plan, dag: Any, limits: Mapping[str, int]) -> dict[str, Any]:
    """Return what the display of progress is told when a run begins.

    Args:
        plan: the experiment.
        dag: Snakemake's, of the run.
        limits: how much there is of each resource, such as ``_cores``.

    Returns:
        ``expected``: what each job takes that is to run, by its number, with the ``shares`` of resources that
        it holds meanwhile; ``before``: of jobs that ran another time, what was expected, and what it took.
    """
    tables, expected, before = Expected(plan), {}, []
    limited = {name: limit for name, limit in limits.items() if 0 < limit < sys.maxsize}
    waiting = set(dag.needrun_jobs())
    for job in dag.jobs:
        one = tables.of(job.rule.name, dict(job.wildcards_dict))
        if job in waiting:
            # Not those of the job itself: it would keep them, and never learn what depends on files to come.
            held = job.rule.expand_resources(job.wildcards_dict, job.input, job.attempt, {"tmpdir"})
            shares = {name: held.get(name, 0) for name in limited}
            # Words stand for what is not known yet.
            one["shares"] = {
                name: share / limited[name] for name, share in shares.items() if not isinstance(share, str)
            }
            expected[dag.jobid(job)] = one
        if job.benchmark and (seconds := measured(Path(job.benchmark))):
            before.append((one, seconds))
    return {"expected": expected, "before": before}


def measured(path: Path) -> float:
    """Return the seconds of a file of Snakemake's benchmarks, 0 where there is none or it is cut off."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, ValueError, KeyError, StopIteration, TypeError):
        return 0.0
