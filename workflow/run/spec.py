"""What a run is asked to do.

Light: no torch here, so that planning can check a spec and compute a hash.
"""

from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, get_args

from data_prep.errors import BadInput
from data_prep.io.json_files import canonical, converted, from_json
from methods.optimisers import check_optimiser
from methods.registry import folder_path
from workflow.provenance.record import AGAIN, RunRecord

# No 16-mixed: its gradient scaler would be one more state to resume.
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

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
    schedule: Literal["constant", "cosine"]
    precision: Precision
    resident_gigabytes: float
    warm_up: float = 0.0
    gradient_clip: float | None = None
    channels_last: bool = False
    devices: int = 1
    logger: Literal["csv", "tensorboard"] = "csv"


@dataclass(frozen=True)
class RunSpec:
    """Everything that a training and its evaluation depend on, but for the data and the masks.

    Attributes:
        dataset: ``ixi`` or ``fastmri``.
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
        metrics: those that the evaluation takes beside the paper's three.
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
        spec = from_json(cls, text, "--spec", "see `python -m workflow.plan`")
        _check(spec)
        return spec

    def content(self) -> dict[str, Any]:
        """Return the spec as plain data."""
        content = asdict(self)
        for name in ("tune", "metrics"):
            # Most runs have nothing to try and only the paper's metrics; their specs say nothing of it.
            if not content[name]:
                del content[name]
        return content

    def canonical(self) -> str:
        """Return the spec as JSON: equal specs are equal texts."""
        return canonical(self.content())

    def training_part(self) -> dict[str, Any]:
        """Return the spec without what cannot change the weights."""
        content = asdict(self)
        del content["examples"], content["tune"], content["metrics"]
        for name in _WITHOUT_WEIGHT:
            del content["training"][name]
        return content


def finished_spec(record: RunRecord, folder: Path) -> RunSpec:
    """Return what a finished run, of that folder, was asked to do.

    Raises:
        BadInput: its ``run.json`` says it in another form.
    """
    return converted(RunSpec, record.spec, f"{folder / 'run.json'}: spec", AGAIN)


# Field -> least value.
_LEAST = {
    "seed": 0,
    "noise": 0,
    "examples": 0,
    "training.epochs": 1,
    "training.batch_size": 1,
    "training.threads": 1,
    "training.resident_gigabytes": 0,
    "training.devices": 1,
}


def _check(spec: RunSpec) -> None:
    """Refuse what cannot be run."""
    training, clip = spec.training, spec.training.gradient_clip
    ranges = [(name, attrgetter(name)(spec) >= least, f"at least {least}") for name, least in _LEAST.items()]
    ranges += [
        ("training.warm_up", 0 <= training.warm_up < 1, "at least 0 and below 1"),
        ("training.gradient_clip", clip is None or clip > 0, "null or above 0"),
    ]
    for name, right, wanted in ranges:
        if not right:
            raise BadInput(f"--spec: {name} must be {wanted}; correct it")
    if not (folder_path(spec.folder) / "model.py").is_file():
        raise BadInput(
            f"--spec: folder {spec.folder!r}: there is no methods/{spec.folder}/model.py; correct it"
        )
    if spec.trainable:
        check_optimiser("--spec: optimiser", spec.optimiser)
    _check_tune(spec)
    if spec.metrics:
        from workflow.metrics.contract import metrics

        for name in spec.metrics:
            if name not in metrics():
                raise BadInput(f"--spec: metrics: {name!r} is unknown; known: {', '.join(metrics())}")


def _check_tune(spec: RunSpec) -> None:
    if spec.tune and spec.trainable:
        raise BadInput("--spec: tune is for untrained methods; remove it")
    for name, values in spec.tune.items():
        if name not in spec.parameters:
            raise BadInput(f"--spec: tune.{name} is no parameter of {spec.method}; remove it")
        if not isinstance(values, list) or not values:
            raise BadInput(f"--spec: tune.{name} must be a list of values to try; correct it")
