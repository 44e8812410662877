"""CSV that people open: no cell is a formula, and what was written is what is read."""

import csv

import numpy as np
import pandas as pd

from data_prep.io.files import read_rows, write_rows
from data_prep.io.frames import csv_of, read_csv

HOSTILE = ["=1+1", "+x", "-2+3", "@a", "\t=1", "'=1", "-1", "-0.5", "", "IXI002", 'a"b,c\nd', "''", "＝x"]


def harmless(path):
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    return not any(cell[:1] in tuple("=+@\t\r＝") or cell.startswith("-2") for cell in cells)


def test_rows_are_harmless_and_read_back(tmp_path):
    path, rows = tmp_path / "rows.csv", [{"subject": text, "score": -0.5} for text in HOSTILE]
    write_rows(path, ["subject", "score"], rows)
    assert harmless(path)
    assert read_rows(path, "", "") == [{"subject": text, "score": "-0.5"} for text in HOSTILE]
    table = read_csv(path, {"subject": "string", "score": "float64"}, "", "")
    assert list(table["subject"]) == HOSTILE
    assert set(table["score"]) == {-0.5}


def test_frames_are_harmless_and_read_back(tmp_path):
    path = tmp_path / "frame.csv"
    table = pd.DataFrame(
        {"label": HOSTILE, "score": -1 / 3, "rank": 1, "same": True, "mixed": [None, *HOSTILE[1:]]}
    )
    path.write_text(csv_of(table), encoding="utf-8")
    assert harmless(path)
    kinds = {"label": "string", "score": "float64"}
    found = read_csv(path, kinds, "", "")
    assert list(found["label"]) == HOSTILE
    assert list(found["mixed"].fillna("")) == ["", *HOSTILE[1:]]
    np.testing.assert_allclose(found["score"], -1 / 3, rtol=1e-8)


def test_where_nothing_is_hostile_no_byte_is_added(tmp_path):
    table = pd.DataFrame(
        {"label": ["w/o k-space", "Δ"], "score": [-0.125, np.nan], "note": ["−1", None], "n": [1, 2]}
    )
    assert csv_of(table) == table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    assert csv_of(table) == "label,score,note,n\nw/o k-space,-0.125,−1,1\nΔ,,,2\n"
