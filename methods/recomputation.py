"""Training memory: what is cheap to compute again is not kept for the backward pass.

Autograd keeps the inputs or outputs of most operations until the backward pass has used them. Inside
``recomputing``, the result of an operation applied by ``recomputed`` or ``normalised_relu`` is not kept:
its recipe is, and the backward pass computes it again from tensors that are kept anyway. Autograd's graph and
every value in it stay the same, so results are the same to the bit on a CPU. Only copies and elementwise
operations are worth it; convolutions are not.

``torch.utils.checkpoint`` computes whole blocks again, or all but their convolutions. Measured beside this on
a CPU at 256x256, a training step of MANet takes 27 % more time in 0.47 of the memory, or 14 % more in 1.15 of
it; one of DuDoRNet 26 % in 0.50, or 5 % in 1.04. Batch normalisation would also count each batch twice.
"""

import math
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of one layer's maps, in bytes: below, keeping recipes costs more time than the memory is worth.
_WORTHWHILE = 2**20
# Values that were computed again stay for the operations that follow at once: this many.
_REMEMBERED = 4


@dataclass(frozen=True, eq=False)
class _Recipe:
    """How to compute a tensor again: a function of kept tensors and of other recipes."""

    function: Callable[..., Tensor]
    inputs: "tuple[Tensor | _Recipe, ...]"


class _Keeper:
    """Decides what autograd keeps: a recipe where there is one, otherwise the tensor."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], _Recipe]] = {}
        self._recent: deque[tuple[_Recipe, Tensor]] = deque(maxlen=_REMEMBERED)

    def learn(self, result: Tensor, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        """Note how ``result`` comes about; nothing but what ``function`` says may write into it."""
        kept = tuple(self.pack(tensor.detach()) for tensor in inputs)
        self._known[result.data_ptr()] = weakref.ref(result), _Recipe(function, kept)

    def pack(self, tensor: Tensor) -> "Tensor | _Recipe":
        """Return what is kept in place of a tensor."""
        address = tensor.data_ptr()
        if address in self._known:
            reference, recipe = self._known[address]
            # Autograd hands in aliases, so identity does not tell. While the result lives, no other tensor
            # has its memory; once it is gone, the address may belong to another.
            result = reference()
            if result is None:
                del self._known[address]
            elif (result.shape, result.stride()) == (tensor.shape, tensor.stride()):
                return recipe
        return tensor

    def unpack(self, kept: "Tensor | _Recipe") -> Tensor:
        """Return the tensor that ``pack`` was given."""
        if isinstance(kept, Tensor):
            return kept
        for recipe, value in self._recent:
            if recipe is kept:
                return value
        inputs = [self.unpack(tensor) for tensor in kept.inputs]
        with torch.no_grad():
            value = kept.function(*inputs)
        self._recent.append((kept, value))
        return value


_keeper: ContextVar[_Keeper | None] = ContextVar("keeper", default=None)
_allowed: ContextVar[bool] = ContextVar("allowed", default=True)


@contextmanager
def recomputation(*, allowed: bool) -> Iterator[None]:
    """Let networks compute results again in the block, or not: ``training.recompute`` of a configuration."""
    # Here and below: a context variable would break the graph.
    if torch.compiler.is_compiling():
        yield
        return
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def _current() -> _Keeper | None:
    """Return the keeper of the block; none where torch compiles."""
    return None if torch.compiler.is_compiling() else _keeper.get()


@contextmanager
def recomputing(map_bytes: float = math.inf) -> Iterator[None]:
    """Keep recipes in place of cheap results, in the block, where gradients are wanted and maps are large.

    A compiled network is left alone: the compiler decides by itself what to compute again.

    Args:
        map_bytes: of one layer's maps at full resolution, see ``map_bytes``; the results do not depend on it.
    """
    if torch.compiler.is_compiling() or _keeper.get() is not None:
        yield
        return
    if not _allowed.get() or not torch.is_grad_enabled() or map_bytes < _WORTHWHILE:
        yield
        return
    keeper = _Keeper()
    token = _keeper.set(keeper)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keeper.pack, keeper.unpack):
            yield
    finally:
        _keeper.reset(token)


def map_bytes(width: int, images: Tensor) -> int:
    """Return the size of ``width`` float32 maps for each of some images (batch, height, width), in bytes."""
    return 4 * width * images.numel()


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return ``function(*inputs)``, a new tensor that the backward pass computes again where it needs it.

    Args:
        function: cheap, and without memory of its own: a copy or an elementwise operation.
        inputs: its tensors.
    """
    result = function(*inputs)
    keeper = _current()
    if keeper is not None:
        keeper.learn(result, function, inputs)
    return result


def concatenated(*maps: Tensor) -> Tensor:
    """Return maps (batch, channels_i, height, width) concatenated over channels, recomputed."""
    return recomputed(lambda *parts: torch.cat(parts, dim=1), *maps)


def normalised_relu(norm: nn.Module, maps: Tensor) -> Tensor:
    """Return ReLU(norm(maps)), (batch, channels, height, width); recomputed after a plain batch norm."""
    keeper = _current()
    # Its subclasses, such as the one that spans processes, are no plain ones.
    if keeper is None or type(norm) is not nn.BatchNorm2d or not norm.training or norm.momentum is None:
        return functional.relu(norm(maps), inplace=True)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    normalised, mean, inverse_std = torch.native_batch_norm(
        maps, norm.weight, norm.bias, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
    )
    eps = norm.eps

    def again(maps: Tensor, mean: Tensor, inverse_std: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if maps.is_cuda:
            value: Tensor = torch.batch_norm_elemt(maps, weight, bias, mean, inverse_std, eps)
        else:
            # In evaluation mode with a variance of 1, the kernel does the arithmetic of training.
            one = torch.ones_like(mean)
            value = functional.batch_norm(maps, mean, one, weight * inverse_std, bias, False, 0.0, 0.0)
        return functional.relu(value, inplace=True)

    # Before the ReLU, which works in place and whose result autograd keeps.
    keeper.learn(normalised, again, (maps, mean, inverse_std, norm.weight, norm.bias))
    return functional.relu(normalised, inplace=True)
