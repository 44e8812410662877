r"""Check that papers keep their contract: ``python -m workflow.check_paper ID``.

ID is a folder of ``workflow/papers/``, such as ``manet``; without one every paper is checked. A failure says
what is wrong, and where. Below the checks stands each claim as the paper's own values decide it. The exit
status is 0 only if everything holds.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from data_prep.contracts.checking import Violation, conclude, report, require
from data_prep.errors import BadInput
from data_prep.io.command import NAMES, command
from methods.registry import discover
from workflow.claims.agreement import paper_scores
from workflow.claims.claims import compare, masks_compared
from workflow.claims.judge import by_paper
from workflow.papers.claim import Claim, Masks, claims_of
from workflow.papers.contract import FILES, PAPERS, Paper, PaperTable, papers, read_paper
from workflow.plan.chosen import check_methods


def form(name: str) -> None:
    """Its files are there and have their form, and each value is that of a cell"""
    for file in (*FILES, "README.md"):
        require((PAPERS / name / file).is_file(), f"workflow/papers/{name}/{file} is not there; write it")
    _sound(name)


def _sound(name: str) -> tuple[Paper, tuple[Claim, ...]]:
    try:
        paper, found = read_paper(name), claims_of(name)
        len(paper.values)
        return paper, found
    except BadInput as error:
        raise Violation(str(error)) from error


def methods(name: str) -> None:
    """Each method that it names, and each sweep, is there"""
    paper, _ = _sound(name)
    folders = discover()
    try:
        gone = check_methods(paper, folders)
        require(
            not gone,
            f"paper.yaml or claims.yaml names {', '.join(sorted(gone))}, but methods/ has no such folder",
        )
        for figure in paper.figures.values():
            if figure.sweep:
                folder = folders[figure.sweep.method]
                folder.sweep_id(figure.sweep.name, {"alpha": 0.1, "beta": 0.1}, folder.default.parameters)
    except (BadInput, KeyError) as error:
        raise Violation(f"paper.yaml: {error}") from error


def values(name: str) -> None:
    """Each table has values, or says why not"""
    paper, _ = _sound(name)
    for number, table in paper.tables.items():
        place = f"paper.yaml: tables.{number}: table {table.numeral}"
        if table.numeral in paper.values:
            require(not table.silent, f"{place} is silent, but published.csv has values of it; remove one")
        else:
            require(
                bool(table.silent),
                f"{place}: nothing fills it; add its values to published.csv, or say in silent why not",
            )


def claims(name: str) -> None:
    """Each claim is one that its tables can decide"""
    paper, found = _sound(name)
    scores = paper_scores(paper)
    for claim in found:
        place = f"claims.yaml: {claim.name}"
        if any(True for _ in compare(claim.form, scores)):
            # A silent claim is never judged by the paper's values.
            require(not claim.silent, f"{place} is silent, but printed values decide it; remove silent")
        else:
            require(
                bool(claim.silent),
                f"{place}: no printed value decides it; mend its tables and methods, or say in silent why",
            )
        tables = [paper.table(numeral) for numeral in claim.tables]
        for method in claim.compared:
            has = any(table.rows is None or method in table.rows for table in tables)
            require(has, f"{place}: no table that it names has a row of {method}")
        if isinstance(claim.form, Masks):
            require(
                _pairs(paper, tables[0], claim.form), f"{place}: its table has no two masks that it compares"
            )


def _pairs(paper: Paper, table: PaperTable, form: Masks) -> bool:
    masks = paper.masks(table)
    return any(masks_compared(form, one, other) for one in masks for other in masks)


CHECKS: dict[str, Callable[[str], None]] = {
    check.__name__: check for check in (form, methods, values, claims)
}


def run(name: str, *, briefly: bool = False) -> tuple[int, int]:
    """Check one paper, print what was found, and return the numbers of failures and of checks.

    Raises:
        BadInput: there is no such paper.
    """
    if name not in papers():
        raise BadInput(f"paper {name!r} is unknown; workflow/papers/ has {', '.join(papers())}")
    heading = f"{name}: {_cited(name)}"
    counts = report(heading, CHECKS.values(), name, Path(PAPERS / name), briefly=briefly)
    if not counts[0] and not briefly:
        paper, found = _sound(name)
        scores = paper_scores(paper)
        for claim in (one for one in found if one.section):
            judged = by_paper(claim, scores)
            sys.stdout.write(f"        {claim.name}: {judged.answer} ({judged.held} of {judged.of})\n")
    return counts


def _cited(name: str) -> str:
    try:
        return read_paper(name).identifier
    except BadInput:
        return "its files cannot be read"


@command
def main(ids: Annotated[tuple[str, ...], NAMES, "paper, e.g. manet; default: all"] = (), /) -> None:
    """Check papers; the exit status is 1 unless all hold."""
    conclude(run(name, briefly=not ids) for name in ids or papers())
