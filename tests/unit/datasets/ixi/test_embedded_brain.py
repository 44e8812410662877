"""Embedded brains: fields, tissues, signal, scanner, and the files of a subject."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from data_prep.datasets.ixi.embedded import Settings, Subject, simulate, write_subject
from data_prep.datasets.ixi.names import embedded_subject_id, find_scans
from data_prep.errors import BadInput
from data_prep.phantom import brain as anatomy
from data_prep.phantom import brain_scanner as scanner
from data_prep.phantom.brain_maps import donor_maps, load_donors, shock_filter, tissue_fractions
from data_prep.phantom.fields import Grid, flow, resize, rotation, smooth_noise
from data_prep.phantom.toy import toy_donor
from data_prep.registration.rigid import head_mask, score
from data_prep.volumes import Volume, load_volume

SMALL = Settings(matrix=64, slices=12, slice_spacing=5.0)
BOX = (120.0, 96.0, 84.0)


@pytest.fixture(scope="module")
def donors() -> dict[str, dict[str, NDArray]]:
    return {"asym": toy_donor(0), "sym": toy_donor(1)}


@pytest.fixture(scope="module")
def subject(donors: dict[str, dict[str, NDArray]]) -> Subject:
    return simulate(donors, 3, 2022, SMALL)


def volumes(subject: Subject) -> tuple[Volume, Volume]:
    t1 = Volume(subject.t1.astype(np.float32), subject.t1_grid.affine)
    return t1, Volume(subject.t2.astype(np.float32), subject.t2_grid.affine)


# ---- random fields ----------------------------------------------------------------------------


def test_a_field_is_the_same_on_every_grid() -> None:
    fine, coarse = Grid(BOX, (1.5, 1.5, 1.5)), Grid(BOX, (3, 3, 3))
    a = smooth_noise(np.random.default_rng(1), fine, 8.0)
    b = smooth_noise(np.random.default_rng(1), coarse, 8.0)
    np.testing.assert_allclose(a[::2, ::2, ::2], b, atol=1e-6)
    assert np.abs(a - smooth_noise(np.random.default_rng(2), fine, 8.0)).max() > 1


def test_noise_has_unit_variance_and_the_asked_correlation_length() -> None:
    grid = Grid(BOX, (1, 1, 1))
    field = smooth_noise(np.random.default_rng(1), grid, 3.0)
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1, abs=0.03)
    # White noise under a Gaussian of sigma s has the correlation exp(-d^2 / 4 s^2).
    near = np.corrcoef(field[3:].ravel(), field[:-3].ravel())[0, 1]
    assert near == pytest.approx(np.exp(-1 / 4), abs=0.05)


def test_resize_keeps_linear_functions() -> None:
    source, target = Grid(BOX, (4, 4, 4)), Grid(BOX, (1.5, 1.5, 1.5))

    def ramp(grid: Grid) -> NDArray[np.float32]:
        x, y, z = (grid.axis(i).astype(np.float32) for i in range(3))
        return np.asarray(x[:, None, None] - 2 * y[:, None] + 0.5 * z)

    np.testing.assert_allclose(resize(ramp(source), source, target), ramp(target), atol=1e-3)


def test_flow_of_a_constant_velocity_is_that_shift() -> None:
    velocity = np.broadcast_to(np.array([2, -1, 0.5], np.float32)[:, None, None, None], (3, 9, 8, 7))
    np.testing.assert_allclose(flow(velocity, spacing=4.0), velocity, atol=1e-5)


def test_deformations_do_not_fold() -> None:
    spacing = anatomy.VELOCITY_SPACING
    grid = Grid(anatomy.TEMPLATE.box, (spacing,) * 3)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        velocity = sum(
            np.float32(amplitude) * np.stack([smooth_noise(rng, grid, sigma) for _ in range(3)])
            for sigma, amplitude in anatomy.DEFORMATION
        )
        displacement = flow(np.asarray(velocity), spacing)
        jacobian = np.stack([np.stack(np.gradient(part, spacing)) for part in displacement])
        jacobian = np.moveaxis(jacobian, (0, 1), (-2, -1)) + np.eye(3)
        assert np.linalg.det(jacobian).min() > 0.05


# ---- tissues and signal -----------------------------------------------------------------------

ANCHORS = np.array([[0.3, 0.75, 0.98], [1.0, 0.55, 0.4]])


def test_tissue_fractions_invert_mixtures() -> None:
    rng = np.random.default_rng(0)
    truth = rng.dirichlet((1, 1, 1), 500).T
    t1, t2 = (ANCHORS @ truth).astype(np.float32)
    np.testing.assert_allclose(tissue_fractions(t1, t2, ANCHORS), truth, atol=1e-4)


def test_intensities_beyond_every_mixture_belong_to_the_nearest_one() -> None:
    t1 = np.array([0.1, 1.3, 0.75], np.float32)
    t2 = np.array([1.6, 0.3, 0.2], np.float32)
    fractions = tissue_fractions(t1, t2, ANCHORS)
    np.testing.assert_allclose(fractions.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(fractions[:, 0], [1, 0, 0], atol=1e-6)  # darker and brighter than CSF
    np.testing.assert_allclose(fractions[:, 1], [0, 0, 1], atol=1e-6)  # brighter and darker than white matter
    assert fractions[anatomy.CSF, 2] == 0


def test_shock_filter_steepens_edges_without_overshoot() -> None:
    x = np.arange(40, dtype=np.float32)
    blurred = np.broadcast_to(1 / (1 + np.exp(-(x - 19.5) / 2)), (12, 12, 40)).astype(np.float32)
    sharp = shock_filter(blurred)
    assert np.diff(sharp[6, 6]).max() > 1.5 * np.diff(blurred[6, 6]).max()
    assert sharp.min() > -0.01
    assert sharp.max() < 1.01


def test_inversion_recovery_nulls_where_theory_says() -> None:
    # Without memory of the last inversion, the null lies at TI = T1 ln 2.
    one, r1 = np.ones(1, np.float32), np.array([1 / 900], np.float32)
    nulled = anatomy.inversion_recovery(one, r1, 900 * np.log(2), 1e9)
    assert nulled[0] == pytest.approx(0.03)
    assert anatomy.inversion_recovery(one, r1, 1e9, 1e9)[0] == pytest.approx(1)


def test_spin_echo_decays_and_saturates() -> None:
    one, slow = np.ones(1, np.float32), np.array([1 / 1000], np.float32)
    fast = np.array([1 / 80], np.float32)
    assert anatomy.spin_echo(one, slow, fast, 1e9, 80)[0] == pytest.approx(np.exp(-1))
    assert anatomy.spin_echo(one, slow, fast, 1000, 0)[0] == pytest.approx(1 - np.exp(-1))


@pytest.mark.parametrize("site", anatomy.PROTOCOLS)
def test_tissue_contrast_is_that_of_t1_and_t2_weighting(site: str) -> None:
    protocol = anatomy.PROTOCOLS[site]
    r1, r2 = (1 / np.array(times, np.float32) for times in (protocol.t1, protocol.t2))
    density = anatomy.PROTON_DENSITY.astype(np.float32)
    t1 = anatomy.inversion_recovery(density, r1, protocol.inversion, protocol.cycle)
    t2 = anatomy.spin_echo(density, r1, r2, protocol.repetition, protocol.echo)
    assert t1[anatomy.WM] > 1.2 * t1[anatomy.GM] > 1.2 * 2 * t1[anatomy.CSF]
    assert t2[anatomy.CSF] > 1.5 * t2[anatomy.GM] > 1.5 * 1.1 * t2[anatomy.WM]


def test_lesions_are_seen_in_t2_only(donors: dict[str, dict[str, NDArray]]) -> None:
    grid = Grid(anatomy.TEMPLATE.box, (2, 2, 2))
    head = anatomy.deform(donors["asym"], grid, np.random.default_rng(0), 0.0)
    lesions = anatomy.draw_lesions(head, np.random.default_rng(1), 6)
    assert len(lesions) == 6
    painted = np.zeros(grid.shape, np.float32)
    for place, values in anatomy.paint_lesions(grid, lesions):
        painted[place] = np.maximum(painted[place], values)
    protocol = anatomy.PROTOCOLS["HH"]
    healthy = anatomy.weighted_images(head, 0 * painted, protocol, np.random.default_rng(2))
    lesioned = anatomy.weighted_images(head, painted, protocol, np.random.default_rng(2))
    inside, outside = painted > 0.5, painted < 1e-4
    np.testing.assert_array_equal(lesioned[0], healthy[0])
    assert np.median(lesioned[1][inside] / healthy[1][inside]) > 1.2
    np.testing.assert_allclose(lesioned[1][outside], healthy[1][outside], rtol=1e-3)


# ---- scanner ----------------------------------------------------------------------------------


def blob(grid: Grid, centre: NDArray[np.float64], sigma: float = 8.0) -> NDArray[np.float32]:
    squares = [(grid.axis(i) + anatomy.TEMPLATE_ORIGIN[i] - centre[i]) ** 2 for i in range(3)]
    distance = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.asarray(np.exp(-distance / (2 * sigma**2)), dtype=np.float32)


@pytest.mark.parametrize("matrix", [64, 90, 256])
def test_a_scan_shows_the_head_where_header_and_motion_say(
    matrix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sensitivity of the coil would shift the centre of mass.
    monkeypatch.setattr(scanner, "_field_over", lambda shape, grid, rng: np.zeros(shape, np.float32))
    model = Grid(anatomy.TEMPLATE.box, (2, 2, 2))
    centre = np.array([11.0, -30.0, 9.0])
    head = blob(model, centre)
    tilt = rotation(np.deg2rad((4, -2, 3)))
    rng = np.random.default_rng(0)
    motion = scanner.head_motion(rng, 4.0, 5.0, np.array([0, -18.0, 10]))
    grids = (
        scanner.sagittal_grid(matrix, np.array([0, -18.0, 8]), tilt),
        scanner.axial_grid(matrix, 22, 4.0, np.array([0, -18.0, 8]), tilt),
    )
    for grid in grids:
        image = scanner.acquire(head, model, grid, motion, 1e6, 0.85, rng)
        weights = np.where(image > 1e-3, image, 0).astype(np.float64)
        index = [
            np.average(np.arange(n), weights=weights.sum(tuple({0, 1, 2} - {i})))
            for i, n in enumerate(grid.shape)
        ]
        seen = scanner.transform_points(motion @ grid.affine, np.array(index))
        np.testing.assert_allclose(seen, centre, atol=0.03)


def test_air_is_rician_noise_of_the_asked_level() -> None:
    model = Grid(anatomy.TEMPLATE.box, (2, 2, 2))
    grid = scanner.axial_grid(64, 8, 4.0, np.zeros(3), np.eye(3))
    nothing = np.zeros(model.shape, np.float32)
    air = scanner.acquire(nothing, model, grid, np.eye(4), 25.0, 0.8, np.random.default_rng(0))
    assert air.mean() == pytest.approx(np.sqrt(np.pi / 2) / 25, rel=0.03)


def test_truncation_removes_detail_beyond_the_acquired_kspace() -> None:
    model = Grid(anatomy.TEMPLATE.box, (2, 2, 2))
    grid = scanner.axial_grid(64, 4, 4.0, np.array([0, -18.0, 8]), np.eye(3))
    # Stripes at nine tenths of the highest frequency that 3.75 mm pixels can hold.
    stripes = 1 + 0.5 * np.cos(np.pi * 0.9 / 3.75 * model.axis(0))
    head = np.broadcast_to(stripes[:, None, None], model.shape).astype(np.float32)

    def seen(acquired: float) -> float:
        image = scanner.acquire(head, model, grid, np.eye(4), 1e6, acquired, np.random.default_rng(0))
        spectrum = np.abs(np.fft.rfft(image[16:48, 24:40] - image[16:48, 24:40].mean(0), axis=0)).mean((1, 2))
        return float(spectrum[13:].max())

    assert seen(0.8) < 0.1 * seen(1.1)


def test_the_slab_lies_on_the_ventricles_and_covers_about_72_mm() -> None:
    assert scanner.default_slice_spacing(130) == scanner.IXI_SLICE_SPACING
    assert scanner.default_slice_spacing(24) == 3.0
    assert scanner.default_slice_spacing(8) == 4.0


def test_full_size_voxels_are_those_of_ixi() -> None:
    t1 = scanner.sagittal_grid(256, np.zeros(3), np.eye(3))
    t2 = scanner.axial_grid(256, 130, 1.25, np.zeros(3), np.eye(3))
    assert t1.shape == (256, 256, 150)
    np.testing.assert_allclose(t1.spacing, [0.9375, 0.9375, 1.2], rtol=1e-6)
    np.testing.assert_allclose(t2.spacing, [0.9375, 0.9375, 1.25], rtol=1e-6)


# ---- subjects ---------------------------------------------------------------------------------


def test_files_have_the_published_form(subject: Subject, tmp_path: Path) -> None:
    write_subject(subject, tmp_path)
    name = embedded_subject_id(3, 2022)
    assert list(find_scans(tmp_path)) == [name] == [subject.name]
    t1 = nibabel.load(tmp_path / "IXI-T1" / f"{name}-T1.nii.gz")
    t2 = nibabel.load(tmp_path / "IXI-T2" / f"{name}-T2.nii.gz")
    lesions = nibabel.load(tmp_path / "truth" / f"{name}.lesions.nii.gz")
    assert nibabel.aff2axcodes(t1.affine) == ("P", "S", "R")
    assert nibabel.aff2axcodes(t2.affine) == ("L", "A", "S")
    assert t2.shape == (64, 64, 12)
    np.testing.assert_allclose(t2.header.get_zooms(), (3.75, 3.75, 5.0), rtol=1e-5)
    assert {image.get_data_dtype() for image in (t1, t2)} == {np.dtype(np.int16)}
    np.testing.assert_array_equal(np.asarray(t1.dataobj), subject.t1)
    # The header's single precision is the geometry that the truth refers to.
    np.testing.assert_array_equal(t2.affine, subject.t2_grid.affine)
    np.testing.assert_array_equal(lesions.affine, t2.affine)
    truth = json.loads((tmp_path / "truth" / f"{name}.truth.json").read_text())
    assert truth == subject.truth
    assert truth["subject"] == name


def test_a_subject_is_the_same_to_the_byte_every_time(
    donors: dict[str, dict[str, NDArray]], subject: Subject, tmp_path: Path
) -> None:
    write_subject(subject, tmp_path / "a")
    write_subject(simulate(donors, 3, 2022, SMALL), tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_index_and_seed_each_make_another_subject(
    donors: dict[str, dict[str, NDArray]], subject: Subject
) -> None:
    for index, seed in ((4, 2022), (3, 2023)):
        other = simulate(donors, index, seed, SMALL)
        assert other.name != subject.name
        assert not np.allclose(other.truth["t2_to_t1"], subject.truth["t2_to_t1"], atol=1e-3)
        brain = np.asarray(subject.t2[20:44, 16:48], float)
        assert np.corrcoef(brain.ravel(), other.t2[20:44, 16:48].ravel())[0, 1] < 0.9


def test_anatomy_does_not_depend_on_the_size_of_the_scan(
    donors: dict[str, dict[str, NDArray]], subject: Subject
) -> None:
    larger = simulate(donors, 3, 2022, replace(SMALL, matrix=96))
    np.testing.assert_array_equal(larger.truth["t2_to_t1"], subject.truth["t2_to_t1"])
    same = [
        np.allclose(a["centre_t1_mm"], b["centre_t1_mm"])
        for a, b in zip(larger.truth["lesions"], subject.truth["lesions"], strict=True)
    ]
    # A candidate place at the edge of white matter may be taken on one grid and not on the other.
    assert sum(same) >= 0.5 * len(same) > 0
    (small, _), (large, _) = volumes(subject), volumes(larger)
    points = np.array(subject.truth["brain_points_t2_mm"])
    seen = []
    for volume in (small, large):
        index = scanner.transform_points(np.linalg.inv(volume.affine), points)
        seen.append(volume.data[tuple(np.round(index).astype(int).T)])
    assert np.corrcoef(*seen)[0, 1] > 0.8


def test_the_scans_agree_by_the_true_transform_and_not_by_the_header(subject: Subject) -> None:
    t1, t2 = volumes(subject)
    mask = head_mask(t2)
    truth = np.array(subject.truth["t2_to_t1"])
    scores = {name: score(t2, t1, mask, m) for name, m in (("header", np.eye(4)), ("truth", truth))}
    assert scores["truth"] > 1.1 * scores["header"]
    assert scores["truth"] > 1.1 * score(t2, t1, mask, np.linalg.inv(truth))


def test_motion_has_the_asked_size() -> None:
    pivot = np.array([0, -18.0, 15])
    motions = [scanner.head_motion(np.random.default_rng(i), 1.2, 1.2, pivot) for i in range(400)]
    shifts = np.stack([scanner.transform_points(m, pivot) - pivot for m in motions])
    turns = np.stack([(m[:3, :3] - m[:3, :3].T)[[2, 0, 1], [1, 2, 0]] / 2 for m in motions])
    np.testing.assert_allclose(shifts.std(0), 1.2, rtol=0.15)
    np.testing.assert_allclose(np.degrees(turns).std(0), 1.2, rtol=0.15)


def test_lesion_labels_agree_with_the_list(subject: Subject) -> None:
    voxel = float(np.prod(subject.t2_grid.spacing))
    assert subject.truth["lesions"]
    for lesion in subject.truth["lesions"]:
        inside = np.argwhere(subject.labels == lesion["label"])
        assert len(inside) == lesion["t2_voxels"]
        if len(inside) >= 4:
            middle = scanner.transform_points(subject.t2_grid.affine, inside).mean(0)
            assert np.linalg.norm(middle - lesion["centre_t2_mm"]) < 3
            assert len(inside) * voxel == pytest.approx(lesion["volume_mm3"], rel=0.8)


def test_lesions_shine_where_their_labels_are(subject: Subject) -> None:
    points = np.array(subject.truth["brain_points_t2_mm"])
    index = scanner.transform_points(np.linalg.inv(subject.t2_grid.affine), points)
    healthy = np.median(subject.t2[tuple(np.round(index).astype(int).T)])
    assert np.median(subject.t2[subject.labels > 0]) > 1.15 * healthy


def test_large_lesions_are_labelled_at_their_volume() -> None:
    lesion = anatomy.Lesion((3.0, -20.0, 10.0), 9.0, (1.0, 1.3, 0.8))
    grid = scanner.axial_grid(128, 30, 2.0, np.array([0, -18.0, 12]), np.eye(3))
    motion = scanner.head_motion(np.random.default_rng(0), 5, 3, np.zeros(3))
    labels = scanner.lesion_labels(grid, motion, [lesion])
    volume = np.count_nonzero(labels == 1) * float(np.prod(grid.spacing))
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3 * 1.3 * 0.8, rel=0.03)
    middle = scanner.transform_points(motion @ grid.affine, np.argwhere(labels)).mean(0)
    np.testing.assert_allclose(middle, lesion.centre, atol=0.2)


def test_brain_points_lie_in_the_t2_brain(subject: Subject) -> None:
    points = np.array(subject.truth["brain_points_t2_mm"])
    assert len(points) == 400
    index = scanner.transform_points(np.linalg.inv(subject.t2_grid.affine), points)
    np.testing.assert_allclose(index, np.round(index), atol=0.02)
    assert (index > -0.1).all()
    assert (index < np.array(subject.t2.shape) - 0.9).all()
    values = subject.t2[tuple(np.round(index).astype(int).T)]
    assert (values > 0.2 * np.median(values)).mean() > 0.95
    assert len(np.unique(np.round(index[:, 2]))) >= 10


@pytest.mark.parametrize(
    ("field", "value"),
    [("matrix", 32), ("matrix", 320), ("slices", 2), ("slice_spacing", 20.0), ("slices", 60)],
)
def test_sizes_that_the_donors_cannot_fill_are_refused(field: str, value: float) -> None:
    with pytest.raises(BadInput, match="choose"):
        replace(SMALL, **{field: value})


def test_donors_that_are_missing_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"brain_asym\.npz: no such file"):
        load_donors(tmp_path)
    np.savez(tmp_path / "brain_asym.npz", brain=np.zeros(3))
    with pytest.raises(BadInput, match=r"brain_asym\.npz: `fractions` is missing; delete it and fetch"):
        load_donors(tmp_path)
    names = ("fractions", "residual", "t1", "t2", "brain")
    np.savez(tmp_path / "brain_asym.npz", **dict.fromkeys(names, np.zeros(3)))
    with pytest.raises(BadInput, match=r"brain_asym\.npz: not a brain donor file"):
        load_donors(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"text",
        lambda data: data[: len(data) // 2],
        lambda data: data[:300] + b"\0" * 300 + data[600:],
        lambda data: data[100:],
    ],
)
def test_damaged_donors_are_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "brain_asym.npz"
    np.savez(path, **dict.fromkeys(("fractions", "residual", "t1", "t2", "brain"), np.arange(1.0, 200.0)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        BadInput, match=r"brain_asym\.npz: it is truncated .*; delete it and fetch the donors"
    ):
        load_donors(tmp_path)


def test_command_line_writes_one_subject(donors: dict[str, dict[str, NDArray]], tmp_path: Path) -> None:
    for name, maps in donors.items():
        np.savez(tmp_path / f"brain_{name}.npz", **maps)
    command = [
        sys.executable,
        "-m",
        "data_prep.datasets.embed",
        "--dataset",
        "ixi",
        "--donors",
        tmp_path,
        "--index",
        "101",
    ]
    command += ["--seed", "1", "--matrix", "64", "--slices", "6", "--output", tmp_path / "ixi"]
    subprocess.run(command, check=True)
    name = embedded_subject_id(101, 1)
    assert name.startswith("IXI1001-")
    assert load_volume(find_scans(tmp_path / "ixi")[name]["T2"]).data.shape == (64, 64, 6)


# ---- donors -----------------------------------------------------------------------------------


@pytest.mark.long
def test_donor_maps_undo_the_mixing_and_the_offset_of_a_template_pair(tmp_path: Path) -> None:
    donor = toy_donor(5)
    rng = np.random.default_rng(0)
    clean = np.tensordot(ANCHORS, donor["fractions"].astype(np.float32), 1) * donor["brain"]
    t1, t2 = (
        1000
        * np.clip(
            image + skin * (1 - donor["brain"]) + 0.004 * smooth_noise(rng, anatomy.TEMPLATE, 1.0), 0, None
        )
        for image, skin in zip(clean, (donor["t1"], donor["t2"]), strict=True)
    )
    shifted = np.roll(t2, 1, axis=0)
    affine = np.eye(4)
    affine[:3, 3] = anatomy.TEMPLATE_ORIGIN
    paths = []
    for name, image in (("t1", t1), ("t2", shifted), ("mask", donor["brain"])):
        paths.append(tmp_path / f"{name}.nii")
        nibabel.save(nibabel.Nifti1Image(np.asarray(image, np.float32), affine), paths[-1])
    maps = donor_maps(*paths)
    inside = donor["brain"] > 0.5
    for tissue in (anatomy.CSF, anatomy.GM, anatomy.WM):
        got, want = maps["fractions"][tissue][inside], donor["fractions"][tissue][inside]
        assert np.corrcoef(got.astype(float), want.astype(float))[0, 1] > 0.9
    assert np.abs(maps["residual"][inside].astype(float)).mean() < 0.1
