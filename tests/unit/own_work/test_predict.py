"""A person's own scan through a trained network: on its own grid, by the road of the test split."""

import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import torch
from small_experiment import (
    BRAINS,
    COLUMNS,
    KNEES,
    ROWS,
    SHAPE,
    knee,
    oblique_affine,
    subjects,
    write_brain,
    write_knee,
)
from torch import nn

from data_prep.errors import BadInput
from data_prep.fourier import fft2c, ifft2c
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import read_json, write_json
from methods.unet import model
from workflow.export import export
from workflow.metrics.volume import volume_metrics
from workflow.predict import WARNING, predict
from workflow.run.checkpoint import load_whole, save_atomically


@pytest.fixture
def run(experiment) -> Path:
    return experiment / "runs" / BRAINS


@pytest.fixture
def pair(tmp_path) -> tuple[str, ...]:
    """The options that name a new pair of scans."""
    scans = (write_brain(tmp_path / f"mine_{name}.nii.gz", 5, i) for i, name in enumerate(("T2", "T1")))
    return tuple(
        str(word) for option in zip(("--target", "--auxiliary"), scans, strict=True) for word in option
    )


def test_a_scan_of_the_test_split_gets_the_exported_volume(experiment, run, tmp_path, said):
    (subject, _), scans = subjects(experiment, "brats"), experiment.parents[1] / "scans/brats"
    export(experiment, tmp_path, dataset=("brats",), method=("unet",), device="cpu")
    to = tmp_path / "own.nii.gz"
    words = ("--run", run, "--to", to, "--matrix", 32, "--subject", subject, "--device", "cpu")
    target, auxiliary = (scans / subject / f"{subject}_{name}.nii.gz" for name in ("t2", "t1"))
    said(predict, *words, "--target", target, "--auxiliary", auxiliary)
    exported = nibabel.load(tmp_path / BRAINS / subject / f"{subject}_t2.nii.gz")
    found = nibabel.load(to)
    np.testing.assert_array_equal(found.get_fdata(), exported.get_fdata())
    np.testing.assert_array_equal(found.affine, exported.affine)


def test_another_matrix_is_padded_and_nothing_of_the_scan_is_cut_off(run, pair, tmp_path, said):
    to = tmp_path / "out.nii.gz"
    text = said(predict, "--run", run, "--to", to, *pair, "--device", "cpu")
    found = nibabel.load(to)
    assert found.shape == SHAPE
    np.testing.assert_allclose(found.affine, oblique_affine(), atol=1e-4)
    assert found.get_fdata()[:, :4].any()
    for part in ("7 x 40 x 34 voxels, reconstructed as 7 slices of 40 x 40", "1D-Uniform-6×", WARNING):
        assert part in text
    assert "reconstructed by unet, trained on embedded data, not BraTS, 32 x 32, 1D-Uniform-6×" in text
    assert text.count(" against the scan: SSIM ") == 2
    # The network has seen one epoch of one head; zero filling shows that the head is where it is in the scan.
    zero_filling = Path(str(run).replace("unet", "zf"))
    text = said(predict, "--run", zero_filling, "--to", to, *pair, "--device", "cpu")
    shown, scan = (nibabel.load(path).get_fdata() for path in (to, tmp_path / "mine_T2.nii.gz"))
    assert np.corrcoef(shown.ravel(), scan.ravel())[0, 1] > 0.7
    # Of the scan alone: a margin without signal would add to both scores.
    scores = volume_metrics(scan, shown)
    assert f"zf against the scan: SSIM {scores['ssim']:.3f}, PSNR {scores['psnr']:.2f} dB" in text


def test_a_method_of_one_size_refuses_others_and_says_what_to_give(
    experiment, pair, tmp_path, said, monkeypatch
):
    """A network with a weight for each row of the image, in the place of the U-Net."""
    built = model.build

    def of_rows(parameters, shape):
        network = built(parameters, shape)
        network.rows = nn.Parameter(torch.zeros(shape[0]))
        return network

    results = tmp_path / "results"
    shutil.copytree(experiment, results)
    run = results / "runs" / BRAINS
    monkeypatch.setattr(model, "build", of_rows)
    content = load_whole(run / "model.ckpt")
    content["state_dict"]["rows"] = torch.zeros(32)
    save_atomically(content, run / "model.ckpt")
    record = read_json(run / "run.json")
    record["outputs"]["model.ckpt"] = file_sha256(run / "model.ckpt")
    write_json(run / "run.json", record)
    words = ("--run", run, "--to", tmp_path / "out.nii.gz", *pair, "--device", "cpu")
    with pytest.raises(BadInput, match="was trained for images of 32 x 32 and takes none of 40 x 40; give"):
        said(predict, *words)
    said(predict, *words, "--matrix", 32)


def lines_of(step: int) -> np.ndarray:
    mask = np.arange(COLUMNS) % step == 0
    mask[COLUMNS // 2 - 3 : COLUMNS // 2 + 3] = True
    return mask


def test_kspace_with_a_mask_is_taken_as_it_is(experiment, tmp_path, said):
    """Zero filling of all rows and columns, computed apart, is what comes out of that method."""
    mask = lines_of(3)
    scan = write_knee(tmp_path / "file7.h5", 7, 0, mask)
    to = tmp_path / "out.h5"
    run = experiment / "runs" / KNEES.replace("unet", "zf")
    text = said(predict, "--run", run, "--kspace", scan, "--to", to, "--device", "cpu")
    with h5py.File(to) as file:
        found = file["reconstruction"][()]
    expected = np.abs(ifft2c(fft2c(knee(7, 0)) * mask))
    top, left = (ROWS - 40) // 2, (COLUMNS - 40) // 2
    np.testing.assert_allclose(found, expected[:, top : top + 40, left : left + 40], atol=2e-6)
    assert f"k-space taken as it was measured, with {COLUMNS / mask.sum():.2f} times fewer samples" in text
    for part in (" against the scan", "registered"):
        assert part not in text


def test_names_of_scans_forge_no_line_and_stop_nothing(experiment, tmp_path, said, odd, lines):
    scan, to = write_knee(tmp_path / f"{odd}.h5", 7, 0, lines_of(3)), tmp_path / f"{odd}-out.h5"
    run = experiment / "runs" / KNEES.replace("unet", "zf")
    found = lines(said(predict, "--run", run, "--kspace", scan, "--to", to, "--device", "cpu"))
    assert to.is_file()
    assert WARNING in found


def test_kspace_goes_through_a_network_of_any_size(experiment, tmp_path, said):
    scan, guide = write_knee(tmp_path / "file7.h5", 7, 0, lines_of(3)), write_knee(tmp_path / "pd.h5", 7, 1)
    to, run = tmp_path / "out.h5", experiment / "runs" / KNEES
    words = ("--run", run, "--kspace", scan, "--auxiliary", guide, "--to", to, "--device", "cpu")
    assert "times fewer samples; PD is not registered onto it" in said(predict, *words)
    with h5py.File(to) as file:
        assert file["reconstruction"].shape == (3, 40, 40)
        assert np.isfinite(file["reconstruction"][()]).all()


def test_a_fully_sampled_knee_is_undersampled(experiment, tmp_path, said):
    pair = [write_knee(tmp_path / f"file8{contrast}.h5", 8, contrast) for contrast in (0, 1)]
    words = ("--run", experiment / "runs" / KNEES, "--to", tmp_path / "out.h5", "--device", "cpu")
    text = said(predict, *words, "--target", pair[0], "--auxiliary", pair[1])
    assert "undersampled by simulation: Equispaced-4×" in text
    assert "file81.h5: registered onto it, score" in text


def test_files_of_the_results_are_not_written(experiment, run, pair, said):
    (scan,) = (experiment.parent / "shared/aligned/brats").glob("*0.h5")
    for to in (run / "a.nii.gz", scan.with_suffix(".nii.gz")):
        with pytest.raises(BadInput, match=r"--to: .* lies within .*; choose a folder elsewhere"):
            said(predict, "--run", run, "--to", to, *pair, "--device", "cpu")
        assert not to.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--run": "nowhere/unet/seed0"}, "it is no run; give a folder such as"),
        ({"--auxiliary": None}, "--auxiliary: a T1 scan goes with the T2 scan; give one"),
        ({"--target": "none.nii.gz"}, r"none\.nii\.gz: no such file; give a scan"),
        ({"--to": "out.png"}, r"--to: .*out\.png does not end in \.nii\.gz, the form of BraTS"),
        ({"--to": "mine_T1.nii.gz"}, r"--to: .*mine_T1\.nii\.gz is a scan that is read; choose another name"),
        ({"--auxiliary": "mine_T2.nii.gz"}, r"mine_T2\.nii\.gz is the scan that is reconstructed"),
        ({"--auxiliary": "moved.nii.gz"}, r"moved\.nii\.gz: its header places it up to .* mm from mine_T2"),
        ({"--slices": "0"}, "--slices: is 0; give a whole number, at least 1"),
        (
            {"--slices": "9"},
            r"mine_T2\.nii\.gz: 7 axial slices, but 9 are wanted; .*the option --slices, lower",
        ),
        ({"--subject": "../me"}, "--subject: is '../me'; use letters, digits, - and _"),
        ({"--matrix": "8"}, "mask `1d_uniform_6x`: a matrix of 8 x 8 is too small"),
        ({"--target": None, "--kspace": "mine_T2.nii.gz"}, "--kspace: scans of BraTS hold no k-space"),
    ],
)
def test_wrong_input_is_told_in_one_sentence(run, pair, tmp_path, said, changes, message):
    moved = nibabel.load(tmp_path / "mine_T1.nii.gz")
    shifted = moved.affine.copy()
    shifted[:3, 3] += 20
    nibabel.save(nibabel.Nifti1Image(np.asarray(moved.dataobj), shifted), tmp_path / "moved.nii.gz")
    given = dict(zip(pair[::2], pair[1::2], strict=True)) | {"--run": str(run), "--to": "out.nii.gz"}
    given |= changes
    for option in ("--to", "--auxiliary", "--target", "--kspace"):
        if given.get(option):
            given[option] = str(tmp_path / given[option])
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BadInput, match=message) as told:
        said(predict, *words, "--device", "cpu")
    assert "\n" not in str(told.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_scan_narrower_than_the_window_of_ssim_is_told_before_it_is_reconstructed(
    run, pair, tmp_path, said, monkeypatch
):
    for path in pair[1::2]:
        whole = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(whole.dataobj)[:, :, 14:20], whole.affine), path)
    monkeypatch.setattr("workflow.evaluate.volumes.reconstructed", lambda *_, **__: pytest.fail("begun"))
    with pytest.raises(
        BadInput, match=r"mine_T2\.nii\.gz: its slices have 6 x 40 pixels, but SSIM, .* 7 x 7"
    ):
        said(predict, "--run", run, "--to", tmp_path / "out.nii.gz", *pair, "--device", "cpu")


@pytest.mark.parametrize(
    ("option", "number", "message"),
    [
        ("--slices", 9, "it shares 3 slices, but 9 are wanted; set .*, or the option --slices, to 1 up to 3"),
        ("--matrix", 64, "but a side of 64 is wanted; set .*, or the option --matrix, to at most 40"),
    ],
)
def test_what_a_knee_does_not_have_names_the_option(experiment, tmp_path, said, option, number, message):
    pair = [write_knee(tmp_path / f"file8{contrast}.h5", 8, contrast) for contrast in (0, 1)]
    words = ("--run", experiment / "runs" / KNEES, "--to", tmp_path / "out.h5", "--device", "cpu")
    with pytest.raises(BadInput, match=message):
        said(predict, *words, "--target", pair[0], "--auxiliary", pair[1], option, number)


def test_a_matrix_too_small_for_drawn_masks_is_told_before_anything_is_written(experiment, tmp_path, said):
    pair = [write_knee(tmp_path / f"file8{contrast}.h5", 8, contrast) for contrast in (0, 1)]
    words = ("--run", experiment / "runs" / KNEES, "--to", tmp_path / "out.h5", "--device", "cpu")
    with pytest.raises(
        BadInput, match="mask `equispaced_4x`: a matrix of 4 x 4 is too small; use sides of 32"
    ):
        said(predict, *words, "--target", pair[0], "--auxiliary", pair[1], "--matrix", 4)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "dataset mask is missing; give a fully sampled scan as --target"),
        (np.ones(COLUMNS - 1, bool), f"dataset mask must have one number for each of {COLUMNS} columns"),
        (np.full(COLUMNS, 2.0), "dataset mask must hold 1 for a sampled column and 0 for others"),
    ],
)
def test_kspace_without_a_mask_that_fits_is_refused(experiment, tmp_path, said, mask, message):
    scan = write_knee(tmp_path / "file7.h5", 7, 0)
    if mask is not None:
        with h5py.File(scan, "a") as file:
            file["mask"] = mask
    words = ("--run", experiment / "runs" / KNEES, "--kspace", scan, "--to", tmp_path / "out.h5")
    with pytest.raises(BadInput, match=message):
        said(predict, *words, "--device", "cpu")
