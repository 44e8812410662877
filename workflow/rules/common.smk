"""The checked configuration and the plan that every rule is built from."""

import os
import re
from pathlib import Path

from data_prep.datasets.contract import dataset_of
from data_prep.phantom.donors import MAPS
from data_prep.errors import BadInput, sentence_of
from data_prep.io.yaml_files import read_yaml
from methods.registry import discover
from snakemake.exceptions import WorkflowError
from workflow.plan.config import check_config, split_numbers
from data_prep.io.json_files import canonical, to_json
from data_prep.io.private import without_logins
from workflow.plan.chosen import caption_of
from workflow.plan.paper import FILES
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.provenance.footer import config_sha256, data_sha256, shareable
from data_prep.masks.registry import parse_mask
from workflow.provenance.sources import (
    dataset_sources,
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
    PLAN = Plan(check_config(config, discover()), discover())
    RUNS = PLAN.runs
    SUBJECTS = PLAN.subjects
    # Looked for here, where a refusal becomes a sentence.
    len(SUBJECTS)
except (BadInput, OSError) as error:
    raise WorkflowError(sentence_of(error)) from None

ROOT = PLAN.root
TRUST = TrustPlan(PLAN)
DATASETS = PLAN.config["datasets"]
# Of chosen metrics: computed by evaluations, named and ranked by tables, which name datasets too.
METRIC_SOURCES = metric_sources(PLAN.metrics)
NAMING_SOURCES = METRIC_SOURCES + dataset_sources(DATASETS)


def planned(runs):
    """Return ``--planned``: what gatherers compare each run with."""
    return to_json(PLAN.planned(runs))


def paper_files(name, files=FILES):
    """Return files of a paper, which say what it shows, prints and claims; none for what no paper has."""
    return [f"workflow/papers/{name}/{file}" for file in files] if name else []


def any_of(names):
    """A wildcard constraint that takes exactly these names (none: nothing)."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def stop_without_scans():
    """A dry run may count the jobs of published data that is not here; a real run may not start."""
    try:
        missing = SUBJECTS.missing_scans()
    except (BadInput, OSError) as error:
        raise WorkflowError(sentence_of(error)) from None
    wanted = set(workflow.dag_settings.targets) or {"all"}
    if missing and not wanted <= {"fetch", "paper_cost"}:
        raise WorkflowError(missing)


# Parameters that hold words of users are functions: in other ones Snakemake takes "{name}" for a wildcard.
wildcard_constraints:
    dataset=any_of(DATASETS),
    mask="[a-z0-9_]+",
    method="[a-z0-9_.-]+",
    seed="[0-9]+",
    split="[a-z]+",
    pair="[0-9]+",
    subject="[A-Za-z0-9_-]+",
