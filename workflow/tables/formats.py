"""A laid out table as JSON, Markdown, LaTeX and HTML."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd
from tabulate import tabulate

from data_prep.io.files import write_text
from data_prep.io.frames import csv_of
from data_prep.io.json_files import to_json
from workflow.plan.definitions import Definition, TrustDefinition
from workflow.provenance.footer import footer
from workflow.provenance.sources import RESOURCES
from workflow.tables.page import Block, Page, Text


def grid(block: Block, numbers: bool = True) -> str:
    """Return a block with one group of columns as a Markdown table; bold is best, italics is second best.

    Args:
        block: what stands in it.
        numbers: whether its cells are numbers, which stand on the right.
    """
    marks = {"best": "**{}**", "second": "*{}*"}
    ((_, headers),) = block.groups
    body = [
        [markdown(name), *(marks.get(cell.mark, "{}").format(markdown(cell.text)) for cell in cells)]
        for name, cells in (*block.rows, *block.foot)
    ]
    align = ["left", *["right"] * len(headers)] if numbers else None
    heads = map(markdown, (block.stub, *headers))
    text: str = tabulate(body, heads, tablefmt="pipe", colalign=align, disable_numparse=True)
    return text


def markdown(text: str) -> str:
    """Escape text for Markdown, also Python's, in which a backslash before ``<`` does not help."""
    # A link needs "](", "][" or "]:"; brackets of intervals do not.
    line = re.sub(r"([\\|*_]|\](?=[(\[:]))", r"\\\1", " ".join(text.splitlines()))
    return re.sub(r"[<`~$]|&(?=#?\w+;)", lambda sign: f"&#{ord(sign[0])};", line)


# What LaTeX calls signs of mathematics and of text.
_MATHS = (
    *("pm", "times", "approx", "uparrow", "downarrow", "infty"),
    *("Delta", "alpha", "beta", "lambda", "tau", "geq", "cdot"),
)
_TEXTS = ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar")
_TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {sign: rf"$\{name}$" for sign, name in zip("±×≈↑↓∞Δαβλτ≥·", _MATHS, strict=True)}
    | {sign: rf"\text{name}{{}}" for sign, name in zip("\\~^<>|", _TEXTS, strict=True)}
    | {"−": "$-$", "—": "---", "–": "--", "°": r"$^\circ$"}
)


def tex_escape(text: str) -> str:
    """Escape text for LaTeX, mathematical signs of the tables included."""
    escaped = " ".join(text.splitlines()).translate(_TEX)
    # At the beginning of a row these would belong to the line break before it.
    return re.sub(r"^\s*[\[*]", lambda sign: f"{{{sign[0]}}}", escaped)


def _tex_cell(cell: Text) -> str:
    commands = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
    return commands.get(cell.mark, "%s") % tex_escape(cell.text).replace(r" $\pm$ ", r"${\pm}$")


def printed(form: str, page: Page) -> str:
    """Return a page as ``md``, ``tex`` or ``html``; Markdown and HTML take one mask to a block.

    LaTeX is a ``table*`` environment for documents that load booktabs and graphicx, HTML one self-contained
    document, whose masks stand side by side on wide screens.
    """
    return template(f"table.{form}.j2").render(page=page)


def template(name: str) -> jinja2.Template:
    """Return a template of ``workflow/resources/``; one of HTML escapes what is put into it."""
    # LaTeX uses braces and percent signs itself.
    plain, own = ("{%", "%}", "{{", "}}", "{#", "#}"), ("<%", "%>", "<<", ">>", "<#", "#>")
    environment = jinja2.Environment(
        *(own if name.endswith(".tex.j2") else plain),
        loader=jinja2.FileSystemLoader(RESOURCES),
        undefined=jinja2.StrictUndefined,
        autoescape=name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"tex": tex_escape, "texcell": _tex_cell, "md": markdown, "grid": grid}
    return environment.get_template(name)


def made_from(
    shown: Definition | TrustDefinition, results: Path, configuration: str, masks: Sequence[str] = ()
) -> str:
    """Return the sentence below a table on what it was made from; see ``footer``.

    Args:
        shown: the table.
        results: folder of the experiment.
        configuration: sha256 of its configuration.
        masks: those that it is made from, if others than are shown.
    """
    chosen = masks or shown.masks
    origin = footer(results, shown.experiment, shown.dataset, chosen, shown.planned, configuration)
    return f"{origin} {shown.tuned}".rstrip()


def write_page(scores: pd.DataFrame, page: Page, stem: Path, wide: Page | None = None) -> None:
    """Write ``<stem>.csv``, ``.json``, ``.md``, ``.tex`` and ``.html``.

    Args:
        scores: the numbers, for CSV.
        page: how they are printed, with one group of columns to a block.
        stem: of the files' names.
        wide: how they are printed in LaTeX, if otherwise.
    """
    texts = {
        "csv": csv_of(scores),
        "json": to_json(page) + "\n",
        "md": printed("md", page),
        "tex": printed("tex", wide or page),
        "html": printed("html", page),
    }
    for suffix, text in texts.items():
        write_text(stem.with_name(f"{stem.name}.{suffix}"), text)
