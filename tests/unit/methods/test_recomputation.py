"""What is computed again instead of kept: the same bits, less memory, and never a stale value."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from methods.blocks import DenseBlock, UpBlock
from methods.dudornet.model import DilatedResidualDenseNetwork
from methods.manet.model import TwoStreamNetwork
from methods.recomputation import map_bytes, normalised_relu, recomputation, recomputed, recomputing

Network = Callable[[], nn.Module]


class UpAndDense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.block = UpBlock(6, skip=True), DenseBlock(6)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        return self.block(self.up(maps, skip))


NETWORKS: dict[str, tuple[Network, list[tuple[int, ...]]]] = {
    "dense": (lambda: DenseBlock(6), [(2, 6, 16, 12)]),
    "up": (UpAndDense, [(2, 6, 8, 6), (2, 6, 16, 12)]),
    "dudornet": (lambda: DilatedResidualDenseNetwork(4, 8), [(2, 4, 16, 12)]),
    "manet": (lambda: TwoStreamNetwork(1, 8, 2, "cs", True), [(2, 1, 16, 12)] * 2),
    "branches": (lambda: TwoStreamNetwork(1, 8, 2, "sc_cs", True), [(1, 1, 18, 12)] * 2),
    "merged": (lambda: TwoStreamNetwork(2, 8, 2, "concat", False), [(1, 2, 16, 12)] * 2),
}


def two_steps(name: str, *, saving: bool) -> list[Tensor]:
    """Train two steps; return outputs, gradients and state."""
    make, shapes = NETWORKS[name]
    torch.manual_seed(3)
    network = make().train()
    inputs = [torch.randn(shape).requires_grad_() for shape in shapes]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    seen: list[Tensor] = []
    for _ in range(2):
        optimiser.zero_grad()
        with recomputing() if saving else nullcontext():
            outputs = network(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        torch.stack([output.square().mean() for output in outputs]).sum().backward()
        gradients = [tensor.grad for tensor in (*inputs, *network.parameters())]
        seen += [tensor.detach().clone() for tensor in (*outputs, *gradients) if tensor is not None]
        optimiser.step()
    return [*seen, *network.state_dict().values()]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_statistics_keep_their_bits(name: str) -> None:
    for one, other in zip(two_steps(name, saving=False), two_steps(name, saving=True), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("size", "allowed", "times"), [(768, True, 1), (2**20, True, 2), (2**20, False, 1)])
def test_small_maps_are_kept_and_all_where_nothing_may_be_computed_again(
    size: int, allowed: bool, times: int
) -> None:
    maps = torch.randn(1, 3, 8, 8)
    assert map_bytes(3, maps[:, 0]) == maps.nbytes == 768
    weight = torch.ones(()).requires_grad_()
    calls = []

    def counted(values: Tensor) -> Tensor:
        calls.append(values)
        return values + 1

    with recomputation(allowed=allowed), recomputing(size):
        (weight * recomputed(counted, maps)).sum().backward()
    assert len(calls) == times


def test_memory_that_a_dead_result_left_behind_is_not_taken_for_it() -> None:
    """The allocator hands the memory of freed tensors out again, to tensors without a recipe."""
    weight = torch.randn(1, 64, 64).requires_grad_()
    values = torch.rand(20, 1, 64, 64)
    total = torch.zeros(())
    with recomputing():
        for value in values:
            recomputed(torch.mul, value, torch.full((), 7.0))
            total = total + ((value + 1) * weight).sum()
    total.backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, (values + 1).sum(0))


def test_evaluation_and_other_norms_are_left_alone() -> None:
    maps = torch.randn(2, 3, 4, 4)
    norm = nn.BatchNorm2d(3)
    instance = nn.InstanceNorm2d(3)
    with recomputing():
        torch.testing.assert_close(normalised_relu(instance, maps), instance(maps).relu())
        norm.eval()
        torch.testing.assert_close(normalised_relu(norm, maps), norm(maps).relu())
    assert norm.num_batches_tracked == 0
