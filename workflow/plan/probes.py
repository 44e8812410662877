"""Which finished runs are probed, how, and what is tabled and drawn of it, as plain data (docs/trust.md).

Like ``workflow.plan``, on which it builds, it reads no scan and imports nothing heavy.
``python -m workflow.plan.probes config/trust.yaml`` lists the runs that are probed and their options;
``--definition`` and ``--cost`` print the JSON that tables and figures take.
"""

import shlex
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from data_prep.datasets.contract import DatasetId, dataset_of
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.json_files import to_json
from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.definitions import CostDefinition, Run, TrustDefinition, TrustRow
from workflow.plan.plan import Plan

# Name -> the keys of the configuration's section ``trust`` of which one must be set.
FIGURES = {
    "misalignment": ("swaps", "shifts", "rotations"),
    "noise": ("noise",),
    "transfer": ("transfer",),
    "audit": ("audit",),
    "lesions": ("lesions",),
}
TABLES = {"auxiliary": ("swaps", "shifts", "rotations"), "audit": ("audit",), "lesions": ("lesions",)}


class TrustPlan:
    """What the section ``trust`` of a checked configuration asks for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.config = plan.config["trust"]
        self.folder = f"{plan.root}/trust"

    @cached_property
    def runs(self) -> list[Run]:
        """The runs that are probed: those of the compared methods under the chosen masks."""
        return [
            run
            for run in self.plan.runs
            if run.method in self.plan.compared and run.mask in self.config["masks"].get(run.dataset, [])
        ]

    @property
    def lesions(self) -> str:
        """Where the known lesions are written, on the grid of the slices."""
        return f"{self.folder}/lesions.h5"

    def path(self, run: Run) -> str:
        """Return where the scores of a probed run are written."""
        return f"{self.folder}/runs/{run.path}.csv"

    def run_of(self, wildcards: Any) -> Run:
        """Return the run that a rule's wildcards name."""
        return Run(wildcards.dataset, wildcards.mask, wildcards.method, int(wildcards.seed))

    def checkpoint(self, run: Run) -> list[str]:
        """Return the file of a trained run's weights; none for untrained methods."""
        trained = self.plan.trained(run.method)
        return [f"{self.plan.root}/runs/{run.path}/model.ckpt"] if trained else []

    def other_masks(self, run: Run) -> list[str]:
        """Return the masks that a run is tested under: all of its dataset, its own for the diagonal.

        But for those that its method declines.
        """
        chosen = self.config["transfer"] and self._applies("transfer", run.dataset)
        if not chosen or not self.plan.trained(run.method):
            return []
        declined = self.plan.method(run.method).declines
        masks = [mask for mask in self.tested(run.dataset) if mask not in declined]
        return [f"{self.plan.root}/masks/{run.dataset}/{mask}.npz" for mask in masks]

    def tested(self, dataset: str) -> tuple[str, ...]:
        """Return the masks that runs are tested under: a dataset's, and files that none is trained for."""
        configured = self.plan.config["datasets"][dataset]
        own = configured.get("mask_files", {}) if self.config["transfer"] else ()
        return tuple(dict.fromkeys([*configured["masks"], *own]))

    def lesion_file(self, run: Run) -> list[str]:
        """Return the file of known lesions where the run is scored on them."""
        return [self.lesions] if self.config["lesions"] and self._applies("lesions", run.dataset) else []

    def _applies(self, name: str, dataset: str) -> bool:
        """Tell whether a dataset can be probed so: noise where it is simulated, masks where it has others."""
        if name == "lesions":
            return dataset == self.plan.subjects.with_lesions
        if name == "transfer":
            return len(self.tested(dataset)) > 1
        return name != "noise" or not dataset_of(dataset).measured

    def _altered(self, run: Run) -> dict[str, list[Any]]:
        """Return what a run is evaluated with beside the unchanged condition and other masks, by option."""
        names = ["swaps", "shifts", "rotations"] if self.plan.method(run.method).needs_auxiliary else []
        names += ["noise"] if self._applies("noise", run.dataset) else []
        return {name: self.config[name] for name in names if self.config[name]}

    def conditions(self, run: Run) -> int:
        """Return how often a probe reconstructs the test slices: once unchanged, and for each condition."""
        return 1 + sum(map(len, self._altered(run).values())) + len(self.other_masks(run))

    def options(self, run: Run) -> list[str]:
        """Return the arguments of ``workflow.trust.probe`` that say how a run is evaluated."""
        altered = self._altered(run).items()
        words = [word for name, values in altered for word in (f"--{name}", *map(str, values))]
        words += ["--audit"] if self.config["audit"] else []
        # Once per dataset, mask and seed is enough, by the first method: the truth is the same for all.
        beside = {one.method for one in self.plan.runs if (one.dataset, one.mask) == (run.dataset, run.mask)}
        first = next((method for method in self.plan.compared if method in beside), None)
        return words + (["--ceiling"] if run.method == first else [])

    def wanted(self, names: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
        """Return (name, dataset) of the tables or figures (``TABLES``, ``FIGURES``) that are asked for.

        But for those that no probed run has anything to say to.
        """
        return [
            (name, dataset)
            for name, keys in names.items()
            for dataset in self.plan.config["datasets"]
            if any(self.config[key] for key in keys)
            and self._applies(name, dataset)
            and any(run.dataset == dataset and self._tells(run, name) for run in self.runs)
        ]

    def _tells(self, run: Run, name: str) -> bool:
        if name in ("auxiliary", "misalignment"):
            return self.plan.method(run.method).needs_auxiliary
        return name != "transfer" or self.plan.trained(run.method)

    @cached_property
    def costed(self) -> list[str]:
        """Datasets of which there is a cost table to make: on which a compared method is trained."""
        return self.plan.trained_datasets(self.plan.compared)

    def definition(self, dataset: str) -> TrustDefinition:
        """Return what tables and figures of a dataset show, for their ``--definition``."""
        return TrustDefinition(**self._fields(dataset, [run for run in self.runs if run.dataset == dataset]))

    def cost_definition(self, dataset: str) -> CostDefinition:
        """Return the rows of the cost table with each one's runs, for ``--definition``."""
        plan = self.plan
        runs = [run for run in plan.runs if run.dataset == dataset and run.method in plan.compared]
        matrix = plan.config["datasets"][dataset]["matrix"]
        return CostDefinition(**self._fields(dataset, runs), matrix=matrix)

    def _fields(self, dataset: str, runs: list[Run]) -> dict[str, Any]:
        plan, configured = self.plan, self.plan.config["datasets"][dataset]
        done = {name: {run.mask for run in runs if run.method == name} for name in plan.compared}
        shown = [name for name in plan.compared if done[name]]
        anywhere = {run.mask for run in runs}
        chosen = [mask for mask in self.config["masks"].get(dataset, []) if mask in anywhere]
        rows = []
        for name in shown:
            method = plan.method(name)
            # Tables and figures may ask for a method under some of the masks only.
            without = sorted({*method.declines, *(set(chosen) - done[name])})
            label = method.label_on(dataset)
            rows.append(TrustRow(name, label, method.needs_auxiliary, method.trainable, tuple(without)))
        return {
            "dataset": dataset,
            "source": configured["source"],
            "experiment": plan.config["experiment"],
            "phase": configured.get("phase", "none"),
            "tuned": plan.config.get("tuned", ""),
            "seeds": tuple(plan.config["seeds"]),
            "masks": tuple(mask for mask in configured["masks"] if mask in chosen),
            "all_masks": self.tested(dataset),
            "noise": float(configured.get("noise", 0)),
            "rows": tuple(rows),
            "planned": plan.planned(runs),
        }


@command
def show(
    file: Annotated[Path, "configuration, such as config/trust.yaml"],
    /,
    definition: Annotated[DatasetId | None, "print a dataset's --definition"] = None,
    cost: Annotated[DatasetId | None, "print the cost table's --definition"] = None,
) -> None:
    """List the probed runs and their options, or print a definition."""
    trust = TrustPlan(Plan(read_config(file), discover()))
    for dataset, define in ((definition, trust.definition), (cost, trust.cost_definition)):
        if dataset is not None:
            if dataset not in trust.plan.config["datasets"]:
                raise BadInput(f"{file}: has no datasets.{dataset}; name one that it has")
            sys.stdout.write(to_json(define(dataset)) + "\n")
            return
    for run in trust.runs:
        sys.stdout.write(f"{run.path}  {shlex.join(trust.options(run))}\n")
    sys.stdout.write(f"{len(trust.runs)} runs are probed\n")
