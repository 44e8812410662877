"""Every trained method's trainings, whole and interrupted, on a GPU that is not there.

A tensor on another device than its partners, or of another type where CUDA's kernels take one, is an error by
itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pretended_gpu import NAME, ROOT, PretendedGpu
from rehearsed import BATCH, TRAINED, on_gpu_as_wanted, spec_of
from tiny_trainings import StopAt, job

from workflow.train.__main__ import fit, train
from workflow.train.batches import Learner
from workflow.train.termination import Termination


def never_waited(gpu: PretendedGpu) -> None:
    """In steps and in evaluation the host waited for nothing, in validation for its sums alone."""
    assert gpu.waits_of("step") == []
    assert gpu.waits_of("evaluation") == []
    ((kind, line),) = set(gpu.waits_of("validation"))
    path, _, number = line.partition(":")
    assert kind == "a value is read"
    assert "self.team.sum(totals).tolist()" in (ROOT / path).read_text().splitlines()[int(number) - 1]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("method", TRAINED)
def test_a_training_from_its_first_step_to_its_record(
    method: str, precision: str, ixi: Path, tmp_path: Path, gpu: PretendedGpu
) -> None:
    train(job(ixi, tmp_path, spec_of(method, training__precision=precision), "auto"), Termination())
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["device"], record["device_type"], record["status"]) == (NAME, "cuda", "finished")
    assert record["resident_splits"] == {"train": True, "val": True, "test": True}
    assert record["micro_batch"] is None
    never_waited(gpu)


@pytest.mark.parametrize("method", TRAINED)
def test_slices_read_from_disk_and_masks_drawn_for_each_step(
    method: str, fastmri: Path, tmp_path: Path, gpu: PretendedGpu
) -> None:
    spec = spec_of(method, dataset="fastmri", training__resident_gigabytes=0.0)
    train(job(fastmri, tmp_path, spec, "auto"), Termination())
    assert json.loads((tmp_path / "run.json").read_text())["resident_splits"]["train"] is False
    never_waited(gpu)


@pytest.mark.parametrize("method", TRAINED)
def test_an_interrupted_training_goes_on(
    method: str, ixi: Path, tmp_path: Path, gpu: PretendedGpu, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(method)
    with pytest.raises(SystemExit):
        fit(job(ixi, tmp_path, spec, "auto"), StopAt(2))
    assert gpu.waits_of("step") == []
    # It left in validation, where it then saved its state.
    gpu.waits.clear()
    training = fit(job(ixi, tmp_path, spec, "auto"), Termination())
    assert "resuming in epoch 1/2, step" in capsys.readouterr().err
    assert (training.progress.restarts, training.progress.status) == (1, "finished")
    on_gpu_as_wanted(training)
    never_waited(gpu)


@pytest.mark.parametrize("method", TRAINED)
def test_short_memory_halves_the_batch(
    method: str, ixi: Path, tmp_path: Path, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = Learner.forward, []

    def forward(learner: Learner, batch: Any) -> Any:
        if learner.training:
            sizes.append(len(batch.truth.image))
            if sizes[-1] > BATCH // 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(learner, batch)

    monkeypatch.setattr(Learner, "forward", forward)
    training = fit(job(ixi, tmp_path, spec_of(method), "auto"), Termination())
    assert training.progress.micro_batch == BATCH // 2
    assert sizes[:4] == [5, 1, 2, 2]
    on_gpu_as_wanted(training)
    never_waited(gpu)
