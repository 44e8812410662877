"""Figures of trust: misalignment, noise, other masks, metric conventions, lesions.

``python -m workflow.trust_figures --figure misalignment --definition JSON
--probes results/X/trust/probes.parquet --output results/X/figures`` writes ``trust_<figure>_<dataset>.pdf``
and ``.png``.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from data_prep.errors import BadInput, run_command
from data_prep.masks import label
from workflow import style
from workflow.audit import CONVENTIONS
from workflow.trust_scores import (
    FLOOR,
    GROUND_TRUTH,
    Definition,
    LesionScores,
    Row,
    audit_scores,
    auxiliary_scores,
    lesion_scores,
    mean,
    rate_interval,
    read_definition,
    read_probes,
    unchanged,
    volumes,
)

_LEFT, _RIGHT, _GAP = 0.45, 0.08, 0.22  # inches
_PANEL = 1.35  # height of a panel
_TITLE, _AXIS, _FOOT = 0.2, 0.34, 0.16
_BETWEEN = 0.08  # below a panel whose scale stands under the last one of its column
_LEGEND_ROW = 0.13
_FLOOR = {"color": "0.45", "linestyle": (0, (1, 1)), "marker": ""}


# ---- pieces ---------------------------------------------------------------------------------------


class Sheet:
    """Rows of panels over a legend and a line of small print, placed in inches."""

    def __init__(
        self,
        definition: Definition,
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


def looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return each method's line; zero filling, the floor, is dotted grey and has no marker."""
    found, index = {}, 0
    for row in rows:
        if row.method == FLOOR:
            found[row.method] = dict(_FLOOR)
            continue
        found[row.method] = style.line_style(index)
        index += 1
    return found


def _legend(rows: Sequence[Row], styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    return [Line2D([], [], markersize=3.2, label=row.label, **styles[row.method]) for row in rows]


def plain(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set what all panels share: title, names of the scales, faint lines."""
    axes.set_title(title, loc="left", pad=3)
    axes.set_xlabel(xlabel, labelpad=2)
    axes.set_ylabel(ylabel, labelpad=2)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _common_limits(panels: Sequence[Axes]) -> None:
    """Give panels of a row one scale, so that heights can be compared; only the first one is labelled."""
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for index, axes in enumerate(panels):
        axes.set_ylim(low, high)
        axes.tick_params(labelleft=index == 0)


def _note(definition: Definition, text: str) -> str:
    seeds = "" if len(definition.seeds) == 1 else f"; {len(definition.seeds)} seeds"
    return f"{text}{seeds}"


# ---- misalignment ---------------------------------------------------------------------------------


def draw_misalignment(definition: Definition, probes: pd.DataFrame) -> Figure:
    """PSNR against shift and rotation of the auxiliary, and without the right auxiliary; one row per mask."""
    scores = auxiliary_scores(probes, definition)
    kinds = [
        (condition, xlabel)
        for condition, xlabel in (("shift", "shift (pixels)"), ("rotation", "rotation (degrees)"))
        if (scores["condition"] == condition).any()
    ]
    swaps = [name for name in ("zeroed", "other_subject") if (scores["condition"] == name).any()]
    styles = looks(definition.rows)
    widths = [1.0] * len(kinds) + ([0.9] if swaps else [])
    sheet = Sheet(definition, widths, len(definition.masks), _legend(definition.rows, styles), shared=True)
    for row_number, mask in enumerate(definition.masks):
        panels = []
        own = scores[scores["mask"] == mask]
        for column, (condition, xlabel) in enumerate(kinds):
            axes = sheet.axes(row_number, column)
            for row in definition.rows_under(mask):
                _misaligned_line(axes, own[own["method"] == row.method], condition, styles[row.method])
            plain(axes, label(mask) if column == 0 else "", xlabel, "PSNR (dB)" if column == 0 else "")
            panels.append(axes)
        if swaps:
            axes = sheet.axes(row_number, len(kinds))
            _swap_panel(axes, own, ["unchanged", *swaps], definition.rows_under(mask), styles)
            plain(axes, "", "auxiliary", "PSNR (dB)" if not kinds else "")
            panels.append(axes)
        _common_limits(panels)
    count = int(scores["volumes"].max())
    return sheet.finish(
        _note(
            definition,
            f"Mean over {count} test volumes; lines without markers: methods that read no auxiliary",
        )
    )


def _misaligned_line(axes: Axes, scores: pd.DataFrame, condition: str, look: dict[str, Any]) -> None:
    chosen = scores[scores["condition"].isin(["unchanged", condition])].sort_values("amount")
    if len(chosen) == 1:
        # Reads no auxiliary: the same whatever becomes of it.
        plain = {**look, "marker": ""}
        axes.axhline(float(chosen["psnr"].iloc[0]), linewidth=0.8, **plain)
        return
    axes.plot(chosen["amount"], chosen["psnr"], markersize=3.2, clip_on=False, **look)


def _swap_panel(
    axes: Axes, scores: pd.DataFrame, conditions: list[str], rows: Sequence[Row], styles: dict[str, Any]
) -> None:
    names = {"unchanged": "its own", "zeroed": "zeroed", "other_subject": "other\nsubject's"}
    for row in rows:
        own = scores[scores["method"] == row.method].set_index("condition")["psnr"]
        if not row.auxiliary:
            axes.axhline(float(own["unchanged"]), linewidth=0.8, **{**styles[row.method], "marker": ""})
            continue
        values = [float(own[condition]) for condition in conditions]
        axes.plot(range(len(conditions)), values, markersize=3.2, clip_on=False, **styles[row.method])
    axes.set_xticks(range(len(conditions)), [names[condition] for condition in conditions])
    axes.set_xlim(-0.25, len(conditions) - 0.75)


# ---- noise ----------------------------------------------------------------------------------------


def draw_noise(definition: Definition, probes: pd.DataFrame) -> Figure:
    """PSNR against the noise level of the test measurements; a line marks the level of training."""
    levels = sorted({float(level) for level in probes.loc[probes["probe"] == "noise", "amount"]})
    styles = looks(definition.rows)
    across = min(4, len(definition.masks))
    rows = math.ceil(len(definition.masks) / across)
    sheet = Sheet(definition, [1.0] * max(across, 2), rows, _legend(definition.rows, styles))
    panels = []
    for number, mask in enumerate(definition.masks):
        axes = sheet.axes(number // across, number % across)
        axes.axvline(100 * definition.noise, color="0.6", linewidth=0.7)
        for row in definition.rows_under(mask):
            own = {level: _noise_score(probes, mask, row.method, level) for level in levels}
            own.setdefault(definition.noise, mean(unchanged(probes, mask, row.method, "psnr")))
            points = sorted(own.items())
            x = [100 * level for level, _ in points]
            axes.plot(x, [value for _, value in points], markersize=3.2, clip_on=False, **styles[row.method])
            axes.set_xticks(x)
        plain(axes, label(mask), "noise (% of mean intensity)", "PSNR (dB)" if number % across == 0 else "")
        panels.append(axes)
    _common_limits(panels)
    for number, axes in enumerate(panels):
        axes.tick_params(labelleft=number % across == 0)
    return sheet.finish(_note(definition, "Mean over test volumes; grey line: the noise of training"))


def _noise_score(probes: pd.DataFrame, mask: str, method: str, level: float) -> float:
    return mean(volumes(probes, mask, method, "psnr", probe="noise", amount=level))


# ---- other masks ----------------------------------------------------------------------------------


def draw_transfer(definition: Definition, probes: pd.DataFrame) -> Figure:
    """One heat map per trained method: trained for the mask of the row, tested under that of the column."""
    import seaborn  # costs a CPU second, which the other figures need not spend

    methods = [row for row in definition.rows if row.trained]
    across = min(3, len(methods))
    if not across:
        raise BadInput("--definition: no compared method is trained; leave trust.transfer out")
    grids = [transfer_matrix(definition, probes, row.method) for row in methods]
    low, high = (float(f(np.concatenate([g.ravel() for g in grids]))) for f in (np.nanmin, np.nanmax))
    height = min(1.9, 0.28 * len(definition.masks) + 0.1)
    sheet = Sheet(
        definition,
        [1.0] * across,
        math.ceil(len(methods) / across),
        [],
        panel=height,
        axis=0.75,
        left=0.78,
        gap=0.1,
    )
    for number, (row, grid) in enumerate(zip(methods, grids, strict=True)):
        axes = sheet.axes(number // across, number % across)
        seaborn.heatmap(
            grid,
            ax=axes,
            cmap=style.SCORE_COLOURS,
            vmin=low,
            vmax=high,
            annot=True,
            fmt=".1f",
            annot_kws={"fontsize": 5},
            cbar=False,
            xticklabels=[label(mask) for mask in definition.all_masks],
            yticklabels=[label(mask) for mask in definition.masks] if number % across == 0 else False,
        )
        numbers = {(int(x), int(y)): text for text in axes.texts for x, y in [text.get_position()]}
        for i, j in np.ndindex(grid.shape):
            if (j, i) not in numbers:
                axes.text(j + 0.5, i + 0.5, "—", ha="center", va="center", fontsize=5)
            if definition.masks[i] == definition.all_masks[j]:
                colour = numbers[j, i].get_color() if (j, i) in numbers else "black"
                axes.add_patch(Rectangle((j + 0.03, i + 0.08), 0.94, 0.84, fill=False, edgecolor=colour))
        axes.set_title(row.label, loc="left", pad=3)
        axes.tick_params(axis="x", rotation=90)
        axes.tick_params(axis="y", rotation=0)
        axes.tick_params(length=0, labelsize=5.5)
    return sheet.finish(
        _note(
            definition, "PSNR (dB); rows: mask of training, columns: mask of the test; framed: the same mask"
        )
    )


def transfer_matrix(definition: Definition, probes: pd.DataFrame, method: str) -> Any:
    """PSNR in dB, float64 (mask of training, mask of the test); NaN where a training diverged."""
    return np.array(
        [
            [
                mean(volumes(probes, trained, method, "psnr", probe="mask", condition=tested))
                for tested in definition.all_masks
            ]
            for trained in definition.masks
        ]
    )


# ---- metric conventions ---------------------------------------------------------------------------


def draw_audit(definition: Definition, probes: pd.DataFrame) -> Figure:
    """SSIM and PSNR under each convention, and HFEN; lines that cross are rankings that change."""
    scores = audit_scores(probes, definition)
    styles = looks(definition.rows)
    for look in styles.values():
        look["marker"] = look["marker"] or "x"
    sheet = Sheet(
        definition,
        [1.25, 1.1, 0.3],
        len(definition.masks),
        _legend(definition.rows, styles),
        axis=0.4,
        gap=0.42,
        shared=True,
    )
    words = {
        "volume": "volume",
        "slice": "slice",
        "peak_to_peak": "peak to\npeak",
        "self_normalised": "self-\nnormalised",
        "gaussian_window": "Gaussian\nwindow",
        "body": "body\nonly",
    }
    for row_number, mask in enumerate(definition.masks):
        for column, (metric, name) in enumerate((("ssim", "SSIM"), ("psnr", "PSNR (dB)"), ("hfen", "HFEN"))):
            axes = sheet.axes(row_number, column)
            own = scores[(scores["mask"] == mask) & (scores["metric"] == metric)]
            order = [c for c in CONVENTIONS if (own["convention"] == c).any()]
            for row in definition.rows_under(mask):
                values = own[own["method"] == row.method].set_index("convention")["value"]
                points = [float(values[c]) for c in order]
                axes.plot(range(len(order)), points, markersize=3.2, clip_on=False, **styles[row.method])
            plain(axes, label(mask) if column == 0 else "", "", name)
            axes.set_xticks(range(len(order)), [words[c] for c in order] if metric != "hfen" else [""])
            axes.set_xlim(-0.2, len(order) - 0.8)
    return sheet.finish(
        _note(definition, "Mean over test volumes; HFEN: high-frequency error norm, lower is better")
    )


# ---- lesions --------------------------------------------------------------------------------------


def draw_lesions(definition: Definition, probes: pd.DataFrame) -> Figure:
    """Contrast recovered per lesion, and detections against false bright spots; one row per mask."""
    truth = Row(GROUND_TRUTH, "Truth", False, False)
    styles = looks(definition.rows)
    for look in styles.values():
        look["marker"] = look["marker"] or "x"
    sheet = Sheet(
        definition,
        [1.9, 1.0],
        len(definition.masks),
        _legend(definition.rows, styles),
        panel=1.6,
        gap=0.55,
        axis=0.44,
        left=0.55,
        shared=True,
    )
    for row_number, mask in enumerate(definition.masks):
        axes = sheet.axes(row_number, 0)
        rows = [truth, *definition.rows_under(mask)]
        for place, row in enumerate(rows):
            _lesion_strip(axes, place, lesion_scores(probes, mask, row.method))
        axes.axhline(1, color="0.6", linewidth=0.6, zorder=0)
        axes.axhline(0.5, color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
        plain(axes, label(mask), "", "contrast\nrecovered")
        crowded = len(rows) > 8
        names = [row.label if crowded else row.label.replace(" ", "\n", 1) for row in rows]
        turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axes.set_xticks(range(len(rows)), names, **turned)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.margins(y=0.1)  # so that no mark is cut
        axes = sheet.axes(row_number, 1)
        for row in definition.rows:
            _detection_line(axes, probes, mask, row, styles[row.method])
        axes.set_ylim(-0.03, 1.03)
        plain(axes, "", "false bright spots per slice", "lesions\ndetected")
    count = len(lesion_scores(probes, definition.masks[0], definition.rows[0].method).lesions)
    low, high = rate_interval(round(count / 2), count)
    return sheet.finish(
        _note(
            definition,
            f"Lesions: {count}, larger marks for larger ones; right: at 25, 50, 75 % of the contrast; the "
            f"95 % interval of a middling rate is {low:.2f} to {high:.2f}",
        )
    )


def _lesion_strip(axes: Axes, place: int, scores: LesionScores) -> None:
    lesions = scores.lesions
    if not len(lesions) or scores.diverged:
        axes.text(
            place, 0.5, "diverged" if len(lesions) else "no lesion", ha="center", fontsize=5, rotation=90
        )
        return
    # Side by side in order of size, so that marks do not hide each other.
    x = place + np.linspace(-0.28, 0.28, len(lesions)) if len(lesions) > 1 else np.array([float(place)])
    size = 1.2 * lesions["radius_mm"].to_numpy(dtype=np.float64) ** 2
    axes.scatter(
        x, lesions["recovered"], s=size, facecolor="0.75", edgecolor="black", linewidth=0.5, zorder=3
    )
    middle = float(lesions["recovered"].median())
    axes.plot([place - 0.36, place + 0.36], [middle, middle], color="black", linewidth=1.4, zorder=4)


def _detection_line(axes: Axes, probes: pd.DataFrame, mask: str, row: Row, look: dict[str, Any]) -> None:
    rates = sorted(lesion_scores(probes, mask, row.method).rates.items())
    if rates:
        x, y = [spots for _, (_, spots) in rates], [found for _, (found, _) in rates]
        axes.plot(x, y, markersize=3.2, clip_on=False, **look)


# ---- command --------------------------------------------------------------------------------------

_FIGURES: dict[str, Callable[[Definition, pd.DataFrame], Figure]] = {
    "misalignment": draw_misalignment,
    "noise": draw_noise,
    "transfer": draw_transfer,
    "audit": draw_audit,
    "lesions": draw_lesions,
}


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.trust_figures", description=__doc__)
    parser.add_argument("--figure", required=True, choices=tuple(_FIGURES), help="which figure")
    parser.add_argument("--definition", required=True, help="JSON, as workflow.trust_plan defines it")
    parser.add_argument("--probes", required=True, type=Path, help="probes.parquet of the experiment")
    parser.add_argument("--output", required=True, type=Path, help="folder to write into")
    arguments = parser.parse_args()
    definition = read_definition(arguments.definition)
    probes = read_probes(arguments.probes, definition)
    with style.printed():
        figure = _FIGURES[arguments.figure](definition, probes)
        style.save(figure, arguments.output / f"trust_{arguments.figure}_{definition.dataset}")


if __name__ == "__main__":
    run_command(main)
