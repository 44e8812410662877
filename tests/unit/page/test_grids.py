"""Printed tables as one grid, and what its columns are sorted by."""

from dataclasses import replace

import pandas as pd
import pytest

from data_prep.errors import BadInput
from workflow.page.grids import Cell, make_grid, placed, printed_grid
from workflow.tables.formats import write_page
from workflow.tables.page import Block, Page, Text


def page(blocks, **changes):
    content = {
        "number": 1,
        "name": "Table I",
        "title": "A <b>title</b> & more",
        "caption": ("First sentence.", "Second < third."),
        "blocks": blocks,
        "notes": ("UNet: diverged.",),
        "footer": "Provenance: x.",
    }
    return Page(**(content | changes))


def block(title, rows):
    return Block("Method", ((title, ("SSIM ↑", "paper", "Δ", "NMSE ↓")),), rows)


ZF = (
    "ZF",
    (Text("0.512 ± 0.010"), Text("0.5 ± 0.1", "muted"), Text("−0.012", "muted"), Text("0.0100", "second")),
)
MANET = (
    "MANet <v2>",
    (Text("0.912 ± 0.010 ≈", "best"), Text("", "muted"), Text("", "muted"), Text("diverged")),
)


def written(folder, *blocks):
    write_page(pd.DataFrame(), page(blocks), folder / "table_1")
    return printed_grid(folder / "table_1.json")


@pytest.fixture
def grid(tmp_path):
    return written(tmp_path, block("2D-Radial-6×", (ZF, MANET)), block("1D-Uniform-9×", (ZF, MANET)))


def test_the_page_says_what_the_printed_table_says(grid):
    assert grid.title == "Table I. A <b>title</b> & more"
    assert grid.caption == ("First sentence.", "Second < third.")
    assert grid.notes == ("UNet: diverged.",)
    assert grid.footer == "Provenance: x."
    assert [column.header for column in grid.columns] == [
        *("Method", "Mask", "SSIM ↑", "SSIM paper", "SSIM Δ", "NMSE ↓")
    ]
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["ZF", "2D-Radial-6×", "0.512 ± 0.010", "0.5 ± 0.1", "−0.012", "0.0100"],
        ["MANet <v2>", "2D-Radial-6×", "0.912 ± 0.010 ≈", "", "", "diverged"],
        ["ZF", "1D-Uniform-9×", "0.512 ± 0.010", "0.5 ± 0.1", "−0.012", "0.0100"],
        ["MANet <v2>", "1D-Uniform-9×", "0.912 ± 0.010 ≈", "", "", "diverged"],
    ]
    assert [cell.mark for cell in grid.rows[0]] == ["", "", "", "muted", "muted", "second"]
    assert grid.rows[1][2].mark == "best"


def test_a_count_of_failed_volumes_is_no_score(tmp_path):
    failed = ("Lost", (Text("3 of 16 failed"), Text(""), Text(""), Text("3 of 16 failed")))
    grid = written(tmp_path, block("2D-Radial-6×", (ZF, failed)))
    assert [column.numeric for column in grid.columns[-4:]] == [True, True, True, True]
    assert [row[1].order for row in grid.rows] == ["0.512", ""]


def test_masks_and_methods_are_sorted_as_printed_and_scores_by_their_means(grid):
    methods, masks, scores, _, differences, errors = zip(*grid.rows, strict=True)
    assert [cell.order for cell in methods] == ["0", "1", "0", "1"]
    assert [cell.order for cell in masks] == ["0", "0", "1", "1"]
    assert [float(cell.order) for cell in scores] == [0.512, 0.912, 0.512, 0.912]
    assert [cell.order for cell in differences] == ["-0.012", "", "-0.012", ""]
    assert [cell.order for cell in errors] == ["0.0100", "", "0.0100", ""]
    assert [column.numeric for column in grid.columns] == [False, False, True, True, True, True]
    assert [column.falling for column in grid.columns] == [False, False, True, False, False, False]


def test_a_row_about_whole_columns_is_no_row_to_sort(tmp_path):
    tau = ("Ranking: τ", (Text("1.00"), Text("·"), Text("·"), Text("−0.33")))
    blocks = [replace(block(mask, (ZF, MANET)), foot=(tau,)) for mask in ("2D-Radial-6×", "1D-Uniform-9×")]
    grid = written(tmp_path, *blocks)
    assert [row[0].text for row in grid.rows] == ["ZF", "MANet <v2>"] * 2
    assert [[cell.text for cell in row] for row in grid.foot] == [
        ["Ranking: τ", "2D-Radial-6×", "1.00", "·", "·", "−0.33"],
        ["Ranking: τ", "1D-Uniform-9×", "1.00", "·", "·", "−0.33"],
    ]


def test_a_single_block_needs_no_column_of_masks(tmp_path):
    grid = written(tmp_path, block("IXI, 64 × 64", (ZF,)))
    assert grid.title == "Table I. A <b>title</b> & more: IXI, 64 × 64"
    assert [column.header for column in grid.columns][:2] == ["Method", "SSIM ↑"]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("7 283 670", "7283670"),
        ("7\u202f283\u202f670", "7283670"),
        ("0.00e-05 s", "0.00e-05"),
        ("3.08e−05", "3.08e-05"),
        ("−12.4", "-12.4"),
        ("+0.31", "+0.31"),
        ("12 of 15", "12"),
        ("9–87 %", "9"),
        ("12 345 of 9", "12345"),
        ("∞", "1e308"),
    ],
)
def test_numbers_are_found_at_the_start_of_a_cell(text, order):
    grid = make_grid("t", [("a", [Cell(text)])])
    assert grid.rows[0][0].order == order
    assert float(grid.rows[0][0].order) == float(order)


def test_a_column_with_words_is_sorted_as_text():
    grid = make_grid("t", [("a", [Cell("3"), Cell("reads none")]), ("b", [Cell("3"), Cell("·")])])
    assert [column.numeric for column in grid.columns] == [False, True]
    assert [row[0].order for row in grid.rows] == ["", ""]


def test_a_given_order_is_kept():
    grid = make_grid("t", [("mask", placed(["2D-Radial-6×"], ["1D", "2D-Radial-6×"]))])
    assert grid.rows[0][0].order == "1"
    assert grid.columns[0].ordered
    assert not grid.columns[0].numeric


NO_BLOCKS = '{"blocks":[],"caption":[],"footer":"","name":"","notes":[],"number":1,"title":""}'


@pytest.mark.parametrize("text", ["", "[]", "{}", NO_BLOCKS, NO_BLOCKS.replace("[]", "[1]", 1)])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "table_1.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"table_1\.json: .*; delete it and run the workflow again"):
        printed_grid(path)


def test_blocks_of_other_columns_are_refused(tmp_path):
    other = Block("Method", (("2D-Radial-6×", ("SSIM ↑",)),), (("ZF", (Text("0.5"),)),))
    short = block("2D-Radial-6×", (("ZF", ZF[1][:2]),))
    for blocks in ((block("1D-Uniform-9×", (ZF,)), other), (short,)):
        with pytest.raises(BadInput, match=r"table_1\.json: its blocks do not have the columns of one table"):
            written(tmp_path, *blocks)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"table_9\.json: no such file; run the workflow"):
        printed_grid(tmp_path / "table_9.json")
