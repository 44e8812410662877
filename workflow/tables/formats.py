"""A laid out table as JSON, Markdown, LaTeX and HTML."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from tabulate import tabulate

from data_prep.io.files import write_text
from data_prep.io.json_files import to_json
from workflow.plan.definitions import Definition, TrustDefinition
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
    return re.sub(r"([\\|*_<])", r"\\\1", text)


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
    return footer(results, shown.experiment, shown.dataset, chosen, shown.planned, configuration)


def write_page(scores: pd.DataFrame, page: Page, stem: Path, wide: Page | None = None) -> None:
    """Write ``<stem>.csv``, ``.json``, ``.md``, ``.tex`` and ``.html``.

    Args:
        scores: the numbers, for CSV.
        page: how they are printed, with one group of columns to a block.
        stem: of the files' names.
        wide: how they are printed in LaTeX, if otherwise.
    """
    texts = {
        "csv": scores.to_csv(index=False, float_format="%.9g", lineterminator="\n"),
        "json": to_json(page) + "\n",
        "md": to_markdown(page),
        "tex": to_latex(wide or page),
        "html": to_html(page),
    }
    for suffix, text in texts.items():
        write_text(stem.with_name(f"{stem.name}.{suffix}"), text)
