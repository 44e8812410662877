"""Scores are those of the stored truth in scanner units, the same on every way to them."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tiny_runs import (
    MASKS,
    SIDE,
    SUBJECTS,
    spec_content,
    tiny_spec,
    write_mask,
    write_splits,
    zero_filling_spec,
)

from data_prep.errors import BadInput
from data_prep.fourier import fft2c, ifft2c
from data_prep.io.command import call
from data_prep.undersample.acquisition import Acquisition, open_acquisition, open_split
from methods.contract import Reconstruction, ReconstructionModel
from workflow.evaluate.__main__ import main
from workflow.evaluate.evaluation import Evaluation, evaluate, write_evaluation
from workflow.metrics.contract import STANDARD
from workflow.metrics.volume import slice_metrics, volume_metrics
from workflow.provenance.record import read_run
from workflow.provenance.runs import check_file
from workflow.run.checkpoint import Origin, load_checkpoint, save_checkpoint
from workflow.run.device import set_up_torch
from workflow.run.model import Reconstruct, build_model, not_a_number, reconstructor
from workflow.run.spec import RunSpec

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(folder: Path, dataset: str = "ixi", noise: float = 0.1) -> Acquisition:
    return open_acquisition(write_mask(folder, dataset), dataset, MASKS[dataset], noise, 2022)


def score(
    folder: Path,
    spec: RunSpec,
    reconstruct: Reconstruct | None = None,
    acquisition: Acquisition | None = None,
) -> Evaluation:
    acquisition = acquisition or opened(folder, spec.dataset, spec.noise)
    store = open_split(folder / "data" / spec.dataset, "test", acquisition, CPU, 1.0)
    model = build_model(spec, (SIDE, SIDE))
    return evaluate(reconstruct or reconstructor(model, "32-true", CPU), spec, store, acquisition)


def run_cli(monkeypatch, folder: Path, spec: dict, output: Path, *more: str) -> dict:
    arguments = ["--spec", json.dumps(spec), "--data", str(folder / "data" / spec["dataset"])]
    arguments += ["--mask", str(folder / f"{spec['mask']}.npz"), "--output", str(output), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, *more])
    call(main)
    return json.loads((output / "run.json").read_text())


# ---- what is scored -----------------------------------------------------------------------------


def test_scores_are_those_of_the_reconstruction_in_scanner_units(tmp_path):
    data = write_splits(tmp_path)
    acquisition = opened(tmp_path, noise=0.0)
    rows = score(tmp_path, zero_filling_spec(noise=0.0), acquisition=acquisition).rows
    with h5py.File(data / "test.h5") as file:
        of_subject = file["subject"].asstr()[()] == "IXI905"
        target = file["target"][of_subject]
    zero_filled = np.abs(ifft2c(fft2c(target.astype(np.complex128)) * acquisition.masks.mask))
    expected = volume_metrics(target, zero_filled)
    volume = next(row for row in rows if row["subject"] == "IXI905" and row["level"] == "volume")
    assert {name: volume[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    slices = [row for row in rows if row["subject"] == "IXI905" and row["level"] == "slice"]
    for name, values in slice_metrics(target, zero_filled).items():
        assert [row[name] for row in slices] == pytest.approx(values.tolist(), rel=1e-5)


def test_there_is_a_row_per_slice_and_per_volume_in_a_fixed_order(tmp_path):
    write_splits(tmp_path, slices=3)
    rows = score(tmp_path, zero_filling_spec()).rows
    assert [(row["subject"], row["slice"], row["level"]) for row in rows] == [
        (subject, index, "volume" if index < 0 else "slice")
        for subject in sorted(SUBJECTS["test"])
        for index in (0, 1, 2, -1)
    ]
    assert {(row["dataset"], row["mask"], row["pattern"], row["acceleration"]) for row in rows} == {
        ("ixi", "1d_uniform_6x", "1d_uniform", 6)
    }


def test_a_perfect_reconstruction_is_perfect(tmp_path):
    write_splits(tmp_path)
    acquisition = opened(tmp_path)
    store = open_split(tmp_path / "data" / "ixi", "test", acquisition, CPU, 1.0)
    truths = iter([acquisition.fixed(store, batch)[1].image for batch in ([4, 5, 6, 7], [0, 1, 2, 3])])
    rows = score(tmp_path, zero_filling_spec(), lambda _: next(truths), acquisition).rows
    assert all(row["ssim"] == pytest.approx(1, abs=1e-6) and row["psnr"] > 100 for row in rows)


def test_the_scale_of_the_scanner_changes_no_score_and_is_undone(tmp_path):
    results = []
    for gain in (1.0, 1024.0):
        folder = tmp_path / str(gain)
        write_splits(folder, gain=gain)
        results.append(score(folder, zero_filling_spec(), acquisition=opened(folder)))
    for plain, loud in zip(results[0].rows, results[1].rows, strict=True):
        assert loud["ssim"] == pytest.approx(plain["ssim"], rel=1e-5)
        assert loud["psnr"] == pytest.approx(plain["psnr"], rel=1e-5)
    ratio = results[1].examples[0]["reconstruction"].sum() / results[0].examples[0]["reconstruction"].sum()
    assert ratio == pytest.approx(1024, rel=1e-5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda image: Reconstruction(image.to(torch.complex64)), r"image is torch\.complex64, not float32"),
        (lambda image: Reconstruction(image[:1]), r"image is \(1, 32, 32\), not \(2, 32, 32\)"),
        (lambda image: Reconstruction(image[:, None]), r"image is \(2, 1, 32, 32\)"),
        (lambda image: image, "forward returns a Tensor, not a Reconstruction"),
        (lambda image: Reconstruction(image.numpy()), "with a tensor as its image"),
    ],
)
def test_a_method_that_gives_no_images_is_not_scored(tmp_path, monkeypatch, answer, said):
    class Careless(ReconstructionModel):
        def forward(self, measurement):
            return answer(measurement.zero_filled)

    write_splits(tmp_path)
    write_mask(tmp_path)
    monkeypatch.setattr("workflow.run.model.load_builder", lambda _: lambda *_: Careless())
    untrained = {"method": "zf", "folder": "zf", "trainable": False, "parameters": {}, "optimiser": {}}
    with pytest.raises(BadInput, match=rf"zf: .*{said}.*methods\.check zf"):
        run_cli(monkeypatch, tmp_path, spec_content(**untrained), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_blank_is_told_by_the_truth(tmp_path):
    data = write_splits(tmp_path)
    with h5py.File(data / "test.h5", "r+") as file:
        subject, number = file["subject"].asstr()[()], file["slice"][()]
        file["target"][np.flatnonzero((subject == "IXI905") & (number == 2))[0]] = 0
    spec = zero_filling_spec()
    model = reconstructor(build_model(spec, (SIDE, SIDE)), "32-true", CPU)
    for reconstruct in (model, not_a_number):
        rows = score(tmp_path, spec, reconstruct).rows
        assert [(row["subject"], row["slice"]) for row in rows if row["blank"]] == [("IXI905", 2)]


def test_a_method_that_fails_on_a_volume_leaves_it_to_be_seen(tmp_path):
    write_splits(tmp_path)
    spec = zero_filling_spec()
    model = reconstructor(build_model(spec, (SIDE, SIDE)), "32-true", CPU)
    calls = []

    def failing(measurement):
        calls.append(None)
        image = model(measurement).clone()
        if len(calls) == 1:
            image[0, 3, 5] = torch.inf
        return image

    rows = [row for row in score(tmp_path, spec, failing).rows if row["level"] == "volume"]
    found = {row["subject"]: (np.isnan(row["psnr"]), row["blank"]) for row in rows}
    assert found == {"IXI905": (True, 0), "IXI906": (False, 0)}


def test_a_diverged_training_has_no_numbers(tmp_path):
    write_splits(tmp_path)
    result = score(tmp_path, tiny_spec(), not_a_number)
    assert all(np.isnan(row[name]) for row in result.rows for name in ("ssim", "psnr", "nmse"))
    assert np.isnan(result.examples[0]["reconstruction"]).all()
    assert np.isfinite(result.examples[0]["zero_filled_psnr"])


# ---- the measurement is the same for all --------------------------------------------------------


def test_every_method_seed_and_batch_size_sees_the_same_measurements(tmp_path):
    write_splits(tmp_path)
    first = score(tmp_path, zero_filling_spec(examples=2)).examples
    for spec in (tiny_spec(examples=2, seed=3), zero_filling_spec(examples=2, training__batch_size=1)):
        for mine, other in zip(first, score(tmp_path, spec).examples, strict=True):
            assert np.array_equal(mine["zero_filled"], other["zero_filled"])


def test_noise_belongs_to_the_slice_and_not_to_its_neighbours(tmp_path):
    write_splits(tmp_path)
    acquisition = opened(tmp_path)
    store = open_split(tmp_path / "data" / "ixi", "test", acquisition, CPU, 1.0)
    together = acquisition.fixed(store, [0, 1, 2])[0].kspace
    assert torch.equal(together[1], acquisition.fixed(store, [1])[0].kspace[0])
    assert not torch.equal(together[0], together[1])


def test_another_base_seed_is_another_noise(tmp_path):
    write_splits(tmp_path)
    store = open_split(tmp_path / "data" / "ixi", "test", opened(tmp_path), CPU, 1.0)
    masks = opened(tmp_path).masks
    one, other = (Acquisition("ixi", masks, 0.1, seed).fixed(store, [0])[0].kspace for seed in (1, 2))
    assert not torch.equal(one, other)


def test_fastmri_has_its_own_mask_per_file_and_no_added_noise(tmp_path):
    data = write_splits(tmp_path, "fastmri")
    spec = zero_filling_spec(dataset="fastmri", mask=MASKS["fastmri"], noise=0.0, examples=2)
    examples = score(tmp_path, spec).examples
    masks = opened(tmp_path, "fastmri").masks
    for example in examples:
        assert example["mask"].shape == (1, SIDE)
        assert np.array_equal(example["mask"], masks.evaluation([example["subject"]])[0])
    with h5py.File(data / "test.h5") as file:
        found = (file["subject"].asstr()[()] == "IXI905") & (file["slice"][()] == examples[0]["slice"])
        target = file["target"][found][0]
    assert examples[0]["target"] == pytest.approx(np.abs(target), rel=1e-6)
    zero_filled = np.abs(ifft2c(fft2c(target) * examples[0]["mask"]))
    assert examples[0]["zero_filled"] == pytest.approx(zero_filled, rel=1e-3, abs=1e-3)


# ---- files --------------------------------------------------------------------------------------


def test_examples_are_the_central_slices_of_the_first_subjects(tmp_path):
    data = write_splits(tmp_path, slices=4)
    write_evaluation(score(tmp_path, zero_filling_spec(examples=2)), tmp_path / "out")
    with (
        np.load(tmp_path / "out" / "examples.npz", allow_pickle=False) as stored,
        h5py.File(data / "test.h5") as file,
    ):
        assert stored["subject"].tolist() == ["IXI905", "IXI906"]
        assert stored["slice"].tolist() == [2, 2]
        for name in ("target", "auxiliary"):
            # The file's first subject is the second by name.
            assert np.array_equal(stored[name], file[name][()][[6, 2]])
        for name in ("target", "auxiliary", "zero_filled", "reconstruction"):
            assert stored[name].shape == (2, SIDE, SIDE)
            assert stored[name].dtype == np.float32
        assert stored["mask"].shape == (2, SIDE, SIDE)
        assert stored["mask"].dtype == bool
        assert np.array_equal(stored["zero_filled_psnr"], stored["psnr"])
        scores = slice_metrics(stored["target"], stored["reconstruction"])
        assert np.array_equal(stored["ssim"], scores["ssim"])


def test_examples_are_as_many_as_asked_for_and_there_are(tmp_path):
    write_splits(tmp_path)
    assert len(score(tmp_path, zero_filling_spec(examples=1)).examples) == 1
    assert len(score(tmp_path, zero_filling_spec(examples=9)).examples) == len(SUBJECTS["test"])


def test_numbers_in_metrics_csv_read_back_exactly(tmp_path):
    write_splits(tmp_path)
    result = score(tmp_path, zero_filling_spec())
    write_evaluation(result, tmp_path)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[float(row[name]) for name in STANDARD] for row in rows] == [
        [row[name] for name in STANDARD] for row in result.rows
    ]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    write_splits(tmp_path)
    for name in ("a", "b"):
        write_evaluation(score(tmp_path, zero_filling_spec()), tmp_path / name)
    for name in ("metrics.csv", "examples.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_reading_from_disk_gives_the_same_bytes_as_holding_the_split(tmp_path):
    data = write_splits(tmp_path)
    acquisition = opened(tmp_path)
    spec = zero_filling_spec()
    model = build_model(spec, (SIDE, SIDE))
    for name, limit in (("a", 1.0), ("b", 0.0)):
        store = open_split(data, "test", acquisition, CPU, limit)
        assert store.resident == (name == "a")
        result = evaluate(reconstructor(model, "32-true", CPU), spec, store, acquisition)
        write_evaluation(result, tmp_path / name)
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()


# ---- command line -------------------------------------------------------------------------------


def test_an_untrained_method_from_the_command_line(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    changes = {"method": "zf", "folder": "zf", "trainable": False, "parameters": {}, "optimiser": {}}
    record = run_cli(monkeypatch, tmp_path, spec_content(**changes), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "examples.npz",
        "metrics.csv",
        "run.json",
    ]
    assert record["status"] == "finished"
    assert record["parameter_count"] == 0
    assert not {"epochs", "converged", "restarts", "notes"} & set(record)
    assert set(record["seconds"]) == {"reconstruction", "metrics", "total"}
    assert record["training_hash"] is None
    assert record["spec"]["method"] == "zf"
    assert set(record["data_fingerprints"]) == {"test"}
    assert record["mask_sha256"] == opened(tmp_path).masks.sha256
    assert record["throughput"]["evaluation_slices_per_second"] > 0
    assert record["seconds"]["total"] >= record["seconds"]["reconstruction"]
    assert record["peak_memory_bytes"] > 10 * 2**20


def test_a_checkpoint_is_evaluated_with_its_own_weights(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    spec = tiny_spec(parameters__dropout=0.5)
    model = build_model(tiny_spec(seed=5), (SIDE, SIDE))
    save_checkpoint(model, spec, Origin("hash of its training", "finished"), tmp_path / "model.ckpt")
    expected = score(tmp_path, spec, reconstructor(model, "32-true", CPU))
    content = spec_content(parameters__dropout=0.5)
    checkpoint = ("--checkpoint", str(tmp_path / "model.ckpt"))
    record = run_cli(monkeypatch, tmp_path, content, tmp_path / "out", *checkpoint)
    assert record["training_hash"] == "hash of its training"
    assert record["status"] == "finished"
    write_evaluation(expected, tmp_path / "expected")
    for name in ("metrics.csv", "examples.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_a_checkpoint_of_a_diverged_training_has_no_scores(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    model = build_model(tiny_spec(), (SIDE, SIDE))
    save_checkpoint(model, tiny_spec(), Origin("hash", "diverged"), tmp_path / "model.ckpt")
    checkpoint = ("--checkpoint", str(tmp_path / "model.ckpt"))
    record = run_cli(monkeypatch, tmp_path, spec_content(), tmp_path / "out", *checkpoint)
    assert record["status"] == "diverged"
    with (tmp_path / "out" / "metrics.csv").open(newline="") as file:
        scores = {row[metric] for row in csv.DictReader(file) for metric in ("ssim", "psnr", "nmse")}
    assert scores == {"nan"}


def test_scores_are_those_of_the_checkpoint_that_was_given_whichever_lies_beside_them(tmp_path, monkeypatch):
    write_splits(tmp_path)
    write_mask(tmp_path)
    model, given = build_model(tiny_spec(), (SIDE, SIDE)), tmp_path / "given.ckpt"
    save_checkpoint(model, tiny_spec(), Origin("hash", "finished"), given)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.ckpt").write_text("of a later training")
    run_cli(monkeypatch, tmp_path, spec_content(), tmp_path / "out", "--checkpoint", str(given))
    record = read_run(tmp_path / "out")
    check_file(tmp_path / "out" / "metrics.csv", record)
    with pytest.raises(
        BadInput, match=r"out/model\.ckpt: this is not the file that run\.json beside it tells of"
    ):
        check_file(tmp_path / "out" / "model.ckpt", record)
    shutil.copy(given, tmp_path / "out" / "model.ckpt")
    check_file(tmp_path / "out" / "model.ckpt", record)


def test_equal_weights_make_equal_checkpoints(tmp_path):
    origin = Origin("hash", "finished")
    for name in ("a", "b"):
        save_checkpoint(build_model(tiny_spec(), (SIDE, SIDE)), tiny_spec(), origin, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = build_model(tiny_spec(seed=1), (SIDE, SIDE))
    save_checkpoint(other, tiny_spec(), origin, tmp_path / "c")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


# ---- mistakes -----------------------------------------------------------------------------------


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    model = build_model(tiny_spec(), (SIDE, SIDE))
    save_checkpoint(model, tiny_spec(), Origin("hash", "finished"), tmp_path / "model.ckpt")
    wider = tiny_spec(parameters__channels=4)
    with pytest.raises(BadInput, match="parameters"):
        load_checkpoint(build_model(wider, (SIDE, SIDE)), wider, tmp_path / "model.ckpt")
    with pytest.raises(BadInput, match="no such checkpoint"):
        load_checkpoint(model, tiny_spec(), tmp_path / "nothing.ckpt")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"text",
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + b"\0" * 64 + data[len(data) // 2 + 64 :],
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    """Zeros among the weights too, which torch itself does not notice."""
    model, path = build_model(tiny_spec(), (SIDE, SIDE)), tmp_path / "model.ckpt"
    save_checkpoint(model, tiny_spec(), Origin("hash", "finished"), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        BadInput, match=r"model\.ckpt: it is not whole, or no checkpoint .*; delete it and run"
    ):
        load_checkpoint(model, tiny_spec(), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("spec"), "field spec.folder is missing"),
        (lambda content: content.pop("state_dict"), "field state_dict is missing"),
        (lambda content: content.pop("status"), "field status is missing"),
        (lambda content: content["state_dict"].popitem(), r"field state_dict does not fit the method \(.*\)"),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path, change, message):
    model, path = build_model(tiny_spec(), (SIDE, SIDE)), tmp_path / "model.ckpt"
    save_checkpoint(model, tiny_spec(), Origin("hash", "finished"), path)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(BadInput, match=rf"model\.ckpt: {message}; delete it and run the workflow again"):
        load_checkpoint(model, tiny_spec(), path)


def test_a_trained_method_needs_a_checkpoint_and_an_untrained_one_refuses_it(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="give --checkpoint"):
        run_cli(monkeypatch, tmp_path, spec_content(), tmp_path / "out")
    with pytest.raises(BadInput, match="leave --checkpoint out"):
        run_cli(monkeypatch, tmp_path, spec_content(trainable=False), tmp_path / "out", "--checkpoint", "x")


def test_the_mask_of_another_setting_is_refused(tmp_path):
    with pytest.raises(BadInput, match="2d_radial_6x"):
        open_acquisition(write_mask(tmp_path, name="2d_radial_6x"), "ixi", "1d_uniform_6x", 0.1, 1)


def test_the_data_of_another_dataset_is_refused(tmp_path):
    data = write_splits(tmp_path, "fastmri")
    with pytest.raises(BadInput, match="holds fastmri"):
        open_split(data, "test", opened(tmp_path), CPU, 1.0)


def test_a_mask_of_another_matrix_is_refused(tmp_path):
    data = write_splits(tmp_path)
    acquisition = opened(tmp_path)
    smaller = type(acquisition.masks)(acquisition.masks.name, acquisition.masks.mask[:, :-2])
    with pytest.raises(BadInput, match="32 x 32 do not fit"):
        open_split(data, "test", Acquisition("ixi", smaller, 0.1, 1), CPU, 1.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none_is_refused():
    with pytest.raises(BadInput, match="--device: cuda"):
        set_up_torch(1, "cuda")
    assert set_up_torch(1, "auto") == CPU


@pytest.mark.parametrize(
    ("environment", "listed", "said"),
    [
        ({}, "", "no GPU can be seen: running on the CPU\n"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "", "no GPU can be seen: running on the CPU\n"),
        (
            {"CUDA_VISIBLE_DEVICES": ""},
            "GPU 0: H200 (UUID: GPU-a)",
            "no GPU can be seen: running on the CPU\n",
        ),
        ({}, "GPU 0: H200 (UUID: GPU-a)", None),
        ({"CUDA_VISIBLE_DEVICES": "0", "GPU_LEASED": "0"}, "", None),
        # The lease of the workflow around it, out of which it was given none.
        ({"CUDA_VISIBLE_DEVICES": "", "GPU_LEASED": "0"}, "", "no GPU can be seen: running on the CPU\n"),
    ],
    ids=str,
)
def test_a_gpu_that_torch_cannot_use_stops_what_did_not_ask_for_the_cpu(
    tmp_path, monkeypatch, capsys, environment, listed, said
):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{listed}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("CUDA_VISIBLE_DEVICES", "GPU_LEASED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if said is None:
        with pytest.raises(
            BadInput, match=r"there is a GPU \(0\), but torch .*; to run on the CPU give --device cpu"
        ):
            set_up_torch(1, "auto")
    else:
        assert set_up_torch(1, "auto") == CPU
        assert capsys.readouterr().err == said
    assert set_up_torch(1, "cpu") == CPU
    assert capsys.readouterr().err == ""
