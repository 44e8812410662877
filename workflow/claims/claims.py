"""Paper against ours: a verdict per printed value, and whether each claim of the paper's text holds.

``python -m workflow.claims --definitions JSON --figure JSON --results results/X --output results/X/claims``
writes ``cells.csv`` (each value), ``claims.csv`` (each claim, judged by the paper's own tables and by ours)
and both as ``claims.md`` and ``claims.html``. How verdicts are reached: docs/statistics.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.masks.registry import label, parse_mask
from workflow.claims.agreement import PRINTED, Scores
from workflow.metrics.contract import metric_of
from workflow.statistics.scores import number

COMPARED = ("unet", "xiang", "dudornet", "manet")  # the methods that the paper compares, but for ZF
PAPER_CHOICE = (0.4, 0.6)  # alpha and beta
NOT_IN_PAPER = "not in the paper"


@dataclass(frozen=True)
class Comparison:
    """One of the comparisons that a claim stands for.

    Attributes:
        place: where, such as "1D-Uniform-9×, SSIM".
        holds: whether it speaks for the claim.
        values: the two values in print.
        tested: how the paired test tells the two methods apart; empty where no test applies.
    """

    place: str
    holds: bool
    values: str
    tested: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement of the paper's text, in our words.

    Attributes:
        name: short id.
        text: what is claimed.
        section: where the paper says so; empty if it does not.
        judged_by: the comparisons that decide.
        compare: yields them from one side's scores.
        silent: why the paper's own tables say nothing of it; empty if they do.
    """

    name: str
    text: str
    section: str
    judged_by: str
    compare: Callable[[Scores], Iterator[Comparison]]
    silent: str = ""


def _better(
    scores: Scores, numeral: str, mask: str, metric: str, first: str, second: str, strictly: bool = True
) -> Iterator[Comparison]:
    """Compare two methods in one column: is the first better? One that diverged is not."""
    a, b = (scores.get(numeral, mask, method, metric) for method in (first, second))
    lost = (numeral, mask, first) in scores.diverged
    if b is None or (a is None and not lost):
        return
    better = a is not None and (a > b if metric_of(metric).rising else a < b)
    yield Comparison(
        f"{label(mask)}, {metric_of(metric).label}",
        better or (a == b and not strictly),
        f"{scores.labels[first]} {_printed(scores, a, metric)}, "
        f"{scores.labels[second]} {_printed(scores, b, metric)}",
        scores.tested.get((numeral, mask, metric, frozenset((first, second))), ""),
    )


def _printed(scores: Scores, value: float | None, metric: str) -> str:
    return number(np.nan if value is None else value, scores.digits[metric])


def _best(scores: Scores, numerals: Sequence[str], metrics: Sequence[str]) -> Iterator[Comparison]:
    for numeral in numerals:
        for mask in scores.masks(numeral):
            for metric in metrics:
                others = {
                    method: value
                    for method in ("zf", *COMPARED)
                    if method != "manet" and (value := scores.get(numeral, mask, method, metric)) is not None
                }
                if others:
                    rival = (max if metric_of(metric).rising else min)(
                        others, key=lambda method: others[method]
                    )
                    yield from _better(scores, numeral, mask, metric, "manet", rival, strictly=False)


def _pairs(
    numerals: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> Callable[[Scores], Iterator[Comparison]]:
    """The first of each pair is better than the second, in every column of the tables."""

    def compare(scores: Scores) -> Iterator[Comparison]:
        for numeral in numerals:
            for mask in scores.masks(numeral):
                for metric in PRINTED:
                    for first, second in pairs:
                        yield from _better(scores, numeral, mask, metric, first, second)

    return compare


def _across_masks(scores: Scores, method: str, metric: str, better: str, worse: str) -> Iterator[Comparison]:
    """Compare one method of Table I under two masks; where it diverged under the first, it is not better."""
    a, b = (scores.get("I", mask, method, metric) for mask in (better, worse))
    lost = ("I", better, method) in scores.diverged
    if b is not None and (a is not None or lost):
        yield Comparison(
            f"{scores.labels[method]}, {metric_of(metric).label}",
            a is not None and a > b,
            f"{label(better)} {_printed(scores, a, metric)}, {label(worse)} {_printed(scores, b, metric)}",
        )


def _dimensions(scores: Scores) -> list[tuple[str, str]]:
    """Return all (2D, 1D) pairs of Table I's masks of the same nominal acceleration."""
    masks = scores.masks("I")
    return [
        (plane, line)
        for plane in masks
        for line in masks
        if plane.startswith("2d") and line.startswith("1d") and parse_mask(plane)[1] == parse_mask(line)[1]
    ]


def _planes_easier(scores: Scores) -> Iterator[Comparison]:
    for plane, line in _dimensions(scores):
        for method in ("zf", *COMPARED):
            for metric in PRINTED:
                yield from _across_masks(scores, method, metric, plane, line)


def _lines_best_for_manet(scores: Scores) -> Iterator[Comparison]:
    for plane, line in _dimensions(scores):
        for metric in PRINTED:
            yield from _across_masks(scores, "manet", metric, line, plane)


def _harder_with_acceleration(scores: Scores) -> Iterator[Comparison]:
    masks = scores.masks("I")
    for slow in masks:
        for fast in masks:
            family, acceleration = parse_mask(slow)
            if parse_mask(fast)[0] == family and parse_mask(fast)[1] > acceleration:
                for method in ("zf", *COMPARED):
                    for metric in PRINTED:
                        yield from _across_masks(scores, method, metric, slow, fast)


def _paper_choice_best(scores: Scores) -> Iterator[Comparison]:
    for point in scores.grid:
        if point != PAPER_CHOICE:
            yield from _points(scores, PAPER_CHOICE, point)


def _falls_below(scores: Scores) -> Iterator[Comparison]:
    high = [point for point in scores.grid if min(point) >= 0.4]
    low = [point for point in scores.grid if min(point) < 0.4]
    for better in high:
        for worse in low:
            yield from _points(scores, better, worse)


def _points(scores: Scores, better: tuple[float, float], worse: tuple[float, float]) -> Iterator[Comparison]:
    """Compare two points of the grid; one that is there without a mean diverged, and is not better."""
    for metric in PRINTED:
        a, b = (scores.grid.get(point, {}).get(metric) for point in (better, worse))
        if better in scores.grid and b is not None:
            names = [f"α {alpha:g}, β {beta:g}" for alpha, beta in (better, worse)]
            values = (
                f"{_printed(scores, a, metric)} at {names[0]}, {_printed(scores, b, metric)} at {names[1]}"
            )
            yield Comparison(metric_of(metric).label, a is not None and a > b, values)


_PLOT = "Fig. 9 is a plot: the paper prints no numbers."
CLAIMS = (
    Claim(
        "manet_best",
        "MANet is best in every setting.",
        "V-D",
        "SSIM and PSNR in Tables I and II: no method that the paper compares is better",
        lambda scores: _best(scores, ("I", "II"), PRINTED),
    ),
    Claim(
        "manet_lowest_nmse",
        "MANet has the lowest NMSE.",
        "V-D",
        "NMSE in Tables I and II: no method that the paper compares is lower",
        lambda scores: _best(scores, ("I", "II"), ("nmse",)),
        "The tables print no NMSE.",
    ),
    Claim(
        "auxiliary_helps",
        "Methods that use the auxiliary image are better than U-Net, which does not.",
        "V-D",
        "Tables I and II: Xiang et al., DuDoRNet and MANet each against U-Net",
        _pairs(("I", "II"), [(method, "unet") for method in ("xiang", "dudornet", "manet")]),
    ),
    Claim(
        "concatenation_weakest",
        "Joining the two images at the input (Xiang et al.) is the weakest way to fuse them.",
        "V-D",
        "Table I: Xiang et al. against DuDoRNet and against MANet",
        _pairs(("I",), [("dudornet", "xiang"), ("manet", "xiang")]),
    ),
    Claim(
        "planes_easier",
        "2D masks are easier than 1D masks.",
        "V-D and V-E",
        "Table I: each method under each 2D mask against each 1D mask of the same nominal acceleration",
        _planes_easier,
    ),
    Claim(
        "lines_best_for_manet",
        "MANet's results under 1D masks are the best of all patterns.",
        "V-D; it contradicts the claim above",
        "Table I: MANet under each 1D mask against each 2D mask of the same nominal acceleration",
        _lines_best_for_manet,
    ),
    Claim(
        "harder_with_acceleration",
        "Reconstruction gets harder as acceleration rises.",
        "V-D",
        "Table I: each method, the same pattern at the lower against the higher acceleration",
        _harder_with_acceleration,
    ),
    Claim(
        "kspace_helps",
        "Learning in k-space as well helps.",
        "V-F",
        "Table III: MANet against itself without its k-space network",
        _pairs(("III",), [("manet", "manet-no_kspace")]),
    ),
    Claim(
        "attention_helps",
        "The guided attention helps.",
        "V-F",
        "Table III: MANet against itself with features concatenated instead",
        _pairs(("III",), [("manet", "manet-no_attention")]),
    ),
    Claim(
        "cs_best",
        "Channel before spatial attention (CS) is the best order.",
        "V-F",
        "Table IV: CS against SC and against SC-CS, which the paper calls comparable but larger",
        _pairs(("IV",), [("manet", "manet-sc"), ("manet", "manet-sc_cs")]),
    ),
    Claim(
        "sc_worst",
        "Spatial before channel attention (SC) is the worst order.",
        "V-F",
        "Table IV: CS and SC-CS each against SC",
        _pairs(("IV",), [("manet", "manet-sc"), ("manet-sc_cs", "manet-sc")]),
    ),
    Claim(
        "loss_weights",
        "The loss weights α 0.4 and β 0.6 are the best.",
        "V-F, Fig. 9",
        "Fig. 9: this point against every other point of the grid",
        _paper_choice_best,
        _PLOT,
    ),
    Claim(
        "low_weights_worse",
        "With α or β below 0.4 the scores fall.",
        "V-F, Fig. 9",
        "Fig. 9: each point with both weights from 0.4 on against each with one or both below (the paper "
        'says "and")',
        _falls_below,
        _PLOT,
    ),
)

_NOT_ASKED = "The paper does not ask."
# What its readers ask first. The further methods of this benchmark answer, where they were run.
QUESTIONS = (
    Claim(
        "beats_unrolled",
        "MANet is better than unrolled, data-consistent networks that see both contrasts.",
        "",
        "Tables I and II: MANet against VarNet and against MC-VarNet",
        _pairs(("I", "II"), [("manet", "varnet"), ("manet", "mcvarnet")]),
        _NOT_ASKED,
    ),
    Claim(
        "beats_plain_network",
        "MANet is better than a plain U-Net that sees both contrasts: its architecture helps.",
        "",
        "Tables I and II: MANet against the U-Net of both contrasts",
        _pairs(("I", "II"), [("manet", "unet2")]),
        _NOT_ASKED,
    ),
    Claim(
        "second_contrast_helps",
        "A plain U-Net is better when it sees the auxiliary too: the second contrast helps.",
        "",
        "Tables I and II: the U-Net of both contrasts against U-Net",
        _pairs(("I", "II"), [("unet2", "unet")]),
        _NOT_ASKED,
    ),
)
