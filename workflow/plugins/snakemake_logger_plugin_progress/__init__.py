"""Snakemake's output as progress: steps done of all, what runs now, time left, and what went wrong.

In a terminal, a bar and the running jobs with the last line of each one's log, below a line for each finished
step. Elsewhere (a file, CI), where it is asked for, those lines alone, and one a minute while nothing ends:

    PYTHONPATH=workflow/plugins snakemake --logger progress ...

Snakemake finds the package by its name on Python's path. Without that, the Snakefile lets it ``take_over`` in
a terminal, and elsewhere say at the end what failed. Snakemake's own full log in ``.snakemake/log`` stays.
"""

import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from logging import LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_progress.failures import exit_status, reason
from snakemake_logger_plugin_progress.speeds import Expected
from snakemake_logger_plugin_progress.tracker import Job, Tracker

_HEARTBEAT = 60.0  # seconds of silence after which a file gets a line
_SHOWN_JOBS = 8
_LAST_LINES = 25  # of a failed job's log
_TAIL_BYTES = 8192
# Said at each turn of the scheduler, or the same for every run.
_NOISE = re.compile(
    r"Adding |Select jobs to execute|Execute \d+ jobs|Assuming unrestricted shared|Using shell|host: "
)
# Said by Snakemake of a failed step, which gets its own line at the end.
_OF_FAILURES = re.compile(r"Exiting because a job execution failed|.*At least one job did not complete", re.S)
_SILENT = (
    LogEvent.JOB_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.WORKFLOW_STARTED,
    LogEvent.GROUP_INFO,
    LogEvent.RULEGRAPH,
)


_PATH = "check the path after --configfile"
_OF_CONFIGURATIONS = {
    "UnicodeDecodeError": "a configuration is not UTF-8; save it as UTF-8",
    "FileNotFoundError": _PATH,
    "IsADirectoryError": _PATH,
    "PermissionError": _PATH,
}


class LogHandler(LogHandlerBase):
    """What Snakemake sends its events to (from one thread, while a terminal is redrawn from another).

    It stands in for Snakemake's own output and writes no file. Snakemake's filter and formatter are taken as
    they are: --quiet and --printshellcmds work, and what is shown as it is looks as without this plugin.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Choose the form of the output."""
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self._in_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._console = Console(
            file=stream,
            force_terminal=self._in_terminal,
            no_color=self.common_settings.nocolor or None,
            highlight=False,
            soft_wrap=True,
        )
        self._tracker = Tracker()
        self._statuses: list[tuple[str, int]] = []  # Snakemake's text on a command, and how that ended
        self._failures: dict[int, Text] = {}
        self._waiting: list[Text] = []  # to be printed
        self._beside = False
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._ended = threading.Event()
        self._last_printed = time.time()

    def take_over(self, manager: Any, own: logging.Handler) -> None:
        """Stand in for Snakemake's own output in a terminal; elsewhere leave it, and say at last what failed.

        Args:
            manager: of Snakemake's log.
            own: its output.
        """
        for accepted in own.filters:
            self.addFilter(accepted)
        self.setFormatter(own.formatter)
        self._beside = not self._in_terminal
        if self._in_terminal:
            manager.logger.removeHandler(own)
        manager.logger.addHandler(self)

    def emit(self, record: LogRecord) -> None:
        """Show one event."""
        self._take(record)
        self._flush()

    def _take(self, record: LogRecord) -> None:
        with self._lock:
            event = getattr(record, "event", None)
            if self.common_settings.dryrun or self.common_settings.verbose:
                self._show_as_it_is(record)
            if self.common_settings.dryrun:
                return
            match event:
                case LogEvent.RUN_INFO:
                    self._plan(record)
                case LogEvent.JOB_INFO:
                    self._tracker.start(record.__dict__["jobid"], _job(record))
                case LogEvent.JOB_FINISHED:
                    self._finish(record)
                case LogEvent.PROGRESS:
                    self._tracker.count(record.__dict__["done"], record.__dict__["total"])
                case LogEvent.JOB_ERROR:
                    self._fail(record)
                case None if (told := getattr(record, "expected", None)) is not None:
                    self._expect(told, getattr(record, "before", ()))
                case LogEvent.ERROR if (status := exit_status(record.getMessage())) is not None:
                    self._statuses.append((record.getMessage(), status))
                case _ if self.common_settings.verbose:
                    pass
                case None if record.levelno < logging.WARNING and _NOISE.match(record.getMessage()):
                    pass
                case _ if self._failures and _OF_FAILURES.match(record.getMessage()):
                    pass
                case _ if event not in _SILENT:
                    self._show_as_it_is(record)

    def close(self) -> None:
        """Take the bar off the screen and say at last what failed; called once or more."""
        self._ended.set()
        with self._lock:
            live, self._live = self._live, None
            failures, self._failures = self._failures, {}
        # Outside the lock, for which the redrawing thread may be waiting.
        if live is not None:
            live.stop()
        self._beside = False
        for line in failures.values():
            self._print(line)
        self._flush()
        super().close()

    # ---- events -------------------------------------------------------------------------------

    def _plan(self, record: LogRecord) -> None:
        stats: Mapping[str, int] = record.__dict__["stats"]
        self._tracker.count(0, sum(steps for rule, steps in stats.items() if rule != "total"))
        rules = ", ".join(f"{steps} {rule}" for rule, steps in stats.items() if rule != "total")
        self._print(Text(f"{self._tracker.total} steps to do: {rules}"))
        if self._in_terminal:
            self._live = Live(
                get_renderable=self._screen, console=self._console, refresh_per_second=2, transient=True
            )
            self._live.start()
        elif not self._beside:
            threading.Thread(target=self._beat, daemon=True).start()

    def _expect(self, expected: Mapping[int, Any], before: Iterable[tuple[Any, float]]) -> None:
        self._tracker.plan(
            {number: Expected(**job) for number, job in expected.items()},
            [(Expected(**job), seconds) for job, seconds in before],
        )

    def _finish(self, record: LogRecord) -> None:
        number = record.__dict__["job_id"]
        # It had failed, and was tried again.
        self._failures.pop(number, None)
        ended = self._tracker.finish(number, record.created)
        if ended is None:
            return
        job, seconds = ended
        line = f"{self._position(record.created)}  {job.name}  {duration(seconds)}"
        if not self._in_terminal and (left := self._left(record.created, self._tails())):
            line += f"  ({left})"
        self._print(Text(line))

    def _fail(self, record: LogRecord) -> None:
        fields = record.__dict__
        job = self._tracker.fail(fields["jobid"])
        name = job.name if job else fields["rule_name"]
        command = fields.get("shellcmd")
        told = (status for text, status in reversed(self._statuses) if command and command in text)
        status = next(told, None)
        logs = [str(log) for log in fields["log"] or ()]
        lines = [line for log in logs for line in last_lines(Path(log), _LAST_LINES)]
        said = reason(lines, status, fields.get("rule_msg"))
        self._print(Text(f"{self._position(record.created)}  {name}  FAILED", style="bold red"))
        if f"error: {said}" not in lines:
            for line in lines:
                self._print(Text(f"    | {line}"))
        where = f" (log: {', '.join(logs)})" if logs else ""
        self._failures[fields["jobid"]] = Text(f"failed: {name}: {said}{where}", style="bold red")

    def _beat(self) -> None:
        while not self._ended.wait(_HEARTBEAT / 4):
            with self._lock:
                now = time.time()
                if now - self._last_printed >= _HEARTBEAT:
                    tails = self._tails()
                    left = "; ".join(filter(None, (self._left(now, tails), "running:")))
                    self._print(Text(f"{self._position(now)}  {left}"))
                    for number, job in self._tracker.running.items():
                        running = f"    {job.name}  {duration(now - job.started)}  {tails[number]}"
                        self._print(Text(running.rstrip()))
            self._flush()

    # ---- text ---------------------------------------------------------------------------------

    def _screen(self) -> RenderableType:
        """Draw what stands at the bottom of a terminal."""
        with self._lock:
            now, tracker, tails = time.time(), self._tracker, self._tails()
            bar = Table.grid(padding=(0, 2, 0, 0))
            bar.add_row(
                ProgressBar(total=max(tracker.total, 1), completed=tracker.done, width=30),
                f"{tracker.done} of {tracker.total} steps",
                self._left(now, tails),
            )
            jobs = Table.grid(padding=(0, 2, 0, 0))
            jobs.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
            jobs.add_column(no_wrap=True, justify="right")
            jobs.add_column(no_wrap=True, overflow="ellipsis", ratio=3, style="dim")
            jobs.expand = True
            for number, job in list(tracker.running.items())[:_SHOWN_JOBS]:
                jobs.add_row(Text(f"  {job.name}"), duration(now - job.started), Text(tails[number]))
            if len(tracker.running) > _SHOWN_JOBS:
                jobs.add_row(f"  and {len(tracker.running) - _SHOWN_JOBS} more")
            return Group(bar, jobs)

    def _tails(self) -> dict[int, str]:
        """Return the last line of each running job's log."""
        return {
            number: next((line for log in job.logs for line in last_lines(Path(log), 1)), "")
            for number, job in self._tracker.running.items()
        }

    def _left(self, now: float, tails: Mapping[int, str]) -> str:
        if self._tracker.done == self._tracker.total:
            return "nothing left"
        fractions = {number: fraction(tail) for number, tail in tails.items()}
        return describe(self._tracker.time_left(now, fractions))

    def _position(self, now: float) -> str:
        total = str(self._tracker.total)
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        return f"{clock}  {self._tracker.done:>{len(total)}}/{total}"

    def _show_as_it_is(self, record: LogRecord) -> None:
        text = self.format(record)
        remedy = _OF_CONFIGURATIONS.get(getattr(record, "exception", ""))
        if remedy and "in load_configfile" in text:
            # Snakemake reads configurations before the Snakefile could, and says this with a traceback alone.
            text = f"{text.splitlines()[-1]}: {remedy}"
        if text and text != "None":
            style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
            self._print(Text(text, style=style))

    def _print(self, text: Text) -> None:
        if not self._beside:
            self._waiting.append(text)
            self._last_printed = time.time()

    def _flush(self) -> None:
        """Print what waits, without the lock: the redrawing thread takes it after the terminal's own."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for text in waiting:
            self._console.print(text)


def take_over(manager: Any) -> None:
    """Show this run's progress instead of Snakemake's own output, if no logger was asked for.

    Args:
        manager: of Snakemake's log, ``workflow.logger_manager``.
    """
    own = next((one for one in manager.logger.handlers if one.name == "DefaultStreamHandler"), None)
    if own is not None and not manager.settings.dryrun and not manager.settings.log_handler_settings:
        LogHandler(manager.settings, None).take_over(manager, own)


def _job(record: LogRecord) -> Job:
    fields = record.__dict__
    name = " ".join((fields["rule_name"], *(str(value) for value in (fields["wildcards"] or {}).values())))
    return Job(name, tuple(map(str, fields["log"] or ())), record.created)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines that say anything, of a log that may not be there yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    # What would move the cursor or colour the rest is no text.
    clean = (
        re.sub(r"[^\t\x20-\x7e\xa0-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", line)
        for line in text.splitlines()
    )
    return list(deque((line.rstrip() for line in clean if line.strip()), maxlen=count))


def fraction(line: str) -> float:
    """Read how much is done from a log line that begins like "epoch 3/8"; 0 if it does not say."""
    found = re.match(r"\w+ (\d+)/(\d+)\b", line)
    if found is None or int(found[2]) == 0:
        return 0.0
    return min(1.0, int(found[1]) / int(found[2]))


def duration(seconds: float) -> str:
    """Write a duration for people: 4.2 s, 2 min 05 s, 1 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def describe(seconds: float | None) -> str:
    """Write an estimate, rounded to what it is worth; nothing of what is not known."""
    if seconds is None:
        return ""
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours and not minutes:
        return "less than 1 min left"
    return f"about {hours} h {minutes:02d} min left" if hours else f"about {minutes} min left"
