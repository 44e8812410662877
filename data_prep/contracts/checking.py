"""Checks of a contract that report and go on: shared by those of methods, masks, metrics and datasets."""

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class Violation(Exception):
    """What the code under check does against its contract, and with which input."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: name of the check.
        problem: what is wrong and where; None if it passed.
        seconds: how long it took.
    """

    check: str
    problem: str | None
    seconds: float


def require(condition: bool, problem: str) -> None:
    """Raise ``Violation`` unless the condition holds."""
    if not condition:
        raise Violation(problem)


def find(name: str, run: Callable[[], None], own: Path) -> Finding:
    """Run one check; whatever the code under check raises is the finding.

    Args:
        name: of the check.
        run: raises ``Violation``, or what foreign code raises, if something is wrong.
        own: file or folder of the code under check, whose last line an error came through is named.
    """
    started = time.perf_counter()
    problem = None
    try:
        run()
    except Violation as violation:
        problem = str(violation)
    except Exception as error:  # The code under check is foreign: anything may come out of it.
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}{_line_of(error, own)}"
    return Finding(name, problem, time.perf_counter() - started)


def _line_of(error: Exception, own: Path) -> str:
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if frame.filename.startswith(str(own))]
    if not frames:
        return ""
    place = f"{'/'.join(own.parts[-2:])}{frames[-1].filename.removeprefix(str(own))}"
    return f" ({place}, line {frames[-1].lineno}, in {frames[-1].name})"


def described(finding: Finding, title: str) -> str:
    """Return the line that says whether a check passed, and the problem below it if not."""
    line = f"  {'ok  ' if finding.problem is None else 'FAIL'}  {title:<84} {finding.seconds:5.1f} s"
    return line if finding.problem is None else f"{line}\n        {finding.problem}"


def report(heading: str, checks: Mapping[str, Callable[[], None]], own: Path) -> tuple[int, int]:
    """Run checks by title, print a line for each, and return the numbers of failures and of checks."""
    sys.stdout.write(f"{heading}\n")
    failures = 0
    for title, run in checks.items():
        finding = find(title, run, own)
        failures += finding.problem is not None
        sys.stdout.write(described(finding, title) + "\n")
        sys.stdout.flush()
    return failures, len(checks)


def conclude(counts: list[tuple[int, int]]) -> None:
    """Print how many checks passed in all, and leave with status 1 unless all did."""
    failures, total = (sum(numbers) for numbers in zip(*counts, strict=True))
    sys.stdout.write(f"{total - failures} of {total} checks passed\n")
    if failures:
        sys.exit(1)
