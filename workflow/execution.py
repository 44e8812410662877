"""Running a network: device and determinism, building, applying, storing, and being told to stop."""

import ctypes
import io
import os
import pickle
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from data_prep.archives import DAMAGE, of_the_system
from data_prep.errors import BadInput
from data_prep.files import replacing
from data_prep.json_files import check_fields
from data_prep.measurement import Measurement
from data_prep.seeds import seed_for
from methods.contract import ReconstructionModel
from methods.registry import load_builder
from workflow.runs import RunSpec

# From a measurement to the magnitude image, float32 (batch, height, width) in the measurement's units.
Reconstruct = Callable[[Measurement], Tensor]
TERMINATED = 128 + signal.SIGTERM
# Of glibc's malloc.h: parameters of mallopt, and up to which size freed memory is kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 * 2**20


def set_up_torch(threads: int, device: str) -> torch.device:
    """Fix what could change numbers from run to run, and choose the device.

    Args:
        threads: torch threads on the CPU.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.

    Raises:
        BadInput: CUDA is asked for and not there.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device: cuda is not available here; use cpu, or auto to take what there is")
    if device == "cuda":
        prefer_deterministic()
    return torch.device(device)


def _keep_freed_memory() -> None:
    """Keep what small maps leave behind for the next ones, where the C library lets us.

    By itself glibc hands memory back to the system after each step and takes page faults for it in the
    next: a tenth of the time of a small network.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def prefer_deterministic() -> None:
    """Make torch choose deterministic algorithms wherever it has them, and warn (into the log) elsewhere.

    Not called for evaluation on the CPU, whose forward passes are deterministic anyway: it imports torch's
    compiler, more than a CPU second, which only training imports in any case (with its optimiser).
    """
    # Read when CUDA starts: without it cuBLAS may add in another order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Would fill every new tensor, which guards against reading it before it is written: not done here.
    # The module sets its attributes through a class that the type checker cannot look into.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def build_model(spec: RunSpec, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the run's method; its initial weights depend on the spec alone.

    Convolutions give their maps the memory format of their weights, so that the model's decides.
    """
    torch.manual_seed(
        seed_for(use="init", dataset=spec.dataset, mask=spec.mask, method=spec.method, seed=spec.seed)
    )
    model = load_builder(spec.folder)(spec.parameters, image_shape)
    if spec.training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def reconstructor(
    model: ReconstructionModel, precision: str, device: torch.device, status: str = "finished"
) -> Reconstruct:
    """Return the model as a function from measurement to image, in evaluation mode and without gradients.

    Args:
        model: on the device.
        precision: as in the training's spec.
        device: where to reconstruct.
        status: how its training ended; one that diverged reconstructs nothing.
    """
    if status == "diverged":
        return not_a_number
    model.eval()

    def reconstruct(measurement: Measurement) -> Tensor:
        half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed")
        with torch.inference_mode(), half:
            image: Tensor = model(measurement).image.float()
        return image

    return reconstruct


def not_a_number(measurement: Measurement) -> Tensor:
    """Reconstruct nothing: stands in for a network whose training diverged, so that every score is NaN."""
    return torch.full_like(measurement.zero_filled, torch.nan)


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """Write a file that ``torch.load(weights_only=True)`` reads: complete under its name, or not at all."""
    # In memory first: torch's own writer reports a disk that fills up as an internal error. (Given a path, it
    # would also write the temporary name into the archive.)
    archive = io.BytesIO()
    torch.save(dict(content), archive)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(archive.getbuffer())
        file.flush()
        # Otherwise a power cut may leave the name on an empty file.
        os.fsync(file.fileno())


def load_whole(path: Path) -> dict[str, Any] | None:
    """Read what ``save_atomically`` wrote, onto the CPU, or return None if the file is damaged or foreign."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch compares no checksums: most damage would become wrong weights.
            if archive.testzip() is not None:
                return None
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGE, pickle.UnpicklingError) as error:
        # The file may be whole, but memory is full.
        if of_the_system(error) or "DefaultCPUAllocator" in str(error):
            raise
        return None
    return content if isinstance(content, dict) else None


@dataclass(frozen=True)
class Origin:
    """What a network's weights come from; by default from no training.

    Attributes:
        training_hash: of the training.
        status: how it ended: ``finished`` or ``diverged``.
    """

    training_hash: str | None = None
    status: str = "finished"


def save_checkpoint(model: ReconstructionModel, spec: RunSpec, origin: Origin, path: Path) -> None:
    """Write model.ckpt: the weights and what they come from. Equal trainings give equal bytes."""
    content = {
        "state_dict": {name: value.cpu() for name, value in model.state_dict().items()},
        "spec": spec.training_part(),
        **asdict(origin),
    }
    save_atomically(content, path)


def load_checkpoint(model: ReconstructionModel, spec: RunSpec, path: Path) -> Origin:
    """Load weights into a model built from ``spec`` and return what they come from.

    Raises:
        BadInput: no checkpoint of this method with these parameters, or a damaged one.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such checkpoint; train the method first")
    again = "delete it and run the workflow again"
    stored = load_whole(path)
    if stored is None:
        raise BadInput(f"{path}: it is not whole, or no checkpoint; {again}")
    needed = {"spec.folder": str, "spec.parameters": dict, "state_dict": dict}
    check_fields(stored, needed | {"training_hash": str | None, "status": str}, path, again)
    for name in ("folder", "parameters"):
        mine, theirs = getattr(spec, name), stored["spec"][name]
        if mine != theirs:
            raise BadInput(
                f"{path}: field {name} is {theirs}, but the spec says {mine}; "
                "give the spec it was trained with"
            )
    try:
        model.load_state_dict(stored["state_dict"])
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: field state_dict does not fit the method ({said}); {again}") from error
    return Origin(stored["training_hash"], stored["status"])


def restore(
    spec: RunSpec, image_shape: tuple[int, int], checkpoint: Path | None, device: torch.device
) -> tuple[ReconstructionModel, Reconstruct, Origin]:
    """Return a run's model on a device, with the weights of its checkpoint, as a function, and their origin.

    Args:
        spec: the run.
        image_shape: (height, width).
        checkpoint: model.ckpt; None for a method without weights.
        device: where to reconstruct.

    Raises:
        BadInput: see ``load_checkpoint``.
    """
    model = build_model(spec, image_shape)
    origin = Origin() if checkpoint is None else load_checkpoint(model, spec, checkpoint)
    model.to(device)
    return model, reconstructor(model, spec.training.precision, device, origin.status), origin


class Termination:
    """SIGTERM, by which clusters announce the end: obeyed at once, or at a safe point while deferred.

    Attributes:
        noticed: whether the signal has come.
    """

    def __init__(self) -> None:
        self.noticed = False
        self._deferred = False

    def listen(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the block to look at ``noticed``; a signal that it did not see counts at its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.noticed:
            sys.exit(TERMINATED)

    def _handle(self, *_: object) -> None:
        self.noticed = True
        if not self._deferred:
            sys.exit(TERMINATED)
