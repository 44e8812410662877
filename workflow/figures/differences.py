"""The paired differences of a table as a figure: how far each method is behind the best of its column.

``python -m workflow.figures.differences --definitions JSON --results results/X --output
results/X/statistics`` draws ``table_<n>.png`` and ``.pdf`` from ``statistics/table_<n>.csv`` and
``metrics.parquet``. One panel per mask and metric, one line per method: a dot per test subject, the mean
difference with its bootstrap interval, and whether the test tells the method from the best.
"""

from collections.abc import Mapping
from math import floor, inf, log10
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from data_prep.errors import run_command
from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.sheet import AXIS, TITLE, sheet
from workflow.metrics.contract import metric_of
from workflow.plan.arguments import show_parser
from workflow.plan.definitions import Definition
from workflow.statistics.scores import cells_of, read_metrics, read_statistics
from workflow.statistics.significance import Sample, samples_of, subtract
from workflow.statistics.tests import Array

# Of the metrics drawn: linear up to here, logarithmic beyond. Zero filling is far behind, the best are close
# together.
LINEAR = {"ssim": 0.01, "psnr": 0.5, "nmse": 0.002}
CLOSEST = 0.14  # distance of two labelled ticks, as a share of a panel's width
LINE = 0.125  # inches per method
HEADING = 0.2  # inches above all panels
GREY = "#9a9a9a"
BEST: dict[str, Any] = {"marker": "|", "color": "black", "markersize": 7, "markeredgewidth": 1.6}
COLOURS = {
    "distinguishable": style.LINE_COLOURS[1],
    "not distinguishable": style.LINE_COLOURS[0],
    "unreachable": "#444444",
}
# Filled where the test is sure.
FILLED = {"distinguishable": True, "not distinguishable": False, "unreachable": False}
WORDS = {
    "distinguishable": "distinguishable from the best",
    "not distinguishable": "not distinguishable",
    "unreachable": "too few volumes to tell",
}
Points = Mapping[tuple[str, str, str], NDArray[np.float64]]


def behind(metric: str, difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn "method minus best" into "behind the best": positive is worse, in every metric."""
    return -difference if metric_of(metric).rising else difference


def draw(definition: Definition, table: pd.DataFrame, points: Points) -> Figure:
    """Draw a table's paired differences.

    Args:
        definition: the table.
        table: what ``read_statistics`` returns.
        points: (mask, metric, method) -> each subject's difference to the best, method minus best.
    """
    linear = ", ".join(
        f"{end:g} {metric_of(name).unit or metric_of(name).label}" for name, end in LINEAR.items()
    )
    note = (
        "Marker and bar: mean and 95% bootstrap interval over subjects. Axes: linear near 0 (up to "
        f"{linear}), logarithmic beyond."
    )
    names = [row.label for row in definition.rows]
    heights = [len(names) * LINE] * len(definition.masks)
    around = len(heights) * TITLE + AXIS + HEADING
    figure, panels = sheet(
        _legend(table), [note], "", [1] * len(LINEAR), heights, around, tallest=inf, sharex="col", sharey=True
    )
    title = f"Table {definition.numeral}: differences to the best of each column ({definition.data_note})"
    figure.suptitle(title, x=0.012, ha="left", fontsize=7, fontweight="bold")
    limits = {metric: _limits(metric, table, points) for metric in LINEAR}
    for mask, line in zip(definition.masks, panels, strict=True):
        for axes, metric in zip(line, LINEAR, strict=True):
            chosen = table[(table["mask"] == mask) & (table["metric"] == metric)]
            _panel(axes, metric, chosen.to_dict("records"), points, limits[metric])
            axes.set_yticks(range(len(names)), names)
            if mask == definition.masks[-1]:
                axes.set_xlabel(f"behind the best by, {metric_of(metric).axis}")
        line[0].set_title(label(mask), loc="left", pad=3, fontweight="bold")
    return figure


def _limits(metric: str, table: pd.DataFrame, points: Points) -> tuple[float, float]:
    """Return the range of a metric's panels: all finite points, rounded outward."""
    values = [behind(metric, found) for (_, of, _), found in points.items() if of == metric]
    bounds = table.loc[table["metric"] == metric, ["difference_low", "difference_high"]].to_numpy(dtype=float)
    together = np.concatenate([*values, behind(metric, bounds).ravel()])
    together = together[np.isfinite(together)]
    low, high = (together.min(), together.max()) if len(together) else (0.0, 0.0)
    return min(1.3 * low, -0.2 * LINEAR[metric]), max(1.3 * high, 1.3 * LINEAR[metric])


def _ticks(metric: str, limits: tuple[float, float]) -> list[float]:
    """Return 0, the ends of the linear part, 1, 2 and 5 of each decade beyond: where there is room."""
    linear = LINEAR[metric]
    scale = SymmetricalLogTransform(10, linear, 1)
    low, high = scale.transform(np.array(limits))
    found = [0.0]
    for sign, bound in ((-1, -limits[0]), (1, limits[1])):
        steps = [linear]
        if bound > linear:
            decades = range(floor(log10(linear)), floor(log10(bound)) + 1)
            steps += [first * 10.0**decade for decade in decades for first in (1, 2, 5)]
        for step in sorted({round(step, 12) for step in steps if linear <= step <= bound}):
            places = (scale.transform(np.array([sign * step, *found])) - low) / (high - low)
            if np.abs(places[0] - places[1:]).min() > CLOSEST:
                found.append(sign * step)
    return sorted(found)


def _panel(
    axes: Axes, metric: str, rows: list[dict[Any, Any]], points: Points, limits: tuple[float, float]
) -> None:
    linear = LINEAR[metric]
    axes.set_xscale("symlog", linthresh=linear, linscale=1.0)
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(metric, limits)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.axvline(0, color="black", linewidth=0.6)
    for position, row in enumerate(rows):
        if row["verdict"] == "best":
            axes.plot(0, position, clip_on=False, **BEST)
        elif row["status"] != "ok":
            said = "no run" if row["status"] == "missing" else row["status"]
            axes.text(0, position, f" {said}", va="center", size=6)
        elif np.isfinite(row["difference"]):
            own = behind(metric, points[row["mask"], metric, row["method"]])
            axes.plot(own, np.full(len(own), position), ".", color=GREY, markersize=2.2, zorder=2)
            _interval(axes, metric, row, position)
        else:
            axes.text(0, position, " perfect: infinite difference", va="center", size=6)


def _interval(axes: Axes, metric: str, row: Mapping[Any, Any], position: int) -> None:
    marker = _marker(row["verdict"])
    ends = behind(metric, np.array([row["difference_low"], row["difference_high"]]))
    axes.plot(ends, [position] * 2, color=marker["color"], linewidth=1.3, solid_capstyle="butt", zorder=3)
    middle = behind(metric, np.array([row["difference"]]))
    axes.plot(middle, [position], markeredgewidth=0.9, zorder=4, **marker)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    shown = [name for name in COLOURS if name in set(table["verdict"])]
    return [
        *(Line2D([], [], linewidth=1.3, label=WORDS[name], **_marker(name)) for name in shown),
        Line2D([], [], linestyle="", label="best", **BEST),
        Line2D([], [], linestyle="", marker=".", color=GREY, markersize=4, label="one test subject"),
    ]


def _marker(verdict: str) -> dict[str, Any]:
    colour = COLOURS[verdict]
    face = colour if FILLED[verdict] else "white"
    return {"marker": "o", "markersize": 3.4, "color": colour, "markerfacecolor": face}


def differences_to_best(
    table: pd.DataFrame, samples: Mapping[tuple[str, str], Sample]
) -> dict[tuple[str, str, str], Array]:
    """Return (mask, metric, method) -> each subject's difference to the column's best, method minus best."""
    found = {}
    for row in table[table["best"] != ""].to_dict("records"):
        own, best = samples[row["mask"], row["method"]], samples[row["mask"], row["best"]]
        difference = subtract(own.sums[row["metric"]], best.sums[row["metric"]]) / own.counts
        found[row["mask"], row["metric"], row["method"]] = difference
    return found


def write_differences(definition: Definition, metrics: pd.DataFrame, results: Path, output: Path) -> None:
    """Draw one table's differences into the folder ``output``.

    Raises:
        BadInput: the table's statistics are missing or damaged.
    """
    table = read_statistics(results / "statistics" / f"table_{definition.number}.csv")
    samples = samples_of(cells_of(metrics, definition))
    with style.printed():
        figure = draw(definition, table, differences_to_best(table, samples))
        style.save(figure, output / f"table_{definition.number}")


def main() -> None:
    """Command line entry point."""
    arguments = show_parser("workflow.figures.differences", __doc__, list[Definition]).parse_args()
    planned = [group for definition in arguments.definitions for group in definition.planned]
    metrics = read_metrics(arguments.results / "metrics.parquet", planned)
    for number, definition in enumerate(arguments.definitions, 1):
        write_differences(definition, metrics, arguments.results, arguments.output)
        print(f"table {definition.numeral} ({number} of {len(arguments.definitions)})", flush=True)


if __name__ == "__main__":
    run_command(main)
