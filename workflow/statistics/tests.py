"""Paired tests, intervals and effect sizes, as functions of numbers."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon
from scipy.stats import t as student

from data_prep.seeds import seed_for
from workflow.statistics.scores import ALPHA

CONFIDENCE = 0.95
SIMULATIONS = 20_000
Array = NDArray[np.float64]


def signed_rank(difference: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test on paired differences (subjects,).

    Subjects without a difference are left out, as Wilcoxon did; without any difference p is 1.
    """
    moved = difference[difference != 0]
    # Without ties scipy's p is exact up to 50 subjects.
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0


def least_p(difference: Array) -> float:
    """Return the smallest p that these sizes of differences (subjects,) can give: all of one sign.

    Without ties that is 2 ** (1 - subjects). Subjects without a difference do not count, and beyond 13
    subjects p is approximate where sizes are tied.
    """
    return signed_rank(np.abs(difference))


def subjects_needed(tests: int) -> int:
    """Return the fewest subjects with which one of ``tests`` Holm-corrected tests can be significant.

    All of them differ, without ties.
    """
    subjects = 1
    while 2.0 ** (1 - subjects) * tests > ALPHA:
        subjects += 1
    return subjects


def holm(p_values: Array) -> Array:
    """Return p values corrected for their number by Holm's step-down method."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return corrected


def rank_biserial(difference: Array) -> float:
    """Return the matched-pairs rank-biserial correlation of paired differences (subjects,), from -1 to 1.

    It is the share of the rank sum that speaks for a positive difference, minus the share against it.
    """
    moved = difference[difference != 0]
    if not len(moved):
        return 0.0
    ranks = rankdata(np.abs(moved))
    return float(np.sum(np.sign(moved) * ranks) / np.sum(ranks))


def interval(sums: Array, counts: Array) -> tuple[Any, Any]:
    """Return Student's 95 % interval of a mean over units, those of one subject taken together.

    Where subjects have several units the mean is a ratio of two sums, whose variance is linearised: W. G.
    Cochran, "Sampling techniques", Wiley, 1977, chapter 6. How often it holds the true mean: ``coverage``.

    Args:
        sums: sum of each subject's units, (..., subjects).
        counts: number of each subject's units, (subjects,).

    Returns:
        lower and upper bound, (...); NaN for a single subject, and where a value is not finite.
    """
    subjects, units = len(counts), counts.sum()
    if subjects < 2 or not np.isfinite(sums).all():
        return np.nan, np.nan
    mean = sums.sum(axis=-1) / units
    rest = sums - np.multiply.outer(mean, counts)
    error = np.sqrt(subjects / (subjects - 1) * (rest**2).sum(axis=-1)) / units
    half = student.ppf((1 + CONFIDENCE) / 2, subjects - 1) * error
    return mean - half, mean + half


@cache
def coverage(subjects: int) -> tuple[float, float]:
    """Return how often ``interval`` holds the true mean of normal, and of exponential, values: simulated.

    Args:
        subjects: from 2, each with one unit.
    """
    generator = np.random.default_rng(seed_for(use="coverage", subjects=subjects))
    shape, found = (SIMULATIONS, subjects), []
    for mean, drawn in (
        (0, generator.standard_normal(shape)),
        (1, generator.standard_exponential(shape)),
    ):
        low, high = interval(drawn, np.ones(subjects))
        found.append(float(np.mean((low <= mean) & (mean <= high))))
    return found[0], found[1]


def coverage_note(subjects: int) -> str:
    """Say how far the 95 % of intervals over so many subjects can be believed."""
    if subjects < 2:
        return "no interval can be had from one subject"
    normal, skewed = coverage(subjects)
    return (
        f"simulated with {subjects} subjects, these hold the true mean of normal values {normal:.0%} of the "
        f"time, of skewed (exponential) ones {skewed:.0%}"
    )
