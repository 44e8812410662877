"""Time left, said while recorded runs are played again: what each job was, when it began and when it ended.

The recordings are of config/demo.yaml and config/smoke.yaml as they lie beside them, on two cores: ``demo``
and ``smoke`` on a machine that did nothing else, ``demo_beside_tests`` while others tested there for its
first half, ``demo_on_a_shared_machine`` while others worked there on and off.
"""

import csv
import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from methods.registry import discover
from snakemake_logger_plugin_progress.speeds import Expected, Speeds
from snakemake_logger_plugin_progress.tracker import Job, Tracker
from workflow.cost.expected import Expected as Tables
from workflow.cost.expected import measured
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.plan.tuning import TuningPlan

RECORDED = Path(__file__).with_name("recorded_runs")
DEMO, BESIDE, SHARED, SMOKE = "demo", "demo_beside_tests", "demo_on_a_shared_machine", "smoke"
RUNS = ("dataset", "mask", "method", "seed")
WILDCARDS = {"train": RUNS, "evaluate": RUNS, "probe": RUNS, "mask": RUNS[:2]} | dict.fromkeys(
    ("align", "prepare", "embed_ixi", "embed_fastmri", "training_curves", "cost"), RUNS[:1]
)
MEASURED = ("train", "probe", "align", "prepare", "embed", "fetch_donor")  # rules with benchmarks
STEP = 2  # seconds
WITHIN, FLOOR = 0.3, 20.0  # a third of a minute is rounded away where minutes are shown


class Recorded(NamedTuple):
    job: str
    expected: Expected
    started: float
    ended: float
    epochs: int


class Said(NamedTuple):
    at: float
    left: float
    said: float | None

    @property
    def right(self) -> bool:
        return self.said is None or abs(self.said - self.left) <= max(WITHIN * self.left, FLOOR)


@cache
def recording(name: str) -> list[Recorded]:
    config = read_config(RECORDED / f"{name.split('_')[0]}.yaml")
    tables, epochs = Tables(Plan(config, discover())), config["training"]["epochs"]
    jobs = []
    with (RECORDED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rule, *values = row["job"].split()
            wildcards = dict(zip(WILDCARDS.get(rule, ()), values, strict=False))
            expected = Expected(**tables.of(rule, wildcards), shares={"_cores": 0.5})
            number = epochs[wildcards["dataset"]] if rule == "train" and isinstance(epochs, dict) else 1
            jobs.append(Recorded(row["job"], expected, float(row["started"]), float(row["ended"]), number))
    return jobs


@cache
def replay(name: str, before: str | None = None) -> list[Said]:
    """What is said every few seconds of a recorded run, after another one or as the first."""
    jobs = recording(name)
    known = [
        (job.expected, job.ended - job.started)
        for job in (recording(before) if before else [])
        if job.job.startswith(MEASURED)
    ]
    tracker = Tracker()
    tracker.plan({number: job.expected for number, job in enumerate(jobs)}, known)
    events = sorted(
        [(job.started, True, number) for number, job in enumerate(jobs)]
        + [(job.ended, False, number) for number, job in enumerate(jobs)]
    )
    end, said = max(job.ended for job in jobs), []
    for now in range(0, math.ceil(end), STEP):
        while events and events[0][0] <= now:
            at, starts, number = events.pop(0)
            if starts:
                tracker.start(number, Job(jobs[number].job, (), at))
            else:
                tracker.finish(number, at)
        done = {number: share(jobs[number], now) for number in tracker.running}
        said.append(Said(now, end - now, tracker.time_left(now, done)))
    return said


def share(job: Recorded, now: float) -> float:
    """What the log of a training says is done: whole epochs, the first of them after a start."""
    start = job.expected.start
    epoch = max(job.ended - job.started - start, 0.1) / job.epochs
    return max(0, math.floor((now - job.started - start) / epoch)) / job.epochs if job.epochs > 1 else 0.0


def later(said: Sequence[Said]) -> list[Said]:
    """What is said from a third of a run on."""
    return [one for one in said if one.at >= said[-1].at / 3]


@pytest.mark.parametrize(
    ("run", "before", "shown"),
    [
        (DEMO, None, 0.95),
        (DEMO, SHARED, 1),
        (DEMO, BESIDE, 1),
        (SMOKE, None, 0.6),
        (SMOKE, DEMO, 0.6),
        # Where others come and go, how long they will, nobody knows; little is said, and that holds.
        (BESIDE, None, 0.05),
        (BESIDE, DEMO, 0.05),
        (SHARED, None, 0.02),
        (SHARED, DEMO, 0.02),
        (SHARED, BESIDE, 0.02),
    ],
)
def test_from_a_third_of_a_run_on_the_time_left_is_within_30_percent(
    run: str, before: str | None, shown: float
) -> None:
    said = later(replay(run, before))
    assert [one for one in said if not one.right] == []
    assert sum(one.said is not None for one in said) >= shown * len(said)


@pytest.mark.parametrize("run", [DEMO, BESIDE, SMOKE, SHARED])
def test_the_time_left_does_not_jump(run: str) -> None:
    said = replay(run)
    for one, other in pairwise(said):
        if one.said is not None and other.said is not None:
            # The clock goes on; what is known of the end moves by a part of what is left.
            assert abs(other.said - (one.said - STEP)) <= max(0.05 * one.said, FLOOR / 4)


def tracker_of(*jobs: Expected) -> Tracker:
    tracker = Tracker()
    tracker.plan(dict(enumerate(jobs)))
    return tracker


def run(tracker: Tracker, number: int, begin: float, end: float) -> None:
    tracker.start(number, Job("", (), begin))
    tracker.finish(number, end)


TRAINING = Expected(100.0, 0.0, (("train", 0.7), ("train unet", 1.0)), {"gpu": 0.5, "_cores": 0.1})


def test_nothing_is_said_before_anything_like_what_is_left_has_run() -> None:
    tracker = tracker_of(Expected(2.0, 0.0, (("mask", 0.7),), {"_cores": 0.1}), *[TRAINING] * 4)
    assert tracker.time_left(0, {}) is None
    run(tracker, 0, 0, 1)
    assert tracker.time_left(1, {}) is None


def test_time_left_is_what_the_scarcest_resource_is_still_needed_for() -> None:
    tracker = tracker_of(*[TRAINING] * 8)
    for number in (0, 1):
        tracker.start(number, Job("", (), 0))
    for number in (0, 1):
        tracker.finish(number, 200)
    # Six of 200 s, of which two run at once, though many more would have cores.
    assert tracker.time_left(200, {}) == pytest.approx(600, rel=0.05)


def test_no_run_ends_before_its_longest_job() -> None:
    job = Expected(100.0, 0.0, (("train", 0.7),), {"_cores": 0.1})
    tracker = tracker_of(*[job] * 5)
    for number in range(4):
        run(tracker, number, 0, 100)
    assert tracker.time_left(100, {}) == pytest.approx(100, rel=0.05)


def test_a_running_job_counts_by_what_its_log_says_is_done() -> None:
    tracker = tracker_of(Expected(100.0, 3.0, (("train", 0.7),), {"_cores": 1.0}))
    tracker.start(0, Job("", (), 0))
    assert tracker.time_left(203, {}) is None
    # A quarter in 200 s after a start of 3 s.
    assert tracker.time_left(203, {0: 0.25}) == pytest.approx(600)


def test_a_variant_is_foreseen_by_its_method_and_other_sizes_by_their_steps() -> None:
    variant = Expected(400.0, 3.0, (*TRAINING.path, ("train unet-small", 0.5)))
    speeds = Speeds([TRAINING, variant])
    for _ in range(5):
        speeds.learn(TRAINING, 50.0)
    assert speeds.seconds(variant) == pytest.approx(203, rel=0.05)


@pytest.mark.parametrize("config", ["demo", "paper", "reference", "trust"])
def test_each_job_of_a_configuration_is_expected_to_take_some_time(config: str) -> None:
    plan = Plan(read_config(Path(f"config/{config}.yaml")), discover())
    tables = Tables(plan)
    for one in plan.runs:
        wildcards = {key: str(value) for key, value in vars(one).items()}
        rule = "train" if plan.trained(one.method) else "evaluate"
        assert Expected(**tables.of(rule, wildcards)).seconds > 0
        assert Expected(**tables.of("probe", wildcards)).seconds > 0
    trials = TuningPlan(plan).trials
    for trial in trials:
        wildcards = {key: str(value) for key, value in vars(trial.run).items()} | {"setting": trial.setting}
        assert Expected(**tables.of("trial", wildcards)).seconds > 0
    assert trials or config != "reference"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("s\th:m:s\n12.5\t0:00:12\n", 12.5), ("s\th:m:s\n", 0.0), ("", 0.0), ("s\n-\n", 0.0)],
)
def test_a_benchmark_that_is_cut_off_tells_nothing(tmp_path: Path, text: str, seconds: float) -> None:
    path = tmp_path / "seed0.tsv"
    assert measured(path) == 0.0
    path.write_text(text)
    assert measured(path) == seconds
