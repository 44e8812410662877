"""Single steps of every trained method on GPUs that are not there: at full width, as one graph, shared."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy, _DDPBackwardSyncControl
from pretended_gpu import PretendedGpu
from rehearsed import FOLDERS, TRAINED, compiled, on_gpu_as_wanted, spec_of
from tiny_trainings import job
from torch.testing._internal.distributed.fake_pg import FakeStore

from data_prep.masks.sets import make_masks
from tests.bench.common import write_split
from workflow.train.batches import Batch, has_batch_norm
from workflow.train.loop import Training
from workflow.train.start import begin
from workflow.train.team import Team
from workflow.train.termination import Termination

SIDE, BATCH = 256, 8


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's matrix, one step long."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "data" / "ixi").mkdir(parents=True)
    for split in ("train", "val"):
        write_split(folder / "data" / "ixi" / f"{split}.h5", BATCH, SIDE)
    mask = make_masks("1d_uniform_6x", SIDE, SIDE, 2022)
    np.savez(
        folder / "1d_uniform_6x.npz", name=np.array(mask.name), mask=mask.mask, files=np.array([], np.str_)
    )
    return folder


def stepped(training: Training) -> None:
    training.learner.train()
    for step in range(2):  # the first makes the optimiser's state
        training._step(range(len(training.stores["train"]))[:BATCH], step, 2)


@pytest.mark.parametrize("method", TRAINED)
def test_a_step_at_full_width(method: str, large: Path, tmp_path: Path, gpu: PretendedGpu) -> None:
    spec = spec_of(method, parameters=dict(FOLDERS[method].default.parameters), training__batch_size=BATCH)
    training = begin(job(large, tmp_path, spec, "auto"), Termination())
    stepped(training)
    on_gpu_as_wanted(training)
    assert gpu.waits_of("step") == []


@pytest.mark.parametrize("method", TRAINED)
def test_a_step_is_one_graph(method: str, ixi: Path, tmp_path: Path, gpu: PretendedGpu) -> None:
    training = begin(job(ixi, tmp_path, spec_of(method), "auto"), Termination())
    batch = Batch(*training.acquisition.fresh(training.stores["train"], [0, 1], 0, 0, 0))
    assert compiled(training, batch) > 20


@pytest.fixture
def two_gpus(gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Be one of two processes, whose partner answers with shapes; DDP's reducer, in C++, stays out."""
    rank = request.param
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: rank)
    # Outside a capture SyncBatchNorm drops empty shares, and waits for the GPU to know them.
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setattr(DDPStrategy, "setup_module", lambda self, module: module)
    monkeypatch.setattr(_DDPBackwardSyncControl, "no_backward_sync", lambda *_: contextlib.nullcontext())
    torch.distributed.init_process_group("fake", rank=rank, world_size=2, store=FakeStore())
    yield Team(2, rank)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("two_gpus", [0, 1], indirect=True)
@pytest.mark.parametrize("method", TRAINED)
def test_two_gpus_share_a_step(
    method: str, two_gpus: Team, ixi: Path, tmp_path: Path, gpu: PretendedGpu
) -> None:
    training = begin(
        job(ixi, tmp_path, spec_of(method, training__devices=2), "auto"), Termination(), two_gpus
    )
    joined = [m for m in training.model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert bool(joined) == has_batch_norm(training.model)
    stepped(training)
    training._validate()
    on_gpu_as_wanted(training)
    assert {weight.device.index for weight in training.model.parameters()} == {two_gpus.rank}
    assert gpu.waits_of("step") == []
