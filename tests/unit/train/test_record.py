"""What a training shows while it runs, and what it tells of itself."""

import json
import shutil
import sys

import pytest
import torch
from tiny_runs import MASKS, SUBJECTS, spec_content, tiny_spec
from tiny_trainings import StopAt, Toy, history, run, training_of

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.io.files import read_rows
from methods.contract import Reconstruction
from workflow.train import energy
from workflow.train.__main__ import main


def test_the_history_grows_while_training_runs(ixi, tmp_path):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    assert [row["epoch"] for row in history(tmp_path)] == [1]
    # Snakemake removes outputs before a job runs again; what is known is back at once.
    (tmp_path / "history.csv").unlink()
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(0))
    assert [row["epoch"] for row in history(tmp_path)] == [1]


def test_a_method_that_gives_no_images_is_not_trained(ixi, tmp_path, monkeypatch):
    class Complex(Toy):
        def forward(self, measurement):
            return Reconstruction(super().forward(measurement).image.to(torch.complex64))

    monkeypatch.setattr("workflow.run.model.load_builder", lambda _: lambda *_: Complex())
    with pytest.raises(
        BadInput, match=r"unet: the image is torch\.complex64, not float32 \(2 slices of IXI904"
    ):
        run(ixi, tmp_path, tiny_spec(training__epochs=1))
    assert not (tmp_path / "history.csv").exists()


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


def test_a_trial_is_scored_on_validation_and_needs_no_test_data(ixi, tmp_path):
    for name in ("train", "val"):
        copied = tmp_path / "data/ixi" / f"{name}.h5"
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ixi / "data/ixi" / copied.name, copied)
    shutil.copy(ixi / f"{MASKS['ixi']}.npz", tmp_path)
    with pytest.raises(BadInput, match=r"test\.h5"):
        run(tmp_path, tmp_path / "run", tiny_spec(training__epochs=1))
    record = run(tmp_path, tmp_path / "trial", tiny_spec(training__epochs=1, scored="val"))
    assert set(record["data_fingerprints"]) == {"train", "val"}
    rows = read_rows(tmp_path / "trial/metrics.csv", "", "")
    assert {row["subject"] for row in rows} == set(SUBJECTS["val"])
    # The weights are the run's: which split is scored has no part in them.
    again = run(ixi, tmp_path / "again", tiny_spec(training__epochs=1))
    assert record["training_hash"] == again["training_hash"]
    assert (tmp_path / "trial/history.csv").is_file()


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


def test_an_untrained_method_is_refused(ixi, tmp_path, monkeypatch):
    content = spec_content(method="zf", folder="zf", trainable=False, parameters={}, optimiser={})
    arguments = ["--spec", json.dumps(content), "--data", "x", "--mask", "x", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(BadInput, match="nothing to train"):
        call(main)


def test_progress_is_one_line_per_epoch(ixi, tmp_path, capsys):
    run(ixi, tmp_path, tiny_spec())
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("s/epoch" in line and line.endswith("left") for line in lines)
