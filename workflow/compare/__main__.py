"""Compare two results folders: what differs in configuration, code and data, and in each score.

``python -m workflow.compare results/a results/b`` prints both; ``--to DIR`` writes ``differences.csv``,
``cells.csv`` and ``comparison.html`` too. Of a folder it reads ``metrics.parquet`` and ``provenance.json``
(without one, the ``run.json`` of its runs), and ``data/<dataset>/manifest.csv`` where it is there: a
colleague's folder without scans and prepared data is enough.

A cell is one method under one mask. Its scores are compared subject by subject, the second folder minus the
first, with Student's 95 % interval over subjects (docs/statistics.md). Where the test subjects are others,
nothing is compared, and that is said.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from tabulate import tabulate

from data_prep.errors import BadInput, printable, visible
from data_prep.io.command import command
from data_prep.io.files import check_place, then_print, write_texts
from data_prep.io.frames import csv_of
from workflow.compare.cells import cells
from workflow.compare.differences import Difference, dataset_label, differences, mask_label, notes
from workflow.compare.side import SIDES, read_side, shared
from workflow.metrics.contract import STANDARD, metric_of
from workflow.provenance.files import check_outside
from workflow.statistics.scores import counted, number
from workflow.tables.formats import printed
from workflow.tables.page import Block, Page, Text

FILES = ("differences.csv", "cells.csv", "comparison.html")
_MOST_SHOWN = 12  # differences of a kind, in a terminal


def blocks(found: pd.DataFrame, names: Iterable[str]) -> Iterator[Block]:
    """Yield what is shown of a dataset and mask: both means and the difference with its interval."""
    for (dataset, mask), own in found.groupby(["dataset", "mask"], sort=False):
        shown = [name for name in names if name in set(own["metric"])]
        by_method = {
            method: {row["metric"]: row for row in of.to_dict("records")}
            for method, of in own.groupby("method", sort=False)
        }
        headers = tuple(
            header
            for name in shown
            for header in (f"{metric_of(name).label} a", "b", "b − a [95 % interval]")
        )
        rows = tuple(
            (str(method), tuple(text for name in shown for text in _texts(of[name], name)))
            for method, of in by_method.items()
        )
        most = own["volumes"].max()
        volumes = "" if pd.isna(most) else f", {counted(int(most), 'test volume')}"
        yield Block(
            "Method", ((f"{dataset_label(str(dataset))}, {mask_label(str(mask))}{volumes}", headers),), rows
        )


def _texts(row: Mapping[Any, Any], name: str) -> tuple[Text, Text, Text]:
    digits = metric_of(name).digits
    means = [
        Text("—" if pd.isna(row[f"mean_{side}"]) else number(row[f"mean_{side}"], digits)) for side in SIDES
    ]
    if row["status"] != "compared":
        return means[0], means[1], Text(row["status"], "muted")
    low, high = (
        number(row[end], digits, signed=True) if not pd.isna(row[end]) else "—" for end in ("low", "high")
    )
    star = " *" if row["verdict"] == "distinguishable" else ""
    return means[0], means[1], Text(f"{number(row['difference'], digits, signed=True)} [{low}, {high}]{star}")


def legend(found: pd.DataFrame) -> str:
    """Say how the differences are to be read."""
    tested = found[found["status"] == "compared"]
    if tested.empty:
        return "Nothing could be compared."
    said = "b − a: mean difference over the same test subjects, with Student's 95 % interval; "
    if (tested["verdict"] == "unreachable").all():
        return f"{said}too few subjects for any of {len(tested)} tests to be significant."
    return f"{said}*: Wilcoxon's signed-rank test, corrected for {len(tested)} tests, tells the two apart."


def _told(found: list[Difference]) -> str:
    """Return what a terminal shows of the differences, the first of each kind."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind]
        rows += [[visible(text) for text in vars(one).values()] for one in own[:_MOST_SHOWN]]
        if len(own) > _MOST_SHOWN:
            rows.append([kind, f"and {len(own) - _MOST_SHOWN} more", "", ""])
    shown = tabulate(rows, ["what differs", "", "a", "b"], disable_numparse=True)
    return shown if rows else "Nothing differs in configuration, code, data or masks."


def write_comparison(
    output: Path, names: tuple[str, str], changed: list[Difference], said: list[str], found: pd.DataFrame
) -> None:
    """Write ``differences.csv``, ``cells.csv`` and ``comparison.html``, all of them or none."""
    told = tuple((f"{one.kind}: {one.name}", (Text(one.a), Text(one.b))) for one in changed)
    differs = Block("What", (("What differs", ("a", "b")),), told)
    shown = tuple(blocks(found, dict.fromkeys(found["metric"])))
    page = Page(
        "comparison",
        "Comparison",
        f"a: {names[0]}, b: {names[1]}",
        (legend(found),),
        (differs, *shown),
        tuple(said),
    )
    rows = csv_of(pd.DataFrame(map(vars, changed), columns=["kind", "name", "a", "b"]))
    texts = (rows, csv_of(found), printed("html", page))
    # None of them tells on its own which folders were compared.
    write_texts({output / name: text for name, text in zip(FILES, texts, strict=True)})


def _print(parts: Iterable[str]) -> None:
    for line in "\n".join(parts).splitlines():
        sys.stdout.write(f"{printable(line)}\n")


@command
def compare(
    a: Annotated[Path, "folder of an experiment, such as results/demo"],
    b: Annotated[Path, "another one"],
    /,
    to: Annotated[Path | None, "folder to write differences.csv, cells.csv and comparison.html into"] = None,
) -> None:
    """Print what differs between two experiments, and by how much their scores do."""
    if a.is_dir() and b.is_dir() and a.samefile(b):
        raise BadInput(f"{a} and {b}: are one folder; give two experiments")
    if to is not None:
        check_place("--to", to, folder=True)
        for side in (a, b):
            check_outside("--to", to, side)
    sides = read_side(a), read_side(b)
    for column in ("dataset", "mask", "method"):
        if not shared(*sides, column):
            raise BadInput(f"{a} and {b}: have no {column} in common; give two experiments that share one")
    changed, said, found = differences(*sides), notes(*sides), cells(*sides)
    lines = [f"a: {a}", f"b: {b}", "", _told(changed), "", *said, *([""] if said else [])]
    for block in blocks(found, STANDARD[:2]):
        ((title, headers),) = block.groups
        rows = [[name, *(cell.text for cell in of)] for name, of in block.rows]
        lines += [title, tabulate(rows, [block.stub, *headers], disable_numparse=True), ""]
    with then_print(partial(_print, [*lines, legend(found)])):
        if to is not None:
            write_comparison(to, (a.resolve().name, b.resolve().name), changed, said, found)
    if to is not None:
        sys.stdout.write(f"\n{printable(str(to))}/: {', '.join(FILES)}\n")
