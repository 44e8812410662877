"""What claims that compare masks owe to mirror images of samples, which magnitudes give for free."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.io.frames import read_csv
from workflow.papers.contract import Paper
from workflow.plan.definitions import Definition
from workflow.tables.words import listed_accelerations


def mirror_notes(results: Path, definitions: Sequence[Definition]) -> dict[str, str]:
    """Return, by a table's numeral, what its masks are worth, if that is more than they sample.

    Raises:
        BadInput: a table is missing or lacks a column.
    """
    notes = {}
    columns = {"mask": "string", "realised_acceleration": "float64", "effective_acceleration": "float64"}
    for definition in definitions:
        path = results / "tables" / f"table_{definition.number}.csv"
        absent = "run the workflow's target paper_tables first"
        table = read_csv(path, columns, absent, "delete it and run the workflow again")
        table = table[table["mask"].isin(definition.masks)]
        if (table["effective_acceleration"] < table["realised_acceleration"]).any():
            notes[definition.numeral] = (
                "These masks are compared by nominal acceleration. Counting mirror images of samples, which "
                f"magnitudes give for free: {listed_accelerations(table, 'effective')}."
            )
    return notes


def beside(numeral: str) -> str:
    """Name the table of targets with a phase that stands beside one of the paper's."""
    return f"{numeral}, smooth phase"


def phased_parts(definitions: Sequence[Definition], paper: Paper) -> list[Definition]:
    """Return the tables of targets with a phase beside a paper's, under the names of ``beside``."""
    papers = {table.dataset: table.numeral for table in paper.tables.values() if table.rows is None}
    return [
        replace(definition, numeral=beside(papers[definition.dataset]))
        for definition in definitions
        if definition.phase != "none" and not definition.paper and definition.dataset in papers
    ]
