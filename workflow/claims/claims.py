"""The claims of the paper's text, the questions beyond it, and the comparisons that each one stands for.

They stand in ``workflow/resources/claims.yaml``; here are the forms that they take.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal

import numpy as np

from data_prep.masks.registry import label, parse_mask
from workflow.claims.agreement import Point, Scores
from workflow.claims.mirrors import beside
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import PHASED
from workflow.plan.paper import read_resource, the_paper
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


@dataclass(frozen=True)
class Methods:
    """Each of some methods is better than each of others, in every column of some tables.

    Attributes:
        tables: numerals.
        better: ids of methods.
        than: ids of methods.
        unbeaten: whether it is enough to equal the best of the others.
        metrics: ids; empty for those that the paper prints.
    """

    tables: tuple[str, ...]
    better: tuple[str, ...]
    than: tuple[str, ...]
    unbeaten: bool = False
    metrics: tuple[str, ...] = ()

    def compare(self, scores: Scores) -> Iterator[Comparison]:
        """Yield the comparisons, by one side's scores."""
        for numeral in self.tables:
            metrics = self.metrics or the_paper().printed
            for mask, metric, first in product(scores.masks(numeral), metrics, self.better):
                values = {one: scores.value(numeral, mask, one, metric) for one in (first, *self.than)}
                for second in self._rivals(values, metric):
                    sides = ((f"{scores.labels.get(one)} {{}}", values[one]) for one in (first, second))
                    places = frozenset(((mask, first), (mask, second)))
                    tested = scores.tested.get((numeral, metric, places), "")
                    yield from _compare(scores, f"{label(mask)}, ", metric, sides, not self.unbeaten, tested)

    def _rivals(self, values: dict[str, float | None], metric: str) -> tuple[str, ...]:
        if not self.unbeaten:
            return self.than
        known = {one: of for one in self.than if (of := values[one]) is not None and not np.isnan(of)}
        best = max if metric_of(metric).rising else min
        return (best(known, key=known.__getitem__),) if known else ()


@dataclass(frozen=True)
class Masks:
    """Each of some methods is better under some masks of a table than under others.

    Attributes:
        table: numeral.
        methods: ids.
        acceleration: of the better mask: the other's, whatever their patterns, or lower with one pattern.
        better: what names of the better masks begin with.
        than: what names of the others begin with.
        phase: of the targets: those of the table itself, or of the table beside it of targets with a phase.
    """

    table: str
    methods: tuple[str, ...]
    acceleration: Literal["same", "lower"]
    better: str = ""
    than: str = ""
    phase: Literal["none", "smooth"] = "none"

    def compare(self, scores: Scores) -> Iterator[Comparison]:
        """Yield the comparisons, by one side's scores."""
        if self.phase != "none":
            methods = tuple(f"{method}{PHASED}" for method in self.methods)
            yield from replace(self, table=beside(self.table), methods=methods, phase="none").compare(scores)
            return
        masks = scores.masks(self.table)
        pairs = [pair for pair in product(masks, repeat=2) if self._compared(*pair)]
        # In the order of the tables, whichever of the two is the better.
        pairs.sort(key=lambda pair: max(map(masks.index, pair)))
        for pair, method, metric in product(pairs, self.methods, the_paper().printed):
            sides = ((f"{label(mask)} {{}}", scores.value(self.table, mask, method, metric)) for mask in pair)
            tested = scores.tested.get((self.table, metric, frozenset((mask, method) for mask in pair)), "")
            yield from _compare(scores, f"{scores.labels.get(method)}, ", metric, sides, tested=tested)

    def _compared(self, better: str, than: str) -> bool:
        (family, acceleration), (other, others) = parse_mask(better), parse_mask(than)
        related = acceleration == others if self.acceleration == "same" else acceleration < others
        alike = self.acceleration == "same" or family == other
        return related and alike and better.startswith(self.better) and than.startswith(self.than)


@dataclass(frozen=True)
class Weights:
    """The points of Fig. 9 whose loss weights lie in two ranges are better than all others.

    Attributes:
        alpha: lowest and highest.
        beta: lowest and highest.
    """

    alpha: tuple[float, float]
    beta: tuple[float, float]

    def compare(self, scores: Scores) -> Iterator[Comparison]:
        """Yield the comparisons, by one side's scores; a point that is there without a mean diverged."""
        inside = [point for point in scores.grid if self._holds(point)]
        outside = [point for point in scores.grid if point not in inside]
        for first, second, metric in product(inside, outside, the_paper().printed):
            sides = (
                ("{{}} at α {:g}, β {:g}".format(*point), scores.grid[point].get(metric, np.nan))
                for point in (first, second)
            )
            yield from _compare(scores, "", metric, sides)

    def _holds(self, point: Point) -> bool:
        ranges = zip((self.alpha, self.beta), point, strict=True)
        return all(low <= weight <= high for (low, high), weight in ranges)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper's text, in our words, or a question that its readers ask.

    Attributes:
        name: short id.
        text: what is claimed.
        judged_by: the comparisons that decide, in words.
        section: where the paper says so; empty for a question.
        silent: why the paper's own tables say nothing of it; empty if they do.
        methods: the comparisons that decide, as are ``masks`` and ``weights``.
        masks: see ``methods``.
        weights: see ``methods``.
    """

    name: str
    text: str
    judged_by: str
    section: str = ""
    silent: str = ""
    methods: Methods | None = None
    masks: Masks | None = None
    weights: Weights | None = None

    def compare(self, scores: Scores) -> Iterator[Comparison]:
        """Yield the comparisons, by one side's scores."""
        for form in (self.methods, self.masks, self.weights):
            if form is not None:
                yield from form.compare(scores)


@cache
def claims() -> tuple[Claim, ...]:
    """Return the claims, then the questions."""
    return read_resource(tuple[Claim, ...], "claims.yaml")
