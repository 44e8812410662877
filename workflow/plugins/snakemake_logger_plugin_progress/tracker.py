"""What is done, what runs and how long the rest will take: numbers only, no display.

All times are in seconds on one clock (``time.time``), given by the caller.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass

from snakemake_logger_plugin_progress.speeds import Expected, Speeds

# Shown when it is within 30 % nine times of ten, for which a normal distribution is 1.64 standard deviations
# wide; or when these are few seconds.
_KNOWN, _FEW_SECONDS = 0.3 / 1.64, 10.0
# What is shown follows what is known within such a share of the time left, or some seconds.
_LAG, _LEAST_LAG = 0.05, 5.0


@dataclass(frozen=True)
class Job:
    """A job under way.

    Attributes:
        name: rule and wildcard values, as shown.
        logs: its log files.
        started: when.
    """

    name: str
    logs: tuple[str, ...]
    started: float


class Tracker:
    """Follows a run of the workflow by its events.

    Attributes:
        total: steps of this run.
        done: steps finished.
        running: jobs under way by Snakemake's job number.
    """

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.running: dict[int, Job] = {}
        self._left: dict[int, Expected] = {}
        self._speeds = Speeds(())
        self._shown: tuple[float, float] | None = None  # when, and how much was said to be left

    def plan(self, expected: Mapping[int, Expected], before: Iterable[tuple[Expected, float]] = ()) -> None:
        """Take what is expected of each job, and what jobs took another time."""
        self._left, before = dict(expected), list(before)
        self._speeds = Speeds([*self._left.values(), *(job for job, _ in before)])
        for job, seconds in before:
            self._speeds.learn(job, seconds)
        self._speeds.begin()

    def count(self, done: int, total: int) -> None:
        """Take Snakemake's own count, which a run that grows on the way corrects."""
        self.done, self.total = done, total

    def start(self, number: int, job: Job) -> None:
        """A job begins."""
        self.running[number] = job

    def finish(self, number: int, now: float) -> tuple[Job, float] | None:
        """A job has ended well: return it with its seconds, or None if its start was not seen."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        seconds = now - job.started
        if (expected := self._left.pop(number, None)) is not None:
            self._speeds.learn(expected, seconds)
        self.done += 1
        return job, seconds

    def fail(self, number: int) -> Job | None:
        """A job has failed; should it be tried again, it is waiting once more."""
        return self.running.pop(number, None)

    def time_left(self, now: float, fractions: Mapping[int, float]) -> float | None:
        """Return the seconds until the last job ends; None while they are not known within 30 %.

        No earlier than the longest job, nor than all of them have held the scarcest resource.

        Args:
            now: the time.
            fractions: how much of a running job is done, where its log says so.
        """
        speeds, foreseen = copy(self._speeds), self._foreseen(now, fractions)
        for number, seconds in foreseen.items():
            expected = self._left[number]
            # Its own start is not known, and the sooner it looks, the more that matters.
            speeds.learn(expected, seconds, expected.start / (now - self.running[number].started))
        need, unsure = defaultdict[str, float](float), list[tuple[Expected, float]]()
        work = longest = 0.0
        for number, expected in self._left.items():
            seconds = foreseen.get(number) or speeds.seconds(expected)
            if number in self.running:
                seconds = max(0.0, seconds - (now - self.running[number].started))
            if number not in foreseen:
                unsure.append((expected, seconds))
            work, longest = work + seconds, max(longest, seconds)
            for name, share in expected.shares.items():
                need[name] += share * seconds
        left, deviation = max(longest, *need.values(), 0.0), speeds.deviation(unsure)
        if not work or min(deviation / (_KNOWN * work), deviation / work * left / _FEW_SECONDS) > 1:
            self._shown = None
            return None
        return self._smooth(now, left)

    def _foreseen(self, now: float, fractions: Mapping[int, float]) -> dict[int, float]:
        """Return how long running jobs will have taken, by how far they are."""
        found = {}
        for number, done in fractions.items():
            expected, since = self._left.get(number), now - self.running[number].started
            if expected is not None and done > 0 and since > expected.start:
                found[number] = expected.start + (since - expected.start) / done
        return found

    def _smooth(self, now: float, left: float) -> float:
        """Let what is shown follow what is known, so that it does not jump with each job that ends."""
        if self._shown is not None:
            since = now - self._shown[0]
            continued = max(0.0, self._shown[1] - since)
            lag = max(_LAG * continued, _LEAST_LAG)
            left = left + (continued - left) * math.exp(-since / lag)
        self._shown = now, left
        return left
