"""A sheet of equal panels, for figures of numbers."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow.figures import style
from workflow.plan.definitions import FLOOR, TrustDefinition, TrustRow

_LEFT, _RIGHT, _GAP = 0.45, 0.08, 0.22  # inches
_PANEL = 1.35  # height of a panel
_TITLE, _AXIS, _FOOT = 0.2, 0.34, 0.16
_BETWEEN = 0.08  # below a panel whose scale stands under the last one of its column
_LEGEND_ROW = 0.13
_FLOOR = {"color": "0.45", "linestyle": (0, (1, 1)), "marker": ""}


class Sheet:
    """Rows of panels over a legend and a line of small print, placed in inches."""

    def __init__(
        self,
        definition: TrustDefinition,
        widths: Sequence[float],
        rows: int,
        legend: Sequence[Line2D],
        panel: float = _PANEL,
        gap: float = _GAP,
        axis: float = _AXIS,
        left: float = _LEFT,
        shared: bool = False,
    ) -> None:
        """Lay out a page-wide sheet. Many rows make their panels lower, so that it stays one page.

        Args:
            definition: whose data it shows.
            widths: shares of the page's width, one for each panel of a row.
            rows: of panels.
            legend: its entries.
            panel: height of a panel, where there is room for it.
            gap: between the panels of a row.
            axis: room below a panel.
            left: room beside the first panel.
            shared: whether the panels of a column share their horizontal scale, which then stands below the
                last one.
        """
        self.definition = definition
        self.columns = min(len(legend), 6) or 1
        self.legend = list(legend)
        lines = math.ceil(len(legend) / self.columns)
        below = _FOOT + lines * _LEGEND_ROW + 0.06
        between = _BETWEEN if shared else axis
        rest = rows * _TITLE + (rows - 1) * between + axis + below
        panel = min(panel, (style.PAGE_HEIGHT - rest) / rows)
        self.width, self.height = style.PAGE_WIDTH, rows * panel + rest
        room = self.width - left - _RIGHT - gap * (len(widths) - 1)
        self.wide = [room * share / sum(widths) for share in widths]
        self.panel, self.gap, self.left = panel, gap, left
        self.pitch = _TITLE + panel + between
        self.shared = shared
        self.placed: dict[int, list[Axes]] = {}
        self.figure: Figure = style.new_figure(self.width, self.height)

    def axes(self, row: int, column: int) -> Axes:
        """Add the panel in a row and column."""
        x = self.left + sum(self.wide[:column]) + self.gap * column
        y = row * self.pitch + _TITLE
        box = (
            x / self.width,
            1 - (y + self.panel) / self.height,
            self.wide[column] / self.width,
            self.panel / self.height,
        )
        axes = self.figure.add_axes(box)
        self.placed.setdefault(column, []).append(axes)
        return axes

    def finish(self, note: str) -> Figure:
        """Add legend and small print, align the scales' names, and leave one shared horizontal scale."""
        for column in self.placed.values() if self.shared else ():
            low, high = zip(*(axes.get_xlim() for axes in column), strict=True)
            for axes in column:
                axes.set_xlim(min(low), max(high))
            for axes in column[:-1]:
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
        self._align()
        if self.legend:
            self.figure.legend(
                handles=self.legend,
                loc="lower center",
                bbox_to_anchor=(0.5, _FOOT / self.height),
                ncols=self.columns,
                handlelength=2.6,
                columnspacing=1.4,
                labelspacing=0.25,
                borderaxespad=0,
            )
        grey: dict[str, Any] = {"fontsize": 6, "color": "0.3", "va": "baseline"}
        self.figure.text(0.02 / self.width, 0.045 / self.height, note, **grey)
        if self.definition.source == "embedded":
            right = (self.width - 0.02) / self.width
            source = self.definition.data_note
            self.figure.text(right, 0.045 / self.height, source, ha="right", style="italic", **grey)
        return self.figure

    def _align(self) -> None:
        """Put the names of a column's vertical scales below each other; numbers differ in width."""
        # Matplotlib's align_ylabels leaves out axes that were placed by hand. Labels move when drawn.
        self.figure.draw_without_rendering()
        for column in self.placed.values():
            named = [axes for axes in column if axes.get_ylabel()]
            edges = [axes.yaxis.label.get_window_extent().x1 for axes in named]
            for axes in named:
                place, _ = axes.transAxes.inverted().transform((min(edges), 0))
                axes.yaxis.set_label_coords(place, 0.5)


def looks(rows: Sequence[TrustRow]) -> dict[str, dict[str, Any]]:
    """Return each method's line; zero filling, the floor, is dotted grey and has no marker."""
    found, index = {}, 0
    for row in rows:
        if row.method == FLOOR:
            found[row.method] = dict(_FLOOR)
            continue
        found[row.method] = style.line_style(index)
        index += 1
    return found


def draw_legend(rows: Sequence[TrustRow], styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    return [Line2D([], [], markersize=3.2, label=row.label, **styles[row.method]) for row in rows]


def plain(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set what all panels share: title, names of the scales, faint lines."""
    axes.set_title(title, loc="left", pad=3)
    axes.set_xlabel(xlabel, labelpad=2)
    axes.set_ylabel(ylabel, labelpad=2)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def common_limits(panels: Sequence[Axes]) -> None:
    """Give panels of a row one scale, so that heights can be compared; only the first one is labelled."""
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for index, axes in enumerate(panels):
        axes.set_ylim(low, high)
        axes.tick_params(labelleft=index == 0)


def write_note(definition: TrustDefinition, text: str) -> str:
    seeds = "" if len(definition.seeds) == 1 else f"; {len(definition.seeds)} seeds"
    return f"{text}{seeds}"
