"""Try the same settings of every trained method on validation data, and write the winners.

    python -m workflow.tune my.yaml --cores 2

runs the target ``tuned`` of the workflow with this configuration; what follows the file is handed to
Snakemake, by default ``--cores all``. The section ``tuning`` of the configuration says what is tried: a mask
per dataset, the values of options of the optimiser, and the epochs of each trial. Stopped at any moment, the
same command goes on. The winners are a fragment of a configuration, ``results/X/tuning/winners.yaml``; the
test split is not read.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

from data_prep.errors import BadInput
from data_prep.io.command import command
from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.plan.tuning import TuningPlan

_HOW_MANY = ("-c", "--cores", "-j", "--jobs", "--profile", "--workflow-profile")


def told(tuning: TuningPlan) -> str:
    """Say what is tuned, with what budget."""
    lines = [
        f"{one.dataset} under {one.masks[0]}: {', '.join(row.method for row in one.rows)}; {one.budget}"
        for one in tuning.definitions()
    ]
    return "\n".join([*lines, f"{len(tuning.trials)} trainings; winners: {tuning.winners}", ""])


@command
def tune(
    file: Annotated[Path, "configuration with a section tuning"],
    /,
    *snakemake: Annotated[str, "options for Snakemake, such as --cores 2 or --dry-run"],
) -> None:
    """Say what is tried, and become Snakemake.

    Raises:
        BadInput: the configuration is wrong, or says nothing of tuning.
    """
    try:
        said = told(TuningPlan(Plan(read_config(file), discover())))
    except BadInput as error:
        raise BadInput(f"{file}: {str(error).removeprefix(f'{file}: ').removeprefix('config: ')}") from error
    sys.stdout.write(said)
    sys.stdout.flush()
    cores = [] if any(word.split("=")[0] in _HOW_MANY for word in snakemake) else ["--cores", "all"]
    words = ["-m", "snakemake", "tuned", "--configfile", str(file), *cores, *snakemake]
    # Not a child: what stops this process is to reach the trainings, which save first.
    os.execv(sys.executable, [sys.executable, *words])
