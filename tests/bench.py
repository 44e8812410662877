"""How fast the product is, as ratios: each thing beside its comparison, same machine, same run, in turns.

    python -m tests.bench [--device auto|cpu|cuda] [--only networks start-up slices metrics]

Networks run at their full width, against the plain functions of ``tests/oracles.py`` with the same weights:
on a GPU 8 slices of 256x256, on a CPU 1 of 128x128 with all cores. A training step is the product's own: from
slices on the device through undersampling, noise, network, loss and gradients to Adam.

GPU times are wall clock. CPU times are processor seconds, all threads together: other processes hardly change
them, and ``OMP_WAIT_POLICY=PASSIVE``, as ``make bench`` sets it, keeps waiting threads from adding to them.
Each is the least of two rounds or more, or the only one where one takes long.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from data_prep.masks import make_masks
from data_prep.measurement import Measurement, measure
from data_prep.noise import noise_std, training_noise
from data_prep.slices import SliceStore
from methods.contract import ReconstructionModel
from methods.registry import discover
from tests.oracles import ORACLES, Weights
from workflow.acquisition import Acquisition
from workflow.execution import Termination, build_model, reconstructor, set_up_torch
from workflow.learning import Training
from workflow.metrics import slice_metrics, volume_metrics
from workflow.runs import RunSpec, processor_name

PARTS = ("networks", "start-up", "slices", "metrics")
MASK, NOISE, SEED = "1d_random_3x", 0.1, 2022
STORED_SLICES, STORED_SIDE, STORED_BATCH = 96, 256, 8

Work = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """How large the networks' inputs are, and how long one comparison may take.

    Attributes:
        device: where.
        batch, side: slices and their sides in pixels.
        seconds: after which a comparison is not repeated any more.
    """

    device: torch.device
    batch: int
    side: int
    seconds: float


def fastest(works: Sequence[Work], device: torch.device, seconds: float) -> list[float]:
    """Time several works in turns, for about ``seconds``; return the fastest round of each.

    The first rounds are slower, which does not show in the fastest.
    """

    def timed(work: Work) -> float:
        if device.type == "cpu":
            started = time.process_time()
            work()
            return time.process_time() - started
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - started

    best = [float("inf")] * len(works)
    begun, passed, rounds = time.perf_counter(), 0.0, 0
    while passed < seconds or (rounds < 2 and passed < 4 * seconds):
        best = [min(known, timed(work)) for known, work in zip(best, works, strict=True)]
        passed, rounds = time.perf_counter() - begun, rounds + 1
    return best


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    print(f"\n{title}")
    for row in (headings, ["-" * width for width in widths], *rows):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def seconds_text(seconds: float) -> str:
    """Write seconds with three digits that count."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


# ---- data -----------------------------------------------------------------------------------------


def write_split(path: Path, slices: int, side: int, **storage: Any) -> Path:
    """Write a split file of noisy discs on an empty background, which compresses about as scans do."""
    generator = np.random.default_rng(SEED)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    head = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * 100
    with h5py.File(path, "w") as file:
        for name in ("target", "auxiliary"):
            values = head * (1 + 0.2 * generator.standard_normal((slices, side, side)))
            file.create_dataset(name, data=np.abs(values).astype(np.float32), **storage)
        file.create_dataset("subject", data=["IXI900"] * slices, dtype=h5py.string_dtype())
        file["slice"] = np.arange(slices, dtype=np.int32)
        file.attrs.update(dataset="ixi", source="embedded", split=path.stem, fingerprint="none")
    return path


# ---- networks ---------------------------------------------------------------------------------------


def spec_of(method: str, batch: int, threads: int) -> RunSpec:
    """Return a run of a method as its folder describes it."""
    default = discover()[method].default
    content = {
        "dataset": "ixi",
        "mask": MASK,
        "method": method,
        "folder": default.folder,
        "seed": 0,
        "trainable": True,
        "parameters": default.parameters,
        "optimiser": default.optimiser,
        "noise": NOISE,
        "base_seed": SEED,
        "training": {
            "epochs": 1,
            "batch_size": batch,
            "threads": threads,
            "schedule": "constant",
            "precision": "32-true",
            "resident_gigabytes": 8.0,
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
        measured, truth = measure(self.target, self.auxiliary, self.mask, noise)
        self.optimiser.zero_grad()
        outputs = self.reconstruct(Weights(self.tensors, training=True), measured)
        self.loss(outputs, measured, truth).backward()
        self.optimiser.step()


def as_by_default(work: Work) -> Work:
    """Run a work without the deterministic algorithms that the product asks torch for."""

    def run() -> None:
        torch.use_deterministic_algorithms(False)
        work()
        torch.use_deterministic_algorithms(True, warn_only=True)

    return run


def compare_reconstruction(
    method: str, model: ReconstructionModel, plain: Plain, measured: Measurement, setting: Setting
) -> tuple[float, list[str]]:
    """Return the product's seconds per slice and a row of the table."""
    reconstruct = reconstructor(model, "32-true", setting.device)
    ours, theirs = reconstruct(measured), plain.image(measured)
    apart = ((ours - theirs).norm() / theirs.norm()).item()
    works: list[Work] = [lambda: reconstruct(measured), as_by_default(lambda: plain.image(measured))]
    seconds = fastest(works, setting.device, setting.seconds / 2)
    return seconds[0] / setting.batch, [*_compared(method, seconds, setting.batch), f"{apart:.1e}"]


def compare_training(method: str, training: Training, plain: Plain, setting: Setting) -> list[str]:
    """Return a row of the table."""
    positions = list(range(setting.batch))
    training.learner.train()
    works: list[Work] = [lambda: training._step(positions, 0, 1), as_by_default(plain.step)]
    row = _compared(method, fastest(works, setting.device, setting.seconds), setting.batch)
    if setting.device.type == "cuda":
        row += [f"{_peak_gigabytes(work, setting.device):.2f} GB" for work in works]
    return row


def bench_networks(setting: Setting, folder: Path) -> dict[str, float]:
    """Compare training steps and inference with the oracles; return inference seconds per slice."""
    device, side = setting.device, setting.side
    store = SliceStore(write_split(folder / "train.h5", setting.batch, side), device, 8.0)
    acquisition = Acquisition(make_masks(MASK, side, side, SEED), NOISE, SEED)
    measured, _ = acquisition.fixed(store, range(setting.batch))
    steps, images, per_slice = [], [], {}
    for method in ORACLES:
        spec = spec_of(method, setting.batch, torch.get_num_threads())
        model = build_model(spec, (side, side)).to(device)
        plain = Plain(method, model, store, acquisition)
        per_slice[method], row = compare_reconstruction(method, model, plain, measured, setting)
        images.append(row)
        stores = {"train": store, "val": store}
        state = folder / "state.pt"
        training = Training(spec, "", model, stores, acquisition, device, state, Termination())
        steps.append(compare_training(method, training, plain, setting))
    size = f"{setting.batch} x {side}x{side}, float32, full width"
    headings = [
        "method",
        "product",
        "plain",
        "plain / product",
        "slices per second" if device.type == "cuda" else "slices per core second",
    ]
    memory = ["peak, product", "peak, plain"] if device.type == "cuda" else []
    table(f"Training step ({size}); above 1 the product is faster", headings + memory, steps)
    table(f"Reconstruction ({size})", [*headings, "images differ by"], images)
    return per_slice


def _compared(method: str, seconds: Sequence[float], slices: int) -> list[str]:
    ours, theirs = seconds
    return [method, seconds_text(ours), seconds_text(theirs), f"{theirs / ours:.2f}", f"{slices / ours:.3g}"]


def _peak_gigabytes(work: Work, device: torch.device) -> float:
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) / 1e9


# ---- start-up -------------------------------------------------------------------------------------


def cpu_seconds(*arguments: str) -> float:
    """Return what one Python process spends on the processor, the less of two runs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once(), once())


def bench_start_up() -> None:
    """Compare what a process costs before it does anything with `import torch` alone."""
    commands = {
        "import torch": ("-c", "import torch"),
        "import torch, lightning_fabric": ("-c", "import torch, lightning_fabric"),
        "all that a training imports": ("-c", "import workflow.learning, workflow.train, workflow.metrics"),
        "all that an evaluation imports": (
            "-c",
            "import workflow.acquisition, workflow.execution, workflow.evaluate, workflow.metrics",
        ),
        "python -m workflow.train --help": ("-m", "workflow.train", "--help"),
        "nothing (bare Python)": ("-c", "pass"),
    }
    spent = {name: cpu_seconds(*arguments) for name, arguments in commands.items()}
    alone = spent["import torch"]
    rows = [[name, seconds_text(value), f"{value / alone:.2f}"] for name, value in spent.items()]
    table("Start-up", ["process", "CPU time", "of import torch"], rows)


# ---- slices -----------------------------------------------------------------------------------------


def bench_slices(folder: Path, seconds: float) -> None:
    """Compare random batches from a prepared file with the plain ways to read one; all is in memory."""
    # As h5py, and as trainings beside each other.
    torch.set_num_threads(1)
    path = write_split(folder / "val.h5", STORED_SLICES, STORED_SIDE)
    zipped = write_split(
        folder / "zipped.h5",
        STORED_SLICES,
        STORED_SIDE,
        chunks=(1, STORED_SIDE, STORED_SIDE),
        compression="gzip",
    )
    order = np.random.default_rng(SEED).permutation(STORED_SLICES).tolist()
    batches = [order[i : i + STORED_BATCH] for i in range(0, STORED_SLICES, STORED_BATCH)]
    resident, streaming = SliceStore(path, "cpu", 8.0), SliceStore(path, "cpu", 0.0)

    def all_batches(store: SliceStore) -> None:
        for batch in batches:
            store.batch(batch)

    def item_by_item() -> None:
        with h5py.File(zipped) as file:
            for batch in batches:
                for name in ("target", "auxiliary"):
                    torch.from_numpy(np.stack([file[name][i] for i in batch]))

    def at_one_go() -> None:
        with h5py.File(path) as file:
            for name in ("target", "auxiliary"):
                torch.from_numpy(file[name][()])

    works: dict[str, Work] = {
        "product, resident: each epoch": lambda: all_batches(resident),
        "product, resident: loading, once": lambda: SliceStore(path, "cpu", 8.0).close(),
        "product, streaming: each epoch": lambda: all_batches(streaming),
        "plain: one read of the whole file": at_one_go,
        "plain: one read per item, gzip": item_by_item,
    }
    spent = fastest(list(works.values()), torch.device("cpu"), seconds)
    worst = spent[-1]
    rows = [
        [name, seconds_text(value), f"{STORED_SLICES / value:.3g}", f"{worst / value:.1f}"]
        for name, value in zip(works, spent, strict=True)
    ]
    table(
        f"Reading {STORED_SLICES} pairs of {STORED_SIDE}x{STORED_SIDE} in batches of {STORED_BATCH}",
        ["way", "time", "slices per second", "times the last"],
        rows,
    )


# ---- metrics ----------------------------------------------------------------------------------------


def bench_metrics(setting: Setting, per_slice: dict[str, float]) -> None:
    """Compare what scoring a slice takes, in both conventions, with reconstructing it."""
    generator = np.random.default_rng(SEED)
    volume = generator.random((4, setting.side, setting.side), dtype=np.float32)
    reconstruction = volume + 0.1 * generator.standard_normal(volume.shape, dtype=np.float32)

    def score() -> None:
        slice_metrics(volume, reconstruction)
        volume_metrics(volume, reconstruction)

    (spent,) = fastest([score], torch.device("cpu"), 2.0)
    scoring = spent / len(volume)
    rows = [
        [method, seconds_text(value), seconds_text(scoring), f"{scoring / value:.3f}"]
        for method, value in per_slice.items()
    ]
    size = f"{setting.side}x{setting.side}"
    table(
        f"Metrics of one slice of {size}, slice and volume convention together",
        ["method", "reconstruction", "metrics", "metrics / reconstruction"],
        rows,
    )


# ---- all --------------------------------------------------------------------------------------------


def machine(device: torch.device, cores: int) -> str:
    """Describe where the numbers were taken."""
    load = os.getloadavg()[0]
    lines = [
        f"{processor_name()}, {cores} cores, {platform.system()}; load when started {load:.1f}",
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    ]
    if device.type == "cuda":
        lines.append(f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}")
    return "\n".join(lines)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    device = set_up_torch(cores, arguments.device)
    on_gpu = device.type == "cuda"
    setting = Setting(device, 8, 256, 5.0) if on_gpu else Setting(device, 1, 128, 6.0)
    print(machine(device, cores))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if "networks" in arguments.only or "metrics" in arguments.only:
            per_slice = bench_networks(setting, Path(folder))
            if "metrics" in arguments.only:
                bench_metrics(setting, per_slice)
        if "slices" in arguments.only:
            bench_slices(Path(folder), 4.0)
    if "start-up" in arguments.only:
        bench_start_up()
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
