"""Reconstructed volumes as files: on the scan's own grid, in its place, with the scored bits."""

import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from small_experiment import BRAINS, KNEES, MASKS, SHAPE, copy_of, oblique_affine, subjects

from data_prep.errors import BadInput
from data_prep.io.json_files import read_json, write_json
from data_prep.prepare.places import folder_of
from workflow.evaluate.volumes import open_test, reconstructed
from workflow.export import export
from workflow.metrics.volume import volume_metrics
from workflow.run.finished import read_finished


@pytest.fixture(scope="module")
def volumes(experiment, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    export(experiment, folder, also=("truth", "zero_filled", "error"), device="cpu")
    return folder


def test_a_brain_lies_over_its_scan_in_any_viewer(experiment, volumes):
    for subject in subjects(experiment, "brats"):
        name = f"{subject}/{subject}_t2.nii.gz"
        scan = nibabel.load(experiment.parents[1] / "scans/brats" / name)
        shown = nibabel.load(volumes / "brats/truth" / name)
        assert shown.shape == SHAPE
        assert shown.header.get_xyzt_units()[0] == "mm"
        assert nibabel.aff2axcodes(shown.affine) == nibabel.aff2axcodes(scan.affine) == ("I", "L", "A")
        np.testing.assert_allclose(shown.affine, oblique_affine(), atol=1e-4)
        for form in (shown.get_sform(), shown.get_qform()):
            np.testing.assert_allclose(form, scan.affine, atol=1e-4)
        # What was prepared, 32 of 40 from left to right and of 34 from the back, has the scan's voxels.
        inside = np.zeros(SHAPE, bool)
        inside[:, 4:36, 1:33] = True
        np.testing.assert_array_equal(shown.get_fdata(), np.where(inside, scan.get_fdata(), 0))


def test_landmarks_are_where_they_are_in_the_scan(experiment, volumes):
    """World positions, computed from the header of the scan alone, to a thousandth of a voxel."""
    subject = subjects(experiment, "brats")[0]
    name = f"{subject}/{subject}_t2.nii.gz"
    scan = nibabel.load(experiment.parents[1] / "scans/brats" / name)
    shown = nibabel.load(volumes / "brats/truth" / name)
    voxels = scan.get_fdata()
    for value in np.unique(voxels[:, 6:34, 3:31])[-5:]:
        (here,) = np.argwhere(voxels == value)[:1]
        (there,) = np.argwhere(shown.get_fdata() == value)[:1]
        world = oblique_affine() @ [*here, 1]
        assert np.linalg.norm(world - shown.affine @ [*there, 1]) < 0.001 * 2.4


@pytest.mark.parametrize("name", [BRAINS, KNEES, BRAINS.replace("unet", "zf"), KNEES.replace("unet", "zf")])
def test_what_is_written_has_the_scores_of_the_table_to_the_bit(experiment, volumes, name):
    dataset = name.split("/")[0]
    metrics = pd.read_csv(experiment / "runs" / name / "metrics.csv")
    metrics = metrics[metrics["level"] == "volume"].set_index("subject")
    for subject in subjects(experiment, dataset):
        file = read_json(folder_of(experiment, dataset, "aligned") / f"{subject}.json")["target_file"]
        truth, image = (read_slices(volumes / place / file) for place in (f"{dataset}/truth", name))
        found = volume_metrics(truth, image)
        for metric, value in found.items():
            assert value == metrics.loc[subject, metric]


def read_slices(path: Path) -> np.ndarray:
    """The prepared part (slice, row, column) of an exported volume, by other means than the export's own."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["reconstruction"][:, 4:36, 4:36]
    axial = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32)
    # To left, posterior, superior; slices first.
    return np.ascontiguousarray(axial[::-1, ::-1].T[:, 1:33, 4:36])


def test_knees_have_the_form_of_submissions(experiment, volumes):
    for subject in subjects(experiment, "fastmri"):
        with h5py.File(volumes / KNEES / f"{subject}.h5") as file:
            assert list(file) == ["reconstruction"]
            assert file["reconstruction"].dtype == np.float32
            images = file["reconstruction"][()]
        path = next((experiment.parents[1] / "scans/fastmri").rglob(f"{subject}.h5"))
        with h5py.File(path) as file:
            assert images.shape == file["reconstruction_esc"].shape
            truth = file["reconstruction_esc"][()]
        with h5py.File(volumes / "fastmri/truth" / f"{subject}.h5") as file:
            np.testing.assert_allclose(file["reconstruction"][:, 4:36, 4:36], truth[:, 4:36, 4:36], atol=1e-5)


def test_error_and_zero_filling_are_of_the_same_volume(experiment, volumes):
    subject = subjects(experiment, "fastmri")[0]

    def images(place: str) -> np.ndarray:
        with h5py.File(volumes / place / f"{subject}.h5") as file:
            return file["reconstruction"][()]

    difference = np.abs(images(KNEES) - images("fastmri/truth"))
    np.testing.assert_array_equal(images(f"{KNEES}-error"), difference)
    # Zero filling is a method too, and reconstructs the same.
    np.testing.assert_array_equal(
        images("fastmri/equispaced_4x/zero_filled"), images(KNEES.replace("unet", "zf"))
    )


def test_what_runs_share_is_written_once(experiment, tmp_path, said):
    words = (
        "--to",
        tmp_path / "all",
        "--dataset",
        "brats",
        "--also",
        "truth",
        "zero_filled",
        "--device",
        "cpu",
    )
    # Of two subjects two reconstructions, truth and zero filling.
    assert said(export, experiment, *words) == f"8 volumes in {tmp_path / 'all'}\n"
    assert len(list((tmp_path / "all").rglob("*.nii.gz"))) == 8


def test_runs_are_chosen_and_counted(experiment, tmp_path, said):
    words = ("--to", tmp_path / "few", "--method", "zf", "--dataset", "brats", "--device", "cpu")
    assert said(export, experiment, *words) == f"2 volumes in {tmp_path / 'few'}\n"
    written = {path.relative_to(tmp_path / "few").parts[:4] for path in (tmp_path / "few").rglob("*.nii.gz")}
    assert written == {("brats", MASKS["brats"], "zf", "seed0")}


def older(results: Path) -> None:
    for path in folder_of(results, "brats", "aligned").glob("*.json"):
        write_json(path, read_json(path) | {"geometry": None})


def elsewhere(results: Path) -> None:
    for path in folder_of(results, "brats", "aligned").glob("*.json"):
        write_json(path, read_json(path) | {"target_file": "../../t2.nii.gz"})


def other_data(results: Path) -> None:
    with h5py.File(folder_of(results, "brats", "data") / "test.h5", "a") as file:
        file.attrs["fingerprint"] = "0" * 64


def other_weights(results: Path) -> None:
    path = results / "runs" / BRAINS / "model.ckpt"
    path.write_bytes(path.read_bytes() + b"0")


def no_runs(results: Path) -> None:
    shutil.rmtree(results / "runs")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (older, r"\.json: field `geometry` is missing, an older version wrote the file; delete it and run"),
        (elsewhere, r"\.json: field `target_file` is '\.\./\.\./t2\.nii\.gz', outside of any folder"),
        (other_data, r"seed0: it was scored on other data than .*test\.h5 holds; run it again"),
        (other_weights, r"model\.ckpt: this is not the file that run\.json beside it tells of"),
        (no_runs, "it holds no finished run; give the results of an experiment"),
    ],
)
def test_what_is_not_as_it_was_scored_is_refused_by_name(experiment, tmp_path, said, spoil, message):
    copy = copy_of(experiment, tmp_path)
    spoil(copy)
    with pytest.raises(BadInput, match=message):
        said(export, copy, "--to", tmp_path / "volumes", "--dataset", "brats", "--device", "cpu")
    assert not list(tmp_path.glob("volumes/**/*.gz"))


def test_what_is_not_there_and_a_place_within_the_results_are_refused(experiment, tmp_path, said):
    with pytest.raises(BadInput, match=r"--method: no run of 'manet' in .*; there are unet, zf"):
        said(export, experiment, "--to", tmp_path, "--method", "manet")
    with pytest.raises(BadInput, match=r"--to: .* lies within .*, whose files are listed"):
        said(export, experiment, "--to", experiment / "volumes")
    (tmp_path / "volumes").touch()
    with pytest.raises(BadInput, match=r"--to: .*volumes is no folder; give one to write into"):
        said(export, experiment, "--to", tmp_path / "volumes")


def test_an_experiment_without_what_it_shares_says_what_to_bring(experiment, tmp_path, said):
    alone = shutil.copytree(experiment, tmp_path / "alone")
    with pytest.raises(
        BadInput, match=r"shared/data/brats: no such folder; bring results/shared along with alone"
    ):
        said(export, alone, "--to", tmp_path / "volumes", "--device", "cpu")


def test_one_volume_is_read_at_a_time(experiment, monkeypatch):
    run = read_finished(experiment / "runs" / BRAINS)
    store = open_test(experiment, "brats", torch.device("cpu"))
    read, batch = [], store.batch
    monkeypatch.setattr(store, "batch", lambda positions: read.extend(positions) or batch(positions))
    volumes = store.volumes()
    for number, volume in enumerate(reconstructed(run, store, torch.device("cpu")), 1):
        assert {store.subjects[position] for position in read} == set(list(volumes)[:number])
        assert volume.image.shape == volume.target.shape == (SHAPE[0], 32, 32)
    assert not store.resident
    assert number == 2


def test_the_name_of_the_folder_forges_no_line(experiment, tmp_path, said, odd, lines):
    words = ("--dataset", "brats", "--method", "zf", "--device", "cpu", "--to", tmp_path / odd)
    assert any(line.startswith("2 volumes in ") for line in lines(said(export, experiment, *words)))
