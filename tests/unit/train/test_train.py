"""Training learns, chooses on validation, and ends with the same bits however often it is interrupted."""

import csv
import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import MASKS, SIDE, spec_content, tiny_spec, write_mask, write_splits
from torch import Tensor, nn

from data_prep.errors import BadInput
from data_prep.measurement import Measurement, Truth
from data_prep.undersample.acquisition import Acquisition, epoch_order, open_acquisition, open_split
from methods.contract import Reconstruction, ReconstructionModel
from workflow.run import checkpoint
from workflow.run import model as execution
from workflow.run.checkpoint import load_checkpoint
from workflow.run.model import build_model
from workflow.run.spec import RunSpec
from workflow.train import energy
from workflow.train import loop as learning
from workflow.train.__main__ import main, train
from workflow.train.batches import Batch, Learner, shares
from workflow.train.history import HISTORY
from workflow.train.loop import Training, learning_rate
from workflow.train.start import Job
from workflow.train.termination import TERMINATED, Termination

CPU = torch.device("cpu")
# Compared as bytes; history.csv holds seconds and is compared without them.
LEARNING = {"parameters__channels": 8, "parameters__dropout": 0.0, "training__batch_size": 2}
BIT_EQUAL = ("model.ckpt", "metrics.csv", "examples.npz")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ixi(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ixi")
    write_splits(folder)
    write_mask(folder)
    return folder


@pytest.fixture(scope="module")
def fastmri(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fastmri")
    write_splits(folder, "fastmri")
    write_mask(folder, "fastmri")
    return folder


def run(folder: Path, output: Path, spec: RunSpec, termination: Termination | None = None) -> dict[str, Any]:
    """Train in this process and return run.json."""
    mask = folder / f"{spec.mask}.npz"
    train(Job(spec, folder / "data" / spec.dataset, mask, output, "cpu"), termination or Termination())
    return json.loads((output / "run.json").read_text())


def history(output: Path) -> list[dict[str, float]]:
    with (output / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def results(output: Path) -> tuple[Any, ...]:
    """Everything that two equal trainings share."""
    lines = (output / "history.csv").read_text().splitlines()
    assert HISTORY[-1] == "seconds"
    timeless = [line.rpartition(",")[0] for line in lines]
    record = json.loads((output / "run.json").read_text())
    kept = {name: record[name] for name in ("status", "best_epoch", "epochs", "training_hash")}
    return (*((output / name).read_bytes() for name in BIT_EQUAL), timeless, kept)


def training_of(folder: Path, spec: RunSpec, model: ReconstructionModel, state: Path) -> Training:
    acquisition = open_acquisition(
        folder / f"{spec.mask}.npz", spec.dataset, spec.mask, spec.noise, spec.base_seed
    )
    stores = {
        split: open_split(folder / "data" / spec.dataset, split, acquisition, CPU, 1.0)
        for split in ("train", "val")
    }
    return Training(spec, {"of": "a test"}, model, stores, acquisition, CPU, state, Termination())


class Toy(ReconstructionModel):
    """The zero-filled image times a learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, measurement: Measurement) -> Reconstruction:
        return Reconstruction(self.factor * measurement.zero_filled)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        return (reconstruction.image - truth.image).abs().mean()


# ---- learning -----------------------------------------------------------------------------------


def test_training_lowers_the_validation_loss(ixi, tmp_path):
    record = run(ixi, tmp_path, tiny_spec(training__epochs=8, **LEARNING))
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert tuple(rows[0]) == HISTORY
    assert rows[-1]["val_loss"] < 0.7 * rows[0]["val_loss"]
    assert rows[-1]["val_psnr"] > rows[0]["val_psnr"] + 2
    assert record["status"] == "finished"
    assert record["epochs"] == 8
    assert record["parameter_count"] == sum(
        value.numel() for value in build_model(tiny_spec(**LEARNING), (SIDE, SIDE)).parameters()
    )
    assert record["throughput"]["training_slices_per_second"] > 0
    assert set(record["data_fingerprints"]) == {"train", "val", "test"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*BIT_EQUAL, "history.csv", "run.json", "resume"]
    )


def test_the_checkpoint_is_of_the_epoch_with_the_lowest_validation_loss(ixi, tmp_path):
    # A rate this high makes the validation loss go up and down.
    spec = tiny_spec(training__epochs=6, optimiser__lr=0.2, training__schedule="constant")
    record = run(ixi, tmp_path, spec)
    losses = [row["val_loss"] for row in history(tmp_path)]
    assert record["best_epoch"] == losses.index(min(losses)) + 1
    assert record["best_epoch"] < 6, "the last epoch is the best: this proves nothing"
    model = build_model(spec, (SIDE, SIDE))
    load_checkpoint(model, spec, tmp_path / "model.ckpt")
    training = training_of(ixi, spec, model, tmp_path / "state.pt")
    assert training._validate()[0] == min(losses)


def test_validation_psnr_is_the_mean_over_slices(ixi, tmp_path):
    training = training_of(ixi, tiny_spec(), Toy(), tmp_path / "state.pt")
    store = training.stores["val"]
    measurement, truth = training.acquisition.fixed(store, range(len(store)))
    error = (0.5 * measurement.zero_filled - truth.image).square().mean(dim=(1, 2))
    expected = (10 * torch.log10(truth.image.amax(dim=(1, 2)) ** 2 / error)).mean()
    assert training._validate()[1] == pytest.approx(expected.item(), rel=1e-6)


def test_fastmri_trains_on_complex_slices(fastmri, tmp_path):
    record = run(fastmri, tmp_path, tiny_spec(dataset="fastmri", mask=MASKS["fastmri"], noise=0.0))
    assert record["status"] == "finished"
    assert history(tmp_path)[-1]["val_loss"] < history(tmp_path)[0]["val_loss"]


def test_a_network_with_batch_norm_and_kspace_trains(ixi, tmp_path):
    parameters = {
        "width": 4,
        "levels": 2,
        "fusion": "cs",
        "early_concat": True,
        "kspace": True,
        "alpha": 0.4,
        "beta": 0.6,
    }
    spec = tiny_spec(method="manet", folder="manet", parameters=parameters, training__epochs=4)
    run(ixi, tmp_path, spec)
    assert history(tmp_path)[-1]["train_loss"] < history(tmp_path)[0]["train_loss"]


@pytest.mark.parametrize(
    "optimiser",
    [
        {"name": "adam", "lr": 0.01, "betas": [0.5, 0.999], "weight_decay": 0.01},
        {"name": "adamw", "lr": 0.01},
        {"name": "rmsprop", "lr": 0.01, "alpha": 0.9},
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    ],
    ids=lambda settings: settings["name"],
)
def test_every_optimiser_takes_its_options_and_learns(ixi, tmp_path, optimiser):
    spec = tiny_spec(optimiser=optimiser)
    training = training_of(ixi, spec, Toy(), tmp_path / "state.pt")
    training.fit()
    losses = [row["val_loss"] for row in training.progress.history]
    assert losses[-1] < losses[0]
    for key, value in optimiser.items():
        # The schedule has moved the rate since.
        if key not in ("name", "lr"):
            used = training.optimiser.param_groups[0][key]
            assert (list(used) if key == "betas" else used) == value


def test_the_rate_follows_the_schedule():
    def rates(steps: range, **changes: Any) -> list[float]:
        training = tiny_spec(**{f"training__{name}": value for name, value in changes.items()}).training
        return [learning_rate(2.0, training, step, 4) for step in steps]

    assert rates(range(4), schedule="constant") == [2.0] * 4
    cosine = rates(range(5), schedule="cosine")
    assert cosine == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5), 0.0])
    assert rates(range(4), schedule="constant", warm_up=0.75) == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0])
    warm = rates(range(5), schedule="cosine", warm_up=0.5)
    assert warm == pytest.approx([cosine[0] / 2, *cosine[1:]])


@pytest.mark.parametrize("warm_up", [0.0, 0.8])
def test_the_optimiser_gets_the_scheduled_rate_at_every_step(ixi, tmp_path, warm_up):
    spec = tiny_spec(training__epochs=2, training__batch_size=6, training__warm_up=warm_up)
    training = training_of(ixi, spec, Toy(), tmp_path / "state.pt")
    rates = []
    step = training.optimiser.step
    training.optimiser.step = lambda: (rates.append(training.optimiser.param_groups[0]["lr"]), step())
    training.fit()
    assert rates == [learning_rate(0.01, spec.training, i, 4) for i in range(4)]
    assert [row["learning_rate"] for row in training.progress.history] == rates[::2]


def test_clipping_bounds_the_gradient(ixi, tmp_path):
    norms = {}
    for limit in (None, 1e-3):
        spec = tiny_spec(training__gradient_clip=limit, training__epochs=1)
        training = training_of(ixi, spec, Toy(), tmp_path / "state.pt")
        training.fit()
        norms[limit] = float(training.model.factor.grad.abs())
    assert norms[None] > 0.01
    assert norms[1e-3] <= 1.001e-3


def test_half_precision_is_for_the_network_only(ixi, tmp_path):
    seen = {}

    class Probe(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, measurement: Measurement) -> Reconstruction:
            seen["input"] = {measurement.zero_filled.dtype, measurement.kspace.dtype}
            layer = self.layer(measurement.zero_filled[:, None])
            seen["layer"] = layer.dtype
            return Reconstruction(layer[:, 0].float())

        def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
            seen["truth"] = {truth.image.dtype, truth.kspace.dtype}
            return super().loss(reconstruction, truth, measurement)

    spec = tiny_spec(training__precision="bf16-mixed", training__epochs=1)
    training = training_of(ixi, spec, Probe(), tmp_path / "state.pt")
    training.fit()
    assert seen["layer"] == torch.bfloat16
    assert seen["input"] == seen["truth"] == {torch.float32, torch.complex64}
    assert training.model.layer.weight.dtype == torch.float32
    assert math.isfinite(training.progress.history[0]["val_loss"])


# ---- what is random -----------------------------------------------------------------------------


def test_the_same_spec_gives_the_same_bits_and_another_seed_does_not(ixi, tmp_path):
    for name in ("a", "b"):
        run(ixi, tmp_path / name, tiny_spec())
    run(ixi, tmp_path / "c", tiny_spec(seed=1))
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert (tmp_path / "a" / "model.ckpt").read_bytes() != (tmp_path / "c" / "model.ckpt").read_bytes()


def test_moving_the_folder_or_reading_from_disk_changes_nothing(ixi, tmp_path):
    run(ixi, tmp_path / "a", tiny_spec())
    moved = tmp_path / "elsewhere"
    write_splits(moved)
    write_mask(moved)
    run(moved, tmp_path / "b", tiny_spec(training__resident_gigabytes=0.0))
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_an_order_is_a_permutation_of_its_own_for_each_epoch_and_seed():
    orders = [epoch_order(20, "ixi", 2022, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(20, "ixi", 2022, 0, 1) == orders[1]


def test_training_noise_is_fresh_at_every_step_and_epoch_and_can_be_drawn_again(ixi):
    acquisition = open_acquisition(ixi / f"{MASKS['ixi']}.npz", "ixi", MASKS["ixi"], 0.1, 2022)
    store = open_split(ixi / "data" / "ixi", "train", acquisition, CPU, 1.0)

    def kspace(seed: int, epoch: int, step: int) -> Tensor:
        return acquisition.fresh(store, [0, 1], seed, epoch, step)[0].kspace

    assert torch.equal(kspace(0, 1, 2), kspace(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(kspace(*other), kspace(0, 1, 2))


def test_fastmri_training_masks_belong_to_slice_and_epoch(fastmri):
    acquisition = open_acquisition(
        fastmri / f"{MASKS['fastmri']}.npz", "fastmri", MASKS["fastmri"], 0.0, 2022
    )
    store = open_split(fastmri / "data" / "fastmri", "train", acquisition, CPU, 1.0)

    def masks(positions: list[int], epoch: int, step: int = 0) -> Tensor:
        return acquisition.fresh(store, positions, 0, epoch, step)[0].mask

    everything = list(range(len(store)))
    assert torch.equal(masks([2, 5], 0)[1], masks([5], 0, step=3)[0])
    assert not torch.equal(masks(everything, 0), masks(everything, 1))


# ---- divergence ---------------------------------------------------------------------------------


class Diverging(Toy):
    """A loss that is NaN from the second epoch on."""

    steps = 0

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        self.steps += self.training
        loss = super().loss(reconstruction, truth, measurement)
        return loss * math.nan if self.steps > 3 else loss


def test_a_diverged_training_stops_and_says_so_everywhere(ixi, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "build_model", lambda spec, shape: Diverging())
    record = run(ixi, tmp_path, tiny_spec(training__epochs=5))
    assert record["status"] == "diverged"
    assert record["best_epoch"] is None
    assert record["epochs"] == 2
    assert len(history(tmp_path)) == 2
    assert math.isnan(history(tmp_path)[1]["train_loss"])
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row[name] == "nan" for row in rows for name in ("ssim", "psnr", "nmse"))
    assert (tmp_path / "model.ckpt").is_file()
    assert (tmp_path / "examples.npz").is_file()


def test_divergence_is_seen_within_the_epoch_and_stops_it(ixi, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "build_model", lambda spec, shape: Diverging())
    steps = count_steps(monkeypatch)
    # Twelve slices: six steps an epoch, the fourth of which is the first without a number.
    record = run(ixi, tmp_path, tiny_spec(training__epochs=5, training__batch_size=2))
    assert steps == [0, 1, 2, 3]
    assert (record["status"], record["epochs"], record["diverged_step"]) == ("diverged", 1, 4)
    assert math.isnan(history(tmp_path)[0]["val_loss"])


def test_a_gpu_is_asked_for_the_loss_every_few_steps_only(ixi, tmp_path, monkeypatch):
    spec = tiny_spec(training__epochs=1, training__batch_size=1)
    training = training_of(ixi, spec, Diverging(), tmp_path / "state.pt")
    training.look_every = 5
    steps = count_steps(monkeypatch)
    training.fit()
    assert steps == [0, 1, 2, 3, 4]
    assert training.progress.diverged_step == 5
    assert training.progress.status == "diverged"


def test_a_diverged_training_is_not_repeated(ixi, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(execution, "build_model", lambda spec, shape: Diverging())
    run(ixi, tmp_path, tiny_spec(training__epochs=5))
    before = results(tmp_path)
    run(ixi, tmp_path, tiny_spec(training__epochs=5))
    assert "diverged already" in capsys.readouterr().err
    assert results(tmp_path) == before


def test_validation_that_is_never_finite_is_divergence(ixi, tmp_path):
    class Blind(Toy):
        def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
            loss = super().loss(reconstruction, truth, measurement)
            return loss if self.training else loss * math.nan

    training = training_of(ixi, tiny_spec(), Blind(), tmp_path / "state.pt")
    training.fit()
    assert training.progress.status == "diverged"


def test_one_validation_loss_that_is_not_finite_is_merely_never_the_best(ixi, tmp_path):
    class Blinking(Toy):
        def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
            loss = super().loss(reconstruction, truth, measurement)
            first = not self.training and self.factor < 0.54
            return loss * math.nan if first else loss

    training = training_of(ixi, tiny_spec(), Blinking(), tmp_path / "state.pt")
    training.fit()
    losses = [row["val_loss"] for row in training.progress.history]
    assert math.isnan(losses[0])
    assert not math.isnan(losses[-1])
    assert training.progress.status == "finished"
    assert training.progress.best_epoch == 1 + losses.index(min(losses[1:]))


def test_channels_last_stores_maps_pixel_by_pixel_and_learns_the_same(ixi, tmp_path):
    learnt = {}
    for name in (False, True):
        run(ixi, tmp_path / str(name), tiny_spec(training__channels_last=name))
        stored = torch.load(tmp_path / str(name) / "model.ckpt", weights_only=True)
        learnt[name] = stored["state_dict"]
    assert learnt[True].keys() == learnt[False].keys()
    wide = [name for name, value in learnt[True].items() if value.ndim == 4 and value.shape[1] > 1]
    assert wide
    for name in wide:
        assert learnt[True][name].is_contiguous(memory_format=torch.channels_last)
    for name, value in learnt[True].items():
        torch.testing.assert_close(value, learnt[False][name], rtol=1e-3, atol=1e-4)


# ---- resuming -----------------------------------------------------------------------------------


class StopAt(Termination):
    """SIGTERM at the n-th moment at which training looks for it."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        super().__init__()

    @property
    def noticed(self) -> bool:
        self.left -= 1
        return self.left < 0

    @noticed.setter
    def noticed(self, value: bool) -> None:
        pass


@pytest.mark.parametrize("channels_last", [False, True])
def test_sigterm_after_any_step_saves_and_loses_nothing(ixi, tmp_path, monkeypatch, channels_last):
    spec = tiny_spec(training__epochs=2, training__channels_last=channels_last)
    run(ixi, tmp_path / "whole", spec)
    steps = count_steps(monkeypatch)
    for moment in itertools.count():
        output = tmp_path / str(moment)
        steps.clear()
        status = exit_status(ixi, output, spec, StopAt(moment))
        if status is None:
            break
        assert status == TERMINATED
        assert (output / "resume" / "state.pt").is_file()
        run(ixi, output, spec)
        assert results(output) == results(tmp_path / "whole"), f"moment {moment}"
        assert len(steps) == 6, "a step was repeated or left out"
    # Six steps, two validations of one batch, the end.
    assert moment >= 9


def exit_status(folder: Path, output: Path, spec: RunSpec, termination: Termination) -> object:
    """Return the status with which a training leaves, None if it comes to its end."""
    try:
        run(folder, output, spec, termination)
    except SystemExit as left:
        return left.code
    return None


def count_steps(monkeypatch) -> list[int]:
    steps: list[int] = []
    real = Training._step
    monkeypatch.setattr(
        Training, "_step", lambda self, *arguments: (steps.append(arguments[1]), real(self, *arguments))[1]
    )
    return steps


@pytest.mark.long
def test_sigterm_ends_the_program_with_143_and_it_goes_on_from_there(ixi, tmp_path):
    content = spec_content(training__epochs=60)
    arguments = ["--spec", json.dumps(content), "--data", str(ixi / "data" / "ixi"), "--device", "cpu"]
    arguments += ["--mask", str(ixi / f"{MASKS['ixi']}.npz"), "--output", str(tmp_path / "a")]
    command = [sys.executable, "-m", "workflow.train", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(timeout=30) == 143
    assert "SIGTERM: state saved" in rest
    assert not (tmp_path / "a" / "run.json").exists()
    record = run(ixi, tmp_path / "a", RunSpec.from_json(json.dumps(content)))
    assert record["restarts"] == 1
    run(ixi, tmp_path / "b", RunSpec.from_json(json.dumps(content)))
    assert results(tmp_path / "a") == results(tmp_path / "b")


# Real processes that can be killed, without paying for torch's import each time.
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["workflow.train.loop", "workflow.metrics.volume", "methods.unet.model"])


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    process = _server.Process(target=target, args=arguments)
    process.start()
    return process


def _train(folder: Path, output: Path, spec: RunSpec) -> None:
    run(folder, output, spec)


def _train_until_killed_while_writing(folder: Path, output: Path, spec: RunSpec, number: int) -> None:
    """Kill this process in the middle of writing its n-th state."""
    written = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == number:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    with mock.patch.object(checkpoint.os, "fsync", fsync):
        run(folder, output, spec)


def kill_at_random(folder: Path, output: Path, spec: RunSpec, kills: int, longest: float) -> int:
    """Start, kill and start again; return how many kills hit a running training, then let it end."""
    state = output / "resume" / "state.pt"
    chance = random.Random(2022)
    hits = 0
    for _ in range(100 * kills):
        if hits == kills:
            break
        before = state.stat().st_mtime_ns if state.exists() else None
        process = start(_train, folder, output, spec)
        # A kill before the first state of this start only tests starting.
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            if (state.stat().st_mtime_ns if state.exists() else None) != before:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, longest))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        hits += process.exitcode == -signal.SIGKILL
    last = start(_train, folder, output, spec)
    last.join()
    assert last.exitcode == 0
    return hits


def test_two_kills_leave_no_trace(ixi, tmp_path):
    spec = tiny_spec(training__epochs=40)
    run(ixi, tmp_path / "whole", spec)
    assert kill_at_random(ixi, tmp_path / "killed", spec, kills=2, longest=0.1) == 2
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["restarts"] == 2
    assert not list((tmp_path / "killed").rglob("*.partial*"))


def test_a_kill_while_the_state_is_written_leaves_the_one_before(ixi, tmp_path):
    spec = tiny_spec(training__epochs=4)
    run(ixi, tmp_path / "whole", spec)
    for number in (1, 3):
        output = tmp_path / str(number)
        process = start(_train_until_killed_while_writing, ixi, output, spec, number)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert list((output / "resume").glob(".*.partial*")), "killed before it wrote anything"
        run(ixi, output, spec)
        assert results(output) == results(tmp_path / "whole")
        assert not list(output.rglob("*.partial*"))


@pytest.mark.long
def test_a_storm_of_kills_also_while_states_are_written_leaves_no_trace(ixi, tmp_path):
    spec = tiny_spec(training__epochs=200)
    run(ixi, tmp_path / "whole", spec)
    output = tmp_path / "killed"
    chance = random.Random(7)
    for _ in range(6):
        process = start(_train_until_killed_while_writing, ixi, output, spec, chance.randint(1, 4))
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert list((output / "resume").glob(".*.partial*"))
    assert kill_at_random(ixi, output, spec, kills=20, longest=0.25) == 20
    assert results(output) == results(tmp_path / "whole")
    assert not list(output.rglob("*.partial*"))
    # Kills in the first epoch leave nothing to take up.
    assert 20 <= json.loads((output / "run.json").read_text())["restarts"] <= 26


def test_resuming_takes_up_where_it_was_and_says_so(ixi, tmp_path, monkeypatch, capsys):
    spec = tiny_spec(training__epochs=3)
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, spec, StopAt(7))
    steps = count_steps(monkeypatch)
    record = run(ixi, tmp_path, spec)
    assert "resuming in epoch 2/3" in capsys.readouterr().err
    assert len(steps) < 9
    assert record["restarts"] == 1


def test_the_state_of_another_training_is_never_used(ixi, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "a", tiny_spec(), StopAt(7))
    capsys.readouterr()
    steps = count_steps(monkeypatch)
    changed = tiny_spec(optimiser__lr=0.02)
    run(ixi, tmp_path / "a", changed)
    assert "refused, it is of another training (spec.optimiser.lr changed)" in capsys.readouterr().err
    assert len(steps) == 9
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["refused_states"] == ["it is of another training (spec.optimiser.lr changed)"]
    assert record["restarts"] == 0
    run(ixi, tmp_path / "b", changed)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_refusal_is_still_told_after_a_further_interruption(ixi, tmp_path):
    for spec in (tiny_spec(), tiny_spec(noise=0.2)):
        with pytest.raises(SystemExit):
            run(ixi, tmp_path, spec, StopAt(7))
    record = run(ixi, tmp_path, tiny_spec(noise=0.2))
    assert record["refused_states"] == ["it is of another training (spec.noise changed)"]
    assert record["restarts"] == 1


def test_a_file_that_is_no_state_is_refused(ixi, tmp_path):
    (tmp_path / "resume").mkdir()
    torch.save({"weights": torch.zeros(2)}, tmp_path / "resume" / "state.pt")
    record = run(ixi, tmp_path, tiny_spec())
    assert record["refused_states"] == ["it does not say of which training it is"]


def test_a_torn_state_is_not_used(ixi, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "a", tiny_spec(), StopAt(7))
    state = tmp_path / "a" / "resume" / "state.pt"
    whole = state.read_bytes()
    middle, pickled = len(whole) // 2, whole.index(b"identity")
    for torn in (
        whole[:-200],
        b"",
        b"text",
        whole[:middle] + bytes(2000) + whole[middle + 2000 :],
        whole[:pickled] + b"\xff" * 8 + whole[pickled + 8 :],
    ):
        state.write_bytes(torn)
        record = run(ixi, tmp_path / "a", tiny_spec())
        assert "is not whole" in capsys.readouterr().err
        assert record["refused_states"] == ["it is not whole"]


def test_a_finished_training_is_not_repeated_when_only_the_evaluation_changes(
    ixi, tmp_path, monkeypatch, capsys
):
    run(ixi, tmp_path, tiny_spec())
    before = results(tmp_path)
    steps = count_steps(monkeypatch)
    # Snakemake removes the outputs of a job before it runs again.
    for name in (*BIT_EQUAL, "history.csv", "run.json"):
        (tmp_path / name).unlink()
    capsys.readouterr()
    run(ixi, tmp_path, tiny_spec(examples=2))
    assert "evaluating only" in capsys.readouterr().err
    assert steps == []
    after = results(tmp_path)
    assert after[1] == before[1]
    assert after[3:] == before[3:]
    run(ixi, tmp_path, tiny_spec())
    assert results(tmp_path) == before


def test_an_ended_training_keeps_only_its_best_weights(ixi, tmp_path):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    running = (tmp_path / "resume" / "state.pt").stat().st_size
    run(ixi, tmp_path, tiny_spec())
    assert (tmp_path / "resume" / "state.pt").stat().st_size < 0.5 * running


def test_the_versions_that_took_part_are_recorded(ixi, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    monkeypatch.setattr(learning.torch, "__version__", "9.9")
    record = run(ixi, tmp_path, tiny_spec())
    assert "another torch" in capsys.readouterr().err
    assert [entry["torch"] for entry in record["environments"]][1:] == ["9.9"]


# ---- memory -------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 5), st.none() | st.integers(1, 12))
def test_shares_cover_each_slice_once_and_every_process_has_as_many_parts(count, processes, most):
    of_each = [shares(count, processes, process, most) for process in range(processes)]
    assert len({len(parts) for parts in of_each}) == 1
    counted = [(rows, share) for parts in of_each for rows, share in parts if share]
    assert [i for rows, _ in counted for i in range(count)[rows]] == list(range(count))
    assert sum(share for _, share in counted) == pytest.approx(1)
    for rows, share in counted:
        size = rows.stop - rows.start
        assert share == size / count
        assert size <= (most or count)
    if most is None:
        sizes = [sum(share * count for _, share in parts) for parts in of_each]
        assert max(sizes) - min(sizes) < 1.001


def test_a_part_of_a_batch_is_what_its_slices_alone_would_be(fastmri):
    acquisition = open_acquisition(
        fastmri / f"{MASKS['fastmri']}.npz", "fastmri", MASKS["fastmri"], 0.0, 2022
    )
    store = open_split(fastmri / "data" / "fastmri", "train", acquisition, CPU, 1.0)
    part = Batch(*acquisition.fresh(store, [4, 7, 1, 0], 0, 0, 0)).part(slice(1, 3))
    alone = Batch(*acquisition.fresh(store, [7, 1], 0, 0, 0))
    for name in ("kspace", "mask", "auxiliary", "auxiliary_kspace", "scale"):
        assert torch.equal(getattr(part.measurement, name), getattr(alone.measurement, name))
    assert torch.equal(part.truth.image, alone.truth.image)
    assert torch.equal(part.truth.kspace, alone.truth.kspace)


class SmallDevice:
    """Lets training fail as CUDA does where more than ``most`` slices are computed at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> None:
        self.refusals = 0
        self.calls = 0
        real = Learner.forward

        def forward(learner: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
            found = real(learner, batch)
            self.calls += learner.training
            if learner.training and self.calls > after and len(batch.truth.image) > most:
                self.refusals += 1
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return found

        monkeypatch.setattr(Learner, "forward", forward)


NORMED = {
    "method": "xiang",
    "folder": "xiang",
    "parameters": {"width": 2, "levels": 2, "loss": "mse"},
}


@pytest.mark.parametrize("method", [{"parameters__dropout": 0.0}, NORMED], ids=["unet", "xiang"])
def test_out_of_memory_goes_on_in_parts_of_the_same_batch(ixi, tmp_path, monkeypatch, capsys, method):
    spec = tiny_spec(training__batch_size=6, training__epochs=2, **method)
    whole = run(ixi, tmp_path / "whole", spec)
    assert (whole["micro_batch"], whole["notes"]) == (None, [])
    device = SmallDevice(monkeypatch, most=2)
    record = run(ixi, tmp_path / "parts", spec)
    # 6 slices do not fit, nor do 3, one does.
    assert (record["micro_batch"], device.refusals) == (1, 2)
    assert "out of memory at 3 slices at once; going on with parts of 1" in capsys.readouterr().err
    one, other = history(tmp_path / "whole"), history(tmp_path / "parts")
    normed = method is NORMED
    (note,) = record["notes"]
    assert note.startswith("out of memory: each batch was computed in parts of at most 1 slices")
    assert ("batch normalisation took its statistics from parts" in note) == normed
    for name in ("train_loss", "val_loss", "val_psnr"):
        same = [row[name] for row in other] == pytest.approx([row[name] for row in one], rel=1e-5)
        assert same != normed


def test_parts_survive_interruptions_to_the_bit(ixi, tmp_path, monkeypatch):
    # Memory that runs short later only, in a network whose batch statistics the failed step has moved.
    spec = tiny_spec(training__batch_size=6, training__epochs=3, **NORMED)
    SmallDevice(monkeypatch, most=3, after=3)
    run(ixi, tmp_path / "whole", spec)
    monkeypatch.undo()
    SmallDevice(monkeypatch, most=3, after=3)
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "broken", spec, StopAt(8))
    monkeypatch.undo()
    # The parts are part of the state: nothing has to fail again.
    record = run(ixi, tmp_path / "broken", spec)
    assert record["micro_batch"] == 3
    assert results(tmp_path / "broken") == results(tmp_path / "whole")


def test_one_slice_that_does_not_fit_is_one_sentence(ixi, tmp_path, monkeypatch):
    SmallDevice(monkeypatch, most=0)
    with pytest.raises(BadInput, match=r"too little memory for one slice of unet; use a larger device"):
        run(ixi, tmp_path, tiny_spec())


# ---- watching -----------------------------------------------------------------------------------


def test_the_history_grows_while_training_runs(ixi, tmp_path):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    assert [row["epoch"] for row in history(tmp_path)] == [1]
    # Snakemake removes outputs before a job runs again; what is known is back at once.
    (tmp_path / "history.csv").unlink()
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(0))
    assert [row["epoch"] for row in history(tmp_path)] == [1]


def test_tensorboard_shows_every_epoch_once_however_often_interrupted(ixi, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = tiny_spec(training__logger="tensorboard")
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, spec, StopAt(7))
    run(ixi, tmp_path, spec)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("train_loss", "val_loss", "val_psnr", "learning_rate"):
        values = [(event.step, event.value) for event in shown.Scalars(name)]
        expected = [(int(row["epoch"]), pytest.approx(row[name], rel=1e-6)) for row in history(tmp_path)]
        assert values == expected
        assert len(values) == 3


def test_energy_is_the_difference_of_the_cards_counters(monkeypatch):
    class Library:
        NVMLError = OSError
        millijoules = 5000

        def nvmlInit(self) -> None: ...

        def nvmlDeviceGetHandleByUUID(self, name: bytes) -> bytes:
            return name

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: bytes) -> int:
            if handle == b"GPU-silent":
                raise OSError
            return self.millijoules

    library = Library()
    names = {0: "one", 1: "two", 2: "silent"}
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(
        energy.torch.cuda, "get_device_properties", lambda number: type("", (), {"uuid": names[number]})
    )
    two, three = energy.EnergyMeter(2), energy.EnergyMeter(3)
    before = two.read()
    library.millijoules += 1500
    assert two.read() - before == 3.0
    assert three.read() is None
    assert energy.EnergyMeter(0).read() == 0.0
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.EnergyMeter(1).read() is None


def test_energy_with_a_hole_is_not_told(ixi, tmp_path, monkeypatch):
    training = training_of(ixi, tiny_spec(), Toy(), tmp_path / "state.pt")
    readings = iter([0.0, 5.0, 5.0, 11.0, 11.0, 20.0])
    monkeypatch.setattr(training.energy, "read", lambda: next(readings))
    training.fit()
    assert training.progress.energy_joules == 20.0
    training = training_of(ixi, tiny_spec(), Toy(), tmp_path / "other.pt")
    holed = iter([0.0, 5.0, 5.0, None, 11.0, 20.0])
    monkeypatch.setattr(training.energy, "read", lambda: next(holed))
    training.fit()
    assert training.progress.energy_joules is None


# ---- command line -------------------------------------------------------------------------------


def test_an_untrained_method_is_refused(ixi, tmp_path, monkeypatch):
    content = spec_content(method="zf", folder="zf", trainable=False, parameters={}, optimiser={})
    arguments = ["--spec", json.dumps(content), "--data", "x", "--mask", "x", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(BadInput, match="nothing to train"):
        main()


def test_progress_is_one_line_per_epoch(ixi, tmp_path, capsys):
    run(ixi, tmp_path, tiny_spec())
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("s/epoch" in line and line.endswith("left") for line in lines)


def test_noise_level_zero_measures_without_noise(ixi):
    masks = open_acquisition(ixi / f"{MASKS['ixi']}.npz", "ixi", MASKS["ixi"], 0.0, 2022).masks
    silent = Acquisition("ixi", masks, 0.0, 2022)
    store = open_split(ixi / "data" / "ixi", "train", silent, CPU, 1.0)
    measurement, truth = silent.fresh(store, [0], 0, 0, 0)
    assert torch.allclose(measurement.kspace, truth.kspace * measurement.mask, atol=1e-5)
