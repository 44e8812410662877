"""What a configuration asks for: runs, tables and figures, as plain data. It reads no scan, nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import OWN, further_dataset
from data_prep.datasets.fastmri.embedded import pair_files
from data_prep.datasets.fastmri.pairs import check_splits, read_pair_list
from data_prep.datasets.ixi.names import MODALITIES, embedded_subject_id, list_incomplete, list_scans, twins
from data_prep.errors import BadInput
from data_prep.io.json_files import converted, read_json
from data_prep.masks.registry import all_masks, masks_of
from methods.optimisers import merged_optimiser
from methods.registry import Method, MethodFolder
from workflow.metrics.contract import with_standard
from workflow.plan.config import Config
from workflow.plan.definitions import Curve, Definition, Point, Row
from workflow.plan.paper import (
    FIGURES,
    PUBLISHED_SUBJECTS,
    SWEEP_FIGURE,
    SWEEP_METHOD,
    SWEEP_NAME,
    TABLES,
)
from workflow.plan.subjects import Scans, placeholders
from workflow.run.spec import RunSpec, TrainingSpec

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

    @property
    def metrics(self) -> list[str]:
        """Ids of the metrics beside the paper's."""
        chosen: list[str] = self.config.get("metrics", [])
        return chosen

    # ---- subjects -----------------------------------------------------------------------------

    @cached_property
    def subjects(self) -> dict[str, dict[str, Scans]]:
        """Per dataset: subject id -> scans; placeholders where published scans are not there yet."""
        found = {}
        for name, dataset in self.config["datasets"].items():
            if name == "ixi":
                found[name] = self._ixi_subjects(dataset)
            elif name == "fastmri":
                found[name] = self._fastmri_subjects(dataset)
            else:
                found[name] = self._further_subjects(name, dataset)
        return found

    @property
    def further(self) -> list[str]:
        """Ids of the configured datasets that are not the paper's."""
        return [name for name in self.config["datasets"] if name not in OWN]

    def scans(self, dataset: str, subject: str) -> Scans:
        """Return the scans of one subject."""
        return self.subjects[dataset][subject]

    def scan_inputs(self, dataset: str, subject: str) -> dict[str, str]:
        """Return the scans that a subject's alignment waits for, ``target`` and ``auxiliary``.

        Published scans that are not there are left out: nothing can make them, and the alignment says so
        or excludes the subject.
        """
        scans = self.scans(dataset, subject)
        made_here = self.config["datasets"][dataset]["source"] == "embedded"
        named = {"target": scans.target, "auxiliary": scans.auxiliary}
        return {name: path for name, path in named.items() if made_here or Path(path).is_file()}

    def brain_truth(self) -> list[str]:
        """Return the side files of embedded brains, which hold the true motion; none for published scans."""
        if self.config["datasets"].get("ixi", {}).get("source") != "embedded":
            return []
        return [f"{self.root}/raw/ixi/truth/{subject}.truth.json" for subject in self.subjects["ixi"]]

    def pair_lists(self) -> list[str]:
        """Return the pair lists written beside embedded knees, none for published scans."""
        if self.config["datasets"].get("fastmri", {}).get("source") != "embedded":
            return []
        return [f"{self.root}/raw/fastmri/{split}_pairs.csv" for split in ("train", "val")]

    def pairs_in(self, *splits: str) -> int:
        """Return how many fastMRI pairs the named splits ask for together."""
        wanted = self.config["datasets"].get("fastmri", {}).get("splits", {})
        return sum(wanted.get(split, 0) for split in splits)

    def align_options(self, dataset: str) -> str:
        """Return the optional arguments of a dataset's alignment."""
        configured = self.config["datasets"].get(dataset, {})
        options = ["--register" if configured.get("register") else "--no-register"]
        if configured.get("slices"):
            options.append(f"--slices {configured['slices']}")
        return " ".join(options)

    def fetched(self) -> list[str]:
        """Return what downloading leaves: donors of the embedded datasets, IXI if it is to be downloaded."""
        maps = {"ixi": ("brain_asym", "brain_sym"), "fastmri": ("knee",)}
        maps |= {name: further_dataset(name).maps for name in self.further}
        datasets = self.config["datasets"]
        needed = {
            name
            for dataset, names in maps.items()
            for name in names
            if datasets.get(dataset, {}).get("source") == "embedded"
        }
        found = [f"donors/{name}.json" for name in sorted(needed)]
        if datasets.get("ixi", {}).get("download"):
            found.append("fetched_ixi.json")
        return [f"{self.root}/raw/{name}" for name in found]

    def missing_scans(self) -> str | None:
        """Return what to mend where published scans are asked for but cannot be found."""
        for name, dataset in self.config["datasets"].items():
            if dataset["source"] == "embedded":
                continue
            if dataset.get("download") and (absent := self._not_fetched(dataset)):
                record = Path(f"{self.root}/raw/fetched_ixi.json")
                # Snakemake goes by the record, not by the scans.
                again = f"delete {record}, as they were there once, and " if record.is_file() else ""
                return (
                    f"config: datasets.{name}.download is true, but {absent} is not there yet; {again}run "
                    "the target `fetch` first, with the same --configfile: snakemake fetch --cores 1 "
                    "--configfile FILE"
                )
            keys = ["root", "train_pairs", "val_pairs"] if name == "fastmri" else ["root"]
            for key in keys:
                value = dataset[key]
                there = Path.is_dir if key == "root" else Path.is_file
                if value is None or not there(Path(value)):
                    kind = "folder" if key == "root" else "file"
                    state = f"is no {kind}" if value and Path(value).exists() else "does not exist"
                    shown = "is not set" if value is None else f"names {value}, which {state}"
                    return (
                        f"config: datasets.{name}.{key} {shown}; point it at your copy of the published "
                        f"data, or set datasets.{name}.source to embedded"
                    )
            if self.config["bad_scans"] == "stop":
                problem = self._bad_scan(name)
                if problem is not None:
                    return problem
        return None

    @staticmethod
    def _not_fetched(dataset: Config) -> Path | None:
        """Return the first folder of IXI that is still to be downloaded."""
        folders = (Path(dataset["root"]) / f"IXI-{modality}" for modality in MODALITIES)
        return next((folder for folder in folders if not folder.is_dir()), None)

    def _bad_scan(self, dataset: str) -> str | None:
        """Return what is wrong with the first subject that lacks a scan or was excluded before."""
        for subject, scans in self.subjects[dataset].items():
            for path in (scans.target, scans.auxiliary):
                if not Path(path).is_file():
                    return (
                        f"{path}: subject {subject} has no such scan; add the file, or set bad_scans to "
                        "exclude to go on without the subject"
                    )
                if dataset == "ixi" and (others := twins(Path(path))):
                    return (
                        f"{path}: {others[0]} is the same scan of subject {subject}; keep one of the two, or "
                        "set bad_scans to exclude to go on without the subject"
                    )
            record = Path(f"{self.root}/aligned/{dataset}/{subject}.json")
            if record.is_file():
                aligned = read_json(record, fields=("status", "reason"))
                if aligned["status"] == "excluded":
                    return (
                        f"{record}: the subject was excluded ({aligned['reason']}), but bad_scans is stop; "
                        "mend the scan and delete this file, or set bad_scans to exclude again"
                    )
        return None

    def embedded_index(self, dataset: str, subject: str) -> int:
        """Return the number from which an embedded subject is generated."""
        return list(self.subjects[dataset]).index(subject)

    def _ixi_subjects(self, dataset: Config) -> dict[str, Scans]:
        if dataset["source"] == "embedded":
            folder = f"{self.root}/raw/ixi"
            count = sum(dataset["splits"].values())
            ids = [embedded_subject_id(index, self.config["seed"]) for index in range(count)]
            return {
                name: Scans(f"{folder}/IXI-T2/{name}-T2.nii.gz", f"{folder}/IXI-T1/{name}-T1.nii.gz")
                for name in ids
            }
        if (
            dataset["root"] is None
            or not Path(dataset["root"]).is_dir()
            or (dataset["download"] and self._not_fetched(dataset))
        ):
            return placeholders("IXI", PUBLISHED_SUBJECTS["ixi"])
        root = Path(dataset["root"])
        # A subject without its T2 is a bad scan like any other, not one to pass over in silence.
        found = list_scans(root) | list_incomplete(root)
        return {name: Scans(str(found[name]["T2"]), str(found[name]["T1"])) for name in sorted(found)}

    def _fastmri_subjects(self, dataset: Config) -> dict[str, Scans]:
        splits = dataset["splits"]
        if dataset["source"] == "embedded":
            folder = Path(f"{self.root}/raw/fastmri")
            train = splits["train"] + splits["val"]
            pairs = [("train" if i < train else "val", *pair_files(i)) for i in range(train + splits["test"])]
        else:
            folder = Path(dataset["root"] or "")
            lists = {"train": dataset["train_pairs"], "val": dataset["val_pairs"]}
            if any(path is None or not Path(path).is_file() for path in lists.values()):
                return placeholders("file", PUBLISHED_SUBJECTS["fastmri"])
            entries = {hint: read_pair_list(Path(path)) for hint, path in lists.items()}
            check_splits(entries)
            pairs = [(hint, *pair[:2]) for hint, listed in entries.items() for pair in listed]
        return {
            Path(pdfs).stem: Scans(
                target=str(folder / f"singlecoil_{hint}" / f"{Path(pdfs).stem}.h5"),
                auxiliary=str(folder / f"singlecoil_{hint}" / f"{Path(pd).stem}.h5"),
                split_hint=hint,
            )
            for hint, pd, pdfs in pairs
        }

    def _further_subjects(self, name: str, dataset: Config) -> dict[str, Scans]:
        found = further_dataset(name)
        count = sum(dataset["splits"].values())
        if dataset["source"] == "embedded" and found.embedded_id is not None:
            root = Path(f"{self.root}/raw/{name}")
            subjects = [found.embedded_id(index, self.config["seed"]) for index in range(count)]
        elif dataset["root"] is None or not Path(dataset["root"]).is_dir():
            return placeholders(name, count)
        else:
            # A subject without one of the scans is a bad scan like any other, not one to pass over.
            root = Path(dataset["root"])
            subjects = found.find(root)
            if not subjects:
                raise BadInput(
                    f"config: datasets.{name}.root: {root} holds no scan like {found.target_file}; point "
                    "it at the folder that does"
                )
        return {
            subject: Scans(*(path.as_posix() for path in found.files(root, subject))) for subject in subjects
        }

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
        definitions = [*self.table_definitions.values(), *self.figure_definitions.values()]
        wanted = {
            Run(definition.dataset, mask, method, seed)
            for definition in definitions
            for mask in definition.masks
            for method in definition.methods
            if mask not in self.method(method).declines
            for seed in self.config["seeds"]
        }
        if not wanted:
            raise BadInput(
                "config: tables, figures: none of them needs a run on these datasets; choose at least one "
                "table of a dataset that is configured"
            )
        position = {mask: i for i, mask in enumerate(all_masks())}
        return sorted(wanted, key=lambda run: (run.dataset, position[run.mask], run.method, run.seed))

    def spec(self, run: Run) -> RunSpec:
        """Return what training and evaluation take as their whole configuration."""
        method = self.method(run.method)
        training = dict(self.config["training"])
        # How trainings share a GPU is the lease's business.
        del training["trainings_per_gpu"]
        if isinstance(training["epochs"], dict):
            training["epochs"] = training["epochs"][run.dataset]
        if not method.trainable:
            # Nothing that only training reads may repeat an evaluation.
            training |= {"epochs": 1, "schedule": "constant", "warm_up": 0, "gradient_clip": None}
            training |= {"channels_last": False, "recompute": True, "devices": 1, "logger": "csv"}
        return RunSpec(
            dataset=run.dataset,
            mask=run.mask,
            method=run.method,
            folder=method.folder,
            seed=run.seed,
            trainable=method.trainable,
            parameters=dict(method.parameters),
            optimiser=dict(method.optimiser),
            noise=float(self.config["datasets"][run.dataset].get("noise", 0)),
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
        fixed = {*configured, *folder.method(method_id).changes}
        return {name: values for name, values in folder.default.tune.items() if name not in fixed}

    # ---- tables and figures -------------------------------------------------------------------

    @cached_property
    def table_definitions(self) -> dict[int, Definition]:
        """Per table number: what it shows."""
        found = {}
        for number in self.config["tables"]:
            numeral, dataset, masks, rows = TABLES[number]
            if dataset in self.config["datasets"]:
                found[number] = self._definition(f"table {numeral}", number, dataset, masks, rows, numeral)
        # Beyond the paper: each further dataset has a comparison of all methods.
        for number, dataset in enumerate(self.further, max(TABLES) + 1):
            found[number] = self._definition(f"table {number}", number, dataset, None, None, str(number))
        return found

    @property
    def beside_paper(self) -> bool:
        """Whether there are tables, and none that the paper has."""
        return bool(self.table_definitions) and not set(self.table_definitions) & set(TABLES)

    @cached_property
    def figure_definitions(self) -> dict[int, Definition]:
        """Per figure number: what it shows, rows or the grid of loss weights of Fig. 9."""
        found = {}
        for number in self.config["figures"]:
            dataset, masks, rows = FIGURES[number]
            if dataset in self.config["datasets"]:
                found[number] = self._definition(f"figure {number}", number, dataset, masks, rows)
        if SWEEP_FIGURE in found:
            alphas, betas = (self.config["sweep"][name] for name in ("alphas", "betas"))
            grid = [Point(float(a), float(b), self._sweep_point(a, b)) for a in alphas for b in betas]
            found[SWEEP_FIGURE] = replace(
                found[SWEEP_FIGURE],
                alphas=tuple(map(float, alphas)),
                betas=tuple(map(float, betas)),
                grid=tuple(grid),
            )
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
        numeral: str = "",
    ) -> Definition:
        configured = self.config["datasets"][dataset]
        masks = masks_of(dataset) if masks is None else masks
        chosen = tuple(mask for mask in masks if mask in configured["masks"])
        if not chosen:
            raise BadInput(
                f"config: {name} shows {' or '.join(masks)}, none of which stands in "
                f"datasets.{dataset}.masks; add one there or leave the {name} out"
            )
        if rows is None:
            rows = tuple((name, self.method(name).label_on(dataset)) for name in self.compared)
        return Definition(
            number=number,
            dataset=dataset,
            source=configured["source"],
            masks=chosen,
            rows=tuple(self._row(method, text, chosen) for method, text in rows),
            seeds=tuple(self.config["seeds"]),
            convention=self.config["metric_convention"],
            experiment=self.config["experiment"],
            numeral=numeral,
            metrics=with_standard(self.metrics),
        )

    def _row(self, method: str, text: str, masks: tuple[str, ...]) -> Row:
        declines = {mask: why for mask, why in self.method(method).declines.items() if mask in masks}
        return Row(method, text, declines)

    def runs_of(self, definition: Definition) -> list[Run]:
        """Return the runs that a table or figure is made from."""
        return [
            run
            for run in self.runs
            if run.dataset == definition.dataset
            and run.mask in definition.masks
            and run.method in definition.methods
        ]

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
