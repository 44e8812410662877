"""The page of claims: sections laid out, and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from data_prep.datasets.contract import dataset_of
from data_prep.masks.registry import label
from workflow.claims.agreement import order_agreement
from workflow.claims.claims import NOT_IN_PAPER
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import Definition
from workflow.plan.paper import the_paper
from workflow.statistics.scores import number
from workflow.tables.formats import markdown


@dataclass(frozen=True)
class Section:
    """The values of one table: its heading, a summary and rows of text under ``value_headers``."""

    title: str
    summary: str
    groups: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


@dataclass(frozen=True)
class ClaimsPage:
    """The whole comparison, ready to be written."""

    title: str
    introduction: tuple[str, ...]
    heading: str
    claims: tuple[dict[Any, Any], ...]
    sections: tuple[Section, ...]


SIGNS = {
    **{"holds": "✓", "in part": "◐", "does not hold": "✗", "not judged": "–"},
    **{"reproduced": "✓", "same rank": "≈", "other rank": "✗", "not reproduced": "✗"},
    **{"no rank": "–", "no value": "–"},
}


def value_headers() -> tuple[str, ...]:
    """Return the columns of a section."""
    parts = ("paper", "here", "Δ", "rank", "verdict")
    return ("Method", *(f"{metric_of(name).label} {part}" for name in the_paper().printed for part in parts))


def lay_out(cells: pd.DataFrame, claims: pd.DataFrame, definitions: Sequence[Definition]) -> ClaimsPage:
    """Arrange both comparisons for reading."""
    agreement = order_agreement(cells)
    experiment = definitions[0].experiment if definitions else ""
    return ClaimsPage(
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
    printed = the_paper().printed
    embedded = sorted({dataset_of(one.dataset).label for one in definitions if one.source == "embedded"})
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
            f"{printed['psnr'].tolerance} dB (PSNR) or {printed['ssim'].tolerance} (SSIM): half the median "
            "distance between neighbouring methods in the paper's Tables I and II."
        )
    sentences.append("Ranks count the methods that both tables hold; rank: the paper's → ours.")
    return tuple(sentences)


def _section(definition: Definition, cells: pd.DataFrame, agreement: pd.DataFrame) -> Section:
    counts = cells["verdict"].value_counts()
    total = ", ".join(f"{counts[name]} {name}" for name in SIGNS if name in counts)
    orders = [
        f"{metric_of(row['metric']).label}: all ranks agree under {row['same_order']} "
        f"of {row['columns']} masks"
        + ("" if np.isnan(row["tau"]) else f", mean Kendall's τ {number(row['tau'], 2)}")
        for row in agreement[agreement["table"] == definition.numeral].to_dict("records")
        if row["columns"]
    ]
    by_place = {(row["mask"], row["method"], row["metric"]): row for row in cells.to_dict("records")}
    groups, metrics = [], tuple(the_paper().printed)
    for mask in definition.masks:
        shown = [row for row in definition.rows if (mask, row.method, metrics[0]) in by_place]
        lines = [
            (row.label, *(text for metric in metrics for text in _texts(by_place[mask, row.method, metric])))
            for row in shown
        ]
        groups.append((label(mask), tuple(lines)))
    return Section(
        f"Table {definition.numeral} ({definition.data_note})",
        ". ".join([f"{len(cells)} values: {total}" if len(cells) else "No values", *orders]) + ".",
        tuple(groups),
    )


def _texts(row: Mapping[Any, Any]) -> tuple[str, ...]:
    digits = metric_of(row["metric"]).digits
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


def to_markdown(page: ClaimsPage) -> str:
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
            align = ["left", *["right"] * (len(value_headers()) - 1)]
            table = tabulate(grid, [*value_headers()], tablefmt="pipe", colalign=align, disable_numparse=True)
            parts += [f"**{title}**", "", table, ""]
    return "\n".join(parts)
