"""What a check of a fastMRI folder finds is what the run would say, pair by pair, from headers alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from faults import locked
from knee_phantom import HEADER, write_published

from data_prep import check
from data_prep.datasets.fastmri.folder import findings, summary
from data_prep.datasets.fastmri.scans import PD, PDFS
from data_prep.errors import BadInput
from data_prep.io.command import call

ROOT = Path(__file__).parents[4]


def pair(folder: Path, split: str, number: int, slices: int = 4) -> tuple[Path, Path]:
    """Write PDFS and PD of one person."""
    files = []
    for stem, acquisition, extra in ((f"file{number}1", PDFS, 1), (f"file{number}0", PD, 0)):
        path = folder / f"singlecoil_{split}" / f"{stem}.h5"
        files.append(write_published(path, acquisition, slices=slices + extra))
        with h5py.File(files[-1], "r+") as file:
            file.attrs["patient_id"] = f"person {number}"
    return files[0], files[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, numbers in (("train", (10, 11, 12)), ("val", (13,))):
        for number in numbers:
            pair(tmp_path, split, number)
        lines = [f"file{number}0,file{number}1,0.5\n" for number in numbers]
        (tmp_path / f"singlecoil_{split}_split_less.csv").write_text("".join(lines))
    return tmp_path


def test_a_sound_folder_is_ok_and_counted_beside_the_published_numbers(folder: Path) -> None:
    found = findings(folder)
    assert [(f.subject, f.status, f.reason) for f in found] == [
        (f"file{number}1", "ok", "") for number in (10, 11, 12, 13)
    ]
    assert found[3].files == ("singlecoil_val/file131.h5", "singlecoil_val/file130.h5")
    assert summary(folder, found) == {
        "files in singlecoil_train": "6 (973 published)",
        "files in singlecoil_val": "2 (199 published)",
        "pairs of train": "3 (227 published)",
        "slices of usable pairs of train": "12 (8332 published)",
        "pairs of val": "1 (45 published)",
        "slices of usable pairs of val": "4 (1665 published)",
        "ok": "4",
        "suspicious": "0",
        "excluded": "0",
        "refused": "0",
    }


def test_a_pair_that_cannot_be_read_now_is_not_judged(folder: Path) -> None:
    scan = folder / "singlecoil_train" / "file110.h5"
    command = [sys.executable, "-m", "data_prep.check", str(folder), "--dataset", "fastmri"]
    with locked(scan):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {scan}: Resource temporarily unavailable (EAGAIN): it ")
    assert "set HDF5_USE_FILE_LOCKING=FALSE" in done.stderr
    assert [found.status for found in findings(folder)] == ["ok"] * 4


def test_every_pair_that_cannot_be_used_says_why(folder: Path) -> None:
    train = folder / "singlecoil_train"
    (train / "file100.h5").unlink()
    with h5py.File(train / "file111.h5", "r+") as file:
        file.attrs["acquisition"] = PD
    with h5py.File(train / "file120.h5", "r+") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = HEADER.replace("<x>24</x><y>20</y>", "<x>24</x><y>22</y>")
    with h5py.File(folder / "singlecoil_val" / "file130.h5", "r+") as file:
        file.attrs["patient_id"] = "person 12"
    missing, swapped, odd, leaked = findings(folder)
    assert (missing.status, swapped.status, odd.status, leaked.status) == (
        "excluded",
        "excluded",
        "suspicious",
        "refused",
    )
    assert missing.reason.startswith("singlecoil_train/file100.h5: the file is missing")
    assert "acquisition is CORPD_FBK" in swapped.reason
    assert "file120.h5: k-space is 24 x 20, the header encodes 24 x 22" in odd.reason
    assert leaked.reason.startswith("singlecoil_val/file130.h5: its person (attribute patient_id) is in the ")
    assert "other list too, with file121.h5, which" in leaked.reason
    counted = summary(folder, findings(folder))
    assert counted["slices of usable pairs of train"] == "4 (8332 published)"
    assert [counted[status] for status in ("ok", "suspicious", "excluded", "refused")] == ["0", "1", "2", "1"]


@pytest.mark.parametrize("listed", [True, False])
def test_findings_tell_of_no_patient_and_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], listed: bool
) -> None:
    for path in (folder / "singlecoil_train" / "file121.h5", folder / "singlecoil_val" / "file130.h5"):
        with h5py.File(path, "r+") as file:
            file.attrs["patient_id"] = "MRN-4711-Smith"
    pair(folder, "train", 14)
    (folder / "singlecoil_train" / "file140.h5").write_text("no scan")
    with (folder / "singlecoil_train_split_less.csv").open("a") as file:
        file.write("file140,file141,0.5\n")
    if not listed:
        for path in folder.glob("*.csv"):
            path.unlink()
    # A name that messages show with escapes.
    root = folder.rename(folder.with_name(f"{folder.name} \x1b[1m"))
    found = root.with_name("found.csv")
    monkeypatch.setattr("sys.argv", ["check", str(root), "--csv", str(found)])
    monkeypatch.setenv("COLUMNS", "400")
    # A run under bad_scans: exclude goes on without what is no scan, and stops at a person of both lists.
    with pytest.raises(SystemExit, match="1" if listed else "3"):
        call(check.main)
    # Counts and verdict name the folder that was asked for.
    out = capsys.readouterr().out
    assert ("Not usable: the run stops at 1, with bad_scans: exclude too." in out) == listed
    table = out.partition("Refused, excluded and suspicious")[2].partition("sable")[0]
    for text in (table, found.read_text(encoding="utf-8")):
        assert "singlecoil_train/file140.h5: it is truncated or no HDF5 file" in text
        assert ("singlecoil_val/file130.h5: its person" in text) == listed
        assert "4711" not in text
        assert folder.name not in text


def test_a_folder_without_any_validation_pair_is_not_usable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "singlecoil_val").rename(folder / "elsewhere")
    monkeypatch.setattr("sys.argv", ["check", str(folder)])
    for said in ("none of val can be taken, to fill test.", "none of val can be taken, to fill test."):
        with pytest.raises(SystemExit, match="1"):
            call(check.main)
        assert f"Not usable: {said}" in " ".join(capsys.readouterr().out.split())
        # Without the list it is not usable, either.
        (folder / "singlecoil_val_split_less.csv").unlink(missing_ok=True)


def test_values_are_read_only_when_asked_for(folder: Path) -> None:
    with h5py.File(folder / "singlecoil_train" / "file100.h5", "r+") as file:
        file["kspace"][3, 0, 0] = np.nan
    assert findings(folder)[0].status == "ok"
    deep = findings(folder, deep=True)
    assert [f.status for f in deep] == ["excluded", "ok", "ok", "ok"]
    assert "kspace, slice 3, holds NaN" in deep[0].reason


def test_without_lists_each_file_is_judged(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.unlink()
    (folder / "singlecoil_val" / "file130.h5").write_text("no scan")
    (folder / "singlecoil_val" / "._file130.h5").write_text("a twin from another system")
    found = findings(folder)
    assert [f.subject for f in found if f.status == "excluded"] == ["file130"]
    assert len(found) == 8
    assert summary(folder, found)["pairs"] == "unknown without pair lists"


def test_lists_may_lie_elsewhere_and_must_be_sound(folder: Path, tmp_path: Path) -> None:
    given = tmp_path / "my_list.csv"
    given.write_text("file110,file111,0.1\n")
    assert [f.subject for f in findings(folder, train_pairs=given)] == ["file111", "file131"]
    given.write_text("file110;file111;0.1\n")
    with pytest.raises(BadInput, match=r"my_list\.csv, line 1"):
        findings(folder, train_pairs=given)
    given.write_text("file130,file111,0.1\n")
    with pytest.raises(BadInput, match="file130 is in the pair lists of two splits"):
        findings(folder, train_pairs=given)


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    said = r"no scans of fastMRI \(singlecoil_train/file1000685\.h5 and .* here; it is empty"
    with pytest.raises(BadInput, match=said):
        check.recognise(tmp_path, "fastmri")
    assert findings(tmp_path) == []


@pytest.mark.long
def test_all_published_files_take_seconds(tmp_path: Path) -> None:
    """As many files and pairs as published, of full size as far as headers tell."""
    real = write_published(tmp_path / "file.h5", PDFS)
    with h5py.File(real, "r+") as file:
        del file["kspace"], file["reconstruction_esc"], file["reconstruction_rss"], file["ismrmrd_header"]
        # No space on the disk: nothing is ever written into them.
        file.create_dataset("kspace", (37, 640, 368), np.complex64)
        file.create_dataset("reconstruction_esc", (37, 320, 320), np.float32)
        text = HEADER
        for old, new in ((24, 640), (20, 368), (12, 320), (240, 320), (200, 184), (120, 160)):
            text = text.replace(f">{old}<", f">{new}<")
        file["ismrmrd_header"] = text
    other = tmp_path / "other.h5"
    other.write_bytes(real.read_bytes())
    with h5py.File(other, "r+") as file:
        file.attrs["acquisition"] = PD
    for split, files, pairs in (("train", 973, 227), ("val", 199, 45)):
        folder = tmp_path / f"singlecoil_{split}"
        folder.mkdir()
        for i in range(files):
            os.link(other if i % 2 else real, folder / f"file{split}{i:04d}.h5")
        lines = [f"file{split}{2 * i + 1:04d},file{split}{2 * i:04d},1\n" for i in range(pairs)]
        (tmp_path / f"{split}_pairs.csv").write_text("".join(lines))
    # All links are one person's files, so that the validation pairs count as leaks.
    begun = time.process_time()
    found = findings(tmp_path)
    counted = summary(tmp_path, found)
    assert time.process_time() - begun < 10
    assert len(found) == 272
    assert counted["files in singlecoil_train"] == "973 (973 published)"
    assert counted["slices of usable pairs of train"] == f"{37 * 227} (8332 published)"
    assert counted["refused"] == "45"
    for path in tmp_path.glob("*.csv"):
        path.unlink()
    begun = time.process_time()
    assert len(findings(tmp_path)) == 1172
    assert time.process_time() - begun < 10
