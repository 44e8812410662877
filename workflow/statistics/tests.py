"""Paired tests, intervals and effect sizes, as functions of numbers."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from workflow.statistics.scores import ALPHA

CONFIDENCE = 0.95
RESAMPLES = 10_000
Array = NDArray[np.float64]


def signed_rank(difference: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test on paired differences (subjects,).

    Subjects without a difference are left out, as Wilcoxon did; without any difference p is 1.
    """
    moved = difference[difference != 0]
    # Without ties scipy's p is exact up to 50 subjects.
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0


def least_p(subjects: int) -> float:
    """Return the smallest two-sided p that the signed-rank test can give: all differences of one sign."""
    return min(1.0, 2.0 ** (1 - subjects))


def subjects_needed(tests: int) -> int:
    """Return the fewest subjects with which one of ``tests`` Holm-corrected tests can be significant."""
    subjects = 1
    while least_p(subjects) * tests > ALPHA:
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


@cache
def bootstrap_weights(subjects: int, seed: int) -> Array:
    """Return how often each subject is drawn in each resample, (resamples, subjects)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(subjects, [1 / subjects] * subjects, size=RESAMPLES).astype(np.float64)


def interval(sums: Array, counts: Array, weights: Array) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over units, resampled by subject.

    Args:
        sums: sum of each subject's units, (subjects,).
        counts: number of each subject's units, (subjects,).
        weights: what ``bootstrap_weights`` returns.

    Returns:
        lower and upper bound; NaN where a value is not finite.
    """
    if not np.isfinite(sums).all():
        return np.nan, np.nan
    means = (weights @ sums) / (weights @ counts)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
