"""Fig. 9: scores over the two weights of the loss."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.canvas import Canvas, write_footer
from workflow.plan.definitions import Definition
from workflow.plan.paper import PAPER_CHOICE
from workflow.statistics.scores import Cell, cells_of, number, read_metrics


def draw_loss_weights(definition: Definition, results: Path) -> Figure:
    """Fig. 9: PSNR and SSIM against alpha and beta, the best cell and the paper's choice marked."""
    mask = definition.masks[0]
    metrics = read_metrics(results / "metrics.parquet")
    cells = cells_of(metrics, definition)
    rows, columns = len(definition.alphas), len(definition.betas)
    left, between, top, bottom = 0.36, 0.18, 0.2, 0.55
    square = min((style.COLUMN_WIDTH - left - between - 0.06) / (2 * columns), 0.62)
    wide, tall = columns * square, rows * square
    canvas = Canvas(style.COLUMN_WIDTH, top + tall + bottom)
    start = left + (style.COLUMN_WIDTH - left - 0.06 - 2 * wide - between) / 2
    for index, (metric, title, digits) in enumerate((("psnr", "PSNR (dB)", 2), ("ssim", "SSIM", 3))):
        axes = canvas.axes(start + index * (wide + between), top, wide, tall)
        _heat_map(axes, definition, cells, metric, digits)
        axes.set_title(title, pad=4)
        axes.set_xlabel("β", labelpad=1)
        if index == 0:
            axes.set_ylabel("α", labelpad=5, rotation=0, va="center")
        else:
            axes.set_yticklabels([])
    volumes = max((cell.volumes for cell in cells.values()), default=0)
    write_footer(
        canvas,
        definition,
        f"{label(mask)}, mean over {volumes} test volumes ({definition.convention} convention)",
        "Solid frame: best. Dashed: the paper’s choice.",
    )
    return canvas.figure


def _heat_map(
    axes: Axes, definition: Definition, cells: dict[tuple[str, str], Cell], metric: str, digits: int
) -> None:
    import seaborn  # costs a CPU second, which the other figures need not spend

    mask = definition.masks[0]
    values = np.full((len(definition.alphas), len(definition.betas)), np.nan)
    for point in definition.grid:
        mean = cells[mask, point.method].mean.get(metric, np.nan)
        values[definition.alphas.index(point.alpha), definition.betas.index(point.beta)] = mean
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 1.0)
    seaborn.heatmap(
        values,
        ax=axes,
        cmap=style.SCORE_COLOURS,
        vmin=low,
        vmax=high if high > low else low + 1,
        annot=np.vectorize(lambda value: number(value, digits))(values),
        fmt="",
        annot_kws={"fontsize": 6},
        cbar=False,
        xticklabels=[f"{beta:g}" for beta in definition.betas],
        yticklabels=[f"{alpha:g}" for alpha in definition.alphas],
    )
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    # Where there is a value; seaborn chose a colour that the cell's own lets stand out.
    printed = {(int(x), int(y)): text for text in axes.texts for x, y in [text.get_position()]}
    best = np.nanmax(np.round(values, digits)) if np.isfinite(values).any() else np.nan
    for point in definition.grid:
        row, column = definition.alphas.index(point.alpha), definition.betas.index(point.beta)
        shown = printed.get((column, row))
        if shown is None:
            # Hatched, because in grey print any flat tone would pass for a score.
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor="white", edgecolor="0.75", hatch="////", linewidth=0)
            )
            text = {"diverged": "div.", "missing": "—"}[cells[mask, point.method].status]
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6, bbox=box)
        colour = "black" if shown is None else shown.get_color()
        if shown is not None and round(values[row, column], digits) == best:
            shown.set_fontweight("bold")
            _frame(axes, column, row, 0.02, "-", colour)
        if (point.alpha, point.beta) == PAPER_CHOICE:
            _frame(axes, column, row, 0.09, (0, (2, 1.5)), colour)


def _frame(axes: Axes, column: int, row: int, inset: float, pattern: Any, colour: Any) -> None:
    side = 1 - 2 * inset
    corner = (column + inset, row + inset)
    frame = Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.0, linestyle=pattern)
    axes.add_patch(frame)
