"""What each method costs, and what that buys: a table, and PSNR against cost as a figure.

``python -m workflow.cost.measured --definition JSON --results results/X --configuration SHA256`` writes
``tables/cost_<dataset>.csv``, ``.json``, ``.md``, ``.tex`` and ``.html``, and ``figures/cost_<dataset>.pdf``
and ``.png``. Time and memory are those of the runs' ``run.json``; operations are counted
(``workflow.cost.flops``) at the runs' own sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from msgspec import UNSET

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.masks.registry import label
from workflow.plan.definitions import FLOOR, Configuration, CostDefinition, Results, TrustRow
from workflow.provenance.record import AGAIN, RunRecord
from workflow.provenance.runs import read_runs
from workflow.run.spec import finished_spec
from workflow.statistics.scores import counted, number, read_metrics, significant
from workflow.tables.formats import made_from, write_page
from workflow.tables.page import Block, Page, Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SPREAD = 2.5  # from the least to the most, from which on a scale of costs is logarithmic


def read_records(results: Path, definition: CostDefinition, row: TrustRow) -> dict[str, RunRecord]:
    """Return the records of a method's runs by folder, see ``read_runs``; trained ones tell their time.

    Raises:
        BadInput: a file is damaged or of another configuration.
    """
    planned = [group for group in definition.planned if group.spec["method"] == row.method]
    records = read_runs(results, planned)
    for name, record in records.items():
        if row.trained and record.seconds.training is UNSET:
            raise BadInput(f"{results / 'runs' / name}/run.json: field seconds.training is missing; {AGAIN}")
    return records


def compared_masks(definition: CostDefinition) -> tuple[list[str], bool]:
    """Return the masks under which every method has runs, and whether those are all that any has.

    A method may decline a mask, or be asked for under some only; its mean over others is no rival's.
    """
    under: dict[str, set[str]] = {row.method: set() for row in definition.rows}
    for name in (name for group in definition.planned for name in group.runs):
        _, mask, method, _ = name.split("/")
        under[method].add(mask)
    shared = set.intersection(*under.values())
    same = all(of == shared for of in under.values())
    return [mask for mask in definition.all_masks if mask in shared], same


def cost_scores(definition: CostDefinition, results: Path) -> pd.DataFrame:
    """Return one row per method; times and memory are medians over its runs.

    Columns: dataset, method, label, runs, parameters, gflops (one slice), latency_ms (one slice, from the
    evaluation of the whole test split), memory_gb (largest of the process or the GPU's allocator),
    training_hours (NaN without training), psnr (dB, mean over volumes, then ``compared_masks``), devices.
    """
    from workflow.cost.flops import count

    metrics = read_metrics(results / "metrics.parquet", definition.planned)
    metrics = metrics[(metrics["dataset"] == definition.dataset) & (metrics["level"] == "volume")]
    metrics = metrics[metrics["blank"] == 0]
    masks, _ = compared_masks(definition)
    rows = []
    for row in definition.rows:
        by_run = read_records(results, definition, row)
        if not by_run:
            raise BadInput(f"{results}: no run of {row.method}; leave it out of compare, or add its runs")
        records = list(by_run.values())
        scores = metrics[metrics["method"] == row.method]
        by_mask = scores.groupby("mask")["psnr"].mean(skipna=False)
        spec = finished_spec(records[0], results / "runs" / next(iter(by_run)))
        operations = count(spec.folder, spec.parameters, (definition.matrix, definition.matrix))
        hours = [s / 3600 for record in records if (s := record.seconds.training) is not UNSET]
        rows.append(
            {
                "dataset": definition.dataset,
                "method": row.method,
                "label": row.label,
                "runs": len(records),
                "parameters": records[0].parameter_count,
                "gflops": operations / 1e9,
                # Of times, not of rates: of an even number of runs the two middle ones are averaged.
                "latency_ms": _median(
                    [1e3 / record.throughput.evaluation_slices_per_second for record in records]
                ),
                "memory_gb": _median([record.peak_memory_bytes / 1e9 for record in records]),
                "training_hours": _median(hours),
                "psnr": float(by_mask.reindex(masks).mean(skipna=False)),
                "devices": "; ".join(sorted({record.device for record in records})),
            }
        )
    return pd.DataFrame.from_records(rows)


def _median(values: Sequence[float]) -> float:
    return float(pd.Series(values, dtype="float64").median()) if values else math.nan


def cost_page(definition: CostDefinition, costs: pd.DataFrame) -> Page:
    """Arrange the cost table."""
    seconds, unit = _unit_of_time(costs["training_hours"])
    (masks, same), rows = compared_masks(definition), []
    for row in costs.to_dict("records"):
        training = row["training_hours"] * 3600 / seconds
        cells = (
            f"{row['parameters']:,}".replace(",", " "),
            significant(row["gflops"], 3),
            number(row["latency_ms"], 1),
            number(row["memory_gb"], 2),
            "—" if math.isnan(training) else significant(training, 3),
            number(row["psnr"], 2) if masks else "—",
        )
        rows.append((str(row["label"]), tuple(Text(cell) for cell in cells)))
    headers = ("parameters", "GFLOPs", "ms per slice", "memory (GB)", f"training ({unit})", "PSNR ↑")
    heading = f"{dataset_of(definition.dataset).label}, {definition.matrix} × {definition.matrix}"
    devices = "; ".join(sorted({name for row in costs["devices"] for name in row.split("; ")}))
    named = ", ".join(map(label, masks)) or "no mask"
    where = "" if same else f"; under {named}, where every method has runs"
    caption = (
        f"Data: {definition.data_note}.",
        "GFLOPs: operations of one slice, counted: two for each multiplication with its addition in "
        "convolutions and matrix products, 5 N log2 N for a Fourier transform of N points.",
        "Time per slice, largest memory and time of one training: medians over the runs, which may have "
        f"shared the machine with others ({devices}).",
        f"PSNR (dB, volume convention): mean over test volumes, then over masks and seeds{where}.",
    )
    return Page(
        f"cost-{definition.dataset}",
        "Cost",
        f"What each method costs ({definition.data_note})",
        caption,
        (Block("Method", ((heading, headers),), tuple(rows)),),
    )


def _unit_of_time(hours: pd.Series) -> tuple[float, str]:
    """Return the largest unit of time, in seconds and by name, that no training is shorter than."""
    shortest = 3600 * hours.min()
    units = ((3600.0, "h"), (60.0, "min"))
    return next((unit for unit in units if shortest >= unit[0]), (1.0, "s"))


def draw_costs(definition: CostDefinition, costs: pd.DataFrame) -> "Figure":
    """PSNR against operations, parameters, time, and memory; the dotted line is zero filling."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    from workflow.figures.sheet import AXIS, looks, plain, sheet_of

    dot = {"linestyle": "none", "markersize": 4.5}
    styles = {
        method: look if method == FLOOR else look | dot for method, look in looks(definition.rows).items()
    }
    seconds, unit = _unit_of_time(costs["training_hours"])
    panels = {
        "gflops": "GFLOPs per slice",
        "parameters": "trainable parameters",
        "latency_ms": "milliseconds per slice",
        "training": f"one training ({unit})",
        "memory_gb": "largest memory (GB)",
    }
    shown = costs.assign(training=costs["training_hours"] * 3600 / seconds)
    masks, same = compared_masks(definition)
    note = "Mean over test volumes, masks and seeds; medians of time and memory over runs"
    shared = [] if same else [f"PSNR under {counted(len(masks), 'mask')}, where every method has runs."]
    figure, axes_of = sheet_of(
        definition, styles, [*shared, note], [1.0] * 3, [1.35] * 2, 2 * AXIS, sharey=True
    )
    *used, spare = axes_of.flat
    spare.set_axis_off()
    for axes, (name, xlabel) in zip(used, panels.items(), strict=True):
        own = shown.loc[shown[name] > 0, name]
        logarithmic = len(own) > 0 and own.max() >= _SPREAD * own.min()
        axes.set_xscale("log" if logarithmic else "linear")
        for method, cost, psnr in zip(shown["method"], shown[name], shown["psnr"], strict=True):
            if method == FLOOR:
                axes.axhline(psnr, linewidth=0.8, **styles[method])
            elif cost > 0:
                axes.plot([cost], [psnr], **styles[method])
        axes.margins(x=0.15, y=0.12)
        plain(axes, "", xlabel, "PSNR (dB)")
        if not logarithmic:
            axes.locator_params(axis="x", nbins=5)
            continue
        least, most = axes.get_xlim()
        few = LogLocator(subs=(1,), numticks=5)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if most < 50 * least else few)
        plain_number = FuncFormatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if name == "parameters" else plain_number)
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure


@command
def write_costs(
    definition: CostDefinition,
    results: Results,
    configuration: Configuration,
    output: Annotated[Path | None, "folder to write tables/ and figures/ into; default: --results"] = None,
) -> None:
    """Write the table and the figure of a dataset."""
    from workflow.figures import style

    output, dataset = output or results, definition.dataset
    costs = cost_scores(definition, results)
    origin = made_from(definition, results, configuration, definition.all_masks)
    page = replace(cost_page(definition, costs), footer=origin)
    write_page(costs, page, output / "tables" / f"cost_{dataset}")
    with style.printed():
        style.save(draw_costs(definition, costs), output / "figures" / f"cost_{dataset}")
