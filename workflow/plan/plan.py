"""What a configuration asks for: runs, tables and figures, as plain data. It reads no scan, nothing heavy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.json_files import converted
from data_prep.masks.registry import all_masks, masks_of
from methods.optimisers import merged_optimiser
from methods.registry import Method, MethodFolder
from workflow.metrics.contract import with_standard
from workflow.plan.config import Config
from workflow.plan.definitions import PHASED, Curve, Definition, Point, Row, Run
from workflow.plan.paper import PaperFigure, the_paper
from workflow.plan.subjects import Subjects
from workflow.provenance.footer import data_sha256
from workflow.provenance.runs import Planned
from workflow.run.spec import RunSpec, TrainingSpec

ENVIRONMENT = Path(__file__).parents[2] / "environment.yml"


class Plan:
    """Everything that a checked configuration asks for."""

    def __init__(self, config: Config, methods: Mapping[str, MethodFolder]) -> None:
        self.config = config
        self.methods = methods
        self.root = f"results/{config['experiment']}"
        self.subjects = Subjects(config, self.root)

    @property
    def metrics(self) -> list[str]:
        """Ids of the metrics beside the paper's."""
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
        folder, bare = method_id.split("-")[0], method_id.removesuffix(PHASED)
        method = self.methods[folder].method(bare)
        if bare != method_id:
            label = {name: f"{text}, smooth phase" for name, text in method.label.items()}
            method = replace(method, id=method_id, label=label)
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
        definitions = [*self.table_definitions.values(), *self.figure_definitions.values()]
        wanted = {run for definition in definitions for run in self._asked(definition)}
        if not wanted:
            raise BadInput(
                "config: tables, figures: none of them needs a run on these datasets; choose at least one "
                "table of a dataset that is configured"
            )
        position = {mask: i for i, mask in enumerate(all_masks())}
        return sorted(wanted, key=lambda run: (run.dataset, position[run.mask], run.method, run.seed))

    def _asked(self, definition: Definition) -> list[Run]:
        """Return the runs that a table or figure asks for."""
        every = product(definition.masks, definition.methods, self.config["seeds"])
        return [
            Run(definition.dataset, mask, method, seed)
            for mask, method, seed in every
            if mask not in self.method(method).declines
        ]

    def planned(self, runs: Iterable[Run]) -> tuple[Planned, ...]:
        """Return what gatherers compare runs with; all but mask and seed is one for a dataset and method."""
        groups: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            groups.setdefault((run.dataset, run.method), []).append(run)
        found = []
        for (dataset, _), of_group in groups.items():
            spec = self.spec(of_group[0]).content()
            del spec["mask"], spec["seed"]
            paths = tuple(run.path for run in of_group)
            found.append(Planned(spec, data_sha256(self.config, dataset), paths))
        return tuple(found)

    def spec(self, run: Run) -> RunSpec:
        """Return what training and evaluation take as their whole configuration."""
        method, configured = self.method(run.method), self.config["datasets"][run.dataset]
        training = _training(self.config["training"], run.dataset, method.trainable)
        return RunSpec(
            **vars(run),
            folder=method.folder,
            trainable=method.trainable,
            parameters=dict(method.parameters),
            optimiser=dict(method.optimiser),
            noise=float(configured.get("noise", 0)),
            phase="smooth" if run.method.endswith(PHASED) else configured.get("phase", "none"),
            base_seed=self.config["seed"],
            # Reading makes 0 and 0.0 one number.
            training=converted(TrainingSpec, training, "config: training", "see config/README.md"),
            examples=self.config["examples"],
            tune=self.tuned(run.method),
            metrics=self.metrics,
        )

    def spec_of(self, wildcards: Any) -> str:
        """Return the canonical JSON of the run that a rule's wildcards name."""
        run = Run(wildcards.dataset, wildcards.mask, wildcards.method, int(wildcards.seed))
        return self.spec(run).canonical()

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
        fixed = {*configured, *folder.method(method_id.removesuffix(PHASED)).changes}
        return {name: values for name, values in folder.default.tune.items() if name not in fixed}

    # ---- tables and figures -------------------------------------------------------------------

    @cached_property
    def table_definitions(self) -> dict[int, Definition]:
        """Per table number: what it shows."""
        found, tables = {}, the_paper().tables
        for number in self.config["tables"]:
            table = tables[number]
            if table.dataset in self.config["datasets"]:
                found[number] = self._definition(number, table, table.numeral)
        # Beyond the paper: each dataset that it does not have has a comparison of all methods.
        papers = {table.dataset for table in tables.values()}
        others = [name for name in self.config["datasets"] if name not in papers]
        for number, dataset in enumerate(others, max(tables) + 1):
            found[number] = self._definition(number, PaperFigure(dataset), str(number))
        for number, (dataset, masks) in enumerate(
            self.config["trust"].get("phase", {}).items(), max(tables) + len(others) + 1
        ):
            rows = {f"{name}{PHASED}": self.method(name).label_on(dataset) for name in self.compared}
            shown = PaperFigure(dataset, tuple(masks), rows)
            found[number] = replace(self._definition(number, shown, str(number)), phase="smooth")
        return found

    @property
    def beside_paper(self) -> bool:
        """Whether there are tables, and none that the paper has."""
        return bool(self.table_definitions) and not set(self.table_definitions) & set(the_paper().tables)

    @cached_property
    def figure_definitions(self) -> dict[int, Definition]:
        """Per figure number: what it shows, rows or the grid of loss weights of Fig. 9."""
        found = {}
        for number in self.config["figures"]:
            figure = the_paper().figures[number]
            if figure.dataset in self.config["datasets"]:
                found[number] = self._definition(number, figure)
        sweep = the_paper().sweep
        if sweep.figure in found:
            alphas, betas = (self.config["sweep"][name] for name in ("alphas", "betas"))
            method, name = self.methods[sweep.method], sweep.name
            own = self.method(sweep.method).parameters
            drawn = replace(
                found[sweep.figure],
                alphas=tuple(map(float, alphas)),
                betas=tuple(map(float, betas)),
                grid=tuple(
                    Point(float(a), float(b), method.sweep_id(name, {"alpha": a, "beta": b}, own))
                    for a, b in product(alphas, betas)
                ),
            )
            found[sweep.figure] = replace(drawn, planned=self.planned(self._asked(drawn)))
        return found

    def _definition(self, number: int, shown: PaperFigure, numeral: str = "") -> Definition:
        dataset, rows = shown.dataset, shown.rows
        configured = self.config["datasets"][dataset]
        masks = masks_of(dataset_of(dataset).drawn_masks) if shown.masks is None else shown.masks
        chosen = tuple(mask for mask in masks if mask in configured["masks"])
        name = f"table {numeral}" if numeral else f"figure {number}"
        if not chosen:
            raise BadInput(
                f"config: {name} shows {' or '.join(masks)}, none of which stands in "
                f"datasets.{dataset}.masks; add one there or leave the {name} out"
            )
        sweep = the_paper().sweep
        named = [*(rows or ()), *([sweep.method] if number == sweep.figure and not numeral else ())]
        _refuse_gone(name, named, self.methods)
        if rows is None:
            rows = {name: self.method(name).label_on(dataset) for name in self.compared}
        made = Definition(
            number=number,
            dataset=dataset,
            source=configured["source"],
            masks=chosen,
            planned=(),
            rows=tuple(
                Row(name, text, {m: why for m, why in self.method(name).declines.items() if m in chosen})
                for name, text in rows.items()
            ),
            seeds=tuple(self.config["seeds"]),
            convention=self.config["metric_convention"],
            experiment=self.config["experiment"],
            numeral=numeral,
            metrics=with_standard(self.metrics),
            phase=configured.get("phase", "none"),
        )
        return replace(made, planned=self.planned(self._asked(made)))

    def runs_of(self, definition: Definition) -> list[Run]:
        """Return the runs that a table or figure is made from."""
        asked = {*self._asked(definition)}
        return [run for run in self.runs if run in asked]

    def figure_inputs(self, number: int) -> list[str]:
        """Return the files that a figure is drawn from."""
        definition = self.figure_definitions[number]
        if definition.grid:
            return [f"{self.root}/metrics.parquet"]
        return [f"{self.root}/masks/{definition.dataset}/{mask}.npz" for mask in definition.masks] + [
            f"{self.root}/runs/{run.path}/examples.npz"
            for run in self.runs_of(definition)
            if run.seed == self.config["seeds"][0]
        ]

    def curves(self, dataset: str) -> list[Curve]:
        """Return every training of a dataset, for the training curves.

        Methods come in the order of the tables, by which all figures give them their looks; then variants.
        """
        order = {method: place for place, method in enumerate(self.compared)}
        runs = [run for run in self.runs if run.dataset == dataset and self.trained(run.method)]
        return [
            Curve(run.mask, run.method, self.method(run.method).label_on(dataset), run.seed)
            for run in sorted(runs, key=lambda run: order.get(run.method, len(order)))
        ]


def _refuse_gone(shown: str, named: Iterable[str], methods: Iterable[str]) -> None:
    """Refuse a table or figure that shows a method of which there is no folder."""
    if gone := sorted({method.split("-")[0] for method in named} - {*methods}):
        raise BadInput(
            f"config: {shown} shows {gone[0]}, but there is no folder methods/{gone[0]}/; bring it back or "
            f"leave the {shown} out"
        )


def _training(configured: Mapping[str, Any], dataset: str, trainable: bool) -> dict[str, Any]:
    training = dict(configured)
    # How trainings share a GPU is the lease's business.
    del training["trainings_per_gpu"]
    if isinstance(training["epochs"], dict):
        training["epochs"] = training["epochs"][dataset]
    if not trainable:
        # Nothing that only training reads may repeat an evaluation.
        training |= {"epochs": 1, "schedule": "constant", "warm_up": 0, "gradient_clip": None}
        training |= {"channels_last": False, "deterministic": True, "recompute": True, "compile": False}
        training |= {"devices": 1, "logger": "csv"}
    return training
