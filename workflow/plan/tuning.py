"""What equal tuning tries: the same settings of every trained method's optimiser, as plain data.

A trial is a run with another setting and budget that is scored on the validation split, under one mask per
dataset. Like ``workflow.plan``, on which it builds, this reads no scan and imports nothing heavy.
"""

from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any

from data_prep.errors import BadInput
from data_prep.masks.registry import label
from methods.optimisers import check_optimiser
from workflow.plan.config import of_dataset, optimiser_on
from workflow.plan.definitions import PHASED, Row, Run, Setting, Trial, TuningDefinition
from workflow.plan.plan import Plan
from workflow.provenance.footer import data_sha256
from workflow.provenance.runs import Planned
from workflow.run.spec import RunSpec

EXAMPLE = "tuning: {masks: {DATASET: MASK}, grid: {lr: [0.001, 0.002, 0.004]}}"


class TuningPlan:
    """What the section ``tuning`` of a checked configuration asks for.

    Raises:
        BadInput: what is to be tuned cannot be; only the plan tells which methods run where.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.config: dict[str, Any] | None = plan.config.get("tuning")
        self.folder = f"{plan.root}/tuning"
        if self.config:
            self._check(self.config)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Every combination of the grid by its name, such as ``lr0.001``, in the grid's order."""
        grid = self.section["grid"]
        every = (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
        return {"_".join(f"{key}{_word(value)}" for key, value in one.items()): one for one in every}

    @property
    def section(self) -> dict[str, Any]:
        """The section.

        Raises:
            BadInput: there is none.
        """
        if not self.config:
            raise BadInput(f"config: there is no section tuning; add one such as {EXAMPLE}")
        return self.config

    @property
    def winners(self) -> str:
        """The file that the winners are written to; see ``section``."""
        return f"{self.folder}/winners.yaml" if self.section else ""

    def methods(self, dataset: str) -> list[str]:
        """Return the methods that are tuned on a dataset: those trained there, variants only if asked for."""
        section = self.section
        chosen = section["methods"]
        found = []
        for name in dict.fromkeys(run.method for run in self.plan.runs if run.dataset == dataset):
            folder, bare = name.split("-")[0], name.removesuffix(PHASED)
            if not self.plan.trained(name) or (chosen != "all" and folder not in chosen):
                continue
            variant = bare.removeprefix(f"{folder}-") in self.plan.methods[folder].variants
            found += [folder, bare] if variant and section["variants"] == "tune" else [folder]
        return sorted({*found}, key=lambda name: (list(self.plan.methods).index(name.split("-")[0]), name))

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial; none without the section."""
        if not self.config:
            return []
        return [
            Trial(Run(dataset, mask, method, seed), setting)
            for dataset, mask in self.config["masks"].items()
            for method in self.methods(dataset)
            for setting in self.settings
            for seed in self.config["seeds"]
        ]

    def epochs(self, dataset: str) -> int:
        """Return the epochs of each trial, by default those of the experiment."""
        epochs = self.section.get("epochs", self.plan.config["training"]["epochs"])
        number: int = of_dataset(epochs, dataset)
        return number

    def spec(self, trial: Trial) -> RunSpec:
        """Return what a trial's training takes as its whole configuration."""
        spec, run = self.plan.spec(trial.run), trial.run
        return replace(
            spec,
            optimiser={**spec.optimiser, **self.settings[trial.setting]},
            training=replace(spec.training, epochs=self.epochs(run.dataset)),
            examples=0,
            metrics=[],
            scored="val",
        )

    def spec_of(self, wildcards: Any) -> str:
        """Return the canonical JSON of the trial that a rule's wildcards name."""
        run = Run(wildcards.dataset, wildcards.mask, wildcards.method, int(wildcards.seed))
        return self.spec(Trial(run, wildcards.setting)).canonical()

    def definitions(self) -> list[TuningDefinition]:
        """Return what is compared and shown, one for each dataset."""
        return [self._definition(dataset) for dataset in self.section["masks"]]

    def _definition(self, dataset: str) -> TuningDefinition:
        plan, section = self.plan, self.section
        methods, mask = self.methods(dataset), section["masks"][dataset]
        trials = [trial for trial in self.trials if trial.run.dataset == dataset]
        trained = dict.fromkeys(run.method for run in plan.runs if run.dataset == dataset)
        others = [name for name in trained if plan.trained(name) and name not in methods]
        return TuningDefinition(
            dataset=dataset,
            source=plan.config["datasets"][dataset]["source"],
            masks=(mask,),
            planned=tuple(self._planned(trial) for trial in trials),
            seeds=tuple(section["seeds"]),
            experiment=plan.config["experiment"],
            phase=plan.config["datasets"][dataset].get("phase", "none"),
            rows=tuple(Row(name, self._label(name, dataset)) for name in methods),
            settings=tuple(Setting(name, options) for name, options in self.settings.items()),
            epochs=self.epochs(dataset),
            inheriting=tuple(name for name in others if name.split("-")[0] in methods),
            untuned=tuple(name for name in others if name.split("-")[0] not in methods),
        )

    def _label(self, method: str, dataset: str) -> str:
        own = self.plan.method(method).label_on(dataset)
        folder = method.split("-")[0]
        return own if method == folder else f"{self.plan.method(folder).label_on(dataset)} {own}"

    def _planned(self, trial: Trial) -> Planned:
        spec = self.spec(trial).content()
        del spec["mask"], spec["seed"]
        return Planned(spec, data_sha256(self.plan.config, trial.run.dataset), (trial.path,))

    def _check(self, section: dict[str, Any]) -> None:
        for dataset in self.plan.trained_datasets():
            if dataset not in section["masks"]:
                masks = ", ".join(self.plan.config["datasets"][dataset]["masks"])
                raise BadInput(
                    f"config: tuning.masks: names no mask for {dataset}, where methods are trained; add one "
                    f"of {masks}"
                )
        for dataset, mask in section["masks"].items():
            methods = self.methods(dataset)
            if not methods:
                raise BadInput(
                    f"config: tuning.masks.{dataset}: no method that is to be tuned is trained on {dataset}; "
                    "remove the key"
                )
            for name in methods:
                method = self.plan.method(name)
                if mask in method.declines:
                    raise BadInput(
                        f"config: tuning.masks.{dataset}: {name} does not take {label(mask)}; name another "
                        f"mask, or leave {name} out of tuning.methods"
                    )
                options = optimiser_on(method.optimiser, dataset, name)
                for setting in self.settings.values():
                    check_optimiser(f"config: tuning.grid (for {name})", {**options, **setting})


def _word(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
