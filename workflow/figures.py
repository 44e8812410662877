"""The paper's figures 1 and 5 to 9, drawn from the example slices and the metrics of the runs.

``python -m workflow.figures --definition JSON --results results/X --output results/X/figures`` writes
``figure_<number>.pdf`` and ``.png``. Positions are computed in inches, so that panels line up and no text
is cut, whatever the number of methods.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from data_prep.errors import BadInput, run_command
from data_prep.further_dataset import contrasts
from data_prep.masks import label
from workflow import style
from workflow.examples import Block, Example, Image, error_limit, read_blocks, window
from workflow.scores import Definition, MaskScores, number, read_definition, read_metrics, summarise

GAP = 0.035  # inches between panels
TITLE = 0.15  # height of a line above a panel
LINE = 0.1  # distance of two lines of small print
FOOTER = 0.17
BAND_GAP = 0.06
BLOCK_GAP = 0.1  # below a block
BLOCK_SPACING = 0.16  # beside a block
METHODS_PER_BAND = 6
LARGEST_PANEL = 1.45
PAPER_CHOICE = (0.4, 0.6)  # alpha, beta of the paper


# ---- pieces ---------------------------------------------------------------------------------------


class Canvas:
    """A figure on which things are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure: Figure = style.new_figure(width, height)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose top left corner is at (x, y)."""
        box = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        """Write a line of text with its baseline at (x, y)."""
        self.figure.text(x / self.width, 1 - y / self.height, text, va="baseline", **options)

    def title(self, x: float, y: float, width: float, lines: Sequence[str], size: float) -> None:
        """Write lines centred on (x, x + width), the last one just above ``y``."""
        for index, line in enumerate(reversed(lines)):
            self.text(x + width / 2, y - 0.045 - index * LINE, line, ha="center", fontsize=size)

    def panel(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add a frameless panel for an image."""
        axes = self.axes(x, y, width, height)
        axes.set_axis_off()
        return axes


def _show(axes: Axes, image: Image, limits: tuple[float, float], colours: str = "gray") -> None:
    axes.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")


def _show_mask(axes: Axes, mask: NDArray[np.bool_], height: int) -> None:
    lines = np.broadcast_to(mask, (height, mask.shape[-1]))
    axes.imshow(lines, cmap="gray", vmin=0, vmax=1, aspect="auto")


def _caption(axes: Axes, text: str, size: float, top: bool = False) -> None:
    """Write on an image, on a dark strip that keeps the text legible over bright anatomy."""
    axes.text(
        0.5 if not top else 0.03,
        0.97 if top else 0.025,
        text,
        transform=axes.transAxes,
        ha="left" if top else "center",
        va="top" if top else "bottom",
        fontsize=size,
        color="white",
        bbox={"facecolor": "black", "alpha": 0.65, "edgecolor": "none", "pad": 0.9},
    )


def _empty(axes: Axes, text: str) -> None:
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="0.9", edgecolor="none"))
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.25", fontsize=6)


def _footer(canvas: Canvas, definition: Definition, *lines: str) -> None:
    for index, line in enumerate(reversed(lines)):
        canvas.text(0.02, canvas.height - 0.055 - index * LINE, line, fontsize=6, color="0.3")
    if definition.source == "embedded":
        options = {"fontsize": 6, "color": "0.3", "ha": "right", "style": "italic"}
        canvas.text(canvas.width - 0.02, canvas.height - 0.055, definition.data_note, **options)


@cache
def text_width(text: str, size: float) -> float:
    """Return the width in inches of a line of text set at ``size`` points."""
    path = TextPath((0, 0), text, size=size, prop=FontProperties(family="DejaVu Sans"))
    return float(path.get_extents().x1) / 72


def fitted(text: str, width: float, size: float = 7) -> tuple[list[str], float]:
    """Break a label into at most two lines, shrunk where needed, that fit ``width`` inches.

    Returns:
        The lines and their size in points; what does not fit at the smallest size ends in an ellipsis.
    """
    smallest = size - 1.5
    for points in (size, size - 0.5):
        if text_width(text, points) <= width:
            return [text], points
    words = text.split()
    for points in (size, size - 0.5, size - 1, smallest):
        for cut in range(len(words) - 1, 0, -1):
            lines = [" ".join(words[:cut]), " ".join(words[cut:])]
            if max(text_width(line, points) for line in lines) <= width:
                return lines, points
    if text_width(text, smallest) <= width:
        return [text], smallest
    while len(text) > 1 and text_width(text + "…", smallest) > width:
        text = text[:-1].rstrip()
    return [text + "…"], smallest


# ---- figure 1 -------------------------------------------------------------------------------------


def draw_modalities(definition: Definition, results: Path) -> Figure:
    """Fig. 1: auxiliary, target, and the zero-filled target side by side."""
    mask = definition.masks[0]
    example = read_blocks(results, definition, mask)[0].reference
    target, auxiliary = contrasts(definition.dataset)
    height, width = example.target.shape
    panel = (style.COLUMN_WIDTH - 2 * GAP) / 3
    tall = panel * height / width
    canvas = Canvas(style.COLUMN_WIDTH, TITLE + tall + FOOTER)
    limits = window(example.target)
    panels = (
        (f"(a) {auxiliary}", example.auxiliary, window(example.auxiliary)),
        (f"(b) {target}", example.target, limits),
        (f"(c) {target}, {label(mask)}", example.zero_filled, limits),
    )
    for index, (title, image, shown) in enumerate(panels):
        x = index * (panel + GAP)
        canvas.title(x, TITLE, panel, *fitted(title, panel))
        axes = canvas.panel(x, TITLE, panel, tall)
        _show(axes, image, shown)
        if index == 2:
            _caption(
                axes, f"{number(example.zero_filled_psnr, 2)} / {number(example.zero_filled_ssim, 3)}", 6
            )
    _footer(canvas, definition, f"{_slice_name(example)}; PSNR (dB) / SSIM of the slice")
    return canvas.figure


def _slice_name(example: Example) -> str:
    return f"{example.subject}, slice {example.index + 1}"


# ---- figures 5 to 8 -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """Sizes in inches of one mask's block: two leading columns, then methods in one or more bands.

    Attributes:
        columns: methods per band.
        titles: height of the titles, per band.
        panel: width of a panel.
        tall: height of a panel.
    """

    columns: int
    titles: tuple[float, ...]
    panel: float
    tall: float

    @property
    def width(self) -> float:
        """Width of the block."""
        return (self.columns + 2) * (self.panel + GAP) - GAP

    @property
    def height(self) -> float:
        """Height of the block with its heading."""
        return self.top(len(self.titles) - 1) + 2 * self.tall + GAP

    def left(self, column: int) -> float:
        """Left edge of a column."""
        return column * (self.panel + GAP)

    def top(self, band: int) -> float:
        """Upper edge of a band's reconstructions; the error maps follow below."""
        before = band * (2 * self.tall + GAP + BAND_GAP)
        return TITLE + before + sum(self.titles[: band + 1])

    @property
    def below(self) -> float:
        """Distance from a band's reconstructions to its error maps."""
        return self.tall + GAP


def _grid(labels: Sequence[str], across: int, down: int, aspect: float) -> Grid:
    """Make panels as large as the page allows; ``aspect`` is height over width of an image."""
    bands = ceil(len(labels) / METHODS_PER_BAND)
    columns = ceil(len(labels) / bands)
    width = (style.PAGE_WIDTH - (across - 1) * BLOCK_SPACING) / across
    panel = min((width - (columns + 1) * GAP) / (columns + 2), LARGEST_PANEL)
    # Two lines of titles are allowed for: a tall figure is made smaller rather than cut by the page.
    room = (style.PAGE_HEIGHT - FOOTER - (down - 1) * BLOCK_GAP) / down - TITLE
    room -= bands * (TITLE + LINE + GAP) + (bands - 1) * BAND_GAP
    panel = min(panel, room / (2 * bands) / aspect)
    titles = []
    for band in range(bands):
        texts = [*labels[band * columns : (band + 1) * columns], *(("Ground truth",) if band == 0 else ())]
        two_lines = any(len(fitted(text, panel)[0]) > 1 for text in texts)
        titles.append(TITLE + LINE * two_lines)
    return Grid(columns, tuple(titles), panel, panel * aspect)


def draw_comparison(definition: Definition, results: Path) -> Figure:
    """Figs. 5 to 8: per mask a block of reconstructions, and below each its error on one shared scale."""
    blocks = [read_blocks(results, definition, mask)[0] for mask in definition.masks]
    labels = [row.label for row in definition.rows]
    across = 2 if len(labels) <= 3 and len(blocks) > 2 else 1
    down = ceil(len(blocks) / across)
    height, width = blocks[0].reference.target.shape
    grid = _grid(labels, across, down, height / width)
    canvas = Canvas(
        across * grid.width + (across - 1) * BLOCK_SPACING,
        down * grid.height + (down - 1) * BLOCK_GAP + FOOTER,
    )
    limit = error_limit(blocks)
    for index, block in enumerate(blocks):
        x = (index % across) * (grid.width + BLOCK_SPACING)
        y = (index // across) * (grid.height + BLOCK_GAP)
        _draw_block(canvas, definition, block, grid, x, y, limit)
    shown = sorted({_slice_name(block.reference) for block in blocks})
    _footer(canvas, definition, f"{'; '.join(shown)}; PSNR (dB) / SSIM of the slice")
    return canvas.figure


def _draw_block(
    canvas: Canvas, definition: Definition, block: Block, grid: Grid, x: float, y: float, limit: float
) -> None:
    target_name, auxiliary_name = contrasts(definition.dataset)
    reference = block.reference
    size = 6 if grid.panel > 0.75 else 5.5

    def panel(column: int, band: int, title: str = "") -> Axes:
        """Add a panel: with a title a reconstruction's, without one an error map's."""
        left, top = x + grid.left(column), y + grid.top(band)
        if title:
            canvas.title(left, top, grid.panel, *fitted(title, grid.panel))
        return canvas.panel(left, top if title else top + grid.below, grid.panel, grid.tall)

    canvas.text(x + 0.01, y + TITLE - 0.045, label(block.mask), fontsize=7.5, fontweight="bold")
    limits = window(reference.target)
    _show_mask(panel(0, 0, "Mask"), reference.mask, reference.target.shape[0])
    axes = panel(0, 0)
    _show(axes, reference.auxiliary, window(reference.auxiliary))
    _caption(axes, auxiliary_name, size, top=True)
    axes = panel(1, 0, "Ground truth")
    _show(axes, reference.target, limits)
    _caption(axes, target_name, size, top=True)
    _error_scale(canvas, x + grid.left(1), y + grid.top(0) + grid.below, grid, limit)
    for index, (row, example) in enumerate(block.columns):
        band, column = divmod(index, grid.columns)
        image, error = panel(2 + column, band, row.label), panel(2 + column, band)
        if example is None or example.diverged:
            _empty(image, "no run" if example is None else "diverged")
            _empty(error, "—")
            continue
        _show(image, example.reconstruction, limits)
        _caption(image, f"{number(example.psnr, 2)} / {number(example.ssim, 3)}", size)
        _show(error, example.error, (0, limit), style.ERROR_COLOURS)


def _error_scale(canvas: Canvas, x: float, y: float, grid: Grid, limit: float) -> None:
    """Put the colour bar of the error maps under the ground truth, whose own error would be zero."""
    inset = 0.06 * grid.tall
    axes = canvas.axes(x + 0.12 * grid.panel, y + inset, 0.1 * grid.panel, grid.tall - 2 * inset)
    scale = ScalarMappable(Normalize(0, limit), cmap=style.ERROR_COLOURS)
    bar = canvas.figure.colorbar(scale, cax=axes, extend="max", extendfrac=0.06, ticks=[0, limit / 2, limit])
    bar.ax.set_yticklabels([f"{value:.3g}" for value in (0, limit / 2, limit)])
    bar.ax.tick_params(labelsize=5.5, pad=1.5, length=1.5)
    bar.outline.set_linewidth(0.4)
    bar.set_label("|error| /\nslice maximum", fontsize=5.5, labelpad=2, linespacing=1.05)


# ---- figure 9 -------------------------------------------------------------------------------------


def draw_loss_weights(definition: Definition, results: Path) -> Figure:
    """Fig. 9: PSNR and SSIM against alpha and beta, the best cell and the paper's choice marked."""
    mask = definition.masks[0]
    metrics = read_metrics(results / "metrics.parquet")
    cells = summarise(metrics, definition, tuple(dict.fromkeys(definition.grid.values())))
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
    _footer(
        canvas,
        definition,
        f"{label(mask)}, mean over {volumes} test volumes ({definition.convention} convention)",
        "Solid frame: best. Dashed: the paper’s choice.",
    )
    return canvas.figure


def _heat_map(
    axes: Axes, definition: Definition, cells: dict[tuple[str, str], MaskScores], metric: str, digits: int
) -> None:
    import seaborn  # costs a CPU second, which the other figures need not spend

    mask = definition.masks[0]
    values = np.full((len(definition.alphas), len(definition.betas)), np.nan)
    for (alpha, beta), method in definition.grid.items():
        mean = cells[mask, method].mean.get(metric, np.nan)
        values[definition.alphas.index(alpha), definition.betas.index(beta)] = mean
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
    for (alpha, beta), method in definition.grid.items():
        row, column = definition.alphas.index(alpha), definition.betas.index(beta)
        shown = printed.get((column, row))
        if shown is None:
            # Hatched, because in grey print any flat tone would pass for a score.
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor="white", edgecolor="0.75", hatch="////", linewidth=0)
            )
            text = {"diverged": "div.", "missing": "—"}[cells[mask, method].status]
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6, bbox=box)
        colour = "black" if shown is None else shown.get_color()
        if shown is not None and round(values[row, column], digits) == best:
            shown.set_fontweight("bold")
            _frame(axes, column, row, 0.02, "-", colour)
        if (alpha, beta) == PAPER_CHOICE:
            _frame(axes, column, row, 0.09, (0, (2, 1.5)), colour)


def _frame(axes: Axes, column: int, row: int, inset: float, pattern: Any, colour: Any) -> None:
    side = 1 - 2 * inset
    corner = (column + inset, row + inset)
    frame = Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.0, linestyle=pattern)
    axes.add_patch(frame)


# ---- command --------------------------------------------------------------------------------------


def draw(definition: Definition, results: Path) -> Figure:
    """Draw a figure of the paper.

    Raises:
        BadInput: there is no such figure, or its inputs are missing.
    """
    drawings = {1: draw_modalities, 9: draw_loss_weights, **dict.fromkeys((5, 6, 7, 8), draw_comparison)}
    if definition.number not in drawings:
        raise BadInput(f"--definition: number {definition.number} is unknown; figures 1, 5, 6, 7, 8, 9 exist")
    return drawings[definition.number](definition, results)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.figures", description=__doc__)
    parser.add_argument("--definition", required=True, help="the figure as JSON, as workflow.plan defines it")
    parser.add_argument("--results", required=True, type=Path, help="folder of the experiment's results")
    parser.add_argument("--output", required=True, type=Path, help="folder to write figure_<number>.* into")
    arguments = parser.parse_args()
    definition = read_definition(arguments.definition)
    with style.printed():
        figure = draw(definition, arguments.results)
        style.save(figure, arguments.output / f"figure_{definition.number}")


if __name__ == "__main__":
    run_command(main)
