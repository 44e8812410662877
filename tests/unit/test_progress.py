"""Snakemake's progress: what is counted, what is estimated, what a file and a user get to see."""

import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_progress import LogHandler, describe, duration, fraction, last_lines
from snakemake_logger_plugin_progress.failures import exit_status, reason
from snakemake_logger_plugin_progress.tracker import Job, Tracker

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"


def job(rule: str, started: float) -> Job:
    return Job(f"{rule} a", (), started)


def test_a_failed_step_is_not_done_and_may_come_again() -> None:
    tracker = Tracker()
    tracker.count(0, 2)
    tracker.start(0, job("train", 0))
    tracker.finish(0, 10)
    tracker.start(1, job("train", 10))
    tracker.fail(1)
    assert tracker.done == 1
    assert tracker.running == {}


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
        (None, ""),
        (20.0, "less than 1 min left"),
        (720.0, "about 12 min left"),
        (3900.0, "about 1 h 05 min left"),
    ],
)
def test_estimates_are_rounded_and_what_is_not_known_is_not_said(left: float | None, text: str) -> None:
    assert describe(left) == text


def test_last_lines_skip_empty_ones_and_a_log_may_be_missing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == []
    log.write_bytes(b"a\n" * 9000 + b"epoch 1/2\n\xff broken\x1b[2J\n\n")
    assert last_lines(log, 2) == ["epoch 1/2", "� broken�[2J"]


def record(event: LogEvent | None, message: str | None = None, **fields: Any) -> logging.LogRecord:
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
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 6, "total": 6}))
    one = {"seconds": 250.0, "path": [["train", 0.7]], "shares": {"_cores": 1.0}}
    made.emit(record(None, expected=dict.fromkeys(range(6), one)))
    for noise in ("Select jobs to execute...", "Adding table_1.html (21.05 KB)."):
        made.emit(record(None, noise))
    for number in range(4):
        made.emit(info(number, 1000.0 + 300 * number, wildcards={"dataset": "ixi", "method": "manet"}))
        made.emit(record(LogEvent.JOB_FINISHED, job_id=number, created=1300.0 + 300 * number))
        made.emit(record(LogEvent.PROGRESS, done=number + 1, total=6))
    made.emit(record(None, "Terminating processes on user request"))
    made.close()
    made.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 steps to do: 6 train"
    assert lines[4].endswith("  4/6  train ixi manet  5 min 00 s  (about 10 min left)")
    assert lines[5:] == ["Terminating processes on user request"]


def fail(made: LogHandler, number: int, log: Path, name: str = "manet") -> None:
    made.emit(info(number, 1000.0, wildcards={"method": name}, log=[str(log)]))
    made.emit(
        record(
            LogEvent.JOB_ERROR, jobid=number, rule_name="train", log=[str(log)], created=1001.0, rule_msg=None
        )
    )


def test_a_step_that_crashed_shows_the_end_of_its_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    end = "Traceback (most recent call last):\nValueError: 3\n"
    log.write_text("".join(f"line {i}\n" for i in range(100)) + end)
    made = handler()
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 1, "total": 1}))
    fail(made, 0, log)
    made.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("train manet  FAILED")
    assert "    | ValueError: 3" in lines
    assert "    | line 5" not in lines
    said = "failed: train manet: ValueError: 3: a defect of the program, not of your data"
    assert lines[-1].startswith(said)
    assert str(log) in lines[-1]


def test_a_step_that_refused_and_was_done_at_the_second_try_is_not_named_at_the_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text("epoch 1/2\nerror: a.nii: no such file; put it there\n")
    made = handler()
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 2, "total": 2}))
    fail(made, 0, log, "unet")
    fail(made, 1, log)
    made.emit(info(1, 1002.0, wildcards={"method": "manet"}))
    made.emit(record(LogEvent.JOB_FINISHED, job_id=1, created=1003.0))
    made.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "a.nii" in line] == [
        f"failed: train unet: a.nii: no such file; put it there (log: {log})"
    ]
    assert lines[-1].startswith("failed: train unet: ")


@pytest.mark.parametrize(
    ("lines", "status", "told", "expected"),
    [
        (
            ["epoch 1/3", "error: a.h5: is damaged; make it again", ""],
            1,
            None,
            "a.h5: is damaged; make it again",
        ),
        (
            ["epoch 1/3"],
            -9,
            None,
            "ended by signal SIGKILL, as the system does when memory is full; run fewer",
        ),
        (["epoch 1/3"], -15, None, "ended by signal SIGTERM, as a scheduler does"),
        (["epoch 1/3"], -99, None, "ended by signal 99"),
        (["epoch 1/3"], None, "status: OUT_OF_MEMORY", "status: OUT_OF_MEMORY"),
        (["sh: python: not found"], 127, None, "sh: python: not found"),
        # What was said before a crash is not why.
        (["error: a.h5: damaged", "Traceback (most", "KeyError: 3"], 1, None, "KeyError: 3: a defect of the"),
        (["Traceback (most", "numpy._core._exceptions._ArrayMemoryError: 3 GiB"], 1, None, "numpy._core"),
        (["Traceback (most", "MemoryError"], 1, None, "MemoryError: memory is full; run fewer steps at once"),
        (["Traceback (most", "ModuleNotFoundError: No"], 1, None, "ModuleNotFoundError: No: a package is"),
        ([], 3, None, "exit status 3, without a word"),
        ([], None, None, "Snakemake says above why"),
    ],
)
def test_the_reason_of_a_failure_is_one_line(
    lines: list[str], status: int | None, told: str | None, expected: str
) -> None:
    assert reason(lines, status, told).startswith(expected)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Command 'a' returned non-zero exit status 137.", -9),
        ("Command 'a' returned non-zero exit status 2.", 2),
        ("Command 'a' died with <Signals.SIGKILL: 9>.", -9),
        ("Missing output files", None),
    ],
)
def test_exit_statuses_are_read_from_what_snakemake_says(text: str, status: int | None) -> None:
    assert exit_status(text) == status


def test_a_dry_run_shows_what_snakemake_says(capsys: pytest.CaptureFixture[str]) -> None:
    made = handler(dryrun=True)
    made.emit(record(LogEvent.RUN_INFO, "Job stats: 1", stats={"train": 1, "total": 1}))
    made.emit(info(0, 1000.0, wildcards={}))
    made.close()
    assert capsys.readouterr().out.splitlines() == ["Job stats: 1", "job"]


FAILED = [
    "failed: crashes: ValueError: 3: a defect of the program, not of your data; please report it with the "
    "log (log: crashes.log)",
    "failed: killed: ended by signal SIGKILL, as the system does when memory is full; run fewer steps at "
    "once or on a machine with more (log: killed.log)",
    "failed: refuses: b.nii: no scan here; put it there (log: refuses.log)",
]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A workflow with steps that refuse, crash and are killed."""
    dies = "import os; os.kill(os.getpid(), 9)"
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'a.txt', 'b.txt', 'c.txt', 'd.txt'\n"
        "rule good:\n    output: 'a.txt'\n    shell: 'touch {output}'\n"
        "rule refuses:\n    output: 'b.txt'\n    log: 'refuses.log'\n"
        "    shell: 'echo \"error: b.nii: no scan here; put it there\" > {log}; exit 1'\n"
        "rule crashes:\n    output: 'c.txt'\n    log: 'crashes.log'\n"
        "    shell: 'python3 -c \"raise ValueError(3)\" > {log} 2>&1'\n"
        f"rule killed:\n    output: 'd.txt'\n    log: 'killed.log'\n"
        f"    shell: 'python3 -c \"{dies}\" > {{log}} 2>&1'\n"
    )
    return tmp_path


def snakemake(folder: Path, *options: str, terminal: bool = False, **env: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", *options]
    if terminal:
        spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
        command = [sys.executable, "-c", spawn, *command]
    ended = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "200", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_snakemake_takes_the_display_and_ends_with_a_line_for_each_failed_step(faulty: Path) -> None:
    status, text = snakemake(faulty, "--logger", "progress", PYTHONPATH=str(PLUGINS))
    assert status == 1
    assert "5 steps to do: " in text
    assert "/5  good  " in text
    assert sorted(text.splitlines()[-3:]) == FAILED
    assert "RuleException" not in text
    assert "\x1b" not in text


@pytest.fixture
def bringing(faulty: Path) -> Path:
    """The same, whose Snakefile brings the display as ours does."""
    snakefile = faulty / "Snakefile"
    brought = re.search(
        r"^if workflow\.is_main_process:\n(?:    .*\n|\n)+",
        (PLUGINS.parent / "rules/place.smk").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert brought is not None
    start = "import sys\nfrom pathlib import Path\nfrom snakemake.logging import logger\n"
    folder = f"FOLDER = Path({str(PLUGINS.parents[1])!r})\n"
    snakefile.write_text(start + folder + brought[0] + snakefile.read_text())
    return faulty


def test_a_display_that_cannot_be_imported_stops_no_run(bringing: Path) -> None:
    without = bringing / "without" / "rich"
    without.mkdir(parents=True)
    (without / "__init__.py").write_text("raise ImportError('there is no rich')\n")
    status, text = snakemake(bringing, "good", PYTHONPATH=str(without.parent))
    assert (status, (bringing / "a.txt").exists()) == (0, True)
    assert "Progress is shown as Snakemake does it: there is no rich; install the packages of" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_without_a_word_of_it_the_snakefile_brings_the_display(bringing: Path, terminal: bool) -> None:
    status, text = snakemake(bringing, terminal=terminal)
    assert status == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")
    assert sorted(line for line in plain.splitlines() if line.startswith("failed: ")) == FAILED
    assert sorted(plain.rstrip().splitlines()[-3:]) == FAILED
    # In a file, Snakemake's own words stay as they are.
    assert ("5 steps to do: " in plain) == terminal
    assert ("rule good:" in plain) == (not terminal)


def test_what_is_told_at_the_start_leaves_limits_as_they_are(tmp_path: Path) -> None:
    """Also of resources that depend on files which other steps make."""
    needs = "lambda wildcards, input: int(input.size_mb)"
    (tmp_path / "Snakefile").write_text(
        "import sys\nfrom pathlib import Path\n"
        f"root = Path({str(PLUGINS.parents[1])!r})\nsys.path.insert(0, str(root))\n"
        "from methods.registry import discover\nfrom workflow.cost.expected import hand_over\n"
        "from workflow.plan.config import read_config\nfrom workflow.plan.plan import Plan\n"
        "rule all:\n    input: 'b1', 'b2'\n"
        "rule a:\n    output: 'a'\n    shell: 'head -c 3000000 /dev/zero > {output}'\n"
        f"rule b:\n    input: 'a'\n    output: 'b{{n}}'\n    resources: mem_mb={needs}\n"
        "    shell: 'mkdir busy && sleep 1 && rmdir busy && touch {output}'\n"
        "onstart:\n    plan = Plan(read_config(root / 'config/demo.yaml'), discover())\n"
        "    told = hand_over(plan, workflow.dag, workflow.scheduler.global_resources)\n"
        "    print([sorted(one['shares']) for one in told['expected'].values()])\n"
    )
    status, text = snakemake(tmp_path, "--cores", "2", "--resources", "mem_mb=3")
    assert "['_cores', 'mem_mb']" in text, text
    assert status == 0, text


def test_nothing_is_printed_under_the_lock_that_the_redrawing_thread_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, free = handler(), []

    def take() -> None:
        free.append(made._lock.acquire(timeout=5))
        if free[-1]:
            made._lock.release()

    def look(_text: object) -> None:
        other = threading.Thread(target=take)
        other.start()
        other.join()

    monkeypatch.setattr(made._console, "print", look)
    made.emit(record(LogEvent.RUN_INFO, stats={"train": 1, "total": 1}))
    made.emit(info(0, 1000.0, wildcards={}))
    made.emit(record(LogEvent.JOB_FINISHED, job_id=0, created=1300.0))
    made.close()
    assert free == [True, True]


def test_the_display_is_light() -> None:
    heavy = "{'torch', 'pandas', 'matplotlib', 'scipy'}"
    code = f"import sys; import snakemake_logger_plugin_progress; print({heavy} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PLUGINS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "set()\n"
