"""The optimisers that a method may name: their options, the check of these, and making one."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from data_prep.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

# Name -> torch's name and the options that it takes.
OPTIMISERS: dict[str, tuple[str, frozenset[str]]] = {
    "adam": ("Adam", frozenset({"lr", "betas", "eps", "weight_decay"})),
    "adamw": ("AdamW", frozenset({"lr", "betas", "eps", "weight_decay"})),
    "rmsprop": ("RMSprop", frozenset({"lr", "alpha", "eps", "weight_decay", "momentum"})),
    "sgd": ("SGD", frozenset({"lr", "momentum", "weight_decay", "nesterov"})),
}
_WANTED = {
    "lr": "a number above 0 such as 0.001",
    "betas": "two numbers from 0 and below 1, such as [0.9, 0.999]",
    "nesterov": "true or false",
}


def merged_optimiser(own: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's optimiser with the configuration's changes; another ``name`` replaces it whole."""
    if "name" in changes and changes["name"] != own.get("name"):
        return dict(changes)
    return {**own, **changes}


def check_optimiser(place: str, settings: Mapping[str, Any]) -> None:
    """Refuse an optimiser that cannot be made.

    Args:
        place: where the settings stand, for messages.
        settings: its ``name`` and options.

    Raises:
        BadInput: the name or an option is unknown, or a value is impossible.
    """
    name = settings.get("name")
    if not isinstance(name, str) or name not in OPTIMISERS:
        raise BadInput(f"{place}.name: {name!r} is unknown; known optimisers: {', '.join(OPTIMISERS)}")
    options = OPTIMISERS[name][1]
    for key, value in {"lr": None, **settings}.items():
        if key == "name":
            continue
        if key not in options:
            raise BadInput(f"{place}.{key}: no option of {name}; its options: {', '.join(sorted(options))}")
        if not _suits(key, value):
            raise BadInput(f"{place}.{key}: is {value!r}; give {_WANTED.get(key, 'a number from 0')}")


def _suits(option: str, value: Any) -> bool:
    """Tell whether an optimiser can be made with this option; torch's own complaint names no field."""
    if option == "nesterov":
        return isinstance(value, bool)
    if option == "betas":
        return isinstance(value, list) and len(value) == 2 and all(_fraction(beta) < 1 for beta in value)
    return (option != "lr" or value != 0) and _fraction(value) < math.inf


def _fraction(value: Any) -> float:
    """Return a number from 0 as it is, and infinity for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return value if number else math.inf


def make_optimiser(parameters: "Iterable[torch.nn.Parameter]", settings: Mapping[str, Any]) -> "Optimizer":
    """Make the optimiser that checked settings describe: their ``name`` and options."""
    import torch

    name = OPTIMISERS[settings["name"]][0]
    options = {key: value for key, value in settings.items() if key != "name"}
    # One pass over the weights instead of one operation at a time on each tensor, where torch has it.
    if name != "RMSprop":
        options["fused"] = True
    made: Optimizer = getattr(torch.optim, name)(parameters, **options)
    return made
