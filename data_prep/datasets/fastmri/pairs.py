"""Pairs of knee scans: which belong together, and the lists that say so."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.datasets.fastmri.scans import DECIMAL, FIELD_OF_VIEW_TOLERANCE, PD, PDFS, Scan
from data_prep.errors import BadInput, reading
from data_prep.io.files import LARGEST_TABLE


class PairEntry(NamedTuple):
    """One line of a pair list: file stems without folder and ending, and the published score."""

    pd: str
    pdfs: str
    score: float


def check_pair(pd: Scan, pdfs: Scan) -> None:
    """Check that two scans can be paired pixel by pixel and slice by slice.

    Different encoded widths and slice counts are usual: slices are paired up to the shorter volume.

    Raises:
        BadInput: an acquisition is in the wrong place, or matrix or field of view differ.
    """
    for scan, wanted, column in ((pd, PD, "first"), (pdfs, PDFS, "second")):
        if scan.acquisition != wanted:
            raise BadInput(
                f"{scan.path}: attribute acquisition is {scan.acquisition}, but the pair list names it in "
                f"the {column} column, which is for {wanted}; correct the list"
            )
    if pd.header.recon_matrix != pdfs.header.recon_matrix:
        raise _unlike(pd, pdfs, "reconstructed matrix", pd.header.recon_matrix, pdfs.header.recon_matrix)
    mine, other = pd.header.recon_field_of_view, pdfs.header.recon_field_of_view
    if any(abs(a - b) > FIELD_OF_VIEW_TOLERANCE * b for a, b in zip(mine, other, strict=True)):
        raise _unlike(pd, pdfs, "field of view", f"{mine} mm", f"{other} mm")


def _unlike(pd: Scan, pdfs: Scan, what: str, mine: object, other: object) -> BadInput:
    unlike = f"its {what} {mine} is not that of {pdfs.path.name}, {other}"
    return BadInput(f"{pd.path}: {unlike}; remove the pair from the list")


def paired_slices(pd: Scan, pdfs: Scan, wanted: int | None = None) -> tuple[int, int]:
    """Return (start, stop) of the slices that both scans have, the ``wanted`` central ones of them.

    Raises:
        BadInput: fewer slices are shared than wanted.
    """
    shared = min(pd.slices, pdfs.slices)
    if wanted is None:
        return 0, shared
    if not 0 < wanted <= shared:
        raise BadInput(
            f"{pdfs.path}: with {pd.path.name} it shares {shared} slices, but {wanted} are wanted; set "
            f"datasets.fastmri.slices, or the option --slices, to 1 up to {shared} or leave the pair out"
        )
    start = (shared - wanted) // 2
    return start, start + wanted


def read_pair_list(path: Path) -> list[PairEntry]:
    """Read a pair list: CSV without a header row, ``PD stem, PDFS stem, score`` per line.

    Raises:
        BadInput: the file is missing or empty, or a line is broken or repeats a PDFS scan; the message
            gives the line's number.
    """
    entries: list[PairEntry] = []
    lines: dict[str, int] = {}
    absent = "the pair list is missing; check the path in the configuration"
    damaged = ("the pair list is not CSV text", "replace the file", (UnicodeDecodeError, csv.Error))
    with reading(path, absent, *damaged, LARGEST_TABLE), path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not row:
                continue
            entry = _pair_entry(row, f"{path}, line {number}")
            if entry.pdfs in lines:
                raise BadInput(
                    f"{path}, line {number}: {entry.pdfs} is paired already in line {lines[entry.pdfs]}; "
                    "remove one of the two"
                )
            lines[entry.pdfs] = number
            entries.append(entry)
    if not entries:
        raise BadInput(
            f"{path}: the pair list is empty; it needs one line `PD file,PDFS file,score` per pair"
        )
    return entries


def _pair_entry(row: Sequence[str], where: str) -> PairEntry:
    if len(row) != 3:
        raise BadInput(
            f"{where}: it has {len(row)} fields, not the 3 of `PD file,PDFS file,score`; correct it"
        )
    pd, pdfs, score = (field.strip() for field in row)
    if not DECIMAL.fullmatch(score) or not math.isfinite(float(score)):
        raise BadInput(
            f"{where}: score is {score[:40]!r}, not a number; correct it, or delete the line if it is a "
            "header row"
        )
    for field, stem in (("PD file", pd), ("PDFS file", pdfs)):
        if not re.fullmatch(r"[A-Za-z0-9_-]+", stem):
            raise BadInput(
                f"{where}: {field} is {stem[:40]!r}; give the file's name without folder and without .h5, "
                "such as file1000685"
            )
    if pd == pdfs:
        raise BadInput(f"{where}: {pd} is paired with itself; name a PD and a PDFS file")
    return PairEntry(pd, pdfs, float(score))


def pair_list_text(entries: Sequence[PairEntry]) -> str:
    """Return the text of a pair list in the published form."""
    return "".join(f"{entry.pd},{entry.pdfs},{entry.score!r}\n" for entry in entries)


def check_splits(lists: Mapping[str, Sequence[PairEntry]]) -> None:
    """Check that no file is in two pair lists.

    Args:
        lists: split name -> entries.

    Raises:
        BadInput: naming the file and both splits.
    """
    seen: dict[str, str] = {}
    for split, entries in lists.items():
        for stem in sorted({stem for entry in entries for stem in (entry.pd, entry.pdfs)}):
            if stem in seen:
                raise BadInput(
                    f"{stem} is in the pair lists of two splits, {seen[stem]} and {split}; remove it from "
                    "one of them, or evaluation would see training data"
                )
            seen[stem] = split
