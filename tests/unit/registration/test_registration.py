"""Rigid registration, its report, and the alignment of one subject."""

import csv
import json
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from data_prep.datasets.align import excluded, write_aligned
from data_prep.datasets.ixi import align as align_ixi
from data_prep.datasets.ixi import report as registration_report
from data_prep.datasets.ixi.dataset import DATASET
from data_prep.datasets.ixi.embedded import Settings, Subject, simulate, write_subject
from data_prep.datasets.record import Record
from data_prep.errors import BadInput
from data_prep.io.json_files import write_json
from data_prep.phantom.brain_maps import T1_UNIT, T2_UNIT, load_donors
from data_prep.phantom.donors import cache_folder, write_donor
from data_prep.phantom.fields import Grid, rotation, smooth_noise
from data_prep.phantom.toy import toy_donor
from data_prep.registration.rigid import (
    Registration,
    RegistrationFailed,
    coverage,
    head_mask,
    preview,
    register,
    resample,
)
from data_prep.registration.score import mutual_information, point_errors
from data_prep.volumes import Volume, load_volume, save_volume, to_axial


@pytest.fixture(scope="module")
def donors() -> dict[str, dict[str, NDArray]]:
    return {"asym": toy_donor(0), "sym": toy_donor(1)}


@pytest.fixture(scope="module")
def subject(donors: dict[str, dict[str, NDArray]]) -> Subject:
    return simulate(donors, 0, 2022, Settings(64, 12, 5.0, motion_degrees=3, motion_mm=4))


@pytest.fixture(scope="module")
def folder(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ixi")
    write_subject(subject, path)
    return path


def scans(subject: Subject) -> tuple[Volume, Volume]:
    t1 = Volume(subject.t1.astype(np.float32), subject.t1_grid.affine)
    return t1, Volume(subject.t2.astype(np.float32), subject.t2_grid.affine)


def errors(subject: Subject, transform: NDArray[np.float64]) -> NDArray[np.float64]:
    truth, points = (np.array(subject.truth[key]) for key in ("t2_to_t1", "brain_points_t2_mm"))
    return point_errors(transform, truth, points)


# ---- registration -----------------------------------------------------------------------------


def test_registration_finds_the_motion(subject: Subject) -> None:
    t1, t2 = scans(subject)
    found = register(to_axial(t2), t1)
    assert errors(subject, np.eye(4)).mean() > 3
    assert errors(subject, found.transform).mean() < 0.5
    assert found.score_after > found.score_before > 0


def moved(subject: Subject, motion: NDArray[np.float64]) -> tuple[Volume, Volume, NDArray[np.float64]]:
    """The subject's scans with the T2's header changed such that ``motion`` is the true transform.

    Returns:
        T1, T2 and the brain's points in the T2's new millimetres.
    """
    t1, t2 = scans(subject)
    change = np.linalg.inv(motion) @ np.array(subject.truth["t2_to_t1"])
    points = np.array(subject.truth["brain_points_t2_mm"]) @ change[:3, :3].T + change[:3, 3]
    return t1, Volume(t2.data, change @ t2.affine), points


def motion_of(subject: Subject, turn: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """A turn in degrees about the head's centre and a shift in mm."""
    centre = np.array(subject.truth["brain_points_t2_mm"]).mean(0)
    motion = np.eye(4)
    motion[:3, :3] = rotation(np.deg2rad(turn))
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
    return motion


def drawn_motion(subject: Subject, index: int) -> NDArray[np.float64]:
    """Up to 10 degrees and 15 mm in any direction; every fifth subject moves by both at once."""
    draw = np.random.default_rng(index)
    directions = draw.normal(size=(2, 3))
    turn, shift = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    degrees, millimetres = (10, 15) if index % 5 == 0 else draw.uniform(0, (10, 15))
    return motion_of(subject, degrees * turn, millimetres * shift)


def mean_error(subject: Subject, motion: NDArray[np.float64], wide: bool = False) -> float:
    t1, t2, points = moved(subject, motion)
    found = register(to_axial(t2), t1, wide)
    return float(point_errors(found.transform, motion, points).mean())


def test_a_turn_of_10_degrees_and_a_shift_of_15_mm_are_found(subject: Subject) -> None:
    assert mean_error(subject, drawn_motion(subject, 0)) < 0.5


@pytest.mark.long
def test_motions_up_to_10_degrees_and_15_mm_are_found_in_embedded_subjects(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The stated accuracy, on the embedded subjects that the suite itself makes of its donors."""
    folder = tmp_path_factory.mktemp("donors")
    for name in ("brain_asym", "brain_sym"):
        write_donor(name, folder, cache_folder())
    real = load_donors(folder)
    found, seconds = [], []
    for index in range(30):
        embedded = simulate(real, index, 2022, Settings(64, 36, 3.0))
        start = time.process_time()
        found.append(mean_error(embedded, drawn_motion(embedded, index)))
        seconds.append(time.process_time() - start)
    print(
        f"median {np.median(found):.3f} mm, worst {max(found):.3f} mm, {np.mean(seconds):.1f} s per subject"
    )
    assert np.median(found) < 0.3
    assert max(found) < 1.0


def record_of(subject: str) -> Record:
    """A subject's record before the scans are read."""
    return Record(
        subject=subject,
        dataset="ixi",
        source="embedded",
        status="ok",
        reason="",
        site="HH",
        group=subject[:6],
        slices=0,
        target_file="t2",
        auxiliary_file="t1",
        target_sha256="",
        auxiliary_sha256="",
        score_before=None,
        score_after=None,
        split_hint="",
    )


RECORD = record_of("IXI900-HH-0001")


@pytest.mark.long
def test_what_no_first_start_is_near_is_found_by_the_second_search(
    subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    motion = motion_of(subject, np.array([0.0, 22.0, 0.0]), np.array([30.0, 0.0, 0.0]))
    t1, t2, points = moved(subject, motion)
    found = align_ixi.register_checked(t1, to_axial(t2), RECORD)
    assert "registering again from further starts (turned by" in capsys.readouterr().out
    assert point_errors(found.transform, motion, points).mean() < 0.5


GOOD = np.eye(4)
WRONG = np.diag([-1.0, -1.0, 1.0, 1.0])
FAR = np.eye(4)
FAR[2, 3] = 21.0  # mm: a head may have moved so, but rarely does


@pytest.mark.parametrize(
    ("results", "chosen", "message"),
    [
        # (transform, score before, score after) of the first and of the second search; None: no overlap.
        ([(GOOD, 0.2, 0.5)], 0, ""),
        ([(WRONG, 0.2, 0.5), (GOOD, 0.2, 0.6)], 1, ""),
        ([(GOOD, 0.5, 0.4), (GOOD, 0.5, 0.6)], 1, ""),
        ([(FAR, 0.2, 0.6), (GOOD, 0.2, 0.5)], 0, ""),
        ([(FAR, 0.2, 0.5), (GOOD, 0.2, 0.6)], 1, ""),
        ([None, (GOOD, 0.2, 0.6)], 1, ""),
        ([(GOOD, 0.5, 0.4), (WRONG, 0.5, 0.6)], None, "t1: registration onto t2 turned it by 180 degrees"),
        ([None, None], None, "t1: does not overlap with t2 from any start"),
        # 0.2 bits above the 0.05 of chance.
        ([(GOOD, 0.2, 0.24), (GOOD, 0.2, 0.26)], 1, ""),
        ([(GOOD, 0.01, 0.02), (GOOD, 0.01, 0.24)], None, "t1: registration onto t2 scores 0.240 bits, where"),
    ],
)
def test_a_failed_result_is_tried_once_more_before_the_subject_is_given_up(
    subject: Subject,
    monkeypatch: pytest.MonkeyPatch,
    results: list[tuple[NDArray[np.float64], float, float] | None],
    chosen: int | None,
    message: str,
) -> None:
    asked: list[bool] = []

    def pretended(fixed: Volume, moving: Volume, wide: bool) -> Registration:
        asked.append(wide)
        result = results[len(asked) - 1]
        if result is None:
            raise RegistrationFailed
        return Registration(*result, chance=0.05)

    monkeypatch.setattr(align_ixi, "register", pretended)
    t1, t2 = scans(subject)
    if chosen is None:
        with pytest.raises(BadInput, match=message):
            align_ixi.register_checked(t1, to_axial(t2), RECORD)
    else:
        assert align_ixi.register_checked(t1, to_axial(t2), RECORD).score_after == results[chosen][2]
    assert asked == [False, True][: len(results)]


def noise(volume: Volume) -> Volume:
    """Noise of a scanner in the place of a scan."""
    parts = np.random.default_rng(0).normal(0, 100, (2, *volume.data.shape))
    return Volume(np.hypot(*parts).astype(np.float32), volume.affine)


def test_noise_in_the_place_of_a_scan_is_no_pair(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    t1, t2 = scans(subject)
    # Of a size that the T1 covers: noise fills all of its field of view.
    t2 = noise(align_ixi.central(to_axial(t2), (36, 36, 8)))
    found = register(t2, t1)
    # Neither moved, nor lowered.
    still = Registration(np.eye(4), found.score_before, found.score_before, found.chance)
    monkeypatch.setattr(align_ixi, "register", lambda *_: still)
    with pytest.raises(BadInput, match=r"scores 0\.\d+ bits, where .* 0.2 more are needed; check that both"):
        align_ixi.register_checked(t1, t2, RECORD)


def test_scans_that_lie_apart_fail_and_are_no_crash(subject: Subject) -> None:
    t1, t2 = scans(subject)
    far = t1.affine.copy()
    far[:3, 3] += 2000
    apart = Volume(t1.data, far)
    # Only the start with the heads' centres laid on each other overlaps.
    found = register(to_axial(t2), apart)
    assert found.score_after > found.score_before
    with pytest.raises(BadInput, match=r"moved it by \d{4} mm; check that both show the same head"):
        align_ixi.check_transform(apart, to_axial(t2), found.transform, RECORD)


def test_a_scan_that_lies_beyond_the_head_from_every_start_is_another_head(subject: Subject) -> None:
    _, t2 = scans(subject)
    # Of two millimetres: laid on the head's centre it falls between the samples.
    speck = Volume(np.random.default_rng(0).random((4, 4, 4)).astype(np.float32), np.diag([0.5] * 3 + [1]))
    with pytest.raises(BadInput, match="t1: does not overlap with t2 from any start of the registration"):
        align_ixi.register_checked(speck, to_axial(t2), RECORD)


@pytest.mark.parametrize("steps", [1, 50])
def test_a_scan_that_is_as_good_as_flat_is_named(subject: Subject, steps: int) -> None:
    """Smoothed, the one voxel that differs is gone, or leaves less than single precision can divide."""
    t1, t2 = scans(subject)
    values = np.full((48, 48, 24), 1e6, np.float32)
    values[24, 24, 12] += steps
    flat = Volume(values, np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(BadInput, match=f"^{RECORD.auxiliary_file}: nothing stands out in it"):
        align_ixi.register_checked(flat, to_axial(t2), RECORD)
    with pytest.raises(BadInput, match=f"^{RECORD.target_file}: nothing stands out in it"):
        align_ixi.register_checked(t1, to_axial(flat), RECORD)


ITK = "Exception thrown in SimpleITK ImageRegistrationMethod_Execute: itkImportImageContainer.hxx:179:\n"


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (ITK + "Failed to allocate memory for image.", MemoryError),
        ("Exception thrown in SimpleITK new_VectorDouble: std::bad_alloc", MemoryError),
        (ITK + "ITK ERROR: Process management structure could not be allocated", RuntimeError),
    ],
)
@pytest.mark.parametrize("place", ["Execute", "BinShrink"])
def test_what_says_nothing_about_the_scans_is_no_verdict_about_them(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, said: str, raised: type[Exception], place: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(sitk.ImageRegistrationMethod if place == "Execute" else sitk, place, fail)
    t1, t2 = scans(subject)
    with pytest.raises(raised):
        align_ixi.register_checked(t1, to_axial(t2), RECORD)


def test_registration_does_not_depend_on_the_number_of_threads(subject: Subject) -> None:
    t1, t2 = scans(subject)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for count in (1, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            found = register(to_axial(t2), t1)
            results.append((found.transform.tobytes(), found.score_before, found.score_after))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert results[0] == results[1]


def test_point_errors_are_distances() -> None:
    truth = np.eye(4)
    estimate = np.eye(4)
    estimate[:3, 3] = (3, 4, 0)
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(point_errors(estimate, truth, points), 5)
    estimate[:3, :3], estimate[:3, 3] = rotation([0, 0, np.pi / 2]), 0
    np.testing.assert_allclose(point_errors(estimate, truth, np.array([[10.0, 0, 7]])), 10 * np.sqrt(2))


def test_mutual_information_of_known_tables() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 200_000).astype(np.float32)
    b = rng.integers(0, 4, 200_000).astype(np.float32)
    assert mutual_information(a, a, bins=4) == pytest.approx(2, abs=1e-3)
    assert mutual_information(a, 7 - 2 * a, bins=4) == pytest.approx(2, abs=1e-3)
    assert mutual_information(a, b, bins=4) == pytest.approx(0, abs=1e-3)
    # One of two bits shared.
    assert mutual_information(a, a // 2, bins=4) == pytest.approx(1, abs=1e-3)


# ---- resampling -------------------------------------------------------------------------------


def made_up(spacing: tuple[float, float, float], tilt: tuple[float, float, float]) -> Volume:
    """Made-up tissue, the same function of head millimetres on every grid."""
    shape = tuple(int(90 / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = rotation(np.deg2rad(tilt)) * spacing
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return Volume(tissue(index @ affine[:3, :3].T + affine[:3, 3]), affine)


def tissue(points: NDArray[np.float64]) -> NDArray[np.float32]:
    x, y, z = np.moveaxis(points, -1, 0)
    return np.asarray(100 + 20 * np.sin(x / 7) + 15 * np.cos(y / 8) + 10 * np.sin(z / 6 + x / 9), np.float32)


def test_resampling_follows_the_transform_through_physical_space() -> None:
    moving, grid = made_up((1.2, 1.0, 1.1), (0, 20, 0)), made_up((1.3, 1.4, 1.5), (10, 0, -5))
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation(np.deg2rad((3, -4, 8))), (2, -3, 4)
    index = np.stack(np.meshgrid(*map(np.arange, grid.data.shape), indexing="ij"), axis=-1)
    place = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    expected = tissue(place @ transform[:3, :3].T + transform[:3, 3])
    middle = tuple(slice(n // 4, -n // 4) for n in grid.data.shape)
    np.testing.assert_allclose(resample(moving, grid, transform)[middle], expected[middle], atol=0.2)
    np.testing.assert_allclose(preview(moving, grid, transform)[middle], expected[middle], atol=1.0)


def test_large_voxels_are_averages() -> None:
    noise = smooth_noise(np.random.default_rng(0), Grid((59, 59, 59), (1, 1, 1)), 0.8)
    moving = Volume(100 + 10 * noise, np.eye(4))
    affine = np.diag([3.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = (1, 1.5, 2)  # centres of blocks of 3 x 4 x 5
    grid = Volume(np.zeros((20, 15, 12), np.float32), affine)
    blocks = moving.data.reshape(20, 3, 15, 4, 12, 5).mean((1, 3, 5))
    inner = np.s_[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(resample(moving, grid, np.eye(4))[inner], blocks[inner], rtol=2e-3)


def test_coverage_is_the_moving_field_of_view() -> None:
    moving = Volume(np.ones((10, 10, 10), np.float32), np.eye(4))
    grid = Volume(np.ones((30, 1, 1), np.float32), np.eye(4))
    shift = np.eye(4)
    shift[0, 3] = -5
    np.testing.assert_array_equal(np.flatnonzero(coverage(moving, grid, shift)), np.arange(5, 15))


def test_head_mask_holds_the_head_and_not_the_air(subject: Subject) -> None:
    for volume, white_matter in zip(scans(subject), (T1_UNIT, T2_UNIT), strict=True):
        mask = head_mask(volume)
        bright = volume.data > 0.5 * white_matter
        assert 0.1 < mask.mean() < 0.7
        assert (mask & bright).sum() > 0.98 * bright.sum()


# ---- one subject ------------------------------------------------------------------------------


def align(folder: Path, name: str, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    scan = {m: folder / f"IXI-{m}" / f"{name}-{m}.nii.gz" for m in ("T1", "T2")}
    command = [sys.executable, "-m", "data_prep.datasets.align", "--dataset", "ixi"]
    command += [
        "--auxiliary",
        scan["T1"],
        "--target",
        scan["T2"],
        "--subject",
        name,
        "--source",
        "embedded",
        "--output",
        output,
        *options,
    ]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture(scope="module")
def aligned(subject: Subject, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("aligned")
    done = align(folder, subject.name, output, "--matrix", "56", "--slices", "8")
    assert done.returncode == 0, done.stderr
    return output


def test_the_target_is_the_scan_itself_cropped_about_its_centre(aligned: Path, subject: Subject) -> None:
    with h5py.File(aligned / f"{subject.name}.h5") as file:
        assert set(file) == {"target", "auxiliary"}
        assert file["target"].shape == file["auxiliary"].shape == (8, 56, 56)
        assert file["target"].dtype == file["auxiliary"].dtype == np.float32
        assert (file["target"].chunks, file["target"].compression) == (None, None)
        target = file["target"][()]
    # Stored left, anterior, superior; shown anterior at the top: the second axis is flipped.
    expected = subject.t2[:, ::-1, :].transpose(2, 1, 0)[2:10, 4:60, 4:60]
    np.testing.assert_array_equal(target, expected)


def test_the_auxiliary_lies_on_the_target(aligned: Path, subject: Subject) -> None:
    t1, t2 = scans(subject)
    grid = align_ixi.central(to_axial(t2), (56, 56, 8))
    ideal = resample(t1, grid, np.array(subject.truth["t2_to_t1"])).T
    header = resample(t1, grid, np.eye(4)).T
    with h5py.File(aligned / f"{subject.name}.h5") as file:
        auxiliary = file["auxiliary"][()]
    wrong = [float(np.abs(image - ideal).mean()) for image in (auxiliary, header)]
    assert wrong[0] < 0.15 * wrong[1]


def test_the_record_says_what_was_done(aligned: Path, subject: Subject, folder: Path) -> None:
    text = (aligned / f"{subject.name}.json").read_text()
    record = json.loads(text)
    assert text == json.dumps(record, indent=1, sort_keys=True) + "\n"
    name = subject.name
    expected = {
        "subject": name,
        "dataset": "ixi",
        "source": "embedded",
        "status": "ok",
        "reason": "",
        "site": name.split("-")[1],
        "group": "IXI900",
        "slices": 8,
        "target_file": f"{name}-T2.nii.gz",
        "auxiliary_file": f"{name}-T1.nii.gz",
        "split_hint": "",
    }
    assert {key: record[key] for key in expected} == expected
    assert {len(record[f"{role}_sha256"]) for role in ("target", "auxiliary")} == {64}
    assert record["target_sha256"] != record["auxiliary_sha256"]
    assert record["score_after"] > record["score_before"]
    assert errors(subject, np.array(record["transform"])).mean() < 0.5
    assert (aligned / f"{name}.png").stat().st_size > 10_000


def test_alignment_is_the_same_to_the_byte_every_time(
    aligned: Path, subject: Subject, folder: Path, tmp_path: Path
) -> None:
    assert align(folder, subject.name, tmp_path, "--matrix", "56", "--slices", "8").returncode == 0
    for suffix in ("h5", "json", "png"):
        name = f"{subject.name}.{suffix}"
        assert (tmp_path / name).read_bytes() == (aligned / name).read_bytes()


def test_small_scans_are_padded_about_their_centre() -> None:
    volume = Volume(np.arange(6 * 5 * 7, dtype=np.float32).reshape(6, 5, 7), np.diag([2.0, 2, 3, 1]))
    padded = align_ixi.central(volume, (10, 3, 4))
    assert padded.data.shape == (10, 3, 4)
    np.testing.assert_array_equal(padded.data[2:8], volume.data[:, 1:4, 1:5])
    assert padded.data[[0, 1, 8, 9]].max() == 0
    # Voxel (2, 0, 0) of the result is voxel (0, 1, 1) of the scan.
    np.testing.assert_allclose(padded.affine @ [2, 0, 0, 1], volume.affine @ [0, 1, 1, 1])


def test_a_bad_scan_stops_or_is_excluded(subject: Subject, folder: Path, tmp_path: Path) -> None:
    options = ("--matrix", "64", "--slices", "13")
    stopped = align(folder, subject.name, tmp_path / "stop", *options)
    assert stopped.returncode == 1
    sentence = f"{subject.name}-T2.nii.gz: 12 axial slices, but 13 are wanted"
    assert stopped.stderr.startswith(f"error: {sentence}")
    assert not (tmp_path / "stop").exists()
    done = align(folder, subject.name, tmp_path / "exclude", *options, "--bad-scans", "exclude")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "exclude" / f"{subject.name}.json").read_text())
    assert (record["status"], record["slices"], record["transform"]) == ("excluded", 0, None)
    assert record["reason"].startswith(sentence)
    with h5py.File(tmp_path / "exclude" / f"{subject.name}.h5") as file:
        assert file["target"].shape == file["auxiliary"].shape == (0, 64, 64)
    assert (tmp_path / "exclude" / f"{subject.name}.png").is_file()


def test_a_missing_scan_is_excluded_with_its_reason(tmp_path: Path) -> None:
    options = ("--matrix", "64", "--slices", "8", "--bad-scans", "exclude")
    assert align(tmp_path, "IXI901-HH-0001", tmp_path, *options).returncode == 0
    record = json.loads((tmp_path / "IXI901-HH-0001.json").read_text())
    assert "no such file" in record["reason"]


def test_a_scan_that_is_there_twice_is_excluded_with_its_reason(tmp_path: Path) -> None:
    for suffix in ("nii", "nii.gz"):
        path = tmp_path / "IXI-T1" / f"IXI901-HH-0001-T1.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    options = ("--matrix", "64", "--slices", "8", "--bad-scans", "exclude")
    assert align(tmp_path, "IXI901-HH-0001", tmp_path, *options).returncode == 0
    record = json.loads((tmp_path / "IXI901-HH-0001.json").read_text())
    assert record["status"] == "excluded"
    assert "IXI901-HH-0001-T1.nii is the same scan; keep one of the two" in record["reason"]


def test_a_t1_that_does_not_cover_the_head_is_refused(subject: Subject) -> None:
    t1, t2 = scans(subject)
    half = Volume(t1.data[: t1.data.shape[0] // 2], t1.affine)
    with pytest.raises(BadInput, match=r"t1: covers \d+ % of the head in t2"):
        align_ixi.check_transform(half, to_axial(t2), np.eye(4), RECORD)
    align_ixi.check_transform(t1, to_axial(t2), np.eye(4), RECORD)


@pytest.mark.parametrize(("turn", "shift"), [(40.0, 0.0), (0.0, 60.0)])
def test_a_motion_that_no_head_makes_is_refused(subject: Subject, turn: float, shift: float) -> None:
    t1, t2 = scans(subject)
    transform = np.eye(4)
    transform[:3, :3], transform[2, 3] = rotation(np.deg2rad((0, turn, 0))), shift
    with pytest.raises(BadInput, match="same head"):
        align_ixi.check_transform(t1, to_axial(t2), transform, RECORD)


def test_a_sagittally_stored_target_gives_the_same_axial_slices(
    subject: Subject, folder: Path, tmp_path: Path, aligned: Path
) -> None:
    source = nibabel.load(folder / "IXI-T2" / f"{subject.name}-T2.nii.gz")
    turned = nibabel.as_closest_canonical(source)
    change = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(turned.affine), nibabel.orientations.axcodes2ornt("PSR")
    )
    stored = turned.as_reoriented(change)
    (tmp_path / "IXI-T1").symlink_to(folder / "IXI-T1")
    path = tmp_path / "IXI-T2" / f"{subject.name}-T2.nii.gz"
    save_volume(path, np.asarray(stored.dataobj), stored.affine)
    assert load_volume(path).data.shape == (64, 12, 64)
    done = align(tmp_path, subject.name, tmp_path / "out", "--matrix", "56", "--slices", "8")
    assert done.returncode == 0, done.stderr
    name = f"{subject.name}.h5"
    with h5py.File(tmp_path / "out" / name) as a, h5py.File(aligned / name) as b:
        np.testing.assert_array_equal(a["target"][()], b["target"][()])


def stored_as(path: Path, codes: str, dtype: str, frames: int) -> None:
    """Store a scan anew: another axis order, another type with slope and intercept, a fourth axis."""
    image = nibabel.load(path)
    change = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(change)
    data = np.asarray(turned.dataobj).reshape(*turned.shape, *[1] * frames)
    changed = nibabel.Nifti1Image(((data + 8) * 4).astype(dtype), turned.affine)
    changed.set_data_dtype(dtype)
    changed.header.set_slope_inter(0.25, -8)
    content = bytearray(changed.to_bytes())
    # nibabel rescales on writing; the voxels are already what the slope means.
    struct.pack_into("<ff", content, 112, 0.25, -8)
    path.unlink()
    path.with_suffix("").write_bytes(content)


def test_a_subject_is_aligned_alike_in_whatever_form_its_scans_are_stored(
    subject: Subject, folder: Path, tmp_path: Path, aligned: Path
) -> None:
    name = subject.name
    paths = {}
    for modality, codes, dtype, frames in (("T1", "SRA", "float32", 1), ("T2", "PSR", "int32", 0)):
        source = folder / f"IXI-{modality}" / f"{name}-{modality}.nii.gz"
        paths[modality] = tmp_path / f"IXI-{modality}" / source.name
        paths[modality].parent.mkdir()
        paths[modality].write_bytes(source.read_bytes())
        stored_as(paths[modality], codes, dtype, frames)
    t1, t2 = (load_volume(path.with_suffix("")) for path in paths.values())
    result = align_ixi.align_subject(t1, t2, 56, 8, RECORD)
    with h5py.File(aligned / f"{name}.h5") as file:
        np.testing.assert_array_equal(result.target, file["target"][()])
        auxiliary = file["auxiliary"][()]
    # The search's sums are in another order; the positions agree to a hundredth of a voxel.
    transform = np.array(json.loads((aligned / f"{name}.json").read_text())["transform"])
    points = np.array(subject.truth["brain_points_t2_mm"])
    assert point_errors(np.array(result.record.transform), transform, points).max() < 0.04
    np.testing.assert_allclose(result.auxiliary, auxiliary, atol=0.01 * auxiliary.max())


def test_scans_in_an_oblique_frame_are_registered_as_well(subject: Subject) -> None:
    frame = motion_of(subject, np.array([15.0, -10.0, 5.0]), np.array([12.0, -20.0, 30.0]))
    t1, t2 = scans(subject)
    found = register(to_axial(Volume(t2.data, frame @ t2.affine)), Volume(t1.data, frame @ t1.affine))
    # Back in the straight frame, where the truth is.
    assert errors(subject, np.linalg.inv(frame) @ found.transform @ frame).mean() < 0.5


# ---- report -----------------------------------------------------------------------------------


def report(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data_prep.datasets.ixi.report", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True)


def test_report_lists_scores_and_errors(
    aligned: Path, subject: Subject, folder: Path, tmp_path: Path
) -> None:
    write_aligned(excluded(record_of("IXI999-HH-0001"), "t2: broken", DATASET, 64), aligned)
    # Of an earlier configuration, and of a process that was killed: neither is asked for.
    shutil.copy(aligned / f"{subject.name}.json", aligned / "IXI998-HH-0001.json")
    (aligned / ".IXI997-HH-0001.abc.partial").mkdir()
    (aligned / ".IXI997-HH-0001.abc.partial" / "partial.json").write_text("{")
    subjects = json.dumps(["IXI999-HH-0001", subject.name])
    options = ("--aligned", aligned, "--subjects", subjects, "--truth", folder / "truth")
    done = report(*options, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "registration.csv").open() as file:
        rows = list(csv.DictReader(file))
    record = json.loads((aligned / f"{subject.name}.json").read_text())
    assert [row["subject"] for row in rows] == [subject.name, "IXI999-HH-0001"]
    assert float(rows[0]["score_after"]) == record["score_after"]
    after = errors(subject, np.array(record["transform"]))
    assert float(rows[0]["error_before_mm"]) == pytest.approx(errors(subject, np.eye(4)).mean(), abs=1e-3)
    assert float(rows[0]["error_after_mm"]) == pytest.approx(after.mean(), abs=1e-3)
    assert float(rows[0]["worst_after_mm"]) == pytest.approx(after.max(), abs=1e-3)
    assert (rows[1]["status"], rows[1]["error_after_mm"]) == ("excluded", "")
    assert (tmp_path / "registration.png").stat().st_size > 10_000
    assert (tmp_path / "registration_worst.png").stat().st_size > 10_000


def test_an_outlier_is_told_first_everywhere(aligned: Path, subject: Subject, tmp_path: Path) -> None:
    stored = json.loads((aligned / f"{subject.name}.json").read_text())
    for number, score in enumerate((0.9, 0.88, 4.9, 0.91, 0.86)):
        name = f"IXI{number:03d}-HH-0001"
        write_json(tmp_path / f"{name}.json", stored | {"subject": name, "score_after": score})
        overlay(tmp_path / f"{name}.png", 40 * number + 20)
    subjects = json.dumps([f"IXI{number:03d}-HH-0001" for number in range(5)])
    done = report("--aligned", tmp_path, "--subjects", subjects, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    remark = "score 4.900 is an outlier, the dataset's median is 0.900: look at its picture"
    assert done.stdout == f"IXI002-HH-0001: {remark}\n"
    with (tmp_path / "out" / "registration.csv").open() as file:
        assert [row["remark"] for row in csv.DictReader(file)] == ["", "", remark, "", ""]
    with Image.open(tmp_path / "out" / "registration_worst.png") as picture:
        column = np.asarray(picture.convert("L"))[:, picture.width // 4].tolist()
    greys = [40 * number + 20 for number in range(5)]
    # Then the lowest, on the right, and so on in pairs.
    assert [grey for grey in dict.fromkeys(column) if grey in greys] == [greys[2], greys[1], greys[3]]


def test_report_without_truth_lists_scores_only(aligned: Path, subject: Subject, tmp_path: Path) -> None:
    subjects = json.dumps([subject.name])
    assert report("--aligned", aligned, "--subjects", subjects, "--output", tmp_path).returncode == 0
    with (tmp_path / "registration.csv").open() as file:
        assert {row["error_after_mm"] for row in csv.DictReader(file)} == {""}


def overlay(path: Path, grey: int, height: int = 30) -> None:
    Image.new("RGB", (60, height), (grey, grey, grey)).save(path)


def test_the_lowest_scores_are_shown_and_in_their_order(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).permutation(np.linspace(0.2, 0.9, 577))
    rows = [
        registration_report.Row(f"IXI{i:03d}-HH-0001", "ok", 0.1, float(value))
        for i, value in enumerate(scores)
    ]
    rows.append(registration_report.Row("IXI999-HH-0001", "excluded", None, None))
    lowest = np.argsort(scores)[:10]
    # Only those are looked for; each has a grey of its own.
    for rank, i in enumerate(lowest):
        overlay(tmp_path / f"IXI{i:03d}-HH-0001.png", 20 * rank + 10, height=30 + rank)
    registration_report.draw_worst(rows, tmp_path, tmp_path / "worst.png")
    with Image.open(tmp_path / "worst.png") as picture:
        drawn = np.asarray(picture.convert("L"))
    middles = [drawn[:, drawn.shape[1] * part // 4] for part in (1, 3)]
    for column, values in enumerate(middles):
        greys = [20 * rank + 10 for rank in range(column, 10, 2)]
        assert [grey for grey in dict.fromkeys(values.tolist()) if grey in greys] == greys
    registration_report.draw_figure(rows, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width < 4000
    (tmp_path / f"IXI{lowest[0]:03d}-HH-0001.png").write_text("no picture")
    with pytest.raises(BadInput, match=r"no picture .*; run the step `align`"):
        registration_report.draw_worst(rows, tmp_path, tmp_path / "worst.png")


def test_report_names_what_is_missing(aligned: Path, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"{subject.name}\.json: no such file; run the step `align`"):
        registration_report.read_rows(tmp_path, [subject.name], None)
    with pytest.raises(BadInput, match=r"truth\.json: no such file"):
        registration_report.read_rows(aligned, [subject.name], tmp_path)
