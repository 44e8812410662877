"""Checks of a contract that report and go on: shared by those of methods, masks, metrics and datasets.

A check is a function that takes what is checked; the first line of its docstring is what it promises.
"""

import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Subject = TypeVar("Subject")


class Violation(Exception):
    """What the code under check does against its contract, and with which input."""


def require(condition: bool, problem: str) -> None:
    """Raise ``Violation`` unless the condition holds."""
    if not condition:
        raise Violation(problem)


def problem_with(check: Callable[[Subject], None], subject: Subject, own: Path) -> str | None:
    """Run one check and say what is wrong and where; None if it passed.

    Args:
        check: raises ``Violation``, or what foreign code raises, if something is wrong.
        subject: what is checked.
        own: file or folder of its code, whose last line an error came through is named.
    """
    try:
        check(subject)
    except Violation as violation:
        return str(violation)
    except Exception as error:  # The code under check is foreign: anything may come out of it.
        return f"{type(error).__name__}: {' '.join(str(error).split())}{_line_of(error, own)}"
    return None


def _line_of(error: Exception, own: Path) -> str:
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if frame.filename.startswith(str(own))]
    if not frames:
        return ""
    place = f"{'/'.join(own.parts[-2:])}{frames[-1].filename.removeprefix(str(own))}"
    return f" ({place}, line {frames[-1].lineno}, in {frames[-1].name})"


def file_of(module: str) -> Path:
    """Return the file of an imported module."""
    return Path(inspect.getfile(sys.modules[module]))


def report(
    heading: str, checks: Iterable[Callable[[Subject], None]], subject: Subject, own: Path
) -> tuple[int, int]:
    """Run checks, print a line for each and the problem below it, and return the failures and the checks."""
    sys.stdout.write(f"{heading}\n")
    problems = []
    for check in checks:
        started = time.perf_counter()
        problem = problem_with(check, subject, own)
        problems.append(problem)
        title = (check.__doc__ or check.__name__).rstrip(".")
        mark = "ok  " if problem is None else "FAIL"
        sys.stdout.write(f"  {mark}  {title:<84} {time.perf_counter() - started:5.1f} s\n")
        sys.stdout.write("" if problem is None else f"        {problem}\n")
        sys.stdout.flush()
    return sum(problem is not None for problem in problems), len(problems)


def conclude(counts: Iterable[tuple[int, int]]) -> None:
    """Print how many checks passed in all, and leave with status 1 unless all did."""
    failures, total = (sum(numbers) for numbers in zip(*counts, strict=True))
    sys.stdout.write(f"{total - failures} of {total} checks passed\n")
    if failures:
        sys.exit(1)
