"""What a run is asked to do, what identifies its training, and the record it leaves (``run.json``).

Light: no torch here, so that planning can check a spec and compute a hash.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin

from data_prep.errors import BadInput
from methods.registry import folder_path

SCHEDULES = ("constant", "cosine")
# No 16-mixed: its gradient scaler would be further state to resume.
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LOGGERS = ("csv", "tensorboard")
OPTIMISERS: dict[str, frozenset[str]] = {
    "adam": frozenset({"lr", "betas", "eps", "weight_decay"}),
    "adamw": frozenset({"lr", "betas", "eps", "weight_decay"}),
    "rmsprop": frozenset({"lr", "alpha", "eps", "weight_decay", "momentum"}),
    "sgd": frozenset({"lr", "momentum", "weight_decay", "nesterov"}),
}

# Of the training's part of a spec, what changes no weight.
_WITHOUT_WEIGHT = ("resident_gigabytes", "logger")


@dataclass(frozen=True)
class TrainingSpec:
    """How to train; the same for every trained method of an experiment.

    Attributes:
        epochs: passes over the training split.
        batch_size: slices per optimiser step, and per forward pass of validation and evaluation.
        threads: torch threads on the CPU; another number may change the last bits.
        schedule: of the learning rate, ``constant`` or ``cosine``.
        warm_up: share of the steps over which the learning rate rises from zero.
        precision: ``32-true`` or ``bf16-mixed``.
        resident_gigabytes: the largest split (1e9 bytes) held on the device; changes no result.
        gradient_clip: largest norm of the gradient; None does not clip.
        channels_last: whether the networks' maps are stored pixel by pixel instead of channel by channel.
        devices: GPUs (or processes on the CPU) that share the slices of each step.
        logger: what shows a running training: ``csv`` (history.csv), or ``tensorboard`` as well.
    """

    epochs: int
    batch_size: int
    threads: int
    schedule: str
    precision: Precision
    resident_gigabytes: float
    warm_up: float = 0.0
    gradient_clip: float | None = None
    channels_last: bool = False
    devices: int = 1
    logger: str = "csv"


@dataclass(frozen=True)
class RunSpec:
    """Everything that a training and its evaluation depend on, but for the data and the masks.

    Attributes:
        dataset: id.
        mask: name of the sampling mask, e.g. ``1d_uniform_6x``.
        method: id of the run's method, e.g. ``manet-no_kspace``.
        folder: the method's folder below ``methods/``.
        seed: training seed (initial weights, order of the slices, training noise).
        trainable: whether there is anything to train.
        parameters: what the method's ``build`` gets.
        noise: k-space noise as a share of each slice's mean intensity; 0 where k-space is measured.
        base_seed: seed of what is the same for all trainings, such as the evaluation noise.
        training: how to train.
        examples: test subjects whose central slice is kept for the figures.
        optimiser: its ``name`` and options; empty for untrained methods.
        tune: of an untrained method, values to try on validation data, by parameter.
        metrics: further metrics that the evaluation takes.
    """

    dataset: str
    mask: str
    method: str
    folder: str
    seed: int
    trainable: bool
    parameters: dict[str, Any]
    noise: float
    base_seed: int
    training: TrainingSpec
    examples: int
    optimiser: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> "RunSpec":
        """Read and check a spec.

        Raises:
            BadInput: a key is missing or unknown, or a value is impossible.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInput(f"--spec: not valid JSON ({error}); see `python -m workflow.plan`") from error
        if not isinstance(content, dict):
            raise BadInput("--spec: must be a JSON object; see `python -m workflow.plan`")
        training = _checked(TrainingSpec, content.get("training"), "training.")
        return _valid(_checked(cls, content | {"training": training}, ""))

    def canonical(self) -> str:
        """Return the spec as JSON with sorted keys: equal specs are equal texts."""
        content = asdict(self)
        for name in ("tune", "metrics"):
            # Most runs have nothing to try and no further metric, and their specs say nothing of it.
            if not content[name]:
                del content[name]
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def training_part(self) -> dict[str, Any]:
        """Return the spec without what cannot change the weights."""
        content = asdict(self)
        del content["examples"], content["tune"], content["metrics"]
        for name in _WITHOUT_WEIGHT:
            del content["training"][name]
        return content


Spec = TypeVar("Spec", RunSpec, TrainingSpec)


def _checked(kind: type[Spec], content: Any, place: str) -> Spec:
    """Fill a dataclass from JSON, refusing what is missing, unknown or of another type."""
    if not isinstance(content, Mapping):
        raise BadInput(f"--spec: {place.rstrip('.')} must be an object; see `python -m workflow.plan`")
    known = {entry.name: entry for entry in fields(kind)}
    for name in content:
        if name not in known:
            raise BadInput(f"--spec: {place}{name} is unknown; known: {', '.join(known)}")
    for name, entry in known.items():
        if name not in content:
            if entry.default is MISSING and entry.default_factory is MISSING:
                raise BadInput(f"--spec: {place}{name} is missing; see `python -m workflow.plan`")
        elif not _has_type(content[name], entry.type):
            raise BadInput(f"--spec: {place}{name} is {content[name]!r}, not {_described(entry.type)}")
    # 0 and 0.0 are one spec, hence one hash.
    numbers = {
        name: float(value)
        for name, value in content.items()
        if known[name].type in (float, float | None) and value is not None
    }
    return kind(**{**content, **numbers})


def _has_type(value: Any, expected: Any) -> bool:
    if expected == dict[str, Any]:
        return isinstance(value, dict)
    if expected == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if expected is bool or isinstance(value, bool):
        return expected is bool and isinstance(value, bool)
    if expected == float | None:
        return value is None or isinstance(value, int | float)
    if expected is float:
        return isinstance(value, int | float)
    if get_origin(expected) is Literal:
        return isinstance(value, str)
    return isinstance(value, expected)


def _described(expected: Any) -> str:
    names: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    names |= {list[str]: "a list of texts", Precision: "a text"}
    return names.get(expected, "a number or null" if expected == float | None else "an object")


def _valid(spec: RunSpec) -> RunSpec:
    training, clip = spec.training, spec.training.gradient_clip
    ranges: list[tuple[str, bool, str]] = [
        ("seed", spec.seed >= 0, "at least 0"),
        ("noise", spec.noise >= 0, "at least 0"),
        ("examples", spec.examples >= 0, "at least 0"),
        ("training.epochs", training.epochs >= 1, "at least 1"),
        ("training.batch_size", training.batch_size >= 1, "at least 1"),
        ("training.threads", training.threads >= 1, "at least 1"),
        ("training.schedule", training.schedule in SCHEDULES, " or ".join(SCHEDULES)),
        ("training.warm_up", 0 <= training.warm_up < 1, "at least 0 and below 1"),
        ("training.precision", training.precision in PRECISIONS, " or ".join(PRECISIONS)),
        ("training.resident_gigabytes", training.resident_gigabytes >= 0, "at least 0"),
        ("training.gradient_clip", clip is None or clip > 0, "null or above 0"),
        ("training.devices", training.devices >= 1, "at least 1"),
        ("training.logger", training.logger in LOGGERS, " or ".join(LOGGERS)),
    ]
    for name, right, wanted in ranges:
        if not right:
            raise BadInput(f"--spec: {name} must be {wanted}; correct it")
    if not (folder_path(spec.folder) / "model.py").is_file():
        raise BadInput(
            f"--spec: folder {spec.folder!r}: there is no methods/{spec.folder}/model.py; correct it"
        )
    if spec.trainable:
        _check_optimiser(spec.optimiser)
    _check_tune(spec)
    if spec.metrics:
        from workflow.metrics.contract import discover

        for name in spec.metrics:
            if name not in discover():
                raise BadInput(f"--spec: metrics: {name!r} is unknown; known: {', '.join(discover())}")
    return spec


def _check_tune(spec: RunSpec) -> None:
    if spec.tune and spec.trainable:
        raise BadInput("--spec: tune is for untrained methods; remove it")
    for name, values in spec.tune.items():
        if name not in spec.parameters:
            raise BadInput(f"--spec: tune.{name} is no parameter of {spec.method}; remove it")
        if not isinstance(values, list) or not values:
            raise BadInput(f"--spec: tune.{name} must be a list of values to try; correct it")


def _check_optimiser(settings: Mapping[str, Any]) -> None:
    name = settings.get("name")
    if name not in OPTIMISERS:
        raise BadInput(f"--spec: optimiser.name {name!r} is unknown; known: {', '.join(OPTIMISERS)}")
    for key in settings:
        if key != "name" and key not in OPTIMISERS[name]:
            raise BadInput(
                f"--spec: optimiser.{key} is no option of {name}; its options: "
                f"{', '.join(sorted(OPTIMISERS[name]))}"
            )
    if not isinstance(settings.get("lr"), int | float) or not 0 < settings["lr"] < math.inf:
        raise BadInput("--spec: optimiser.lr must be a number above 0; add it")
