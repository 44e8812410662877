"""A GPU that is not there: tensors that say ``cuda:0`` and hold nothing, and a watch over them.

A dispatch mode hands every operator that has to do with the GPU to ``FakeTensorMode``, which knows shapes,
types and devices but no values. What is the host's alone is computed as ever: files, orders, masks, states of
trainings. What the host reads off the GPU is zero.
"""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_prep", "methods", "workflow")
NAME = "a GPU that is not there"
GIGABYTE = 10**9
aten = torch.ops.aten

# CUDA's kernels of these take one type only, which the fake ones do not look at.
_OF_ONE_TYPE = (
    aten.convolution,
    aten.convolution_backward,
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_flash_attention,
)


class Mismatch(Exception):
    """An operator got tensors that CUDA's kernel would refuse."""


class Generator(torch._C.Generator):
    """A generator; those of the GPU, which need a driver, are the host's, known by their seeds.

    (On their way to an operator they become other objects.)
    """

    seeds_of_gpu: ClassVar[set[int]] = set()

    def __new__(cls, device: Any = "cpu") -> "Generator":
        generator = super().__new__(cls, device="cpu")
        generator.on_gpu = torch.device(device).type == "cuda"
        return generator

    def manual_seed(self, seed: int) -> "Generator":
        if self.on_gpu:
            self.seeds_of_gpu.add(seed)
        super().manual_seed(seed)
        return self


def on_gpu(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cuda"


class PretendedGpu(TorchDispatchMode):
    """The mode; it notes where the host would wait for the GPU.

    Attributes:
        watched: what is being done: ``step``, ``validation``, ``evaluation``; None where the host may wait.
        waits: of what is watched: what it is, the kind of wait, and the line of ours that waits.
        operators: how many went to the GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.watched: str | None = None
        self.waits: list[tuple[str, str, str]] = []
        self.operators = 0

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        before, self.watched = self.watched, what
        try:
            yield
        finally:
            self.watched = before

    def waits_of(self, what: str) -> list[tuple[str, str]]:
        return [(kind, line) for of, kind, line in self.waits if of == what]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        operator = function.overloadpacket
        device = kwargs.get("device")
        wanted = None if device is None else torch.device(device).type
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        theirs = wanted == "cuda" or any(map(on_gpu, tensors))
        self._check_generator(function, kwargs, theirs)
        if operator is aten.is_pinned:
            return getattr(args[0].untyped_storage(), "pinned", False)
        if operator is aten._pin_memory or (not theirs and kwargs.pop("pin_memory", False)):
            made = args[0].clone() if operator is aten._pin_memory else function(*args, **kwargs)
            made.untyped_storage().pinned = True
            return made
        if not theirs:
            return function(*args, **kwargs)
        if operator is aten._local_scalar_dense:
            self._wait("a value is read")
            return torch.zeros((), dtype=args[0].dtype).item()
        if operator in (aten._to_copy, aten.copy_):
            source, target = self._ends(operator, args, wanted)
            if source == "cuda" and target == "cpu":
                self._wait("values are read")
                return args[0] if operator is aten.copy_ else self._as_read(args[0], kwargs)
            if source == "cpu" and target == "cuda":
                self._note_copy(operator, args, kwargs)
                if operator is aten._to_copy:
                    return self._sent(args[0], kwargs)
        if operator in _OF_ONE_TYPE:
            found = {value.dtype for value in tensors if value.dtype.is_floating_point}
            if len(found) > 1:
                raise Mismatch(f"{function}: {', '.join(sorted(map(str, found)))}")
        self.operators += 1
        if operator in _STAND_INS:
            with self.fake:
                return _STAND_INS[operator](*args)
        with self.fake:
            return function(*args, **kwargs)

    def _check_generator(self, function: Any, kwargs: dict[str, Any], theirs: bool) -> None:
        generator = kwargs.get("generator")
        if generator is not None and (generator.initial_seed() in Generator.seeds_of_gpu) != theirs:
            raise Mismatch(f"{function}: the generator is not of the device of the tensors")
        if generator is not None and theirs:
            kwargs["generator"] = None

    def _ends(self, operator: Any, args: Any, wanted: str | None) -> tuple[str, str]:
        """Return from which device to which values go."""
        if operator is aten.copy_:
            return args[1].device.type, args[0].device.type
        return args[0].device.type, wanted or args[0].device.type

    def _note_copy(self, operator: Any, args: Any, kwargs: dict[str, Any]) -> None:
        values = args[1] if operator is aten.copy_ else args[0]
        unblocked = args[2] if operator is aten.copy_ and len(args) > 2 else kwargs.get("non_blocking", False)
        if not unblocked:
            self._wait("a copy to the GPU blocks")
        elif not getattr(values.untyped_storage(), "pinned", False):
            self._wait("a copy to the GPU is from memory that is not page-locked")

    def _sent(self, values: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """Return what arrives at the GPU; not by FakeTensorMode, which would hold on to the host's tensor."""
        like = torch.empty_like(values, device="meta", dtype=kwargs.get("dtype") or values.dtype)
        with self.fake:
            return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=kwargs["device"])

    def _as_read(self, values: Tensor, kwargs: dict[str, Any]) -> Tensor:
        dtype = kwargs.get("dtype") or values.dtype
        return torch.empty_strided(values.shape, values.stride(), dtype=dtype).zero_()

    def _wait(self, kind: str) -> None:
        if self.watched is not None:
            self.waits.append((self.watched, kind, _our_line()))


def _our_line() -> str:
    """Return the innermost line of the product on the stack."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES:
            return f"{path.relative_to(ROOT)}:{frame.lineno}"
    return "?"


# ---- shapes of kernels that torch has no fake ones for: batch normalisation's in parts -----------


def _per_channel(maps: Tensor, count: int) -> tuple[Tensor, ...]:
    return tuple(maps.new_empty(maps.shape[1], dtype=torch.float32) for _ in range(count))


def _require(like: Tensor, *others: Tensor | None) -> None:
    for other in others:
        if other is not None and (other.device != like.device or other.dtype != torch.float32):
            raise Mismatch(
                f"batch normalisation of maps on {like.device} with {other.dtype} on {other.device}"
            )


def _elements(maps: Tensor, *channels: Any) -> Tensor:
    _require(maps, *(value for value in channels if isinstance(value, Tensor)))
    return torch.empty_like(maps)


_STAND_INS = {
    aten.batch_norm_elemt: _elements,
    aten.batch_norm_stats: lambda maps, eps: _per_channel(maps, 2),
    aten.batch_norm_gather_stats_with_counts: lambda maps, *_: _per_channel(maps, 2),
    aten.batch_norm_backward_reduce: lambda gradient, maps, *_: _per_channel(maps, 4),
    aten.batch_norm_backward_elemt: lambda gradient, maps, mean, std, weight, *_: _elements(
        maps, mean, std, weight
    ),
}


# ---- what Python asks of CUDA beside tensors ---------------------------------------------------------


def _address(tensor: Tensor) -> int:
    """Tell tensors apart by their storage: those of the GPU have no memory."""
    return tensor.untyped_storage()._cdata + tensor.storage_offset() * tensor.element_size()


def _cudnn(*_: Any, transposed: bool, **__: Any) -> Any:
    return torch._C._ConvBackend.CudnnTranspose if transposed else torch._C._ConvBackend.Cudnn


def _save(content: Any, file: Any, *, save: Any = torch.save) -> None:
    # torch reads storages off the device, which no mode sees.
    save(tree_map_only(Tensor, lambda tensor: tensor.detach().cpu(), content), file)


def _swap(one: Tensor, other: Tensor) -> None:
    """Do as torch's own, which refuses tensors that FakeTensorMode has taken notice of."""
    one.__class__, other.__class__ = other.__class__, one.__class__
    one.__dict__, other.__dict__ = other.__dict__, one.__dict__
    torch._C._swap_tensor_impl(one, other)


@contextlib.contextmanager
def pretended(devices: int = 1, gigabytes: float = 80.0) -> Iterator[PretendedGpu]:
    """Give this process GPUs of so much memory in the block."""
    total = int(gigabytes * GIGABYTE)
    properties = SimpleNamespace(name=NAME, major=9, minor=0, total_memory=total, multi_processor_count=132)
    answers = {
        "is_available": True,
        "is_initialized": False,
        "is_bf16_supported": True,
        "_lazy_init": None,
        "current_device": 0,
        "device_count": devices,
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "get_rng_state": None,
        "set_rng_state": None,
        "get_device_name": NAME,
        "get_device_capability": (9, 0),
        "get_device_properties": properties,
        "mem_get_info": (total, total),
        "memory_allocated": 0,
        "memory_reserved": 0,
        "max_memory_allocated": 1,
    }
    Generator.seeds_of_gpu.clear()
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, answer=answer, **__: answer))
        stack.enter_context(mock.patch.object(FakeTensorMode, "avoid_device_init", True))
        stack.enter_context(mock.patch.object(FakeTensor, "data_ptr", _address, create=True))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch, "save", _save))
        # Optimisers hold the parameters, which are to be the same objects on the GPU.
        swap = mock.patch.object(torch.__future__, "get_swap_module_params_on_conversion", return_value=True)
        stack.enter_context(swap)
        stack.enter_context(mock.patch.object(torch.utils, "swap_tensors", _swap))
        # Which would ask the device for its abilities.
        stack.enter_context(mock.patch.object(torch._C, "_select_conv_backend", _cudnn))
        # torch.tensor(1, device="cuda") makes one of the host and copies it.
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        # Whether the device can do better is asked of it.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # One thread goes backward: those of CUDA begin by choosing a device.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        yield stack.enter_context(PretendedGpu())
