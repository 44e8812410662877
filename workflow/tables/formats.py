"""A laid out table as Markdown, LaTeX and HTML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from tabulate import tabulate

from data_prep.io.files import replacing
from data_prep.masks.registry import label
from workflow.plan.definitions import TrustDefinition
from workflow.plan.paper import RESOURCES
from workflow.provenance.footer import footer
from workflow.tables.page import Page, Text


def to_markdown(page: Page) -> str:
    """Return a narrow page as Markdown; bold is best, italics is second best."""
    marks = {"best": "**{}**", "second": "*{}*"}
    parts = [f"**{page.name}. {page.title}**", ""]
    for block in page.blocks:
        ((heading, headers),) = block.groups
        body = [
            [markdown(name), *(marks.get(cell.mark, "{}").format(markdown(cell.text)) for cell in cells)]
            for name, cells in (*block.rows, *block.foot)
        ]
        align = ["left", *["right"] * len(headers)]
        grid = tabulate(body, [block.stub, *headers], tablefmt="pipe", colalign=align, disable_numparse=True)
        parts += [f"**{heading}**", "", grid, ""]
    caption = " ".join(page.caption).replace("second best underlined", "second best in italics")
    parts += [markdown(caption), ""]
    parts += [f"- {markdown(note)}" for note in page.notes] + ([""] if page.notes else [])
    parts += [markdown(page.footer), ""]
    return "\n".join(parts)


def markdown(text: str) -> str:
    """Escape text for Markdown."""
    for character in "\\|*_<":
        text = text.replace(character, "\\" + character)
    return text


_TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "—": "---",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    "≥": r"$\geq$",
    "°": r"$^\circ$",
    "·": r"$\cdot$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def tex_escape(text: str) -> str:
    """Escape text for LaTeX, mathematical signs of the tables included."""
    return "".join(_TEX.get(character, character) for character in text)


def _tex_cell(cell: Text) -> str:
    commands = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
    return commands.get(cell.mark, "%s") % tex_escape(cell.text).replace(r" $\pm$ ", r"${\pm}$")


def _environment(**options: Any) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(RESOURCES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def to_latex(page: Page) -> str:
    """Return a page as a ``table*`` environment for documents that load booktabs and graphicx."""
    environment = _environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters |= {"tex": tex_escape, "texcell": _tex_cell}
    return environment.get_template("table.tex.j2").render(page=page)


def to_html(page: Page) -> str:
    """Return a narrow page as one self-contained HTML document; wide screens show two masks side by side."""
    return template("table.html.j2").render(page=page)


def template(name: str) -> jinja2.Template:
    """Return one of the HTML templates, which escapes what is put into it."""
    return _environment(autoescape=True).get_template(name)


def origin(definition: TrustDefinition, results: Path, masks: Sequence[str], configuration: str) -> str:
    """Return the footer of a table: what it was made from.

    Args:
        definition: names the runs.
        results: folder of the experiment.
        masks: those shown.
        configuration: sha256 of its configuration.
    """
    return footer(
        results,
        definition.experiment,
        definition.dataset,
        {mask: label(mask) for mask in masks},
        [path for paths in definition.runs.values() for path in paths],
        configuration,
    )


def write_page(scores: pd.DataFrame, page: Page, stem: Path) -> None:
    """Write ``<stem>.csv``, ``.md``, ``.tex`` and ``.html``."""
    texts = {
        "csv": scores.to_csv(index=False, float_format="%.9g", lineterminator="\n"),
        "md": to_markdown(page),
        "tex": to_latex(page),
        "html": to_html(page),
    }
    for suffix, text in texts.items():
        with replacing(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
            temporary.write_text(text, encoding="utf-8")
