"""How long a training step takes, in the ways that the product and the plain networks have for it."""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.bench.common import Work, matrix_rate, memory, operations, tf32, tf32_products
from tests.bench.gpu.place import Place, Row, Values
from tests.bench.networks import Plain
from workflow.run.device import determinism
from workflow.train.loop import Training

HALF = "bf16-mixed"
# What the product is told, beside bf16 and channels_last.
WAYS: dict[str, dict[str, Any]] = {
    "today": {"recompute": True},
    "kept": {"recompute": False},
    "compiled": {"recompute": False, "deterministic": False, "compile": True},
    "graph": {"recompute": False, "deterministic": False, "compile": "graph"},
}
PLAIN = {"plain, TF32 convolutions": True, "plain, strict float32": False}


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write, each tensor once for each operator."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        if not function.is_view and "empty" not in function.overloadpacket.__name__:
            for value in tree_leaves((args, kwargs, outputs)):
                if isinstance(value, Tensor):
                    self.bytes += value.numel() * value.element_size()
        return outputs


def traffic(work: Work) -> float:
    with Traffic() as counted:
        work()
    return float(counted.bytes)


def timed(place: Place, work: Work, seconds: float) -> tuple[float, float, float]:
    """Return the seconds of the first step, of one step among many, and until the host has told one step."""

    def spent(times: int) -> tuple[float, float]:
        place.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            work()
        told = time.perf_counter()
        place.synchronize()
        return (time.perf_counter() - started) / times, (told - started) / times

    first, _ = spent(1)
    many = 10 if place.on_gpu else 2
    spent(many)
    whole, told = [], []
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or len(whole) < 2:
        whole.append(spent(many)[0])
        # One at a time: a full queue would make the host wait.
        told.append(spent(1)[1])
    return first, min(whole), min(told)


@cache
def rates(place: Place) -> tuple[float, float]:
    """Return the floating-point operations per second of products in bf16, and in float32 with TF32."""
    options = (8192, 0.5) if place.on_gpu else (64, 0.02)
    with tf32_products(True):
        single = matrix_rate(place.device, torch.float32, *options)
    return matrix_rate(place.device, torch.bfloat16, *options), single


def figures(place: Place, work: Work, flops: float | None, *, eager: bool) -> Values:
    """Return what is known of a step. Bytes of what is not run operator by operator cannot be counted."""
    first, whole, told = timed(place, work, 2.0 if place.on_gpu else 0.0)
    found: Values = {"ms": whole * 1e3, "enqueue ms": told * 1e3, "first s": first}
    if flops is not None:
        half, single = rates(place)
        found |= {
            "TFLOP/s": flops / whole / 1e12,
            "of the bf16 rate": f"{flops / whole / half:.1%}",
            "of the TF32 rate": f"{flops / whole / single:.1%}",
        }
    if eager:
        found["GB/s"] = traffic(work) / whole / 1e9
        if place.on_gpu:
            found["peak GB"] = memory(work, place.device)[1] / 1e9
    return found


def plain_of(training: Training) -> Plain:
    return Plain(training.spec.method, training.model, training.stores["train"], training.acquisition)


@cache
def operations_of(place: Place, method: str, side: int) -> float:
    """Return the floating-point operations of a step, as the plain network takes it."""
    return operations(plain_of(place.training(method, side, "32-true")).step)


def plain_step(place: Place, method: str, side: int, *, allow_tf32: bool) -> Values:
    plain = plain_of(place.training(method, side, "32-true"))
    with determinism(method, wanted=False), tf32(allow_tf32):
        return figures(place, plain.step, operations_of(place, method, side), eager=True)


def product_step(place: Place, method: str, side: int, way: str) -> Values:
    settings = WAYS[way]
    training = place.training(method, side, HALF, **settings)
    positions = range(len(training.stores["train"]))
    with determinism(method, wanted=settings.get("deterministic", True)):
        flops = operations_of(place, method, side)
        eager = "compile" not in settings
        return figures(place, lambda: training._step(positions, 0, 1), flops, eager=eager)


def step_rows(
    methods: tuple[str, ...], side: int, ways: tuple[str, ...]
) -> Callable[[Place], dict[str, Row]]:
    """Return the rows of some methods at one size: plain first, then the product's ways."""

    def row(place: Place, method: str, way: str) -> Values:
        if way in PLAIN:
            return plain_step(place, method, side, allow_tf32=PLAIN[way])
        return product_step(place, method, side, way)

    return lambda place: {
        f"{method} {side}, {way}": partial(row, place, method, way) for method in methods for way in ways
    }
