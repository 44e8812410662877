"""Nothing in a training step makes the host wait for the device."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import MASKS, SIDE, tiny_spec, write_mask, write_splits
from tiny_trainings import opened, training_of
from torch.utils._python_dispatch import TorchDispatchMode

from data_prep.undersample.acquisition import open_acquisition, open_split
from data_prep.undersample.transfer import sent
from methods.registry import discover
from workflow.run.model import build_model

META = torch.device("meta")  # values nowhere: whatever is there came by a copy from the host
TRAINED = [name for name, folder in discover().items() if folder.default.trainable]


class Watch(TorchDispatchMode):
    """Counts what is read off a tensor, which makes the host wait, and copies between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.waited: list[bool] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"):
            self.read[name] += 1
        if name == "_to_copy" and options.get("device") == META:
            self.waited.append(not options.get("non_blocking", False))
        return function(*arguments, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    for dataset in MASKS:
        write_splits(folder, dataset)
        write_mask(folder, dataset)
    return folder


@pytest.mark.parametrize(
    ("dataset", "phase", "copies"),
    [("ixi", "none", [2, 1]), ("ixi", "smooth", [2, 1]), ("fastmri", "none", [2, 2])],
)
def test_no_copy_to_the_device_waits_and_a_frozen_mask_goes_there_once(
    folder: Path, dataset: str, phase: str, copies: list[int]
) -> None:
    # Positions and mask; a mask that is drawn goes at every step.
    name = MASKS[dataset]
    acquisition = open_acquisition(folder / f"{name}.npz", dataset, name, 0.0, 2022, phase)
    store = open_split(folder / "data" / dataset, "train", acquisition, META, 1.0)
    assert store.resident
    for step, expected in enumerate(copies):
        with Watch() as watch:
            measurement, truth = acquisition.fresh(store, [3, 0, 5], 0, 0, step)
        assert measurement.kspace.device == truth.image.device == measurement.mask.device == META
        # Of the phase: coefficients, rows and columns.
        assert watch.waited == [False] * (expected + 3 * (phase == "smooth"))
        assert not watch.read


def test_the_copy_of_a_frozen_mask_is_its_users_own(folder: Path) -> None:
    acquisition, store = opened(folder, "ixi", 0.0)
    for measure in (lambda: acquisition.fresh(store, [0], 0, 0, 0), lambda: acquisition.fixed(store, [0, 1])):
        mask = measure()[0].mask
        before = mask.clone()
        mask.fill_(True)
        assert torch.equal(measure()[0].mask, before)
        assert before.shape[1:] == (SIDE, SIDE)
        assert (before[0].numpy() == acquisition.masks.mask).all()


def test_only_a_gpu_gets_its_copies_from_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values, calls = torch.arange(3), []
    assert sent(values, "cpu") is values
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self: "pinned" in calls)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: (calls.append("pinned"), self)[1])
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **options: calls.append((device, options)))
    for _ in range(2):
        sent(values, torch.device("cuda"))
    assert calls == ["pinned"] + 2 * [(torch.device("cuda"), {"non_blocking": True})]


@pytest.mark.parametrize("method", TRAINED)
def test_nothing_in_a_step_reads_a_value_off_the_device(folder: Path, tmp_path: Path, method: str) -> None:
    default = discover()[method].default
    spec = tiny_spec(
        method=method,
        folder=method,
        parameters={**default.parameters, **default.small},
        optimiser=default.optimiser,
        training__gradient_clip=1.0,
    )
    training = training_of(folder, spec, build_model(spec, (SIDE, SIDE)), tmp_path / "state.pt")
    training.learner.train()
    training._step([0, 1], 0, 2)  # makes the optimiser's state
    with Watch() as watch:
        training._step([2, 3], 1, 2)
    assert not watch.read
