"""Paper against ours: a verdict per printed value, and whether each claim of the paper's text holds.

``python -m workflow.claims --definitions JSON --figure JSON --results results/X --output results/X/claims``
writes ``cells.csv`` (each value), ``claims.csv`` (each claim, judged by the paper's own tables and by ours)
and both as ``claims.md`` and ``claims.html``. How verdicts are reached: docs/statistics.md.
"""

from typing import Annotated

from data_prep.io.command import command
from data_prep.io.files import write_text
from data_prep.io.frames import csv_of
from workflow.claims.agreement import compare_cells, our_scores, paper_scores, printed_parts
from workflow.claims.judge import judge_claims
from workflow.claims.mirrors import mirror_notes, phased_parts
from workflow.claims.page import lay_out
from workflow.plan.definitions import Definition, Folder, Results


@command
def write_claims(
    definitions: list[Definition],
    results: Results,
    output: Folder,
    figure: Annotated[Definition | None, "Fig. 9, if the experiment has it"] = None,
) -> None:
    """Write the comparison as two CSV files, Markdown and HTML into the folder ``output``.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    phased, printed = phased_parts(definitions), printed_parts(definitions)
    paper, ours = paper_scores(), our_scores(results, [*printed, *phased], figure)
    cells = compare_cells(paper, ours, printed)
    claims = judge_claims(paper, ours, mirror_notes(results, printed))
    texts = {
        "cells.csv": csv_of(cells),
        "claims.csv": csv_of(claims),
        **{f"claims.{form}": text for form, text in lay_out(cells, claims, printed).items()},
    }
    for name, text in texts.items():
        write_text(output / name, text)
