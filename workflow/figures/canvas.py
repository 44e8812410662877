"""A canvas for figures of images: panels placed in inches, what stands in them, and titles that fit."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from workflow.evaluate.examples import Image
from workflow.figures import style

GAP = 0.035  # inches between panels
TITLE = 0.15  # height of a line above a panel
LINE = 0.1  # distance of two lines of small print
FOOTER = 0.27  # two lines of small print


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


def show_image(axes: Axes, image: Image, limits: tuple[float, float], colours: str = "gray") -> None:
    """Show an image (height, width), ``limits`` being the ends of its scale.

    It is enlarged smoothly, as viewers of scans do; samples of k-space, there or not, remain squares.
    """
    how = "nearest" if image.dtype == np.bool_ else "bicubic"
    axes.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation=how)


def write_on_image(axes: Axes, text: str, size: float, top: bool = False) -> None:
    """Write on an image, on a dark strip that keeps the text legible over bright anatomy."""
    x, y, ha, va = (0.03, 0.97, "left", "top") if top else (0.5, 0.025, "center", "bottom")
    strip = {"facecolor": "black", "alpha": 0.65, "edgecolor": "none", "pad": 0.9}
    place: Any = {"transform": axes.transAxes, "ha": ha, "va": va}
    axes.text(x, y, text, fontsize=size, color="white", bbox=strip, **place)


def empty_panel(axes: Axes, text: str) -> None:
    """Say in grey why there is no image."""
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="0.9", edgecolor="none"))
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.25", fontsize=6)


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
    words = text.split()
    halves = [[" ".join(words[:cut]), " ".join(words[cut:])] for cut in range(len(words) - 1, 0, -1)]
    sizes = (size, size - 0.5, size - 1, smallest)
    tried = [([text], points) for points in sizes[:2]]
    tried += [(lines, points) for points in sizes for lines in halves]
    for lines, points in (*tried, ([text], smallest)):
        if max(text_width(line, points) for line in lines) <= width:
            return lines, points
    while len(text) > 1 and text_width(text + "…", smallest) > width:
        text = text[:-1].rstrip()
    return [text + "…"], smallest
