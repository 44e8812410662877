"""The claims of the paper's text, the questions beyond it, and the comparisons that each one stands for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from data_prep.masks.registry import label, parse_mask
from workflow.claims.agreement import PRINTED, Point, Scores
from workflow.metrics.contract import metric_of
from workflow.plan.paper import PAPER_CHOICE
from workflow.statistics.scores import number

COMPARED = ("unet", "xiang", "dudornet", "manet")  # the methods that the paper compares, but for ZF
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


def _compare(
    scores: Scores,
    place: str,
    metric: str,
    values: tuple[float | None, float | None],
    said: str,
    lost: bool,
    strictly: bool = True,
    tested: str = "",
) -> Iterator[Comparison]:
    """Is the first of two values better? One that diverged is not; without values there is no comparison.

    Args:
        scores: whose digits are printed.
        place: where they are compared.
        metric: what they are.
        values: None where there is none.
        said: what stands in print, with ``{}`` for each value.
        lost: whether the first has no value because it diverged.
        strictly: whether equal values speak against it.
        tested: how the paired test tells the two apart.
    """
    a, b = values
    if b is None or (a is None and not lost):
        return
    better = a is not None and (a > b if metric_of(metric).rising else a < b)
    printed = [number(np.nan if value is None else value, scores.digits[metric]) for value in values]
    yield Comparison(
        f"{place}{metric_of(metric).label}",
        better or (a == b and not strictly),
        said.format(*printed),
        tested,
    )


def _better(
    scores: Scores, numeral: str, mask: str, metric: str, first: str, second: str, strictly: bool = True
) -> Iterator[Comparison]:
    """Compare two methods in one column."""
    values = scores.get(numeral, mask, first, metric), scores.get(numeral, mask, second, metric)
    said = f"{scores.labels.get(first)} {{}}, {scores.labels.get(second)} {{}}"
    tested = scores.tested.get((numeral, mask, metric, frozenset((first, second))), "")
    lost = (numeral, mask, first) in scores.diverged
    return _compare(scores, f"{label(mask)}, ", metric, values, said, lost, strictly, tested)


def _best(scores: Scores, numerals: Sequence[str], metrics: Sequence[str]) -> Iterator[Comparison]:
    """Compare MANet with the best of the others that the paper compares, in every column of the tables."""
    others = [method for method in ("zf", *COMPARED) if method != "manet"]
    for numeral in numerals:
        for mask, metric in product(scores.masks(numeral), metrics):
            found = {method: scores.get(numeral, mask, method, metric) for method in others}
            known = {method: value for method, value in found.items() if value is not None}
            if known:
                rival = (max if metric_of(metric).rising else min)(known, key=lambda method: known[method])
                yield from _better(scores, numeral, mask, metric, "manet", rival, strictly=False)


def _pairs(
    numerals: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> Callable[[Scores], Iterator[Comparison]]:
    """The first of each pair is better than the second, in every column of the tables."""

    def compare(scores: Scores) -> Iterator[Comparison]:
        for numeral in numerals:
            for mask, metric, pair in product(scores.masks(numeral), PRINTED, pairs):
                yield from _better(scores, numeral, mask, metric, *pair)

    return compare


def _across_masks(
    methods: Sequence[str], compared: Callable[[str, str], bool], turned: bool = False
) -> Callable[[Scores], Iterator[Comparison]]:
    """Each method of Table I is better under the first of two masks, or the second if ``turned``."""

    def compare(scores: Scores) -> Iterator[Comparison]:
        pairs = [pair for pair in product(scores.masks("I"), repeat=2) if compared(*pair)]
        for pair, method, metric in product(pairs, methods, PRINTED):
            better, worse = reversed(pair) if turned else pair
            values = scores.get("I", better, method, metric), scores.get("I", worse, method, metric)
            said = f"{label(better)} {{}}, {label(worse)} {{}}"
            lost = ("I", better, method) in scores.diverged
            yield from _compare(scores, f"{scores.labels.get(method)}, ", metric, values, said, lost)

    return compare


def _plane_and_line(plane: str, line: str) -> bool:
    """Whether these are a 2D and a 1D mask of the same nominal acceleration."""
    return plane.startswith("2d") and line.startswith("1d") and parse_mask(plane)[1] == parse_mask(line)[1]


def _slow_and_fast(slow: str, fast: str) -> bool:
    """Whether these are one pattern at a lower and a higher acceleration."""
    (family, acceleration), (other, higher) = parse_mask(slow), parse_mask(fast)
    return family == other and acceleration < higher


def _points(
    better: Callable[[Point], bool], worse: Callable[[Point], bool]
) -> Callable[[Scores], Iterator[Comparison]]:
    """Points of the grid are better than others; one that is there without a mean diverged."""

    def compare(scores: Scores) -> Iterator[Comparison]:
        firsts, seconds = (list(filter(chosen, scores.grid)) for chosen in (better, worse))
        for first, second, metric in product(firsts, seconds, PRINTED):
            values = scores.grid[first].get(metric), scores.grid[second].get(metric)
            said = "{{}} at α {:g}, β {:g}, {{}} at α {:g}, β {:g}".format(*first, *second)
            yield from _compare(scores, "", metric, values, said, lost=True)

    return compare


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
        _across_masks(("zf", *COMPARED), _plane_and_line),
    ),
    Claim(
        "lines_best_for_manet",
        "MANet's results under 1D masks are the best of all patterns.",
        "V-D; it contradicts the claim above",
        "Table I: MANet under each 1D mask against each 2D mask of the same nominal acceleration",
        _across_masks(("manet",), _plane_and_line, turned=True),
    ),
    Claim(
        "harder_with_acceleration",
        "Reconstruction gets harder as acceleration rises.",
        "V-D",
        "Table I: each method, the same pattern at the lower against the higher acceleration",
        _across_masks(("zf", *COMPARED), _slow_and_fast),
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
        _points(lambda point: point == PAPER_CHOICE, lambda point: point != PAPER_CHOICE),
        _PLOT,
    ),
    Claim(
        "low_weights_worse",
        "With α or β below 0.4 the scores fall.",
        "V-F, Fig. 9",
        "Fig. 9: each point with both weights from 0.4 on against each with one or both below (the paper "
        'says "and")',
        _points(lambda point: min(point) >= 0.4, lambda point: min(point) < 0.4),
        _PLOT,
    ),
)

_NOT_ASKED = "The paper does not ask."
# What its readers ask first. Other methods of this benchmark answer, where they were run.
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
