"""Figures of slices: modalities, and methods beside their error maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from data_prep.datasets.contract import dataset_of
from data_prep.masks.registry import label
from workflow.evaluate.examples import Block, Example, error_limit, window
from workflow.figures import style
from workflow.figures.canvas import (
    FOOTER,
    GAP,
    LINE,
    TITLE,
    Canvas,
    empty_panel,
    fitted,
    show_image,
    write_on_image,
)
from workflow.plan.definitions import Definition
from workflow.statistics.scores import number

BAND_GAP = 0.06
BLOCK_GAP = 0.1  # below a block
BLOCK_SPACING = 0.16  # beside a block
METHODS_PER_BAND = 6
LARGEST_PANEL = 1.45
SMALLEST_PANEL = 0.53  # takes the scores below a reconstruction, in the smallest print


def draw_modalities(definition: Definition, blocks: Sequence[Block]) -> Figure:
    """Draw auxiliary, target, and the zero-filled target side by side, under the first mask."""
    mask, example = blocks[0].mask, blocks[0].reference
    dataset = dataset_of(definition.dataset)
    height, width = example.target.shape
    panel = (style.COLUMN_WIDTH - 2 * GAP) / 3
    tall = panel * height / width
    canvas = Canvas(style.COLUMN_WIDTH, TITLE + tall + FOOTER)
    limits = window(example.target)
    panels = (
        (f"(a) {dataset.auxiliary}", example.auxiliary, window(example.auxiliary)),
        (f"(b) {dataset.target}", example.target, limits),
        (f"(c) {dataset.target}, {label(mask)}", example.zero_filled, limits),
    )
    for index, (title, image, shown) in enumerate(panels):
        x = index * (panel + GAP)
        canvas.title(x, TITLE, panel, *fitted(title, panel))
        axes = canvas.panel(x, TITLE, panel, tall)
        show_image(axes, image, shown)
    write_on_image(axes, f"{number(example.zero_filled_psnr, 2)} / {number(example.zero_filled_ssim, 3)}", 6)
    return _finished(canvas, definition, [example])


def _finished(canvas: Canvas, definition: Definition, shown: Sequence[Example]) -> Figure:
    """Say whose slices are shown, and of several trainings which."""
    slices = sorted({f"{example.subject}, slice {example.slice + 1}" for example in shown})
    height, width = shown[0].target.shape
    # What is zero-filled is the same for all.
    several = len(definition.seeds) > 1 and definition.kind == "comparison"
    seed = f"; seed {definition.seeds[0]}" if several else ""
    notes = [
        f"{'; '.join(slices)}; PSNR (dB) / SSIM of the slice{seed}",
        f"{height} × {width} pixels, drawn by bicubic interpolation",
    ]
    style.small_print(canvas.figure, notes, definition.embedded_note)
    return canvas.figure


@dataclass(frozen=True)
class Grid:
    """Sizes in inches of one mask's block: the mask, then methods in one or more bands.

    Left of it stands what is the same for all masks, ground truth and auxiliary: before the first block, or
    before each where they show different slices.

    Attributes:
        columns: methods per band.
        titles: height of the titles, per band.
        panel: width of a panel.
        tall: height of a panel; its error map lies ``GAP`` below it.
    """

    columns: int
    titles: tuple[float, ...]
    panel: float
    tall: float

    def top(self, band: int) -> float:
        """Upper edge of a band's reconstructions; the error maps follow below."""
        before = band * (2 * self.tall + GAP + BAND_GAP)
        return TITLE + before + sum(self.titles[: band + 1])


def _grid(labels: Sequence[str], across: int, down: int, leads: int, aspect: float) -> Grid:
    """Make panels as large as the page allows.

    Args:
        labels: of the methods.
        across: blocks beside each other.
        down: blocks below each other.
        leads: columns of ground truths beside each other.
        aspect: height over width of an image.
    """
    bands = ceil(len(labels) / METHODS_PER_BAND)
    columns = ceil(len(labels) / bands)
    width = style.PAGE_WIDTH - (across - 1) * BLOCK_SPACING + across * GAP
    panel = min(width / (across * (columns + 1) + leads) - GAP, LARGEST_PANEL)
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


def laid_out(definition: Definition, shape: tuple[int, ...], alone: bool = True) -> tuple[int, int, Grid]:
    """Return the number of blocks beside and below each other in a comparison, and the sizes of each.

    Args:
        definition: of the figure.
        shape: (height, width) of the slices.
        alone: whether all masks show the same slice.
    """
    labels = [row.label for row in definition.rows]
    across = 2 if len(labels) <= 3 and len(definition.masks) > 2 else 1
    down = ceil(len(definition.masks) / across)
    return across, down, _grid(labels, across, down, 1 if alone else across, shape[0] / shape[1])


def draw_comparison(definition: Definition, blocks: Sequence[Block]) -> Figure:
    """Draw per mask a block of reconstructions, and below each its error on one shared scale."""
    references = [block.reference for block in blocks]
    alone = len({(example.subject, example.slice) for example in references}) == 1
    across, down, grid = laid_out(definition, references[0].target.shape, alone)
    # Of a block, with its heading, and of the ground truth left of it.
    lead = grid.panel + GAP
    wide = (grid.columns + 1) * lead - GAP
    high = grid.top(len(grid.titles) - 1) + 2 * grid.tall + GAP
    canvas = Canvas(
        across * wide + (1 if alone else across) * lead + (across - 1) * BLOCK_SPACING,
        down * high + (down - 1) * BLOCK_GAP + FOOTER,
    )
    limit = error_limit(blocks)
    for index, block in enumerate(blocks):
        column, y = index % across, (index // across) * (high + BLOCK_GAP)
        x = column * (wide + BLOCK_SPACING) + lead * (1 if alone else column + 1)
        _draw_block(canvas, definition, block, grid, x, y, limit, led=index == 0 or not alone)
    return _finished(canvas, definition, references)


def _draw_block(
    canvas: Canvas,
    definition: Definition,
    block: Block,
    grid: Grid,
    x: float,
    y: float,
    limit: float,
    led: bool,
) -> None:
    """Draw a block at (x, y); ``led``: with ground truth, auxiliary and the scale of the errors before it."""
    dataset = dataset_of(definition.dataset)
    reference = block.reference
    size = 6 if grid.panel > 0.75 else 5.5

    def panel(column: int, band: int, title: str = "") -> Axes:
        """Add a panel: with a title a reconstruction's, without one an error map's."""
        left, top = x + column * (grid.panel + GAP), y + grid.top(band)
        if title:
            canvas.title(left, top, grid.panel, *fitted(title, grid.panel))
        return canvas.panel(left, top if title else top + (grid.tall + GAP), grid.panel, grid.tall)

    canvas.text(x + 0.01, y + TITLE - 0.045, label(block.mask), fontsize=7.5, fontweight="bold")
    limits = window(reference.target)
    if led:
        axes = panel(-1, 0, "Ground truth")
        show_image(axes, reference.target, limits)
        write_on_image(axes, dataset.target, size, top=True)
        axes = panel(-1, 0)
        show_image(axes, reference.auxiliary, window(reference.auxiliary))
        write_on_image(axes, dataset.auxiliary, size, top=True)
        _error_scale(canvas, x, y + grid.top(0) + (grid.tall + GAP), grid, limit)
    show_image(panel(0, 0, "Mask"), np.broadcast_to(reference.mask, reference.target.shape), (0, 1))
    for index, (row, example) in enumerate(block.columns):
        band, column = divmod(index, grid.columns)
        image, error = panel(1 + column, band, row.label), panel(1 + column, band)
        if example is None or example.diverged:
            empty_panel(image, "no run" if example is None else "diverged")
            empty_panel(error, "—")
            continue
        show_image(image, example.reconstruction, limits)
        write_on_image(image, f"{number(example.psnr, 2)} / {number(example.ssim, 3)}", size)
        show_image(error, example.error, (0, limit), style.ERROR_COLOURS)


def _error_scale(canvas: Canvas, x: float, y: float, grid: Grid, limit: float) -> None:
    """Put the colour bar of the error maps under the first mask."""
    inset = 0.06 * grid.tall
    axes = canvas.axes(x + 0.12 * grid.panel, y + inset, 0.1 * grid.panel, grid.tall - 2 * inset)
    scale = ScalarMappable(Normalize(0, limit), cmap=style.ERROR_COLOURS)
    bar = canvas.figure.colorbar(scale, cax=axes, extend="max", extendfrac=0.06, ticks=[0, limit / 2, limit])
    bar.ax.set_yticklabels([f"{value:.3g}" for value in (0, limit / 2, limit)])
    bar.ax.tick_params(labelsize=5.5, pad=1.5, length=1.5)
    bar.outline.set_linewidth(0.4)
    bar.set_label("|error| /\nslice maximum", fontsize=5.5, labelpad=2, linespacing=1.05)


# By the kind of a figure's definition.
OF_SLICES = {"modalities": draw_modalities, "comparison": draw_comparison}
