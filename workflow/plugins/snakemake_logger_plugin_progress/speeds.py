"""How much slower or faster jobs are here than the tables say, learnt from those that have ended."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Standard deviations of logarithms: of this machine against the tables', of jobs of one kind from each other,
# of what a machine's load changes from one job to the next, and from one run to another.
_MACHINE, _JOB, _DRIFT, _RUN = 0.4, 0.15, 0.05, 0.3
_CHANCE = 0.5  # seconds of any job that come and go
_LEAST = 0.1  # share of a job that is taken for work, however long its start took
_MEMORY = 0.97  # of the load that a machine had, from one job to the next
# Others who came and went will do so again: how much of the variance that the load has had, what is left may
# be away from now's load; and the share of what learning alone moved that is no load. By recorded runs.
_AGAIN, _LEARNT = 6.0, 0.4


@dataclass(frozen=True)
class Expected:
    """What a job takes by tables.

    Attributes:
        seconds: of work.
        start: seconds that come before, whatever its size.
        path: from the widest to the narrowest kind of job that it belongs to, each with how far that may be
            from the tables, as the standard deviation of the logarithm.
        shares: of each resource, the part of all there is that the job holds meanwhile.
    """

    seconds: float
    start: float = 0.0
    path: tuple[tuple[str, float], ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take lists too."""
        object.__setattr__(self, "path", tuple((name, spread) for name, spread in self.path))


@dataclass(frozen=True)
class _Load:
    """How the machine's factor (its logarithm) has moved from job to job, the last ones counting most."""

    weight: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    learnt: float = 0.0

    def after(self, level: float, learnt: float) -> "_Load":
        """Take a job's new level, and the square by which learning alone is expected to have moved it."""
        weight = _MEMORY * self.weight + 1
        away = level - self.mean
        spread = (1 - 1 / weight) * (self.spread + away**2 / weight)
        return _Load(weight, self.mean + away / weight, spread, _MEMORY * self.learnt + learnt)

    @property
    def variance(self) -> float:
        """Return the variance of the load."""
        return max(0.0, self.spread - _LEARNT * self.learnt)


class Speeds:
    """Factors on the tables' seconds, of the machine and of kinds of jobs within kinds.

    A job takes the product of the factors along its path. Their logarithms are followed by a Kalman filter:
    what a job took beyond expectation goes to each factor by how uncertain that still is, so that a first
    training tells of its method, and once methods are known, all of them tell of the machine's load.
    """

    def __init__(self, jobs: Iterable[Expected]) -> None:
        """Know nothing of the kinds that these jobs belong to."""
        kinds = {"": _MACHINE} | dict(kind for job in jobs for kind in job.path)
        self._place = {name: place for place, name in enumerate(kinds)}
        self._mean = np.zeros(len(kinds))
        self._covariance = np.diag(np.square([*kinds.values()]))
        self._vectors: dict[tuple[tuple[str, float], ...], NDArray[np.float64]] = {}
        self._load = _Load()

    def begin(self) -> None:
        """Another run: the machine may be busier or less busy than it was."""
        self._covariance[0, 0] += _RUN**2
        self._load = _Load()

    def learn(self, job: Expected, seconds: float, uncertainty: float = 0.0) -> None:
        """Take what a job took, or will take with an uncertainty (of the logarithm)."""
        seconds = max(seconds, 0.01)
        self._covariance = self._covariance.copy()
        self._covariance[0, 0] += _DRIFT**2
        known = self._kinds(job)
        shared = self._covariance @ known
        beyond = math.log(max(seconds - job.start, _LEAST * seconds) / job.seconds) - float(
            known @ self._mean
        )
        spread = float(known @ shared) + _JOB**2 + (_CHANCE / seconds) ** 2 + uncertainty**2
        self._mean = self._mean + shared / spread * beyond
        self._covariance = self._covariance - np.outer(shared, shared) / spread
        self._load = self._load.after(float(self._mean[0]), float(shared[0]) ** 2 / spread)

    def seconds(self, job: Expected) -> float:
        """Return what a job will take."""
        return job.start + job.seconds * math.exp(self._kinds(job) @ self._mean)

    def deviation(self, work: Iterable[tuple[Expected, float]]) -> float:
        """Return the standard deviation of the sum of seconds that jobs will still take."""
        jobs, kinds = 0.0, np.zeros(len(self._mean))
        for job, seconds in work:
            jobs += seconds**2
            kinds += seconds * self._kinds(job)
        load = _AGAIN * self._load.variance * kinds[0] ** 2
        return math.sqrt(float(kinds @ self._covariance @ kinds) + load + _JOB**2 * jobs)

    def _kinds(self, job: Expected) -> NDArray[np.float64]:
        """Return a one for each kind that a job belongs to: the one of all jobs, and those of its path."""
        if job.path not in self._vectors:
            vector = np.zeros(len(self._mean))
            vector[[0, *(self._place[name] for name, _ in job.path)]] = 1.0
            self._vectors[job.path] = vector
        return self._vectors[job.path]
