"""Folders in another form: read where that costs nothing, else told what they hold and what mends it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep import check
from data_prep.datasets.contract import dataset_of
from data_prep.datasets.forms import advice, nothing_in, unfilled
from data_prep.errors import BadInput
from data_prep.io.command import call

IXI, FASTMRI, BRATS = map(dataset_of, ("ixi", "fastmri", "brats"))
FORMER = "MPRAGESEN_-s256_-0301-00003-000001-01"
HEADS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI025-IOP-0852")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def heads(root: Path, *folders: str) -> Path:
    """Both scans of three subjects, T1 in the first folder and T2 in the second."""
    return touch(
        root,
        *(f"{folder}{subject}-T{i}.nii.gz" for subject in HEADS for i, folder in enumerate(folders, start=1)),
    )


def knees(root: Path, train: str = "singlecoil_train", val: str = "singlecoil_val") -> Path:
    """Three training pairs and one of validation, and the lists."""
    for split, folder, numbers in (("train", train, (1, 2, 3)), ("val", val, (4,))):
        touch(root, *(f"{folder}/file{number}{i}.h5" for number in numbers for i in (0, 1)))
        lines = [f"file{number}0,file{number}1,0.5\n" for number in numbers]
        (root / f"{split}.csv").write_text("".join(lines))
    return root


def lists(root: Path) -> dict[str, Path]:
    return {f"{split}_pairs": root / f"{split}.csv" for split in ("train", "val")}


# ---- read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folders",
    [
        ("IXI-T1/", "IXI-T2/"),
        ("", ""),
        ("T1/", "T2/"),  # TorchIO's
        ("IXI-T1/IXI-T1/", "IXI-T2/IXI-T2/"),
        ("IXI-T1/IXI-T1/", "IXI-T2/"),
    ],
)
def test_ixi_is_read_from_folders_that_programs_leave(tmp_path: Path, folders: tuple[str, str]) -> None:
    found = IXI.scans(heads(tmp_path, *folders))
    assert tuple(found) == HEADS
    assert not unfilled(IXI, found)
    assert found[HEADS[0]].target == str(tmp_path / f"{folders[1]}{HEADS[0]}-T2.nii.gz")
    assert check.recognise(tmp_path) == "ixi"


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("singlecoil_train", "singlecoil_val/singlecoil_val"),
        ("singlecoil_train/singlecoil_train", "singlecoil_val"),
        ("knee_singlecoil_train/singlecoil_train", "knee_singlecoil_val"),
    ],
)
def test_fastmri_is_read_from_folders_that_archives_leave(tmp_path: Path, train: str, val: str) -> None:
    root = knees(tmp_path, train, val)
    found = FASTMRI.scans(root, lists(root))
    assert not unfilled(FASTMRI, found)
    assert (found["file11"].target, found["file41"].auxiliary) == (
        str(root / train / "file11.h5"),
        str(root / val / "file40.h5"),
    )
    # Where a file should be is told of its folder.
    (root / val / "file40.h5").unlink()
    assert FASTMRI.scans(root, lists(root))["file41"].auxiliary.startswith(str(root / val.split("/")[0]))


@pytest.mark.parametrize(
    ("subject", "person", "above", "scans"),
    [
        ("Brats18_2013_0_1", "Brats18_2013_0", "HGG/", ("_t1.nii.gz", "_t2.nii.gz")),
        ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB", "", ("_t1.nii", "_t2.nii")),
        ("BraTS20_Training_001", "BraTS20_Training_001", "Train/", ("_t1.nii", "_t2.nii")),
        ("BraTS2021_00000", "BraTS2021_00000", "", ("_t1.nii.gz", "_t2.nii.gz")),
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005", "", ("-t1n.nii.gz", "-t2w.nii.gz")),
    ],
)
def test_brats_is_read_by_the_names_of_every_year(
    tmp_path: Path, subject: str, person: str, above: str, scans: tuple[str, str]
) -> None:
    touch(tmp_path, *(f"{above}{subject}/{subject}{scan}" for scan in scans))
    found = BRATS.scans(tmp_path)
    assert found[subject].target == (tmp_path / f"{above}{subject}/{subject}{scans[1]}").as_posix()
    assert found[subject].auxiliary == (tmp_path / f"{above}{subject}/{subject}{scans[0]}").as_posix()
    assert BRATS.group(subject) == person
    # One that is missing is told by its name of that year.
    (tmp_path / f"{above}{subject}/{subject}{scans[0]}").unlink()
    assert BRATS.scans(tmp_path)[subject].auxiliary == found[subject].auxiliary


# ---- refused by name ------------------------------------------------------------------------------


def test_a_head_in_two_folders_is_refused_by_name(tmp_path: Path) -> None:
    root = heads(heads(tmp_path, "IXI-T1/", "IXI-T2/"), "T1/", "T2/")
    said = unfilled(IXI, IXI.scans(root))
    assert said.startswith("none of 3 subjects can fill test, val, train (")
    assert f"is the same scan of subject {HEADS[0]}; keep one of the two" in said
    found = IXI.scans(root)[HEADS[1]]
    others = {str(path) for path in IXI.twins(Path(found.target))}
    assert others == {str(root / folder / f"{HEADS[1]}-T2.nii.gz") for folder in ("IXI-T2", "T2")} - {
        found.target
    }


def test_a_knee_in_two_folders_is_refused_by_name(tmp_path: Path) -> None:
    root = touch(knees(tmp_path), "singlecoil_val/singlecoil_val/file41.h5")
    with pytest.raises(BadInput, match=r"singlecoil_val/file41\.h5: .*file41\.h5 is the same scan; keep one"):
        FASTMRI.scans(root, lists(root))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("A/B_t2.nii", "B/B_t2.nii.gz"), None),
        (
            ("BraTS20_1/BraTS20_1_t2.nii", "BraTS20_1/BraTS20_1_t2.nii.gz"),
            "is the same scan of BraTS20_1",
        ),
        (
            ("HGG/BraTS20_1/BraTS20_1_t1.nii", "BraTS20_1/BraTS20_1_t1.nii"),
            "is the same scan of BraTS20_1",
        ),
        (
            ("BraTS20_1/BraTS20_1_t2.nii", "BraTS2021_1/BraTS2021_1_t2.nii"),
            "BraTS2021_1 and BraTS20_1 are of two releases",
        ),
    ],
)
def test_a_tumour_in_two_files_or_two_releases_is_refused_by_name(
    tmp_path: Path, names: tuple[str, ...], said: str | None
) -> None:
    touch(tmp_path, *names)
    if said is None:
        assert list(BRATS.scans(tmp_path)) == ["B"]
    else:
        with pytest.raises(BadInput, match=said):
            BRATS.scans(tmp_path)


# ---- told -----------------------------------------------------------------------------------------

FOUND: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "archives of IXI": (
        lambda root: touch(root, "IXI-T1.tar", "IXI-T2.tar"),
        "ixi",
        "IXI-T1.tar, IXI-T2.tar: not unpacked; run python -m data_prep.datasets.ixi.fetch --root {root}",
    ),
    # As Kaggle and programs on Windows unpack the .nii.gz, in which these names are kept.
    "former names of IXI": (
        lambda root: touch(root, *(f"IXI-T1/{subject}-{FORMER}.nii" for subject in HEADS)),
        "ixi",
        f"IXI-T1/IXI025-IOP-0852-{FORMER}.nii: unpacked under former names, which do not tell T1",
    ),
    "an archive one level down": (
        lambda root: touch(root, "download/knee_singlecoil_val.tar.xz"),
        "fastmri",
        "download/knee_singlecoil_val.tar.xz: not unpacked; run tar -xf "
        "{root}/download/knee_singlecoil_val.tar.xz -C {root}/download",
    ),
    "a zip": (
        lambda root: touch(root, "BraTS.zip"),
        "brats",
        "BraTS.zip: not unpacked; run unzip {root}/BraTS.zip",
    ),
    "several coils": (
        lambda root: touch(root, "multicoil_train/file1.h5", "multicoil_val/file2.h5"),
        "fastmri",
        "multicoil_train, multicoil_val: k-space of several coils; get singlecoil_train and singlecoil_val",
    ),
    "the test set": (
        lambda root: touch(root, "singlecoil_test/file1.h5"),
        "fastmri",
        "singlecoil_test: the undersampled test set; get singlecoil_train",
    ),
    "BIDS": (
        lambda root: touch(root, *(f"sub-{i:02d}/anat/sub-{i:02d}_T1w.nii.gz" for i in range(6))),
        "ixi",
        "sub-00, sub-01, sub-02, sub-03 and 2 more: BIDS, which goes by other names; give the scans the",
    ),
    "a folder too high": (
        lambda root: heads(root, "IXI/IXI-T1/", "IXI/IXI-T2/"),
        "ixi",
        "the scans of IXI are in {root}/IXI: point datasets.ixi.root there",
    ),
    "another dataset": (
        lambda root: heads(root, "T1/", "T2/"),
        "brats",
        "it holds scans of IXI: configure datasets.ixi",
    ),
    "something else": (
        lambda root: touch(root, *(f"{i}.dcm" for i in range(9)), ".hidden"),
        "ixi",
        "it holds 0.dcm, 1.dcm, 2.dcm, 3.dcm and 5 more",
    ),
    "nothing": (lambda root: root, "ixi", "it is empty"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_folder_holds_instead_is_told_with_the_remedy(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, dataset, said = FOUND[name]
    root = make(tmp_path)
    expected = f"{root}: no scans of {dataset_of(dataset).label} ({dataset_of(dataset).form}) here; "
    error = str(nothing_in(root, [dataset_of(dataset)]))
    assert error.startswith(expected)
    assert said.format(root=root) in error
    # The command says the same of a folder of which nobody said whose it is, where nothing is readable.
    for words in (["--dataset", dataset], [] if "dataset" not in name else ["--dataset", dataset]):
        monkeypatch.setattr("sys.argv", ["check", str(root), *words])
        with pytest.raises(BadInput) as caught:
            call(check.main)
        assert said.format(root=root) in str(caught.value)


def test_the_folder_within_is_told_from_the_one_above(tmp_path: Path) -> None:
    root = heads(tmp_path, "IXI-T1/", "IXI-T2/") / "IXI-T2"
    assert unfilled(IXI, IXI.scans(root))
    assert f"the scans of IXI are in {tmp_path}: point datasets.ixi.root there" in advice(root, [IXI])
    knee = knees(tmp_path / "knee") / "singlecoil_train"
    assert f"the scans of fastMRI are in {knee.parent}" in advice(knee, [FASTMRI], lists(knee.parent))


def test_a_command_may_be_copied_whatever_the_folder_is_called(tmp_path: Path) -> None:
    root = touch(tmp_path / "my scans {1}", "a.zip")
    assert f"run unzip '{root}/a.zip' -d '{root}'" in advice(root, [IXI])
    mine = replace(IXI, other_forms={"*.zip": "copy {path} into {root}/{subject}"})
    assert f"a.zip: copy '{root}/a.zip' into '{root}'/{{subject}}" in advice(root, [mine])


def test_names_that_a_dataset_reads_are_no_other_form(tmp_path: Path) -> None:
    named = {
        f"{kind}_file": f"sub-{{subject}}/sub-{{subject}}_{kind}.nii" for kind in ("target", "auxiliary")
    }
    mine = replace(BRATS, locate=None, misnamed=None, **named)
    root = touch(tmp_path, "sub-1/sub-1_target.nii", "sub-1/sub-1_auxiliary.nii", "sub-2/sub-2_target.nii")
    assert advice(root, [mine]) == "it holds sub-1, sub-2"
    touch(root, "sub-3/anat/sub-3_T1w.nii")
    assert advice(root, [mine]).startswith("sub-3: BIDS")


def test_one_archive_of_two_that_is_not_unpacked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = touch(tmp_path, *(f"IXI-T1/{subject}-T1.nii.gz" for subject in HEADS), "IXI-T2.tar")
    monkeypatch.setattr("sys.argv", ["check", str(root)])
    with pytest.raises(SystemExit, match="1"):
        call(check.main)
    said = " ".join(capsys.readouterr().out.split())
    assert "Not usable: none can be taken, to fill test, val, train." in said
    assert f"Expected: {IXI.form}. In {root}: IXI-T2.tar: not unpacked; run python -m" in said
