"""The contract of a metric, every metric by name, and those that every run is scored with.

Light: what only names or ranks metrics loads no image library.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.contracts.discovery import entries_of, entry_named
from data_prep.errors import BadInput
from data_prep.words import SENTENCE, check_words
from workflow.metrics import library

Image = NDArray[np.float64]
STANDARD = ("ssim", "psnr", "nmse")  # the paper's: every run is scored with them, in this order of columns
# Beside the scores in metrics.csv and metrics.parquet, with their types. ``blank``: 1 where the truth is zero
# everywhere, so that there is nothing to score; else a score that is NaN is the method's failure.
KEY_COLUMNS = {
    "dataset": "string",
    "mask": "string",
    "pattern": "string",
    "acceleration": "int64",
    "method": "string",
    "seed": "int64",
    "subject": "string",
    "slice": "int64",
    "level": "string",
    "blank": "int64",
}
UNDEFINED = "undefined"  # in print, of a metric that has no value for some volume or slice


@dataclass(frozen=True)
class Metric:
    """One metric; the ``METRIC`` of its file.

    Attributes:
        id: its column in ``metrics.parquet``, e.g. ``hfen``.
        label: what tables print, e.g. HFEN.
        meaning: half a sentence for captions.
        rising: whether higher is better.
        perfect: its value for a reconstruction that equals the truth.
        digits: decimals in tables.
        score: (target, reconstruction) -> value. Both are magnitudes, float64 (slice, height, width) in one
            arbitrary unit: a volume, or one slice of it for the ``slice`` convention. The reconstruction is
            finite. A target that is zero everywhere gives NaN.
        unit: of its values, e.g. dB.
    """

    id: str
    label: str
    meaning: str
    rising: bool
    perfect: float
    digits: int
    score: Callable[[Image, Image], float]
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse an id that can be no column of its own, and what cannot be printed.

        Raises:
            BadInput: the id is malformed or taken, a text is not one printable line, or ``rising`` or
                ``digits`` is of another kind.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", self.id):
            raise BadInput(f"METRIC: id is {self.id!r}; use a-z, 0-9 and _, starting with a letter")
        if self.id in KEY_COLUMNS:
            raise BadInput(f"METRIC: id {self.id!r} is the name of another column; rename it")
        # Of the table's columns psnr_paper_mean and psnr_seed_std.
        if self.id.endswith(("_paper", "_seed")):
            raise BadInput(f"METRIC: id {self.id!r} ends as other columns of a table do; rename it")
        if type(self.rising) is not bool:
            raise BadInput(f"METRIC: rising is {self.rising!r}; give True or False")
        if type(self.digits) is not int or self.digits < 0:
            raise BadInput(f"METRIC: digits is {self.digits!r}; give a whole number from 0")
        check_words("METRIC: label", self.label)
        check_words("METRIC: meaning", self.meaning, SENTENCE)
        if self.unit:
            check_words("METRIC: unit", self.unit)

    @property
    def header(self) -> str:
        """Its name with an arrow that says which way is better, for columns."""
        return f"{self.label} {'↑' if self.rising else '↓'}"

    @property
    def axis(self) -> str:
        """Its name with its unit, for axes."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@cache
def metrics() -> dict[str, tuple[str, Metric]]:
    """Return every metric with its module, by id, sorted.

    Raises:
        BadInput: a file defines no metric, or one whose id another has; the message names the file.
    """
    return entries_of(library, "METRIC", Metric, "id", "docs/adding_a_metric.md")


def metric_of(name: str) -> Metric:
    """Return a metric by id.

    Raises:
        BadInput: there is no such file.
    """
    return entry_named(name, metrics(), "metric")


def with_standard(names: Iterable[str]) -> tuple[str, ...]:
    """Return the metrics that a run is scored with: the paper's, then those that a configuration names."""
    return tuple(dict.fromkeys((*STANDARD, *names)))
