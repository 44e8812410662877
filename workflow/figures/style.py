"""How every printed figure looks: colours, lines, small print, and files that are the same byte for byte.

The size is that of a two-column journal page; text is set in the font that matplotlib brings along, so
that a figure looks the same on every machine.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.io.files import replacing

COLUMN_WIDTH = 3.5  # inches
PAGE_WIDTH = 7.16
PAGE_HEIGHT = 9.3
DPI = 300
STYLE = Path(__file__).parents[1] / "resources" / "print.mplstyle"
SMALL_LINE = 0.1  # inches between two lines of small print

# Nine colours of nine lightnesses, found by a search: they differ to readers who lack one kind of cone and in
# grey, as the tests compute. Line patterns and markers tell lines apart where colours are few or thin.
LINE_COLOURS = (
    *("#1B4989", "#D15F0C", "#01A4AC", "#000000", "#D0AEE8", "#6E562E", "#D1A163", "#237887", "#4F0429"),
)
LINE_PATTERNS: tuple[Any, ...] = (
    *("-", (0, (4, 1.4)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (7, 1.2, 1.2, 1.2, 1.2, 1.2))),
)
MARKERS = "osD^vPX*<>p"

# Rising luminance only, so that they also read in grey.
ERROR_COLOURS = "inferno"
SCORE_COLOURS = "cividis"

# Who wrote the file and when would make equal figures differ.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@contextmanager
def printed() -> Iterator[None]:
    """Draw with the settings of ``print.mplstyle`` and none of the user's own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(matplotlib.rc_params_from_file(STYLE, use_default_template=False))
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def small_print(figure: Figure, lines: Sequence[str], data: str) -> None:
    """Write the bottom lines of a figure, and at the right end of the last one whose data it shows.

    Args:
        figure: to write on.
        lines: of small print, ``SMALL_LINE`` apart.
        data: a note such as "embedded data, not IXI"; empty if there is nothing to say.
    """
    width, height = figure.get_size_inches()
    grey: Any = {"fontsize": 6, "color": "0.3", "va": "baseline"}
    for index, line in enumerate(reversed(lines)):
        figure.text(0.02 / width, (0.055 + index * SMALL_LINE) / height, line, **grey)
    if data:
        figure.text(1 - 0.02 / width, 0.055 / height, data, ha="right", style="italic", **grey)


def save(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.pdf`` and ``<stem>.png``; the same figure gives the same bytes."""
    for suffix in _METADATA:
        save_as(figure, stem, suffix)


def save_as(figure: Figure, stem: Path, suffix: str, dpi: int = DPI) -> None:
    """Write ``<stem>.<suffix>``, a ``pdf`` or a ``png``; the same figure gives the same bytes."""
    # In memory first: where a disk fills up, matplotlib's writer of PDF raises an error of its own.
    drawn = BytesIO()
    figure.savefig(drawn, format=suffix, dpi=dpi, metadata=_METADATA[suffix])
    with replacing(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
        temporary.write_bytes(drawn.getvalue())


def line_style(index: int) -> dict[str, Any]:
    """Return colour, pattern and marker of the ``index``-th line; no two of the first 45 look alike."""
    looks = {"color": LINE_COLOURS, "linestyle": LINE_PATTERNS, "marker": MARKERS}
    return {name: of[index % len(of)] for name, of in looks.items()}
