"""Training steps and reconstruction of the four networks at full width, against the oracles."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from data_prep.masks.sets import make_masks
from data_prep.measurement import Measurement, Truth, measure
from data_prep.undersample.acquisition import Acquisition
from data_prep.undersample.noise import noise_std, training_noise
from data_prep.undersample.slices import SliceStore
from methods.contract import ReconstructionModel
from methods.registry import discover
from tests.bench.common import (
    MASK,
    NOISE,
    SEED,
    Setting,
    Work,
    fastest,
    matrix_rate,
    memory,
    operations,
    seconds_text,
    table,
    tf32,
    write_split,
)
from tests.helpers.runs.oracles import ORACLES, Weights
from workflow.run.model import build_model, reconstructor
from workflow.run.spec import RunSpec
from workflow.train.loop import Training
from workflow.train.progress import StateFile
from workflow.train.termination import Termination


def spec_of(
    method: str,
    batch: int,
    threads: int,
    precision: str,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    **training: Any,
) -> RunSpec:
    """Return a run of a method as its folder describes it, but for what is given."""
    default = discover()[method].default
    content = {
        "dataset": "ixi",
        "mask": MASK,
        "method": method,
        "folder": default.folder,
        "seed": 0,
        "trainable": True,
        "parameters": {**default.parameters, **parameters},
        "optimiser": default.optimiser,
        "noise": NOISE,
        "base_seed": SEED,
        "training": {
            "epochs": 1,
            "batch_size": batch,
            "threads": threads,
            "schedule": "constant",
            "precision": precision,
            # What bf16 convolutions of a GPU want.
            "channels_last": precision == "bf16-mixed",
            "resident_gigabytes": 8.0,
            **training,
        },
        "examples": 0,
    }
    return RunSpec.from_json(json.dumps(content))


class Plain:
    """An oracle with a copy of a model's weights, and the plainest training step around it."""

    def __init__(
        self, method: str, model: torch.nn.Module, store: SliceStore, acquisition: Acquisition
    ) -> None:
        self.reconstruct, self.loss = ORACLES[method]
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
        learnt = [self.tensors[name].requires_grad_() for name, _ in model.named_parameters()]
        options = discover()[method].default.optimiser
        self.optimiser = torch.optim.Adam(learnt, lr=options["lr"], betas=tuple(options["betas"]))
        self.target, self.auxiliary = store.batch(range(len(store)))
        self.mask = torch.from_numpy(acquisition.masks.evaluation(store.subjects)).to(store.device)
        self.generator = torch.Generator(device=store.device)

    def image(self, measured: Measurement) -> Tensor:
        with torch.no_grad():
            image: Tensor = self.reconstruct(Weights(self.tensors, training=False), measured)["image"]
        return image

    def step(self) -> None:
        shape = (self.target.shape[1], self.target.shape[2])
        noise = training_noise(noise_std(self.target, NOISE), shape, self.generator)
        self.learn(*measure(self.target, self.auxiliary, self.mask, noise))

    def learn(self, measured: Measurement, truth: Truth) -> Tensor:
        """Take one optimiser step and return its loss."""
        self.optimiser.zero_grad()
        outputs = self.reconstruct(Weights(self.tensors, training=True), measured)
        loss = self.loss(outputs, measured, truth)
        loss.backward()
        self.optimiser.step()
        return loss.detach()


def as_by_default(work: Work, allow_tf32: bool = True) -> Work:
    """Run a work without the deterministic algorithms that the product asks torch for."""

    def run() -> None:
        torch.use_deterministic_algorithms(False)
        with tf32(allow_tf32):
            work()
        torch.use_deterministic_algorithms(True, warn_only=True)

    return run


def compare_reconstruction(
    method: str, model: ReconstructionModel, plain: Plain, measured: Measurement, setting: Setting
) -> tuple[float, list[str]]:
    """Return the product's seconds per slice and a row of the table."""
    reconstruct = reconstructor(model, setting.precision, setting.device)
    ours, theirs = reconstruct(measured), plain.image(measured)
    apart = ((ours - theirs).norm() / theirs.norm()).item()
    works: list[Work] = [lambda: reconstruct(measured), as_by_default(lambda: plain.image(measured))]
    seconds = fastest(works, setting.device, setting.seconds / 2)
    return seconds[0] / setting.batch, [*_compared(method, seconds, setting.batch), f"{apart:.1e}"]


def compare_training(
    method: str, training: Training, plain: Plain, setting: Setting, rate: float
) -> tuple[float, list[str]]:
    """Return the product's seconds per slice and a row of the table.

    ``rate`` is of matrix products in the product's precision.
    """
    positions = list(range(setting.batch))
    training.learner.train()
    works: list[Work] = [lambda: training._step(positions, 0, 1), as_by_default(plain.step)]
    if setting.device.type == "cuda":
        works.append(as_by_default(plain.step, allow_tf32=False))
    seconds = fastest(works, setting.device, setting.seconds)
    share = operations(plain.step) / seconds[0] / rate
    ours, theirs = (memory(work, setting.device)[1] for work in works[:2])
    peaks = [f"{ours / 1e6:.0f} MB", f"{theirs / 1e6:.0f} MB", f"{ours / theirs:.2f}"]
    strict = [f"{value / seconds[0]:.2f}" for value in seconds[2:]]
    row = [*_compared(method, seconds[:2], setting.batch), f"{share:.0%}", *peaks, *strict]
    return seconds[0] / setting.batch, row


@dataclass(frozen=True)
class Seconds:
    """What one slice takes of the product: in a training step, and reconstructed."""

    training: float
    reconstruction: float


def bench_networks(setting: Setting, folder: Path) -> dict[str, Seconds]:
    """Compare training steps and reconstruction with the oracles; return the product's seconds."""
    device, side = setting.device, setting.side
    store = SliceStore(write_split(folder / "train.h5", setting.batch, side), device, 8.0)
    acquisition = Acquisition("ixi", make_masks(MASK, side, side, SEED), NOISE, SEED)
    measured, _ = acquisition.fixed(store, range(setting.batch))
    half = setting.precision == "bf16-mixed"
    rate = matrix_rate(device, torch.bfloat16 if half else torch.float32)
    steps, images, spent = [], [], {}
    for method in ORACLES:
        spec = spec_of(method, setting.batch, torch.get_num_threads(), setting.precision)
        model = build_model(spec, (side, side)).to(device)
        plain = Plain(method, model, store, acquisition)
        reconstruction, row = compare_reconstruction(method, model, plain, measured, setting)
        images.append(row)
        stores = {"train": store, "val": store}
        state = StateFile(folder / "state.pt", {})
        training = Training(spec, model, stores, acquisition, device, state, Termination())
        seconds, row = compare_training(method, training, plain, setting, rate)
        steps.append(row)
        spent[method] = Seconds(seconds, reconstruction)
    size = f"{setting.batch} x {side}x{side}, {setting.precision}, full width"
    headings = [
        "method",
        "product",
        "plain",
        "plain / product",
        "slices per second" if device.type == "cuda" else "slices per core second",
    ]
    peaks = ["of the matrix rate", "peak memory, product", "plain", "product / plain"]
    core = "" if device.type == "cuda" else " per core"
    of = "bfloat16" if half else "float32"
    print(f"\nMatrix products in {of}, without TF32: {rate / 1e9:.3g} GFLOP/s{core}")
    strict = []
    if device.type == "cuda":
        print("Convolutions in float32 use TF32, as torch comes; in the last column they do not")
        strict = ["strict plain / product"]
    table(f"Training step ({size}); above 1 the product is faster", headings + peaks + strict, steps)
    table(f"Reconstruction ({size})", [*headings, "images differ by"], images)
    return spent


def _compared(method: str, seconds: Sequence[float], slices: int) -> list[str]:
    ours, theirs = seconds
    return [method, seconds_text(ours), seconds_text(theirs), f"{theirs / ours:.2f}", f"{slices / ours:.3g}"]
