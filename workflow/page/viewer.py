"""The viewer of ``index.html``: example slices as compact data, and the Bokeh plots that show them.

Images are stored as fractions of the slice's maximum (the auxiliary: of its own), so that the browser makes
an error map by one subtraction. ``workflow/resources/index/viewer.js`` reads what ``pack`` writes.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, PanTool, Range1d, WheelZoomTool
from bokeh.models.annotations import ColorBar
from bokeh.models.glyphs import Image as ImageGlyph
from bokeh.palettes import Greys256, Inferno256
from bokeh.plotting import figure

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.masks.registry import label
from workflow.evaluate.examples import ERROR_LIMITS, Block, Image, error_limit, read_blocks, window
from workflow.plan.definitions import FLOOR, Definition
from workflow.statistics.scores import number

# Grey levels of a slice as a power of two: an error of a hundredth of the maximum spans thirty of them.
BITS = 12
# What lies beyond these saturates every display; errors end at the slice's maximum.
CLIPPED = (-1.0, 2.0)
_ZERO_FILLED = "Zero-filled"  # what the image of the floor is called, which is shown anyway


def pack(image: Image, bits: int) -> dict[str, Any]:
    """Store an image with ``2 ** bits`` grey levels between its smallest and largest value.

    Args:
        image: (height, width), as fractions of a maximum; values outside ``CLIPPED`` are clipped.
        bits: 1 to 16.

    Returns:
        ``low``, the value of the first level, and ``step`` from one to the next; ``height``, ``width``;
        ``bytes`` per pixel; ``data``: the levels, the low bytes of all pixels before the high ones, in
        zlib's format and base64.
    """
    clipped = np.clip(np.asarray(image, np.float64), *CLIPPED)
    low, high = float(clipped.min()), float(clipped.max())
    scale = (2**bits - 1) / (high - low) if high > low else 0.0
    levels = np.rint((clipped - low) * scale)
    size = 1 if bits <= 8 else 2
    # Low and high bytes apart: the high ones repeat and compress well.
    planes = levels.astype(f"<u{size}").reshape(-1).view(np.uint8).reshape(-1, size).T
    data = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")
    scaled = {"low": low, "step": 1 / scale if scale else 0.0}
    return scaled | {"height": image.shape[0], "width": image.shape[1], "bytes": size, "data": data}


# What ``pack`` returned, and its number: target and auxiliary are the same under every mask.
_Store = dict[tuple[tuple[str, Any], ...], int]


def _stored(store: _Store, image: Image, bits: int = BITS) -> int:
    """Store an image once and return its number."""
    return store.setdefault(tuple(pack(image, bits).items()), len(store))


def viewer_data(
    results: Path, definitions: Sequence[Definition], best: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """Return all that the viewer shows, ready for JSON.

    Args:
        results: folder of the experiment.
        definitions: for each dataset its masks and methods.
        best: (dataset, mask) -> the method that is shown first.

    Raises:
        BadInput: an example file is damaged, missing for all methods, or of other slices.
    """
    store: _Store = {}
    settings = []
    for definition in definitions:
        blocks = {mask: read_blocks(results, definition, mask) for mask in definition.masks}
        every = [block for of_mask in blocks.values() for block in of_mask]
        for block in every:
            if block.reference.target.max() <= 0:
                raise BadInput(
                    f"{definition.dataset}, {label(block.mask)}: the example slice of "
                    f"{block.reference.subject} has no signal; lower `slices`, so that volumes are cropped "
                    "to the anatomy"
                )
        limit, labels = error_limit(every), {row.method: row.label for row in definition.rows}
        labels[FLOOR] = _ZERO_FILLED
        for mask, of_mask in blocks.items():
            settings.append(
                {
                    "dataset": f"{dataset_of(definition.dataset).label} ({definition.data_note})"
                    if definition.source == "embedded"
                    else definition.data_note,
                    "mask": label(mask),
                    "limit": limit,
                    "best": labels.get(best.get((definition.dataset, mask), FLOOR), _ZERO_FILLED),
                    "slices": [_slice(definition, block, store) for block in of_mask],
                }
            )
    return {"settings": settings, "images": list(map(dict, store)), "limits": ERROR_LIMITS}


def _slice(definition: Definition, block: Block, store: _Store) -> dict[str, Any]:
    """Describe one example slice: its images in the order in which the viewer offers them."""
    example = block.reference

    def shown(name: str, image: Image, like: Image = example.target) -> dict[str, Any]:
        # An auxiliary may be empty where the target is not.
        largest = float(like.max()) or 1.0
        top = window(like)[1] / largest
        return {"name": name, "image": _stored(store, image / largest), "top": top}

    dataset = dataset_of(definition.dataset)
    images = [
        shown(f"Reference ({dataset.target})", example.target),
        shown(f"Auxiliary ({dataset.auxiliary})", example.auxiliary, example.auxiliary),
        shown(_ZERO_FILLED, example.zero_filled)
        | _scores(example.zero_filled_psnr, example.zero_filled_ssim),
    ]
    for row, own in block.columns:
        if row.method == FLOOR:
            continue
        if own is None or own.diverged:
            images.append({"name": row.label, "problem": "no run" if own is None else "diverged"})
        else:
            images.append(shown(row.label, own.reconstruction) | _scores(own.psnr, own.ssim))
    sampled = np.broadcast_to(example.mask, example.target.shape).astype(np.float32)
    images.append(
        {"name": "Sampling mask", "image": _stored(store, sampled, bits=1), "top": 1.0, "exact": True}
    )
    return {"title": f"{example.subject}, slice {example.slice + 1}", "images": images}


def _scores(psnr: float, ssim: float) -> dict[str, str]:
    return {"psnr": number(psnr, 2), "ssim": number(ssim, 3)}


PLOTS = ("image", "error")  # names of the two plots and of the elements that they are put into
_INK = "#e6e6e6"


@cache
def plots() -> dict[str, Any]:
    """Return the two empty plots as BokehJS takes them: ``docs`` and ``items`` of its ``embed_items``.

    Image and error map share their ranges, so that they zoom and move together. Cached, because Bokeh
    numbers its models on from call to call.
    """
    document = Document(title="viewer")
    x_range, y_range = Range1d(start=0, end=1, name="x"), Range1d(start=1, end=0, name="y")
    roots = {}
    for name, palette in zip(PLOTS, (Greys256, Inferno256), strict=True):
        mapper = LinearColorMapper(palette=list(palette), low=0, high=1, name=f"{name}_colours")
        source = ColumnDataSource({"image": [], "dw": [], "dh": []}, name=f"{name}_source")
        plot = figure(
            name=name,
            x_range=x_range,
            y_range=y_range,
            tools=[PanTool(name=f"{name}_pan"), WheelZoomTool(name=f"{name}_zoom")],
            toolbar_location=None,
            sizing_mode="stretch_both",
            min_border=0,
        )
        plot.outline_line_color = None
        plot.background_fill_color = plot.border_fill_color = "#000000"
        plot.toolbar.active_drag = plot.toolbar.active_scroll = None
        plot.axis.visible = plot.grid.visible = False
        glyph = ImageGlyph(image="image", x=0, y=0, dw="dw", dh="dh", color_mapper=mapper)
        shown = plot.add_glyph(source, glyph)
        tooltips = [("x, y", "$x{0}, $y{0}"), ("value", "@image{0.000}")]
        plot.add_tools(HoverTool(renderers=[shown], tooltips=tooltips))
        bar = ColorBar(color_mapper=mapper, height=10, padding=6)
        bar.background_fill_color = bar.bar_line_color = None
        bar.major_label_text_color = bar.major_tick_line_color = _INK
        plot.add_layout(bar, "below")
        document.add_root(plot)
        roots[plot.id] = name
    return {
        "docs": {"viewer": document.to_json(deferred=False)},
        "items": [{"docid": "viewer", "roots": roots, "root_ids": list(roots)}],
    }
