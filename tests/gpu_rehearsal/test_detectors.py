"""The rehearsal notices what it is there for: each fault is put into a sound training, which then fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pretended_gpu import Mismatch, PretendedGpu
from rehearsed import compiled, spec_of
from tiny_trainings import job
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError

from data_prep.undersample import slices
from methods.networks import UNetReconstruction
from workflow.train.batches import Batch
from workflow.train.loop import Training
from workflow.train.start import begin
from workflow.train.termination import Termination


@pytest.fixture
def training(ixi: Path, tmp_path: Path, gpu: PretendedGpu) -> Training:
    return begin(job(ixi, tmp_path, spec_of("unet"), "auto"), Termination())


def step(training: Training) -> None:
    training.learner.train()
    training._step([0, 1, 2], 0, 1)


def change_network(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Any]) -> None:
    """Do something with a measurement before the network sees it."""
    real = UNetReconstruction.forward
    monkeypatch.setattr(UNetReconstruction, "forward", lambda self, seen: real(self, change(self, seen)))


def test_without_a_fault_nothing_is_noticed(training: Training, gpu: PretendedGpu) -> None:
    step(training)
    assert gpu.waits_of("step") == []
    assert gpu.operators > 100


def test_a_tensor_left_on_the_host(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    change_network(monkeypatch, lambda _, seen: (seen.kspace + torch.zeros(32, 32), seen)[1])
    with pytest.raises(FakeTensorDeviceMismatchError, match="cuda:0 and cpu"):
        step(training)


@pytest.mark.parametrize("product", [torch.mm, torch.bmm, torch.nn.functional.conv2d])
def test_factors_of_two_types(gpu: PretendedGpu, product: Callable[[Tensor, Tensor], Tensor]) -> None:
    shape = {torch.mm: (4, 4), torch.bmm: (1, 4, 4)}.get(product, (1, 1, 4, 4))
    one, other = (torch.empty(shape, device="cuda", dtype=of) for of in (torch.bfloat16, torch.float32))
    product(one, one)
    with pytest.raises(Mismatch, match=r"torch\.bfloat16, torch\.float32"):
        product(one, other)


def test_batch_statistics_left_on_the_host(gpu: PretendedGpu) -> None:
    maps, channel = torch.empty(2, 3, 4, 4, device="cuda"), torch.empty(3, device="cuda")
    torch.batch_norm_elemt(maps, channel, channel, channel, channel, 1e-5)
    with pytest.raises(Mismatch, match=r"batch normalisation of maps on cuda:0 with .* on cpu"):
        torch.batch_norm_elemt(maps, channel, channel, torch.empty(3), channel, 1e-5)


def test_noise_from_a_generator_of_the_host(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    made = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device=None: made())
    with pytest.raises(Mismatch, match="generator is not of the device"):
        step(training)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (lambda values, device: torch.as_tensor(values).pin_memory().to(device), "blocks"),
        (lambda values, device: torch.as_tensor(values).to(device, non_blocking=True), "not page-locked"),
    ],
    ids=["blocking", "not page-locked"],
)
def test_a_copy_that_makes_the_host_wait(
    training: Training, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch, sent: Any, kind: str
) -> None:
    monkeypatch.setattr(slices, "sent", sent)
    step(training)
    ((found, line),) = gpu.waits_of("step")
    assert kind in found
    assert line.startswith("data_prep/undersample/slices.py:")


@pytest.mark.parametrize(
    "read",
    [
        lambda seen: seen.scale.sum().item(),
        lambda seen: seen.scale.tolist(),
        lambda seen: seen.scale.cpu(),
        lambda seen: bool(seen.scale.sum() > 0),
        lambda seen: seen.scale.to("cpu", non_blocking=True),
        lambda seen: torch.empty(3).copy_(seen.scale),
    ],
    ids=["item", "tolist", "cpu", "bool", "unblocked", "copy_"],
)
def test_a_value_read_in_a_step(
    training: Training, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch, read: Callable[[Any], Any]
) -> None:
    change_network(monkeypatch, lambda _, seen: (read(seen), seen)[1])
    step(training)
    found = gpu.waits_of("step")
    assert found
    assert all("read" in kind for kind, _ in found)


def test_a_selection_whose_size_only_the_gpu_knows(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_network(monkeypatch, lambda _, seen: (seen.scale[seen.scale > 0], seen)[1])
    with pytest.raises(torch._subclasses.fake_tensor.DynamicOutputShapeException):
        step(training)


def test_a_break_in_the_graph(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(*training.acquisition.fresh(training.stores["train"], [0, 1], 0, 0, 0))
    assert compiled(training, batch) > 20
    change_network(monkeypatch, lambda _, seen: (torch._dynamo.graph_break(), seen)[1])
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(training, batch)
