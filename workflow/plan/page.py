"""What ``index.html`` shows of an experiment: the definition that its step reads."""

import sys
from pathlib import Path
from typing import Annotated

from data_prep.io.command import command
from data_prep.io.json_files import to_json
from data_prep.masks.registry import all_masks
from methods.registry import discover
from workflow.plan.chosen import caption_of
from workflow.plan.config import read_config
from workflow.plan.definitions import PHASED, ClaimsPart, Definition, PageDefinition, Picture, Row
from workflow.plan.plan import Plan
from workflow.plan.probes import FIGURES, TABLES, TrustPlan
from workflow.plan.tuning import TuningPlan
from workflow.provenance.footer import config_sha256


def index_definition(trust: TrustPlan) -> PageDefinition:
    """Return what the page shows of an experiment, for ``workflow.page --definition``."""
    plan = trust.plan
    costed = trust.costed if trust.config["cost"] else []
    numbers = [str(number) for number in plan.table_definitions]
    viewer = [one for dataset in plan.config["datasets"] if (one := _shown(plan, dataset)) is not None]
    pictures = {
        "figures": [
            Picture(f"figures/figure_{number}", "figure", {"number": str(number)}, caption_of(figure))
            for number, figure in plan.figure_definitions.items()
        ],
        "significance": [
            Picture(f"statistics/table_{number}", "significance", {"number": number}) for number in numbers
        ],
        "trust": [
            Picture(f"figures/trust_{name}_{dataset}", "trust_figure", {"figure": name, "dataset": dataset})
            for name, dataset in trust.wanted(FIGURES)
        ],
        "cost": [Picture(f"figures/cost_{dataset}", "cost", {"dataset": dataset}) for dataset in costed],
        "training": [
            Picture(f"figures/training_curves_{dataset}", "training_curves", {"dataset": dataset})
            for dataset in plan.trained_datasets()
        ],
        "masks": [
            Picture(f"masks/{shown.dataset}/{mask}", "mask", {"dataset": shown.dataset, "mask": mask})
            for shown in viewer
            for mask in shown.masks
        ],
        "registration": [
            Picture(f"data/{dataset}/{name}", name, {"dataset": dataset})
            for dataset in plan.subjects.reported
            for name in ("registration", "registration_worst")
        ],
    }
    return PageDefinition(
        experiment=plan.config["experiment"],
        configuration=config_sha256(plan.config),
        sources={name: dataset["source"] for name, dataset in plan.config["datasets"].items()},
        viewer=tuple(viewer),
        tables={
            "tables": tuple(f"tables/table_{number}" for number in numbers),
            "trust": tuple(f"tables/trust_{name}_{dataset}" for name, dataset in trust.wanted(TABLES)),
            "cost": tuple(f"tables/cost_{dataset}" for dataset in costed),
        },
        statistics=tuple(plan.table_definitions),
        claims=tuple(ClaimsPart(paper.id, paper.name, paper.claims_folder) for paper in plan.judged),
        pictures={section: tuple(chosen) for section, chosen in pictures.items()},
    )


def own_files(trust: TrustPlan) -> list[str]:
    """Return patterns of all files that an experiment makes, but for its runs'; a star stands for slashes.

    What no pattern fits is left over from another configuration.
    """
    plan, index = trust.plan, index_definition(trust)
    tuning = TuningPlan(plan)
    stems = [file.rpartition(".")[0] for file in index.files if not file.startswith("runs/")]
    return sorted(
        {
            *(f"{stem}.*" for stem in stems),
            *(f"statistics/{kind}_{n}.csv" for kind in ("pairs", "masks") for n in index.statistics),
            *(f"figures/training_curves_{dataset}/*" for dataset in plan.trained_datasets()),
            *(f"trust/runs/{run.path}.csv" for run in trust.runs),
            *(f"data/{name}/*" for name in plan.config["datasets"]),
            *(
                f"masks/{name}/{mask}.*"
                for name, dataset in plan.config["datasets"].items()
                for mask in {*dataset["masks"], *dataset.get("mask_files", {})}
            ),
            *("metrics.parquet", "index.html", "cost.*", "trust/probes.parquet", "trust/lesions.h5"),
            *(f"tuning/trials/{trial.path}/*" for trial in tuning.trials),
            *(f"tuning/trials_{trial.run.dataset}.*" for trial in tuning.trials),
            *(("tuning/winners.yaml",) if tuning.trials else ()),
        }
    )


def _shown(plan: Plan, dataset: str) -> Definition | None:
    """Return masks and methods of a dataset's example slices (first seed); None if it has no run.

    Points of the grid of loss weights are left out: they are many, and differ by little.
    """
    seed = plan.config["seeds"][0]
    definitions = [*plan.table_definitions.values(), *plan.figure_definitions.values()]
    named = dict.fromkeys(row.method for one in definitions if one.dataset == dataset for row in one.rows)
    runs = [run for run in plan.runs if run.dataset == dataset and run.seed == seed and run.method in named]
    if not runs:
        return None
    masks = {run.mask for run in runs}
    return Definition(
        number=0,
        dataset=dataset,
        source=plan.config["datasets"][dataset]["source"],
        masks=tuple(mask for mask in all_masks() if mask in masks),
        rows=tuple(Row(name, _full_label(plan, name, dataset)) for name in named),
        seeds=tuple(plan.config["seeds"]),
        experiment=plan.config["experiment"],
        phase=plan.config["datasets"][dataset].get("phase", "none"),
        planned=plan.planned(runs),
    )


def _full_label(plan: Plan, method: str, dataset: str) -> str:
    """Return a method's label; before that of an ablation, which its own table prints alone, its method's."""
    folder, bare = method.partition("-")[0], method.removesuffix(PHASED)
    own = plan.method(method).label_on(dataset)
    alone = folder == bare or bare in plan.compared
    return own if alone else f"{plan.method(folder).label_on(dataset)} {own}"


@command
def show(file: Annotated[Path, "configuration, such as config/demo.yaml"], /) -> None:
    """Print what the page shows."""
    plan = Plan(read_config(file), discover())
    sys.stdout.write(to_json(index_definition(TrustPlan(plan))) + "\n")
