"""Scans that are not taken because of their names are told, and what was never a scan is not."""

import csv
from pathlib import Path

import numpy as np
import pytest

from data_prep import check
from data_prep.datasets.contract import Dataset, dataset_of
from data_prep.datasets.misnamed import misnamed
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.volumes import save_volume

PLAIN = Dataset(
    id="plain",
    label="Plain",
    target="T2",
    auxiliary="T1",
    target_file="T2/{subject}.nii.gz",
    auxiliary_file="T1/{subject}.nii.gz",
)
IXI, BRATS = dataset_of("ixi"), dataset_of("brats")
BRATS_NAMED = [f"BraTS2021_0000{number}" for number in range(4)]
BRATS_MISNAMED = ["BraTS2021 00005", "BraTS2021_00004.v2", "BraTS2021_ünï"]
IXI_NAMED = ["IXI001-HH-1211", "IXI002-Guys-0828", "IXI003-IOP-0900"]
IXI_MISNAMED = ["IXI013-HH-1212 copy", "IXI015-H2-1211", "IXI12-HH-1211", "ixi014-HH-1236"]
# What the .nii.gz of IXI keep within them: Guys, HH and IOP, T1 and T2.
IXI_FORMER = {
    "IXI016-Guys-0697": "IXI-T1/IXI016-Guys-0697-IXI3DMPRAG_-s231_-0301-00003-000001-01.nii",
    "IXI012-HH-1211": "IXI-T1/IXI012-HH-1211-3DBRAINIXMADisoTFE12_-s3T111_-0301-00003-000001-01.nii",
    "IXI423-IOP-0974": "IXI-T1/IXI423-IOP-0974-SAGFSPGR_-sIXI00_-0003-00001-000001-01.nii",
    "IXI002-Guys-0828": "IXI-T2/IXI002-Guys-0828-DUAL_TSES_-s256_-0601-00006-000001-01.nii",
}


def brats_scans(subject: str) -> list[str]:
    return [f"{subject}/{subject}_{modality}.nii.gz" for modality in ("t1", "t2")]


def ixi_scans(subject: str) -> list[str]:
    return [f"IXI-{modality}/{subject}-{modality}.nii.gz" for modality in ("T1", "T2")]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def told(dataset: Dataset, root: Path) -> dict[str, tuple[str, ...]]:
    return {finding.subject: finding.files for finding in misnamed(dataset, root)}


@pytest.mark.parametrize(
    ("dataset", "scans", "named", "others"),
    [(BRATS, brats_scans, BRATS_NAMED, BRATS_MISNAMED), (IXI, ixi_scans, IXI_NAMED, IXI_MISNAMED)],
    ids=["brats", "ixi"],
)
def test_the_check_names_the_subjects_whose_names_are_not_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dataset,
    scans,
    named,
    others,
) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "root"
    for name in (name for subject in (*named, *others) for name in scans(subject)):
        save_volume(root / name, rng.random((20, 20, 8)).astype(np.float32), np.diag([-1.0, -1, 1, 1]))
    table = tmp_path / "found.csv"
    monkeypatch.setattr("sys.argv", ["check", str(root), "--slices", "4", "--csv", str(table)])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit, match="3"):
        call(check.main)
    out = capsys.readouterr().out
    assert f"Usable with bad_scans: exclude: {len(named)} of {len(named) + len(others)}." in out
    assert "not taken because of its name, which is not as in " in out
    assert "rename it, or move it elsewhere" in out
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["subject"]: row for row in csv.DictReader(file)}
    assert {name for name, row in rows.items() if row["status"] == "ok"} == set(named)
    assert {name: row["files"].split(";") for name, row in rows.items() if row["status"] != "ok"} == {
        name: scans(name) for name in others
    }
    assert {row["status"] for row in rows.values()} == {"ok", "excluded"}


def test_a_folder_of_misnamed_scans_alone_says_what_is_wrong(tmp_path: Path) -> None:
    touch(tmp_path, *(name for subject in BRATS_MISNAMED for name in brats_scans(subject)))
    with pytest.raises(
        BadInput, match=r"no scans of BraTS .* and 2 more: not taken because of its name, which is"
    ):
        check.recognise(tmp_path, "brats")


def test_what_is_no_scan_or_was_made_of_one_is_passed_over(tmp_path: Path) -> None:
    subject = BRATS_NAMED[0]
    touch(
        tmp_path,
        *brats_scans(subject),
        f"{subject}/{subject}_flair.nii.gz",
        f"{subject}/{subject}_seg.nii.gz",
    )
    touch(tmp_path, f"{subject}/{subject}_brain_t1.nii.gz", f"{subject}/registered/{subject}_t1.nii.gz")
    touch(
        tmp_path, f"._{subject}/._{subject}_t1.nii.gz", f"{subject}/._{subject}_t1.nii.gz", "name_mapping.csv"
    )
    assert told(BRATS, tmp_path) == {}
    ixi = touch(
        tmp_path / "ixi", *ixi_scans(IXI_NAMED[0]), "IXI-T1/._IXI013-HH-1212-T1.nii.gz", "IXI-T1/readme.txt"
    )
    touch(
        ixi,
        "IXI-PD/IXI013-HH-1212-PD.nii.gz",
        "IXI013-HH-1212-PD.nii",
        "IXI-T1/IXI001-HH-1211-T1_mask.nii.gz",
    )
    assert told(IXI, ixi) == {}


def test_former_names_of_ixi_are_told_by_subject(tmp_path: Path) -> None:
    others = ("IXI-T1/IXI002-Guys-0828-T1_mask.nii.gz", "IXI002-Guys-0828-DTI-00.nii.gz")
    touch(tmp_path, *others, *IXI_FORMER.values())
    assert told(IXI, tmp_path) == {subject: (file,) for subject, file in sorted(IXI_FORMER.items())}
    # Beside the scans that they were unpacked from they are passed over.
    touch(tmp_path, *(file for subject in IXI_FORMER for file in ixi_scans(subject)))
    assert told(IXI, tmp_path) == {}


def test_names_are_those_of_the_form_in_any_place_and_case(tmp_path: Path) -> None:
    touch(tmp_path, *brats_scans(BRATS_NAMED[0]), "HGG/Brats 1/Brats 1_t1.nii", "Brats_2/Brats_2_T2.NII.GZ")
    copy = f"{BRATS_NAMED[0]} (copy)/{BRATS_NAMED[0]}_t2.nii.gz"
    touch(tmp_path, copy)
    assert told(BRATS, tmp_path) == {
        copy.removesuffix("_t2.nii.gz"): (copy,),
        "Brats_2/Brats_2": ("Brats_2/Brats_2_T2.NII.GZ",),
        "Brats 1": ("HGG/Brats 1/Brats 1_t1.nii",),
    }


def test_a_dataset_needs_no_finder_of_its_own(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "T2/p1.nii.gz",
        "T1/p1.nii.gz",
        "T2/p 2.nii.gz",
        "T1/p 2.nii.gz",
        "T1/notes.txt",
        "p 3.nii.gz",
    )
    assert list(PLAIN.scans(tmp_path)) == ["p1"]
    assert told(PLAIN, tmp_path) == {"p 2": ("T1/p 2.nii.gz", "T2/p 2.nii.gz")}
