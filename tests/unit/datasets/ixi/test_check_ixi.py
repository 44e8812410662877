"""A folder of IXI is judged from its headers as the alignment would judge it."""

import csv
import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from data_prep import check
from data_prep.datasets.contract import Finding
from data_prep.datasets.ixi.folder import findings, summary
from data_prep.errors import BadInput

SLICES = 12
AXIAL = np.diag([-0.94, 0.94, 1.25, 1.0])
SAGITTAL = np.array([[0, 0, 1.2, -10], [-0.94, 0, 0, 10], [0, 0.94, 0, 0], [0, 0, 0, 1.0]])


def scan(path: Path, affine: np.ndarray, seed: int, dtype: type = np.int16, code: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).integers(0, 900, (10, 11, SLICES)).astype(dtype)
    image = nibabel.Nifti1Image(data, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nibabel.save(image, path)
    return path


def place(root: Path, subject: str, modality: str, suffix: str = ".nii.gz") -> Path:
    return root / f"IXI-{modality}" / f"{subject}-{modality}{suffix}"


IDS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI025-IOP-0852")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, subject in enumerate(IDS):
        scan(place(tmp_path, subject, "T1"), SAGITTAL, 2 * number)
        scan(place(tmp_path, subject, "T2"), AXIAL, 2 * number + 1)
    return tmp_path


def status(found: list[Finding]) -> dict[str, str]:
    return {finding.subject: finding.status for finding in found}


def test_a_good_folder_is_good(root: Path) -> None:
    found = findings(root, SLICES)
    assert status(found) == dict.fromkeys(IDS, "ok")
    assert found[0].files == (f"IXI-T1/{IDS[0]}-T1.nii.gz", f"IXI-T2/{IDS[0]}-T2.nii.gz")
    counted = summary(root, found)
    assert counted["T1 scans"] == counted["T2 scans"] == counted["subjects with both"] == "3"
    assert counted["sites"] == "Guys 1, HH 1, IOP 1"
    assert counted["ok"] == "3"
    assert status(findings(root, SLICES, deep=True)) == status(found)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil_voxels(path: Path) -> None:
    """NaN in a file that is whole: only reading it tells."""
    content = bytearray(gzip.decompress(scan(path, AXIAL, 0, np.float32).read_bytes()))
    struct.pack_into("<f", content, 400, np.nan)
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no T2 scan"),
        (cut_off, "truncated or not NIfTI"),
        (lambda path: path.write_text("<html>404</html>"), "truncated or not NIfTI"),
        (lambda path: path.write_bytes(b""), "truncated or not NIfTI"),
        (lambda path: scan(path, AXIAL, 0, np.complex64), "no magnitudes"),
        (lambda path: scan(path, AXIAL, 0, code=0), "no position in space"),
        (lambda path: scan(path.with_suffix(""), AXIAL, 0), "is the same scan; keep one"),
        # Stored so that the slices run along a shorter axis.
        (lambda path: scan(path, SAGITTAL, 0), "11 axial slices, but 12 are wanted"),
    ],
)
def test_what_cannot_be_used_is_excluded_with_its_reason(
    root: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(place(root, IDS[1], "T2"))
    found = findings(root, SLICES)
    assert status(found) == {IDS[0]: "ok", IDS[1]: "excluded", IDS[2]: "ok"}
    assert reason in found[1].reason
    # Paths are given below the folder.
    assert str(root) not in found[1].reason


def test_what_only_voxels_tell_needs_deep(root: Path) -> None:
    spoil_voxels(place(root, IDS[1], "T2"))
    assert status(findings(root, SLICES))[IDS[1]] == "ok"
    found = findings(root, SLICES, deep=True)
    assert (found[1].status, "NaN or infinite" in found[1].reason) == ("excluded", True)


def test_headers_are_all_that_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("data_prep.datasets.ixi.folder.load_volume", refuse)
    findings(root, SLICES)


@pytest.mark.parametrize(
    ("affine", "reason"),
    [
        (np.diag([-9.0, 9.0, 1.25, 1.0]), "voxels of 9 x 9 x 1.2 mm"),
        (AXIAL + np.array([[0, 0, 0, 500.0]] + 3 * [[0] * 4]), "mm apart, so registration may fail"),
    ],
)
def test_odd_geometry_is_suspicious(root: Path, affine: np.ndarray, reason: str) -> None:
    scan(place(root, IDS[0], "T2"), affine, 1)
    found = findings(root, SLICES)
    assert found[0].status == "suspicious"
    assert reason in found[0].reason


def test_an_unknown_site_and_the_content_of_another_subject_are_suspicious(root: Path) -> None:
    place(root, "IXI100-Mars-0001", "T1").write_bytes(place(root, IDS[0], "T1").read_bytes())
    scan(place(root, "IXI100-Mars-0001", "T2"), AXIAL, 99)
    reason = findings(root, SLICES)[-1].reason
    assert "site Mars is none of Guys, HH, IOP" in reason
    assert f"T1 has the content of {IDS[0]} T1" in reason


def test_folders_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no scans of IXI \(IXI-T2/IXI012.* or fastMRI .* here; it is empty"):
        check.recognise(tmp_path)
    assert findings(tmp_path, SLICES) == []
    with pytest.raises(BadInput, match="no such folder"):
        findings(tmp_path / "nowhere", SLICES)


# ---- command --------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data_prep.check", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_command_prints_counts_reasons_and_a_verdict(root: Path, tmp_path: Path) -> None:
    for number, modality in enumerate(("T1", "T2")):
        scan(place(root, "IXI030-IOP-0900", modality), (SAGITTAL, AXIAL)[number], 30 + number)
    place(root, IDS[1], "T1").unlink()
    done = run(root, "--slices", SLICES, "--csv", tmp_path / "found.csv")
    assert done.returncode == 3, done.stderr
    for part in ("IXI in ", "T1 scans", IDS[1], "no T1 scan", "Usable with bad_scans: exclude: 3 of 4."):
        assert part in done.stdout
    assert IDS[0] not in done.stdout
    with (tmp_path / "found.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok", "excluded", "ok", "ok"]


def test_the_command_says_one_sentence_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")


def test_the_dataset_is_recognised_by_content(root: Path, tmp_path: Path) -> None:
    assert check.recognise(root) == "ixi"
    knees = tmp_path / "fastmri" / "singlecoil_train"
    knees.mkdir(parents=True)
    with pytest.raises(BadInput, match=r"no scans of IXI \(.*\) or fastMRI \(.*; it holds singlecoil_train"):
        check.recognise(knees.parent)
    (knees / "file1000000.h5").touch()
    assert check.recognise(knees.parent) == "fastmri"
    (root / "file1000000.h5").touch()
    with pytest.raises(BadInput, match="holds scans of IXI and fastMRI"):
        check.recognise(root)


def test_checking_loads_nothing_heavy() -> None:
    code = "import sys, data_prep.check, data_prep.datasets.ixi.folder; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "SimpleITK", "matplotlib", "scipy", "skimage", "h5py"} & set(done.stdout.split())
