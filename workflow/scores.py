"""What a table or figure is asked to show, and its cells computed from ``metrics.parquet``.

Shared by ``workflow.tables`` and ``workflow.figures``; it knows neither layout nor colours.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.errors import BadInput
from data_prep.further_dataset import dataset_name, datasets
from data_prep.json_files import read_json
from workflow.further_metric import further_metric

METRICS = ("ssim", "psnr", "nmse")
RISING = {"ssim": True, "psnr": True, "nmse": False}  # whether higher is better
ALPHA = 0.05  # level of significance
_COLUMNS = ("dataset", "mask", "method", "seed", "subject", "slice", "level", *METRICS)


@dataclass(frozen=True)
class Row:
    """A method, and the name that the paper or its own ``method.yaml`` gives it.

    Attributes:
        method: id.
        label: name.
        declines: masks that it does not take, with the reason.
    """

    method: str
    label: str
    declines: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Definition:
    """One table or figure as ``workflow.plan`` defines it."""

    number: int
    dataset: str
    source: str
    masks: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0,)
    convention: str = "volume"
    experiment: str = ""
    numeral: str = ""
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    grid: Mapping[tuple[float, float], str] = field(default_factory=dict)
    further: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """SSIM, PSNR, NMSE and the further metrics, by the names of their columns."""
        return (*METRICS, *self.further)

    @property
    def run_paths(self) -> list[str]:
        """The runs that the rows are made from, as folders below ``runs/``."""
        return [
            f"{self.dataset}/{mask}/{row.method}/seed{seed}"
            for mask in self.masks
            for row in self.rows
            for seed in self.seeds
        ]

    @property
    def data_note(self) -> str:
        """Say whose data it is: "embedded data, not IXI", or "IXI"."""
        return data_note(self.dataset, self.source)


def data_note(dataset: str, source: str) -> str:
    """Say whose data it is: "embedded data, not IXI", or "IXI"."""
    name = dataset_name(dataset)
    return f"embedded data, not {name}" if source == "embedded" else name


def rises(metric: str) -> bool:
    """Tell whether higher values of a metric are better."""
    return RISING[metric] if metric in RISING else further_metric(metric).rising


def read_definition(text: str) -> Definition:
    """Parse the JSON of ``--definition``.

    Raises:
        BadInput: not JSON, or a field is missing or unknown.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        definition = Definition(
            number=int(raw["number"]),
            dataset=raw["dataset"],
            source=raw["source"],
            masks=tuple(raw["masks"]),
            rows=tuple(
                Row(row["method"], row["label"], row.get("declines", {})) for row in raw.get("rows", [])
            ),
            seeds=tuple(raw.get("seeds", [0])),
            convention=raw.get("convention", "volume"),
            experiment=raw.get("experiment", ""),
            numeral=raw.get("numeral", ""),
            alphas=tuple(raw.get("alphas", [])),
            betas=tuple(raw.get("betas", [])),
            grid={(point["alpha"], point["beta"]): point["method"] for point in raw.get("grid", [])},
            further=tuple(raw.get("metrics", [])),
        )
    except json.JSONDecodeError as error:
        raise BadInput(f"--definition: not JSON ({error}); give what workflow.plan defines") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"--definition: field {error} is missing or malformed; add it") from error
    choices = {
        "dataset": (definition.dataset, datasets()),
        "source": (definition.source, ("embedded", "published")),
        "convention": (definition.convention, ("volume", "slice")),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise BadInput(f"--definition: {name} {value!r} is unknown; use one of {', '.join(known)}")
    for name in definition.further:
        further_metric(name)
    return definition


def read_definitions(text: str) -> list[Definition]:
    """Parse the JSON list of ``--definitions``.

    Raises:
        BadInput: not a list of definitions.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"--definitions: not JSON ({error}); give what workflow.plan defines") from error
    if not isinstance(entries, list):
        raise BadInput("--definitions: not a list; give what workflow.plan defines, between brackets")
    return [read_definition(json.dumps(entry)) for entry in entries]


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


def read_parquet(path: Path, writer: str) -> pd.DataFrame:
    """Read a table that ``writer``, a module of this package, has written.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; run {writer} first") from error
    except (ValueError, OSError) as error:
        # pyarrow's own errors are ValueErrors; OSErrors with a number are the system's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: not a Parquet file ({said}); delete it and run {writer} again") from error


def read_metrics(path: Path) -> pd.DataFrame:
    """Read ``metrics.parquet``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    metrics = read_parquet(path, "workflow.gather")
    for column in _COLUMNS:
        if column not in metrics.columns:
            raise BadInput(f"{path}: column {column} is missing; write the file with workflow.gather")
    return metrics


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
    for metric in definition.further:
        if metric not in metrics.columns:
            raise BadInput(
                f"metrics: column {metric} is missing; write the file with workflow.gather --further"
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
