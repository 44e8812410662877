"""Reading and checking a benchmark configuration."""

import glob
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from data_prep.datasets.contract import Size, dataset_of
from data_prep.datasets.contract import discover as datasets
from data_prep.errors import BadInput
from data_prep.io.yaml_files import read_yaml
from data_prep.masks.registry import masks_of
from methods.optimisers import check_optimiser, merged_optimiser
from methods.registry import DECIMAL, MethodFolder, discover, folder_of
from workflow.metrics.contract import metrics

_SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"
Config = dict[str, Any]

# By the standard 2.0 is an integer, too; here it would reach what counts or names with it. (jsonschema gives
# `extend` no types.)
_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


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
        # Measured k-space has its noise already.
        keys = {key: of for key, of in common["properties"].items() if key != "noise" or not dataset.measured}
        entry = (
            yaml.safe_load(own.read_text(encoding="utf-8"))
            if own.is_file()
            else {**common, "properties": keys}
        )
        properties["datasets"]["properties"][name] = entry
        properties["trust"]["properties"]["masks"]["properties"][name] = {"$ref": "#/$defs/masks"}
        properties["training"]["properties"]["epochs"]["oneOf"][1]["propertyNames"]["enum"].append(name)
    return content


def check_config(content: Mapping[str, Any], methods: Mapping[str, MethodFolder]) -> Config:
    """Return the configuration with its defaults filled in.

    Raises:
        BadInput: an unknown key, a wrong value, or values that do not fit together.
    """
    # Plain copies: Snakemake hands over its own dict classes.
    plain = _plain(content)
    _check_keys_and_numbers(plain, "")
    config: Config = yaml.safe_load(yaml.safe_dump(plain, sort_keys=False))
    problem = jsonschema.exceptions.best_match(_Validator(schema()).iter_errors(config))
    if problem is not None:
        place = problem.json_path.removeprefix("$").lstrip(".") or "the top level"
        raise BadInput(f"config: {place}: {problem.message}; config/README.md lists every key")
    _fill_defaults(config, schema())
    for name, dataset in config["datasets"].items():
        _check_dataset(name, dataset)
        epochs = config["training"]["epochs"]
        if isinstance(epochs, dict) and name not in epochs:
            raise BadInput(f"config: training.epochs: no number for {name}; add it, or give one for all")
    _check_methods(config, methods)
    _check_sweep(config["sweep"])
    _check_trust(config)
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
    """Refuse what YAML can say and no key here can mean: keys that are no text, nan and infinity."""
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
    # A whole number beyond the largest fraction is as good as infinite.
    elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise BadInput(f"config: {place}: is infinite or no number at all; give a finite number")


def resolve(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry of the schema, or what it refers to."""
    reference = entry.get("$ref")
    return schema()["$defs"][reference.rsplit("/", 1)[-1]] if reference else entry


def _fill_defaults(value: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, entry in part.get("properties", {}).items():
        entry = resolve(entry)
        if key not in value and "default" in entry:
            value[key] = _plain(entry["default"])
        if isinstance(value.get(key), dict):
            _fill_defaults(value[key], entry)


def _check_dataset(name: str, dataset: Config) -> None:
    entry = dataset_of(name)
    known = masks_of(entry.drawn_masks)
    for mask in dataset["masks"]:
        if mask not in known:
            raise BadInput(
                f"config: datasets.{name}.masks: unknown mask {mask!r}; known masks: {', '.join(known)}"
            )
    if dataset.get("download") and (dataset["source"] == "embedded" or dataset["root"] is None):
        what = (
            "source is embedded, which downloads nothing"
            if dataset["source"] == "embedded"
            else "root is null"
        )
        raise BadInput(
            f"config: datasets.{name}.download: is true, but {what}; set source to published and root to the "
            "folder to download into"
        )
    total = sum(dataset["splits"].values())
    if dataset["source"] == "published":
        if 0 < entry.published_subjects < total:
            raise BadInput(
                f"config: datasets.{name}.splits: add up to {total}, more than the "
                f"{entry.published_subjects} of the published data; lower them"
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


def _check_sweep(sweep: Config) -> None:
    """Refuse values that a run's method id, which holds them, does not give back, such as 1e-05."""
    for name, values in sweep.items():
        for value in values:
            if not re.fullmatch(DECIMAL, str(value)):
                raise BadInput(
                    f"config: sweep.{name}: {value!r} is no plain decimal; give 0 or a number from 0.0001"
                )


def _check_trust(config: Config) -> None:
    trust = config["trust"]
    for name, masks in trust["masks"].items():
        dataset = config["datasets"].get(name)
        if dataset is None:
            raise BadInput(f"config: trust.masks.{name}: there is no datasets.{name}; remove the key")
        for mask in masks:
            if mask not in dataset["masks"]:
                raise BadInput(
                    f"config: trust.masks.{name}: {mask!r} does not stand in datasets.{name}.masks; add it "
                    "there or remove it here"
                )
        if "other_subject" in trust["swaps"] and dataset["splits"]["test"] < 2:
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
    probes = [name for name, value in trust.items() if value and name not in ("masks", "cost")]
    if probes and not trust["masks"]:
        raise BadInput(
            f"config: trust.masks: names no mask, so trust.{probes[0]} would do nothing; add the masks whose "
            "runs are to be probed, such as {brats: [1d_uniform_6x]}"
        )


def _pass_over_gone(config: Config, methods: Mapping[str, MethodFolder]) -> None:
    """Leave out methods whose folder is gone, if results of theirs tell that it was there, and say so."""
    runs = Path("results", config["experiment"], "runs")
    chosen = config["compare"] if isinstance(config["compare"], list) else []
    for name in sorted({*chosen, *config["methods"]} - {*methods}):
        if chosen != [name] and any(runs.glob(f"*/*/{glob.escape(name)}")):
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
        if folder != name:
            raise BadInput(f"config: {place}: {name!r} is a variant; name the folder {folder!r} instead")
    named_by = [entry.default.collection for entry in methods.values()]
    collections = sorted({name for name in named_by if name is not None})
    for name in config["collections"]:
        if name not in collections:
            raise BadInput(
                f"config: collections: {name!r} is unknown; method.yaml files name "
                f"{', '.join(collections) or 'no collection'}"
            )
    for name, changes in config["methods"].items():
        default = methods[name].default
        unknown = sorted(set(changes.get("parameters", {})) - set(default.parameters))
        if unknown:
            raise BadInput(
                f"config: methods.{name}.parameters: unknown parameter {unknown[0]!r}; "
                f"methods/{name}/method.yaml declares {', '.join(default.parameters) or 'none'}"
            )
        for key, value in changes.get("parameters", {}).items():
            if not _same_kind(value, default.parameters[key]):
                own = default.parameters[key]
                raise BadInput(
                    f"config: methods.{name}.parameters.{key}: is {value!r}; give {_kind(own)} such as the "
                    f"default, {own!r}"
                )
            if _below_one(value, default.parameters[key]):
                raise BadInput(
                    f"config: methods.{name}.parameters.{key}: is {value!r}; give a whole number from 1"
                )
        if "optimiser" in changes and not default.trainable:
            raise BadInput(f"config: methods.{name}.optimiser: {name} is not trained; remove the key")
    for name, entry in methods.items():
        changes = config["methods"].get(name, {}).get("optimiser", {})
        place = f"config: methods.{name}.optimiser" if changes else f"methods/{name}/method.yaml: optimiser"
        if entry.default.trainable:
            check_optimiser(place, merged_optimiser(entry.default.optimiser, changes))


def _same_kind(value: Any, default: Any) -> bool:
    """Tell whether a value can stand where the default stands; a whole number may, where a fraction does."""
    if default is None:
        return True
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def _below_one(value: Any, default: Any) -> bool:
    """Tell whether a size or number of parts is below 1: one whose default, a whole number, is not."""
    return type(default) is int and default >= 1 and value < 1


def _kind(default: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return kinds.get(type(default), "a value")
