"""Join the metrics of all runs into one tidy table, ``metrics.parquet``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import replacing
from data_prep.io.frames import read_csv
from workflow.metrics.contract import KEY_COLUMNS, with_standard
from workflow.plan.definitions import Results
from workflow.provenance.runs import PlannedRuns, read_runs

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


@command
def gather_metrics(
    results: Results,
    planned: PlannedRuns,
    output: Annotated[Path, "the Parquet file to write"],
    metrics: Annotated[tuple[str, ...], "what a configuration adds, e.g. hfen"] = (),
) -> None:
    """Write the rows of all runs."""
    # Of weights that were exchanged since, these are not the scores.
    records = read_runs(results, planned, "metrics.csv", "model.ckpt")
    names = [name for group in planned for name in group.runs]
    table = gather([results / "runs" / name / "metrics.csv" for name in names], metrics)
    # By which readers know whether the runs are still those that were gathered.
    table.attrs["runs"] = {name: records[name].outputs["metrics.csv"] for name in names}
    write(table, len(names), output)
