"""IXI names, folders and volumes."""

import gzip
import itertools
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.datasets.contract import Scans
from data_prep.datasets.forms import fault
from data_prep.datasets.ixi.dataset import DATASET, locate
from data_prep.datasets.ixi.names import (
    SITES,
    check_single,
    embedded_subject_id,
    find_scans,
    parse_scan_name,
    twins,
)
from data_prep.errors import BadInput
from data_prep.phantom.fields import rotation
from data_prep.volumes import Volume, load_volume, read_header, save_volume, to_axial

# ---- names and folders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IXI012-HH-1211-T1.nii.gz", ("IXI012-HH-1211", "IXI012", "HH", "1211", "T1")),
        ("IXI1003-Guys-0815-T2.nii", ("IXI1003-Guys-0815", "IXI1003", "Guys", "0815", "T2")),
        ("IXI662-Guys-1120-PD.nii.gz", ("IXI662-Guys-1120", "IXI662", "Guys", "1120", "PD")),
    ],
)
def test_names_say_subject_person_site_and_modality(name: str, expected: tuple[str, ...]) -> None:
    parsed = parse_scan_name(Path("folder") / name)
    assert (parsed.subject, parsed.group, parsed.site, parsed.number, parsed.modality) == expected


@pytest.mark.parametrize(
    "name", ["IXI12-HH-1211-T1.nii.gz", "IXI012-HH-T1.nii.gz", "brain.nii", "IXI012-HH-1211-T1.mgz"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="published name"):
        parse_scan_name(name)


def test_embedded_ids_are_beyond_the_published_ones_and_parse() -> None:
    ids = [embedded_subject_id(index, 2022) for index in range(130)]
    assert len({parse_scan_name(f"{name}-T1.nii").group for name in ids}) == 130
    assert ids[99].startswith("IXI999-")
    assert ids[100].startswith("IXI1000-")
    assert {parse_scan_name(f"{name}-T1.nii").site for name in ids} == set(SITES)
    assert embedded_subject_id(7, 2022) == ids[7]
    assert [embedded_subject_id(index, 1) for index in range(130)] != ids
    with pytest.raises(BadInput, match="counted from 0"):
        embedded_subject_id(-1, 2022)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_scans_are_paired_in_the_published_folders(tmp_path: Path) -> None:
    t1, t2 = tmp_path / "IXI-T1", tmp_path / "IXI-T2"
    touch(t1 / "IXI013-HH-1212-T1.nii.gz", t2 / "IXI013-HH-1212-T2.nii")
    touch(t2 / "IXI002-Guys-0828-T2.nii.gz", t1 / "IXI002-Guys-0828-T1.nii.gz")
    # Of whom there is one scan only is found as well; other modalities, hidden twins and other files are not.
    touch(t1 / "IXI014-HH-1236-T1.nii.gz", t1 / "._IXI013-HH-1212-T1.nii.gz", t1 / "readme.txt")
    touch(tmp_path / "IXI-PD" / "IXI013-HH-1212-PD.nii.gz")
    assert find_scans(tmp_path) == {
        "IXI002-Guys-0828": {
            "T1": t1 / "IXI002-Guys-0828-T1.nii.gz",
            "T2": t2 / "IXI002-Guys-0828-T2.nii.gz",
        },
        "IXI013-HH-1212": {"T1": t1 / "IXI013-HH-1212-T1.nii.gz", "T2": t2 / "IXI013-HH-1212-T2.nii"},
        "IXI014-HH-1236": {"T1": t1 / "IXI014-HH-1236-T1.nii.gz"},
    }
    located = locate(tmp_path, {})
    assert list(located) == ["IXI002-Guys-0828", "IXI013-HH-1212", "IXI014-HH-1236"]
    # What is missing is where it should be.
    assert located["IXI014-HH-1236"].target == str(t2 / "IXI014-HH-1236-T2.nii.gz")


def test_scans_are_paired_in_a_flat_folder(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"IXI013-HH-1212-{name}.nii" for name in ("T1", "T2")}
    touch(*paths.values())
    assert find_scans(tmp_path) == {"IXI013-HH-1212": paths}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("IXI013-HH-1212-T1.nii", "IXI013-HH-1212-T1.nii.gz"),
        ("IXI-T1/IXI013-HH-1212-T1.nii", "IXI-T1/IXI013-HH-1212-T1.nii.gz"),
        ("IXI013-HH-1212-T1.nii.gz", "IXI-T1/IXI013-HH-1212-T1.nii.gz"),
        ("IXI-T1/IXI013-HH-1212-T1.nii.gz", "IXI-T2/IXI013-HH-1212-T1.nii.gz"),
    ],
)
def test_a_scan_that_is_there_twice_is_listed_once_and_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    paths = [tmp_path / first, tmp_path / second]
    touch(*paths, tmp_path / "IXI-T2" / "IXI013-HH-1212-T2.nii")
    touch(tmp_path / "IXI-T1" / "IXI014-HH-1236-T1.nii.gz", tmp_path / "IXI-T2" / "IXI014-HH-1236-T2.nii")
    found = find_scans(tmp_path)
    assert list(found) == ["IXI013-HH-1212", "IXI014-HH-1236"]
    assert found["IXI013-HH-1212"]["T1"] in paths
    for path, other in (paths, paths[::-1]):
        assert twins(path) == [other]
        with pytest.raises(BadInput, match="is the same scan; keep one") as caught:
            check_single(path)
        assert str(path) in str(caught.value)
        assert str(other) in str(caught.value)
    for path in found["IXI014-HH-1236"].values():
        check_single(path)


@pytest.mark.parametrize("folder", ["IXI-T1/IXI013-HH-1212-T1.nii", "IXI-T1/IXI013-HH-1212-T1.nii.gz"])
def test_a_folder_by_the_name_of_a_scan_is_told_unless_the_scan_is_beside_it(
    tmp_path: Path, folder: str
) -> None:
    touch(tmp_path / folder / "IXI013-HH-1212-MPRAGESEN_-s256_-0301-00003-000001-01.nii")
    path = find_scans(tmp_path)["IXI013-HH-1212"]["T1"]
    for read in (load_volume, read_header):
        with pytest.raises(BadInput, match=r"T1\.nii.*: it is a folder and no file; put the"):
            read(path)
    scans = Scans(str(tmp_path / "IXI-T2" / "IXI013-HH-1212-T2.nii.gz"), str(path))
    touch(Path(scans.target))
    assert fault(DATASET, "IXI013-HH-1212", scans).startswith(f"{tmp_path / folder}: it is a folder")
    beside = {".nii": ".nii.gz", ".gz": ".nii"}[path.suffix]
    scan = tmp_path / "IXI-T1" / f"IXI013-HH-1212-T1{beside}"
    touch(scan)
    assert find_scans(tmp_path)["IXI013-HH-1212"]["T1"] == scan
    check_single(scan)


@pytest.mark.parametrize("name", ["p01.nii.gz", "IXI12-HH-1211.nii.gz", "p01-T1.nii.gz"])
def test_scans_whose_names_tell_no_modality_are_not_the_same_one(tmp_path: Path, name: str) -> None:
    paths = [tmp_path / folder / name for folder in ("T1", "T2")]
    touch(*paths)
    for path in paths:
        check_single(path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert find_scans(tmp_path) == {}
    with pytest.raises(BadInput, match="no such folder"):
        find_scans(tmp_path / "nowhere")


# ---- loading ----------------------------------------------------------------------------------

AFFINE = np.array([[-0.9, 0.02, 0, 100], [0.02, 0.9, 0, -90], [0, 0, 1.25, -60], [0, 0, 0, 1.0]])


def scan() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(0, 900, (12, 10, 8)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_saved_is_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    save_volume(path, scan(), AFFINE)
    volume = load_volume(path)
    np.testing.assert_array_equal(volume.data, scan())
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(volume.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saved_bytes_depend_on_the_content_only(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        save_volume(tmp_path / name, scan(), AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_single_frame_and_a_scaled_scan_are_accepted(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(scan()[..., None], AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "frame.nii")
    assert load_volume(tmp_path / "frame.nii").data.shape == (12, 10, 8)


def write(path: Path, data: NDArray, affine: NDArray[np.float64] = AFFINE, code: int = 1) -> Path:
    image = nibabel.Nifti1Image(data, AFFINE)
    image.set_qform(AFFINE, code=code)
    image.set_sform(affine, code=code)
    nibabel.save(image, path)
    return path


def truncated(folder: Path, suffix: str) -> Path:
    path = write(folder / f"scan{suffix}", scan())
    path.write_bytes(path.read_bytes()[:-200])
    return path


def garbled(folder: Path) -> Path:
    path = write(folder / "scan.nii.gz", scan())
    content = bytearray(path.read_bytes())
    content[400:600] = bytes(200)
    path.write_bytes(content)
    return path


def compressed_text(folder: Path) -> Path:
    path = folder / "scan.nii.gz"
    path.write_bytes(gzip.compress(b"no scan" * 100))
    return path


def text(folder: Path) -> Path:
    path = folder / "scan.nii.gz"
    path.write_text("<html>404</html>")
    return path


def poisoned(folder: Path, value: float) -> Path:
    data = scan().astype(np.float32)
    data[3, 4, 5] = value
    return write(folder / "scan.nii", data)


def with_header(folder: Path, place: int, kind: str, value: float, suffix: str = ".nii") -> Path:
    """A good scan with one field of its header changed."""
    path = write(folder / "scan.nii", scan())
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{kind}", content, place, value)
    path = folder / f"changed{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    return path


def endless(folder: Path) -> Path:
    """A small file that unpacks to far more than its header says."""
    path = folder / "scan.nii.gz"
    path.write_bytes(gzip.compress(write(folder / "scan.nii", scan()).read_bytes() + bytes(20_000_000), 1))
    return path


def with_affine(folder: Path, rows: list[list[float]]) -> Path:
    affine = AFFINE.copy()
    affine[:3, :3] = rows
    return write(folder / "scan.nii", scan(), affine)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: truncated(folder, ".nii"), "truncated or not NIfTI"),
        (lambda folder: truncated(folder, ".nii.gz"), "truncated or not NIfTI"),
        (garbled, "truncated or not NIfTI"),
        (text, "truncated or not NIfTI"),
        (compressed_text, "truncated or not NIfTI"),
        (lambda folder: folder / "scan.nii", "no such file"),
        (lambda folder: poisoned(folder, np.nan), "NaN or infinite"),
        (lambda folder: poisoned(folder, -np.inf), "NaN or infinite"),
        (lambda folder: write(folder / "scan.nii", scan()[0]), "shape"),
        (lambda folder: write(folder / "scan.nii", np.stack([scan()] * 2, -1)), "shape"),
        (lambda folder: write(folder / "scan.nii", scan()[:, :, :2]), "shape"),
        (lambda folder: write(folder / "scan.nii", scan().astype(np.complex64)), "no magnitudes"),
        (lambda folder: write(folder / "scan.nii", 0 * scan() + 7), "all voxels are equal"),
        (
            lambda folder: write(folder / "scan.nii", scan() / 100 - 3),
            r"voxels are negative, down to -3.*; give magnitudes, neither normalised",
        ),
        (lambda folder: write(folder / "scan.nii", scan(), code=0), "no position in space"),
        (lambda folder: with_affine(folder, [[1, 0, 0], [0, 1, 0], [0, 0, 0]]), "not invertible"),
        (lambda folder: with_header(folder, 300, "f", np.nan), "not invertible"),  # srow_y[1]
        (lambda folder: with_header(folder, 46, "h", 3000), "truncated or not NIfTI"),  # dim[3]
        (lambda folder: with_header(folder, 46, "h", 3000, ".nii.gz"), "truncated or not NIfTI"),
        (lambda folder: with_header(folder, 44, "h", 32767), "truncated or not NIfTI"),
        (lambda folder: with_header(folder, 46, "h", -8), "shape"),
        (lambda folder: with_header(folder, 70, "h", 77), "truncated or not NIfTI"),  # datatype
        (lambda folder: with_header(folder, 108, "f", 1e9), "vox_offset is 1000000000"),
        (lambda folder: with_header(folder, 108, "f", np.nan), "truncated or not NIfTI"),
        (lambda folder: with_header(folder, 108, "f", np.inf), "truncated or not NIfTI"),
        (endless, "truncated or not NIfTI"),
        (lambda folder: with_affine(folder, [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]), "right angles"),
    ],
)
def test_bad_scans_are_refused_by_name(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(BadInput, match=message) as caught:
        load_volume(path)
    assert str(caught.value).startswith(f"{path}: ")


# ---- orientation ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_any_storage_becomes_axial_slices_in_display_order(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    # Intensity rises to the left, more to the back and most to the top, however it is stored.
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * signs * [1.0, 1.1, 1.2]
    affine[:3, 3] = (5, -7, 11)
    shape = (6, 7, 8)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    data = (-place[..., 0] - 10 * place[..., 1] + 100 * place[..., 2]).astype(np.float32)
    axial = to_axial(Volume(data, affine))
    slices = axial.data.T
    assert (np.diff(slices, axis=0) > 50).all()  # upwards
    assert (np.diff(slices, axis=1) > 5).all()  # to the back
    assert (np.diff(slices, axis=2) > 0.5).all()  # to the patient's left
    index = np.stack(np.meshgrid(*map(np.arange, axial.data.shape), indexing="ij"), axis=-1)
    place = index @ axial.affine[:3, :3].T + axial.affine[:3, 3]
    expected = -place[..., 0] - 10 * place[..., 1] + 100 * place[..., 2]
    np.testing.assert_allclose(axial.data, expected, rtol=1e-4, atol=1e-3)


def test_oblique_scans_keep_their_voxels() -> None:
    angle = np.deg2rad(12)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    data = scan().astype(np.float32)
    axial = to_axial(Volume(data, affine))
    np.testing.assert_array_equal(axial.data, data[::-1, ::-1])
    np.testing.assert_allclose(axial.affine @ [0, 0, 0, 1], affine @ [11, 9, 0, 1])


# ---- one scan, stored in many forms -----------------------------------------------------------

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation(np.deg2rad((6.0, -4.0, 9.0))) * (0.9, 0.95, 1.25)
OBLIQUE[:3, 3] = (40, -50, 20)


@given(
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    dtype=st.sampled_from(["<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8"]),
    scale=st.sampled_from([(1.0, 0.0), (0.5, 0.0), (0.25, -16.0)]),
    frames=st.sampled_from([(), (1,), (1, 1)]),
    header=st.sampled_from(["both", "sform", "qform"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
@settings(max_examples=40, deadline=None)
def test_a_scan_is_the_same_in_whatever_form_it_is_stored(
    order: list[int],
    flips: tuple[bool, ...],
    dtype: str,
    scale: tuple[float, float],
    frames: tuple[int, ...],
    header: str,
    suffix: str,
) -> None:
    reference = to_axial(Volume(scan().astype(np.float32), OBLIQUE))
    change = np.array([(axis, -1 if flip else 1) for axis, flip in zip(order, flips, strict=True)])
    data = nibabel.orientations.apply_orientation(scan(), change)
    affine = OBLIQUE @ nibabel.orientations.inv_ornt_aff(change, scan().shape)
    slope, intercept = scale
    stored = ((data - intercept) / slope).astype(dtype).reshape(*data.shape, *frames)
    image = nibabel.Nifti1Image(stored, affine, nibabel.Nifti1Header(endianness=dtype[0]))
    image.header.set_slope_inter(slope, intercept)
    image.set_data_dtype(stored.dtype)
    image.header.set_data_offset(352)
    image.set_sform(affine, code=0 if header == "qform" else 1)
    image.set_qform(affine, code=0 if header == "sform" else 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scan{suffix}"
        # As it is, so that the slope written is the slope meant.
        content = image.header.binaryblock + bytes(4) + stored.tobytes(order="F")
        path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
        found = to_axial(load_volume(path))
        told = read_header(path)
    np.testing.assert_array_equal(found.data, reference.data)
    # Single precision, and a quaternion.
    np.testing.assert_allclose(found.affine, reference.affine, atol=2e-4)
    assert told.shape == data.shape
    assert told.file_bytes == len(content)


@pytest.mark.parametrize("offset", [0.0, 100.0, -352.0])
def test_voxels_that_would_begin_within_the_header_are_refused(tmp_path: Path, offset: float) -> None:
    data = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
    image = nibabel.Nifti1Image(data, np.eye(4))
    content = bytearray(image.to_bytes())
    content[108:112] = struct.pack("<f", offset)
    path = tmp_path / "IXI901-HH-1000-T1.nii"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"IXI901-HH-1000-T1\.nii: .*(vox_offset|truncated or not NIfTI)"):
        load_volume(path)
