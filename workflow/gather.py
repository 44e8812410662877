"""Join the metrics of all runs into one tidy table, ``metrics.parquet``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing

COLUMNS = {
    "dataset": "string",
    "mask": "string",
    "pattern": "string",
    "acceleration": "int64",
    "method": "string",
    "seed": "int64",
    "subject": "string",
    "slice": "int64",
    "level": "string",
    "ssim": "float64",
    "psnr": "float64",
    "nmse": "float64",
}
_ORDER = ["dataset", "mask", "method", "seed", "level", "subject", "slice"]


def gather(paths: list[Path], further: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of all ``metrics.csv`` files in one fixed order, whatever the order of the files.

    Args:
        paths: the files.
        further: ids of the further metrics that every file has.

    Raises:
        BadInput: a file lacks a column, or two files hold the same row.
    """
    columns = COLUMNS | dict.fromkeys(further, "float64")
    tables = []
    for path in paths:
        table = pd.read_csv(path)
        missing = sorted(set(columns) - set(table.columns))
        if missing:
            raise BadInput(f"{path}: no column {missing[0]!r}; delete the file and run the workflow again")
        tables.append(table[list(columns)].astype(columns))
    joined = pd.concat(tables, ignore_index=True)
    repeated = joined.duplicated(_ORDER)
    if repeated.any():
        row = joined.loc[repeated, _ORDER].iloc[0].to_dict()
        raise BadInput(
            f"{paths[0].name}: two runs hold the row {row}; delete one of the folders and run again"
        )
    return joined.sort_values(_ORDER, kind="stable", ignore_index=True)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.gather", description=__doc__)
    parser.add_argument("metrics", nargs="+", type=Path, help="metrics.csv of every run")
    parser.add_argument("--further", nargs="*", default=[], help="further metrics that all have, e.g. hfen")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args()
    table = gather(arguments.metrics, arguments.further)
    with replacing(arguments.output) as temporary:
        table.to_parquet(temporary, index=False)
    print(f"{len(arguments.metrics)} runs, {len(table)} rows")


if __name__ == "__main__":
    run_command(main)
