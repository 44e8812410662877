"""Papers against ours: a verdict per printed value, and whether each claim of a paper's text holds.

``python -m workflow.claims --papers ID --definitions JSON --figures JSON --results results/X --output
results/X/claims`` writes ``cells.csv`` (each value), ``claims.csv`` (each claim, judged by the paper's own
tables and by ours) and both as ``claims.md`` and ``claims.html``, those of other papers in folders below; of
several papers also ``papers.csv`` and ``papers.md``: where two print other values of one cell. How verdicts
are reached: docs/statistics.md.
"""

from pathlib import Path
from typing import Annotated

from data_prep.io.command import command
from data_prep.io.files import write_text
from data_prep.io.frames import csv_of
from workflow.claims.across import across_papers, printed_across
from workflow.claims.agreement import compare_cells, our_scores, own_parts, paper_scores, printed_parts
from workflow.claims.judge import judge_claims
from workflow.claims.mirrors import mirror_notes, phased_parts
from workflow.claims.page import lay_out
from workflow.papers.claim import claims_of
from workflow.papers.contract import Paper, read_paper
from workflow.plan.definitions import Definition, Folder, Results


def _texts(
    paper: Paper, definitions: list[Definition], results: Path, figure: Definition | None
) -> dict[str, str]:
    """Return the files of one paper, by name."""
    phased = phased_parts(definitions, paper)
    printed = printed_parts(own_parts(definitions, paper), paper)
    ours = our_scores(results, [*printed, *phased], figure, paper)
    cells = compare_cells(paper, ours, printed)
    notes = mirror_notes(results, printed)
    claims = judge_claims(claims_of(paper.id), paper_scores(paper), ours, notes)
    return {
        "cells.csv": csv_of(cells),
        "claims.csv": csv_of(claims),
        **{f"claims.{form}": text for form, text in lay_out(cells, claims, printed, paper).items()},
    }


@command
def write_claims(
    definitions: list[Definition],
    results: Results,
    output: Folder,
    figures: Annotated[list[Definition] | None, "the papers' heat maps that the experiment has"] = None,
    *,
    papers: Annotated[tuple[str, ...], "ids of the papers"],
) -> None:
    """Write the comparison as two CSV files, Markdown and HTML into the folder ``output``, and below it.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    found = [read_paper(name) for name in papers]
    for paper in found:
        heat_map = next((one for one in figures or () if one.paper == paper.id), None)
        folder = output if paper.plain else output / paper.id
        for name, text in _texts(paper, definitions, results, heat_map).items():
            write_text(folder / name, text)
    if len(found) > 1:
        table = across_papers(found, results, definitions)
        write_text(output / "papers.csv", csv_of(table))
        write_text(output / "papers.md", printed_across(table))
