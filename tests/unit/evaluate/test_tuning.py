"""Parameters that nobody learns are chosen on validation data, by the benchmark's own PSNR, and recorded."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tiny_runs import MASKS, SIDE, spec_content, write_mask, write_splits

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.undersample.acquisition import open_acquisition, open_split
from workflow.evaluate import tuning as tuning_module
from workflow.evaluate.__main__ import main
from workflow.evaluate.evaluation import evaluate
from workflow.run.model import build_model, reconstructor
from workflow.run.spec import RunSpec
from workflow.trust import probe

WEIGHTS = [1e-4, 3e-3, 3.0]


def content(**changes: Any) -> dict[str, Any]:
    return spec_content(
        method="cs",
        folder="cs",
        trainable=False,
        parameters={"transform": "tv", "weight": 0.5, "iterations": 20, "levels": 2},
        optimiser={},
        tune={"weight": WEIGHTS},
        **changes,
    )


def run(folder: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Evaluate by the command line; returns run.json and the text of metrics.csv."""
    output = folder / "output"
    arguments = ["--spec", json.dumps(spec), "--data", str(folder / "data/ixi"), "--device", "cpu"]
    arguments += ["--mask", str(folder / f"{MASKS['ixi']}.npz"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    call(main)
    return json.loads((output / "run.json").read_text()), (output / "metrics.csv").read_text()


def psnr(folder: Path, split: str, weight: float) -> float:
    """Mean PSNR over a split's volumes, reconstructed with one weight."""
    values = content()
    values["parameters"]["weight"] = weight
    spec = RunSpec.from_json(json.dumps(values | {"tune": {}}))
    acquisition = open_acquisition(folder / f"{MASKS['ixi']}.npz", "ixi", MASKS["ixi"], 0.1, 2022)
    store = open_split(folder / "data/ixi", split, acquisition, torch.device("cpu"), 1.0)
    reconstruct = reconstructor(build_model(spec, (SIDE, SIDE)), "32-true", torch.device("cpu"))
    rows = evaluate(reconstruct, spec, store, acquisition).rows
    scores = [row["psnr"] for row in rows if row["level"] == "volume"]
    return sum(scores) / len(scores)


def test_the_best_on_validation_is_chosen_told_and_used(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    record, metrics = run(tmp_path, content(), monkeypatch)
    tuning = record["tuning"]
    expected = [psnr(tmp_path, "val", weight) for weight in WEIGHTS]
    assert [trial["psnr"] for trial in tuning["trials"]] == pytest.approx(expected, rel=1e-6)
    best = WEIGHTS[expected.index(max(expected))]
    assert tuning["chosen"] == {"weight": best}
    assert tuning["at_edge"] == (["weight"] if best in (WEIGHTS[0], WEIGHTS[-1]) else [])
    assert set(record["data_fingerprints"]) == {"val", "test"}
    assert record["spec"]["tune"] == {"weight": WEIGHTS}
    fixed = content()
    del fixed["tune"]
    fixed["parameters"]["weight"] = best
    again, same_metrics = run(tmp_path, fixed, monkeypatch)
    assert same_metrics == metrics
    assert again["tuning"] is None
    assert set(again["data_fingerprints"]) == {"test"}


def test_test_data_have_no_say(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    before, _ = run(tmp_path, content(), monkeypatch)
    with h5py.File(tmp_path / "data/ixi/test.h5", "r+") as file:
        file["target"][...] = file["target"][...][:, ::-1] ** 2
    after, _ = run(tmp_path, content(), monkeypatch)
    assert after["tuning"] == before["tuning"]


def test_a_probe_takes_the_parameters_that_the_evaluation_chose(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    record, _ = run(tmp_path, content(), monkeypatch)
    fixed = content()
    del fixed["tune"]
    fixed["parameters"] |= record["tuning"]["chosen"]
    assert fixed["parameters"] != content()["parameters"]
    written = []
    for number, spec in enumerate((content(), fixed)):
        output = tmp_path / f"probes{number}.csv"
        arguments = ["--spec", json.dumps(spec), "--data", str(tmp_path / "data/ixi"), "--device", "cpu"]
        arguments += ["--mask", str(tmp_path / f"{MASKS['ixi']}.npz"), "--output", str(output)]
        monkeypatch.setattr(sys, "argv", ["probe", *arguments, "--noise", "0.05"])
        call(probe.main)
        # But for the last column, which says of which run.
        written.append([line.rpartition(",")[0] for line in output.read_text().splitlines()])
    assert written[0] == written[1]


def test_a_grid_is_every_combination_and_what_is_not_a_number_loses(tmp_path, monkeypatch):
    write_splits(tmp_path)
    acquisition = open_acquisition(write_mask(tmp_path), "ixi", MASKS["ixi"], 0.1, 2022)
    store = open_split(tmp_path / "data/ixi", "val", acquisition, torch.device("cpu"), 1.0)
    scores = {(0.1, 5): float("nan"), (0.1, 9): 20.0, (0.3, 5): 19.0, (0.3, 9): 19.0}
    scores |= {(0.2, 5): 21.0, (0.2, 9): 21.0}
    tried = []

    class Scored:
        def __init__(self, value: float) -> None:
            # A volume without signal has no score, whatever is tried.
            blank = {"level": "volume", "psnr": float("nan"), "blank": 1}
            self.rows = [
                blank,
                {"level": "volume", "psnr": value, "blank": 0},
                {"level": "slice", "psnr": 9.0},
            ]

    def scored(_reconstruct: Any, spec: RunSpec, *_: Any) -> Scored:
        tried.append((spec.parameters["weight"], spec.parameters["iterations"]))
        return Scored(scores[tried[-1]])

    monkeypatch.setattr(tuning_module, "evaluate", scored)
    asked = {"weight": [0.1, 0.3, 0.2], "iterations": [5, 9]}
    spec = RunSpec.from_json(json.dumps(content() | {"tune": asked}))
    chosen, record = tuning_module.tune(spec, store, acquisition, torch.device("cpu"))
    assert tried == list(scores)
    assert record["chosen"] == {"weight": 0.2, "iterations": 5}
    assert record["at_edge"] == ["iterations"]  # in whatever order values are tried
    assert chosen.parameters == {**spec.parameters, "weight": 0.2, "iterations": 5}


def test_nothing_is_chosen_by_volumes_without_signal(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    with h5py.File(tmp_path / "data/ixi/val.h5", "r+") as file:
        file["target"][...] = np.zeros_like(file["target"][...])
    with pytest.raises(BadInput, match=r"cs: no validation volume has signal, .* datasets\.ixi\.splits\.val"):
        run(tmp_path, content(), monkeypatch)
    assert not (tmp_path / "output").exists()


def test_none_is_chosen_of_values_that_all_fail(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)

    def failing(*arguments: Any) -> Any:
        reconstruct = reconstructor(*arguments)
        return lambda measurement: reconstruct(measurement) * torch.nan

    monkeypatch.setattr(tuning_module, "reconstructor", failing)
    with pytest.raises(BadInput, match=r"cs: each of the 3 combinations of `tune` gave NaN .* methods/cs/"):
        run(tmp_path, content(), monkeypatch)
    assert not (tmp_path / "output").exists()
