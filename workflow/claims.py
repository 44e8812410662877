"""Paper against ours: a verdict per printed value, and whether each claim of the paper's text holds.

``python -m workflow.claims --definitions JSON --figure JSON --results results/X --output results/X/claims``
writes ``cells.csv`` (each value), ``claims.csv`` (each claim, judged by the paper's own tables and by ours)
and both as ``claims.md`` and ``claims.html``. How verdicts are reached: docs/statistics.md.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from data_prep.errors import run_command
from data_prep.files import replacing
from data_prep.further_dataset import dataset_name
from data_prep.masks import label, parse_mask
from workflow.agreement import (
    PRINTED,
    TOLERANCE,
    Scores,
    compare_cells,
    order_agreement,
    our_scores,
    paper_scores,
    printed_parts,
)
from workflow.scores import RISING, Definition, number, read_definition, read_definitions
from workflow.tables import DIGITS, markdown, template

NAMES = {"ssim": "SSIM", "psnr": "PSNR", "nmse": "NMSE"}
COMPARED = ("unet", "xiang", "dudornet", "manet")  # the methods that the paper compares, but for ZF
PAPER_CHOICE = (0.4, 0.6)  # alpha and beta
NOT_IN_PAPER = "not in the paper"


# ---- claims ---------------------------------------------------------------------------------------


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
    better = a is not None and (a > b if RISING[metric] else a < b)
    yield Comparison(
        f"{label(mask)}, {NAMES[metric]}",
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
                    rival = (max if RISING[metric] else min)(others, key=lambda method: others[method])
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
            f"{scores.labels[method]}, {NAMES[metric]}",
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
            yield Comparison(f"{NAMES[metric]}", a is not None and a > b, values)


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


@dataclass(frozen=True)
class Judgement:
    """Whether a claim holds on one side.

    Attributes:
        answer: "holds", "in part", "does not hold" or "not judged".
        held: comparisons that speak for it.
        of: comparisons made.
        evidence: sentences.
    """

    answer: str
    held: int
    of: int
    evidence: str


MOST_NAMED = 4  # comparisons that a sentence lists


def judge(comparisons: Sequence[Comparison], reason: str) -> Judgement:
    """Weigh a claim's comparisons: it holds if all do, in part if some do.

    Args:
        comparisons: what the claim yields.
        reason: why there may be none.
    """
    held = [comparison for comparison in comparisons if comparison.holds]
    failed = [comparison for comparison in comparisons if not comparison.holds]
    if not comparisons:
        return Judgement("not judged", 0, 0, reason)
    answer = "in part" if held and failed else "holds" if held else "does not hold"
    sentences = [f"{len(held)} of {len(comparisons)} comparisons."]
    if failed:
        named = [f"{one.place}: {one.values}" for one in failed[:MOST_NAMED]]
        more = len(failed) - len(named)
        sentences.append(f"Against: {'; '.join(named)}{f'; and {more} more' if more else ''}.")
    return Judgement(answer, len(held), len(comparisons), " ".join([*sentences, *_chance(held)]))


def _chance(held: Sequence[Comparison]) -> list[str]:
    tested = [comparison.tested for comparison in held if comparison.tested]
    if not tested:
        return []
    if set(tested) == {"unreachable"}:
        return ["Too few test volumes to tell any of it from chance."]
    sure = tested.count("distinguishable")
    return [f"Beyond chance: {sure} of these {len(tested)}."]


def judge_claims(paper: Scores, ours: Scores) -> pd.DataFrame:
    """Return one row per claim: whether it holds in the paper's own tables and here, with the evidence.

    Questions that the paper does not ask follow, where this experiment answers them.
    """
    records = []
    for claim in (*CLAIMS, *QUESTIONS):
        comparisons = list(claim.compare(ours))
        if claim in QUESTIONS and not comparisons:
            continue
        theirs = judge([] if claim.silent else list(claim.compare(paper)), claim.silent)
        own = judge(comparisons, "This experiment has none of the runs that it needs.")
        records.append(
            {
                "claim": claim.name,
                "text": claim.text,
                "section": f"section {claim.section}" if claim.section else NOT_IN_PAPER,
                "judged_by": claim.judged_by,
                "paper": theirs.answer,
                "paper_held": theirs.held,
                "paper_comparisons": theirs.of,
                "paper_evidence": theirs.evidence,
                "here": own.answer,
                "here_held": own.held,
                "here_comparisons": own.of,
                "here_evidence": own.evidence,
            }
        )
    return pd.DataFrame.from_records(records)


# ---- words ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """The values of one table: its heading, a summary and rows of text under ``HEADERS``."""

    title: str
    summary: str
    groups: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


@dataclass(frozen=True)
class Page:
    """The whole comparison, ready to be written."""

    title: str
    introduction: tuple[str, ...]
    heading: str
    claims: tuple[dict[Any, Any], ...]
    sections: tuple[Section, ...]


HEADERS = (
    "Method",
    *(f"{name}{part}" for name in ("SSIM ", "PSNR ") for part in ("paper", "here", "Δ", "rank", "verdict")),
)
SIGNS = {
    **{"holds": "✓", "in part": "◐", "does not hold": "✗", "not judged": "–"},
    **{
        "reproduced": "✓",
        "same rank": "≈",
        "other rank": "✗",
        "not reproduced": "✗",
        "no rank": "–",
        "no value": "–",
    },
}


def lay_out(cells: pd.DataFrame, claims: pd.DataFrame, definitions: Sequence[Definition]) -> Page:
    """Arrange both comparisons for reading."""
    agreement = order_agreement(cells)
    experiment = definitions[0].experiment if definitions else ""
    return Page(
        f"Paper against ours: experiment {experiment}",
        _introduction(definitions),
        claims_heading(claims["section"]),
        tuple(claims.to_dict("records")),
        tuple(
            _section(definition, cells[cells["table"] == definition.numeral], agreement)
            for definition in definitions
        ),
    )


def claims_heading(sections: Iterable[str]) -> str:
    """Return what stands above claims and questions that are made in ``sections``."""
    beyond = ", and questions beyond it" if NOT_IN_PAPER in set(sections) else ""
    return f"Claims of the paper's text{beyond}"


def _introduction(definitions: Sequence[Definition]) -> tuple[str, ...]:
    embedded = sorted({dataset_name(one.dataset) for one in definitions if one.source == "embedded"})
    sentences = [
        "Each claim of the paper's text is first checked against the paper's own tables, then against this "
        "experiment. It holds if all of its comparisons do, in part if some do.",
    ]
    if embedded:
        sentences.append(
            f"The data here is embedded, not {' or '.join(embedded)}: other anatomy, matrix, noise and "
            "network sizes. Its values cannot agree with the paper's by more than accident, so they are "
            "judged by rank alone, and even a rank that differs says nothing against the paper."
        )
    if any(one.source == "published" for one in definitions):
        sentences.append(
            "A value is reproduced if it differs from the paper's by at most "
            f"{TOLERANCE['psnr']} dB (PSNR) or {TOLERANCE['ssim']} (SSIM): half the median distance between "
            "neighbouring methods in the paper's Tables I and II."
        )
    sentences.append("Ranks count the methods that both tables hold; rank: the paper's → ours.")
    return tuple(sentences)


def _section(definition: Definition, cells: pd.DataFrame, agreement: pd.DataFrame) -> Section:
    counts = cells["verdict"].value_counts()
    total = ", ".join(f"{counts[name]} {name}" for name in SIGNS if name in counts)
    orders = [
        f"{NAMES[row['metric']]}: all ranks agree under {row['same_order']} of {row['columns']} masks"
        + ("" if np.isnan(row["tau"]) else f", mean Kendall's τ {number(row['tau'], 2)}")
        for row in agreement[agreement["table"] == definition.numeral].to_dict("records")
        if row["columns"]
    ]
    by_place = {(row["mask"], row["method"], row["metric"]): row for row in cells.to_dict("records")}
    groups = []
    for mask in definition.masks:
        shown = [row for row in definition.rows if (mask, row.method, PRINTED[0]) in by_place]
        lines = [
            (row.label, *(text for metric in PRINTED for text in _texts(by_place[mask, row.method, metric])))
            for row in shown
        ]
        groups.append((label(mask), tuple(lines)))
    return Section(
        f"Table {definition.numeral} ({definition.data_note})",
        ". ".join([f"{len(cells)} values: {total}" if len(cells) else "No values", *orders]) + ".",
        tuple(groups),
    )


def _texts(row: Mapping[Any, Any]) -> tuple[str, ...]:
    digits = DIGITS[row["metric"]]
    verdict = f"{SIGNS[row['verdict']]} {row['verdict']}"
    if np.isnan(row["difference"]):
        return row["paper"], "—", "", "", verdict
    return (
        row["paper"],
        number(row["ours"], digits),
        number(row["difference"], digits, signed=True),
        f"{row['paper_rank']} → {row['rank']}",
        verdict,
    )


def to_markdown(page: Page) -> str:
    """Return the page as Markdown."""
    parts = [f"**{page.title}**", "", *(f"{markdown(sentence)}\n" for sentence in page.introduction)]
    body = [
        [
            f"{markdown(row['text'])} ({row['section']})",
            *(
                f"{SIGNS[row[side]]} {row[side]}: {markdown(row[f'{side}_evidence'])}"
                for side in ("paper", "here")
            ),
        ]
        for row in page.claims
    ]
    headers = ["Claim", "In the paper's own tables", "Here"]
    parts += [tabulate(body, headers, tablefmt="pipe", disable_numparse=True), ""]
    for section in page.sections:
        parts += [f"**{section.title}**", "", markdown(section.summary), ""]
        for title, lines in section.groups:
            grid = [[markdown(text) for text in line] for line in lines]
            align = ["left", *["right"] * (len(HEADERS) - 1)]
            table = tabulate(grid, [*HEADERS], tablefmt="pipe", colalign=align, disable_numparse=True)
            parts += [f"**{title}**", "", table, ""]
    return "\n".join(parts)


# ---- command --------------------------------------------------------------------------------------


def write_claims(
    definitions: Sequence[Definition], figure: Definition | None, results: Path, output: Path
) -> None:
    """Write the comparison as two CSV files, Markdown and HTML into the folder ``output``.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    definitions = printed_parts(definitions)
    paper, ours = paper_scores(), our_scores(results, definitions, figure)
    cells, claims = compare_cells(paper, ours, definitions), judge_claims(paper, ours)
    page = lay_out(cells, claims, definitions)
    texts = {
        "cells.csv": cells.to_csv(index=False, float_format="%.9g", lineterminator="\n"),
        "claims.csv": claims.to_csv(index=False, lineterminator="\n"),
        "claims.md": to_markdown(page),
        "claims.html": template("claims.html.j2").render(page=page, headers=HEADERS, signs=SIGNS),
    }
    for name, text in texts.items():
        with replacing(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.claims", description=__doc__)
    parser.add_argument(
        "--definitions", required=True, help="JSON list of tables, as workflow.plan defines them"
    )
    parser.add_argument("--figure", help="Fig. 9 as JSON, if the experiment has it")
    parser.add_argument("--results", required=True, type=Path, help="folder of the experiment")
    parser.add_argument("--output", required=True, type=Path, help="folder to write into")
    arguments = parser.parse_args()
    figure = read_definition(arguments.figure) if arguments.figure else None
    write_claims(read_definitions(arguments.definitions), figure, arguments.results, arguments.output)


if __name__ == "__main__":
    run_command(main)
