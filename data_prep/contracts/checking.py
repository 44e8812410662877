"""Checks of a contract that report and go on: shared by those of methods, masks, metrics and datasets.

A check is a function that takes what is checked; the first line of its docstring is what it promises.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from data_prep.contracts.discovery import told
from data_prep.errors import of_the_system

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

    Raises:
        Exception: a fault of the system, such as a full disk, which says nothing about what is checked.
    """
    try:
        check(subject)
    except Violation as violation:
        return str(violation)
    # The code under check is foreign: anything may come out of it.
    except (Exception, SystemExit) as error:
        if of_the_system(error):
            raise
        return told(error, own)
    return None


def file_of(module: str) -> Path:
    """Return the file of an imported module."""
    return Path(inspect.getfile(sys.modules[module]))


def report(
    heading: str,
    checks: Iterable[Callable[[Subject], None]],
    subject: Subject,
    own: Path,
    *,
    briefly: bool = False,
) -> tuple[int, int]:
    """Run checks, print a line for each and the problem below it, and return the failures and the checks.

    Args:
        heading: names the subject.
        checks: to run.
        subject: what is checked.
        own: see ``problem_with``.
        briefly: print one line for all, and those of checks that fail below it.
    """
    if not briefly:
        sys.stdout.write(f"{heading}\n")
    problems, failed, begun = [], list[str](), time.perf_counter()
    for check in checks:
        started = time.perf_counter()
        problem = problem_with(check, subject, own)
        problems.append(problem)
        line = _line("  ", problem is None, (check.__doc__ or check.__name__).rstrip("."), started)
        line += "" if problem is None else f"        {problem}\n"
        if problem is not None:
            failed.append(line)
        if not briefly:
            sys.stdout.write(line)
            sys.stdout.flush()
    if briefly:
        sys.stdout.write("".join((_line("", not failed, heading, begun), *failed)))
        sys.stdout.flush()
    return len(failed), len(problems)


def _line(indent: str, holds: bool, title: str, started: float) -> str:
    mark = "ok  " if holds else "FAIL"
    return f"{indent}{mark}  {title:<{86 - len(indent)}} {time.perf_counter() - started:5.1f} s\n"


def conclude(counts: Iterable[tuple[int, int]]) -> None:
    """Print how many checks passed in all, and leave with status 1 unless all did."""
    failures, total = (sum(numbers) for numbers in zip(*counts, strict=True))
    sys.stdout.write(f"{total - failures} of {total} checks passed\n")
    if failures:
        sys.exit(1)
