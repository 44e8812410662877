"""The comparisons that a claim of ``claims.yaml`` stands for, by one side's scores."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import product

import numpy as np

from data_prep.masks.registry import label, parse_mask
from workflow.claims.agreement import Point, Scores
from workflow.claims.mirrors import beside
from workflow.metrics.contract import metric_of
from workflow.papers.claim import Masks, Methods, Weights
from workflow.plan.definitions import PHASED
from workflow.statistics.scores import number

NOT_IN_PAPER = "not in the paper"
# What stands in print, with ``{}`` for the value; and the value: NaN if it diverged, None if there is none.
Side = tuple[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """One of the comparisons that a claim stands for.

    Attributes:
        place: where, such as "1D-Uniform-9×, SSIM".
        holds: whether it speaks for the claim.
        values: the two values in print.
        tested: how the paired test tells the two apart; empty where no test applies.
    """

    place: str
    holds: bool
    values: str
    tested: str = ""


def _compare(
    scores: Scores, place: str, metric: str, sides: Iterable[Side], strictly: bool = True, tested: str = ""
) -> Iterator[Comparison]:
    """Is the first of two values better? One that diverged is not; without values there is no comparison.

    Args:
        scores: whose digits are printed.
        place: where they are compared.
        metric: what they are.
        sides: the two.
        strictly: whether equal values speak against it.
        tested: how the paired test tells the two apart.
    """
    (first, a), (second, b) = sides
    if a is None or b is None or np.isnan(b):
        return
    better = a > b if metric_of(metric).rising else a < b
    values = f"{first}, {second}".format(*(number(value, scores.digits[metric]) for value in (a, b)))
    place = f"{place}{metric_of(metric).label}"
    yield Comparison(place, better or (a == b and not strictly), values, tested)


@singledispatch
def compare(form: Methods | Masks | Weights, scores: Scores) -> Iterator[Comparison]:
    """Yield the comparisons of a claim's form, by one side's scores."""
    raise TypeError(f"{type(form).__name__} is no form of comparisons")


@compare.register
def _(form: Methods, scores: Scores) -> Iterator[Comparison]:
    for numeral in form.tables:
        metrics = form.metrics or scores.printed
        for mask, metric, first in product(scores.masks(numeral), metrics, form.better):
            values = {one: scores.value(numeral, mask, one, metric) for one in (first, *form.than)}
            for second in _rivals(form, values, metric):
                sides = ((f"{scores.labels.get(one)} {{}}", values[one]) for one in (first, second))
                places = frozenset(((mask, first), (mask, second)))
                tested = scores.tested.get((numeral, metric, places), "")
                yield from _compare(scores, f"{label(mask)}, ", metric, sides, not form.unbeaten, tested)


def _rivals(form: Methods, values: dict[str, float | None], metric: str) -> tuple[str, ...]:
    if not form.unbeaten:
        return form.than
    known = {one: of for one in form.than if (of := values[one]) is not None and not np.isnan(of)}
    best = max if metric_of(metric).rising else min
    return (best(known, key=known.__getitem__),) if known else ()


@compare.register
def _(form: Masks, scores: Scores) -> Iterator[Comparison]:
    if form.phase != "none":
        methods = tuple(f"{method}{PHASED}" for method in form.methods)
        yield from compare(replace(form, table=beside(form.table), methods=methods, phase="none"), scores)
        return
    masks = scores.masks(form.table)
    pairs = [pair for pair in product(masks, repeat=2) if masks_compared(form, *pair)]
    # In the order of the tables, whichever of the two is the better.
    pairs.sort(key=lambda pair: max(map(masks.index, pair)))
    for pair, method, metric in product(pairs, form.methods, scores.printed):
        sides = ((f"{label(mask)} {{}}", scores.value(form.table, mask, method, metric)) for mask in pair)
        tested = scores.tested.get((form.table, metric, frozenset((mask, method) for mask in pair)), "")
        yield from _compare(scores, f"{scores.labels.get(method)}, ", metric, sides, tested=tested)


def masks_compared(form: Masks, better: str, than: str) -> bool:
    """Tell whether a claim compares two masks."""
    (family, acceleration), (other, others) = parse_mask(better), parse_mask(than)
    related = acceleration == others if form.acceleration == "same" else acceleration < others
    alike = form.acceleration == "same" or family == other
    return related and alike and better.startswith(form.better) and than.startswith(form.than)


@compare.register
def _(form: Weights, scores: Scores) -> Iterator[Comparison]:
    # A point that is there without a mean diverged.
    inside = [point for point in scores.grid if _holds(form, point)]
    outside = [point for point in scores.grid if point not in inside]
    for first, second, metric in product(inside, outside, scores.printed):
        sides = (
            ("{{}} at α {:g}, β {:g}".format(*point), scores.grid[point].get(metric, np.nan))
            for point in (first, second)
        )
        yield from _compare(scores, "", metric, sides)


def _holds(form: Weights, point: Point) -> bool:
    ranges = zip((form.alpha, form.beta), point, strict=True)
    return all(low <= weight <= high for (low, high), weight in ranges)
