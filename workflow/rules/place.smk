"""By what and from where all runs, and how it is shown: modules of the working directory or none, and our display."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version

min_version("9.0")
FOLDER = Path(workflow.basedir)

if not FOLDER.samefile(Path.cwd()):
    # Rules would plan with the modules there, and jobs would run those here.
    raise WorkflowError(
        f"The Snakefile is that of {FOLDER}, but the working directory is {Path.cwd()}: change to the "
        "Snakefile's folder and start there, without --snakefile and --directory."
    )
sys.path.insert(0, str(FOLDER))

if workflow.is_main_process:
    sys.path.append(str(FOLDER / "workflow/plugins"))
    try:
        from snakemake_logger_plugin_progress import take_over
    except ImportError as error:
        # No step needs it.
        logger.warning(
            f"Progress is shown as Snakemake does it: {error}; install the packages of requirements/"
        )
    else:
        take_over(workflow.logger_manager)
