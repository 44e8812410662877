"""Papers: what each one's tables and figures show, and what it printed, as data in ``workflow/papers/<id>/``.

A folder with ``paper.yaml`` is a paper, found by existing; a name that begins with ``_`` or a dot is none.
Its ``published.csv`` holds the values as printed, its ``claims.yaml`` what its text claims (``claim.py``).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, reading
from data_prep.io.files import matching
from data_prep.io.json_files import converted
from data_prep.io.yaml_files import read_yaml
from data_prep.masks.registry import masks_of
from data_prep.words import SENTENCE, check_words
from workflow.metrics.contract import STANDARD, metric_of

PAPERS = Path(__file__).parent
FILES = ("paper.yaml", "published.csv", "claims.yaml")
GUIDE = "docs/adding_a_paper.md"
COMPARISON = "Comparison of methods"  # the subject of a table that no paper has
REMEDY = f"correct it as {GUIDE} says"
FromZero = Annotated[int, Meta(ge=0)]
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class PaperPart:
    """A table or a figure.

    Attributes:
        subject: what it shows, for its title.
        dataset: whose runs it shows.
        masks: under which; None stands for all of the dataset.
        rows: method -> label in print; None stands for every compared method with its own label.
        inferred: what the paper does not say of it, and from what it is inferred; a sentence of the caption.
    """

    subject: str
    dataset: str
    masks: tuple[str, ...] | None = None
    rows: dict[str, str] | None = None
    inferred: str = ""


@dataclass(frozen=True, kw_only=True)
class PaperTable(PaperPart):
    """A table.

    Attributes:
        numeral: its number in print.
        metrics: columns of scores in print, in order; empty for the standard ones and the configuration's.
        layout: with the methods as rows or, for one mask and few variants, as groups of columns.
        silent: why the paper's values of it are not there; empty where they are.
    """

    numeral: str
    metrics: tuple[str, ...] = ()
    layout: Literal["methods", "variants"] = "methods"
    silent: str = ""


@dataclass(frozen=True)
class Sweep:
    """What a heat map is drawn over: a method's sweep by name, and the paper's choice of alpha and beta."""

    method: str
    name: str
    chosen: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PaperFigure(PaperPart):
    """A figure, drawn in one of a few ways; ``sweep`` is what a heat map is drawn over."""

    kind: Literal["modalities", "comparison", "heat_map"]
    sweep: Sweep | None = None


@dataclass(frozen=True)
class Printed:
    """A metric in print: its decimals, and how far a value of ours may be off to count as reproduced.

    Without a tolerance, values are judged by rank alone.
    """

    digits: FromZero
    tolerance: float | None = None


@dataclass(frozen=True)
class Paper:
    """A paper.

    Attributes:
        id: name of its folder.
        name: what others call it, such as "Ramzi et al.".
        citation: of the paper.
        identifier: DOI, or the number in an archive.
        tables: by number.
        methods: name of a row in ``published.csv`` -> method id.
        printed: the metrics of which it prints values.
        figures: by number.
        prefix: what names of its files begin with before the number; None: its id and "_".
        datasets: dataset -> how the paper took it, in words.
        labels: names of methods that no row has.
        tolerance: where the tolerances come from, in words.
        departures: method -> what ours is not that the paper's is, a sentence of captions.
    """

    id: str
    name: str
    citation: str
    identifier: str
    tables: dict[int, PaperTable]
    methods: dict[str, str]
    printed: dict[str, Printed]
    figures: dict[int, PaperFigure] = field(default_factory=dict)
    prefix: str | None = None
    datasets: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tolerance: str = ""
    departures: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return PAPERS / self.id

    @property
    def plain(self) -> bool:
        """Whether its files are named by their number alone."""
        return self.prefix == ""

    @property
    def claims_folder(self) -> str:
        """Where its page of claims is, relative to the results folder."""
        return "claims" if self.plain else f"claims/{self.id}"

    def key(self, number: int) -> int | str:
        """Return the number by which files and the configuration call a table or figure."""
        return number if self.plain else f"{self.id if self.prefix is None else self.prefix}_{number}"

    def numeral(self, table: PaperTable) -> str:
        """Return a table's number as it is printed beside those of other papers."""
        return table.numeral if self.plain else f"{table.numeral} of {self.name}"

    def table(self, numeral: str) -> PaperTable:
        """Return a table by its number, as the paper or as ``numeral`` prints it."""
        return next(one for one in self.tables.values() if numeral in (one.numeral, self.numeral(one)))

    def figure(self, key: int | str) -> PaperFigure:
        """Return a figure by what ``key`` calls it."""
        return next(figure for number, figure in self.figures.items() if self.key(number) == key)

    @cached_property
    def values(self) -> Mapping[str, Mapping[tuple[str, str], Mapping[str, str]]]:
        """The rows of ``published.csv``, as text as printed: numeral -> (mask, method) -> column -> cell."""
        found: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
        for place, row in _rows(self.folder / "published.csv", list(self.printed)):
            mask, method = f"{row['mask']}_{row['acceleration']}x", self.methods.get(row["method"])
            table = next((one for one in self.tables.values() if one.numeral == row["table"]), None)
            if table is None:
                raise BadInput(f"{place}: table {row['table']!r} does not stand in paper.yaml; {REMEDY}")
            if method is None:
                raise BadInput(
                    f"{place}: method {row['method']!r} is not among methods of paper.yaml; {REMEDY}"
                )
            masks = self.masks(table)
            if mask not in masks or (table.rows is not None and method not in table.rows):
                rows = ", ".join(table.rows or ["all compared methods"])
                raise BadInput(
                    f"{place}: table {table.numeral} has no cell for {method} under {mask}: its masks are "
                    f"{', '.join(masks)}, its rows {rows}; {REMEDY}"
                )
            cells = found.setdefault(table.numeral, {})
            if (mask, method) in cells:
                raise BadInput(f"{place}: the values of this cell stand there twice; remove one")
            cells[mask, method] = row
        return found

    def published(self, numeral: str) -> Mapping[tuple[str, str], Mapping[str, str]]:
        """Return (mask, method id) -> the row of a table; see ``values``."""
        return self.values.get(self.table(numeral).numeral, {})

    def remarks(self, part: PaperPart, methods: Iterable[str]) -> tuple[str, ...]:
        """Say what the paper leaves open of a part, and what our methods are not that the paper's are."""
        departures = (self.departures.get(method, "") for method in methods)
        silent = part.silent if isinstance(part, PaperTable) else ""
        return tuple(filter(None, dict.fromkeys((part.inferred, silent, *departures))))

    def masks(self, part: PaperPart) -> tuple[str, ...]:
        """Return the masks that a table or figure is of."""
        return masks_of(dataset_of(part.dataset).drawn_masks) if part.masks is None else part.masks

    @property
    def parts(self) -> Iterator[tuple[str, PaperPart]]:
        """Every table and figure, with the place where it stands in ``paper.yaml``."""
        yield from ((f"tables.{number}", table) for number, table in self.tables.items())
        yield from ((f"figures.{number}", figure) for number, figure in self.figures.items())


def _rows(path: Path, metrics: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of ``published.csv``, each with its place; the first line says where they were read."""
    again = f"write it as {GUIDE} says"
    with reading(path, f"no such file; {again}", "not UTF-8 text", again, (UnicodeDecodeError,)):
        # A spreadsheet begins a file with the mark of its encoding.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    if not lines or not lines[0].startswith("# ") or not lines[0][2:].strip():
        raise BadInput(f"{path}: line 1 does not say where the values were read; begin it with '# '")
    means = [f"{name}_mean" for name in metrics]
    columns = ["table", "mask", "acceleration", "method", *means]
    table = csv.DictReader(lines[1:])
    known = {*columns, *(f"{name}_std" for name in metrics), "dataset"}
    given = table.fieldnames or []
    for name in (*(name for name in columns if name not in given), *(set(given) - known)):
        said = "is missing" if name in columns else "is unknown"
        raise BadInput(
            f"{path}: column {name} {said}; its columns, between commas, are {', '.join(sorted(known))}"
        )
    for number, row in enumerate(table, 3):
        place = f"{path}, line {number}"
        if None in row or None in row.values():
            raise BadInput(f"{place}: has another number of cells than the header; {REMEDY}")
        for name in set(row) - {"table", "dataset", "mask", "acceleration", "method"}:
            if row[name] and not _NUMBER.fullmatch(row[name]):
                raise BadInput(f"{place}: {name} is {row[name]!r}, no number; {REMEDY}")
        for metric in map(metric_of, metrics):
            value, best = float(row[f"{metric.id}_mean"] or metric.perfect), metric.perfect
            if value > best if metric.rising else value < best:
                raise BadInput(
                    f"{place}: {metric.id}_mean is {value:g}, beyond {best:g}, the best that there is; give "
                    "it in the unit of its definition, not in percent"
                )
        if not any(row[name] for name in means):
            raise BadInput(f"{place}: no metric has a value; remove the line, or give one")
        yield place, row


def papers() -> list[str]:
    """Return the ids of all papers, sorted."""
    return sorted(path.parent.name for path in matching(PAPERS, "[!_.]*/paper.yaml"))


@cache
def read_paper(name: str) -> Paper:
    """Return a paper by id; no other's files are opened.

    Raises:
        BadInput: there is no such paper, or its files are wrong; the message names file, field and remedy.
    """
    if name not in papers():
        raise BadInput(f"paper {name!r} is unknown; workflow/papers/ has {', '.join(papers())}")
    path = PAPERS / name / "paper.yaml"
    paper = converted(Paper, read_yaml(path), str(path), REMEDY)
    try:
        _check(paper, name)
    except BadInput as error:
        raise BadInput(f"{path}: {error}; {REMEDY}") from error
    return paper


def _check(paper: Paper, folder: str) -> None:
    """Refuse what types do not tell of ``paper.yaml``."""
    if paper.id != folder:
        raise BadInput(f"field id is {paper.id!r}, but the folder is {folder}")
    if not re.fullmatch("[a-z0-9_]*", paper.prefix or ""):
        raise BadInput(
            f"field prefix is {paper.prefix!r}; letters a-z, digits and _ can be in names of files"
        )
    for place, text in (("name", paper.name), ("identifier", paper.identifier)):
        check_words(f"field {place}", text)
    for name in paper.printed:
        metric_of(name)
    numerals = [table.numeral for table in paper.tables.values()]
    for place, part in paper.parts:
        check_words(f"field {place}.subject", part.subject, SENTENCE)
        try:
            known = masks_of(dataset_of(part.dataset).drawn_masks)
        except BadInput as error:
            raise BadInput(f"field {place}.dataset: {error}") from error
        for mask in part.masks if part.masks is not None else known:
            if mask not in known:
                raise BadInput(f"field {place}.masks: {part.dataset} has no mask {mask!r}")
        for label in (part.rows or {}).values():
            check_words(f"field {place}.rows", label)
        if part.masks == ():
            raise BadInput(f"field {place}.masks names none, so nothing fills it")
        _check_once(f"{place}.masks", part.masks or ())
        if isinstance(part, PaperTable):
            _check_table(place, part, paper, numerals)
        elif isinstance(part, PaperFigure):
            if (part.kind == "heat_map") != (part.sweep is not None):
                raise BadInput(f"field {place}.sweep: a heat map has one, and no other figure")
            if part.kind == "heat_map" and len(paper.masks(part)) != 1:
                raise BadInput(f"field {place}.masks: a heat map is of one mask")


def _check_table(place: str, table: PaperTable, paper: Paper, numerals: list[str]) -> None:
    check_words(f"field {place}.numeral", table.numeral)
    if numerals.count(table.numeral) > 1:
        raise BadInput(f"field {place}.numeral: {table.numeral!r} is that of another table, too")
    if table.rows == {}:
        raise BadInput(f"field {place}.rows names none, so nothing fills it")
    for name in table.metrics:
        metric_of(name)
    _check_once(f"{place}.metrics", table.metrics)


def _check_once(place: str, names: Sequence[str]) -> None:
    """Refuse a name that is there twice: it would be two columns, and be tested twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadInput(f"field {place} names {name} twice")


def paper_of(name: str) -> Paper | None:
    """Return a paper by id; None for "", which is of tables that no paper has."""
    return read_paper(name) if name else None


def printed_metrics(paper: Paper | None) -> tuple[str, ...]:
    """Return the metrics of which tables have columns for the paper's values."""
    return tuple(dict.fromkeys((*STANDARD[:2], *(paper.printed if paper else ()))))
