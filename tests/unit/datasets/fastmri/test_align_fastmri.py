"""PD is laid onto PDFS to a fraction of a pixel; the target is untouched; what cannot be used is recorded."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from faults import locked
from knee_phantom import HEADER, maps, write_published
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from data_prep.datasets import align as step
from data_prep.datasets.fastmri import scans as fastmri
from data_prep.datasets.fastmri.align import draw_overlay
from data_prep.datasets.fastmri.dataset import pair_files
from data_prep.datasets.fastmri.embedded import motion_matrix, simulate_pair, write_pair
from data_prep.datasets.record import read_record
from data_prep.datasets.registered import AFTER, BEFORE
from data_prep.errors import BadInput
from data_prep.fourier import ifft2c
from data_prep.io.command import call
from data_prep.prepare.counts import write_manifest
from data_prep.registration.in_plane import _SEARCH_MATRIX, register_in_plane, resample, rigid_in_plane

ROOT = Path(__file__).parents[4]
MATRIX, SLICES = 64, 3
UNREGISTERED = ("--options", '{"register": false}')


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_pair(maps(), 0, 2022, MATRIX, SLICES, "train", folder)
    return folder


def align(raw: Path, output: Path, monkeypatch: pytest.MonkeyPatch, *options: str, index: int = 0) -> str:
    """Run the command on an embedded pair and return the subject."""
    pd, pdfs = pair_files(index)
    folder = raw / "singlecoil_train"
    arguments = ["--auxiliary", str(folder / f"{pd}.h5"), "--target", str(folder / f"{pdfs}.h5")]
    arguments += ["--dataset", "fastmri", "--subject", pdfs]
    arguments += ["--source", "embedded", "--split-hint", "train", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["align", *arguments, *options])
    call(step.main)
    return pdfs


def displacement(estimate: NDArray[np.float64], truth: NDArray[np.float64], matrix: int) -> float:
    """Mean distance in pixels, over the field of view, between where two transforms point."""
    rows, columns = np.indices((matrix, matrix)).reshape(2, -1)
    voxels = np.stack([np.zeros_like(rows), rows, columns, np.ones_like(rows)])
    return float(np.hypot(*((estimate - truth) @ voxels)[1:3]).mean())


def magnitudes(
    index: int, matrix: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """PDFS, PD and the true transform of a pair of phantoms."""
    pd, pdfs, motion, _ = simulate_pair(maps(), index, 2022, matrix, SLICES)
    crop = (matrix, matrix)
    pd_image, pdfs_image = (np.abs(fastmri.centre_crop(ifft2c(s.kspace), crop)) for s in (pd, pdfs))
    return pdfs_image, pd_image, motion_matrix(motion, matrix)


# ---- quality picture ------------------------------------------------------------------------------


@pytest.mark.parametrize("registered", [True, False])
def test_the_quality_picture_names_the_unit_of_its_score_and_enlarges_smoothly(
    raw: Path, registered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = align(
        raw,
        tmp_path,
        monkeypatch,
        "--matrix",
        str(MATRIX),
        "--slices",
        "1",
        *(() if registered else UNREGISTERED),
    )
    record = read_record(tmp_path, "fastmri", subject)
    with h5py.File(tmp_path / f"{subject}.h5") as file:
        target, auxiliary = np.abs(file["target"][()]), file["auxiliary"][()]
    figure = draw_overlay(record, target, auxiliary, auxiliary)
    how = "registered" if registered else "not registered"
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        f"as scanned: mutual information {record.score_before:.3f} bits",
        f"{how}: mutual information {record.score_after:.3f} bits",
        f"PD, {how}",
    ]
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 0]
    (before,), (after,) = (axes.collections[0].get_edgecolor() for axes in figure.axes[:2])
    assert (to_hex(before), to_hex(after)) == (BEFORE, AFTER)
    assert {axes.images[0].get_interpolation() for axes in figure.axes} == {"bicubic"}


# ---- registration ---------------------------------------------------------------------------------


def test_the_true_motion_is_found() -> None:
    before, after = [], []
    for index in range(5):
        pdfs, pd, truth = magnitudes(index, MATRIX)
        before.append(displacement(np.eye(4), truth, MATRIX))
        after.append(displacement(register_in_plane(pdfs, pd), truth, MATRIX))
    assert np.mean(before) > 0.7
    assert max(after) < 0.3
    assert np.mean(after) < 0.15


def test_large_images_are_registered_from_a_coarse_search() -> None:
    matrix = 2 * _SEARCH_MATRIX
    pdfs, pd, truth = magnitudes(3, matrix)
    truth[1:3, 3] += (6, -5)
    found = register_in_plane(pdfs[:1], np.roll(pd[:1], (6, -5), axis=(1, 2)))
    assert displacement(found, truth, matrix) < 0.15


def test_resampling_undoes_a_shift_of_whole_pixels_and_stays_positive() -> None:
    pdfs, _, _ = magnitudes(0, MATRIX)
    shifted = np.roll(pdfs, (2, -3), axis=(1, 2))
    back = resample(shifted, rigid_in_plane(0.0, (2.0, -3.0), (32, 32)))
    np.testing.assert_allclose(back[:, 4:-4, 4:-4], pdfs[:, 4:-4, 4:-4], atol=1e-6 * pdfs.max())
    assert back.min() >= 0


def test_scans_too_far_apart_are_refused() -> None:
    pdfs, pd, _ = magnitudes(0, MATRIX)
    with pytest.raises(BadInput, match="ran to its limit of 5 % of the field of view; check that"):
        register_in_plane(pdfs, np.roll(pd, 5, axis=1))
    turned = ndimage.rotate(pd[:1], 8, axes=(1, 2), reshape=False)
    with pytest.raises(BadInput, match=r"ran to its limit of 5\.4 degrees of turn"):
        register_in_plane(pdfs[:1], np.maximum(turned, 0))


# ---- one pair -------------------------------------------------------------------------------------


def test_the_pair_is_written_as_the_next_step_wants_it(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = align(raw, tmp_path, monkeypatch, "--matrix", str(MATRIX))
    scan = fastmri.open_scan(raw / "singlecoil_train" / f"{subject}.h5")
    with h5py.File(tmp_path / f"{subject}.h5") as file:
        # The target is the complex crop itself: nothing is resampled.
        assert np.array_equal(file["target"][()], fastmri.read_images(scan, 0, SLICES))
        assert file["auxiliary"].shape == file["target"].shape == (SLICES, MATRIX, MATRIX)
        assert file["auxiliary"].dtype == np.float32
        assert file["target"].chunks is None
        assert file["auxiliary"][()].min() >= 0
    record = read_record(tmp_path, "fastmri", subject)
    assert (record.status, record.source, record.split_hint) == ("ok", "embedded", "train")
    assert (record.group, record.slices, record.site) == ("embedded-knee-00000", SLICES, "")
    assert (record.auxiliary_group, record.remark) == ("embedded-knee-00000", "")
    assert (record.target_slices, record.auxiliary_slices) == (SLICES, SLICES)
    assert record.target_file == f"{subject}.h5"
    assert record.target_sha256 != record.auxiliary_sha256
    assert record.score_after is not None
    assert record.score_before is not None
    assert record.score_after > record.score_before
    transform = np.array(json.loads((tmp_path / f"{subject}.json").read_text())["transform"])
    truth = json.loads((raw / "truth" / "singlecoil_train" / f"{subject}.truth.json").read_text())
    assert displacement(transform, np.array(truth["transform"]), MATRIX) < 0.3
    with Image.open(tmp_path / f"{subject}.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 200


def test_the_same_pair_gives_the_same_bytes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        align(raw, tmp_path / name, monkeypatch, "--matrix", str(MATRIX), "--slices", "1")
    files = sorted((tmp_path / "one").iterdir())
    assert {path.suffix for path in files} == {".h5", ".json", ".png"}
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_registration_can_be_switched_off(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = align(raw, tmp_path, monkeypatch, "--matrix", str(MATRIX), *UNREGISTERED)
    record = json.loads((tmp_path / f"{subject}.json").read_text())
    assert record["transform"] is None
    assert record["score_after"] == record["score_before"]
    pd = fastmri.open_scan(raw / "singlecoil_train" / record["auxiliary_file"])
    with h5py.File(tmp_path / f"{subject}.h5") as file:
        assert np.array_equal(file["auxiliary"][()], np.abs(fastmri.read_images(pd, 0, SLICES)))


def test_fewer_slices_and_a_smaller_crop_are_central(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = align(raw, tmp_path, monkeypatch, "--matrix", "48", "--slices", "1", *UNREGISTERED)
    scan = fastmri.open_scan(raw / "singlecoil_train" / f"{subject}.h5")
    with h5py.File(tmp_path / f"{subject}.h5") as file:
        assert np.array_equal(file["target"][()], fastmri.read_images(scan, 1, 2)[:, 8:-8, 8:-8])


def test_an_unusable_pair_stops_or_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd, pdfs = (tmp_path / "singlecoil_train" / f"{stem}.h5" for stem in pair_files(0))
    write_published(pd, fastmri.PD)
    write_published(pdfs, fastmri.PD)
    options = ("--matrix", "12", "--bad-scans")
    with pytest.raises(BadInput, match="acquisition is CORPD_FBK"):
        align(tmp_path, tmp_path / "stopped", monkeypatch, *options, "stop")
    assert not (tmp_path / "stopped").exists()
    subject = align(tmp_path, tmp_path / "excluded", monkeypatch, *options, "exclude")
    record = read_record(tmp_path / "excluded", "fastmri", subject)
    assert (record.status, record.slices, record.score_after) == ("excluded", 0, None)
    assert "acquisition is CORPD_FBK" in record.reason
    with h5py.File(tmp_path / "excluded" / f"{subject}.h5") as file:
        assert file["target"].shape == file["auxiliary"].shape == (0, 12, 12)
        assert file["target"].dtype == np.complex64
    assert (tmp_path / "excluded" / f"{subject}.png").is_file()


def test_a_pair_that_another_process_locks_is_no_bad_scan(tmp_path: Path) -> None:
    stem = pair_files(0)[1]
    pd, pdfs = small_pair(tmp_path)
    command = [sys.executable, "-m", "data_prep.datasets.align", "--dataset", "fastmri", "--subject", stem]
    command += ["--target", str(pdfs), "--auxiliary", str(pd), "--source", "published", "--matrix", "8"]
    command += ["--split-hint", "train"]
    command += [*UNREGISTERED, "--bad-scans", "exclude", "--output", str(tmp_path / "out")]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | variables
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    with locked(pd):
        done = run()
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {pd}: Resource temporarily unavailable (EAGAIN): ")
        assert "set HDF5_USE_FILE_LOCKING=FALSE" in done.stderr
        # No record that the pair is excluded: the next run tries again.
        assert not (tmp_path / "out").exists()
        # The remedy is one.
        done = run(HDF5_USE_FILE_LOCKING="FALSE")
        assert done.returncode == 0, done.stderr
    assert read_record(tmp_path / "out", "fastmri", stem).usable


def small_pair(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A pair of the published form; PD gets the changes."""
    pd, pdfs = (folder / "singlecoil_train" / f"{stem}.h5" for stem in pair_files(0))
    write_published(pdfs, fastmri.PDFS, slices=5)
    write_published(pd, **{"acquisition": fastmri.PD, **changes})
    return pd, pdfs


def other_matrix(pd: Path, pdfs: Path) -> None:
    with h5py.File(pd, "r+") as file:
        small = file["reconstruction_esc"][:, 1:-1, 1:-1]
        del file["reconstruction_esc"], file["ismrmrd_header"]
        file["reconstruction_esc"] = small
        file["ismrmrd_header"] = HEADER.replace("<x>12</x><y>12</y>", "<x>10</x><y>10</y>")


def poison(pd: Path, pdfs: Path) -> None:
    with h5py.File(pd, "r+") as file:
        file["kspace"][2, 3, 3] = np.nan


def relabel(pd: Path, pdfs: Path) -> None:
    with h5py.File(pd, "r+") as file:
        file.attrs["acquisition"] = fastmri.PDFS


@pytest.mark.parametrize(
    ("spoil", "named", "reason", "slices"),
    [
        (lambda pd, pdfs: pd.unlink(), 0, "the file is missing", (None, None)),
        (lambda pd, pdfs: pd.write_bytes(pd.read_bytes()[:3000]), 0, "it is truncated", (None, None)),
        (relabel, 0, "acquisition is CORPDFS_FBK, but the pair list names it in the first", (5, 4)),
        (other_matrix, 0, r"its reconstructed matrix \(10, 10\) is not that of", (5, 4)),
        (poison, 0, "kspace, slice 2, holds NaN", (5, 4)),
        (lambda pd, pdfs: poison(pdfs, pd), 1, "kspace, slice 2, holds NaN", (5, 4)),
    ],
)
def test_every_fault_of_a_pair_is_its_reason_in_the_manifest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path, Path], None],
    named: int,
    reason: str,
    slices: tuple[int | None, int | None],
) -> None:
    files = small_pair(tmp_path)
    spoil(*files)
    options = ("--matrix", "8", *UNREGISTERED, "--bad-scans", "exclude")
    subject = align(tmp_path, tmp_path / "out", monkeypatch, *options)
    record = read_record(tmp_path / "out", "fastmri", subject)
    assert record.status == "excluded"
    # Where the scans lie is told to who runs it, and not to who reads the manifest.
    assert re.match(rf"{files[named].name}: .*{reason}", record.reason)
    assert str(tmp_path) not in record.reason
    assert (record.target_slices, record.auxiliary_slices) == slices
    write_manifest(tmp_path / "manifest.csv", [record], {})
    assert record.reason in next(csv.DictReader((tmp_path / "manifest.csv").open()))["reason"]


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("which", [0, 1])
def test_noise_in_the_place_of_a_scan_is_no_pair(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int, registered: bool
) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    path = tmp_path / "raw" / "singlecoil_train" / f"{pair_files(0)[which]}.h5"
    with h5py.File(path, "r+") as file:
        real, imaginary = np.random.default_rng(5).normal(0, 1e-5, (2, *file["kspace"].shape))
        file["kspace"][()] = (real + 1j * imaginary).astype(np.complex64)
        stored = np.abs(fastmri.centre_crop(ifft2c(file["kspace"][()]), (MATRIX, MATRIX)))
        file["reconstruction_esc"][()] = stored
    options = ("--matrix", str(MATRIX), *(() if registered else UNREGISTERED), "--bad-scans", "exclude")
    subject = align(tmp_path / "raw", tmp_path / "out", monkeypatch, *options)
    record = read_record(tmp_path / "out", "fastmri", subject)
    assert record.status == "excluded"
    # A search among noise mostly runs to its limit.
    words = (
        r"score 0\.1\d+ bits, where unrelated images have 0\.1\d+ and 0.05 more are needed|ran to its limit"
    )
    assert re.search(words.partition("|ran")[0] if not registered else words, record.reason)


def test_a_usable_pair_keeps_what_is_odd_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pair(tmp_path)
    subject = align(tmp_path, tmp_path / "out", monkeypatch, "--matrix", "8", *UNREGISTERED)
    record = read_record(tmp_path / "out", "fastmri", subject)
    assert (record.status, record.slices, record.target_slices, record.auxiliary_slices) == ("ok", 4, 5, 4)
    # The phantom fills its padding columns, in both files.
    assert record.remark.count("k-space columns outside 2:19, never acquired, are not zero") == 2


def test_a_crop_larger_than_the_image_is_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match=r"a side of 320 is wanted; set .*--matrix, to at most"):
        align(raw, tmp_path, monkeypatch, "--matrix", "320")


def test_a_missing_file_is_a_bad_scan_like_any_other(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match=r"file90000\d\d.h5: the file is missing"):
        align(raw, tmp_path, monkeypatch, "--matrix", "32", index=1)
    subject = align(raw, tmp_path, monkeypatch, "--matrix", "32", "--bad-scans", "exclude", index=1)
    record = read_record(tmp_path, "fastmri", subject)
    assert record.status == "excluded"
    assert "the file is missing" in record.reason


def test_options_and_splits_that_the_dataset_does_not_have_are_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, said in (
        (["--options", '{"registered": true}'], "--options: field registered is unknown"),
        (["--options", '{"register": 1}'], "--options: field register is 1, not true or false"),
        (["--split-hint", "test"], "--split-hint: 'test' is none of fastMRI; give val or train"),
    ):
        with pytest.raises(BadInput, match=said):
            align(raw, tmp_path, monkeypatch, "--matrix", "32", *options)
