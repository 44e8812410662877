"""What ``auto`` comes to on a device: whether its steps are compiled, and what they compute again."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from data_prep.errors import BadInput
from data_prep.undersample.device_memory import (
    DeviceMemory,
    device_memory,
    out_of_memory,
    room_for_network,
)
from workflow.run.spec import Auto, Precision, TrainingSpec

# torch's own compiler.
COMPILER = "inductor"
NOT_COMPILED = "not compiled, whatever training.compile says: torch compiles the steps of one GPU only"
# Compiling takes a minute or two, in each process anew. Of a step of MANet it saves some 6 ms of 36, reckoned
# from the bytes that both move (docs/gpu.md): two minutes after so many steps.
WORTHWHILE_STEPS = 20_000
# What the largest of the networks that compute again, DuDoRNet, otherwise keeps for a pixel; counted.
_KEPT_BYTES: dict[Precision, int] = {"32-true": 69_000, "bf16-mixed": 35_000}


@dataclass(frozen=True)
class Choices:
    """How a training computes its steps.

    Attributes:
        compiler: torch's name of what compiles them; None where nothing does.
        recompute: whether networks compute cheap results again; a compiler decides that by itself.
    """

    compiler: str | None = None
    recompute: bool = True


def compiles(training: TrainingSpec, device_type: str, steps: int) -> bool:
    """Tell whether ``training.compile`` comes to compiling.

    Args:
        training: how to train.
        device_type: ``cpu`` or ``cuda``.
        steps: of the whole training.
    """
    if device_type != "cuda" or training.devices > 1:
        return False
    if training.compile == "auto":
        return not training.deterministic and steps >= WORTHWHILE_STEPS
    return training.compile


def recomputes(wanted: Auto, precision: Precision, memory: DeviceMemory | None, pixels: int) -> bool:
    """Tell whether ``training.recompute`` comes to computing again.

    Args:
        wanted: the key.
        precision: of the training.
        memory: of the GPU; None on a CPU, where ``auto`` computes again: half of the memory, the same bits.
        pixels: of all slices of a step on this device.
    """
    if wanted == "auto":
        return memory is None or room_for_network(memory) < _KEPT_BYTES[precision] * pixels
    return wanted


def chosen(training: TrainingSpec, device: torch.device, slices: int, pixels: int) -> Choices:
    """Return what the keys come to.

    Args:
        training: how to train.
        device: where.
        slices: of the training split.
        pixels: of a slice.
    """
    steps = training.epochs * math.ceil(slices / training.batch_size)
    if compiles(training, device.type, steps):
        return Choices(COMPILER, recompute=False)
    memory = device_memory(device) if device.type == "cuda" else None
    pixels *= math.ceil(min(training.batch_size, slices) / training.devices)
    return Choices(None, recomputes(training.recompute, training.precision, memory, pixels))


def compiled(function: Callable[..., Any], compiler: str, *, deterministic: bool) -> Callable[..., Any]:
    """Return a function that torch compiles at its first call, as one graph, for each size of a batch anew.

    Were sizes left open, a resumed training that meets them in another order would get other kernels.
    """
    # Otherwise the compiler may choose the order of a sum by the clock.
    options: dict[str, Any] = {"deterministic": True} if deterministic and compiler == COMPILER else {}
    made: Callable[..., Any] = torch.compile(
        function, fullgraph=True, dynamic=False, backend=compiler, options=options or None
    )
    return made


def seconds_compiling() -> float:
    """Return how long this process has compiled so far."""
    spent: float = torch._dynamo.utils.calculate_time_spent()["total_wall_time"]
    return spent


@contextmanager
def one_graph(method: str) -> Iterator[None]:
    """Train in the block a method that may be compiled.

    Raises:
        BadInput: torch cannot compile it, as one graph or at all.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch._dynamo.exc.TorchDynamoException) or out_of_memory(error):
            raise
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadInput(
            f"training.compile: torch cannot compile {method} ({why}); set the key to false, or write the "
            "method without what breaks its graph"
        ) from error
