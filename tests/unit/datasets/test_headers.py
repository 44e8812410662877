"""Where a volume lies: headers that contradict themselves are refused by every reader, others are read."""

import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from data_prep.datasets.brats.dataset import DATASET
from data_prep.datasets.ixi.folder import findings
from data_prep.datasets.registered import check
from data_prep.errors import BadInput
from data_prep.phantom.fields import rotation
from data_prep.volumes import load_volume, read_header, save_volume

SIZE = (12, 10, 8)
AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation(np.deg2rad((6.0, -4.0, 9.0))) * (-0.94, 0.95, 1.25)
AFFINE[:3, 3] = (40, -50, 20)
QUARTER = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
MIRROR = np.diag([-1.0, 1, 1, 1])
UNIT = AFFINE / [*np.linalg.norm(AFFINE[:3, :3], axis=0), 1]


def moved(millimetres: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[1, 3] += millimetres
    return affine


def sheared(part: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[:3, 1] += part * affine[:3, 0]
    return affine


def header(
    qform: int = 1, sform: int = 1, affine: NDArray[np.float64] = AFFINE, unit: int = 2, **fields: float
) -> bytes:
    """A scan whose qform and pixdim are ``AFFINE``'s and whose sform is ``affine``; then single fields."""
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 900, SIZE).astype(np.int16), AFFINE)
    image.set_qform(AFFINE, code=qform)
    image.set_sform(affine, code=sform)
    image.header["xyzt_units"] = unit
    content = bytearray(image.to_bytes())
    places = {"qfac": 76, "pixdim1": 80, "pixdim3": 88, "quatern_b": 256, "qoffset_x": 268}
    for name, value in fields.items():
        struct.pack_into("<f", content, places[name], value)
    return bytes(content)


def in_units(millimetres: float, unit: int) -> bytes:
    affine = AFFINE.copy()
    affine[:3] /= millimetres
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 900, SIZE).astype(np.int16), affine)
    image.set_qform(affine, code=1)
    image.header["xyzt_units"] = unit
    return image.to_bytes()


CONTRADICTORY = [
    # A known defect of converters: the sform has lost the voxels' sizes.
    (header(affine=UNIT), "sform gives voxels of 1 x 1 x 1 mm, but pixdim 0.94 x 0.95 x 1.25 mm"),
    (header(qform=0, affine=UNIT), "sform gives voxels of 1 x 1 x 1 mm, but pixdim"),
    (header(affine=QUARTER @ AFFINE), r"sform and qform place the volume's corners up to \d+\.\d mm apart;"),
    (header(affine=MIRROR @ AFFINE), "mm apart and mirror each other; set the code of the wrong one to 0"),
    (header(qfac=1.0), "mm apart and mirror each other"),
    (header(affine=moved(1.1)), "sform and qform place the volume's corners up to 1.1 mm apart"),
    (header(qoffset_x=-60.0), "sform and qform place"),
    (header(qform=0, pixdim3=1.27), "sform gives voxels of 0.94 x 0.95 x 1.25 mm, but pixdim .* x 1.27 mm"),
    (header(qform=0, pixdim1=0.0), "but pixdim 0 x 0.95 x 1.25 mm"),
    # nibabel would read 1 mm.
    (header(sform=0, pixdim1=0.0), "qform gives voxels of 1 x 0.95 x 1.25 mm, but pixdim 0 x"),
    # Once a way to tell left from right.
    (header(sform=0, pixdim1=-0.94), "but pixdim -0.94 x"),
    (header(pixdim1=float("nan")), "but pixdim nan x"),
    (header(quatern_b=1.5), "qform is no rotation"),
    (header(sform=0, quatern_b=1.5), "qform is no rotation"),
    (header(unit=1), "voxels of 940 x 950 x 1250 mm, by the unit that xyzt_units names"),
    (header(unit=3), "voxels of 0.00094 x .* by the unit that xyzt_units names"),
    (header(qform=0, sform=0), "qform_code and sform_code are 0"),
]


@pytest.mark.parametrize(("content", "words"), CONTRADICTORY)
def test_a_header_that_contradicts_itself_is_refused_in_one_sentence(
    content: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(content)
    for read in (load_volume, read_header):
        with pytest.raises(BadInput, match=words) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
    # What nibabel has to say names no file.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "affine"),
    [
        (header(), AFFINE),
        (header(sform=0), AFFINE),
        (header(qform=0), AFFINE),
        # What has the code 0 says nothing.
        (header(sform=0, affine=MIRROR @ UNIT), AFFINE),
        (header(qform=0, affine=MIRROR @ AFFINE), MIRROR @ AFFINE),
        (header(affine=moved(0.9)), moved(0.9)),
        (header(qform=0, pixdim3=1.26), AFFINE),
        (header(qform=0, affine=sheared(0.005)), sheared(0.005)),
        (header(qform=2, sform=4, unit=0), AFFINE),
        # By the standard's own program: what is not negative is 1.
        (header(sform=0, qfac=-5.0), AFFINE),
        (header(sform=0, qfac=0.0), AFFINE @ np.diag([1, 1, -1, 1])),
        (in_units(1000, 1), AFFINE),
        (in_units(0.001, 3), AFFINE),
    ],
)
def test_a_header_that_agrees_with_itself_is_read(
    content: bytes, affine: NDArray[np.float64], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(content)
    volume = load_volume(path)
    np.testing.assert_allclose(volume.affine, affine, atol=2e-4)
    np.testing.assert_array_equal(read_header(path).affine, volume.affine)
    np.testing.assert_array_equal(volume.data, nibabel.Nifti1Image.from_bytes(content).dataobj)
    assert capfd.readouterr().out == ""


def test_a_nifti_2_is_called_by_its_name(tmp_path: Path) -> None:
    for order in "<>":
        image = nibabel.Nifti2Image(np.ones(SIZE, np.int16), AFFINE, nibabel.Nifti2Header(endianness=order))
        path = tmp_path / "scan.nii"
        path.write_bytes(image.to_bytes())
        with pytest.raises(BadInput, match=r"scan\.nii: NIfTI-2, but NIfTI-1 is needed; convert the scan"):
            load_volume(path)


@pytest.fixture
def no_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(path)

    for module in ("ixi.folder", "registered"):
        monkeypatch.setattr(f"data_prep.datasets.{module}.load_volume", refuse)


def written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("modality", ["T1", "T2"])
def test_the_check_of_ixi_tells_it_from_headers_alone(tmp_path: Path, no_voxels: None, modality: str) -> None:
    for subject in ("IXI002-Guys-0828", "IXI012-HH-1211"):
        for name in ("T1", "T2"):
            wrong = (subject, name) == ("IXI012-HH-1211", modality)
            content = header(affine=QUARTER @ AFFINE) if wrong else header()
            written(tmp_path / f"IXI-{name}" / f"{subject}-{name}.nii", content)
    good, bad = findings(tmp_path, 8)
    assert (good.status, bad.status) == ("ok", "excluded")
    assert bad.reason.startswith(f"IXI-{modality}/IXI012-HH-1211-{modality}.nii: sform and qform place")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(header(affine=UNIT)), "sform gives voxels of 1 x 1 x 1 mm"),
        (lambda path: path.write_bytes(b"no scan"), "truncated or not NIfTI"),
        (lambda path: (path.unlink(), path.mkdir()), "it is a folder and no file; put the scan that it"),
        (lambda path: save_volume(path, np.ones((12, 10, 9), np.int16), AFFINE), "12 x 10 x 9 voxels, but"),
        (lambda path: save_volume(path, np.ones(SIZE, np.int16), moved(2)), "places it up to 2.0 mm from"),
    ],
)
def test_the_check_of_registered_scans_tells_it_from_headers_alone(
    tmp_path: Path, no_voxels: None, spoil: Callable[[Path], object], words: str
) -> None:
    for subject in ("BraTS2021_00001", "BraTS2021_00002"):
        for path in DATASET.files(tmp_path, subject):
            written(path, header())
    spoil(DATASET.files(tmp_path, "BraTS2021_00002")[1].with_suffix(".gz"))
    (good, bad), counted = check(DATASET, tmp_path, 8, False, {})
    assert (good.status, bad.status, counted["excluded"]) == ("ok", "excluded", "1")
    assert words in bad.reason


def test_thick_slices_are_told_by_their_size(tmp_path: Path) -> None:
    thick = AFFINE @ np.diag([1, 1, 4, 1.0])
    for name, affine in (("T1", AFFINE), ("T2", thick)):
        path = tmp_path / f"IXI014-HH-1236-{name}.nii"
        save_volume(path, np.arange(960, dtype=np.int16).reshape(SIZE), affine)
    (found,) = findings(tmp_path, 8)
    assert found.status == "suspicious"
    # One scan of IXI, of this very subject, has thick slices.
    assert "T2 has voxels of 0.94 x 0.95 x 5 mm, where nearly all of IXI have" in found.reason
