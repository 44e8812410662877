"""Discovery of the method folders: ``methods/<id>/`` with ``method.yaml``, ``model.py``, ``README.md``.

An installed package may be such a folder too, if it says so by an entry point of the group ``ENTRY_POINTS``:
the entry's name is the method's id, its value the package.

Only YAML is read here, of installed packages too; a folder's ``model.py``, and with it torch and the packages
that hold it, is imported by ``load_builder``.
"""

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from data_prep.contracts.discovery import imported, sources_in
from data_prep.errors import BadInput
from data_prep.io.schemas import check_schema, with_numbers
from data_prep.io.yaml_files import read_yaml
from data_prep.words import SENTENCE, check_template, check_words

if TYPE_CHECKING:
    from methods.contract import ReconstructionModel


METHODS_FOLDER = Path(__file__).parent
ENTRY_POINTS = "manet_benchmark.methods"
# A value of a sweep as it stands in a run's method id.
DECIMAL = r"[0-9]+(?:\.[0-9]+)?"
_SCHEMA = yaml.safe_load((METHODS_FOLDER / "method.schema.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Method:
    """One trainable or classical method as a run sees it: a folder's defaults, a variant or a sweep point.

    Attributes:
        id: the run's method id, e.g. ``manet``, ``manet-no_kspace`` or ``manet-a0.2-b0.6``.
        folder: name of the method's folder, e.g. ``manet``.
        label: the name that tables print, by dataset; ``other`` for all others.
        parameters: what ``build`` gets.
        changes: those of them that define a variant or sweep point; empty for the default.
        collection: enters a configuration only where this is asked for; None: enters every one.
        tune: of an untrained method, values to try on validation data, by parameter.
        small: values with which ``methods.check`` builds the method in seconds.
        optimiser: name, learning rate and other options; empty for untrained methods.
        declines: masks that the method does not take, with the reason.
        full_parameter_count: trainable parameters at the folder's default parameters, if stated.
    """

    id: str
    folder: str
    label: Mapping[str, str]
    order: int
    trainable: bool
    needs_auxiliary: bool
    citation: str
    parameters: Mapping[str, Any]
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    declines: Mapping[str, str] = field(default_factory=dict)
    full_parameter_count: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    collection: str | None = None
    tune: Mapping[str, list[Any]] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)

    def label_on(self, dataset: str) -> str:
        """Return the name that tables of a dataset print."""
        return self.label.get(dataset) or self.label.get("other", self.id)


@dataclass(frozen=True)
class MethodFolder:
    """A discovered folder: its default method and what its variants and sweeps change."""

    default: Method
    variants: Mapping[str, Mapping[str, Any]]
    sweeps: Mapping[str, Mapping[str, Any]]
    path: Path

    @property
    def compared(self) -> list[str]:
        """Method ids that have rows in Tables I and II: the default, and the variants that say so."""
        chosen = [name for name, variant in self.variants.items() if variant.get("compared")]
        return [self.default.id, *(f"{self.default.id}-{name}" for name in chosen)]

    def method(self, method_id: str) -> Method:
        """Return the default, a variant or a sweep point by its run id.

        Raises:
            BadInput: the folder declares no such variant or sweep point.
        """
        if method_id == self.default.id:
            return self.default
        suffix = method_id.removeprefix(f"{self.default.id}-")
        if suffix in self.variants:
            variant = self.variants[suffix]
            return self._changed(
                method_id, variant["parameters"], variant["label"], variant.get("full_parameter_count")
            )
        for sweep in self.sweeps.values():
            values = _parse_sweep_id(sweep["id"], suffix)
            if values is not None:
                # A loss weight changes no parameter count; a sweep over sizes would state none.
                return self._changed(method_id, values, sweep["label"].format(**values), None)
        raise BadInput(
            f"{self.path / 'method.yaml'}: no variant or sweep gives the method id {method_id!r}; "
            f"declared variants: {', '.join(sorted(self.variants)) or 'none'}"
        )

    def sweep_id(self, sweep: str, values: Mapping[str, float], default: Mapping[str, Any]) -> str:
        """Return the run id of a sweep point; the default's id where it is no other method.

        Args:
            sweep: name of the sweep.
            values: the point's parameters.
            default: the default method's parameters as configured.
        """
        if all(default[name] == value for name, value in values.items()):
            return self.default.id
        return f"{self.default.id}-{self.sweeps[sweep]['id'].format(**values)}"

    def _changed(
        self, method_id: str, parameters: Mapping[str, Any], label: str, count: int | None
    ) -> Method:
        return replace(
            self.default,
            id=method_id,
            label=dict.fromkeys(self.default.label, label),
            parameters={**self.default.parameters, **parameters},
            full_parameter_count=count,
            changes=parameters,
        )


def discover(folder: Path = METHODS_FOLDER) -> dict[str, MethodFolder]:
    """Return every method folder by id, in the order in which tables print them.

    The methods of installed packages are among those of ``methods/`` itself.

    Raises:
        BadInput: a folder is broken, or two have one id; the message names the file.
    """
    found = [
        read_folder(path, path.name)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(("_", ".")) and _holds_sources(path)
    ]
    if folder == METHODS_FOLDER:
        found += [read_folder(path, name) for name, (_, path) in sorted(installed_methods().items())]
    found.sort(key=lambda entry: (entry.default.order, entry.default.id))
    return {entry.default.id: entry for entry in found}


@cache
def installed_methods() -> dict[str, tuple[str, Path]]:
    """Return package and folder of each method that an installed package offers, by id.

    Raises:
        BadInput: an entry point names no package, or a method's id that is taken.
    """
    found: dict[str, tuple[str, Path]] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        place = f"entry point {entry.name} = {entry.value} ({ENTRY_POINTS})"
        path = _located(entry.value)
        if path is None:
            raise BadInput(f"{place}: there is no package {entry.value}; mend or uninstall what names it")
        if entry.name in found or _holds_sources(METHODS_FOLDER / entry.name):
            raise BadInput(f"{place}: there is another method {entry.name!r}; rename or uninstall one")
        found[entry.name] = (entry.value, path)
    return found


def _located(package: str) -> Path | None:
    """Return a package's folder without importing it or the packages that hold it; None if there is none."""
    first, *inner = package.split(".")
    if not all(map(str.isidentifier, (first, *inner))):
        return None
    # Of a top-level name this runs no code of the package; of a dotted one it would run every __init__ above.
    specification = importlib.util.find_spec(first)
    places = specification.submodule_search_locations if specification else None
    return next((path for place in places or () if (path := Path(place, *inner)).is_dir()), None)


def folder_path(folder: str) -> Path:
    """Return where a method's files lie: below ``methods/`` or in an installed package."""
    _, path = installed_methods().get(folder, ("", METHODS_FOLDER / folder))
    return path


def folder_of(method_id: str, known: Iterable[str]) -> str:
    """Return the folder that a run's method id belongs to.

    Raises:
        BadInput: there is no such folder.
    """
    name = method_id.split("-")[0]
    if name not in known:
        raise BadInput(
            f"unknown method {method_id!r}: there is no folder methods/{name}/; "
            f"known methods: {', '.join(known)}"
        )
    return name


def check_parameters(place: str, given: Mapping[str, Any], method: Method) -> None:
    """Refuse values that a method's parameters cannot take: not of the kind of its ``method.yaml``'s.

    Args:
        place: where they stand, for messages.
        given: some or all of the parameters.
        method: whose they are.

    Raises:
        BadInput: a parameter is unknown, of another kind, or a size below 1.
    """
    for key, value in given.items():
        if key not in method.parameters:
            raise BadInput(
                f"{place}: unknown parameter {key!r}; methods/{method.folder}/method.yaml declares "
                f"{', '.join(method.parameters) or 'none'}"
            )
        own = method.parameters[key]
        if not _same_kind(value, own):
            raise BadInput(f"{place}.{key}: is {value!r}; give {_kind(own)} such as the default, {own!r}")
        # A size or number of parts: its default is a whole number from 1.
        if type(own) is int and own >= 1 and value < 1:
            raise BadInput(f"{place}.{key}: is {value!r}; give a whole number from 1")


def _same_kind(value: Any, default: Any) -> bool:
    """Tell whether a value can stand where the default stands; a whole number may, where a fraction does."""
    if default is None:
        return True
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        # Compared and not converted: a whole number may be larger than any fraction.
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return kinds.get(type(default), "a value")


def load_builder(
    folder: str,
) -> "Callable[[Mapping[str, Any], tuple[int, int]], ReconstructionModel]":
    """Import a method's ``model.py`` and return its ``build``.

    Raises:
        BadInput: the module cannot be imported, or has no ``build``.
    """
    package, _ = installed_methods().get(folder, (f"methods.{folder}", None))
    module = imported(f"{package}.model", folder_path(folder) / "model.py")
    if not hasattr(module, "build"):
        raise BadInput(
            f"{package.replace('.', '/')}/model.py: has no function 'build'; define "
            "build(params, image_shape) -> ReconstructionModel"
        )
    build: Callable[[Mapping[str, Any], tuple[int, int]], ReconstructionModel] = module.build
    return build


def _holds_sources(folder: Path) -> bool:
    """Tell whether a folder is meant as a method: of one that is gone, ``__pycache__`` and weights stay."""
    kinds = ("*.py", "*.y*ml", "*.md")
    return folder.is_dir() and any(True for kind in kinds for _ in sources_in(folder, kind))


def read_folder(path: Path, name: str) -> MethodFolder:
    """Read one method's folder.

    Raises:
        BadInput: it is broken; the message names the file.
    """
    description = path / "method.yaml"
    for file in ("method.yaml", "model.py", "README.md"):
        if not (path / file).is_file():
            raise BadInput(
                f"{path / file}: missing; a method folder holds method.yaml, model.py and README.md"
            )
    content = with_numbers(read_yaml(description), _SCHEMA)
    check_schema(content, _SCHEMA, str(description), "the file", "see methods/method.schema.yaml")
    if content["id"] != name:
        raise BadInput(
            f"{description}: id: is {content['id']!r}, but the folder is {name!r}; make them equal"
        )
    if content["trainable"] and "tune" in content:
        raise BadInput(
            f"{description}: tune: is for untrained methods, and this one chooses its weights on validation "
            "data; remove it"
        )
    label = content["label"]
    label = label if isinstance(label, dict) else {"other": label}
    own = {entry.name: content[entry.name] for entry in fields(Method) if entry.name in content}
    default = Method(**own | {"folder": name, "label": label})
    _check_changes(description, content, default)
    _check_printed(description, content, label)
    return MethodFolder(default, content.get("variants", {}), content.get("sweeps", {}), path)


def _check_changes(description: Path, content: Mapping[str, Any], method: Method) -> None:
    """Refuse changes that the method's parameters cannot take: of variants, sweeps, small forms, grids."""
    changes = [(f"variants.{name}", v["parameters"]) for name, v in content.get("variants", {}).items()]
    # Values of a sweep are a configuration's.
    changes += [
        (f"sweeps.{name}", {key: method.parameters.get(key) for key in sweep["parameters"]})
        for name, sweep in content.get("sweeps", {}).items()
    ]
    changes += [("small", content.get("small", {}))]
    changes += [("tune", {key: value}) for key, values in content.get("tune", {}).items() for value in values]
    for place, given in changes:
        check_parameters(f"{description}: {place}", given, method)


def _check_printed(description: Path, content: Mapping[str, Any], label: Mapping[str, str]) -> None:
    """Refuse labels and reasons that cannot be printed, and fields of a sweep that are not its parameters."""
    labels = {f"label.{dataset}": text for dataset, text in label.items()}
    for place in ("variants", "sweeps"):
        labels |= {f"{place}.{name}.label": of["label"] for name, of in content.get(place, {}).items()}
    for key, text in labels.items():
        check_words(f"{description}: {key}", text)
    for mask, reason in content.get("declines", {}).items():
        check_words(f"{description}: declines.{mask}", reason, SENTENCE)
    for name, sweep in content.get("sweeps", {}).items():
        for key in ("id", "label"):
            check_template(f"{description}: sweeps.{name}.{key}", sweep[key], sweep["parameters"])


def _parse_sweep_id(template: str, text: str) -> dict[str, float] | None:
    """Read the values back from an id made by ``template.format``: a{alpha}-b{beta}, a0.2-b0.6."""
    pattern = re.sub(r"\\\{(\w+)\\\}", lambda name: f"(?P<{name[1]}>{DECIMAL})", re.escape(template))
    match = re.fullmatch(pattern, text)
    return {name: float(value) for name, value in match.groupdict().items()} if match else None
