"""A sheet of panels over a legend and small print, for figures of numbers."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from workflow.figures import style
from workflow.plan.definitions import FLOOR, TrustDefinition, TrustRow

TITLE, AXIS = 0.2, 0.36  # inches above a row of panels, and for the horizontal scale below it
_LEGEND_ROW, _ABOVE_PRINT = 0.14, 0.16
_ENTRY = 1.19  # width of a legend's entry, at least
EVEN_CONTRAST = 0.18  # luminance on which black and white stand out alike (WCAG 2)
_FLOOR = {"color": "0.45", "linestyle": (0, (1, 1)), "marker": ""}

_DECIMALS = 9  # of a panel's place, in shares of the figure

Look = dict[str, Any]
Item = TypeVar("Item")


class SettledLayout(ConstrainedLayoutEngine):
    """Constrained layout whose panels lie in the same place to the bit.

    Its solver goes through constraints in the order of their addresses in memory, and leaves other last bits
    in each process. A PDF, which writes ten decimals, would now and then have another last one.
    """

    def execute(self, fig: Any) -> Any:
        """Lay out a figure as matplotlib does, and round where its panels lie."""
        found = super().execute(fig)
        for axes in fig.axes:
            if axes.get_in_layout():
                place = axes.get_position(original=True).get_points()
                axes.set_position(Bbox(place.round(_DECIMALS)), which="original")
                # Given a place, an axes is out of the layout; it is laid out again where a file is written.
                axes.set_in_layout(True)
        return found


def sheet(
    legend: Sequence[Line2D],
    notes: Sequence[str],
    data: str,
    widths: Sequence[float],
    heights: Sequence[float],
    around: float,
    width: float = style.PAGE_WIDTH,
    tallest: float = style.PAGE_HEIGHT,
    **sharing: Any,
) -> tuple[Figure, NDArray[Any]]:
    """Lay out a figure; where it would be too tall, its panels are made lower.

    Args:
        legend: its entries; none leaves it out.
        notes: lines of small print.
        data: whose data it is, if that is to be said.
        widths: shares of the width, one for each panel of a row.
        heights: of the panels in inches, one for each row.
        around: inches for all titles and scales above and below them.
        width: of the figure in inches.
        tallest: that it may be, in inches.
        sharing: ``sharex`` and ``sharey`` as ``Figure.subplots`` takes them.

    Returns:
        The figure and its axes, (rows, columns).
    """
    across = max(1, min(len(legend), int(width / _ENTRY)))
    small_print = _ABOVE_PRINT + (len(notes) - 1) * style.SMALL_LINE
    below = small_print + math.ceil(len(legend) / across) * _LEGEND_ROW + 0.04
    height = min(sum(heights) + around + below, tallest)
    figure = style.new_figure(width, height)
    place = (0, below / height, 1, 1 - below / height)
    figure.set_layout_engine(SettledLayout(rect=place, h_pad=0.04, w_pad=0.04))
    panels = figure.subplots(
        len(heights), len(widths), squeeze=False, width_ratios=widths, height_ratios=heights, **sharing
    )
    figure.align_ylabels()
    if legend:
        figure.legend(
            handles=[*legend],
            loc="lower center",
            bbox_to_anchor=(0.5, small_print / height),
            ncols=across,
            handlelength=2.6,
            columnspacing=1.4,
            labelspacing=0.25,
            borderaxespad=0,
            borderpad=0,
        ).set_in_layout(False)
    style.small_print(figure, notes, data)
    return figure, panels


def sheet_of(
    definition: TrustDefinition,
    styles: Mapping[str, Look],
    notes: Sequence[str],
    widths: Sequence[float],
    heights: Sequence[float],
    around: float,
    **sharing: Any,
) -> tuple[Figure, NDArray[Any]]:
    """Lay out a ``sheet`` whose legend names the methods of a definition, in the looks of ``styles``."""
    legend = [Line2D([], [], label=row.label, **styles[row.method]) for row in definition.rows if styles]
    seeds = "" if len(definition.seeds) == 1 else f"; {len(definition.seeds)} seeds"
    lines = [*notes[:-1], f"{notes[-1]}{seeds}"]
    return sheet(legend, lines, definition.embedded_note, widths, heights, around, **sharing)


def looks(rows: Sequence[TrustRow], marker: str = "") -> dict[str, Look]:
    """Return each method's line; zero filling, the floor, is dotted grey, and has no marker but this one."""
    methods = [row.method for row in rows if row.method != FLOOR]
    found = {method: style.line_style(index) for index, method in enumerate(methods)}
    return {
        row.method: found.get(row.method, _FLOOR | {"marker": marker}) | {"markersize": 3.2, "clip_on": False}
        for row in rows
    }


def heat_map(
    axes: Axes,
    values: NDArray[np.float64],
    write: Callable[[float], str],
    limits: tuple[float, float],
    names: tuple[Sequence[str], Sequence[str]],
    fontsize: float,
) -> dict[tuple[int, int], Text]:
    """Draw a matrix with its values printed.

    Args:
        axes: to draw in.
        values: (rows, columns); NaN leaves a hole.
        write: gives a value as it is printed.
        limits: of the colour scale.
        names: of the rows and of the columns.
        fontsize: of the values.

    Returns:
        The printed values by row and column.
    """
    import seaborn  # costs a CPU second, which the other figures need not spend

    seaborn.heatmap(
        values,
        ax=axes,
        cmap=style.SCORE_COLOURS,
        vmin=limits[0],
        vmax=limits[1],
        annot=np.vectorize(write)(values),
        fmt="",
        annot_kws={"fontsize": fontsize},
        cbar=False,
        yticklabels=names[0],
        xticklabels=names[1],
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    printed = {(int(y), int(x)): text for text in axes.texts for x, y in [text.get_position()]}
    low, high = limits
    for place, text in printed.items():
        # Seaborn writes white on middle tones, where black has twice the contrast.
        share = (values[place] - low) / (high - low) if high > low else 0.0
        red, green, blue, _ = colormaps[style.SCORE_COLOURS](share)
        dark = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < EVEN_CONTRAST
        text.set_color("white" if dark else "black")
    return printed


def filled(panels: Iterable[Any], shown: Sequence[Item]) -> Iterator[tuple[Any, Item]]:
    """Yield each panel, or group of panels, with what it shows, and remove those that are left over."""
    for panel, item in zip_longest(panels, shown):
        if item is None:
            for axes in np.atleast_1d(panel):
                axes.remove()
        else:
            yield panel, item


def plain(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set what all panels share: title, names of the scales where their numbers stand, faint lines."""
    axes.set_title(title, loc="left", pad=3)
    if axes.xaxis.get_tick_params().get("labelbottom", True):
        axes.set_xlabel(xlabel, labelpad=2)
    if axes.yaxis.get_tick_params().get("labelleft", True):
        axes.set_ylabel(ylabel, labelpad=2)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
