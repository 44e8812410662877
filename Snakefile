"""From raw scans to the tables and figures of papers on guided MR reconstruction, such as MANet's."""


include: "workflow/rules/place.smk"


# A file given on the command line stands alone; merged over the default it would inherit its grid.
if not workflow.overwrite_configfiles:

    configfile: "config/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/raw.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/masks.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tune.smk"
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
        rules.claims.output if PLAN.judged else [],
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
    begin_turns()
    tell_costs()
    # The limit of jobs per second makes Snakemake look for work every second once more for each job that has
    # ended: a third of a core in the middle of the demo. It is for a cluster's queue, which keeps it.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
