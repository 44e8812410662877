"""The checked configuration and the plan that every rule is built from."""

import os
import re
import sys
from pathlib import Path

from data_prep.datasets.contract import dataset_of
from data_prep.phantom.donors import MAPS
from data_prep.errors import BadInput, sentence_of
from data_prep.io.yaml_files import read_yaml
from methods.registry import discover
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import ExecMode
from workflow.plan.config import check_config, split_numbers
from workflow.plan.room import short_of_room, too_few_gpus
from data_prep.io.json_files import canonical, to_json
from data_prep.io.private import without_logins
from workflow.plan.chosen import caption_of
from workflow.plan.definitions import names_in_captions
from workflow.papers.contract import FILES
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.tuning import TuningPlan
from data_prep.prepare.places import KEPT
from workflow.plan.subjects import misnamed_scans
from workflow.plan.turns import Turns
from workflow.provenance.footer import config_sha256, data_sha256, shareable
from data_prep.masks.registry import parse_mask
from workflow.provenance.sources import (
    dataset_sources,
    description_sources,
    drawn_mask_sources,
    folder_sources,
    mask_sources,
    metric_sources,
    module_sources,
)

try:
    if set("{}") & set(workflow.basedir):
        # It takes them for wildcards in the paths of environments and rule files.
        raise BadInput(
            f"{workflow.basedir}: the repository lies in a folder with braces in its name, which Snakemake cannot "
            "handle; rename or move it"
        )
    # Snakemake has read the files, but of a key that is there twice it takes the last.
    for file in workflow.configfiles:
        read_yaml(Path(file))
    METHODS = discover()
    PLAN = Plan(check_config(config, METHODS), METHODS)
    RUNS = PLAN.runs
    TUNING = TuningPlan(PLAN)
    # Not left to the rule: what the function of an input raises is told with a traceback. Snakemake itself knows
    # its targets only when all files are read.
    if workflow.is_main_process and "tuned" in sys.argv:
        len(TUNING.section)
    SUBJECTS = PLAN.subjects
    # Looked for here, where a refusal becomes a sentence.
    len(SUBJECTS)
    if said := SUBJECTS.too_few():
        raise BadInput(said)
    # Once for a whole run, not by each job that a cluster starts.
    if workflow.is_main_process:
        told = (short_of_room(PLAN) or too_few_gpus(PLAN), misnamed_scans(PLAN.config))
        for said in filter(None, told):
            logger.warning(said)
except (BadInput, OSError) as error:
    raise WorkflowError(sentence_of(error)) from None

ROOT = PLAN.root
SHARED = SUBJECTS.root
TURNS = Turns(ROOT, SUBJECTS.folders, logger.info)
TRUST = TrustPlan(PLAN)
DATASETS = PLAN.config["datasets"]
# For the captions of the report, which see no more than Snakemake's own configuration.
config["named"] = names_in_captions(DATASETS)
# Of chosen metrics: computed by evaluations, named and ranked by tables, which name datasets too.
METRIC_SOURCES = metric_sources(PLAN.metrics)
NAMING_SOURCES = METRIC_SOURCES + dataset_sources(DATASETS)


def planned(runs):
    """Return ``--planned``: what gatherers compare each run with."""
    return to_json(PLAN.planned(runs))


def paper_files(name, files=FILES):
    """Return files of a paper, which say what it shows, prints and claims; none for what no paper has."""
    return [f"workflow/papers/{name}/{file}" for file in files] if name else []


def descriptions(methods):
    """Return the files that say of methods what they are called and which variants and parameters they have."""
    return description_sources(PLAN.method(name).folder for name in methods)


def any_of(names):
    """A wildcard constraint that takes exactly these names (none: nothing)."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def shared(kind, dataset, *names):
    """Return files of a dataset that experiments share, below its folder of a kind (see ``Places``)."""
    return in_turn(f"{SUBJECTS.folder(kind, dataset)}/{name}" for name in names)


def read_by(method):
    """Return the split files that evaluating a method reads."""
    return ("test.h5", "val.h5") if PLAN.tuned(method) else ("test.h5",)


def mask_file(wildcards):
    """Return the file of a mask of the user's own, or nothing."""
    return DATASETS[wildcards.dataset].get("mask_files", {}).get(wildcards.mask)


def aligned(dataset, *kinds):
    """Return the files of a dataset's aligned subjects."""
    return shared(
        "aligned",
        dataset,
        *(f"{name}.{kind}" for name in SUBJECTS[dataset] for kind in kinds),
    )


def in_turn(files):
    """Return shared files when no other run makes files in the shared folders: it is waited for.

    Dry runs look on, and a job has the turn of the run that it belongs to.
    """
    files = list(files)
    if (
        workflow.executor_plugin
        and not workflow.dryrun
        and workflow.exec_mode == ExecMode.DEFAULT
    ):
        TURNS.wait(workflow.persistence)
    return files


def stop_without_scans():
    """A dry run may count the jobs of published data that is not here; a real run may not start."""
    try:
        missing = SUBJECTS.missing_scans()
    except (BadInput, OSError) as error:
        raise WorkflowError(sentence_of(error)) from None
    wanted = set(workflow.dag_settings.targets) or {"all"}
    if missing and not wanted <= {"fetch", "paper_cost"}:
        raise WorkflowError(missing)


def begin_turns():
    """Take what the run needs of the shared folders."""
    try:
        # Runs that need no shared files have waited for nobody.
        TURNS.mend(workflow.persistence)
        TURNS.begin(workflow.dag)
    except (BadInput, OSError) as error:
        raise WorkflowError(sentence_of(error)) from None


def tell_costs():
    """Tell the display of progress what each job will take; without it, no time is shown."""
    from workflow.cost.expected import hand_over

    try:
        told = hand_over(PLAN, workflow.dag, workflow.scheduler.global_resources)
    except (BadInput, OSError) as error:
        logger.warning(f"No time left will be shown: {sentence_of(error)}")
    else:
        logger.info(None, extra=told)


# Parameters that hold words of users are functions: in other ones Snakemake takes "{name}" for a wildcard.
wildcard_constraints:
    dataset=any_of(DATASETS),
    key="[0-9a-f]+",
    mask="[a-z0-9_]+",
    method="[a-z0-9_.-]+",
    seed="[0-9]+",
    split="[a-z]+",
    pair="[0-9]+",
    subject="[A-Za-z0-9_-]+",
