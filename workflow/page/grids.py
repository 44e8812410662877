"""Tables of the page: cells with the numbers that they sort by."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.frames import read_csv
from data_prep.io.json_files import read_as
from data_prep.masks.registry import label
from workflow.claims.across import COLUMNS, HEADERS, row_texts
from workflow.claims.claims import NOT_IN_PAPER
from workflow.claims.page import SIDES, SIGNS, claims_heading, rank_texts
from workflow.metrics.contract import UNDEFINED, metric_of
from workflow.statistics.scores import number
from workflow.statistics.tests import coverage_note
from workflow.tables.page import Page, Text

# A number at the start of a cell, thousands set apart by spaces.
_NUMBER = re.compile(r"[+−-]?(?:\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+−-]?\d+)?")
_NO_NUMBER = {"", "—", "·", "diverged", "undefined"}
_FAILED = " failed"  # "3 of 16 failed": how many volumes, which is no score
_INFINITE = "1e308"  # of a perfect reconstruction's PSNR; as large as a column can be sorted by
_BESIDE = ("paper", "Δ")  # headers that belong to the metric before them
_REMEDIES = ("run the workflow to its end first", "delete it and run the workflow again")


@dataclass(frozen=True)
class Cell(Text):
    """A cell as printed, the number that it is sorted by, and what is told where a reader asks for more."""

    order: str = ""
    more: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        header: its name.
        ordered: whether its cells are sorted by their ``order`` instead of their letters.
        numeric: whether it holds numbers.
        falling: whether the largest is the best, and comes first.
    """

    header: str
    ordered: bool = False
    numeric: bool = False
    falling: bool = False


@dataclass(frozen=True)
class Grid:
    """A whole table: title, columns, rows, and the sentences below it; its ``findings`` stand above.

    The rows of ``foot`` tell of the whole columns; they are neither sorted nor filtered.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    footer: str = ""
    findings: tuple[str, ...] = ()
    foot: tuple[tuple[Cell, ...], ...] = ()


def make_grid(title: str, columns: Iterable[tuple[str, Sequence[Cell]]], **more: Any) -> Grid:
    """Build a grid and find out what its columns are sorted by.

    A column of numbers, followed by whatever a cell adds to them, is sorted as numbers; one that has an
    ``order`` already by that; any other as text.

    Args:
        title: of the grid.
        columns: header and cells of each, the same number in all.
        more: the fields of ``Grid`` for what stands below the rows.
    """
    found = [_column(name, cells) for name, cells in columns]
    rows = zip(*(cells for _, cells in found), strict=True)
    return Grid(title, tuple(column for column, _ in found), tuple(rows), **more)


def _column(name: str, cells: Sequence[Cell]) -> tuple[Column, Sequence[Cell]]:
    falling = "↑" in name
    if any(cell.order for cell in cells):
        return Column(name, ordered=True, falling=falling), cells
    numbered = [replace(cell, order=_order(cell.text)) for cell in cells]
    words = any(
        not (cell.order or cell.text in _NO_NUMBER or cell.text.endswith(_FAILED)) for cell in numbered
    )
    numeric = any(cell.order for cell in numbered) and not words
    return Column(name, numeric, numeric, falling), numbered if numeric else cells


def _order(text: str) -> str:
    if text.startswith("∞"):
        return _INFINITE
    found = None if text.endswith(_FAILED) else _NUMBER.match(text)
    return re.sub(r"\s", "", found[0]).replace("−", "-") if found else ""


def placed(texts: Iterable[str], places: Sequence[str] = ()) -> list[Cell]:
    """Return cells that are sorted by their places in a sequence, not by their letters.

    Args:
        texts: of the cells.
        places: the sequence; without one, the order in which the texts first occur.
    """
    shown = list(texts)
    order = {text: str(place) for place, text in enumerate(places or dict.fromkeys(shown))}
    return [Cell(text, order=order[text]) for text in shown]


def read_printed(path: Path) -> Page:
    """Return a table of the folder ``tables/``: what ``workflow.tables.formats.write_page`` wrote as JSON.

    Raises:
        BadInput: the file is missing or holds no such table.
    """
    return read_as(Page, path, *_REMEDIES)


def printed_grid(path: Path) -> Grid:
    """Return a table of the folder ``tables/`` as one grid.

    Its second column names the mask, if there are several.

    Args:
        path: what ``read_printed`` reads.

    Raises:
        BadInput: the file is missing or holds no such table.
    """
    page, (_, damaged) = read_printed(path), _REMEDIES
    heads = {(block.stub, headers) for block in page.blocks for _, headers in block.groups}
    stub, headers = next(iter(heads), ("", ()))
    names = [stub, "Mask", *_full(headers)]
    rows, foot = (
        [
            [Cell(name), Cell(title), *(Cell(cell.text, cell.mark) for cell in cells)]
            for block in page.blocks
            for title, _ in block.groups
            for name, cells in getattr(block, part)
        ]
        for part in ("rows", "foot")
    )
    if len(heads) != 1 or any(len(cells) != len(names) for cells in (*rows, *foot)):
        raise BadInput(f"{path}: its blocks do not have the columns of one table; {damaged}")
    columns = [(name, [cells[index] for cells in rows]) for index, name in enumerate(names)]
    columns[:2] = [(name, placed(cell.text for cell in cells)) for name, cells in columns[:2]]
    title = f"{page.name}. {page.title}"
    if len(page.blocks) == 1:
        title += f": {page.blocks[0].groups[0][0]}"
        del columns[1]
        for cells in foot:
            del cells[1]
    said = {"caption": page.caption, "notes": page.notes, "footer": page.footer, "findings": page.findings}
    return make_grid(title, columns, **said, foot=tuple(map(tuple, foot)))


def _full(headers: Sequence[str]) -> list[str]:
    """Name the metric in every header: "paper" after "SSIM ↑" becomes "SSIM paper"."""
    full, metric = [], ""
    for name in headers:
        if name in _BESIDE:
            full.append(f"{metric} {name}")
        else:
            full.append(name)
            metric = name.rstrip(" ↑↓")
    return full


VERDICTS = [f"{sign} {name}" for name, sign in SIGNS.items()]

_CLAIMED = {
    **dict.fromkeys(("text", "section", *SIDES, *(f"{side}_evidence" for side in SIDES)), "string"),
    **dict.fromkeys((f"{side}_{count}" for side in SIDES for count in ("held", "comparisons")), "int64"),
}
_VALUES = {
    **dict.fromkeys(("table", "mask", "metric", "label", "paper", "verdict"), "string"),
    **dict.fromkeys(("ours", "difference", "paper_rank", "rank"), "float64"),
}


def significance_grid(table: pd.DataFrame) -> Grid:
    """Return the tests and intervals of one table, as ``workflow.page.answer.read_tests`` reads them."""
    rows = table.to_dict("records")
    labels = dict(zip(table["method"], table["label"], strict=True))
    verdicts = [row["verdict"] or row["status"] for row in rows]
    columns = {
        "Method": placed(table["label"]),
        "Mask": placed(map(label, table["mask"])),
        "Metric": placed(metric_of(name).label for name in table["metric"]),
        "Mean [95 % interval]": [_interval(row, "mean", "low", "high") for row in rows],
        "Best": [Cell(labels.get(row["best"], "—")) for row in rows],
        "Difference to the best [95 %]": [
            _interval(row, "difference", "difference_low", "difference_high", signed=True) for row in rows
        ],
        "Effect size": [_number(value, "+.2f") for value in table["effect"]],
        "p": [_number(value, ".3g") for value in table["p"]],
        "p, Holm": [_number(value, ".3g") for value in table["p_holm"]],
        "Verdict": [
            Cell(UNDEFINED if verdict == "ok" else verdict, "best" if verdict == "best" else "")
            for verdict in verdicts
        ],
    }
    subjects = int(table["volumes"].max()) if table["volumes"].notna().any() else 0
    caption = (f"95 % t intervals: {coverage_note(subjects)}.",)
    return make_grid(
        f"Tests and intervals of Table {table['table'].iloc[0]}", columns.items(), caption=caption
    )


def _number(value: float, digits: str) -> Cell:
    return Cell("" if pd.isna(value) else f"{value:{digits}}".replace("-", "−"))


def _interval(row: Mapping[Any, Any], *names: str, signed: bool = False) -> Cell:
    if pd.isna(row[names[0]]):
        return Cell("")
    middle, low, high = (number(row[name], metric_of(row["metric"]).digits, signed) for name in names)
    # One subject, or an infinite value, has no interval.
    return Cell(f"{middle} [{low}, {high}]" if pd.notna(row[names[1]]) else middle)


def claims_grid(path: Path, whose: str = "the paper") -> Grid:
    """Return the claims of a paper's text with the verdicts, from its ``claims.csv``."""
    claims = read_csv(path, _CLAIMED, *_REMEDIES)
    rows = claims.to_dict("records")
    columns = {
        "Claim": [Cell(f"{row['text']} ({row['section']})") for row in rows],
        **{name: [_judgement(row, side) for row in rows] for side, name in SIDES.items()},
    }
    answers = [row["here"] for row in rows if row["section"] != NOT_IN_PAPER]
    counts = [f"{name}: {answers.count(name)}" for name in SIGNS if name in answers]
    said = (f"Claims of {whose} here: {', '.join(counts)}.",) if counts else ()
    return make_grid(claims_heading(claims["section"], whose), columns.items(), findings=said)


def _judgement(row: Mapping[Any, Any], side: str) -> Cell:
    """Return whether a claim holds on one side, by how many of how many comparisons, and the evidence."""
    answer, of = row[side], row[f"{side}_comparisons"]
    text = f"{SIGNS[answer]} {answer}" + (f": {row[f'{side}_held']} of {of}" if of else "")
    return Cell(text, order=str([*SIGNS].index(answer)), more=row[f"{side}_evidence"])


def _verdicts(names: Iterable[str]) -> list[Cell]:
    return placed((f"{SIGNS[name]} {name}" for name in names), VERDICTS)


def values_grid(path: Path, whose: str = "the paper") -> Grid:
    """Return every value that a paper prints beside ours, from its ``cells.csv``."""
    values = read_csv(path, _VALUES, *_REMEDIES)
    digits = [f".{metric_of(name).digits}f" for name in values["metric"]]
    columns = {
        "Method": placed(values["label"]),
        "Table": list(map(Cell, values["table"])),
        "Mask": placed(map(label, values["mask"])),
        "Metric": [Cell(metric_of(name).label) for name in values["metric"]],
        "Paper": list(map(Cell, values["paper"])),
        "Here": list(map(_number, values["ours"], digits)),
        "Δ": list(map(_number, values["difference"], (f"+{form}" for form in digits))),
        "Rank, paper → here": list(map(Cell, rank_texts(values))),
        "Verdict": _verdicts(values["verdict"]),
    }
    return make_grid(f"{whose[0].upper()}{whose[1:]}'s values and ours", columns.items())


def across_grid(path: Path) -> Grid:
    """Return where papers print different values of one cell, from ``claims/papers.csv``."""
    table = read_csv(path, dict.fromkeys(COLUMNS, "string") | {"ours": "float64"}, *_REMEDIES)
    rows = [row_texts(row) for row in table.to_dict("records")]
    columns = {name: placed(row[index] for row in rows) for index, name in enumerate(HEADERS)}
    for name in ("Printed", "Here"):
        columns[name] = [Cell(row[HEADERS.index(name)]) for row in rows]
    return make_grid("Where papers print different values of one cell", columns.items())
