"""What is done, what runs and how long the rest will take: numbers only, no display.

All times are in seconds on one clock (``time.time``), given by the caller.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job under way.

    Attributes:
        rule: its rule.
        name: rule and wildcard values, as shown.
        logs: its log files.
        started: when.
    """

    rule: str
    name: str
    logs: tuple[str, ...]
    started: float


@dataclass(frozen=True)
class TimeLeft:
    """An estimate.

    Attributes:
        seconds: until the last step ends.
        representative: whether at least half of the steps left are of rules that have been timed. Otherwise
            the longest jobs may still be unknown, and ``seconds`` is more of a lower limit.
    """

    seconds: float
    representative: bool


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
        self._waiting: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._begun: float | None = None

    def plan(self, steps: Mapping[str, int]) -> None:
        """Take the number of steps of each rule."""
        self._waiting = Counter(steps)
        self.total = self._waiting.total()

    def count(self, done: int, total: int) -> None:
        """Take Snakemake's own count, which a run that grows on the way corrects."""
        self.done, self.total = done, total

    def start(self, number: int, job: Job) -> None:
        """A job begins."""
        if self._begun is None:
            self._begun = job.started
        self.running[number] = job
        self._waiting[job.rule] = max(0, self._waiting[job.rule] - 1)

    def finish(self, number: int, now: float) -> tuple[Job, float] | None:
        """A job has ended well: return it with its seconds, or None if its start was not seen."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        seconds = now - job.started
        self._finished[job.rule] += 1
        self._seconds[job.rule] += seconds
        self.done += 1
        return job, seconds

    def fail(self, number: int) -> Job | None:
        """A job has failed; should it be tried again, it is waiting once more."""
        job = self.running.pop(number, None)
        if job is not None:
            self._waiting[job.rule] += 1
        return job

    def time_left(self, now: float, fractions: Mapping[int, float]) -> TimeLeft | None:
        """Estimate from the mean duration of each rule's jobs and from how many ran at once so far.

        Args:
            now: the time.
            fractions: how much of a running job is done, where its log says so.

        Returns:
            None while nothing is known.
        """
        expected = {
            number: (now - job.started) / fractions[number]
            for number, job in self.running.items()
            if fractions.get(number, 0) > 0
        }
        timed, seconds = self._finished.copy(), self._seconds.copy()
        for number, duration in expected.items():
            timed[self.running[number].rule] += 1
            seconds[self.running[number].rule] += duration
        if not timed or self._begun is None:
            return None
        # A rule without any duration counts as an average job of the others.
        overall = sum(seconds.values()) / timed.total()
        mean = {rule: seconds[rule] / timed[rule] for rule in timed}
        work = sum(steps * mean.get(rule, overall) for rule, steps in self._waiting.items())
        for number, job in self.running.items():
            work += max(0.0, expected.get(number, mean.get(job.rule, overall)) - (now - job.started))
        busy = sum(self._seconds.values()) + sum(now - job.started for job in self.running.values())
        at_once = max(1.0, busy / max(now - self._begun, 1e-9))
        left = self._waiting + Counter(job.rule for job in self.running.values())
        known = sum(steps for rule, steps in left.items() if rule in mean)
        return TimeLeft(work / at_once, known >= left.total() / 2)
