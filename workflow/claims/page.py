"""The page of claims: sections laid out, as Markdown and as HTML."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from data_prep.datasets.contract import dataset_of
from data_prep.masks.registry import label
from workflow.claims.agreement import order_agreement
from workflow.claims.claims import NOT_IN_PAPER
from workflow.metrics.contract import metric_of
from workflow.papers.contract import Paper
from workflow.plan.definitions import Definition
from workflow.statistics.scores import number
from workflow.tables.formats import template
from workflow.tables.page import Block, Text

SIDES = {"paper": "In the paper's own tables", "here": "Here"}
SIGNS = {
    **{"holds": "✓", "mostly": "◕", "in part": "◑", "hardly": "◔", "does not hold": "✗", "not judged": "–"},
    **{"reproduced": "✓", "same rank": "≈", "other rank": "✗", "not reproduced": "✗"},
    **{"no rank": "–", "no value": "–"},
}


def lay_out(
    cells: pd.DataFrame, claims: pd.DataFrame, definitions: Sequence[Definition], paper: Paper
) -> dict[str, str]:
    """Arrange both comparisons for reading: as Markdown and as HTML, by the ending of its file."""
    agreement, judged = order_agreement(cells), claims.to_dict("records")
    rows = tuple(
        (
            f"{row['text']} ({row['section']})",
            tuple(Text(f"{SIGNS[row[side]]} {row[side]}: {row[f'{side}_evidence']}") for side in SIDES),
        )
        for row in judged
    )
    page = {
        "title": (
            f"{'Paper' if paper.plain else paper.name} against ours: experiment "
            f"{definitions[0].experiment if definitions else ''}"
        ),
        "introduction": _introduction(definitions, paper, any("–" in text for text in rank_texts(cells))),
        "heading": claims_heading(claims["section"]),
        "claims": judged,
        "table": Block("Claim", (("", tuple(SIDES.values())),), rows),
        "sections": [
            _section(one, cells[cells["table"] == one.numeral], agreement, tuple(paper.printed))
            for one in definitions
            if not paper.table(one.numeral).silent
        ],
        "signs": SIGNS,
    }
    return {form: template(f"claims.{form}.j2").render(page) for form in ("md", "html")}


def claims_heading(sections: Iterable[str], whose: str = "the paper") -> str:
    """Return what stands above claims and questions that are made in ``sections`` of a paper."""
    beyond = ", and questions beyond it" if NOT_IN_PAPER in set(sections) else ""
    return f"Claims of {whose}'s text{beyond}"


def rank_texts(cells: pd.DataFrame) -> list[str]:
    """Write the ranks of each value as "paper's → ours", empty where there is none of ours.

    Of values that the paper prints alike these are all that they share: 2–3 → 3.

    Args:
        cells: what ``compare_cells`` returns, or as its file is read.
    """
    places = [*zip(*(cells[name] for name in ("table", "mask", "metric", "paper_rank")), strict=True)]
    alike, texts = Counter(places), []
    for place, first, rank in zip(places, cells["paper_rank"], cells["rank"], strict=True):
        if pd.isna(rank):
            texts.append("")
            continue
        last = "" if alike[place] == 1 else f"–{int(first) + alike[place] - 1}"
        texts.append(f"{int(first)}{last} → {int(rank)}")
    return texts


def _introduction(definitions: Sequence[Definition], paper: Paper, tied: bool) -> tuple[str, ...]:
    tolerances = " or ".join(
        " ".join(filter(None, (f"{of.tolerance}", metric_of(name).unit, f"({metric_of(name).label})")))
        for name, of in sorted(paper.printed.items())
        if of.tolerance is not None
    )
    embedded = sorted({dataset_of(one.dataset).label for one in definitions if one.source == "embedded"})
    sentences = [
        "Each claim of the paper's text is first checked against the paper's own tables, then against this "
        "experiment. It holds if all of its comparisons do, mostly from three quarters on, in part from one "
        "quarter on, hardly below, and not at all if none does.",
    ]
    if embedded:
        sentences.append(
            f"The data here is embedded, not {' or '.join(embedded)}: other anatomy, matrix, noise and "
            "network sizes. Its values cannot agree with the paper's by more than accident, so they are "
            "judged by rank alone, and even a rank that differs says nothing against the paper."
        )
    if tolerances and any(one.source == "published" for one in definitions):
        reproduced = f"A value is reproduced if it differs from the paper's by at most {tolerances}"
        sentences.append(f"{reproduced}: {paper.tolerance}.")
    sentences.append("Ranks count the methods that both tables hold; rank: the paper's → ours.")
    if tied:
        sentences.append(
            "Values that the paper prints alike share their ranks, such as 2–3; any of them is the same rank."
        )
    return tuple(sentences)


def _section(
    definition: Definition, cells: pd.DataFrame, agreement: pd.DataFrame, metrics: Sequence[str]
) -> dict[str, Any]:
    """Return the values of one table: its heading, a summary, and a block for each mask."""
    counts = cells["verdict"].value_counts()
    total = ", ".join(f"{counts[name]} {name}" for name in SIGNS if name in counts)
    orders = [
        f"{metric_of(row['metric']).label}: all ranks agree under {row['same_order']} "
        f"of {row['columns']} masks"
        + ("" if np.isnan(row["tau"]) else f", mean Kendall's τ {number(row['tau'], 2)}")
        for row in agreement[agreement["table"] == definition.numeral].to_dict("records")
        if row["columns"]
    ]
    records = cells.assign(ranks=rank_texts(cells)).to_dict("records")
    by_place = {(row["mask"], row["method"], row["metric"]): row for row in records}
    parts, blocks = ("paper", "here", "Δ", "rank", "verdict"), []
    headers = tuple(f"{metric_of(name).label} {part}" for name in metrics for part in parts)
    for mask in definition.masks:
        lines = tuple(
            (row.label, tuple(cell for name in metrics for cell in _cells(by_place[mask, row.method, name])))
            for row in definition.rows
            if (mask, row.method, metrics[0]) in by_place
        )
        blocks.append(Block("Method", ((label(mask), headers),), lines))
    summary = ". ".join([f"{len(cells)} values: {total}" if len(cells) else "No values", *orders]) + "."
    title = f"Table {definition.numeral} ({definition.data_note})"
    return {"title": title, "summary": summary, "blocks": blocks}


def _cells(row: Mapping[Any, Any]) -> tuple[Text, ...]:
    digits, texts = metric_of(row["metric"]).digits, ["—", "", ""]
    if not np.isnan(row["difference"]):
        texts = [number(row["ours"], digits), number(row["difference"], digits, signed=True)]
        texts.append(row["ranks"])
    return tuple(map(Text, (row["paper"], *texts, f"{SIGNS[row['verdict']]} {row['verdict']}")))
