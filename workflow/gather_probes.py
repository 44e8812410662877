"""Join the probing scores of all runs into one tidy table, ``trust/probes.parquet``."""

import argparse
from pathlib import Path

import pandas as pd

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing

COLUMNS = {
    "dataset": "string",
    "mask": "string",
    "method": "string",
    "seed": "int64",
    "probe": "string",
    "condition": "string",
    "amount": "float64",
    "subject": "string",
    "item": "int64",
    "metric": "string",
    "value": "float64",
}


def gather(paths: list[Path]) -> pd.DataFrame:
    """Return the rows of all files in one fixed order, whatever the order of the files.

    Raises:
        BadInput: a file lacks a column, or two files hold the same row.
    """
    tables = []
    for path in paths:
        table = pd.read_csv(path)
        missing = sorted(set(COLUMNS) - set(table.columns))
        if missing:
            raise BadInput(f"{path}: no column {missing[0]!r}; delete the file and run the workflow again")
        tables.append(table[list(COLUMNS)].astype(COLUMNS))
    joined = pd.concat(tables, ignore_index=True)
    key = [name for name in COLUMNS if name != "value"]
    repeated = joined.duplicated(key)
    if repeated.any():
        row = joined.loc[repeated, key].iloc[0].to_dict()
        raise BadInput(f"{paths[0].name}: two files hold the row {row}; delete one of them and run again")
    return joined.sort_values(key, kind="stable", ignore_index=True)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.gather_probes", description=__doc__)
    parser.add_argument("scores", nargs="+", type=Path, help="the CSV of every probed run")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args()
    table = gather(arguments.scores)
    with replacing(arguments.output) as temporary:
        table.to_parquet(temporary, index=False)
    print(f"{len(arguments.scores)} runs, {len(table)} rows")


if __name__ == "__main__":
    run_command(main)
