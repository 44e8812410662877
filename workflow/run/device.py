"""Torch set up for one run: threads, memory, determinism."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from data_prep.errors import BadInput
from workflow.run.gpus import LEASED, machine_devices, visible_devices

# Of glibc's malloc.h: parameters of mallopt, and up to which size freed memory is kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 * 2**20


def set_up_torch(threads: int, device: str) -> torch.device:
    """Fix what could change numbers from run to run, and choose the device.

    Args:
        threads: torch threads on the CPU.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where the machine has a GPU, and the CPU, which it says,
            where it has none.

    Raises:
        BadInput: CUDA is asked for and not there, or a GPU is there that torch cannot use.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    if device == "auto":
        device = _found_device()
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device: cuda is not available here; use cpu, or auto to take what there is")
    if device == "cuda":
        prefer_deterministic()
    return torch.device(device)


def _found_device() -> str:
    """Return ``cuda`` or ``cpu``; hours on a CPU beside an idle GPU are nobody's wish."""
    if torch.cuda.is_available():
        return "cuda"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # What was leased counts whatever the driver shows, and the driver's GPUs whether leased or not.
    unused = [visible] if visible and visible == os.environ.get(LEASED) else []
    unused = unused or [device.name for device in visible_devices(machine_devices({}), visible)]
    if not unused:
        print("no GPU can be seen: running on the CPU", file=sys.stderr, flush=True)
        return "cpu"
    built = torch.version.cuda
    reason = f"cannot start CUDA {built} on it" if built else "is built without CUDA"
    remedy = "update the driver, or install a build for it" if built else "install a build with CUDA"
    raise BadInput(
        f"--device: there is a GPU ({', '.join(unused)}), but torch {torch.__version__} {reason}; {remedy}; "
        "to run on the CPU give --device cpu, or hide the GPU with an empty CUDA_VISIBLE_DEVICES"
    )


def _keep_freed_memory() -> None:
    """Keep what small maps leave behind for the next ones, where the C library lets us.

    By itself glibc hands memory back to the system after each step and takes page faults for it in the
    next: a tenth of the time of a small network.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


@contextmanager
def determinism(method: str, *, wanted: bool) -> Iterator[None]:
    """Train in the block with algorithms that give the same bits each time, or with whatever is fastest.

    Not merely preferred: the memory-efficient attention keeps its other algorithm where torch only warns.

    Raises:
        BadInput: wanted, and torch has no such algorithm for an operation of the method.
    """
    prefer_deterministic()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    except RuntimeError as error:
        if wanted and "determinis" in str(error) and "use_deterministic_algorithms" in str(error):
            what = str(error).split(", but ")[0]
            raise BadInput(
                f"training.deterministic: in {method}, {what}; set the key to false, or use another operation"
            ) from error
        raise
    finally:
        # What comes after a training, evaluation with its metrics, only prefers.
        prefer_deterministic()


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
