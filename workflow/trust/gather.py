"""Join the probing scores of all runs into one tidy table, ``trust/probes.parquet``."""

from pathlib import Path
from typing import Annotated

import pandas as pd

from data_prep.io.command import command
from workflow.statistics.gather import join, write
from workflow.trust.probe import COLUMNS


def gather(paths: list[Path]) -> pd.DataFrame:
    """Return the rows of all files, see ``workflow.statistics.gather.join``."""
    return join(paths, COLUMNS, [name for name in COLUMNS if name != "value"])


@command
def gather_probes(
    scores: Annotated[list[Path], "the CSV of every probed run"],
    /,
    output: Annotated[Path, "the Parquet file to write"],
) -> None:
    """Write the rows of all probed runs."""
    write(gather(scores), len(scores), output)
