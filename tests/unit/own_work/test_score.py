"""Another program's reconstructions as one more row of an experiment's table."""

import json
import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from faults import full
from small_experiment import BRAINS, KNEES, copy_of, subjects

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.prepare.places import folder_of
from workflow import score as score_module
from workflow.evaluate.volumes import scan_record
from workflow.export import export
from workflow.score import main, read_prediction, show, table_of, with_row
from workflow.statistics.scores import Cell


@pytest.fixture(scope="module")
def exported(experiment, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(experiment, folder, also=("truth",), device="cpu")
    return folder


@pytest.fixture
def theirs(exported, tmp_path) -> Path:
    """Zero filling of the brains, to be changed at will."""
    return Path(shutil.copytree(exported / BRAINS.replace("unet", "zf"), tmp_path / "theirs"))


def words(experiment: Path, folder: Path, dataset: str = "brats") -> tuple[object, ...]:
    return "--predictions", folder, "--experiment", experiment, "--dataset", dataset, "--name", "Theirs"


@pytest.mark.parametrize("name", [BRAINS, BRAINS.replace("unet", "zf"), KNEES, KNEES.replace("unet", "zf")])
def test_exported_volumes_have_the_scores_of_their_run(experiment, exported, tmp_path, said, name):
    dataset, _, method, _ = name.split("/")
    said(main, *words(experiment, exported / name, dataset), "--to", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv").set_index("label")
    assert list(table.index) == ["ZF", "UNet", "Theirs"]
    own = {"zf": "ZF", "unet": "UNet"}[method]
    for metric in ("ssim", "psnr", "nmse"):
        for part in ("mean", "std", "rank"):
            assert table.loc["Theirs", f"{metric}_{part}"] == table.loc[own, f"{metric}_{part}"]


@pytest.mark.filterwarnings("error:invalid value")
def test_the_truth_is_best_in_every_column(experiment, exported, tmp_path, said):
    text = said(main, *words(experiment, exported / "brats/truth"), "--to", tmp_path / "table.json")
    (line,) = (line for line in text.splitlines() if "Theirs" in line)
    # What is infinite has no spread.
    assert line.split() == ["Theirs", "1.000", "±", "0.000", "∞", "0.0000", "±", "0.0000"]
    written = json.loads((tmp_path / "table.json").read_text(), parse_constant=pytest.fail)
    rows = {row["label"]: row for row in written}
    assert rows["Theirs"]["ssim_mean"] == 1.0
    assert rows["Theirs"]["nmse_mean"] == 0.0
    assert [rows["Theirs"][f"psnr_{part}"] for part in ("mean", "std", "rank")] == ["inf", None, 1]
    assert [rows["Theirs"][f"{metric}_rank"] for metric in ("ssim", "nmse")] == [1, 1]


@pytest.mark.parametrize("name", ["MyNet [v2]", "[red]x", "odd [/]", "of :x: and [link=http://a]b[/link]"])
def test_a_name_is_printed_as_it_was_given(experiment, capsys, name):
    index = pd.MultiIndex.from_tuples([("a", -1)], names=["subject", "slice"])
    cell = Cell("ok", (0,), pd.DataFrame({"ssim": [0.5], "psnr": [np.nan]}, index=index))
    table = table_of(experiment, "brats", "1d_uniform_6x")
    show(with_row(table, cell, name, ("ssim", "psnr")), ("ssim", "psnr"), "1d_uniform_6x")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "0.500" in line)
    assert line.strip().startswith(f"{name} ")
    assert line.split()[-1] == "undefined"


def test_neither_a_terminal_that_fails_nor_a_full_disk_loses_the_table(
    experiment, exported, tmp_path, said, monkeypatch, capsys
):
    line = (*words(experiment, exported / BRAINS), "--to", tmp_path / "table.csv")
    with monkeypatch.context() as patched:
        patched.setattr(score_module, "show", full)
        with pytest.raises(OSError, match="No space"):
            said(main, *line)
    assert "Theirs" in (tmp_path / "table.csv").read_text()
    monkeypatch.setattr(score_module, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        call(main, [str(word) for word in line])
    assert "Theirs" in capsys.readouterr().out


def rescaled(path: Path, factor: float) -> None:
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) * factor, image.affine), path)


def resampled(path: Path) -> None:
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[:3, :3] *= 2
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32)[::2, ::2, ::2], affine), path)


def shifted(path: Path) -> None:
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 1
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), affine), path)


def poisoned(path: Path) -> None:
    image = nibabel.load(path)
    values = image.get_fdata(dtype=np.float32)
    values[3, 20, 20] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, image.affine), path)


def strange(path: Path) -> None:
    shutil.copy(path, path.with_name("sub-01_t2.nii.gz"))


def a_folder_too_deep(path: Path) -> None:
    (path.parent / "seed0").mkdir()
    path.rename(path.parent / "seed0" / path.name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (strange, r"sub-01_t2\.nii\.gz: no test volume has this name"),
        (a_folder_too_deep, r"names in \S+/theirs are those of the scans, such as Bra"),
        (Path.unlink, r"_t2\.nii\.gz: no such file \(1 of 2 test volumes are missing\)"),
        (resampled, r"_t2\.nii\.gz: 4 x 20 x 17 voxels, but the scan has 7 x 40 x 34; write it on"),
        (shifted, r"_t2\.nii\.gz: its header places it up to 1\.7 mm from the scan"),
        (
            lambda path: rescaled(path, 1 / 400),
            r"_t2\.nii\.gz: its intensities are 0\.00\d+ times",
        ),
        (lambda path: rescaled(path, 3), r"_t2\.nii\.gz: its intensities are [234]\.\d+ times the scan's"),
        (poisoned, r"_t2\.nii\.gz: voxels are NaN or infinite"),
    ],
)
def test_volumes_that_do_not_belong_are_refused_by_name(experiment, theirs, said, spoil, message):
    spoil(next(theirs.rglob("*.nii.gz")))
    with pytest.raises(BadInput, match=message) as told:
        said(main, *words(experiment, theirs))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_good_volume_is_refused_for_a_smaller_factor(experiment, exported, tmp_path, said, factor):
    theirs = Path(shutil.copytree(exported / "brats/truth", tmp_path / "theirs"))
    rescaled(next(theirs.rglob("*.nii.gz")), factor)
    with pytest.raises(BadInput, match=f"its intensities are {factor} times the scan's"):
        said(main, *words(experiment, theirs))


def test_what_rings_below_zero_is_scored(experiment, exported, tmp_path, said):
    """As networks without a last bound do; tables score them as they are."""
    theirs = Path(shutil.copytree(exported / "brats/truth", tmp_path / "theirs"))
    path = next(theirs.rglob("*.nii.gz"))
    image = nibabel.load(path)
    values = image.get_fdata(dtype=np.float32)
    rung = values + 0.1 * values.max() * (-1) ** np.arange(values.shape[-1])
    nibabel.save(nibabel.Nifti1Image(rung.astype(np.float32), image.affine), path)
    assert "Theirs" in said(main, *words(experiment, theirs))


def test_a_scan_without_signal_has_no_factor(experiment, theirs):
    record = scan_record(experiment, "brats", subjects(experiment, "brats")[0])
    blank = np.zeros((7, 32, 32), np.float32)
    assert read_prediction(theirs / record.target_file, record, blank).shape == blank.shape


def test_knees_of_another_size_or_without_their_images_are_refused(experiment, exported, tmp_path, said):
    theirs = Path(shutil.copytree(exported / KNEES, tmp_path / "theirs"))
    path = theirs / f"{subjects(experiment, 'fastmri')[0]}.h5"
    with h5py.File(path, "a") as file:
        images = file["reconstruction"][()]
        del file["reconstruction"]
        file["reconstruction"] = images[:, 4:36, 4:36]
    with pytest.raises(BadInput, match="is float32 of 3 x 32 x 32, but the scan has images of 3 x 40 x 40"):
        said(main, *words(experiment, theirs, "fastmri"))
    with h5py.File(path, "a") as file:
        del file["reconstruction"]
    with pytest.raises(BadInput, match="dataset reconstruction is missing; write"):
        said(main, *words(experiment, theirs, "fastmri"))


def test_what_is_not_said_is_asked_for(experiment, theirs, said):
    plain = ("--predictions", theirs, "--experiment", experiment)
    with pytest.raises(BadInput, match=r"--dataset: .* has brats, fastmri; choose one"):
        said(main, *plain)
    with pytest.raises(BadInput, match=r"--mask: .* has 1d_uniform_6x; '2d_radial_6x' is none of them"):
        said(main, *plain, "--dataset", "brats", "--mask", "2d_radial_6x")
    with pytest.raises(BadInput, match=r"--to: table\.xlsx ends in neither \.csv nor \.json"):
        said(main, *plain, "--to", "table.xlsx")
    with pytest.raises(BadInput, match=r"--predictions: .* is no folder"):
        said(main, *words(experiment, theirs / "none"))
    with pytest.raises(BadInput, match="it holds no test data"):
        said(main, *words(theirs, theirs))


@pytest.mark.parametrize(
    "place", ["tables/table_brats.csv", "data/brats/mine.json", "../shared/data/brats/a.csv"]
)
def test_files_of_the_results_are_not_written(experiment, exported, said, place):
    to = experiment / place
    before = to.read_bytes() if to.is_file() else None
    with pytest.raises(BadInput, match=r"--to: .* lies within .*; choose a folder elsewhere"):
        said(main, *words(experiment, exported / BRAINS), "--to", to)
    assert (to.read_bytes() if to.is_file() else None) == before


def test_other_data_than_the_rows_is_refused(experiment, theirs, tmp_path, said):
    copy = copy_of(experiment, tmp_path / "copy")
    with h5py.File(folder_of(copy, "brats", "data") / "test.h5", "a") as file:
        file.attrs["fingerprint"] = "0" * 64
    with pytest.raises(BadInput, match="seed0: it was scored on other data than"):
        said(main, *words(copy, theirs))
