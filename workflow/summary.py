"""Where tables, figures and the report lie, which page to open, and the main tables.

``python -m workflow.summary results/demo`` shows the first table of a paper or, without a paper, the table of
each dataset; another with ``--table 3``.
"""

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Span, Text

from data_prep.datasets.contract import dataset_of, datasets
from data_prep.errors import BadInput, printable
from data_prep.io.command import command
from data_prep.io.files import matching
from data_prep.io.frames import read_csv
from data_prep.masks.from_file import register_found
from data_prep.masks.registry import label
from workflow.plan.definitions import data_note
from workflow.provenance.files import left_over
from workflow.statistics.scores import counted, number

WIDTH, NAMES = 100, 16  # columns, and those of methods' names beside two masks
_TEXTS = ("label", "mask", "status", "table", "dataset", "source", "convention")
_SCORES = [f"{metric}_{name}" for metric in ("ssim", "psnr") for name in ("mean", "std", "rank")]
_COLUMNS = {
    # The paper's values as it prints them.
    **dict.fromkeys((*_TEXTS, "ssim_paper_mean", "psnr_paper_mean"), "string"),
    **dict.fromkeys(("volumes", *_SCORES), "float64"),
}
_FILES = (
    ("Tables", "tables", ("*.html", "*.md", "*.tex", "*.csv")),
    ("Figures", "figures", ("*.pdf", "*.png")),
    ("Significance", "statistics", ("table_*.csv", "table_*.pdf", "table_*.png")),
    ("Paper against ours", "claims", ("*.html", "*.md", "*.csv", "*/*.html", "*/*.md", "*/*.csv")),
    ("Metrics", ".", ("metrics.parquet",)),
    ("Report", ".", ("index.html", "report.html", "report.zip", "ro-crate-metadata.json")),
)
# By rank: a style, and a sign where there is none, as in a file.
_MARKS = {1: ("bold", "*"), 2: ("underline", "'")}


def read_table(results: Path, number: str) -> pd.DataFrame | None:
    """Read a table's CSV, or return None where the experiment has no such table.

    Raises:
        BadInput: the file is damaged.
    """
    path = results / "tables" / f"table_{number}.csv"
    if not path.exists() or f"tables/{path.name}" in left_over(results):
        return None
    again = "delete it and make it again with workflow.tables"
    table = read_csv(path, _COLUMNS, again, again)
    if table.empty:
        raise BadInput(f"{path}: holds no row; {again}")
    return table


def show(table: pd.DataFrame, console: Console) -> None:
    """Print a table's SSIM and PSNR beside the paper's, two masks side by side as the paper does.

    A table of a dataset that the paper does not have has no columns for its values.
    """
    first = table.iloc[0]
    data = data_note(first["dataset"], first["source"])
    volumes = counted(int(table["volumes"].max()), "test volume")
    console.print(Text(printable(f"Table {first['table']}: {data}, {volumes}"), style="bold"))
    in_paper = bool((table[["ssim_paper_mean", "psnr_paper_mean"]] != "").any(axis=None))
    masks = list(dict.fromkeys(table["mask"]))
    across = 2 if console.width >= WIDTH else 1
    for start in range(0, len(masks), across):
        beside = Table.grid(padding=(0, 3, 0, 0))
        shown = masks[start : start + across]
        names = NAMES if len(shown) > 1 else 2 * NAMES
        beside.add_row(*(_grid(table, mask, names * (mask == shown[0]), in_paper) for mask in shown))
        console.print()
        console.print(beside)
    spread = "volumes" if first["convention"] == "volume" else "slices"
    note = f"\nMean ± standard deviation over {spread}; * and bold: best, ' and underlined: second best"
    compared = first["source"] == "embedded" and in_paper
    note += f"; paper: on the real {dataset_of(first['dataset']).label}." if compared else "."
    console.print(Text(note, style="dim"))


def _grid(table: pd.DataFrame, mask: str, names: int, in_paper: bool) -> Table:
    """Return the scores under one mask, with the methods' names in so many columns; 0 leaves them out."""
    grid = Table(
        title=label(mask), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    grid.pad_edge, grid.show_edge, grid.header_style = False, False, ""
    if names:
        grid.add_column("Method", no_wrap=True, max_width=names, overflow="ellipsis")
    for heading in ("SSIM", "paper", "PSNR (dB)", "paper") if in_paper else ("SSIM", "PSNR (dB)"):
        style = "dim" if heading == "paper" else ""
        grid.add_column(heading, justify="right", no_wrap=True, style=style, header_style=style)
    for row in table[table["mask"] == mask].to_dict("records"):
        cells = [Text(printable(str(row["label"])))] if names else []
        for metric, digits in (("ssim", 3), ("psnr", 2)):
            cells.append(_score(row, metric, digits))
            if in_paper:
                cells.append(Text(printable(row[f"{metric}_paper_mean"])))
        grid.add_row(*cells)
    return grid


def _score(row: dict[Any, Any], metric: str, digits: int) -> Text:
    if row["status"] != "ok":
        return Text("— " if row["status"] == "missing" else f"{row['status']} ")
    style, sign = _MARKS.get(row[f"{metric}_rank"], ("", " "))
    mean, text = row[f"{metric}_mean"], number(row[f"{metric}_mean"], digits)
    # What is infinite has no spread.
    text += f"±{row[f'{metric}_std']:.{digits}f}" if math.isfinite(mean) else ""
    # As a span: the style of a whole cell would also underline its padding.
    return Text(text, spans=[Span(0, len(text), style)]) + sign


def by_number(names: Iterable[str]) -> list[str]:
    """Return tables sorted, those that have a number first."""
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def main_tables(names: Iterable[str]) -> list[str]:
    """Return which tables are shown if none is asked for, of those that an experiment has.

    It is the first of a paper's; without a paper, where each dataset has a table of its name, they are these.
    """
    named = by_number(names)
    of_papers = [name for name in named if name.removesuffix("_smooth_phase") not in datasets()]
    return of_papers[:1] or [name for name in datasets() if name in named] or named[:1]


@command
def summarise(
    results: Annotated[Path, "folder of an experiment, such as results/demo"],
    /,
    table: Annotated[
        str | None,
        "what its files are called after table_ (default: see above)",
    ] = None,
) -> None:
    """Print the summary of an experiment.

    Raises:
        BadInput: there are no results, or no such table.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    register_found(results)
    # A pipe or a log has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    left = {results / name for name in left_over(results)}
    there = {*matching(results / "tables", "table_*.csv")} - left
    known = by_number(path.stem.removeprefix("table_") for path in there)
    if table is not None and table not in known:
        choose = f"choose one of {', '.join(known)}" if known else "the target paper_tables makes its tables"
        raise BadInput(f"--table: {results} has no table {table!r}; {choose}")
    names = (main_tables(known) or ["1"]) if table is None else [table]
    contents = {name: read_table(results, name) for name in names}
    place = printable(os.path.relpath(results))
    groups = [
        (heading, [path for pattern in patterns for path in sorted(matching(results / folder, pattern))])
        for heading, folder, patterns in _FILES
    ]
    made = [(heading, [path for path in paths if path not in left]) for heading, paths in groups]
    left_there = sorted(path for path in left if path.exists())
    for heading, paths in [*made, ("Left over from another configuration", left_there)]:
        endings: dict[str, list[str]] = {}
        for path in paths:
            endings.setdefault(os.path.relpath(path.with_suffix("")), []).append(path.suffix[1:])
        if endings:
            console.print(Text(heading, style="bold"))
        for stem, found in sorted(endings.items()):
            # Files that differ in their ending only are one: table_1.{csv,md}.
            ending = f"{{{','.join(found)}}}" if len(found) > 1 else found[0]
            console.print(Text(printable(f"  {stem}.{ending}".rstrip("."))), soft_wrap=True)
        if endings:
            console.print()
    page = results / "index.html"
    if page.exists() and page not in left:
        console.print(Text(f"Open in a browser: {place}/index.html\n", style="bold"), soft_wrap=True)
    for index, (name, content) in enumerate(contents.items()):
        if index:
            console.print()
        if content is None:
            console.print(Text(f"No table {name} in {place}; the target paper_tables makes it."))
        else:
            show(content, console)
