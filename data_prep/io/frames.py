"""Tables on disk, CSV and parquet, read whole or refused by name."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from data_prep.errors import BadInput

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
    try:
        # With a list for some columns, pandas takes no text of the others for nothing.
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=numbers)
        for column in columns:
            if column not in table.columns:
                raise BadInput(f"{path}: column {column} is missing; {damaged}")
        if not isinstance(table.index, pd.RangeIndex):
            # Where all lines are longer than the first, pandas moves every name by one column.
            raise ValueError("lines are longer than the first")
        return table.astype(dict(columns))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; {absent}") from error
    except ValueError as error:
        # Of pandas too: an empty file, lines of other lengths, no text, no numbers.
        raise BadInput(f"{path}: not a table ({' '.join(str(error).split())}); {damaged}") from error


def read_parquet(path: Path, writer: str, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table that ``writer``, a module of this package, has written with these columns.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; run {writer} first") from error
    except (ValueError, OSError) as error:
        # pyarrow's own errors are ValueErrors; OSErrors with a number are the system's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: not a Parquet file ({said}); delete it and run {writer} again") from error
    for column in columns:
        if column not in table.columns:
            raise BadInput(f"{path}: column {column} is missing; delete it and run {writer} again")
    return table
