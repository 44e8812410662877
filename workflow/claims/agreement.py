"""A paper's printed values against ours: both as scores of one form, and a verdict on each value.

How verdicts are reached: docs/statistics.md. ``workflow.claims`` writes the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from data_prep.io.frames import read_csv
from data_prep.masks.registry import all_masks
from workflow.metrics.contract import STANDARD, metric_of
from workflow.papers.contract import Paper
from workflow.plan.definitions import Definition
from workflow.provenance.runs import read_runs
from workflow.statistics.scores import cells_of, ranks, read_metrics

Key = tuple[str, str, str]  # numeral, mask, method
Place = tuple[str, str]  # mask, method
Point = tuple[float, float]  # alpha and beta


@dataclass(frozen=True)
class Scores:
    """The means of one side, the paper's or ours.

    Attributes:
        means: (numeral, mask, method) -> metric -> mean; what is not printed or diverged is absent.
        labels: method -> name in print.
        digits: metric -> decimals in print.
        printed: the metrics of which the paper prints values.
        grid: (alpha, beta) -> metric -> mean, of the heat map; empty where no numbers exist. A point that
            diverged has no mean.
        tested: (numeral, metric, two of (mask, method)) -> how the paired test tells these apart.
        diverged: what has no means because a training diverged, or the method failed on some volumes.
    """

    means: Mapping[Key, Mapping[str, float]]
    labels: Mapping[str, str]
    digits: Mapping[str, int]
    printed: tuple[str, ...]
    grid: Mapping[Point, Mapping[str, float]] = field(default_factory=dict)
    tested: Mapping[tuple[str, str, frozenset[Place]], str] = field(default_factory=dict)
    diverged: frozenset[Key] = frozenset()

    def get(self, numeral: str, mask: str, method: str, metric: str) -> float | None:
        """Return a mean, or None where there is none."""
        value = self.means.get((numeral, mask, method), {}).get(metric)
        return None if value is None or np.isnan(value) else value

    def value(self, numeral: str, mask: str, method: str, metric: str) -> float | None:
        """Return a mean, NaN where a training diverged, or None where there is none."""
        lost = (numeral, mask, method) in self.diverged
        return np.nan if lost else self.get(numeral, mask, method, metric)

    def masks(self, numeral: str) -> list[str]:
        """Return the masks that a table has, in the suite's order."""
        present = {mask for of, mask, _ in (*self.means, *self.diverged) if of == numeral}
        return [mask for mask in all_masks() if mask in present]


def paper_scores(paper: Paper) -> Scores:
    """Return what a paper prints."""
    means = {
        (numeral, mask, method): {
            metric: float(printed[f"{metric}_mean"]) for metric in paper.printed if printed[f"{metric}_mean"]
        }
        for numeral, cells in paper.values.items()
        for (mask, method), printed in cells.items()
    }
    # Of a method that has several names in print, such as MANet and CS, the first is its own.
    names = {method: name for name, method in reversed(paper.methods.items())}
    digits = {metric: of.digits for metric, of in paper.printed.items()}
    return Scores(means, names | paper.labels, digits, tuple(digits))


def own_parts(definitions: Sequence[Definition], paper: Paper) -> list[Definition]:
    """Return a paper's tables, called as it calls them."""
    return [
        replace(definition, numeral=paper.table(definition.numeral).numeral)
        for definition in definitions
        if definition.paper == paper.id
    ]


def printed_parts(definitions: Sequence[Definition], paper: Paper) -> list[Definition]:
    """Return the tables with those masks only that the paper prints; a table without any is left out.

    Where no value of a table could be read, it is there whole: claims are judged by it.
    """
    found = []
    for definition in definitions:
        printed = {mask for mask, _ in paper.published(definition.numeral)}
        silent = paper.table(definition.numeral).silent
        masks = tuple(mask for mask in definition.masks if silent or mask in printed)
        if masks:
            found.append(replace(definition, masks=masks))
    return found


def our_scores(
    results: Path, definitions: Sequence[Definition], figure: Definition | None, paper: Paper
) -> Scores:
    """Return what this experiment found.

    Args:
        results: folder of the experiment, with ``tables/``, ``statistics/`` and ``metrics.parquet``.
        definitions: its tables of a paper.
        figure: its heat map of the paper, if it has one.
        paper: the paper.

    Raises:
        BadInput: a file is missing or lacks a column.
    """
    means: dict[Key, dict[str, float]] = {}
    tested: dict[tuple[str, str, frozenset[Place]], str] = {}
    labels: dict[str, str] = {}
    diverged: set[Key] = set()
    metrics = tuple(dict.fromkeys((*STANDARD, *paper.printed)))
    for definition in definitions:
        read_runs(results, definition.planned)
        numeral = definition.numeral
        needed = dict.fromkeys(("mask", "method", "status"), "string")
        needed |= {f"{metric}_mean": "float64" for metric in metrics}
        for row in _rows(results / "tables" / f"table_{definition.number}.csv", needed):
            key = (numeral, row["mask"], row["method"])
            if row["status"] == "ok" and row["mask"] in definition.masks:
                means[key] = {m: float(row[f"{m}_mean"]) for m in metrics}
            elif row["status"] != "missing" and row["mask"] in definition.masks:
                diverged.add(key)
        for kind, masks, methods in (
            ("pairs", ("mask", "mask"), ("method_a", "method_b")),
            ("masks", ("mask_a", "mask_b"), ("method", "method")),
        ):
            needed = dict.fromkeys((*masks, *methods, "metric", "verdict"), "string")
            for row in _rows(results / "statistics" / f"{kind}_{definition.number}.csv", needed):
                places = ((row[mask], row[method]) for mask, method in zip(masks, methods, strict=True))
                tested[numeral, row["metric"], frozenset(places)] = row["verdict"]
        # As the first table names them: a later one may call a method by what it varies.
        labels = {row.method: row.label for row in definition.rows} | labels
    grid, digits = _grid(results, figure), {metric: metric_of(metric).digits for metric in metrics}
    known = (means, labels | paper.labels, digits, tuple(paper.printed))
    return Scores(*known, grid, tested, frozenset(diverged))


def _rows(path: Path, columns: Mapping[str, str]) -> list[dict[Any, Any]]:
    absent = "run the workflow's target paper_tables first"
    table = read_csv(path, columns, absent, "delete it and run the workflow again")
    return table.to_dict("records")


def _grid(results: Path, figure: Definition | None) -> dict[Point, dict[str, float]]:
    if figure is None:
        return {}
    cells = cells_of(read_metrics(results / "metrics.parquet", figure.planned), figure)
    (mask,) = figure.masks
    return {
        (point.alpha, point.beta): cells[mask, point.method].mean
        for point in figure.grid
        if cells[mask, point.method].status != "missing"
    }


def compare_cells(paper: Paper, ours: Scores, definitions: Sequence[Definition]) -> pd.DataFrame:
    """Return one row per value that a paper prints, with ours, both ranks and the verdict.

    Ranks count the methods that stand in both tables, and of equal values each has the first of theirs: 1, 1,
    3. Where a paper prints k values alike from rank r on, ours may have any rank from r to r + k - 1: it is
    known to more digits. Values of embedded data are judged by rank only.
    """
    theirs = paper_scores(paper)
    names = ("table", "dataset", "source", "mask", "metric", "method", "label")
    values = ("paper", "ours", "difference", "paper_rank", "rank", "verdict")
    records = [
        (definition.numeral, definition.dataset, definition.source, mask, metric, *cell)
        for definition in definitions
        for mask, metric in product(definition.masks, paper.printed)
        for cell in _column(paper, theirs, ours, definition, mask, metric)
    ]
    cells = pd.DataFrame.from_records(records, columns=[*names, *values])
    return cells.astype({"paper_rank": "Int64", "rank": "Int64"})


def _column(
    paper: Paper, scores: Scores, ours: Scores, definition: Definition, mask: str, metric: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the method, its name, and the values of each cell of one column."""
    numeral, printed = definition.numeral, paper.published(definition.numeral)
    rows = [row for row in definition.rows if scores.get(numeral, mask, row.method, metric) is not None]
    theirs = [scores.get(numeral, mask, row.method, metric) for row in rows]
    own = [ours.get(numeral, mask, row.method, metric) for row in rows]
    # A hole of ours must not move the others: the paper is ranked without it too.
    shared = [None if mine is None else value for value, mine in zip(theirs, own, strict=True)]
    of = metric_of(metric)
    # Ours at least as finely as the paper tells methods apart.
    digits = max(of.digits, paper.printed[metric].digits)
    both_ranks = _places(shared, None, of.rising), _places(own, digits, of.rising)
    for row, value, mine, paper_rank, rank in zip(rows, theirs, own, *both_ranks, strict=True):
        alike = both_ranks[0].count(paper_rank)
        # Alone, a method has the same rank whatever it does.
        same = _agree(paper_rank, alike, rank) if len(own) - own.count(None) > 1 else None
        difference = np.nan if mine is None or value is None else mine - value
        tolerance = paper.printed[metric].tolerance if definition.source == "published" else None
        verdict = _verdict(definition.source, tolerance, difference, same)
        stated = printed[mask, row.method][f"{metric}_mean"]
        yield row.method, row.label, stated, mine, difference, paper_rank, rank, verdict


def _places(values: Sequence[float | None], digits: int | None, rising: bool) -> list[int | None]:
    """Rank values with gaps after equal ones, as 1, 1, 3: a place says how many are better."""
    dense = ranks(values, digits, rising)
    return [None if own is None else 1 + sum(r is not None and r < own for r in dense) for own in dense]


def _agree(paper_rank: int | None, alike: int, rank: int | None) -> bool:
    """Whether a rank is one of those that the paper's value shares with the others that are printed alike."""
    return paper_rank is not None and rank is not None and paper_rank <= rank < paper_rank + alike


def _verdict(source: str, tolerance: float | None, difference: float, same_rank: bool | None) -> str:
    if np.isnan(difference):
        return "no value"
    # Rounded, so that 0.4 dB is not 0.4000000001.
    if tolerance is not None and round(abs(difference), 6) <= tolerance:
        return "reproduced"
    if same_rank is None:
        return "no rank"
    if same_rank:
        return "same rank"
    return "other rank" if source == "embedded" else "not reproduced"


def order_agreement(cells: pd.DataFrame) -> pd.DataFrame:
    """Return, per table and metric, in how many columns all ranks agree, and the mean of Kendall's tau-b."""
    records = []
    for (numeral, metric), group in cells.dropna(subset=["ours"]).groupby(["table", "metric"], sort=False):
        columns = [column for _, column in group.groupby("mask", sort=False) if len(column) > 1]
        taus = [kendalltau(column["paper"].astype(float), column["ours"]).statistic for column in columns]
        records.append(
            {
                "table": numeral,
                "metric": metric,
                "columns": len(columns),
                "same_order": sum(map(_same_order, columns)),
                "tau": float(np.nanmean(taus)) if not np.isnan(taus).all() else np.nan,
            }
        )
    return pd.DataFrame.from_records(records, columns=["table", "metric", "columns", "same_order", "tau"])


def _same_order(column: pd.DataFrame) -> bool:
    alike = column.groupby("paper_rank")["rank"].transform("size")
    return all(map(_agree, column["paper_rank"], alike, column["rank"]))
