"""Tables on disk, CSV and parquet, read whole or refused by name."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.errors import BadInput, reading
from data_prep.io.files import LARGEST_TABLE
from data_prep.words import csv_cell, csv_text

_MOST_CELLS = 1000  # of a line
# Measured numbers take some bytes each, even compressed; of equal ones a byte can stand for millions, but no
# table here is made of them. The codec is the writer's, which packs no more than 21 bytes into one.
_CELLS_PER_BYTE, _FEW_CELLS, _CODECS = 64, 2**20, {"SNAPPY", "UNCOMPRESSED"}
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
    with reading(path, f"no such file; {absent}", "not a table", damaged, (ValueError,), LARGEST_TABLE):
        # Each cell of the longest line becomes a column.
        with path.open("rb") as lines:
            if max((line.count(b",") for line in lines), default=0) >= _MOST_CELLS:
                raise ValueError(f"a line has more than {_MOST_CELLS} cells")
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
    from pyarrow.parquet import ParquetFile

    again = f"delete it and run {writer} again"
    # pyarrow's own errors are ValueErrors.
    with reading(
        path, f"no such file; run {writer} first", "not a Parquet file", again, (ValueError, OSError)
    ):
        # Given a path, pyarrow would take a folder for a table in parts.
        content = path.read_bytes()
        _check_claims(ParquetFile(BytesIO(content)).metadata, len(content))
        table = pd.read_parquet(BytesIO(content))
    for column in columns:
        if column not in table.columns:
            raise BadInput(f"{path}: column {column} is missing; {again}")
    return table


def _check_claims(metadata: Any, size: int) -> None:
    """Refuse a Parquet file of ``size`` bytes that claims to hold what these cannot stand for."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    claimed = max(metadata.num_rows * metadata.num_columns, sum(column.num_values for column in columns))
    if claimed > _FEW_CELLS + _CELLS_PER_BYTE * size:
        raise ValueError("it claims more rows than it can hold")
    if not {column.compression for column in columns} <= _CODECS:
        raise ValueError("it is compressed as no such file is")
