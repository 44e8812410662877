"""Several processes that share each batch train as one would, and can be interrupted as one can."""

import gc
import json
import math
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from tiny_runs import spec_content, tiny_spec
from tiny_trainings import NORMED, command, history, job, run
from torch.nn.parallel import DistributedDataParallel

from data_prep.errors import BadInput
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.train import together
from workflow.train.termination import Termination

PLAIN = {"parameters__dropout": 0.0}
DUDORNET = {
    "method": "dudornet",
    "folder": "dudornet",
    "parameters": {"features": 4, "recurrences": 2, "prior": True, "initial_std": 0.02},
}


def same_curve(one: Path, other: Path) -> None:
    mine, theirs = history(one), history(other)
    assert [row["epoch"] for row in mine] == [row["epoch"] for row in theirs]
    for name in ("train_loss", "val_loss", "val_psnr"):
        assert [row[name] for row in mine] == pytest.approx([row[name] for row in theirs], rel=2e-5)


def take_part(process: int, job: Job, meeting: Path, halve: bool) -> None:
    """Take part, and write how many networks still hold the processes' group when it is left."""
    leave = torch.distributed.destroy_process_group

    def counting_leave() -> None:
        held = sum(type(thing) is DistributedDataParallel for thing in gc.get_objects())
        (job.output / f"held_by_{process}").write_text(str(held))
        leave()

    with mock.patch.object(torch.distributed, "destroy_process_group", counting_leave):
        together._take_part(process, job, meeting, halve)


def test_a_gpu_that_the_driver_knows_and_cuda_cannot_start_on_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_compiled", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 0, raising=False)
    assert not torch.cuda.is_available()


def test_nothing_holds_the_group_of_processes_when_it_is_left(ixi, tmp_path):
    # What holds it then ends it later, and some trainings waited for ever there.
    with mock.patch.object(together, "_take_part", take_part):
        run(ixi, tmp_path / "two", tiny_spec(training__devices=2, **PLAIN))
    assert [(tmp_path / "two" / f"held_by_{process}").read_text() for process in (0, 1)] == ["0", "0"]


def test_two_processes_learn_as_one_does(ixi, tmp_path):
    # Batches of 5, 5 and 2 of the 12 slices: the two shares are of unequal size.
    run(ixi, tmp_path / "one", tiny_spec(**PLAIN))
    record = run(ixi, tmp_path / "two", tiny_spec(training__devices=2, **PLAIN))
    same_curve(tmp_path / "two", tmp_path / "one")
    assert record["status"] == "finished"
    assert record["notes"] == ["2 processes shared each batch (DDP)"]
    assert record["environments"] == [{"torch": str(torch.__version__), "device": "2 x cpu"}]
    assert record["spec"]["training"]["devices"] == 2


@pytest.mark.long
def test_two_processes_learn_as_one_does_with_clipping_and_a_batch_too_small_for_both(ixi, tmp_path):
    # 12 slices in batches of 11: the last is one slice, which only one of the two has.
    settings = {"training__batch_size": 11, "training__gradient_clip": 0.1, **DUDORNET}
    run(ixi, tmp_path / "one", tiny_spec(**settings))
    run(ixi, tmp_path / "two", tiny_spec(training__devices=2, **settings))
    same_curve(tmp_path / "two", tmp_path / "one")


def test_batch_norm_on_two_cpu_processes_is_refused_in_one_sentence(ixi, tmp_path, capfd):
    with pytest.raises(SystemExit) as left:
        run(ixi, tmp_path, tiny_spec(training__devices=2, **NORMED))
    assert left.value.code == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "training.devices: 2 on a CPU is not for xiang" in said[0]


def test_more_devices_than_there_are_is_refused(ixi, tmp_path, monkeypatch):
    monkeypatch.setattr(together.torch.cuda, "device_count", lambda: 1)
    spec = tiny_spec(training__devices=2)
    on_gpu = job(ixi, tmp_path, spec, "auto")
    with pytest.raises(BadInput, match="2 asked for, but 1 GPUs can be seen"):
        together.train_together(on_gpu, Termination())


def children(process: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_two_processes_go_on_with_the_same_bits(ixi, tmp_path, sent):
    content = spec_content(training__devices=2, training__epochs=60, **PLAIN)
    spec = RunSpec.from_json(json.dumps(content))
    run(ixi, tmp_path / "whole", spec)
    output = tmp_path / "broken"
    # Where Ctrl-C is ignored, as in the background.
    background = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *command(ixi, output, content)]
    process = subprocess.Popen(background, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch 3/"):
            break
    workers = children(process.pid)
    assert len(workers) >= 2
    # To the first process only, as a scheduler does that knows no other.
    process.send_signal(sent)
    rest = process.stderr.read()
    assert process.wait(timeout=120) == (143 if sent == signal.SIGTERM else -signal.SIGKILL)
    assert rest.count("SIGTERM: state saved") == (1 if sent == signal.SIGTERM else 0)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "processes were left behind"
        time.sleep(0.1)
    assert not (output / "run.json").exists()
    record = run(ixi, output, spec)
    assert record["restarts"] == 1
    assert (output / "model.ckpt").read_bytes() == (tmp_path / "whole" / "model.ckpt").read_bytes()
    assert (output / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def _short_of_memory(process: int, *arguments: Any) -> None:
    """Take part on a device that one slice fits, but not more; only the second process's is so small."""
    from workflow.train import loop

    real = loop.Learner.forward

    def forward(learner: loop.Learner, batch: loop.Batch) -> Any:
        if process == 1 and learner.training and len(batch.truth.image) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(learner, batch)

    with mock.patch.object(loop.Learner, "forward", forward):
        together._take_part(process, *arguments)


@pytest.mark.long
def test_memory_that_is_short_in_one_process_makes_both_take_smaller_parts(ixi, tmp_path, monkeypatch):
    run(ixi, tmp_path / "one", tiny_spec(**PLAIN))
    started = []
    real = together.start_processes

    def start(function: Any, *arguments: Any, **options: Any) -> Any:
        started.append(options["nprocs"])
        return real(_short_of_memory, *arguments, **options)

    monkeypatch.setattr(together, "start_processes", start)
    monkeypatch.setattr(together, "GRACE_SECONDS", 5.0)
    record = run(ixi, tmp_path / "two", tiny_spec(training__devices=2, **PLAIN))
    # Three slices to a process, then one.
    assert started == [2, 2]
    assert record["micro_batch"] == 1
    same_curve(tmp_path / "two", tmp_path / "one")


@pytest.mark.long
def test_divergence_ends_both_processes(ixi, tmp_path):
    rate = {"name": "sgd", "lr": 1e30}
    spec = tiny_spec(training__devices=2, training__epochs=4, optimiser=rate, **PLAIN)
    record = run(ixi, tmp_path, spec)
    assert record["status"] == "diverged"
    assert record["epochs"] < 4
    assert math.isnan(history(tmp_path)[-1]["val_loss"])
