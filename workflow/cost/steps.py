r"""Measure what a slice of a run takes here: seconds of training and of reconstruction, and the memory.

    python -m workflow.cost.steps --spec JSON --matrix 256

prints a line of JSON (``Measured``). The slices are made up, so no scan is needed; batch size (of several
devices one's share), threads, precision and device are those of the run. A batch that does not fit a GPU is
halved, as in training. ``python -m workflow.estimate --measure`` does this for each method.
"""

import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import scratch
from data_prep.io.json_files import from_json, to_json
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from data_prep.masks.sets import MaskSet

_SUBJECT = "slices"
_SECONDS, _ROUNDS = 2.0, 2  # that a measurement takes at least, the first round not counted
_MARK = "measured: "


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        device: name of the GPU, or of the processor with the number of threads.
        precision, side, batch: at which.
        training: seconds that a slice takes in a training step.
        reconstruction: seconds that its reconstruction takes.
        memory: bytes that the step took at most: of the GPU, or of the whole process on a CPU.
    """

    device: str
    precision: str
    side: int
    batch: int
    training: float
    reconstruction: float
    memory: float


def measure(spec: RunSpec, side: int) -> Measured:
    """Measure a few steps of a run.

    Args:
        spec: of a trained method.
        side: of the slices, in pixels.

    Raises:
        BadInput: the device has too little memory for one slice.
    """
    import torch

    from data_prep.undersample.device_memory import out_of_memory
    from workflow.evaluate.record import processor_name
    from workflow.run.device import set_up_torch

    device = set_up_torch(spec.training.threads, "auto")
    batch, threads = math.ceil(spec.training.batch_size / spec.training.devices), spec.training.threads
    name = f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    with scratch() as folder:
        while True:
            try:
                seconds, memory = _timed(spec, side, batch, device, folder)
                return Measured(name, spec.training.precision, side, batch, *seconds, memory)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if batch == 1:
                    raise BadInput(
                        f"--spec: {name} has too little memory for one slice of {spec.method} at {side} x "
                        f"{side}; use a larger device, or a smaller matrix or network"
                    ) from error
            batch //= 2
            torch.cuda.empty_cache()


def _timed(
    spec: RunSpec, side: int, batch: int, device: "torch.device", folder: Path
) -> tuple[tuple[float, float], float]:
    """Return seconds of a slice, in training and reconstructed, and bytes."""
    import torch

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from workflow.run.device import determinism
    from workflow.run.model import build_model, reconstructor
    from workflow.train.loop import Training
    from workflow.train.progress import StateFile
    from workflow.train.termination import Termination

    path = folder / f"{batch}.h5"
    _write_slices(path, spec.dataset, batch, side)
    store = SliceStore(path, device, spec.training.resident_gigabytes)
    acquisition = Acquisition(spec.dataset, _masks(spec, side), spec.noise, spec.base_seed, spec.phase)
    model = build_model(spec, (side, side))
    stores, state = {"train": store, "val": store}, StateFile(folder / "state.pt", {})
    training = Training(spec, model, stores, acquisition, device, state, Termination())
    positions = list(range(batch))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    training.learner.train()
    with determinism(spec.method, wanted=spec.training.deterministic):
        step = _seconds(lambda: training._step(positions, 0, 1), device)
    measurement, _ = acquisition.fixed(store, positions)
    reconstruct = reconstructor(model, spec.training.precision, device)
    image = _seconds(lambda: reconstruct(measurement), device)
    # In kilobytes on Linux.
    memory = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    if device.type == "cuda":
        memory = float(torch.cuda.max_memory_allocated(device))
    return (step / batch, image / batch), memory


def _masks(spec: RunSpec, side: int) -> "MaskSet":
    """Return masks of a run's setting; for one from a file, which has one size, lines as far apart."""
    from data_prep.masks.from_file import registered
    from data_prep.masks.registry import parse_mask
    from data_prep.masks.sets import MaskSet, make_masks

    family, acceleration = parse_mask(spec.mask)
    if spec.mask in registered():
        lines = (np.arange(side) - side // 2) % acceleration == 0
        return MaskSet(spec.mask, np.tile(lines, (side, 1)))
    return make_masks(spec.mask, side, side, spec.base_seed, [_SUBJECT] if family.drawn else [])


def _write_slices(path: Path, dataset: str, batch: int, side: int) -> None:
    """Write head-like slices in the form of a split file."""
    import h5py
    import torch

    from data_prep.datasets.contract import dataset_of
    from methods.tiny import head_slices

    target, auxiliary = head_slices(batch, (side, side), torch.Generator().manual_seed(0))
    with h5py.File(path, "w") as file:
        file["target"] = target.numpy().astype(dataset_of(dataset).target_dtype)
        file["auxiliary"] = auxiliary.numpy()
        file.create_dataset("subject", data=[_SUBJECT] * batch, dtype=h5py.string_dtype())
        file["slice"] = list(range(batch))
        file.attrs.update(dataset=dataset, source="embedded", split="train", fingerprint="none")


def _seconds(work: Callable[[], object], device: "torch.device") -> float:
    """Return the seconds of the fastest round; others may share the machine."""
    import torch

    def timed() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    first = timed()  # finds its algorithms and fills its memory
    if first > 10 * _SECONDS:
        return first
    found = [timed()]
    while len(found) < _ROUNDS or sum(found) < _SECONDS:
        found.append(timed())
    return min(found)


def measured_apart(spec: RunSpec, side: int) -> Measured | str:
    """Measure in a process of its own, under a lease; return why not where that fails.

    So each method has the memory, the device and the failures of its own, as in its job.
    """
    lease = ["workflow.lease", "--gpus", "1", "--", sys.executable]
    words = ["-m", "workflow.cost.steps", "--spec", spec.canonical(), "--matrix", str(side)]
    done = subprocess.run([sys.executable, "-m", *lease, *words], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            return from_json(Measured, line.removeprefix(_MARK), "workflow.cost.steps", "report this")
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
    return last.removeprefix("error: ") or f"its process ended with status {done.returncode}"


@command
def show(
    spec: Annotated[RunSpec, RunSpec.from_json, "of a trained run, as workflow.plan --run prints it"],
    matrix: Annotated[int, "height and width of the slices"],
) -> None:
    """Print what a slice takes."""
    if not spec.trainable:
        raise BadInput(f"--spec: trainable: {spec.method} has nothing to train; give a trained method's")
    if matrix < 1:
        raise BadInput("--matrix: must be at least 1; give pixels such as 256")
    sys.stdout.write(f"{_MARK}{to_json(measure(spec, matrix))}\n")
