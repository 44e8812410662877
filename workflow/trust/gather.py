"""Join the probing scores of all runs into one tidy table, ``trust/probes.parquet``."""

import argparse
from pathlib import Path

import pandas as pd

from data_prep.errors import run_command
from workflow.statistics.gather import join, write
from workflow.trust.probe import COLUMNS


def gather(paths: list[Path]) -> pd.DataFrame:
    """Return the rows of all files, see ``workflow.statistics.gather.join``."""
    return join(paths, COLUMNS, [name for name in COLUMNS if name != "value"])


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.trust.gather", description=__doc__)
    parser.add_argument("scores", nargs="+", type=Path, help="the CSV of every probed run")
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args()
    write(gather(arguments.scores), len(arguments.scores), arguments.output)


if __name__ == "__main__":
    run_command(main)
