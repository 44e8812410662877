"""Paper against ours: a verdict per printed value, and whether each claim of the paper's text holds.

``python -m workflow.claims --definitions JSON --figure JSON --results results/X --output results/X/claims``
writes ``cells.csv`` (each value), ``claims.csv`` (each claim, judged by the paper's own tables and by ours)
and both as ``claims.md`` and ``claims.html``. How verdicts are reached: docs/statistics.md.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_prep.errors import run_command
from data_prep.io.files import write_text
from workflow.claims.agreement import compare_cells, our_scores, paper_scores, printed_parts
from workflow.claims.judge import judge_claims
from workflow.claims.mirrors import mirror_notes, phased_parts
from workflow.claims.page import SIGNS, lay_out, to_markdown, value_headers
from workflow.plan.arguments import definition, show_parser
from workflow.plan.definitions import Definition
from workflow.tables.formats import template


def write_claims(
    definitions: Sequence[Definition], figure: Definition | None, results: Path, output: Path
) -> None:
    """Write the comparison as two CSV files, Markdown and HTML into the folder ``output``.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    phased, definitions = phased_parts(definitions), printed_parts(definitions)
    paper, ours = paper_scores(), our_scores(results, [*definitions, *phased], figure)
    cells = compare_cells(paper, ours, definitions)
    claims = judge_claims(paper, ours, mirror_notes(results, definitions))
    page = lay_out(cells, claims, definitions)
    texts = {
        "cells.csv": cells.to_csv(index=False, float_format="%.9g", lineterminator="\n"),
        "claims.csv": claims.to_csv(index=False, lineterminator="\n"),
        "claims.md": to_markdown(page),
        "claims.html": template("claims.html.j2").render(page=page, headers=value_headers(), signs=SIGNS),
    }
    for name, text in texts.items():
        write_text(output / name, text)


def main() -> None:
    """Command line entry point."""
    parser = show_parser("workflow.claims", __doc__, list[Definition])
    parser.add_argument(
        "--figure", type=partial(definition, Definition, "--figure"), help="Fig. 9, if the experiment has it"
    )
    arguments = parser.parse_args()
    write_claims(arguments.definitions, arguments.figure, arguments.results, arguments.output)


if __name__ == "__main__":
    run_command(main)
