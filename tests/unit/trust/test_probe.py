"""Probing finished runs: the unchanged condition is the run's own evaluation, and controls behave."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import MASKS, SIDE, SUBJECTS, spec_content, write_mask, write_splits

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.io.files import write_rows
from data_prep.io.hashes import file_sha256
from workflow.evaluate.__main__ import main as evaluate_main
from workflow.provenance.record import read_run
from workflow.provenance.runs import run_identity
from workflow.run.checkpoint import Origin, save_checkpoint
from workflow.run.model import build_model
from workflow.run.spec import RunSpec
from workflow.trust.gather import COLUMNS, gather
from workflow.trust.probe import main


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_manet() -> dict:
    from methods.registry import discover

    default = discover()["manet"].default
    parameters = {**default.parameters, "width": 2, "levels": 2}
    optimiser = {"name": "adam", "lr": 0.001}
    return spec_content(method="manet", folder="manet", parameters=parameters, optimiser=optimiser)


def write_run(folder: Path, content: dict, status: str = "finished") -> list[str]:
    """Write data, masks and an untrained checkpoint; return the arguments of a command."""
    spec = RunSpec.from_json(json.dumps(content))
    if not (folder / "data").exists():
        persons = [{"subject": name, "group": name, "auxiliary_group": ""} for name in SUBJECTS["test"]]
        write_rows(write_splits(folder) / "manifest.csv", list(persons[0]), persons)
    mask = write_mask(folder)
    save_checkpoint(build_model(spec, (SIDE, SIDE)), spec, Origin("hash", status), folder / "model.ckpt")
    return [
        *("--spec", json.dumps(content), "--data", str(folder / "data" / "ixi"), "--mask", str(mask)),
        *("--checkpoint", str(folder / "model.ckpt"), "--device", "cpu"),
    ]


def probed(monkeypatch, folder: Path, arguments: list[str], *more: str) -> pd.DataFrame:
    output = folder / "scores.csv"
    monkeypatch.setattr(sys, "argv", ["probe", *arguments, *more, "--output", str(output)])
    call(main)
    return gather([output])


def values(
    table: pd.DataFrame, condition: str, amount: float = 0.0, method: str | None = None
) -> list[float]:
    chosen = table[(table["condition"] == condition) & (table["amount"] == amount)]
    if method:
        chosen = chosen[chosen["method"] == method]
    return chosen.sort_values(["subject", "metric"])["value"].tolist()


@pytest.mark.parametrize("phase", ["none", "smooth"])
def test_unchanged_own_noise_and_own_mask_are_the_runs_own_scores_to_the_bit(tmp_path, monkeypatch, phase):
    arguments = write_run(tmp_path, tiny_manet() | {"phase": phase})
    own, other = tmp_path / f"{MASKS['ixi']}.npz", write_mask(tmp_path, name="2d_radial_6x")
    table = probed(monkeypatch, tmp_path, arguments, "--noise", "0.1", "0", "--masks", str(own), str(other))
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, "--output", str(tmp_path / "evaluated")])
    call(evaluate_main)
    metrics = pd.read_csv(tmp_path / "evaluated" / "metrics.csv")
    volumes = metrics[metrics["level"] == "volume"].sort_values("subject")
    expected = volumes[["nmse", "psnr", "ssim"]].to_numpy().ravel().tolist()
    assert values(table, "unchanged") == expected
    assert values(table, "noise", 0.1) == expected
    assert values(table, MASKS["ixi"]) == expected
    assert values(table, "noise", 0.0) != expected
    assert values(table, "2d_radial_6x") != expected
    record = read_run(tmp_path / "evaluated")
    assert set(table["run"]) == {run_identity(record)}
    written = {name: file_sha256(tmp_path / "evaluated" / name) for name in ("metrics.csv", "examples.npz")}
    checkpoint = Path(arguments[arguments.index("--checkpoint") + 1])
    assert record.outputs == written | {"model.ckpt": file_sha256(checkpoint)}


CONDITIONS = ["--swaps", "zeroed", "other_subject", "--shifts", "2", "--rotations", "5"]
ALTERED = [("zeroed", 0.0), ("other_subject", 0.0), ("shift", 2.0), ("rotation", 5.0)]


def test_a_method_that_reads_no_auxiliary_is_not_moved_by_it(tmp_path, monkeypatch):
    table = probed(monkeypatch, tmp_path, write_run(tmp_path, spec_content()), *CONDITIONS)
    for condition in ALTERED:
        assert values(table, *condition) == values(table, "unchanged")


def test_a_method_that_reads_it_is(tmp_path, monkeypatch):
    table = probed(monkeypatch, tmp_path, write_run(tmp_path, tiny_manet()), *CONDITIONS)
    for condition in ALTERED:
        assert len(values(table, *condition)) == 3 * len(SUBJECTS["test"])
        assert values(table, *condition) != values(table, "unchanged")


def test_the_ceiling_is_perfect(tmp_path, monkeypatch):
    table = probed(monkeypatch, tmp_path, write_run(tmp_path, spec_content()), "--audit", "--ceiling")
    truth = table[table["method"] == "ground_truth"]
    perfect = {"ssim": 1, "psnr": np.inf, "nmse": 0, "hfen": 0}
    for metric, best in perfect.items():
        found = truth[truth["metric"] == metric]["value"]
        assert len(found)
        assert found.to_list() == pytest.approx([best] * len(found), abs=1e-12)
    assert set(table[table["method"] == "unet"]["condition"]) >= {
        "volume",
        "slice",
        "body",
        "self_normalised",
    }


def test_lesions_of_the_truth_are_whole(tmp_path, monkeypatch):
    arguments = write_run(tmp_path, spec_content())
    with h5py.File(tmp_path / "data" / "ixi" / "test.h5", "r+") as file:
        subjects = file["subject"].asstr()[()]
        for index in range(len(subjects)):
            file["target"][index, 14:17, 14:17] = 260.0
    with h5py.File(tmp_path / "lesions.h5", "w") as file:
        for subject in SUBJECTS["test"]:
            labels = np.zeros((4, SIDE, SIDE), np.uint8)
            labels[1, 14:17, 14:17] = 1
            file.create_dataset(subject, data=labels).attrs["radius_mm"] = [3.5]
    table = probed(monkeypatch, tmp_path, arguments, "--lesions", str(tmp_path / "lesions.h5"), "--ceiling")
    truth = table[(table["method"] == "ground_truth") & (table["probe"] == "lesions")]
    assert truth[truth["metric"] == "recovered"]["value"].tolist() == [1.0, 1.0]
    assert truth[truth["metric"] == "per_slice"]["value"].tolist() == [0.0] * 6
    network = table[(table["method"] == "unet") & (table["metric"] == "recovered")]
    assert (network["value"] != 1).all()


def test_a_diverged_training_has_no_numbers(tmp_path, monkeypatch):
    arguments = write_run(tmp_path, spec_content(), status="diverged")
    table = probed(monkeypatch, tmp_path, arguments, "--shifts", "1", "--audit")
    assert table["value"].isna().all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--shifts", "-1"], "--shifts: must not be negative"),
        (["--noise", "-0.1"], "--noise: must not be negative"),
        (["--lesions", "nowhere.h5"], "nowhere.h5: the file is missing; run the step `lesion_labels`"),
        (["--masks", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_input_is_named(tmp_path, monkeypatch, more, said):
    with pytest.raises(BadInput, match=said):
        probed(monkeypatch, tmp_path, write_run(tmp_path, spec_content()), *more)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("IXI905,a,b\nIXI906,b,\n", "test.h5: holds no subject of another person than IXI905's"),
        ("IXI905,a,\n", "manifest.csv: does not tell of IXI906, who is in test.h5"),
    ],
)
def test_one_person_has_no_other(tmp_path, monkeypatch, manifest, said):
    arguments = write_run(tmp_path, spec_content())
    (tmp_path / "data/ixi/manifest.csv").write_text(f"subject,group,auxiliary_group\n{manifest}")
    with pytest.raises(BadInput, match=said):
        probed(monkeypatch, tmp_path, arguments, "--swaps", "other_subject")


def test_gathering_refuses_what_stands_twice_and_ignores_the_order_of_files(tmp_path):
    row = dict(
        zip(COLUMNS, ["ixi", "m", "unet", 0, "audit", "slice", 0.0, "a", 0, "ssim", 0.5, "r"], strict=True)
    )
    for name, subject in (("one", "b"), ("two", "a"), ("three", "a")):
        pd.DataFrame([{**row, "subject": subject}]).to_csv(tmp_path / f"{name}.csv", index=False)
    one, two, three = (tmp_path / f"{name}.csv" for name in ("one", "two", "three"))
    pd.testing.assert_frame_equal(gather([one, two]), gather([two, one]))
    with pytest.raises(BadInput, match=r"two\.csv and \S*three\.csv: the row .* is there twice"):
        gather([two, three])
