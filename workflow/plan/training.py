"""The section ``training`` of a configuration: what of its values fits together."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_prep.errors import BadInput


def check_training(training: Mapping[str, Any], datasets: Iterable[str]) -> None:
    """Refuse values that do not fit together, or that another one makes idle.

    Args:
        training: the section, with its defaults.
        datasets: of the configuration.

    Raises:
        BadInput: a number per dataset lacks one; steps of several GPUs are to be compiled; ``floor`` or
            ``tail`` beside a constant rate, which does not heed them; steps at a rate of zero.
    """
    for name in datasets:
        for key in ("epochs", "batch_size"):
            numbers = training[key]
            if isinstance(numbers, Mapping) and name not in numbers:
                raise BadInput(f"config: training.{key}: no number for {name}; add it, or give one for all")
    if training["compile"] is True and training["devices"] > 1:
        raise BadInput(
            f"config: training.compile: is true, but training.devices is {training['devices']}, and only "
            "steps on one GPU are compiled; set compile to auto, or devices to 1"
        )
    for key in ("floor", "tail"):
        if training[key] > 0 and training["schedule"] == "constant":
            raise BadInput(
                f"config: training.{key}: is {training[key]}, but training.schedule is constant, and only "
                "cosine falls; set it to 0, or schedule to cosine"
            )
    if training["tail"] > 0 and training["floor"] == 0:
        raise BadInput(
            f"config: training.tail: is {training['tail']}, but training.floor is 0, and steps at a rate of "
            "zero train nothing; give a floor such as 0.05, or set tail to 0"
        )
