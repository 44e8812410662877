"""Tables on disk, CSV and parquet, read whole or refused by name."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import pandas as pd

from data_prep.errors import BadInput, reading
from data_prep.words import csv_cell, csv_text

_NOT_A_NUMBER = ["", "nan", "NaN", "NA"]


def read_csv(path: Path, columns: Mapping[str, str], absent: str, damaged: str) -> pd.DataFrame:
    """Read a table.

    Args:
        path: the file.
        columns: what it must have, with the types. A "string" stays as it is written: neither is 0001 a
            number, nor is NA nothing. Other columns have the types that they look like.
        absent: what to do where there is no such file.
        damaged: what to do where it holds something else.

    Raises:
        BadInput: there is no such file, it holds no table, or a column is missing or of another type.
    """
    texts = [name for name, kind in columns.items() if kind == "string"]
    numbers = {name: _NOT_A_NUMBER for name in columns if name not in texts}
    # Of pandas too: an empty file, lines of other lengths, no text, no numbers.
    with reading(path, f"no such file; {absent}", "not a table", damaged, (ValueError,)):
        # With a list for some columns, pandas takes no text of the others for nothing.
        kinds = dict.fromkeys(texts, str)
        table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=numbers)
        for column in columns:
            if column not in table.columns:
                raise BadInput(f"{path}: column {column} is missing; {damaged}")
        if not isinstance(table.index, pd.RangeIndex):
            # Where all lines are longer than the first, pandas moves every name by one column.
            raise ValueError("lines are longer than the first")
        for name in _texts(table):
            table[name] = table[name].map(csv_text)
        return table.astype(dict(columns))


def csv_of(table: pd.DataFrame) -> str:
    """Return a table as CSV, fractions with nine digits; ``read_csv`` reads its texts back exactly."""
    safe = table.assign(**{name: table[name].map(csv_cell) for name in _texts(table)})
    return str(safe.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def _texts(table: pd.DataFrame) -> list[str]:
    return [str(name) for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]


def read_parquet(path: Path, writer: str, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table that ``writer``, a module of this package, has written with these columns.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    again = f"delete it and run {writer} again"
    # pyarrow's own errors are ValueErrors.
    with reading(
        path, f"no such file; run {writer} first", "not a Parquet file", again, (ValueError, OSError)
    ):
        # Given a path, pyarrow would take a folder for a table in parts.
        table = pd.read_parquet(BytesIO(path.read_bytes()))
    for column in columns:
        if column not in table.columns:
            raise BadInput(f"{path}: column {column} is missing; {again}")
    return table
