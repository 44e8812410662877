"""Training learns, chooses on validation, and what is random in it is seeded by name."""

import csv
import math
import re
from typing import Any

import pytest
import torch
from tiny_runs import MASKS, SIDE, tiny_spec, write_mask, write_splits
from tiny_trainings import (
    BIT_EQUAL,
    Toy,
    count_steps,
    history,
    opened,
    results,
    run,
    training_of,
)
from torch import Tensor, nn

from data_prep.errors import BadInput, run_command
from data_prep.measurement import Measurement, Truth
from data_prep.undersample.acquisition import epoch_order
from methods import recomputation
from methods.contract import Reconstruction
from workflow.run import model as execution
from workflow.run.checkpoint import load_checkpoint
from workflow.run.model import build_model
from workflow.train.batches import summed_psnr
from workflow.train.history import HISTORY
from workflow.train.loop import learning_rate

LEARNING = {"parameters__channels": 8, "parameters__dropout": 0.0, "training__batch_size": 2}


MANET = {
    "width": 4,
    "levels": 2,
    "fusion": "cs",
    "early_concat": True,
    "kspace": True,
    "alpha": 0.4,
    "beta": 0.6,
}
DUDORNET = {"features": 4, "recurrences": 2, "prior": True, "initial_std": 0.02}
SMALL = {
    "manet": {"method": "manet", "folder": "manet", "parameters": MANET},
    "dudornet": {"method": "dudornet", "folder": "dudornet", "parameters": DUDORNET},
}


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


def test_losses_and_validation_psnr_are_means_over_slices(ixi, tmp_path):
    # At such a rate no weight moves; the last batch of either split is smaller than the others.
    spec = tiny_spec(optimiser__lr=1e-30, training__epochs=2, seed=3)
    training = training_of(ixi, spec, Toy(), tmp_path / "state.pt")
    training.fit()
    store = training.stores["train"]
    for epoch, row in enumerate(training.progress.history):
        # Each epoch has an order and noise of its own.
        order, losses = epoch_order(len(store), "ixi", 2022, 3, epoch), []
        for step, start in enumerate(range(0, len(store), 5)):
            measurement, truth = training.acquisition.fresh(store, order[start : start + 5], 3, epoch, step)
            losses += (0.5 * measurement.zero_filled - truth.image).abs().mean(dim=(1, 2)).tolist()
        assert row["train_loss"] == pytest.approx(sum(losses) / len(store), rel=1e-6)
    first, store = training.progress.history[0], training.stores["val"]
    measurement, truth = training.acquisition.fixed(store, range(len(store)))
    difference = 0.5 * measurement.zero_filled - truth.image
    assert first["val_loss"] == pytest.approx(difference.abs().mean().item(), rel=1e-6)
    psnr = 10 * torch.log10(truth.image.amax(dim=(1, 2)) ** 2 / difference.square().mean(dim=(1, 2)))
    assert first["val_psnr"] == pytest.approx(psnr.mean().item(), rel=1e-6)
    # Of equal losses the first is the lowest.
    assert training.progress.history[1]["val_loss"] == first["val_loss"]
    assert training.progress.best_epoch == 1


def test_a_slice_without_signal_has_no_psnr_and_does_not_count():
    image, signal = torch.full((2, 8, 8), 0.5), torch.stack((torch.ones(8, 8), torch.zeros(8, 8)))
    total, counted = summed_psnr(image, Truth(signal, signal.to(torch.complex64)))
    assert total.item() == pytest.approx(10 * math.log10(4))
    assert counted == 1


def test_fastmri_trains_on_complex_slices(fastmri, tmp_path):
    record = run(fastmri, tmp_path, tiny_spec(dataset="fastmri", mask=MASKS["fastmri"], noise=0.0))
    assert record["status"] == "finished"
    assert history(tmp_path)[-1]["val_loss"] < history(tmp_path)[0]["val_loss"]


def test_a_network_with_batch_norm_and_kspace_trains(ixi, tmp_path):
    run(ixi, tmp_path, tiny_spec(training__epochs=4, **SMALL["manet"]))
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
    # It rises to the rate and never beyond it, also where the rise ends within a step.
    assert rates(range(4), schedule="constant", warm_up=0.6) == pytest.approx([2 / 2.4, 4 / 2.4, 2.0, 2.0])
    warm = rates(range(5), schedule="cosine", warm_up=0.5)
    assert warm == pytest.approx([cosine[0] / 2, *cosine[1:]])
    # Half of the way down in half of the steps, then at rest.
    assert rates(range(4), schedule="cosine", floor=0.1, tail=0.5) == pytest.approx([2.0, 1.1, 0.2, 0.2])
    assert rates(range(5), schedule="cosine", floor=0.5) == pytest.approx([1 + rate / 2 for rate in cosine])


@pytest.mark.parametrize("warm_up", [0.0, 0.8])
def test_the_optimiser_gets_the_scheduled_rate_at_every_step(ixi, tmp_path, warm_up):
    # Five do not divide the twelve slices: three steps an epoch.
    spec = tiny_spec(training__epochs=2, training__batch_size=5, training__warm_up=warm_up)
    training = training_of(ixi, spec, Toy(), tmp_path / "state.pt")
    rates = []
    step = training.optimiser.step
    training.optimiser.step = lambda: (rates.append(training.optimiser.param_groups[0]["lr"]), step())
    training.fit()
    assert rates == [learning_rate(0.01, spec.training, i, 6) for i in range(6)]
    assert [row["learning_rate"] for row in training.progress.history] == rates[::3]


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


def test_noise_level_zero_measures_without_noise(ixi):
    silent, store = opened(ixi, "ixi", 0.0)
    measurement, truth = silent.fresh(store, [0], 0, 0, 0)
    assert torch.allclose(measurement.kspace, truth.kspace * measurement.mask, atol=1e-5)


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
    acquisition, store = opened(ixi, "ixi", 0.1)

    def kspace(seed: int, epoch: int, step: int) -> Tensor:
        return acquisition.fresh(store, [0, 1], seed, epoch, step)[0].kspace

    assert torch.equal(kspace(0, 1, 2), kspace(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(kspace(*other), kspace(0, 1, 2))


def test_what_a_method_draws_is_of_its_own_for_each_step_epoch_and_seed(ixi, tmp_path):
    drawn = []

    class Drawing(Toy):
        def forward(self, measurement: Measurement) -> Reconstruction:
            if self.training:
                drawn.append(torch.rand(()).item())
            return super().forward(measurement)

    for seed in (0, 1):
        training_of(ixi, tiny_spec(training__epochs=2, seed=seed), Drawing(), tmp_path / "state.pt").fit()
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 3


def test_fastmri_training_masks_belong_to_slice_and_epoch(fastmri):
    acquisition, store = opened(fastmri, "fastmri", 0.0)

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


class Undetermined(Toy):
    """Uses an operation for which torch has no deterministic way, on a CPU either."""

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
        self.seen = torch.are_deterministic_algorithms_enabled()
        return super().loss(reconstruction, truth, measurement)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_torch_cannot_do_deterministically_is_refused_by_name_unless_allowed(ixi, tmp_path, wanted):
    spec = tiny_spec(training__deterministic=wanted, training__epochs=1)
    model = Undetermined()
    training = training_of(ixi, spec, model, tmp_path / "state.pt")
    if wanted:
        with pytest.raises(BadInput, match=r"training.deterministic: in unet, .*put_.*set the key to false"):
            training.fit()
    else:
        training.fit()
        assert training.progress.status == "finished"
        assert not model.seen
    # Evaluation, which follows, only prefers.
    assert torch.is_deterministic_algorithms_warn_only_enabled()


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


@pytest.mark.parametrize("method", ["manet", "dudornet"])
def test_what_is_computed_again_can_be_kept_instead_with_the_same_bits(ixi, tmp_path, monkeypatch, method):
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    learnt = []
    real = recomputation._Keeper.learn
    monkeypatch.setattr(
        recomputation._Keeper, "learn", lambda *arguments: (learnt.append(0), real(*arguments))[1]
    )
    files = {}
    for name in (True, False):
        learnt.clear()
        run(ixi, tmp_path / str(name), tiny_spec(training__recompute=name, **SMALL[method]))
        assert bool(learnt) == name
        weights = torch.load(tmp_path / str(name) / "model.ckpt", weights_only=True)["state_dict"]
        files[name] = weights, (tmp_path / str(name) / "metrics.csv").read_bytes()
    assert files[True][1] == files[False][1]
    assert files[True][0].keys() == files[False][0].keys()
    assert all(torch.equal(value, files[False][0][name]) for name, value in files[True][0].items())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"parameters__dropout": 5.0}, "dropout is 5.0"),
        ({"parameters__dropout": -1.0}, "dropout is -1.0"),
        (SMALL["dudornet"] | {"parameters": DUDORNET | {"initial_std": -1.0}}, "initial_std is -1.0"),
    ],
)
def test_a_network_that_cannot_be_built_ends_in_one_sentence(ixi, tmp_path, changes, field):
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: run(ixi, tmp_path, tiny_spec(**changes)))
    # A text as status is printed, and the status is 1.
    assert re.fullmatch(
        rf"error: methods/\w+/method\.yaml or the configuration: {field}; set it .*", ended.value.code
    )
