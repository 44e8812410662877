"""Snakemake's progress: what is counted, what is estimated, what a file and a user get to see."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_progress import LogHandler, describe, duration, fraction, last_lines
from snakemake_logger_plugin_progress.tracker import Job, TimeLeft, Tracker

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"


def job(rule: str, started: float) -> Job:
    return Job(rule, f"{rule} a", (), started)


def test_time_left_is_the_mean_of_each_rule_times_its_steps() -> None:
    tracker = Tracker()
    tracker.plan({"mask": 2, "train": 4})
    tracker.start(0, job("mask", 0))
    tracker.finish(0, 1)
    tracker.start(1, job("train", 1))
    tracker.finish(1, 11)
    # One mask of 1 s and three trainings of 10 s, one after the other as so far.
    assert tracker.time_left(11, {}) == TimeLeft(pytest.approx(31), True)
    assert (tracker.done, tracker.total) == (2, 6)


def test_jobs_that_ran_at_once_halve_the_time_left() -> None:
    tracker = Tracker()
    tracker.plan({"train": 6})
    for number in (0, 1):
        tracker.start(number, job("train", 0))
    for number in (0, 1):
        tracker.finish(number, 10)
    assert tracker.time_left(10, {}) == TimeLeft(pytest.approx(20), True)


def test_a_running_job_counts_by_what_its_log_says_is_done() -> None:
    tracker = Tracker()
    tracker.plan({"train": 2})
    tracker.start(0, job("train", 0))
    assert tracker.time_left(5, {}) is None
    # A quarter in 5 s: 15 s more, then another of 20 s.
    assert tracker.time_left(5, {0: 0.25}) == TimeLeft(pytest.approx(35), True)


def test_an_estimate_says_when_the_rules_left_were_never_timed() -> None:
    tracker = Tracker()
    tracker.plan({"mask": 2, "train": 10})
    tracker.start(0, job("mask", 0))
    tracker.finish(0, 1)
    left = tracker.time_left(1, {})
    assert left is not None
    assert not left.representative


def test_a_failed_step_is_not_done_and_may_come_again() -> None:
    tracker = Tracker()
    tracker.plan({"train": 2})
    tracker.start(0, job("train", 0))
    tracker.finish(0, 10)
    tracker.start(1, job("train", 10))
    tracker.fail(1)
    assert tracker.done == 1
    assert tracker.running == {}
    assert tracker.time_left(10, {}) == TimeLeft(pytest.approx(10), True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("epoch 3/8  train 0.01  val 0.02", 0.375),
        ("epoch 8/8  train", 1.0),
        ("epoch 9/8", 1.0),
        ("epoch 1/0", 0.0),
        ("wrote 3 of 8", 0.0),
        ("", 0.0),
    ],
)
def test_fraction_is_read_from_an_epoch_line_only(line: str, expected: float) -> None:
    assert fraction(line) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.23, "4.2 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (3780, "1 h 03 min")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (None, "time left not known yet"),
        (TimeLeft(20, True), "less than 1 min left"),
        (TimeLeft(720, True), "about 12 min left"),
        (TimeLeft(3900, True), "about 1 h 05 min left"),
        (TimeLeft(720, False), "more than 12 min left"),
        (TimeLeft(20, False), "time left not known yet"),
    ],
)
def test_estimates_are_rounded_and_honest(left: TimeLeft | None, text: str) -> None:
    assert describe(left) == text


def test_last_lines_skip_empty_ones_and_a_log_may_be_missing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == []
    log.write_bytes(b"a\n" * 9000 + b"epoch 1/2\n\xff broken\n\n")
    assert last_lines(log, 2) == ["epoch 1/2", "� broken"]


def record(event: LogEvent | None, message: str = "", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", logging.INFO, "", 0, message, None, None)
    made.__dict__.update({"event": event, **fields} if event else fields)
    return made


def handler(**settings: bool) -> LogHandler:
    plain = {"stdout": True, "dryrun": False, "verbose": False, "nocolor": False}
    made = LogHandler(SimpleNamespace(**{**plain, **settings}), None)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def info(number: int, at: float, **fields: Any) -> logging.LogRecord:
    return record(
        LogEvent.JOB_INFO, "job", jobid=number, rule_name="train", created=at, **{"log": [], **fields}
    )


def test_a_file_gets_one_line_for_each_finished_step(capsys: pytest.CaptureFixture[str]) -> None:
    made = handler()
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 2, "total": 2}))
    made.emit(record(None, "Select jobs to execute..."))
    made.emit(info(0, 1000.0, wildcards={"dataset": "ixi", "method": "manet"}))
    made.emit(record(LogEvent.JOB_FINISHED, job_id=0, created=1300.0))
    made.emit(record(LogEvent.PROGRESS, done=1, total=2))
    made.emit(record(None, "Terminating processes on user request"))
    made.close()
    made.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 steps to do: 2 train"
    assert lines[1].endswith("  1/2  train ixi manet  5 min 00 s  (about 5 min left)")
    assert lines[2:] == ["Terminating processes on user request"]


def test_a_failed_step_shows_the_end_of_its_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {i}\n" for i in range(100)) + "error: no such file\n")
    made = handler()
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 1, "total": 1}))
    made.emit(info(0, 1000.0, wildcards={"method": "manet"}, log=[str(log)]))
    made.emit(record(LogEvent.JOB_ERROR, jobid=0, rule_name="train", log=[str(log)], created=1001.0))
    made.close()
    text = capsys.readouterr().out
    assert "train manet  FAILED" in text
    assert text.rstrip().endswith("| error: no such file")
    assert f"{log} ends with:" in text
    assert "line 5\n" not in text


def test_a_dry_run_shows_what_snakemake_says(capsys: pytest.CaptureFixture[str]) -> None:
    made = handler(dryrun=True)
    made.emit(record(LogEvent.RUN_INFO, "Job stats: 1", stats={"train": 1, "total": 1}))
    made.emit(info(0, 1000.0, wildcards={}))
    made.close()
    assert capsys.readouterr().out.splitlines() == ["Job stats: 1", "job"]


def test_snakemake_takes_the_display(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'a.txt', 'b.txt'\n"
        "rule good:\n    output: 'a.txt'\n    shell: 'touch {output}'\n"
        "rule bad:\n    output: 'b.txt'\n    log: 'bad.log'\n"
        "    shell: 'echo no scan here > {log}; exit 3'\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "--logger", "progress"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PLUGINS)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "3 steps to do: " in ended.stderr
    assert "  1/3  good  " in ended.stderr
    assert "bad  FAILED\n    bad.log ends with:\n    | no scan here\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stderr
