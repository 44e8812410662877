"""From raw scans to the tables and figures of "Multi-modal Aggregation Network for Fast MR Imaging"."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")
if not Path(workflow.basedir).samefile(Path.cwd()):
    # Rules would plan with the modules there, and jobs would run those here.
    raise WorkflowError(
        f"The Snakefile is that of {workflow.basedir}, but the working directory is {Path.cwd()}: change to "
        "the Snakefile's folder and start there, without --snakefile and --directory."
    )
sys.path.insert(0, workflow.basedir)

# A file given on the command line stands alone; merged over the default it would inherit its grid.
if not workflow.overwrite_configfiles:

    configfile: "config/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/raw.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/masks.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/page.smk"


# Everything that provenance.json lists; a new target belongs here.
rule everything:
    input:
        rules.paper_tables.input,
        rules.paper_figures.input,
        rules.quality.input,
        rules.significance.output,
        rules.differences.output,
        [] if PLAN.beside_paper else rules.claims.output,
        rules.trust.input,
        rules.index.output,
        [SUBJECTS.lists(name) for name in SUBJECTS.listed],


include: "workflow/rules/provenance.smk"


rule all:
    default_target: True
    input:
        rules.everything.input,
        rules.provenance.output,


onstart:
    stop_without_scans()
    # The limit of jobs per second makes Snakemake look for work every second once more for each job that has
    # ended: a third of a core in the middle of the demo. It is for a cluster's queue, which keeps it.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
