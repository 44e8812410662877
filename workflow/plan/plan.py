"""What a configuration asks for: runs, tables and figures, as plain data; nothing heavy is loaded."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.json_files import canonical, read_json
from data_prep.masks.registry import all_masks, masks_of
from methods.registry import Method, MethodFolder
from workflow.plan.config import Config, merged_optimiser
from workflow.plan.paper import FIGURES, SWEEP_METHOD, SWEEP_NAME, TABLES
from workflow.plan.subjects import Subjects
from workflow.run.spec import RunSpec

ENVIRONMENT = Path(__file__).parents[2] / "environment.yml"


@dataclass(frozen=True, order=True)
class Run:
    """One training (or one application of an untrained method) and its evaluation."""

    dataset: str
    mask: str
    method: str
    seed: int

    @property
    def path(self) -> str:
        """Folder below ``runs/``."""
        return f"{self.dataset}/{self.mask}/{self.method}/seed{self.seed}"


class Plan:
    """Everything that a checked configuration asks for."""

    def __init__(self, config: Config, methods: Mapping[str, MethodFolder]) -> None:
        self.config = config
        self.methods = methods
        self.root = f"results/{config['experiment']}"
        self.subjects = Subjects(config, self.root)

    @property
    def metrics(self) -> list[str]:
        """Ids of the further metrics."""
        chosen: list[str] = self.config.get("metrics", [])
        return chosen

    # ---- runs ---------------------------------------------------------------------------------

    @cached_property
    def compared(self) -> list[str]:
        """Method ids of Tables I and II, in table order."""
        chosen = self.config["compare"]
        if chosen == "all":
            taken = {None, *self.config["collections"]}
            chosen = [name for name, entry in self.methods.items() if entry.default.collection in taken]
        return [method for name, entry in self.methods.items() if name in chosen for method in entry.compared]

    def environment(self, method_id: str) -> str:
        """Return the file of the conda environment of a method's jobs: its folder's own, if it has one."""
        own = self.methods[self.method(method_id).folder].path / "environment.yml"
        return str(own if own.is_file() else ENVIRONMENT)

    def method(self, method_id: str) -> Method:
        """Return a method with the configuration's changes applied."""
        folder = method_id.split("-")[0]
        method = self.methods[folder].method(method_id)
        changes = self.config["methods"].get(folder, {})
        return replace(
            method,
            # What defines a variant or sweep point stands, whatever the configuration says of the rest.
            parameters={**method.parameters, **changes.get("parameters", {}), **method.changes},
            optimiser=merged_optimiser(method.optimiser, changes.get("optimiser", {})),
        )

    @cached_property
    def runs(self) -> list[Run]:
        """Every run that the chosen tables and figures need, once each."""
        wanted: set[Run] = set()
        definitions = [*self.table_definitions.values(), *self.figure_definitions.values()]
        for definition in definitions:
            rows = [row["method"] for row in definition.get("rows", [])]
            rows += [point["method"] for point in definition.get("grid", [])]
            for mask in definition["masks"]:
                for method in rows:
                    if mask not in self.method(method).declines:
                        wanted.update(
                            Run(definition["dataset"], mask, method, seed) for seed in self.config["seeds"]
                        )
        if not wanted:
            raise BadInput(
                "config: tables, figures: none of them needs a run on these datasets; choose at least one "
                "table of a dataset that is configured"
            )
        position = {mask: i for i, mask in enumerate(all_masks())}
        return sorted(wanted, key=lambda run: (run.dataset, position[run.mask], run.method, run.seed))

    def spec(self, run: Run) -> str:
        """Return the canonical JSON that training and evaluation take as their whole configuration."""
        method = self.method(run.method)
        tune = self.tuned(run.method)
        dataset = self.config["datasets"][run.dataset]
        training = dict(self.config["training"])
        # How trainings share a GPU is the lease's business.
        del training["trainings_per_gpu"]
        if isinstance(training["epochs"], dict):
            training["epochs"] = training["epochs"][run.dataset]
        if not method.trainable:
            # Nothing that only training reads may repeat an evaluation.
            training |= {"epochs": 1, "schedule": "constant", "warm_up": 0, "gradient_clip": None}
            training |= {"channels_last": False, "devices": 1, "logger": "csv"}
        return canonical(
            {
                "dataset": run.dataset,
                "mask": run.mask,
                "method": run.method,
                "folder": method.folder,
                "seed": run.seed,
                "trainable": method.trainable,
                "parameters": method.parameters,
                "optimiser": method.optimiser,
                "noise": dataset.get("noise", 0.0),
                "base_seed": self.config["seed"],
                "training": training,
                "examples": self.config["examples"],
            }
            | ({"tune": tune} if tune else {})
            | ({"metrics": self.metrics} if self.metrics else {})
        )

    def spec_of(self, wildcards: Any) -> str:
        """Return the canonical JSON of the run that a rule's wildcards name."""
        return self.spec(Run(wildcards.dataset, wildcards.mask, wildcards.method, int(wildcards.seed)))

    def trained_datasets(self, methods: Sequence[str] | None = None) -> list[str]:
        """Return the datasets on which something is trained, or one of these methods."""
        found = {
            run.dataset
            for run in self.runs
            if self.trained(run.method) and (methods is None or run.method in methods)
        }
        return [name for name in self.config["datasets"] if name in found]

    def trained(self, method_id: str) -> bool:
        """Tell whether a method has weights to learn."""
        return self.methods[method_id.split("-")[0]].default.trainable

    def tuned(self, method_id: str) -> dict[str, list[Any]]:
        """Return the values that an untrained method tries on validation data, by parameter.

        What the configuration or a variant sets is set, and not tried.
        """
        folder = self.methods[method_id.split("-")[0]]
        configured = self.config["methods"].get(folder.default.id, {}).get("parameters", {})
        fixed = {*configured, *folder.method(method_id).changes}
        return {name: values for name, values in folder.default.tune.items() if name not in fixed}

    # ---- tables and figures -------------------------------------------------------------------

    @cached_property
    def table_definitions(self) -> dict[int, dict[str, Any]]:
        """Per table number: dataset, masks, rows and what its caption needs."""
        found = {}
        for number in self.config["tables"]:
            numeral, dataset, masks, rows = TABLES[number]
            if dataset in self.config["datasets"]:
                found[number] = {
                    **self._definition(f"table {numeral}", number, dataset, masks, rows),
                    "numeral": numeral,
                }
        # Beyond the paper: each dataset that it does not have has a comparison of all methods.
        papers = {dataset for _, dataset, *_ in TABLES.values()}
        others = [name for name in self.config["datasets"] if name not in papers]
        for number, dataset in enumerate(others, max(TABLES) + 1):
            found[number] = {
                **self._definition(f"table {number}", number, dataset, None, None),
                "numeral": str(number),
            }
        return found

    @property
    def beside_paper(self) -> bool:
        """Whether there are tables, and none that the paper has."""
        return bool(self.table_definitions) and not set(self.table_definitions) & set(TABLES)

    def table_runs(self, number: int) -> list[Run]:
        """Return the runs that a table is made from."""
        definition = self.table_definitions[number]
        shown = {row["method"] for row in definition["rows"]}
        return [
            run
            for run in self.runs
            if run.dataset == definition["dataset"]
            and run.mask in definition["masks"]
            and run.method in shown
        ]

    @cached_property
    def figure_definitions(self) -> dict[int, dict[str, Any]]:
        """Per figure number: dataset, masks and rows, or the grid of loss weights of Fig. 9."""
        found = {}
        for number in self.config["figures"]:
            dataset, masks, rows = FIGURES[number]
            if dataset not in self.config["datasets"]:
                continue
            definition = self._definition(f"figure {number}", number, dataset, masks, rows)
            if number == 9:
                sweep = self.config["sweep"]
                definition |= {
                    **sweep,
                    "grid": [
                        {"alpha": a, "beta": b, "method": self._sweep_point(a, b)}
                        for a in sweep["alphas"]
                        for b in sweep["betas"]
                    ],
                }
            found[number] = definition
        return found

    def _sweep_point(self, alpha: float, beta: float) -> str:
        return self.methods[SWEEP_METHOD].sweep_id(
            SWEEP_NAME, {"alpha": alpha, "beta": beta}, self.method(SWEEP_METHOD).parameters
        )

    def _definition(
        self,
        name: str,
        number: int,
        dataset: str,
        masks: tuple[str, ...] | None,
        rows: tuple[tuple[str, str], ...] | None,
    ) -> dict[str, Any]:
        configured = self.config["datasets"][dataset]
        masks = masks_of(dataset_of(dataset).drawn_masks) if masks is None else masks
        chosen = [mask for mask in masks if mask in configured["masks"]]
        if not chosen:
            raise BadInput(
                f"config: {name} shows {' or '.join(masks)}, none of which stands in "
                f"datasets.{dataset}.masks; add one there or leave the {name} out"
            )
        if rows is None:
            rows = tuple((name, self.method(name).label_on(dataset)) for name in self.compared)
        return {
            "number": number,
            "dataset": dataset,
            "source": configured["source"],
            "experiment": self.config["experiment"],
            "convention": self.config["metric_convention"],
            "seeds": self.config["seeds"],
            "masks": chosen,
            "rows": [self._row(method, text, chosen) for method, text in rows],
        } | ({"metrics": self.metrics} if self.metrics else {})

    def _row(self, method: str, text: str, masks: list[str]) -> dict[str, Any]:
        declines = {mask: why for mask, why in self.method(method).declines.items() if mask in masks}
        return {"method": method, "label": text} | ({"declines": declines} if declines else {})

    def figure_inputs(self, number: int) -> list[str]:
        """Return the files that a figure is drawn from."""
        definition = self.figure_definitions[number]
        if "grid" in definition:
            return [f"{self.root}/metrics.parquet"]
        dataset = definition["dataset"]
        shown = {row["method"] for row in definition["rows"]}
        masks = [f"{self.root}/masks/{dataset}/{mask}.npz" for mask in definition["masks"]]
        return masks + [
            f"{self.root}/runs/{run.path}/examples.npz"
            for run in self.runs
            if run.dataset == dataset
            and run.mask in definition["masks"]
            and run.method in shown
            and run.seed == self.config["seeds"][0]
        ]

    def curve_definition(self, dataset: str) -> list[list[str]]:
        """Return mask, method, label and seed of every training of a dataset, for the training curves.

        Methods come in the order of the tables, by which all figures give them their looks; then variants.
        """
        order = {method: place for place, method in enumerate(self.compared)}
        runs = [run for run in self.runs if run.dataset == dataset and self.trained(run.method)]
        return [
            [run.mask, run.method, self.method(run.method).label_on(dataset), str(run.seed)]
            for run in sorted(runs, key=lambda run: order.get(run.method, len(order)))
        ]

    # ---- by hand ------------------------------------------------------------------------------

    def commands(self) -> list[str]:
        """Return a shell command for each run that is not finished; it writes what the run's rule would.

        Split files and masks must be there when it runs. A run is finished when its ``run.json`` is of the
        spec that the configuration asks for.
        """
        return [self._command(run) for run in self.runs if not self._finished(run)]

    def _finished(self, run: Run) -> bool:
        record = Path(f"{self.root}/runs/{run.path}/run.json")
        if not record.is_file():
            return False
        spec = read_json(record, damaged="delete it and make this run again", fields=["spec"])["spec"]
        return bool(spec == json.loads(RunSpec.from_json(self.spec(run)).canonical()))

    def _command(self, run: Run) -> str:
        training = self.config["training"]
        step = "train" if self.trained(run.method) else "evaluate"
        log = Path(f"{self.root}/logs/{step}/{run.path}.log")
        lease = f"--gpus {training['devices']} --per-gpu {training['trainings_per_gpu']}"
        words = [
            *("--spec", self.spec(run)),
            *("--data", f"{self.root}/data/{run.dataset}"),
            *("--mask", f"{self.root}/masks/{run.dataset}/{run.mask}.npz"),
            *("--output", f"{self.root}/runs/{run.path}"),
        ]
        if step == "train":
            program = f"python -m workflow.lease {lease} -- python -m workflow.train"
        else:
            program = "python -m workflow.evaluate --device cpu"
        # exec: what ends the command is to reach the training, which saves first.
        return f"mkdir -p {shlex.quote(str(log.parent))} && exec {program} {shlex.join(words)} >> {log} 2>&1"
