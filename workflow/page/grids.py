"""Tables of the page: cells with the numbers that they sort by."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.frames import read_csv
from data_prep.masks.registry import label
from workflow.claims.page import SIGNS, claims_heading
from workflow.metrics.contract import UNDEFINED, metric_of
from workflow.statistics.scores import number

# A number at the start of a cell, thousands set apart by spaces.
_NUMBER = re.compile(r"[+−-]?(?:\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+−-]?\d+)?")
_NO_NUMBER = {"", "—", "·", "diverged", "undefined"}
_INFINITE = "1e308"  # of a perfect reconstruction's PSNR; as large as a column can be sorted by
_BESIDE = ("paper", "Δ")  # headers that belong to the metric before them


@dataclass(frozen=True)
class Cell:
    """A cell's text, its mark ("best", "second", "muted" or "") and the number that it is sorted by."""

    text: str
    mark: str = ""
    order: str = ""


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
    """A whole table: title, columns, rows, and the sentences below it.

    The rows of ``foot`` tell of the whole columns; they are neither sorted nor filtered.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    footer: str = ""
    foot: tuple[tuple[Cell, ...], ...] = ()


def make_grid(
    title: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    caption: Sequence[str] = (),
    notes: Sequence[str] = (),
    footer: str = "",
    foot: Iterable[Sequence[Cell]] = (),
) -> Grid:
    """Build a grid and find out what its columns are sorted by.

    A column of numbers, followed by whatever a cell adds to them, is sorted as numbers; one that has an
    ``order`` already by that; any other as text.
    """
    lines = [list(row) for row in rows]
    columns = []
    for index, header in enumerate(headers):
        cells = [line[index] for line in lines]
        by_place = any(cell.order for cell in cells)
        orders = [_order(cell.text) for cell in cells]
        numeric = (
            not by_place
            and any(orders)
            and all(order or cell.text in _NO_NUMBER for order, cell in zip(orders, cells, strict=True))
        )
        if numeric:
            for line, order in zip(lines, orders, strict=True):
                line[index] = Cell(line[index].text, line[index].mark, order)
        columns.append(Column(header, by_place or numeric, numeric, "↑" in header))
    shown = tuple(tuple(line) for line in lines)
    below = tuple(tuple(line) for line in foot)
    return Grid(title, tuple(columns), shown, tuple(caption), tuple(notes), footer, below)


def _order(text: str) -> str:
    if text.startswith("∞"):
        return _INFINITE
    found = _NUMBER.match(text)
    return re.sub(r"\s", "", found[0]).replace("−", "-") if found else ""


def placed(text: str, places: Sequence[str]) -> Cell:
    """Return a cell that is sorted by its place in a sequence, not by its letters."""
    return Cell(text, order=str(places.index(text)))


@dataclass
class _Table:
    caption: str = ""
    headers: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    foot: list[list[Cell]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Takes apart what ``workflow/resources/table.html.j2`` writes."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.paragraphs: list[str] = []
        self.notes: list[str] = []
        self.footer = ""
        self.tables: list[_Table] = []
        self._text: list[str] = []
        self._mark = ""
        self._hidden = self._head = False
        self._lines: list[list[Cell]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = dict(attrs).get("class") or ""
        if tag in ("h1", "p", "li", "footer", "caption", "th", "td"):
            self._text, self._mark = [], "muted" if classes == "muted" else ""
        elif tag == "table":
            self.tables.append(_Table())
            self._lines = self.tables[-1].rows
        elif tag == "thead":
            self._head = True
        elif tag == "tfoot":
            self._lines = self.tables[-1].foot
        elif tag == "tr" and not self._head:
            self._lines.append([])
        elif tag in ("strong", "u"):
            self._mark = "best" if tag == "strong" else "second"
        elif tag == "span" and classes == "hidden":
            self._hidden = True

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        text = " ".join("".join(self._text).split())
        if tag == "thead":
            self._head = False
        elif tag == "span":
            self._hidden = False
        elif tag == "h1":
            self.title = text
        elif tag == "p":
            self.paragraphs.append(text)
        elif tag == "li":
            self.notes.append(text)
        elif tag == "footer":
            self.footer = text
        elif tag == "caption":
            self.tables[-1].caption = text
        elif tag == "th" and self._head:
            self.tables[-1].headers.append(text)
        elif tag in ("th", "td"):
            self._lines[-1].append(Cell(text, self._mark))


def read_printed(path: Path) -> Grid:
    """Read a printed table's HTML as one grid, whose second column names the mask if there are several.

    Raises:
        BadInput: the file is missing or holds no such table.
    """
    reader = _Reader()
    try:
        reader.feed(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; run the workflow to its end first") from error
    tables = reader.tables
    headers = tables[0].headers if tables else []
    if not headers or any(
        table.headers != headers or any(len(row) != len(headers) for row in (*table.rows, *table.foot))
        for table in tables
    ):
        raise BadInput(f"{path}: not a table as the workflow prints it; delete the file and run the workflow")
    several = len(tables) > 1
    parts = [table.caption for table in tables]
    methods = list(dict.fromkeys(row[0].text for table in tables for row in table.rows))
    rows = [
        [placed(row[0].text, methods), *([placed(table.caption, parts)] if several else []), *row[1:]]
        for table in tables
        for row in table.rows
    ]
    foot = [
        [row[0], *([Cell(table.caption)] if several else []), *row[1:]]
        for table in tables
        for row in table.foot
    ]
    named = [headers[0], *(["Mask"] if several else []), *_full(headers)[1:]]
    title = reader.title if several else f"{reader.title}: {parts[0]}"
    return make_grid(title, named, rows, reader.paragraphs, reader.notes, reader.footer, foot)


def _full(headers: Sequence[str]) -> list[str]:
    """Name the metric in every header: "paper" after "SSIM ↑" becomes "SSIM paper"."""
    full, metric = [], ""
    for header in headers:
        if header in _BESIDE:
            full.append(f"{metric} {header}")
        else:
            full.append(header)
            metric = header.rstrip(" ↑↓")
    return full


VERDICTS = [f"{sign} {name}" for name, sign in SIGNS.items()]

_REMEDIES = ("run the workflow to its end first", "delete it and run the workflow again")
_TESTED = {
    **dict.fromkeys(("table", "mask", "metric", "method", "label", "status", "best", "verdict"), "string"),
    **dict.fromkeys(("mean", "low", "high", "difference", "difference_low", "difference_high"), "float64"),
    **dict.fromkeys(("effect", "p", "p_holm"), "float64"),
}
_CLAIMED = dict.fromkeys(("text", "section", "paper", "paper_evidence", "here", "here_evidence"), "string")
_VALUES = {
    **dict.fromkeys(("table", "mask", "metric", "label", "paper", "paper_rank", "rank", "verdict"), "string"),
    **dict.fromkeys(("ours", "difference"), "float64"),
}


def significance_grid(path: Path) -> Grid:
    """Return the tests and intervals of one table, from ``statistics/table_<number>.csv``."""
    table = read_csv(path, _TESTED, *_REMEDIES)
    methods, masks = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["mask"]))
    labels = dict(zip(table["method"], table["label"], strict=True))
    metrics = [_name(metric) for metric in dict.fromkeys(table["metric"])]
    rows = []
    for row in table.to_dict("records"):
        digits = metric_of(row["metric"]).digits
        verdict = row["verdict"] or row["status"]
        verdict = UNDEFINED if verdict == "ok" else verdict
        rows.append(
            [
                placed(row["label"], methods),
                placed(label(row["mask"]), [label(mask) for mask in masks]),
                placed(_name(row["metric"]), metrics),
                _interval(row, "mean", "low", "high", digits),
                Cell(labels.get(row["best"], "—")),
                _interval(row, "difference", "difference_low", "difference_high", digits, signed=True),
                _number(row["effect"], "+.2f"),
                _number(row["p"], ".3g"),
                _number(row["p_holm"], ".3g"),
                Cell(verdict, "best" if verdict == "best" else ""),
            ]
        )
    headers = (
        *("Method", "Mask", "Metric", "Mean [95 % interval]", "Best", "Difference to the best [95 %]"),
        *("Effect size", "p", "p, Holm", "Verdict"),
    )
    numeral = str(table["table"].iloc[0]) if len(table) else ""
    return make_grid(f"Tests and intervals of Table {numeral}", headers, rows)


def _name(metric: str) -> str:
    return metric_of(metric).label


def _number(value: float, digits: str) -> Cell:
    return Cell("" if pd.isna(value) else f"{value:{digits}}".replace("-", "−"))


def _interval(
    row: Mapping[Any, Any], name: str, low: str, high: str, digits: int, signed: bool = False
) -> Cell:
    if pd.isna(row[name]):
        return Cell("")
    middle, *ends = (number(row[value], digits, signed) for value in (name, low, high))
    return Cell(f"{middle} [{', '.join(ends)}]")


def claims_grid(path: Path) -> Grid:
    """Return the claims of the paper's text with the verdicts, from ``claims/claims.csv``."""
    claims = read_csv(path, _CLAIMED, *_REMEDIES)
    rows = [
        [
            Cell(f"{row['text']} ({row['section']})"),
            _verdict(row["paper"]),
            Cell(row["paper_evidence"]),
            _verdict(row["here"]),
            Cell(row["here_evidence"]),
        ]
        for row in claims.to_dict("records")
    ]
    headers = ("Claim", "In the paper's own tables", "Evidence there", "Here", "Evidence here")
    return make_grid(claims_heading(claims["section"]), headers, rows)


def _verdict(name: str) -> Cell:
    return placed(f"{SIGNS[name]} {name}", VERDICTS)


def values_grid(path: Path) -> Grid:
    """Return every value that the paper prints beside ours, from ``claims/cells.csv``."""
    cells = read_csv(path, _VALUES, *_REMEDIES)
    masks = [label(mask) for mask in dict.fromkeys(cells["mask"])]
    methods = list(dict.fromkeys(cells["label"]))
    rows = []
    for row in cells.to_dict("records"):
        digits = metric_of(row["metric"]).digits
        ranks = f"{row['paper_rank']} → {row['rank']}" if row["rank"] != "" else ""
        rows.append(
            [
                placed(row["label"], methods),
                Cell(row["table"]),
                placed(label(row["mask"]), masks),
                Cell(_name(row["metric"])),
                Cell(row["paper"]),
                _number(row["ours"], f".{digits}f"),
                _number(row["difference"], f"+.{digits}f"),
                Cell(ranks),
                _verdict(row["verdict"]),
            ]
        )
    headers = ("Method", "Table", "Mask", "Metric", "Paper", "Here", "Δ", "Rank, paper → here", "Verdict")
    return make_grid("The paper's values and ours", headers, rows)
