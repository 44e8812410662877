"""Heat maps: scores over the two weights of the loss."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.sheet import AXIS, TITLE, heat_map, sheet
from workflow.papers.contract import paper_of
from workflow.plan.definitions import Definition
from workflow.statistics.scores import Cell, cells_of, counted, number, read_metrics


def draw_loss_weights(definition: Definition, results: Path) -> Figure:
    """Draw PSNR and SSIM against alpha and beta, the best cell and the paper's choice marked."""
    metrics = read_metrics(results / "metrics.parquet", definition.planned)
    cells = cells_of(metrics, definition)
    volumes = max((cell.volumes for cell in cells.values()), default=0)
    mask, convention = label(definition.masks[0]), definition.convention
    seeds = "" if len(definition.seeds) == 1 else f"; {len(definition.seeds)} seeds"
    notes = (
        f"{mask}, mean over {counted(volumes, 'test volume')} ({convention} convention){seeds}",
        "Solid frame: best. Dashed: the paper’s choice.",
    )
    square = min(1.45 / len(definition.betas), 0.62)
    height = square * len(definition.alphas)
    figure, panels = sheet(
        (), notes, definition.embedded_note, (1, 1), (height,), TITLE + AXIS, style.COLUMN_WIDTH
    )
    shown = (("psnr", "PSNR (dB)", 2), ("ssim", "SSIM", 3))
    for axes, (metric, title, digits) in zip(panels[0], shown, strict=True):
        _draw_scores(axes, definition, cells, metric, digits)
        axes.set_title(title, pad=4)
        axes.set_xlabel("β", labelpad=1)
    panels[0, 0].set_ylabel("α", labelpad=5, rotation=0, va="center")
    panels[0, 1].set_yticklabels([])
    return figure


def _draw_scores(
    axes: Axes, definition: Definition, cells: dict[tuple[str, str], Cell], metric: str, digits: int
) -> None:
    mask = definition.masks[0]
    values = np.full((len(definition.alphas), len(definition.betas)), np.nan)
    for point in definition.grid:
        mean = cells[mask, point.method].mean.get(metric, np.nan)
        values[definition.alphas.index(point.alpha), definition.betas.index(point.beta)] = mean
    known = values[np.isfinite(values)]
    low, high, best = (known.min(), known.max(), known.round(digits).max()) if known.size else (0, 1, np.nan)
    alphas, betas = ([f"{weight:g}" for weight in of] for of in (definition.alphas, definition.betas))
    limits = (low, high if high > low else low + 1)
    # Where there is a value; seaborn chose a colour that the cell's own lets stand out.
    printed = heat_map(axes, values, lambda value: number(value, digits), limits, (alphas, betas), fontsize=6)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(True)
    paper = paper_of(definition.paper)
    sweep = paper.figure(definition.number).sweep if paper else None
    for point in definition.grid:
        row, column = definition.alphas.index(point.alpha), definition.betas.index(point.beta)
        shown = printed.get((row, column))
        if shown is None:
            # Hatched, because in grey print any flat tone would pass for a score.
            hatched: Any = {"facecolor": "white", "edgecolor": "0.75", "hatch": "////", "linewidth": 0}
            axes.add_patch(Rectangle((column, row), 1, 1, **hatched))
            status = cells[mask, point.method].status
            text = {"diverged": "div.", "missing": "—"}.get(status, status.replace(" failed", "\nfailed"))
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6, bbox=box)
        colour = "black" if shown is None else shown.get_color()
        if shown is not None and round(values[row, column], digits) == best:
            shown.set_fontweight("bold")
            _frame(axes, column, row, 0.02, "-", colour)
        if sweep and (point.alpha, point.beta) == sweep.chosen:
            _frame(axes, column, row, 0.09, (0, (2, 1.5)), colour)


def _frame(axes: Axes, column: int, row: int, inset: float, pattern: Any, colour: Any) -> None:
    side = 1 - 2 * inset
    corner = (column + inset, row + inset)
    frame = Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.0, linestyle=pattern)
    axes.add_patch(frame)
