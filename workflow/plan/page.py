"""What ``index.html`` shows of an experiment: the definition that its step reads."""

import argparse
import sys
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.errors import run_command
from data_prep.io.json_files import canonical
from data_prep.masks.registry import masks_of
from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.plan.probes import FIGURES, TABLES, TrustPlan
from workflow.provenance.footer import config_sha256


def index_definition(trust: TrustPlan) -> dict[str, Any]:
    """Return what the page shows of an experiment, for ``workflow.page --definition``.

    Files are named without their ending, relative to the results folder. A picture's ``caption`` is a file of
    ``workflow/report/``, whose text the wildcards complete.
    """
    plan = trust.plan
    costed = trust.costed if trust.config["cost"] else []
    probed = [(f"trust_{name}_{dataset}", name, dataset) for name, dataset in trust.wanted(FIGURES)]
    return {
        "experiment": plan.config["experiment"],
        "configuration": config_sha256(plan.config),
        "sources": {name: dataset["source"] for name, dataset in plan.config["datasets"].items()},
        "viewer": [
            definition for dataset in plan.config["datasets"] if (definition := _shown(plan, dataset))
        ],
        "tables": {
            "tables": [f"tables/table_{number}" for number in plan.table_definitions],
            "trust": [f"tables/trust_{name}_{dataset}" for name, dataset in trust.wanted(TABLES)],
            "cost": [f"tables/cost_{dataset}" for dataset in costed],
        },
        "statistics": list(plan.table_definitions),
        "claims": not plan.beside_paper,
        "pictures": {
            "figures": [
                _picture(f"figures/figure_{number}", "figure", number=str(number))
                for number in plan.figure_definitions
            ],
            "significance": [
                _picture(f"statistics/table_{number}", "significance", number=str(number))
                for number in plan.table_definitions
            ],
            "trust": [
                _picture(f"figures/{file}", "trust_figure", figure=name, dataset=dataset)
                for file, name, dataset in probed
            ],
            "cost": [_picture(f"figures/cost_{dataset}", "cost", dataset=dataset) for dataset in costed],
            "training": [
                _picture(f"figures/training_curves_{dataset}", "training_curves", dataset=dataset)
                for dataset in plan.trained_datasets()
            ],
        },
    }


def _picture(file: str, caption: str, **wildcards: str) -> dict[str, Any]:
    return {"file": file, "caption": caption, "wildcards": wildcards}


def _shown(plan: Plan, dataset: str) -> dict[str, Any] | None:
    """Return masks and methods of a dataset's example slices (first seed); None if it has no run.

    Points of the grid of loss weights are left out: they are many, and differ by little.
    """
    seed = plan.config["seeds"][0]
    definitions = [*plan.table_definitions.values(), *plan.figure_definitions.values()]
    named = {
        row["method"]: None
        for definition in definitions
        if definition["dataset"] == dataset
        for row in definition["rows"]
    }
    runs = [run for run in plan.runs if run.dataset == dataset and run.seed == seed and run.method in named]
    if not runs:
        return None
    masks = {run.mask for run in runs}
    return {
        "number": 0,
        "dataset": dataset,
        "source": plan.config["datasets"][dataset]["source"],
        "experiment": plan.config["experiment"],
        "seeds": plan.config["seeds"],
        "masks": [mask for mask in masks_of(dataset_of(dataset).drawn_masks) if mask in masks],
        "rows": [{"method": name, "label": _full_label(plan, name, dataset)} for name in named],
        "runs": [run.path for run in runs],
    }


def _full_label(plan: Plan, method: str, dataset: str) -> str:
    """Return a method's label; before that of an ablation, which its own table prints alone, its method's."""
    folder = method.partition("-")[0]
    own = plan.method(method).label_on(dataset)
    alone = folder == method or method in plan.compared
    return own if alone else f"{plan.method(folder).label_on(dataset)} {own}"


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.plan.page", description=__doc__)
    parser.add_argument("file", type=Path, help="configuration, such as config/demo.yaml")
    arguments = parser.parse_args()
    plan = Plan(read_config(arguments.file), discover())
    sys.stdout.write(canonical(index_definition(TrustPlan(plan))) + "\n")


if __name__ == "__main__":
    run_command(main)
