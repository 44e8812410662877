"""The paired differences of a table as a figure: how far each method is behind the best of its column.

``python -m workflow.figures.differences --definitions JSON --results results/X --output
results/X/statistics`` draws ``table_<n>.png`` and ``.pdf`` from ``statistics/table_<n>.csv`` and
``metrics.parquet``. One panel per mask and metric, one line per method: a dot per test subject, the mean
difference with its interval, and whether the test tells the method from the best.
"""

import textwrap
from collections.abc import Mapping
from math import floor, inf, log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, SymmetricalLogLocator
from numpy.typing import NDArray

from data_prep.io.command import command
from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.sheet import AXIS, TITLE, sheet
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import Definition, Folder, Results
from workflow.statistics.scores import cells_of, read_metrics, read_statistics
from workflow.statistics.significance import Sample, samples_of, subtract
from workflow.statistics.tests import Array, coverage_note

# Of the metrics drawn: linear up to here, logarithmic beyond. Zero filling is far behind, the best are close
# together.
LINEAR = {"ssim": 0.01, "psnr": 0.5, "nmse": 0.002}
LINEAR_SHARE = 0.4  # width of the linear part on one side of 0, in decades of the logarithmic one
LETTER = 0.031  # width of one on the axis, as a share of a panel's width
LINE = 0.135  # inches per method
HEADING = 0.22  # inches above all panels
WIDEST = 96  # letters of a line of the title
# Larger than elsewhere: the page shows many lines small.
PRINT: dict[Any, Any] = {
    "xtick.labelsize": 7,
    "ytick.labelsize": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "legend.fontsize": 8,
}
GREY = "#9a9a9a"
BEST: dict[str, Any] = {"marker": "|", "color": "black", "markersize": 8, "markeredgewidth": 2.2}
# Colour, what fills the marker (where the test is sure, the colour), and words.
VERDICTS = {
    "distinguishable": (style.LINE_COLOURS[1], style.LINE_COLOURS[1], "distinguishable from the best"),
    "not distinguishable": (style.LINE_COLOURS[0], "white", "not distinguishable"),
    "unreachable": ("#444444", "white", "too few volumes to tell"),
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
    subjects = int(table["volumes"].max()) if table["volumes"].notna().any() else 0
    linear = ", ".join(
        f"{end:g} {metric_of(name).unit or metric_of(name).label}" for name, end in LINEAR.items()
    )
    notes = [
        "Marker and bar: mean and 95% t interval over subjects. Axes: linear near 0 (up to "
        f"{linear}), logarithmic beyond.",
        f"Intervals: {coverage_note(subjects)}.",
        *([f"Scores are averaged over {seeds} seeds first."] if (seeds := len(definition.seeds)) > 1 else []),
    ]
    names = [row.label for row in definition.rows]
    heights = [len(names) * LINE] * len(definition.masks)
    title = f"Table {definition.numeral}: differences to the best of each column ({definition.data_note})"
    lines = textwrap.wrap(title, WIDEST)
    around = len(heights) * TITLE + AXIS + HEADING + (len(lines) - 1) * LINE
    figure, panels = sheet(
        _legend(table), notes, "", [1] * len(LINEAR), heights, around, tallest=inf, sharex="col", sharey=True
    )
    figure.suptitle("\n".join(lines), x=0.012, ha="left", fontsize=8.5, fontweight="bold")
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
    # As far as the next 1, 2 or 5 of a decade, which is then labelled.
    steps = (first * 10.0**decade for decade in range(-6, 7) for first in (1, 2, 5))
    end = next((step for step in steps if step > high), 1.3 * high)
    return min(1.3 * low, -0.2 * LINEAR[metric]), max(1.02 * end, 1.3 * LINEAR[metric])


def _ticks(metric: str, limits: tuple[float, float]) -> list[float]:
    """Return 0, and 1, 2 and 5 of each decade beyond the linear part where there is room.

    They are chosen from the far end inward, so that what is far behind lies between two of them.
    """
    linear = LINEAR[metric]
    scale = SymmetricalLogTransform(10, linear, LINEAR_SHARE)
    low, high = scale.transform(np.array(limits))
    found = [0.0]
    for sign, bound in ((1, limits[1]), (-1, -limits[0])):
        decades = range(floor(log10(linear)), floor(log10(max(bound, linear))) + 1)
        steps = [linear, *(first * 10.0**decade for decade in decades for first in (1, 2, 5))]
        for step in sorted({round(step, 12) for step in steps if linear <= step <= bound}, reverse=True):
            places = (scale.transform(np.array([sign * step, *found])) - low) / (high - low)
            if (np.abs(places[0] - places[1:]) > [room(sign * step, other) for other in found]).all():
                found.append(sign * step)
    return sorted(found)


def room(one: float, other: float) -> float:
    """Return how far apart two labelled ticks must be, as a share of a panel's width.

    Less than a letter between them, and "2 5" reads as one number.
    """
    # A point is half as wide as a digit.
    widths = [len(text) - text.count(".") / 2 for text in (f"{one:g}", f"{other:g}")]
    return LETTER * (0.8 + sum(widths) / 2)


def _panel(
    axes: Axes, metric: str, rows: list[dict[Any, Any]], points: Points, limits: tuple[float, float]
) -> None:
    linear = LINEAR[metric]
    axes.set_xscale("symlog", linthresh=linear, linscale=LINEAR_SHARE)
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(metric, limits)))
    axes.xaxis.set_minor_locator(SymmetricalLogLocator(base=10, linthresh=linear, subs=range(2, 10)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
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
            marker = _marker(row["verdict"])
            low, middle, high = behind(
                metric, np.array([row["difference_low"], row["difference"], row["difference_high"]])
            )
            bar: Any = {"color": marker["color"], "linewidth": 1.3, "solid_capstyle": "butt", "zorder": 3}
            axes.plot([low, high], [position] * 2, **bar)
            axes.plot([middle], [position], markeredgewidth=0.9, zorder=4, **marker)
        else:
            axes.text(0, position, " perfect: infinite difference", va="center", size=6)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    shown = [name for name in VERDICTS if name in set(table["verdict"])]
    return [
        *(Line2D([], [], linewidth=1.3, label=VERDICTS[name][2], **_marker(name)) for name in shown),
        Line2D([], [], linestyle="", label="best", **BEST),
        Line2D([], [], linestyle="", marker=".", color=GREY, markersize=4, label="one test subject"),
    ]


def _marker(verdict: str) -> dict[str, Any]:
    colour, face, _ = VERDICTS[verdict]
    return {"marker": "o", "markersize": 4.4, "color": colour, "markerfacecolor": face}


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


@command
def write_differences(definitions: list[Definition], results: Results, output: Folder) -> None:
    """Draw the differences of tables."""
    planned = [group for definition in definitions for group in definition.planned]
    metrics = read_metrics(results / "metrics.parquet", planned)
    for number, definition in enumerate(definitions, 1):
        name, samples = f"table_{definition.number}", samples_of(cells_of(metrics, definition))
        table = read_statistics(results / "statistics" / f"{name}.csv")
        with style.printed(), rc_context(PRINT):
            style.save(draw(definition, table, differences_to_best(table, samples)), output / name)
        print(f"table {definition.numeral} ({number} of {len(definitions)})", flush=True)
