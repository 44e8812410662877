"""Subjects of an experiment and where their scans lie."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scans:
    """The two files that a subject's target and auxiliary come from, and the published split."""

    target: str
    auxiliary: str
    split_hint: str = ""


def placeholders(prefix: str, count: int) -> dict[str, Scans]:
    """Stand-ins for scans that are not here, so that a dry run can count the jobs."""
    names = [f"{prefix}-missing-{number:04d}" for number in range(1, count + 1)]
    return {name: Scans(target="", auxiliary="", split_hint="train") for name in names}
