"""Join the probing scores of all runs into one tidy table, ``trust/probes.parquet``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.command import command
from workflow.plan.definitions import Results
from workflow.provenance.runs import Planned, PlannedRuns, read_runs, run_identity
from workflow.statistics.gather import join, write
from workflow.trust.probe import COLUMNS


def gather(paths: list[Path]) -> pd.DataFrame:
    """Return the rows of all files, see ``workflow.statistics.gather.join``."""
    return join(paths, COLUMNS, [name for name in COLUMNS if name not in ("value", "run")])


def check_probes(table: pd.DataFrame, results: Path, planned: Iterable[Planned], place: str) -> None:
    """Refuse probes of a training, an evaluation, data or a mask that the runs have no more.

    Args:
        table: rows with ``COLUMNS``.
        results: folder of the experiment.
        planned: the runs that were probed.
        place: where the rows are from, for the message, with ``{}`` for the run.

    Raises:
        BadInput: naming the run.
    """
    for name, record in read_runs(results, planned, "model.ckpt").items():
        dataset, mask, method, seed = name.split("/")
        own = table[(table["dataset"] == dataset) & (table["mask"] == mask) & (table["method"] == method)]
        own = own[own["seed"] == int(seed.removeprefix("seed"))]
        if set(own["run"]) - {run_identity(record)}:
            raise BadInput(
                f"{place.format(name)}: holds probes of another state of runs/{name} than now; delete it "
                "and run the workflow again"
            )


@command
def gather_probes(
    results: Results, planned: PlannedRuns, output: Annotated[Path, "the Parquet file to write"]
) -> None:
    """Write the rows of all probed runs."""
    names = [name for group in planned for name in group.runs]
    table = gather([results / "trust" / "runs" / f"{name}.csv" for name in names])
    check_probes(table, results, planned, f"{results}/trust/runs/{{}}.csv")
    write(table, len(names), output)
