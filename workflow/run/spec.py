"""What a run is asked to do.

Light: no torch here, so that planning can check a spec and compute a hash.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.json_files import canonical, converted, from_json
from methods.optimisers import check_optimiser
from methods.registry import Method, check_parameters, folder_path, read_folder
from workflow.provenance.record import AGAIN, RunRecord

# No 16-mixed: its gradient scaler would be one more state to resume.
Precision = Literal["32-true", "bf16-mixed"]
FromZero = Annotated[int, Meta(ge=0)]
FromOne = Annotated[int, Meta(ge=1)]
# As the schema of the configuration; torch takes no number, and no machine has more.
Threads = Annotated[int, Meta(ge=1, le=1024)]
Auto = bool | Literal["auto"]

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
        floor: share of the learning rate to which ``cosine`` falls.
        tail: share of the steps, the last, over which the learning rate stays at that.
        precision: ``32-true`` or ``bf16-mixed``.
        resident_gigabytes: the largest split (1e9 bytes) held on the device; changes no result.
        gradient_clip: largest norm of the gradient; None does not clip.
        channels_last: whether the networks' maps are stored pixel by pixel instead of channel by channel.
        deterministic: whether torch is to choose algorithms that give the same bits each time, and to refuse
            operations for which it has none.
        recompute: whether networks compute cheap results again instead of keeping them for the backward pass.
        compile: whether torch compiles the training step; only on one GPU.
        devices: GPUs (or processes on the CPU) that share the slices of each step.
        logger: what shows a running training: ``csv`` (history.csv), or ``tensorboard`` as well.
    """

    epochs: FromOne
    batch_size: FromOne
    threads: Threads
    schedule: Literal["constant", "cosine"]
    precision: Precision
    resident_gigabytes: Annotated[float, Meta(ge=0)]
    warm_up: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    floor: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    tail: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    gradient_clip: Annotated[float, Meta(gt=0)] | None = None
    channels_last: bool = False
    deterministic: bool = True
    recompute: Auto = "auto"
    compile: Auto = "auto"
    devices: FromOne = 1
    logger: Literal["csv", "tensorboard"] = "csv"


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
        metrics: those that the evaluation takes beside the paper's three.
        phase: that magnitude targets are given in the measurement.
        scored: split that the evaluation reconstructs; ``val`` of a tuning's trial, which opens no test data.
    """

    dataset: str
    mask: str
    method: str
    folder: str
    seed: FromZero
    trainable: bool
    parameters: dict[str, Any]
    noise: Annotated[float, Meta(ge=0)]
    base_seed: int
    training: TrainingSpec
    examples: FromZero
    optimiser: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    phase: Literal["none", "smooth"] = "none"
    scored: Literal["test", "val"] = "test"

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
        for name in ("tune", "metrics", "phase", "scored"):
            # Of most runs as ever; their specs say nothing of it.
            if content[name] in ([], {}, "none", "test"):
                del content[name]
        return content

    def canonical(self) -> str:
        """Return the spec as JSON: equal specs are equal texts."""
        return canonical(self.content())

    def training_part(self) -> dict[str, Any]:
        """Return the spec without what cannot change the weights."""
        content = asdict(self)
        del content["examples"], content["tune"], content["metrics"], content["scored"]
        if self.phase == "none":
            del content["phase"]
        for name in _WITHOUT_WEIGHT:
            del content["training"][name]
        return content


def finished_spec(record: RunRecord, folder: Path) -> RunSpec:
    """Return what a finished run, of that folder, was asked to do.

    Raises:
        BadInput: its ``run.json`` says it in another form.
    """
    return converted(RunSpec, record.spec, f"{folder / 'run.json'}: spec", AGAIN)


def _check(spec: RunSpec) -> None:
    """Refuse what types do not tell."""
    if not (folder_path(spec.folder) / "model.py").is_file():
        raise BadInput(
            f"--spec: folder {spec.folder!r}: there is no methods/{spec.folder}/model.py; correct it"
        )
    if spec.trainable:
        check_optimiser("--spec: optimiser", spec.optimiser)
    method = read_folder(folder_path(spec.folder), spec.folder).default
    check_parameters("--spec: parameters", spec.parameters, method)
    _check_tune(spec, method)
    if spec.phase != "none" and dataset_of(spec.dataset).measured:
        raise BadInput(f"--spec: phase: the targets of {spec.dataset} have their own; leave it out")
    if spec.metrics:
        from workflow.metrics.contract import metrics

        for name in spec.metrics:
            if name not in metrics():
                raise BadInput(f"--spec: metrics: {name!r} is unknown; known: {', '.join(metrics())}")


def _check_tune(spec: RunSpec, method: Method) -> None:
    if spec.tune and spec.trainable:
        raise BadInput("--spec: tune is for untrained methods; remove it")
    for name, values in spec.tune.items():
        if name not in spec.parameters:
            raise BadInput(f"--spec: tune.{name} is no parameter of {spec.method}; remove it")
        if not isinstance(values, list) or not values:
            raise BadInput(f"--spec: tune.{name} must be a list of values to try; correct it")
        for value in values:
            check_parameters("--spec: tune", {name: value}, method)
