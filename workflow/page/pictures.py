"""Figures of the page with their captions."""

import base64
import html
import io
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jinja2
from docutils.core import publish_parts
from PIL import Image

from data_prep.errors import reading
from workflow.plan.definitions import Picture, names_in_captions

_LARGEST = 2**26  # bytes of a picture, which becomes part of the page
CAPTIONS = Path(__file__).parents[1] / "report"


def read_figure(results: Path, picture: Picture, sources: Mapping[str, str]) -> dict[str, Any]:
    """Read a picture with the caption that Snakemake's report gives it, as HTML, and a short description.

    Args:
        results: folder of the experiment.
        picture: an entry of ``pictures`` in the definition.
        sources: dataset -> ``embedded`` or ``published``.
    """
    path = results / f"{picture.file}.png"
    text = caption(picture.caption, picture.wildcards, sources, picture.shown)
    again = "make it again"
    damage = (OSError, Image.DecompressionBombError)
    with (
        reading(path, f"no such file; {again}", "no picture", again, damage, _LARGEST),
        Image.open(path) as image,
    ):
        width, height = image.size
        data = _packed(image)
    plain = html.unescape(re.sub(r"<[^>]+>", "", text))
    # The first sentence; "Fig." is no end of one.
    alt = re.split(r"(?<!Fig)\. ", " ".join(plain.split()))[0].rstrip(".")
    stem = path.stem.replace("_", " ")
    return {
        "file": picture.file,
        "caption": text,
        "alt": alt if picture.caption == "figure" else f"{stem}: {alt}",
        "width": width,
        "height": height,
        "data": base64.b64encode(data).decode("ascii"),
    }


def _packed(image: Image.Image) -> bytes:
    """Return a picture with every pixel as it is, as WebP, which takes a little more than half of a PNG."""
    packed = io.BytesIO()
    # What is transparent has no colour to keep; quality and method tell how hard it tries.
    image.save(packed, "WEBP", lossless=True, quality=50, method=1)
    return packed.getvalue()


def caption(
    name: str,
    wildcards: Mapping[str, str],
    sources: Mapping[str, str],
    shown: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return a caption of Snakemake's report as HTML.

    Args:
        name: of the file in ``workflow/report/``, without its ending.
        wildcards: those of the picture's rule.
        sources: dataset -> ``embedded`` or ``published``.
        shown: the parameter ``caption`` of the picture's rule.
    """
    config = SimpleNamespace(
        datasets={name: SimpleNamespace(source=source) for name, source in sources.items()},
        named=names_in_captions(sources),
    )
    params = SimpleNamespace(caption=shown)
    job = SimpleNamespace(wildcards=SimpleNamespace(**wildcards), config=config, params=params)
    source = (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8")
    # As Snakemake's report does.
    words = jinja2.Template(source, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    text = words.render(snakemake=job)
    settings = {"file_insertion_enabled": False, "raw_enabled": False, "report_level": 2, "halt_level": 2}
    return publish_parts(text, writer="html5", settings_overrides=settings)["fragment"]
