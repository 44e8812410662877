"""What a table or figure is asked to show, and its cells computed from ``metrics.parquet``.

Shared by ``workflow.tables`` and ``workflow.figures``; it knows neither layout nor colours.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.frames import read_csv, read_parquet
from data_prep.io.json_files import read_json
from workflow.metrics.contract import METRICS
from workflow.plan.definitions import Definition

ALPHA = 0.05  # level of significance
_COLUMNS = ("dataset", "mask", "method", "seed", "subject", "slice", "level", *METRICS)


@dataclass(frozen=True)
class MaskScores:
    """One method under one mask.

    Attributes:
        status: "ok", "diverged" (at least one seed gave NaN) or "missing" (at least one seed has no run).
        mean: metric -> mean over units; a unit is a volume or, in the slice convention, a slice.
        std: metric -> population standard deviation over units.
        units: number of units.
        volumes: number of volumes they come from.
        seeds: the seeds that diverged or are missing, else all seeds.
    """

    status: str
    seeds: tuple[int, ...]
    mean: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)
    units: int = 0
    volumes: int = 0


def read_metrics(path: Path) -> pd.DataFrame:
    """Read ``metrics.parquet``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    metrics = read_parquet(path, "workflow.statistics.gather")
    for column in _COLUMNS:
        if column not in metrics.columns:
            raise BadInput(
                f"{path}: column {column} is missing; write the file with workflow.statistics.gather"
            )
    return metrics


def read_statistics(path: Path) -> pd.DataFrame:
    """Read a table's ``statistics/table_<number>.csv``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    columns = dict.fromkeys(("mask", "metric", "method", "status", "best", "verdict"), "string")
    numbers = ("volumes", "tests", "least_p", "volumes_needed", "mean", "low", "high")
    differences = ("difference", "difference_low", "difference_high")
    columns |= dict.fromkeys((*numbers, *differences), "float64")
    again = "delete it and make it again with workflow.statistics.significance"
    return read_csv(path, columns, "run workflow.statistics.significance first", again)


@dataclass(frozen=True)
class Units:
    """The scores behind a cell.

    Attributes:
        status: as ``MaskScores.status``.
        seeds: as ``MaskScores.seeds``.
        scores: one row per unit, averaged over seeds: index (subject, slice), a column per metric; empty
            unless the status is "ok". A further metric is NaN where it is undefined.
    """

    status: str
    seeds: tuple[int, ...]
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*METRICS], dtype=np.float64))


def unit_scores(
    metrics: pd.DataFrame, definition: Definition, methods: tuple[str, ...]
) -> dict[tuple[str, str], Units]:
    """Return (mask, method) -> the scores of its volumes or slices, averaged over seeds.

    Raises:
        BadInput: the runs under one mask were evaluated on different volumes, or a further metric is missing.
    """
    for metric in definition.metrics:
        if metric not in metrics.columns:
            raise BadInput(
                f"metrics: column {metric} is missing; "
                "write the file with workflow.statistics.gather --further"
            )
    chosen = metrics[(metrics["dataset"] == definition.dataset) & (metrics["level"] == definition.convention)]
    chosen = chosen.set_index(["subject", "slice"]).drop(index=_blank_units(chosen))
    found = {}
    for mask in definition.masks:
        reference: set[Any] | None = None
        for method in methods:
            runs = chosen[(chosen["mask"] == mask) & (chosen["method"] == method)]
            found[mask, method] = _units(runs, definition)
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


def summarise(
    metrics: pd.DataFrame, definition: Definition, methods: tuple[str, ...]
) -> dict[tuple[str, str], MaskScores]:
    """Return (mask, method) -> MaskScores; each unit is averaged over seeds before mean and spread are taken.

    Raises:
        BadInput: the runs under one mask were evaluated on different volumes.
    """
    return {key: _cell(units) for key, units in unit_scores(metrics, definition, methods).items()}


def _blank_units(scores: pd.DataFrame) -> list[Any]:
    """Slices (or volumes) without signal have no data range and NaN scores in every run: no divergence."""
    by_unit = scores[list(METRICS)].isna().any(axis=1).groupby([scores["subject"], scores["slice"]])
    blank = by_unit.all()
    return [] if blank.all() else list(blank.index[blank])


def _units(runs: pd.DataFrame, definition: Definition) -> Units:
    seeds = definition.seeds
    present = set(runs["seed"])
    missing = tuple(seed for seed in seeds if seed not in present)
    if missing:
        return Units("missing", missing)
    runs = runs[runs["seed"].isin(seeds)]
    broken = runs.loc[runs[list(METRICS)].isna().any(axis=1), "seed"]
    if len(broken):
        # The surviving seeds alone would flatter the method: no average is given.
        return Units("diverged", tuple(sorted(set(broken.tolist()))))
    # A further metric may be undefined for a seed; the others alone would stand for it.
    scores = runs.groupby(level=["subject", "slice"])[list(definition.metrics)].mean(skipna=False)
    return Units("ok", seeds, scores)


def _cell(units: Units) -> MaskScores:
    if units.status != "ok":
        return MaskScores(units.status, units.seeds)
    values = {str(metric): scores.to_numpy(dtype=np.float64) for metric, scores in units.scores.items()}
    return MaskScores(
        status="ok",
        seeds=units.seeds,
        mean={metric: float(value.mean()) for metric, value in values.items()},
        std={metric: float(value.std(ddof=0)) for metric, value in values.items()},
        units=len(units.scores),
        volumes=units.scores.index.get_level_values("subject").nunique(),
    )


def realised_acceleration(folder: Path, mask: str) -> float:
    """Read a mask's realised acceleration from ``<folder>/<mask>.json``.

    Raises:
        BadInput: the file or the field is missing.
    """
    path = folder / f"{mask}.json"
    record = read_json(
        path, "make the sampling masks first", "make the mask again", ["realised_acceleration"]
    )
    try:
        return float(record["realised_acceleration"])
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"{path}: realised_acceleration is missing or unreadable; make the mask again"
        ) from error


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


def ranks(values: Iterable[float | None], digits: int, higher_is_better: bool) -> list[int | None]:
    """Rank values as printed: 1 is best, equal printed values share a rank, None and NaN have none.

    Ranks are dense: after two bests comes rank 2, so that "second best" is the next printed value.
    """
    rounded = [None if v is None or np.isnan(v) else round(v, digits) for v in values]
    order = sorted({v for v in rounded if v is not None}, reverse=higher_is_better)
    return [None if v is None else order.index(v) + 1 for v in rounded]
