"""The cells of tables and figures, computed from ``metrics.parquet``.

Shared by ``workflow.tables`` and ``workflow.figures``; it knows neither layout nor colours.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.frames import read_csv, read_parquet
from data_prep.io.json_files import read_json
from workflow.metrics.contract import KEY_COLUMNS, STANDARD
from workflow.plan.definitions import Definition
from workflow.provenance.runs import Planned, read_runs

ALPHA = 0.05  # level of significance


@dataclass(frozen=True)
class Cell:
    """One method under one mask.

    Attributes:
        status: "ok", "missing" (at least one seed has no run), "diverged" (for every volume at least one seed
            gave NaN), or "3 of 16 failed": the volumes for which at least one seed gave NaN.
        seeds: the seeds that failed or are missing, else all seeds.
        scores: one row per unit, averaged over seeds: index (subject, slice), a column per metric; empty
            unless the status is "ok". A unit is a volume or, in the slice convention, a slice. NaN where a
            metric is undefined.
        by_seed: the mean over units of each training: index seed, a column per metric; empty as ``scores``.
    """

    status: str
    seeds: tuple[int, ...]
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    by_seed: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def mean(self) -> dict[str, float]:
        """Metric -> mean over units."""
        return {str(name): float(of.to_numpy(np.float64).mean()) for name, of in self.scores.items()}

    @cached_property
    def std(self) -> dict[str, float]:
        """Metric -> population standard deviation over units."""
        # Of infinite values, such as the PSNR of perfect images, there is none: NaN, and no warning.
        with np.errstate(invalid="ignore"):
            return {str(name): float(of.to_numpy(np.float64).std(ddof=0)) for name, of in self.scores.items()}

    @cached_property
    def between(self) -> dict[str, float]:
        """Metric -> sample standard deviation of the trainings' means; NaN unless several are finite."""
        return {
            # Of what is not trained all are one number, whose mean may differ from it in the last bit.
            str(name): 0.0 if len(of) > 1 and (of == of.iloc[0]).all() else float(of.std(skipna=False))
            for name, of in self.by_seed.replace([np.inf, -np.inf], np.nan).items()
        }

    @property
    def volumes(self) -> int:
        """Number of volumes that the units come from."""
        return int(self.scores.index.get_level_values(0).nunique())


def read_metrics(path: Path, planned: Iterable[Planned]) -> pd.DataFrame:
    """Read ``metrics.parquet``, for showing some runs.

    Args:
        path: the file, in the folder of the experiment.
        planned: the runs that are to be shown.

    Raises:
        BadInput: the file is missing or damaged, lacks a column, or holds other scores than the runs have; or
            a run is not as planned, see ``read_runs``.
    """
    table = read_parquet(path, "workflow.statistics.gather", (*KEY_COLUMNS, *STANDARD))
    planned = tuple(planned)
    records, gathered = read_runs(path.parent, planned), table.attrs.get("runs", {})
    for name in (name for group in planned for name in group.runs):
        if gathered.get(name) != (records[name].outputs.get("metrics.csv") if name in records else None):
            raise BadInput(
                f"{path}: holds other scores of runs/{name} than it has now; delete the file and run the "
                "workflow again"
            )
    return table


def read_statistics(path: Path) -> pd.DataFrame:
    """Read a table's ``statistics/table_<number>.csv``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    columns = dict.fromkeys(("mask", "metric", "method", "status", "best", "verdict"), "string")
    numbers = ("volumes", "tests", "least_p", "p_holm", "volumes_needed", "mean", "low", "high")
    differences = ("difference", "difference_low", "difference_high")
    columns |= dict.fromkeys((*numbers, *differences), "float64")
    again = "delete it and make it again with workflow.statistics.significance"
    return read_csv(path, columns, "run workflow.statistics.significance first", again)


def cells_of(metrics: pd.DataFrame, definition: Definition) -> dict[tuple[str, str], Cell]:
    """Return (mask, method) -> its cell, from the contents of ``metrics.parquet``.

    Raises:
        BadInput: the runs under one mask were evaluated on different volumes, or a metric is missing.
    """
    for metric in definition.metrics:
        if metric not in metrics.columns:
            raise BadInput(
                f"metrics: column {metric} is missing; write the file with "
                "workflow.statistics.gather --metrics"
            )
    chosen = metrics[(metrics["dataset"] == definition.dataset) & (metrics["level"] == definition.convention)]
    if len(chosen) and chosen["blank"].all():
        raise BadInput(
            f"metrics: no test {definition.convention} of {definition.dataset} has signal; mend the scans"
        )
    # What has no signal has no data range, and NaN scores in every run. The truth tells, never the scores.
    chosen = chosen[chosen["blank"] == 0].set_index(["subject", "slice"])
    found = {}
    for mask in definition.masks:
        reference: set[Any] | None = None
        for method in definition.methods:
            runs = chosen[(chosen["mask"] == mask) & (chosen["method"] == method)]
            found[mask, method] = cell_of(runs, definition.seeds, definition.metrics)
            if found[mask, method].status != "ok":
                continue
            for seed in definition.seeds:
                units = set(runs.index[runs["seed"] == seed])
                reference = units if reference is None else reference
                if units != reference:
                    raise BadInput(
                        f"metrics: {method} under {mask}, seed {seed}, was evaluated on other test volumes "
                        "than the runs above it; evaluate it again on the current test split"
                    )
    return found


def cell_of(runs: pd.DataFrame, seeds: tuple[int, ...], metrics: Iterable[str]) -> Cell:
    """Return the cell of one method under one mask.

    Args:
        runs: its rows of one level, those without signal left out, indexed by subject and slice.
        seeds: that are averaged.
        metrics: columns of scores.
    """
    present = set(runs["seed"])
    missing = tuple(seed for seed in seeds if seed not in present)
    if missing:
        return Cell("missing", missing)
    runs = runs[runs["seed"].isin(seeds)]
    broken = runs[runs[list(STANDARD)].isna().any(axis=1)]
    if len(broken):
        # The surviving seeds or volumes alone would flatter the method: no average is given.
        failed, volumes = (of.index.get_level_values("subject").nunique() for of in (broken, runs))
        status = "diverged" if failed == volumes else f"{failed} of {volumes} failed"
        return Cell(status, tuple(sorted(set(broken["seed"].tolist()))))
    # A metric may be undefined for a seed; the others alone would stand for it.
    chosen = list(metrics)
    scores = runs.groupby(level=["subject", "slice"])[chosen].mean(skipna=False)
    return Cell("ok", seeds, scores, runs.groupby("seed")[chosen].mean(skipna=False))


def accelerations(folder: Path, mask: str) -> tuple[float, float]:
    """Read a mask's realised and effective acceleration from ``<folder>/<mask>.json``.

    Raises:
        BadInput: the file or a field is missing.
    """
    path = folder / f"{mask}.json"
    fields = {"realised_acceleration": float, "effective_acceleration": float}
    record = read_json(path, "make the sampling masks first", "make the mask again", fields)
    return float(record["realised_acceleration"]), float(record["effective_acceleration"])


def number(value: float, digits: int, signed: bool = False) -> str:
    """Write a score as tables and figures print it; NaN is a diverged training."""
    if math.isnan(value):
        return "diverged"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not float(text):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def significant(value: float, digits: int) -> str:
    """Write so many digits, zeros at the end too; a larger number with all that stand before its point."""
    whole = value >= 10**digits - 0.5
    return f"{value:,.0f}".replace(",", " ") if whole else f"{value:#.{digits}g}".rstrip(".")


def counted(things: int, noun: str) -> str:
    """Write how many there are of something: "1 head", "4 heads"."""
    return f"{things} {noun}" + ("" if things == 1 else "s")


def ranks(values: Iterable[float | None], digits: int | None, higher_is_better: bool) -> list[int | None]:
    """Rank values as printed: 1 is best, equal printed values share a rank, None and NaN have none.

    Ranks are dense: after two bests comes rank 2, so that "second best" is the next printed value. Without
    ``digits`` values count in full.
    """
    known = [None if v is None or np.isnan(v) else v if digits is None else round(v, digits) for v in values]
    order = sorted({v for v in known if v is not None}, reverse=higher_is_better)
    return [None if v is None else order.index(v) + 1 for v in known]
