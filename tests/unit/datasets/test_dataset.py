"""Datasets: found by existing, read, cropped, split, planned and probed; BraTS; faults found by the check."""

import json
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from data_prep import check, check_dataset
from data_prep import datasets as package
from data_prep.contracts.checking import problem_with
from data_prep.datasets import align as align_step
from data_prep.datasets.brats.dataset import DATASET, FIRST_EMBEDDED_NUMBER, check_size
from data_prep.datasets.contract import Dataset, Later, Size, datasets
from data_prep.datasets.contract import discover as discover_datasets
from data_prep.datasets.nifti import read_volume
from data_prep.datasets.registered import align as align_registered
from data_prep.datasets.registered import check as findings
from data_prep.datasets.registered import read_registered
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.phantom.toy import write_toy_donors
from data_prep.volumes import Volume, load_volume, save_volume
from methods.registry import discover
from workflow.plan.config import check_config, schema
from workflow.plan.page import index_definition
from workflow.plan.plan import Plan
from workflow.plan.probes import FIGURES, TrustPlan
from workflow.provenance.sources import dataset_sources, module_sources
from workflow.run.identity import training_sources

SIZE = Size(matrix=64, slices=8, slice_spacing=6.0)


@pytest.fixture(scope="module")
def donors(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("donors")
    write_toy_donors(folder, DATASET.maps)
    return folder


@pytest.fixture(scope="module")
def scans(donors, tmp_path_factory) -> Path:
    """Three embedded subjects in the published form."""
    root = tmp_path_factory.mktemp("scans")
    for index in range(3):
        DATASET.embed(donors, index, 2022, SIZE, root)
    return root


# ---- discovery ------------------------------------------------------------------------------------

DEFINITION = """
from data_prep.datasets.contract import Dataset
DATASET = Dataset({}, "X", "T2", "T1", {}, "{{subject}}.b")
"""


@contextmanager
def added(folder: Path, monkeypatch, name: str, text: str) -> Iterator[None]:
    """Put a dataset beside those that are there."""
    (folder / name).mkdir()
    (folder / name / "dataset.py").write_text(text)
    caches = discover_datasets, schema
    with monkeypatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(folder)])
        for cached in caches:
            cached.cache_clear()
        try:
            yield
        finally:
            for cached in caches:
                cached.cache_clear()
            for module in (f"data_prep.datasets.{name}.dataset", f"data_prep.datasets.{name}"):
                sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "DATASET is no Dataset"),
        (DEFINITION.format("'brats'", "'{subject}.a'"), "has the id 'brats' too"),
        (DEFINITION.format("'ixi'", "'{subject}.a'"), "has the id 'ixi' too"),
        (DEFINITION.format("'My set'", "'{subject}.a'"), "id is 'My set'"),
        (DEFINITION.format("'mine'", "'scan.a'"), "target_file is 'scan.a', without {subject}"),
        (
            DEFINITION.format("'mine'", "'{subject}/{visit}.a'"),
            "target_file is '{subject}/{visit}.a', with more in braces than {subject}; put",
        ),
        (
            DEFINITION.format("'mine'", "'{subject}.a'").replace('.b")', '.b", truth="{subject}_{visit}.c")'),
            "truth is '{subject}_{visit}.c', with more in braces than {subject}",
        ),
        (
            DEFINITION.format("'mine'", "'{subject}.a'").replace('.b")', '.b", order=None)'),
            "DATASET: order is None; give a whole number",
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, monkeypatch, text, reason):
    told = pytest.raises(BadInput, match=rf"zz_mine/dataset\.py: .*{reason}")
    with added(tmp_path, monkeypatch, "zz_mine", text), told:
        discover_datasets()


def test_subjects_are_found_by_either_scan_and_other_files_are_not_theirs(tmp_path):
    for name in (
        "BraTS2021_00001/BraTS2021_00001_t2.nii.gz",
        "BraTS2021_00002/BraTS2021_00002_t1.nii.gz",
        "BraTS2021_00003/BraTS2021_00003_flair.nii.gz",
        "BraTS2021_00004/BraTS2021_00005_t2.nii.gz",
        "elsewhere.nii.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert DATASET.find(tmp_path) == ["BraTS2021_00001", "BraTS2021_00002"]
    with pytest.raises(BadInput, match="no such folder"):
        DATASET.find(tmp_path / "nowhere")


# ---- reading --------------------------------------------------------------------------------------


def moved(path: Path, to: Path, shift: float = 0.0, crop: int = 0) -> Path:
    """Copy a scan with another header or fewer slices."""
    volume = load_volume(path)
    affine = volume.affine.copy()
    affine[0, 3] += shift
    save_volume(to, volume.data[:, :, crop:].astype(np.int16), affine)
    return to


def test_two_scans_on_one_grid_are_read_as_axial_volumes(scans):
    target, auxiliary = read_registered(*DATASET.files(scans, DATASET.find(scans)[0]))
    assert target.data.shape == auxiliary.data.shape == (64, 64, 8)
    assert (target.affine == auxiliary.affine).all()
    assert np.sign(np.diag(target.affine)[:3]).tolist() == [-1, -1, 1]


def test_scans_on_different_grids_are_refused(scans, tmp_path):
    target, auxiliary = DATASET.files(scans, DATASET.find(scans)[0])
    # A hundredth of a voxel is rounding; two millimetres are another place.
    read_registered(target, moved(auxiliary, tmp_path / "near.nii.gz", 0.03))
    with pytest.raises(BadInput, match=r"far.nii.gz: its header places it up to 2.0 mm from BraTS"):
        read_registered(target, moved(auxiliary, tmp_path / "far.nii.gz", 2.0))
    with pytest.raises(BadInput, match=r"short.nii.gz: 64 x 64 x 7 voxels, but BraTS.* has 64 x 64 x 8"):
        read_registered(target, moved(auxiliary, tmp_path / "short.nii.gz", crop=1))


# ---- BraTS ----------------------------------------------------------------------------------------


def test_embedded_subjects_have_the_published_form(scans):
    names = DATASET.find(scans)
    assert names == [f"BraTS2021_{FIRST_EMBEDDED_NUMBER + index}" for index in range(3)]
    for name in names:
        for contrast in ("t1", "t2"):
            image = nibabel.load(scans / name / f"{name}_{contrast}.nii.gz")
            assert image.get_data_dtype() == np.int16
            assert image.shape == (64, 64, 8)
            assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
            assert image.header.get_zooms() == pytest.approx((3.75, 3.75, 6.0))


def test_the_skull_is_gone_and_both_contrasts_show_one_brain(scans):
    for name in DATASET.find(scans):
        target, auxiliary = (volume.data for volume in read_registered(*DATASET.files(scans, name)))
        brain = auxiliary > 0
        assert 0.1 < brain.mean() < 0.5, "air and skull are zero"
        # Where one is zero the other is, but for single voxels of noise near nothing.
        assert (brain == (target > 0)).mean() > 0.99
        # Fluid is bright in T2 and dark in T1.
        inside = np.corrcoef(target[brain], auxiliary[brain])[0, 1]
        assert inside < -0.3


def test_anatomy_does_not_depend_on_the_size(donors, scans, tmp_path):
    DATASET.embed(donors, 0, 2022, replace(SIZE, slices=4), tmp_path)
    name = DATASET.find(tmp_path)[0]
    small, large = (load_volume(DATASET.files(root, name)[0]) for root in (tmp_path, scans))
    # The middle four of eight slices.
    both = np.corrcoef(small.data.ravel(), large.data[:, :, 2:6].ravel())[0, 1]
    assert both > 0.98


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (Size(32, 8, 6.0), "matrix is 32; choose 64 to 256"),
        (Size(64, 3, 6.0), "slices is 3"),
        (Size(64, 100, 2.0), "slices times slice spacing is 200"),
    ],
)
def test_sizes_that_the_donors_cannot_fill_are_refused(size, problem):
    with pytest.raises(BadInput, match=problem):
        check_size(size)
    # The published size can be filled.
    check_size(Size(240, 155, 1.0))


# ---- cropping and splitting -----------------------------------------------------------------------


def align(monkeypatch, scans: Path, subject: str, output: Path, *options: str) -> dict:
    target, auxiliary = DATASET.files(scans, subject)
    arguments = ["--dataset", "brats", "--target", str(target), "--auxiliary", str(auxiliary)]
    arguments += ["--subject", subject, "--source", "embedded", "--matrix", "48", "--slices", "4"]
    monkeypatch.setattr(sys, "argv", ["align", *arguments, "--output", str(output), *options])
    call(align_step.main)
    return json.loads((output / f"{subject}.json").read_text())


def test_a_subject_that_cannot_be_used_stops_or_is_excluded(scans, tmp_path, monkeypatch):
    subject = DATASET.find(scans)[0]
    broken = tmp_path / "scans"
    for path in DATASET.files(scans, subject):
        copy = broken / path.relative_to(scans)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    DATASET.files(broken, subject)[1].unlink()
    with pytest.raises(BadInput, match=f"{subject}_t1.nii.gz: no such file"):
        align(monkeypatch, broken, subject, tmp_path / "a")
    record = align(monkeypatch, broken, subject, tmp_path / "a", "--bad-scans", "exclude")
    assert (record["status"], record["slices"]) == ("excluded", 0)
    assert "_t1.nii.gz: no such file" in record["reason"]
    ((found,), counted) = findings(DATASET, broken, 4, False, {})
    assert (counted["subjects"], counted["excluded"]) == ("1", "1")
    assert (found.status, found.subject) == ("excluded", subject)
    assert found.reason.startswith(f"{subject}/{subject}_t1.nii.gz: no such file")
    assert (tmp_path / f"a/{subject}.png").stat().st_size > 1000


def test_too_few_slices_and_empty_slices_are_named(scans, tmp_path, monkeypatch):
    subject = DATASET.find(scans)[0]
    with pytest.raises(
        BadInput, match=r"8 axial slices, but 9 are wanted; set datasets.brats.slices, or the"
    ):
        align(monkeypatch, scans, subject, tmp_path, "--slices", "9")
    volume = load_volume(DATASET.files(scans, subject)[0])
    empty = np.zeros(volume.data.shape, np.int16)
    empty[:, :, 0] = 1
    for path in DATASET.files(tmp_path / "scans", subject):
        save_volume(path, empty, volume.affine)
    with pytest.raises(BadInput, match="the central slices hold no signal"):
        align(monkeypatch, tmp_path / "scans", subject, tmp_path)


def test_the_check_of_a_folder_recognises_it(scans, monkeypatch, capsys):
    assert check.recognise(scans) == "brats"
    for more, wanted, code in ((["--slices", "8", "--deep"], "Usable: all 3", 0), ([], "Usable: all 3", 0)):
        monkeypatch.setattr(sys, "argv", ["check", str(scans), *more])
        with pytest.raises(SystemExit) as end:
            call(check.main)
        assert end.value.code == code
        assert wanted in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check", str(scans), "--slices", "9", "--deep"])
    with pytest.raises(SystemExit) as end:
        call(check.main)
    assert end.value.code == 1
    for more, said in (
        (["--slices", "0"], "--slices: is 0; give"),
        (["--val-pairs", "a.csv"], "--val-pairs: "),
    ):
        with pytest.raises(BadInput, match=said):
            call(check.main, [str(scans), *more])


# ---- the plan -------------------------------------------------------------------------------------


def config(**changes):
    dataset = {
        "source": "embedded",
        "matrix": 64,
        "slices": 4,
        "acquired_slices": 6,
        "slice_spacing": 6.0,
        "splits": {"train": 2, "val": 1, "test": 2},
        "masks": ["1d_uniform_6x", "2d_poisson_6x"],
    }
    content = {
        "experiment": "mine",
        "compare": ["zf", "unet"],
        "datasets": {"brats": dataset | changes},
        "training": {"epochs": {"brats": 1}, "batch_size": 4},
    }
    return check_config(content, discover())


def test_a_configuration_of_it_alone_has_one_table_of_all_methods():
    plan = Plan(config(), discover())
    (definition,) = plan.table_definitions.values()
    assert (definition.number, definition.numeral, definition.dataset) == ("brats", "BraTS", "brats")
    assert definition.masks == ("1d_uniform_6x", "2d_poisson_6x")
    assert [row.label for row in definition.rows] == ["ZF", "UNet"]
    assert Counter(run.method for run in plan.runs) == {"zf": 2, "unet": 2}
    assert plan.spec(plan.runs[0]).noise == 0.1
    assert plan.figure_definitions == {}
    page = index_definition(TrustPlan(plan))
    assert [row.label for row in page.viewer[0].rows] == ["ZF", "UNet"]
    assert page.tables["tables"] == ("tables/table_brats",)
    assert not [file for file in page.files if file.startswith("claims/")]
    assert plan.subjects.fetched() == [
        f"results/shared/donors/{name}.json" for name in ("brain_asym", "brain_sym")
    ]


def test_its_subjects_are_the_embedded_or_the_published_ones(scans):
    subjects = Plan(config(), discover()).subjects
    embedded = subjects["brats"]
    assert len(embedded) == 5
    first = f"BraTS2021_{FIRST_EMBEDDED_NUMBER}"
    assert embedded[first].target == f"{subjects.folder('raw', 'brats')}/{first}/{first}_t2.nii.gz"
    splits = {"train": 1, "val": 1, "test": 1}
    plan = Plan(config(source="published", root=str(scans), splits=splits), discover())
    assert list(plan.subjects["brats"]) == DATASET.find(scans)
    assert plan.subjects.missing_scans() is None
    nowhere = Plan(config(source="published", root="/nowhere"), discover())
    assert len(nowhere.subjects["brats"]) == 5, "a dry run counts the jobs"
    assert "datasets.brats.root names /nowhere, which does not exist" in nowhere.subjects.missing_scans()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"matrix": 40}, "datasets.brats: embedded BraTS brains: matrix is 40"),
        ({"acquired_slices": 3}, "datasets.brats.acquired_slices: must be a number, at least"),
        ({"masks": ["random_4x"]}, "datasets.brats.masks: unknown mask 'random_4x'"),
        ({"register": True}, "'register' was unexpected"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(changes, problem):
    with pytest.raises(BadInput, match=problem):
        config(**changes)


def test_a_dataset_without_an_embedded_form_is_read_only(monkeypatch):
    bare = replace(DATASET, embed=None, embedded_id=None)
    monkeypatch.setitem(discover_datasets(), "brats", ("data_prep.datasets.brats.dataset", bare))
    with pytest.raises(BadInput, match=r"datasets\.brats\.source: brats has no embedded form"):
        config()
    with pytest.raises(BadInput, match="has no embedded form; name the folder of its scans with --root"):
        check_dataset.run("brats", None, None)


def test_a_datasets_file_is_no_source_of_others():
    own = "data_prep/datasets/brats/dataset.py"
    assert own in dataset_sources(["brats"])
    for step in ("data_prep.datasets.align", "data_prep.prepare", "workflow.train", "workflow.tables"):
        assert own not in module_sources(step)
    assert not [name for name in training_sources("unet", "random_4x") if "datasets" in name]


def test_a_step_depends_on_its_own_file_of_a_dataset():
    align, embed = (set(dataset_sources(["ixi"], name)) for name in ("align", "embed"))
    assert "data_prep/datasets/ixi/align.py" in align - embed
    assert "data_prep/datasets/ixi/embedded.py" in embed - align
    for name in ("folder", "fetch", "report", "lesions"):
        assert f"data_prep/datasets/ixi/{name}.py" not in align | embed


def test_a_step_depends_on_what_it_calls_beside_its_own_function(monkeypatch):
    module, dataset = discover_datasets()["brats"]
    elsewhere = {"read": "summary", "describe": "lease", "check_size": "verify"}
    given: dict[str, Any] = {field: Later(f"workflow.{file}:main") for field, file in elsewhere.items()}
    monkeypatch.setitem(discover_datasets(), "brats", (module, replace(dataset, **given)))
    assert {"workflow/summary.py", "workflow/lease.py"} <= set(dataset_sources(["brats"], "align"))
    assert "workflow/verify.py" in dataset_sources(["brats"], "embed")
    assert not {"workflow/summary.py", "workflow/verify.py"} & set(dataset_sources(["brats"]))


@pytest.mark.parametrize("name", datasets())
def test_functions_that_are_imported_later_are_there(name):
    dataset = discover_datasets()[name][1]
    for function in vars(dataset).values():
        if isinstance(function, Later):
            assert callable(pkgutil.resolve_name(function.place))


def test_planning_loads_nothing_heavy():
    code = "import sys, workflow.plan.config as c; c.schema(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "SimpleITK", "nibabel", "matplotlib", "scipy", "skimage", "h5py", "rich"}
    assert not heavy & set(done.stdout.split())


# ---- what a dataset can do is asked of its entry -----------------------------------------------------

ROOT = Path(__file__).parents[3]
PHANTOM = """
from data_prep.datasets.contract import Dataset
DATASET = Dataset("phantom", "Phantom", "MR", "CT", "{subject}_mr.nii", "{subject}_ct.nii", measured=MEASURED)
"""


@pytest.mark.parametrize("measured", [False, True])
def test_noise_is_altered_wherever_it_is_simulated(tmp_path, monkeypatch, measured):
    with added(tmp_path, monkeypatch, "phantom", PHANTOM.replace("MEASURED", str(measured))):
        content = {
            "experiment": "mine",
            "compare": ["zf"],
            "datasets": {
                "phantom": {
                    "source": "published",
                    "root": str(tmp_path / "nowhere"),
                    "matrix": 64,
                    "slices": 4,
                    "splits": {"train": 1, "val": 1, "test": 1},
                    "masks": ["1d_uniform_6x"],
                }
            },
            "training": {"epochs": 1, "batch_size": 4},
            "trust": {"masks": {"phantom": ["1d_uniform_6x"]}, "noise": [0.05, 0.2]},
        }
        checked = check_config(content, discover())
        assert ("noise" in checked["datasets"]["phantom"]) == (not measured)
        trust = TrustPlan(Plan(checked, discover()))
        (run,) = trust.runs
        assert ("--noise 0.05 0.2" in " ".join(trust.options(run))) == (not measured)
        assert trust.wanted(FIGURES) == ([] if measured else [("noise", "phantom")])
        assert trust.lesion_file(run) == []


# The seed of frozen masks names the first dataset that had some.
MAY_NAME = {"data_prep/masks/sets.py"}


def test_no_other_file_names_a_dataset_of_the_paper():
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("data_prep", "methods", "workflow")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in (".py", ".smk") and re.search("ixi|fastmri", path.read_text(encoding="utf-8"))
    ]
    own = ("data_prep/datasets/ixi/", "data_prep/datasets/fastmri/", "data_prep/masks/families/fastmri_")
    assert [name for name in found if not name.startswith(own) and name not in MAY_NAME] == []


# ---- the contract check ---------------------------------------------------------------------------


def candidate(dataset: Dataset, scans: Path, donors: Path, work: Path) -> check_dataset.Candidate:
    return check_dataset.Candidate(dataset, scans, donors, work, made=False)


def as_one(target, auxiliary):
    volume = load_volume(target)
    return volume, volume


def shifted(target, auxiliary):
    first, second = read_registered(target, auxiliary)
    return replace(first, data=first.data - 5), second


def heedless(target, auxiliary):
    volume = Volume(np.ones((64, 64, 8), np.float32), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return volume, replace(volume, data=2 * volume.data)


def mirrored(target, auxiliary):
    return tuple(replace(volume, affine=-volume.affine) for volume in read_registered(target, auxiliary))


def placeless(wanted, record):
    aligned = align_registered(wanted, record)
    return replace(aligned, record=replace(aligned.record, geometry=None))


def mirror_image(path, geometry):
    return read_volume(path, geometry)[::-1]


FAULTS = [
    *((name, DATASET, "find sees no subject") for name in ("finding", "reading", "road", "bad_scans")),
    ("finding", replace(DATASET, auxiliary_file=DATASET.target_file, locate=None), "is both scans of"),
    (
        "finding",
        replace(DATASET, misnamed=lambda root: {"x": [*root.glob("*/*_t2.nii.gz")]}),
        "is taken, but mis",
    ),
    ("reading", replace(DATASET, read=as_one), "both scans are one image"),
    ("reading", replace(DATASET, read=shifted), "the target is negative somewhere"),
    ("reading", replace(DATASET, read=lambda *_: 1 / 0), "ZeroDivisionError"),
    ("reading", replace(DATASET, read=mirrored), "axes run to [1.0, 1.0, -1.0], not left"),
    ("road", replace(DATASET, group=lambda subject: "one"), "BadInput: config: datasets.brats.splits"),
    ("road", replace(DATASET, align=placeless), "align tells no geometry, so that no volume can be exported"),
    ("road", replace(DATASET, imported=mirror_image), "slices are others when BraTS2021_90000_t2.nii.gz is"),
    ("bad_scans", replace(DATASET, read=heedless), "is read without complaint"),
]


@pytest.mark.parametrize(("name", "dataset", "problem"), FAULTS)
def test_a_fault_is_found(name, dataset, problem, scans, donors, tmp_path):
    # Without a subject there is nothing to find.
    root = tmp_path if problem == "find sees no subject" else scans
    subject = candidate(dataset, root, donors, tmp_path)
    found = problem_with(check_dataset.CHECKS[name], subject, tmp_path)
    assert found is not None
    assert problem in found


def test_published_scans_are_checked_where_they_lie(scans, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_dataset", "brats", "--root", str(scans)])
    call(check_dataset.main)
    assert "4 of 4 checks passed" in capsys.readouterr().out
