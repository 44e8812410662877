"""Reading and checking a benchmark configuration."""

import glob
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data_prep.datasets.contract import Size, dataset_of
from data_prep.datasets.contract import discover as datasets
from data_prep.errors import BadInput, visible
from data_prep.io.files import matching
from data_prep.io.schemas import check_schema, with_numbers
from data_prep.io.yaml_files import read_yaml
from data_prep.masks.from_file import full_name, read_mask, register, registered
from data_prep.masks.registry import masks_of
from data_prep.prepare.places import SHARED
from methods.optimisers import OPTIMISERS, check_optimiser, merged_optimiser
from methods.registry import DECIMAL, MethodFolder, check_parameters, discover, folder_of
from workflow.metrics.contract import metrics
from workflow.papers.contract import papers as all_papers
from workflow.papers.contract import read_paper
from workflow.plan.training import check_training

_SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"
Config = dict[str, Any]


@cache
def schema() -> dict[str, Any]:
    """Return the schema of configurations, with every dataset in its places.

    A dataset whose configuration is not as ``$defs/dataset`` says has a ``config.schema.yaml`` in its folder.
    """
    content: dict[str, Any] = yaml.safe_load(_SCHEMA_FILE.read_text(encoding="utf-8"))
    properties = content["properties"]
    common = content["$defs"]["dataset"]
    for name, (module, dataset) in datasets().items():
        own = Path(str(sys.modules[module].__file__)).with_name("config.schema.yaml")
        # Measured k-space has its noise and its phase already.
        simulated = ("noise", "phase") if dataset.measured else ()
        keys = {key: of for key, of in common["properties"].items() if key not in simulated}
        entry = {**common, "properties": keys}
        if own.is_file():
            entry = yaml.safe_load(own.read_text(encoding="utf-8"))
        properties["datasets"]["properties"][name] = entry
        trust = properties["trust"]["properties"]
        for key in ("masks",) if dataset.measured else ("masks", "phase"):
            trust[key]["properties"][name] = {"$ref": "#/$defs/masks"}
        for section, key in (("training", "epochs"), ("training", "batch_size"), ("tuning", "epochs")):
            by_dataset = properties[section]["properties"][key]["oneOf"][1]
            by_dataset["propertyNames"]["enum"].append(name)
        properties["tuning"]["properties"]["masks"]["properties"][name] = {
            "type": "string",
            "description": "A sampling mask, by name.",
        }
    return content


def check_config(content: Mapping[str, Any], methods: Mapping[str, MethodFolder]) -> Config:
    """Return the configuration with its defaults filled in.

    Raises:
        BadInput: an unknown key, a wrong value, or values that do not fit together.
    """
    # Plain copies: Snakemake hands over its own dict classes.
    plain = with_numbers(_plain(content), schema())
    _check_keys_and_numbers(plain, "")
    config: Config = yaml.safe_load(yaml.safe_dump(plain, sort_keys=False))
    check_schema(config, schema(), "config", "the top level", "config/README.md lists every key")
    _fill_defaults(config, schema())
    if config["experiment"] == SHARED:
        raise BadInput(
            f"config: experiment: {SHARED!r} is the folder of what experiments share; choose another name"
        )
    for name, dataset in config["datasets"].items():
        _take_mask_files(name, dataset, config["trust"], config.get("tuning", {}).get("masks", {}))
        _check_dataset(name, dataset)
    check_training(config["training"], config["datasets"])
    _check_methods(config, methods)
    _check_shown(config)
    for name, values in config["sweep"].items():
        for value in values:
            # A run's method id, which holds them, would not give back one such as 1e-05.
            if not re.fullmatch(DECIMAL, str(value)):
                raise BadInput(
                    f"config: sweep.{name}: {value!r} is no plain decimal; give 0 or a number from 0.0001"
                )
    _check_trust(config)
    if "tuning" in config:
        _check_tuning(config, methods)
    for metric in config.get("metrics", []):
        if metric not in metrics():
            raise BadInput(
                f"config: metrics: {metric!r} is unknown; workflow/metrics/library/ has "
                f"{', '.join(metrics())}"
            )
    return config


def read_config(path: Path) -> Config:
    """Read a YAML file and check it against the schema and the discovered methods.

    Raises:
        BadInput: the file is missing, not YAML, or not a valid configuration.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path}: the top level is not a mapping; start from config/demo.yaml")
    methods = discover()
    try:
        return check_config(content, methods)
    except BadInput as error:
        # Snakemake hands over configurations without their paths; here the path is known.
        raise BadInput(f"{path}: {' '.join(str(error).split()).removeprefix('config: ')}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_keys_and_numbers(value: Any, place: str) -> None:
    """Refuse what YAML can say and nothing here means: keys and numbers that are none, unseen characters."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadInput(
                    f"config: {place or 'the top level'}: the key {key!r} is no text; put it in quotes, or "
                    "remove it"
                )
            _check_keys_and_numbers(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys_and_numbers(item, f"{place}[{index}]")
    elif isinstance(value, str):
        # Such as a line break, in what becomes a word of a command or part of a path.
        if visible(value) != value:
            raise BadInput(f"config: {place}: is {value!a}; remove the characters that cannot be seen")
    # A whole number beyond the largest fraction is as good as infinite.
    elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise BadInput(f"config: {place}: is infinite or no number at all; give a finite number")


def resolve(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry of the schema, or what it refers to."""
    reference = entry.get("$ref")
    return schema()["$defs"][reference.rsplit("/", 1)[-1]] if reference else entry


def split_numbers(splits: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of subjects of each split, the largest where it is given as ``at_most``."""
    return {name: of["at_most"] if isinstance(of, Mapping) else of for name, of in splits.items()}


def of_dataset(value: Any, dataset: str) -> Any:
    """Return what a value that may be one for all or one per dataset is on a dataset."""
    return value[dataset] if isinstance(value, Mapping) else value


def configured_optimiser(config: Config, own: Mapping[str, Any], method_id: str) -> dict[str, Any]:
    """Return a method's optimiser with the changes to its folder and, of a variant, to itself."""
    found = dict(own)
    for name in dict.fromkeys((method_id.split("-")[0], method_id)):
        found = merged_optimiser(found, config["methods"].get(name, {}).get("optimiser", {}))
    return found


def optimiser_on(options: Mapping[str, Any], dataset: str, method_id: str) -> dict[str, Any]:
    """Return a configured optimiser on one dataset.

    Raises:
        BadInput: an option has values per dataset, and none for this one.
    """
    for key, value in options.items():
        if isinstance(value, Mapping) and dataset not in value:
            raise BadInput(
                f"config: methods.{method_id}.optimiser.{key}: no value for {dataset}; add it, or give one "
                "for all"
            )
    return {key: of_dataset(value, dataset) for key, value in options.items()}


def _fill_defaults(value: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, entry in part.get("properties", {}).items():
        entry = resolve(entry)
        if key not in value and "default" in entry:
            value[key] = _plain(entry["default"])
        if isinstance(value.get(key), dict):
            _fill_defaults(value[key], entry)


def _take_mask_files(name: str, dataset: Config, trust: Config, tuned: dict[str, str]) -> None:
    """Read the masks of a dataset that are files, and put their full names where theirs stand."""
    full: dict[str, str] = {}
    for mask, file in dataset.get("mask_files", {}).items():
        place = f"config: datasets.{name}.mask_files.{mask}"
        try:
            full[mask] = full_name(mask, read_mask(Path(file), dataset["matrix"], dataset["matrix"]), place)
        except BadInput as error:
            raise BadInput(f"{place}: {str(error).removeprefix(f'{place}: ')}") from error
        if mask not in dataset["masks"] and not trust["transfer"]:
            raise BadInput(
                f"{place}: neither datasets.{name}.masks nor trust.transfer uses it; add it to masks, set "
                "trust.transfer to true, or remove it"
            )
    if not full:
        return
    if len({*full.values()}) < len(full):
        raise BadInput(f"config: datasets.{name}.mask_files: two names mean one mask; rename one")
    register(full.values())
    dataset["mask_files"] = {full[mask]: file for mask, file in dataset["mask_files"].items()}
    lists = {f"datasets.{name}.masks": dataset["masks"]}
    lists |= {f"trust.{key}.{name}": trust.get(key, {}).get(name, []) for key in ("masks", "phase")}
    for place, masks in lists.items():
        masks[:] = [full.get(mask, mask) for mask in masks]
        # The schema saw two names: a table would have a column, and a test, twice.
        if twice := [mask for index, mask in enumerate(masks) if mask in masks[:index]]:
            raise BadInput(f"config: {place}: {twice[0]} is there twice, by both names; remove one")
    if name in tuned:
        tuned[name] = full.get(tuned[name], tuned[name])


def _check_dataset(name: str, dataset: Config) -> None:
    entry = dataset_of(name)
    # Of a file that another dataset names, this one's masks cannot be made.
    own = dataset.get("mask_files", {})
    known = [*(mask for mask in masks_of(entry.drawn_masks) if mask not in registered()), *own]
    for mask in dataset["masks"]:
        if mask not in known:
            raise BadInput(
                f"config: datasets.{name}.masks: unknown mask {mask!r}; known masks: {', '.join(known)}"
            )
    embedded = dataset["source"] == "embedded"
    if dataset.get("download") and (embedded or dataset["root"] is None):
        what = "source is embedded, which downloads nothing" if embedded else "root is null"
        raise BadInput(
            f"config: datasets.{name}.download: is true, but {what}; set source to published and root to the "
            "folder to download into"
        )
    total = sum(split_numbers(dataset["splits"]).values())
    if dataset["source"] == "published":
        published = sum(pool.counted for pool in entry.published.values())
        if 0 < published < total:
            raise BadInput(
                f"config: datasets.{name}.splits: add up to {total}, more than the {published} of the "
                "published data; lower them"
            )
        return
    if entry.embed is None:
        raise BadInput(
            f"config: datasets.{name}.source: {name} has no embedded form; set it to published and root "
            "to your copy"
        )
    acquired = dataset.setdefault("acquired_slices", dataset["slices"])
    if acquired is None or acquired < (dataset["slices"] or 1):
        raise BadInput(
            f"config: datasets.{name}.acquired_slices: must be a number, at least "
            f"datasets.{name}.slices; raise it or lower slices"
        )
    try:
        # Before anything is fetched.
        entry.check_size(Size(dataset["matrix"], acquired, dataset.get("slice_spacing")))
    except BadInput as error:
        raise BadInput(f"config: datasets.{name}: {error}") from error


def named_papers(config: Mapping[str, Any]) -> list[str]:
    """Return the ids of the papers that a configuration names."""
    named = config.get("paper", [])
    return [named] if isinstance(named, str) else named


def _check_shown(config: Config) -> None:
    """Refuse a paper that there is not, and tables and figures that no chosen paper has."""
    try:
        papers = [read_paper(name) for name in named_papers(config)]
    except BadInput as error:
        raise BadInput(f"config: paper: {error}") from error
    known: dict[str, list[int | str]] = {
        "tables": [paper.key(number) for paper in papers for number in paper.tables],
        "figures": [paper.key(number) for paper in papers for number in paper.figures],
    }
    if not papers:
        known["tables"] = list(config["datasets"])
    for kind, names in known.items():
        for index, name in enumerate(config[kind] if isinstance(config[kind], list) else []):
            if name not in names:
                said = f"choose among {', '.join(map(str, names)) or 'none'}"
                said += "" if papers else f", or name its paper (`paper`: {', '.join(all_papers())})"
                raise BadInput(
                    f"config: {kind}[{index}]: there is no {kind.removesuffix('s')} {name!r}; {said}"
                )


def _check_trust(config: Config) -> None:
    trust = config["trust"]
    phased = trust.get("phase", {})
    named = [(f"masks.{name}", name, masks) for name, masks in trust["masks"].items()]
    named += [(f"phase.{name}", name, masks) for name, masks in phased.items()]
    for place, name, masks in named:
        if name not in config["datasets"]:
            raise BadInput(f"config: trust.{place}: there is no datasets.{name}; remove the key")
        for mask in masks:
            if mask not in config["datasets"][name]["masks"]:
                raise BadInput(
                    f"config: trust.{place}: {mask!r} does not stand in datasets.{name}.masks; add it "
                    "there or remove it here"
                )
    for name in phased:
        if config["datasets"][name].get("phase", "none") != "none":
            raise BadInput(
                f"config: trust.phase.{name}: datasets.{name}.phase gives all of its runs a phase; remove one"
            )
    for name in trust["masks"]:
        if "other_subject" in trust["swaps"] and config["datasets"][name]["splits"]["test"] < 2:
            raise BadInput(
                "config: trust.swaps: other_subject needs two test subjects; raise "
                f"datasets.{name}.splits.test or remove it"
            )
    embedded = [name for name, dataset in config["datasets"].items() if dataset["source"] == "embedded"]
    if trust["lesions"] and not any(dataset_of(name).lesions for name in embedded):
        raise BadInput(
            "config: trust.lesions: only embedded brains have known lesions; set it to false for published "
            "scans"
        )
    probes = [name for name, value in trust.items() if value and name not in ("masks", "cost", "phase")]
    if probes and not trust["masks"]:
        raise BadInput(
            f"config: trust.masks: names no mask, so trust.{probes[0]} would do nothing; add the masks whose "
            "runs are to be probed, such as {brats: [1d_uniform_6x]}"
        )


def _check_tuning(config: Config, methods: Mapping[str, MethodFolder]) -> None:
    """Refuse what the plan need not know to refuse; see ``TuningPlan`` for the rest."""
    tuning = config["tuning"]
    for name, mask in tuning["masks"].items():
        if name not in config["datasets"]:
            raise BadInput(f"config: tuning.masks.{name}: there is no datasets.{name}; remove the key")
        if mask not in config["datasets"][name]["masks"]:
            raise BadInput(
                f"config: tuning.masks.{name}: {mask!r} does not stand in datasets.{name}.masks; add it "
                "there or name one of them here"
            )
        if isinstance(tuning.get("epochs"), dict) and name not in tuning["epochs"]:
            raise BadInput(f"config: tuning.epochs: no number for {name}; add it, or give one for all")
    known = sorted({option for _, options in OPTIMISERS.values() for option in options})
    for name, values in tuning["grid"].items():
        place = f"config: tuning.grid.{name}"
        if name not in known:
            raise BadInput(f"{place}: no option of an optimiser; their options: {', '.join(known)}")
        if len(values) < 2:
            raise BadInput(
                f"{place}: has {len(values)} value, which leaves nothing to choose; give two or more, or set "
                "the option under methods"
            )
        if twice := [value for index, value in enumerate(values) if value in values[:index]]:
            raise BadInput(f"{place}: {twice[0]!r} is there twice; remove one")
    for name in tuning["methods"] if tuning["methods"] != "all" else ():
        try:
            folder = folder_of(name, methods)
        except BadInput as error:
            raise BadInput(f"config: tuning.methods: {error}") from error
        if folder != name:
            raise BadInput(f"config: tuning.methods: {name!r} is a variant; see tuning.variants")
        if not methods[name].default.trainable:
            raise BadInput(
                f"config: tuning.methods: {name!r} is not trained, so there is nothing to tune; remove it"
            )


def _pass_over_gone(config: Config, methods: Mapping[str, MethodFolder]) -> None:
    """Leave out methods whose folder is gone, if results of theirs tell that it was there, and say so."""
    runs = Path("results", config["experiment"], "runs")
    chosen = config["compare"] if isinstance(config["compare"], list) else []
    named = {*chosen, *config["methods"]}
    for name in sorted(name for name in named if name.split("-")[0] not in methods):
        if chosen != [name] and any(matching(runs, f"*/*/{glob.escape(name)}")):
            config["methods"].pop(name, None)
            chosen[:] = [other for other in chosen if other != name]
            sys.stderr.write(
                f"config: there is no folder methods/{name}/ any more; what {runs} holds of {name} stays, "
                "and no table or figure shows it\n"
            )


def _check_methods(config: Config, methods: Mapping[str, MethodFolder]) -> None:
    _pass_over_gone(config, methods)
    named = [] if config["compare"] == "all" else [("compare", name) for name in config["compare"]]
    for place, name in [*named, *((f"methods.{name}", name) for name in config["methods"])]:
        try:
            folder = folder_of(name, methods)
        except BadInput as error:
            raise BadInput(f"config: {place}: {error}") from error
        if place == "compare" and folder != name:
            raise BadInput(f"config: {place}: {name!r} is a variant; name the folder {folder!r} instead")
        if folder != name and name.removeprefix(f"{folder}-") not in methods[folder].variants:
            raise BadInput(f"config: {place}: {folder!r} has no such variant; name one of its method.yaml")
    named_by = [entry.default.collection for entry in methods.values()]
    collections = sorted({name for name in named_by if name is not None})
    for name in config["collections"]:
        if name not in collections:
            raise BadInput(
                f"config: collections: {name!r} is unknown; method.yaml files name "
                f"{', '.join(collections) or 'no collection'}"
            )
    for name, changes in config["methods"].items():
        folder = name.split("-")[0]
        default = methods[folder].default
        if folder != name and "parameters" in changes:
            raise BadInput(
                f"config: methods.{name}.parameters: a variant may have an optimiser of its own, and takes "
                f"its parameters from methods.{folder}; move them there"
            )
        check_parameters(f"config: methods.{name}.parameters", changes.get("parameters", {}), default)
        if "optimiser" in changes and not default.trainable:
            raise BadInput(f"config: methods.{name}.optimiser: {name} is not trained; remove the key")
    for name in dict.fromkeys((*methods, *config["methods"])):
        changes = config["methods"].get(name, {}).get("optimiser", {})
        place = f"config: methods.{name}.optimiser" if changes else f"methods/{name}/method.yaml: optimiser"
        default = methods[name.split("-")[0]].default
        if default.trainable:
            options = configured_optimiser(config, default.optimiser, name)
            for value in options.values():
                if isinstance(value, Mapping) and (unknown := sorted({*value} - {*datasets()})):
                    raise BadInput(
                        f"{place}: there is no dataset {unknown[0]!r}; known: {', '.join(datasets())}"
                    )
            for dataset in config["datasets"]:
                # A method need not run on every dataset; where it does, the plan misses the value.
                if all(dataset in value for value in options.values() if isinstance(value, Mapping)):
                    check_optimiser(place, optimiser_on(options, dataset, name))
