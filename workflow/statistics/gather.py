"""Join the metrics of all runs into one tidy table, ``metrics.parquet``."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from data_prep.errors import BadInput, run_command
from data_prep.io.files import replacing
from data_prep.io.frames import read_csv
from workflow.metrics.contract import KEY_COLUMNS, with_standard
from workflow.plan.arguments import definition
from workflow.provenance.runs import Planned, read_runs

_AGAIN = "run the workflow again"
_ORDER = ["dataset", "mask", "method", "seed", "level", "subject", "slice"]


def join(paths: list[Path], columns: dict[str, str], key: list[str]) -> pd.DataFrame:
    """Return the rows of all CSV files, sorted by their key, whatever the order of the files.

    Args:
        paths: the files.
        columns: what each must have, with the types; others are left out.
        key: columns that tell any two rows apart.

    Raises:
        BadInput: a file is damaged or lacks a column, or the same row stands twice.
    """
    tables = [read_csv(path, columns, _AGAIN, f"delete the file and {_AGAIN}")[[*columns]] for path in paths]
    joined = pd.concat(tables, ignore_index=True)
    repeated = joined.duplicated(key, keep=False)
    if repeated.any():
        row = joined.loc[repeated, key].iloc[0]
        places = [
            str(path)
            for path, table in zip(paths, tables, strict=True)
            if (table[key] == row).all(axis=1).any()
        ]
        raise BadInput(
            f"{' and '.join(dict.fromkeys(places))}: the row {row.to_dict()} is there twice; delete one of "
            "the files and run again"
        )
    return joined.sort_values(key, kind="stable", ignore_index=True)


def gather(paths: list[Path], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of all ``metrics.csv`` files, see ``join``.

    Args:
        paths: the files.
        metrics: ids of the metrics that every file has beside SSIM, PSNR and NMSE.
    """
    return join(paths, KEY_COLUMNS | dict.fromkeys(with_standard(metrics), "float64"), _ORDER)


def write(table: pd.DataFrame, runs: int, output: Path) -> None:
    """Write the joined rows of some runs as Parquet, and say how many there are."""
    with replacing(output) as temporary:
        table.to_parquet(temporary, index=False)
    print(f"{runs} runs, {len(table)} rows")


def planned_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options by which a gatherer is told of the plan's runs."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--results", required=True, type=Path, help="folder of the experiment")
    kind = partial(definition, Planned, "--planned")
    parser.add_argument(
        "--planned", nargs="+", required=True, type=kind, help="the runs, as the plan has them"
    )
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    return parser


def main() -> None:
    """Command line entry point."""
    parser = planned_parser("workflow.statistics.gather", __doc__)
    parser.add_argument("--metrics", nargs="*", default=[], help="what a configuration adds, e.g. hfen")
    arguments = parser.parse_args()
    # Of weights that were exchanged since, these are not the scores.
    records = read_runs(arguments.results, arguments.planned, "metrics.csv", "model.ckpt")
    names = [name for group in arguments.planned for name in group.runs]
    table = gather([arguments.results / "runs" / name / "metrics.csv" for name in names], arguments.metrics)
    # By which readers know whether the runs are still those that were gathered.
    table.attrs["runs"] = {name: records[name].outputs["metrics.csv"] for name in names}
    write(table, len(names), arguments.output)


if __name__ == "__main__":
    run_command(main)
