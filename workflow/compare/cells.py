"""The scores of two folders, cell by cell."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import pandas as pd

from data_prep.masks.registry import all_masks
from methods.registry import discover
from workflow.compare.differences import obstacle
from workflow.compare.side import SIDES, Side, shared
from workflow.metrics.contract import metrics, with_standard
from workflow.statistics.scores import Cell, cell_of
from workflow.statistics.significance import Sample, compared, corrected


def _in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Sort names as tables do: as the known ones stand, variants behind their method, then all others."""
    place = {name: number for number, name in enumerate(known)}
    return sorted(names, key=lambda name: (place.get(name.split("-")[0], len(place)), name))


def cells(a: Side, b: Side) -> pd.DataFrame:
    """Return one row per dataset, mask, method and metric: both means and their paired difference.

    Columns: dataset, mask, method, metric, status ("compared", or why not), convention, mean_a, mean_b, and
    (second minus first) those of ``statistics/pairs_<n>.csv``, whose correction is over all compared rows.
    """
    convention = "slice" if a.convention == b.convention == "slice" else "volume"
    more = [name for name in metrics() if name in a.scores and name in b.scores]
    names = list(with_standard(more))
    rows: list[dict[str, Any]] = []
    for dataset in shared(a, b, "dataset"):
        hindered = bool(obstacle(a, b, dataset))
        shown = [
            s.scores[(s.scores["dataset"] == dataset) & (s.scores["level"] == convention)] for s in (a, b)
        ]
        masks, methods = (
            _in_order({str(name) for scores in shown for name in scores[column]}, known)
            for column, known in (("mask", all_masks()), ("method", discover()))
        )
        for mask, method in product(masks, methods):
            first, second = (_cell(scores, mask, method, names) for scores in shown)
            place = {"dataset": dataset, "mask": mask, "method": method, "convention": convention}
            rows += _rows(place, first, second, names, hindered)
    tested = corrected(
        pd.DataFrame.from_records([row for row in rows if row["status"] == "compared"], columns=_COLUMNS)
    )
    rest = pd.DataFrame.from_records([row for row in rows if row["status"] != "compared"], columns=_COLUMNS)
    # Joined by their texts, because a frame without rows has no types.
    return tested if rest.empty else rest if tested.empty else pd.concat([tested, rest], ignore_index=True)


_COLUMNS = [
    *("dataset", "mask", "method", "metric", "status", "convention", "mean_a", "mean_b"),
    *("volumes", "difference", "low", "high", "effect", "p", "least_p"),
]


def _cell(scores: pd.DataFrame, mask: str, method: str, names: list[str]) -> tuple[Cell, int]:
    """Return a cell, and how many of its units have no signal and do not count."""
    own = scores[(scores["mask"] == mask) & (scores["method"] == method)]
    counted = own[own["blank"] == 0].set_index(["subject", "slice"])
    blank, seeds = len(own) - len(counted), tuple(int(seed) for seed in counted["seed"].unique())
    if counted.empty:
        return Cell("without signal" if blank else "missing", ()), blank
    if len(counted) != len(seeds) * counted.index.nunique():
        # No row is there twice: some seed lacks a unit that another has.
        return Cell("incomplete", seeds), blank
    return cell_of(counted, seeds, names), blank


def _rows(
    place: Mapping[str, str], a: tuple[Cell, int], b: tuple[Cell, int], names: list[str], hindered: bool
) -> Iterator[dict[str, Any]]:
    """Yield a row per metric of one method under one mask; none where neither folder has it."""
    (mine, blank), (theirs, other) = a, b
    status = "compared"
    if {mine.status, theirs.status} == {"missing"}:
        return
    for name, cell in zip(SIDES, (mine, theirs), strict=True):
        if cell.status != "ok":
            status = f"{cell.status} in {name}"
    if hindered:
        status = "other test data"
    elif status == "compared" and not mine.scores.index.equals(theirs.scores.index):
        status = "blank slices differ" if blank != other else "other slices"
    samples = [Sample.of(cell) if cell.status == "ok" else None for cell in (mine, theirs)]
    for metric in names:
        means = [sample.mean(metric) if sample else float("nan") for sample in samples]
        row = {**place, "metric": metric, "status": status, "mean_a": means[0], "mean_b": means[1]}
        first, second = samples
        if status == "compared" and first and second:
            if first.has(metric) and second.has(metric):
                row |= compared(second, first, metric)
            else:
                row["status"] = "undefined"
        yield row
