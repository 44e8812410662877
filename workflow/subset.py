"""Cut a configuration down to some datasets, masks and methods, with all that depends on them.

    python -m workflow.subset config/paper.yaml --methods zf,unet,manet --masks 1d_uniform_6x > mine.yaml

prints a whole configuration, checked, whose head says what it was cut from. Tables and figures that show
another method or no mask that is left go; so do masks of trust and tuning, changes to other methods, and the
loss weights of a figure that goes. What is not named stays. Its results are an experiment of their own.
"""

import shlex
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, visible
from data_prep.io.command import NAMES, command
from data_prep.io.hashes import file_sha256
from data_prep.io.yaml_files import read_yaml
from methods.registry import MethodFolder, discover, folder_of
from workflow.plan.chosen import chosen_figures, chosen_papers, chosen_tables
from workflow.plan.config import Config, check_config, read_config
from workflow.plan.plan import Plan
from workflow.plan.tuning import TuningPlan


def cut(content: Any, gone: Collection[str]) -> Any:
    """Return configuration data without some names, wherever they are keys, values or stand in lists.

    What held something and is left empty goes with them; None stands for it.
    """
    if isinstance(content, Mapping):
        inner = {key: cut(value, gone) for key, value in content.items() if key not in gone}
        kept = {key: value for key, value in inner.items() if value is not None or content[key] is None}
        return kept if kept or not content else None
    if isinstance(content, list):
        items = [item for item in content if not (isinstance(item, str) and item in gone)]
        return items if items or not content else None
    return None if isinstance(content, str) and content in gone else content


def subset(
    content: Config,
    methods: Mapping[str, MethodFolder],
    chosen: Mapping[str, Collection[str]],
) -> Config:
    """Return what is left of a configuration, unchecked but for its tables and figures.

    Args:
        content: as it is written, valid.
        methods: all that there are.
        chosen: names by ``datasets``, ``masks`` and ``methods`` (ids; variants too); without one, all stay.

    Raises:
        BadInput: nothing is left, or no table or figure shows a chosen method.
    """
    datasets = content["datasets"]
    left = {
        name: [mask for mask in of["masks"] if mask in chosen.get("masks", of["masks"])]
        for name, of in datasets.items()
        if name in chosen.get("datasets", datasets)
    }
    if empty := [name for name, masks in left.items() if not masks and "datasets" in chosen]:
        raise BadInput(f"--masks: none of them stands in datasets.{empty[0]}.masks; name one or leave it out")
    left = {name: masks for name, masks in left.items() if masks}
    masks = {mask for of in datasets.values() for mask in of["masks"]}
    gone = ({*datasets} - {*left}) | (masks - {mask for of in left.values() for mask in of})
    named = chosen.get("methods")
    # Elsewhere a word may be like a name: of an experiment, a folder of scans, a method's parameter.
    changes = content.get("methods", {})
    kept: Config = {}
    for key, value in content.items():
        if key == "datasets":
            kept[key] = {name: _parts(of, gone) for name, of in value.items() if name in left}
        elif key != "methods":
            kept |= _parts({key: value}, gone)
    if named is not None:
        folders = [name for name in methods if name in {one.split("-")[0] for one in named}]
        kept["compare"] = [name for name in folders if name in named] or folders
        kept.pop("collections", None)
        others = {name for name in methods if name not in folders}
        if "tuning" in kept:
            kept["tuning"] = cut(kept["tuning"], others)
        changes = {name: of for name, of in changes.items() if name.split("-")[0] in folders}
    if changes:
        kept["methods"] = {name: _of_datasets(of, {*datasets} - {*left}) for name, of in changes.items()}
    _cut_sections(
        kept, [name for name, of in datasets.items() if name in left and of["source"] == "embedded"]
    )
    return _shown(kept, methods, named)


def _parts(content: Config, gone: Collection[str]) -> Config:
    """Return a mapping of which lists and mappings are ``cut``, but no single words."""
    kept = {key: cut(of, gone) if isinstance(of, Mapping | list) else of for key, of in content.items()}
    return {key: of for key, of in kept.items() if of is not None or content[key] is None}


def _of_datasets(changes: Config, gone: Collection[str]) -> Config:
    """Return the changes to a method without values for datasets that go."""
    return {**changes, "optimiser": _parts(changes["optimiser"], gone)} if "optimiser" in changes else changes


def _cut_sections(kept: Config, embedded: Iterable[str]) -> None:
    """Remove what trust and tuning can no longer do."""
    trust = kept.get("trust", {})
    if trust and "masks" not in trust:
        kept["trust"] = trust = {key: trust[key] for key in ("cost", "phase") if key in trust}
    if not any(dataset_of(name).lesions for name in embedded):
        trust.pop("lesions", None)
    if not trust:
        kept.pop("trust", None)
    if not trust.get("transfer"):
        kept["datasets"] = _without_idle_files(kept["datasets"])
    tuning = kept.get("tuning") or {}
    # A dataset whose mask for tuning was cut is not tuned under another that nobody chose.
    if "grid" not in tuning or not {*kept["datasets"]} <= {*tuning.get("masks", {})}:
        kept.pop("tuning", None)


def _without_idle_files(datasets: Config) -> Config:
    """Return datasets without masks from files that are for testing alone."""
    found = {}
    for name, of in datasets.items():
        used = {mask: file for mask, file in of.get("mask_files", {}).items() if mask in of["masks"]}
        found[name] = {key: value for key, value in of.items() if key != "mask_files"}
        found[name] |= {"mask_files": used} if used else {}
    return found


def _shown(kept: Config, methods: Mapping[str, MethodFolder], named: Collection[str] | None) -> Config:
    """Return a configuration with those of its tables and figures that show what is left, and no more."""
    without = {key: value for key, value in kept.items() if key not in ("trust", "tuning")}
    config = check_config(without | {"datasets": _without_idle_files(kept["datasets"])}, methods)
    rows = (
        {one for name in config["compare"] for one in methods[name].compared} if named is not None else set()
    )
    allowed = None if named is None else {*named, *rows}
    papers = chosen_papers(config, methods)
    made = {"tables": chosen_tables(config, papers, {}), "figures": chosen_figures(config, papers)}
    found: dict[str, list[int | str]] = {"tables": [], "figures": []}
    for kind, numbers in found.items():
        # A dataset beside the papers has its table unasked.
        for number in [one.key for one in made[kind] if one.paper or not papers]:
            try:
                alone = Plan({**config, "tables": [], "figures": [], kind: [number]}, methods)
                of_kind = alone.table_definitions if kind == "tables" else alone.figure_definitions
                shown = {method for one in of_kind.values() if one.number == number for method in one.methods}
            except BadInput:
                # None of its masks is left.
                continue
            if shown and (allowed is None or shown <= allowed):
                numbers.append(number)
    kept = {**kept, **found}
    plan = Plan({**config, **found}, methods)
    if not any(one.grid for one in plan.figure_definitions.values()):
        kept.pop("sweep", None)
    if absent := [name for name in named or () if name not in {run.method for run in plan.runs}]:
        raise BadInput(
            f"--methods: {absent[0]}: no table or figure that is left shows it; name more methods or masks, "
            "or leave it out"
        )
    return kept


def _with_full_names(content: Config, checked: Config) -> tuple[Config, dict[str, list[str]]]:
    """Return a configuration whose masks from files have one name each, and the names as written -> these."""
    named, full = {**content, "datasets": {}}, dict[str, list[str]]()
    for name, of in content["datasets"].items():
        own = checked["datasets"][name]
        for short, mask in zip(of.get("mask_files", {}), own.get("mask_files", {}), strict=True):
            full.setdefault(short, []).append(mask)
        named["datasets"][name] = of | {key: own[key] for key in ("masks", "mask_files") if key in of}
    for section, keys in (("trust", ("masks", "phase")), ("tuning", ("masks",))):
        if section in named:
            written = named[section]
            named[section] = written | {key: checked[section][key] for key in keys if key in written}
    return named, full


@command
def main(
    file: Annotated[Path, "configuration, such as config/paper.yaml"],
    /,
    methods: Annotated[list[str] | None, NAMES, "methods, such as zf,unet,manet-no_kspace"] = None,
    masks: Annotated[list[str] | None, NAMES, "sampling masks"] = None,
    dataset: Annotated[list[str] | None, NAMES, "datasets"] = None,
    epochs: Annotated[int | None, "epochs of every training"] = None,
    experiment: Annotated[str | None, "name of the experiment; default: the file's and -subset"] = None,
) -> None:
    """Print the smaller configuration.

    Raises:
        BadInput: the file is no configuration, or a name is none of its own.
    """
    checked, known = read_config(file), discover()
    content, full = _with_full_names(read_yaml(file), checked)
    if masks is not None:
        masks = [mask for name in masks for mask in full.get(name, [name])]
    places = {"masks": {mask for of in content["datasets"].values() for mask in of["masks"]}}
    places["datasets"] = {*content["datasets"]}
    chosen = {"masks": masks, "datasets": dataset, "methods": methods}
    for option, place in (("--masks", "masks"), ("--dataset", "datasets"), ("--methods", "methods")):
        for name in chosen[place] or ():
            if place == "methods":
                folder = known[folder_of(name, known)]
                folder.method(name)
            elif name not in places[place]:
                raise BadInput(f"{option}: {file} has no {name!r}; it has {', '.join(sorted(places[place]))}")
    kept = subset(content, known, {name: of for name, of in chosen.items() if of is not None})
    kept["experiment"] = experiment or f"{content['experiment']}-subset"
    if epochs is not None:
        kept["training"] = {**kept["training"], "epochs": epochs}
    try:
        plan = Plan(check_config(kept, known), known)
    except BadInput as error:
        # Of the file all was right: these two are of the command.
        said = str(error).replace("config: training.epochs:", "--epochs:")
        raise BadInput(said.replace("config: experiment:", "--experiment:")) from error
    TuningPlan(plan)
    words = shlex.join(["python", "-m", "workflow.subset", *sys.argv[1:]])
    trained = sum(plan.trained(run.method) for run in plan.runs)
    sys.stdout.write(
        f"# {visible(words)}\n"
        f"# {len(plan.runs)} runs, {trained} of them trainings; {visible(str(file))} had the sha256\n"
        f"# {file_sha256(file)}\n"
    )
    yaml.safe_dump(kept, sys.stdout, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
