"""What a configuration asks for: runs, tables and figures, as plain data. It reads no scan, nothing heavy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from data_prep.errors import BadInput
from data_prep.io.json_files import converted
from data_prep.masks.registry import all_masks
from methods.registry import Method, MethodFolder
from workflow.metrics.contract import with_standard
from workflow.papers.contract import Paper, PaperFigure, PaperPart, PaperTable, printed_metrics
from workflow.plan.chosen import Chosen, chosen_figures, chosen_papers, chosen_tables
from workflow.plan.config import Config, configured_optimiser, of_dataset, optimiser_on
from workflow.plan.definitions import PHASED, Curve, Definition, Point, Row, Run
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
        self.subjects = Subjects(config)

    @property
    def metrics(self) -> list[str]:
        """Ids of the metrics beside the paper's."""
        chosen: list[str] = self.config.get("metrics", [])
        return chosen

    # ---- runs ---------------------------------------------------------------------------------

    @cached_property
    def compared(self) -> list[str]:
        """Method ids of the comparisons of all methods, in table order."""
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
            optimiser=configured_optimiser(self.config, method.optimiser, bare),
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
            optimiser=optimiser_on(method.optimiser, run.dataset, run.method),
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
    def papers(self) -> list[Paper]:
        """The papers that the configuration names, in its order."""
        return chosen_papers(self.config, self.methods)

    @cached_property
    def table_definitions(self) -> dict[int | str, Definition]:
        """What each table shows, by what its files are called."""
        phased = {
            dataset: {f"{name}{PHASED}": self.method(name).label_on(dataset) for name in self.compared}
            for dataset in self.config["trust"].get("phase", {})
        }
        return {one.key: self._definition(one) for one in chosen_tables(self.config, self.papers, phased)}

    @property
    def judged(self) -> list[Paper]:
        """The papers whose claims are judged: those that have a table here, all if there is none."""
        shown = {definition.paper for definition in self.table_definitions.values()}
        return [paper for paper in self.papers if not shown or paper.id in shown]

    @cached_property
    def figure_definitions(self) -> dict[int | str, Definition]:
        """What each figure shows, by what its files are called: rows, or the grid of a heat map."""
        return {
            one.key: self._drawn(self._definition(one), one.part)
            for one in chosen_figures(self.config, self.papers)
        }

    def _drawn(self, made: Definition, figure: PaperPart) -> Definition:
        """Return a figure of the first seed's slices, or with the points that a heat map is drawn over."""
        if not isinstance(figure, PaperFigure) or figure.sweep is None:
            # Runs of other seeds it neither shows nor waits for: those of before may still lie there.
            shown = [run for run in self._asked(made) if run.seed == made.seeds[0]]
            return replace(made, planned=self.planned(shown))
        alphas, betas = (self.config["sweep"][name] for name in ("alphas", "betas"))
        method, own = self.methods[figure.sweep.method], self.method(figure.sweep.method).parameters
        drawn = replace(
            made,
            alphas=tuple(map(float, alphas)),
            betas=tuple(map(float, betas)),
            grid=tuple(
                Point(float(a), float(b), method.sweep_id(figure.sweep.name, {"alpha": a, "beta": b}, own))
                for a, b in product(alphas, betas)
            ),
        )
        return replace(drawn, planned=self.planned(self._asked(drawn)))

    def _definition(self, one: Chosen) -> Definition:
        shown, dataset, name = one.part, one.part.dataset, one.name
        configured = self.config["datasets"][dataset]
        masks = all_masks() if shown.masks is None else shown.masks
        chosen = tuple(mask for mask in masks if mask in configured["masks"])
        if not chosen:
            raise BadInput(
                f"config: {name} shows {' or '.join(masks)}, none of which stands in "
                f"datasets.{dataset}.masks; add one there or leave the {name} out"
            )
        figure = shown if isinstance(shown, PaperFigure) else None
        swept = [figure.sweep.method] if figure and figure.sweep else []
        _refuse_gone(name, [*(shown.rows or ()), *swept], self.methods)
        rows = shown.rows
        if rows is None:
            rows = {method: self.method(method).label_on(dataset) for method in self.compared}
        metrics = with_standard(self.metrics)
        shown_metrics = shown.metrics if isinstance(shown, PaperTable) else ()
        for metric in (*printed_metrics(one.paper), *shown_metrics) if one.numeral else ():
            if metric not in metrics:
                raise BadInput(
                    f"config: metrics: {name} prints {metric}; add it there, or leave the table out"
                )
        made = Definition(
            number=one.key,
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
            tuned=self.config.get("tuned", ""),
            numeral=one.numeral,
            paper=one.paper.id if one.paper else "",
            kind=figure.kind if figure else "",
            metrics=metrics,
            phase="smooth" if one.phase else configured.get("phase", "none"),
        )
        return replace(made, planned=self.planned(self._asked(made)))

    def runs_of(self, definition: Definition) -> list[Run]:
        """Return the runs that a table or figure is made from."""
        asked = {*self._asked(definition)}
        return [run for run in self.runs if run in asked]

    def figure_inputs(self, definition: Definition) -> list[str]:
        """Return the files that a figure is drawn from."""
        if definition.grid:
            return [f"{self.root}/metrics.parquet"]
        return [f"{self.root}/masks/{definition.dataset}/{mask}.npz" for mask in definition.masks] + [
            f"{self.root}/runs/{run}/examples.npz" for group in definition.planned for run in group.runs
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
    training |= {key: of_dataset(training[key], dataset) for key in ("epochs", "batch_size")}
    if not trainable:
        # Nothing that only training reads may repeat an evaluation.
        training |= {
            "epochs": 1,
            "schedule": "constant",
            "warm_up": 0,
            "floor": 0,
            "tail": 0,
            "gradient_clip": None,
        }
        training |= {"channels_last": False, "deterministic": True, "recompute": True, "compile": False}
        training |= {"devices": 1, "logger": "csv"}
    return training
