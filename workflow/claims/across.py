"""Where two papers print values of one cell: the same method, dataset, mask and metric."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from data_prep.datasets.contract import dataset_of
from data_prep.io.frames import read_csv
from data_prep.masks.registry import label
from workflow.metrics.contract import metric_of
from workflow.papers.contract import Paper
from workflow.plan.definitions import Definition
from workflow.statistics.scores import number
from workflow.tables.formats import markdown

Cell = tuple[str, str, str, str]  # dataset, mask, metric, method
COLUMNS = (
    "dataset",
    "mask",
    "metric",
    "method",
    "paper",
    "table",
    "name",
    "mean",
    "std",
    "taken",
    "ours",
    "source",
)


def across_papers(papers: Sequence[Paper], results: Path, definitions: Iterable[Definition]) -> pd.DataFrame:
    """Return one row per value of each cell of which two papers print different ones, with ours.

    Args:
        papers: those compared.
        results: folder of the experiment, with ``tables/``.
        definitions: its tables.

    Raises:
        BadInput: a table is missing or lacks a column.
    """
    printed: dict[Cell, list[tuple[str, ...]]] = {}
    for paper in papers:
        for table in paper.tables.values():
            for (mask, method), values in paper.published(table.numeral).items():
                for metric in paper.printed:
                    if mean := values[f"{metric}_mean"]:
                        taken = paper.datasets.get(table.dataset, "")
                        named = (paper.name, table.numeral, values["method"])
                        value = (*named, mean, values.get(f"{metric}_std", ""), taken)
                        printed.setdefault((table.dataset, mask, metric, method), []).append(value)
    different = {
        cell: values
        for cell, values in printed.items()
        if len({value[0] for value in values}) > 1 and _differ([value[3] for value in values])
    }
    ours = _ours(results, definitions, {cell[2] for cell in different})
    records = [
        (*cell, *value, *ours.get(cell, (None, ""))) for cell, values in different.items() for value in values
    ]
    return pd.DataFrame.from_records(records, columns=[*COLUMNS]).astype({"ours": "float64"})


def _differ(printed: Sequence[str]) -> bool:
    """Tell whether values differ by more than the decimals that all of them have."""
    digits = min(len(value.partition(".")[2]) for value in printed)
    return len({round(float(value), digits) for value in printed}) > 1


def _ours(
    results: Path, definitions: Iterable[Definition], metrics: Iterable[str]
) -> dict[Cell, tuple[float, str]]:
    """Return our means of these metrics, and the source of their data."""
    found: dict[Cell, tuple[float, str]] = {}
    for definition in definitions:
        columns = dict.fromkeys(("mask", "method", "status"), "string")
        columns |= {f"{metric}_mean": "float64" for metric in metrics}
        path = results / "tables" / f"table_{definition.number}.csv"
        absent = "run the workflow's target paper_tables first"
        for row in read_csv(path, columns, absent, "delete it and run the workflow again").to_dict("records"):
            for metric in metrics if row["status"] == "ok" else ():
                cell = (definition.dataset, row["mask"], metric, row["method"])
                found.setdefault(cell, (row[f"{metric}_mean"], definition.source))
    return found


HEADERS = (
    "Method",
    "Data",
    "Mask",
    "Metric",
    "Paper",
    "Table",
    "Printed",
    "How the paper took the data",
    "Here",
)


def row_texts(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return one row of ``across_papers`` as it is printed, under ``HEADERS``."""
    metric = metric_of(row["metric"])
    printed = f"{row['mean']} ± {row['std']}" if row["std"] else row["mean"]
    here = "—" if pd.isna(row["ours"]) else number(row["ours"], metric.digits)
    here += " (embedded)" if row["source"] == "embedded" else ""
    place = (row["name"], dataset_of(row["dataset"]).label, label(row["mask"]), metric.label)
    return (*place, row["paper"], row["table"], printed, row["taken"] or "—", here)


def printed_across(table: pd.DataFrame) -> str:
    """Return ``across_papers`` as Markdown."""
    text = "**Where papers print different values of the same method, data, mask and metric**\n\n"
    if table.empty:
        return text + "The papers of this experiment share no cell, or print the same.\n"
    rows = [list(map(markdown, row_texts(row))) for row in table.to_dict("records")]
    return text + str(tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True)) + "\n"
