"""What a configuration asks for: each run once, the settings of every table and figure, the right scans."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_up_results import run_record
from published_masks import MASKS

from data_prep.errors import BadInput
from data_prep.io.json_files import canonical, from_json, to_json
from methods.registry import MethodFolder, discover
from workflow.plan.__main__ import unfinished
from workflow.plan.config import check_config, read_config
from workflow.plan.definitions import PHASED, Curve, Run
from workflow.plan.page import index_definition, own_files
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.subjects import misnamed_scans
from workflow.provenance.files import leftovers
from workflow.provenance.runs import Planned
from workflow.run.spec import RunSpec

ROOT = Path(__file__).parents[3]
METHODS = discover()
COMPARED = [name for name, entry in METHODS.items() if entry.default.collection is None]


def plan(**changes: Any) -> Plan:
    """A plan on embedded data of both datasets; keywords replace top-level keys."""
    splits = {"train": 3, "val": 2, "test": 2}
    embedded = {"source": "embedded", "matrix": 64, "slices": 4, "splits": splits}
    content = {
        "experiment": "test",
        "paper": "manet",
        "datasets": {
            "ixi": {**embedded, "masks": list(MASKS["ixi"])},
            "fastmri": {**embedded, "masks": list(MASKS["fastmri"])},
        },
        "sweep": {"alphas": [0.2, 0.4], "betas": [0.4, 0.6]},
        "training": {"epochs": 3, "batch_size": 2},
    }
    return Plan(check_config(content | changes, METHODS), METHODS)


def published(name: str, root: Path, **changes: Any) -> Plan:
    """A plan on published scans of one dataset."""
    dataset = {"source": "published", "root": str(root), "matrix": 64, "slices": 4, "masks": [MASKS[name][0]]}
    dataset["splits"] = {"train": 1, "val": 1, "test": 1}
    if name == "fastmri":
        dataset |= {"train_pairs": str(root / "train.csv"), "val_pairs": str(root / "val.csv")}
    tables = {"ixi": [1], "fastmri": [2]}
    return plan(**{"datasets": {name: dataset}, "tables": tables[name], "figures": [], **changes})


# ---- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "sweep_points"), [("demo", 3), ("smoke", 3), ("paper", 15)])
def test_a_shipped_configuration_trains_what_the_paper_shows_once(name, sweep_points):
    found = Plan(read_config(ROOT / "config" / f"{name}.yaml"), METHODS)
    assert len(found.runs) == len(set(found.runs))
    # Table I and II: every method; III: two more under all masks of IXI; IV: two more under one mask.
    expected = len(COMPARED) * 8 + len(COMPARED) * 4 + 2 * 8 + 2 + sweep_points
    assert len(found.runs) == expected
    trained = [run for run in found.runs if found.trained(run.method)]
    assert len(trained) == expected - 12  # zero filling, under 12 masks
    assert len({run.path for run in found.runs}) == expected


def test_the_extended_configuration_compares_every_method_there_is():
    found = Plan(read_config(ROOT / "config" / "extended.yaml"), METHODS)
    rows = [method for entry in METHODS.values() for method in entry.compared]
    assert {"cs", "cs-wavelet", "unet2", "varnet", "mcvarnet", "fsmnet", "mtrans", *COMPARED} <= set(rows)
    for number in (1, 2):
        assert [row.method for row in found.table_definitions[number].rows] == rows
    assert len(found.runs) == len(rows) * 12
    assert found.spec(Run("ixi", "1d_uniform_6x", "cs", 0)).tune["weight"]


@pytest.mark.parametrize("name", ["demo", "smoke", "paper"])
def test_the_papers_configurations_run_no_other_method(name):
    found = Plan(read_config(ROOT / "config" / f"{name}.yaml"), METHODS)
    folders = {run.method.split("-")[0] for run in found.runs}
    assert folders == {"zf", "unet", "xiang", "dudornet", "manet"}


def test_tables_and_figures_show_the_papers_settings():
    found = plan()
    tables, figures = found.table_definitions, found.figure_definitions
    rows = {number: [row.method for row in table.rows] for number, table in tables.items()}
    assert rows[1] == rows[2] == COMPARED
    assert [row.label for row in tables[1].rows][:2] == ["ZF", "UNet-T2"]
    assert [row.label for row in tables[2].rows][:2] == ["ZF", "UNet-PDFS"]
    assert rows[3] == ["manet-no_kspace", "manet-no_attention", "manet"]
    assert rows[4] == ["manet-sc", "manet", "manet-sc_cs"]
    assert {number: table.masks for number, table in tables.items()} == {
        1: MASKS["ixi"],
        2: MASKS["fastmri"],
        3: MASKS["ixi"],
        4: ("1d_uniform_6x",),
    }
    assert {number: figure.masks for number, figure in figures.items()} == {
        1: ("1d_random_3x",),
        5: ("1d_uniform_6x", "1d_random_3x"),
        6: ("2d_radial_9x", "2d_spiral_9x"),
        7: ("equispaced_4x",),
        8: ("1d_uniform_6x", "1d_random_3x", "2d_radial_6x", "2d_spiral_6x"),
        9: ("equispaced_4x",),
    }


def test_the_default_loss_weights_are_not_trained_twice():
    grid = {(point.alpha, point.beta): point.method for point in plan().figure_definitions[9].grid}
    assert grid == {
        (0.2, 0.4): "manet-a0.2-b0.4",
        (0.2, 0.6): "manet-a0.2-b0.6",
        (0.4, 0.4): "manet-a0.4-b0.4",
        (0.4, 0.6): "manet",
    }


def test_a_configured_loss_weight_moves_the_default_and_leaves_every_point_at_its_own_weights():
    found = plan(methods={"manet": {"parameters": {"alpha": 0.2}}})
    for point in found.figure_definitions[9].grid:
        parameters = found.method(point.method).parameters
        assert (parameters["alpha"], parameters["beta"]) == (point.alpha, point.beta)
    grid = {(point.alpha, point.beta): point.method for point in found.figure_definitions[9].grid}
    assert grid[0.2, 0.6] == "manet"
    assert grid[0.4, 0.6] == "manet-a0.4-b0.6"


def test_a_variant_keeps_what_defines_it_and_takes_the_configured_width():
    found = plan(methods={"manet": {"parameters": {"width": 6, "kspace": True, "fusion": "sc_cs"}}})
    assert found.method("manet").parameters["fusion"] == "sc_cs"
    assert found.method("manet-sc").parameters["fusion"] == "sc"
    assert found.method("manet-no_kspace").parameters["kspace"] is False
    assert {found.method(run.method).parameters["width"] for run in found.runs if "manet" in run.method} == {
        6
    }


def test_a_dataset_with_a_phase_trains_all_of_its_runs_so_and_others_as_they_are():
    content = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    content["datasets"]["ixi"]["phase"] = "smooth"
    plan = Plan(check_config(content, METHODS), METHODS)
    assert {(run.dataset, plan.spec(run).phase) for run in plan.runs} == {
        ("ixi", "smooth"),
        ("fastmri", "none"),
    }
    assert plan.table_definitions[1].phase == "smooth"
    assert plan.table_definitions[1].data_note == "embedded data, not IXI, with a smooth phase"
    assert not plan.table_definitions[1].mirrors


def test_the_trust_configuration_trains_once_more_with_a_phase_under_a_1d_and_a_2d_mask():
    plan = Plan(read_config(ROOT / "config" / "trust.yaml"), METHODS)
    phased = [run for run in plan.runs if plan.spec(run).phase == "smooth"]
    shown = plan.table_definitions[5]
    assert (shown.phase, shown.masks, shown.dataset) == ("smooth", ("1d_uniform_6x", "2d_radial_6x"), "ixi")
    assert plan.runs_of(shown) == phased
    assert len(phased) == 2 * len(plan.compared) * 3
    # Each has a twin that differs in nothing else.
    for run in phased:
        twin = replace(run, method=run.method.removesuffix(PHASED))
        assert twin in plan.runs
        own, other = plan.spec(run), plan.spec(twin)
        assert replace(own, method=other.method, phase="none") == other
    assert [row.label for row in shown.rows] == [row.label for row in plan.table_definitions[1].rows]
    assert {curve.label for curve in plan.curves("ixi")} >= {"MANet", "MANet, smooth phase"}


def test_seeds_multiply_the_runs():
    one, three = plan(), plan(seeds=[0, 1, 5])
    assert len(three.runs) == 3 * len(one.runs)
    assert {run.seed for run in three.runs} == {0, 1, 5}


def test_only_what_is_asked_for_is_run():
    found = plan(tables=[1], figures=[], compare=["zf", "unet"])
    assert {run.method for run in found.runs} == {"zf", "unet"}
    assert {run.dataset for run in found.runs} == {"ixi"}
    figure = plan(tables=[], figures=[9])
    assert Counter(run.mask for run in figure.runs) == {"equispaced_4x": 4}


def test_a_table_of_a_dataset_that_is_not_configured_is_left_out():
    content = plan().config
    del content["datasets"]["fastmri"]
    found = Plan(content, METHODS)
    assert set(found.table_definitions) == {1, 3, 4}
    assert set(found.figure_definitions) == {1, 5, 6, 8}


def test_a_figure_without_any_of_its_masks_is_refused_by_name():
    content = plan().config
    content["datasets"]["ixi"]["masks"] = ["1d_uniform_6x"]
    with pytest.raises(BadInput, match=r"figure 1 shows 1d_random_3x, .*datasets\.ixi\.masks; add"):
        len(Plan(content, METHODS).runs)
    content["figures"] = [5, 8]
    assert Plan(content, METHODS).figure_definitions[5].masks == ("1d_uniform_6x",)


# ---- specs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "shown"), [("zf", "figure 1 shows zf"), ("manet", "table III shows manet")])
def test_a_table_or_figure_of_a_method_that_is_gone_is_refused_by_name(gone, shown):
    made = Plan(plan().config, {name: entry for name, entry in METHODS.items() if name != gone})
    with pytest.raises(BadInput, match=rf"{shown}, but there is no folder methods/{gone}/; bring it back"):
        assert made.runs


def test_every_spec_is_one_that_training_and_evaluation_take_and_has_one_text():
    found = plan(methods={"unet": {"optimiser": {"lr": 0.01}}})
    for run in found.runs:
        text = found.spec(run).canonical()
        spec = RunSpec.from_json(text)
        assert (spec.dataset, spec.mask, spec.method, spec.seed) == (
            run.dataset,
            run.mask,
            run.method,
            run.seed,
        )
        assert text == canonical(json.loads(text))
        assert spec.noise == (0.1 if run.dataset == "ixi" else 0.0)
        assert spec.trainable == found.trained(run.method)
    assert found.spec(Run("ixi", "1d_uniform_6x", "unet", 0)).optimiser["lr"] == 0.01


def test_gatherers_are_told_every_run_with_its_own_spec():
    made = plan(seeds=[0, 1])
    shown = [*made.table_definitions.values(), *made.figure_definitions.values(), made.planned(made.runs)]
    for groups in (getattr(one, "planned", one) for one in shown):
        for group in from_json(list[Planned], to_json(list(groups)), "", ""):
            for name in group.runs:
                dataset, mask, method, seed = name.split("/")
                run = Run(dataset, mask, method, int(seed.removeprefix("seed")))
                spec = json.loads(made.spec(run).canonical())
                assert group.spec | {"mask": mask, "seed": run.seed} == spec
    told = [name for group in made.planned(made.runs) for name in group.runs]
    assert sorted(told) == sorted(run.path for run in made.runs)
    # The grid of loss weights too, which has no rows.
    assert len([name for group in made.figure_definitions[9].planned for name in group.runs]) == 2 * 4


def test_every_file_of_an_experiment_is_its_own_and_no_other():
    made = plan(tables=[1], figures=[5], datasets={"ixi": {**plan().config["datasets"]["ixi"]}})
    own = [*own_files(TrustPlan(made)), *(f"runs/{run.path}/*" for run in made.runs)]
    theirs = [
        *(f"runs/{made.runs[0].path}/run.json", "tables/table_1.html", "statistics/pairs_1.csv"),
        *("figures/figure_5.pdf", "figures/training_curves_ixi/m/unet/seed0.png", "data/ixi/counts.csv"),
        *("masks/ixi/1d_uniform_6x.png", "claims/cells.csv", "index.html", "cost.md"),
    ]
    assert leftovers(theirs, own) == []
    others = [
        *(
            "tables/table_2.html",
            "figures/figure_7.png",
            "data/fastmri/counts.csv",
            "masks/ixi/2d_radial_5x.npz",
        ),
        *("runs/ixi/1d_uniform_6x/gone/seed0", "tables/cost_ixi.csv", "trust/probes.csv"),
    ]
    listed = [f"{name}/run.json" if name.startswith("runs/") else name for name in others]
    assert leftovers(listed, own) == sorted(others)


def test_what_only_training_reads_changes_no_spec_of_an_untrained_method():
    training = {
        "epochs": {"ixi": 7, "fastmri": 9},
        "batch_size": 2,
        "schedule": "cosine",
        "warm_up": 0.1,
        "floor": 0.1,
        "tail": 0.2,
        "gradient_clip": 1.0,
        "channels_last": True,
        "deterministic": False,
        "recompute": False,
        "compile": True,
    }
    one, other = plan(), plan(training=training)
    changed = {run.method for run in one.runs if one.spec(run) != other.spec(run)}
    assert changed == {run.method for run in one.runs if one.trained(run.method)}
    assert other.spec(Run("ixi", "1d_uniform_6x", "unet", 0)).training.epochs == 7
    assert other.spec(Run("fastmri", "random_4x", "unet", 0)).training.epochs == 9


def test_a_method_is_not_run_under_a_mask_that_it_declines(tmp_path):
    folder = tmp_path / "methods" / "shy"
    folder.mkdir(parents=True)
    (folder / "model.py").touch()
    (folder / "README.md").touch()
    (folder / "method.yaml").write_text(
        "{id: shy, label: Shy, citation: none, order: 5, trainable: false, needs_auxiliary: false, "
        "parameters: {}, declines: {2d_spiral_6x: needs lines}}",
        encoding="utf-8",
    )
    methods = METHODS | discover(folder.parent)
    found = Plan(plan().config, methods)
    masks = {run.mask for run in found.runs if run.method == "shy"}
    assert masks == {*MASKS["ixi"], *MASKS["fastmri"]} - {"2d_spiral_6x"}
    (row,) = [row for row in found.table_definitions[1].rows if row.method == "shy"]
    assert row.declines == {"2d_spiral_6x": "needs lines"}
    assert all(row.declines == {} for row in plan().table_definitions[1].rows)


def with_collections(tmp_path: Path) -> Mapping[str, MethodFolder]:
    """A method of every configuration, and one of a collection with a variant that has a row of its own."""
    texts = {
        "common": "",
        "rare": "collection: exotic, variants: {b: {label: B, parameters: {size: 2}, compared: true}, "
        "c: {label: C, parameters: {size: 3}}},",
    }
    for order, (name, text) in enumerate(texts.items()):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.py").touch()
        (folder / "README.md").touch()
        (folder / "method.yaml").write_text(
            f"{{id: {name}, label: {name}, citation: none, order: {order}, trainable: false, "
            f"needs_auxiliary: false, {text} parameters: {{size: 1}}}}",
            encoding="utf-8",
        )
    return discover(tmp_path)


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, ["common"]),
        ({"collections": ["exotic"]}, ["common", "rare", "rare-b"]),
        ({"compare": ["rare"]}, ["rare", "rare-b"]),
        ({"compare": ["rare", "common"]}, ["common", "rare", "rare-b"]),
        ({"compare": ["common"], "collections": ["exotic"]}, ["common"]),
    ],
)
def test_a_collection_enters_where_it_or_the_method_is_named(tmp_path, changes, rows):
    methods = with_collections(tmp_path)
    content = plan(tables=[1], figures=[]).config | changes
    found = Plan(check_config(content, methods), methods)
    assert [row.method for row in found.table_definitions[1].rows] == rows
    assert {run.method for run in found.runs} == set(rows)


def test_a_compared_variant_has_its_own_label_and_parameters(tmp_path):
    methods = with_collections(tmp_path)
    found = Plan(plan(tables=[1], figures=[]).config | {"compare": ["rare"]}, methods)
    assert [row.label for row in found.table_definitions[1].rows] == ["rare", "B"]
    spec = found.spec(Run("ixi", "1d_uniform_6x", "rare-b", 0))
    assert (spec.folder, spec.parameters) == ("rare", {"size": 2})


def test_an_unknown_collection_is_refused_with_the_known_ones(tmp_path):
    content = plan(tables=[1], figures=[]).config
    with pytest.raises(BadInput, match=r"config: collections: 'exotik' is unknown; .* name exotic$"):
        check_config(content | {"collections": ["exotik"]}, with_collections(tmp_path))


def test_what_an_untrained_method_tries_is_what_nothing_else_has_set(tmp_path):
    folder = tmp_path / "grid"
    folder.mkdir()
    (folder / "model.py").touch()
    (folder / "README.md").touch()
    (folder / "method.yaml").write_text(
        "{id: grid, label: Grid, citation: none, order: 5, trainable: false, needs_auxiliary: false, "
        "parameters: {a: 1, b: 2}, tune: {a: [1, 2], b: [2, 3]}, "
        "variants: {v: {label: V, parameters: {b: 9}, compared: true}}}",
        encoding="utf-8",
    )
    methods = METHODS | discover(tmp_path)

    def tried(method: str, **changes: Any) -> Any:
        found = Plan(check_config(plan(tables=[1], figures=[]).config | changes, methods), methods)
        return found.spec(Run("ixi", "1d_uniform_6x", method, 0)).tune

    assert tried("grid") == {"a": [1, 2], "b": [2, 3]}
    assert tried("grid-v") == {"a": [1, 2]}
    assert tried("grid", methods={"grid": {"parameters": {"a": 5}}}) == {"b": [2, 3]}
    assert tried("grid-v", methods={"grid": {"parameters": {"a": 5}}}) == {}
    assert tried("zf") == {}


# ---- subjects -------------------------------------------------------------------------------------


def test_embedded_subjects_are_as_many_as_the_splits_and_keep_their_scans_when_more_are_asked_for():
    few, many = plan(), plan()
    many.config["datasets"]["ixi"]["splits"] = {"train": 9, "val": 2, "test": 2}
    assert len(few.subjects["ixi"]) == len(few.subjects["fastmri"]) == 7
    assert list(many.subjects["ixi"])[:7] == list(few.subjects["ixi"])
    assert few.subjects["ixi"].items() <= many.subjects["ixi"].items()
    assert [
        few.subjects.embed_arguments("ixi", scans.target)[:2] for scans in few.subjects["ixi"].values()
    ] == [["--index", str(index)] for index in range(7)]


def test_embedded_knees_fill_the_published_folders():
    hints = [scans.split_hint for scans in plan().subjects["fastmri"].values()]
    assert hints == ["train"] * 5 + ["val"] * 2
    subjects = plan().subjects
    for subject, scans in subjects["fastmri"].items():
        folder = subjects.folder("raw", "fastmri")
        assert scans.target == f"{folder}/singlecoil_{scans.split_hint}/{subject}.h5"
        assert scans.auxiliary != scans.target


def test_the_papers_jobs_can_be_counted_without_its_scans():
    paper = Plan(read_config(ROOT / "config" / "paper.yaml"), METHODS)
    assert {name: len(subjects) for name, subjects in paper.subjects.items()} == {"ixi": 582, "fastmri": 272}
    assert paper.subjects.scan_inputs("ixi", next(iter(paper.subjects["ixi"]))) == []
    message = paper.subjects.missing_scans()
    assert message is not None
    assert "datasets.ixi.root is not set" in message


def ixi_folder(root: Path, *scans: str) -> Path:
    for scan in scans:
        path = root / f"IXI-{scan[-2:]}" / f"{scan}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


IDS = ["IXI002-Guys-0828", "IXI012-HH-1211", "IXI025-Guys-0852"]
COMPLETE = tuple(f"{subject}-{modality}" for subject in IDS for modality in ("T1", "T2"))


def test_published_brains_are_those_that_are_there(tmp_path):
    found = published("ixi", ixi_folder(tmp_path, *COMPLETE))
    assert list(found.subjects["ixi"]) == IDS
    assert found.subjects["ixi"]["IXI012-HH-1211"].target == str(tmp_path / "IXI-T2/IXI012-HH-1211-T2.nii.gz")
    assert len(found.subjects.scan_inputs("ixi", "IXI012-HH-1211")) == 2
    assert found.subjects.missing_scans() is None
    assert found.subjects.truth("ixi") == []


@pytest.mark.parametrize("name", ["a{x}", "{", "}}"])
def test_a_folder_whose_name_a_rule_cannot_hold_is_refused_by_its_path(tmp_path, name):
    plan = published("ixi", ixi_folder(tmp_path / name, *COMPLETE))
    with pytest.raises(
        BadInput, match=r"datasets\.ixi\.root: .*/IXI-T2/.*rename that folder, or name it by a link"
    ):
        len(plan.subjects)


def test_a_folders_name_may_have_what_a_shell_would_read(tmp_path):
    root = ixi_folder(tmp_path / 'a b\'s $(id) "c" *é;', *COMPLETE)
    words = published("ixi", root).subjects.align_arguments("ixi", IDS[0])
    assert words[words.index("--target") + 1] == f"{root}/IXI-T2/{IDS[0]}-T2.nii.gz"


@pytest.mark.parametrize("missing", ["T1", "T2"])
def test_a_subject_without_one_of_its_scans_is_not_passed_over(tmp_path, missing):
    other = {"T1": "T2", "T2": "T1"}[missing]
    root = ixi_folder(tmp_path, *COMPLETE, f"IXI030-IOP-0900-{other}")
    strict, lenient = published("ixi", root), published("ixi", root, bad_scans="exclude")
    message = strict.subjects.missing_scans()
    assert message is not None
    assert f"IXI-{missing}/IXI030-IOP-0900-{missing}.nii.gz" in message
    assert "set bad_scans" in message
    assert lenient.subjects.missing_scans() is None
    # It stays a subject, so that the manifest lists it with the reason.
    assert "IXI030-IOP-0900" in lenient.subjects["ixi"]
    assert len(lenient.subjects.scan_inputs("ixi", "IXI030-IOP-0900")) == 1


def test_a_scan_that_is_there_twice_stops_the_run_or_is_left_to_be_excluded(tmp_path):
    root = ixi_folder(tmp_path, *COMPLETE, "IXI030-IOP-0900-T1", "IXI030-IOP-0900-T2")
    (root / "IXI-T1" / "IXI012-HH-1211-T1.nii").touch()
    message = published("ixi", root).subjects.missing_scans()
    assert message is not None
    assert "IXI012-HH-1211-T1.nii.gz is the same scan of subject IXI012-HH-1211" in message
    lenient = published("ixi", root, bad_scans="exclude")
    assert lenient.subjects.missing_scans() is None
    assert list(lenient.subjects["ixi"]) == [*IDS, "IXI030-IOP-0900"]


def test_scans_of_other_names_stop_the_run_or_are_told(tmp_path):
    root = ixi_folder(tmp_path, *COMPLETE)
    assert misnamed_scans(published("ixi", root).config) is None
    ixi_folder(root, "IXI12-HH-1211-T1", "IXI12-HH-1211-T2", "ixi014-HH-1236-T2")
    strict, lenient = published("ixi", root), published("ixi", root, bad_scans="exclude")
    message = strict.subjects.missing_scans()
    assert message is not None
    assert message.startswith(
        f"{root}/IXI-T1/IXI12-HH-1211-T1.nii.gz (and files of 1 more): not taken because of"
    )
    assert message.endswith(
        "rename it, or move it elsewhere, or set bad_scans to exclude to go on without it"
    )
    assert lenient.subjects.missing_scans() is None
    assert list(lenient.subjects["ixi"]) == IDS
    told = misnamed_scans(lenient.config)
    assert told is not None
    assert message.startswith(told)
    assert misnamed_scans(plan().config) is None


def knee_folder(root: Path, **pairs: list[str]) -> Path:
    """Empty files of both splits, and their lists."""
    for split, listed in pairs.items():
        (root / f"singlecoil_{split}").mkdir(parents=True)
        lines = ["file{},file{},0.5\n".format(*pair.split()) for pair in listed]
        (root / f"{split}.csv").write_text("".join(lines))
        for number in " ".join(listed).split():
            (root / f"singlecoil_{split}" / f"file{number}.h5").touch()
    return root


def test_published_knees_are_those_of_the_pair_lists(tmp_path):
    knee_folder(tmp_path, train=["11 12", "13 14", "15 16"], val=["21 22"])
    (tmp_path / "singlecoil_train" / "file12.h5").unlink()
    found = published("fastmri", tmp_path, bad_scans="exclude")
    assert {name: scans.split_hint for name, scans in found.subjects["fastmri"].items()} == {
        "file12": "train",
        "file14": "train",
        "file16": "train",
        "file22": "val",
    }
    assert found.subjects["fastmri"]["file22"].auxiliary == str(tmp_path / "singlecoil_val" / "file21.h5")
    assert found.subjects.missing_scans() is None
    message = published("fastmri", tmp_path).subjects.missing_scans()
    assert message is not None
    assert "singlecoil_train/file12.h5: subject file12 has no such scan" in message


@pytest.mark.parametrize("scans", ["exclude", "stop"])
def test_a_root_without_the_listed_knees_stops_before_the_first_job(tmp_path, scans):
    above = knee_folder(tmp_path / "fastMRI", train=["11 12", "13 14", "15 16"], val=["21 22"]).parent
    for split in ("train", "val"):
        (above / "fastMRI" / f"{split}.csv").rename(above / f"{split}.csv")
    message = published("fastmri", above, bad_scans=scans).subjects.missing_scans()
    assert message is not None
    begin = f"config: datasets.fastmri.root: in {above}, none of 1 subjects of val can fill test ("
    assert message.startswith(begin)
    assert "singlecoil_val/file22.h5: subject file22 has no such scan; add the file); " in message
    assert "expected are singlecoil_train/file1000685.h5 and singlecoil_val/file1000000.h5; " in message
    assert f"the scans of fastMRI are in {above}/fastMRI: point datasets.fastmri.root there" in message
    # A dry run still counts the jobs.
    assert len(published("fastmri", above).subjects["fastmri"]) == 4


def test_a_published_split_whose_files_are_all_absent_stops_before_the_first_job(tmp_path):
    root = knee_folder(tmp_path, train=["11 12", "13 14", "15 16"], val=["21 22", "23 24", "25 26"])
    for path in (root / "singlecoil_val").iterdir():
        path.unlink()
    (root / "knee_singlecoil_val.tar.xz").touch()
    message = published("fastmri", root, bad_scans="exclude").subjects.missing_scans()
    assert message is not None
    assert "none of 3 subjects of val can fill test" in message
    assert (
        f"knee_singlecoil_val.tar.xz: not unpacked; run tar -xf {root}/knee_singlecoil_val.tar.xz" in message
    )


@pytest.mark.parametrize(
    ("train", "refused"),
    [(1, False), (2, True), ({"at_most": 1}, False), ({"at_most": 300}, False)],
)
def test_more_subjects_than_are_there_are_refused_unless_training_takes_at_most(tmp_path, train, refused):
    found = published("ixi", ixi_folder(tmp_path, *COMPLETE), bad_scans="exclude")
    found.config["datasets"]["ixi"]["splits"]["train"] = train
    message = found.subjects.missing_scans()
    assert found.subjects.at_most("ixi") == isinstance(train, dict)
    # A dry run tells it, too.
    assert found.subjects.too_few() == message
    if refused:
        assert message == (
            "config: datasets.ixi.splits: test + val + train add up to 4, but there are 3 subjects in "
            f"{tmp_path}; lower the numbers or add scans"
        )
    else:
        assert message is None


@pytest.mark.parametrize(("val", "refused"), [(1, False), (2, True)])
def test_where_training_takes_at_most_something_must_be_left_for_it(tmp_path, val, refused):
    found = published("ixi", ixi_folder(tmp_path, *COMPLETE), bad_scans="exclude")
    found.config["datasets"]["ixi"]["splits"] |= {"train": {"at_most": 300}, "val": val, "test": 1}
    message = found.subjects.too_few()
    assert found.subjects.missing_scans() == message
    said = f"test + val + train add up to at least 4, but there are 3 subjects in {tmp_path}; lower"
    assert (message is not None and said in message) == refused


def test_scans_that_are_not_there_yet_are_not_counted(tmp_path):
    found = published("ixi", tmp_path / "nowhere")
    assert found.subjects.too_few() is None
    assert found.subjects.missing_scans() is not None


def test_embedded_subjects_are_made_up_to_the_number_that_training_may_have():
    splits = {"train": {"at_most": 3}, "val": 2, "test": 2}
    for name, count in {"ixi": 7, "fastmri": 7}.items():
        dataset = {
            "source": "embedded",
            "matrix": 64,
            "slices": 4,
            "splits": splits,
            "masks": [MASKS[name][0]],
        }
        found = plan(datasets={name: dataset}, tables=[1, 2], figures=[])
        assert len(found.subjects[name]) == count


def test_a_knee_in_both_pair_lists_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("file11,file12,0.5\n")
    (tmp_path / "val.csv").write_text("file21,file12,0.5\n")
    with pytest.raises(BadInput, match=r"file12 is in the pair lists of two splits, train and val"):
        len(published("fastmri", tmp_path).subjects)


@pytest.mark.parametrize(
    ("name", "key"),
    [("ixi", "root"), ("fastmri", "root"), ("fastmri", "train_pairs"), ("fastmri", "val_pairs")],
)
def test_a_real_run_without_published_scans_names_the_key(tmp_path, name, key):
    root = ixi_folder(tmp_path, *COMPLETE)
    (tmp_path / "train.csv").write_text("file11,file12,0.5\n")
    (tmp_path / "val.csv").write_text("file21,file22,0.5\n")
    wrong, kind = (tmp_path / "IXI.tar", "folder") if key == "root" else (tmp_path, "file")
    (tmp_path / "IXI.tar").write_text("no folder")
    for value, said in (
        (None, "is not set"),
        (str(tmp_path / "nowhere"), "nowhere, which does not exist"),
        (str(wrong), f"{wrong}, which is no {kind}"),
    ):
        found = published(name, root, bad_scans="exclude")
        found.config["datasets"][name][key] = value
        message = found.subjects.missing_scans()
        assert message is not None
        assert message.startswith(f"config: datasets.{name}.{key} ")
        assert said in message
        # A dry run still counts jobs.
        assert found.subjects[name]


def test_a_folder_without_a_scan_of_a_dataset_is_named(tmp_path):
    folder = {"source": "published", "root": str(tmp_path), "matrix": 64, "slices": 4}
    masks = {"masks": ["1d_uniform_6x"], "splits": {"train": 3, "val": 2, "test": 2}}
    found = plan(datasets={"brats": folder | masks})
    with pytest.raises(BadInput, match=rf"datasets\.brats\.root: {tmp_path}: no scans of BraTS \(.*_t2\.nii"):
        len(found.subjects)


def test_an_experiment_without_a_run_is_refused():
    with pytest.raises(BadInput, match="tables, figures: none of them needs a run"):
        len(plan(tables=[], figures=[]).runs)


@pytest.mark.parametrize(
    ("changes", "trained", "compared"),
    [
        ({}, ["ixi", "fastmri"], ["ixi", "fastmri"]),
        ({"tables": [1], "figures": [5]}, ["ixi"], ["ixi"]),
        ({"compare": ["zf"], "tables": [1, 2], "figures": []}, [], []),
        ({"compare": ["zf", "unet"], "tables": [3], "figures": []}, ["ixi"], []),
    ],
)
def test_training_curves_and_cost_are_of_datasets_with_trainings(changes, trained, compared):
    found = plan(**changes, trust={"cost": True})
    assert found.trained_datasets() == trained
    trust = TrustPlan(found)
    assert trust.costed == compared
    shown = index_definition(trust)
    assert [one.wildcards["dataset"] for one in shown.pictures["training"]] == trained
    assert shown.tables["cost"] == tuple(f"tables/cost_{dataset}" for dataset in compared)


def test_brains_that_were_downloaded_and_removed_can_be_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = published("ixi", tmp_path / "IXI")
    found.config["datasets"]["ixi"]["download"] = True
    record = tmp_path / found.subjects.fetched()[0]
    assert "delete" not in (found.subjects.missing_scans() or "")
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert f"delete {found.subjects.fetched()[0]}, " in (found.subjects.missing_scans() or "")


def test_brains_that_are_still_to_be_downloaded_are_counted_and_not_started(tmp_path):
    found = published("ixi", tmp_path / "IXI")
    found.config["datasets"]["ixi"]["download"] = True
    # A T1 archive alone is unpacked when the download stops between the two: no subject is incomplete yet.
    ixi_folder(tmp_path / "IXI", "IXI002-Guys-0828-T1")
    assert len(found.subjects["ixi"]) == 582
    message = found.subjects.missing_scans()
    assert message is not None
    assert "IXI-T2 is not there yet; run the target `fetch` first" in message
    assert found.subjects.fetched() == [f"{found.subjects.folder('raw', 'ixi')}/fetched.json"]
    ixi_folder(tmp_path / "IXI", *COMPLETE)
    found = published("ixi", tmp_path / "IXI")
    found.config["datasets"]["ixi"]["download"] = True
    assert (len(found.subjects["ixi"]), found.subjects.missing_scans()) == (3, None)


def test_what_is_there_in_another_form_is_not_to_be_downloaded(tmp_path):
    root = ixi_folder(tmp_path, *COMPLETE)
    for modality in ("T1", "T2"):
        (root / f"IXI-{modality}").rename(root / modality)
    found = published("ixi", root)
    found.config["datasets"]["ixi"]["download"] = True
    assert (list(found.subjects["ixi"]), found.subjects.missing_scans()) == (IDS, None)


def test_the_target_fetch_brings_what_comes_from_the_network():
    donors = [f"results/shared/donors/{name}.json" for name in ("brain_asym", "brain_sym", "knee")]
    assert plan().subjects.fetched() == donors
    assert published("ixi", Path("IXI")).subjects.fetched() == []


# ---- what is drawn from what ----------------------------------------------------------------------


def test_figures_and_curves_read_the_runs_that_they_show():
    found = plan(seeds=[3, 4])
    read = found.figure_inputs(found.figure_definitions[8])
    runs = [path for path in read if path.endswith("examples.npz")]
    assert len(runs) == 4 * 3
    assert all("/seed3/" in path for path in runs)
    # What is compared with the plan is what is waited for: runs of other seeds may still be those of before.
    planned = found.figure_definitions[8].planned
    assert [f"results/test/runs/{name}/examples.npz" for of in planned for name in of.runs] == runs
    assert "results/test/masks/ixi/2d_spiral_6x.npz" in read
    assert found.figure_inputs(found.figure_definitions[9]) == ["results/test/metrics.parquet"]
    curves = found.curves("fastmri")
    assert not any(curve.method == "zf" for curve in curves)
    assert Curve("equispaced_4x", "manet-a0.2-b0.4", "alpha 0.2, beta 0.4", 4) in curves


# ---- by hand ------------------------------------------------------------------------------------


def options(command: str) -> dict[str, str]:
    """The options of the last program of a command line."""
    words = shlex.split(command)
    program = max(i for i, word in enumerate(words) if word.startswith("workflow."))
    words = words[program + 1 : words.index(">>")]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_commands_do_what_the_rules_do_for_every_run_that_is_not_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = plan(training={"epochs": 3, "batch_size": 2, "devices": 2, "trainings_per_gpu": 3})
    wanted = unfinished(asked)
    assert len(wanted) == len(asked.runs)
    for run, command in zip(asked.runs, wanted, strict=True):
        assert options(command)["--spec"] == asked.spec(run).canonical()
        assert options(command)["--output"] == f"results/test/runs/{run.path}"
        assert options(command)["--data"] == asked.subjects.folder("data", run.dataset)
        assert options(command)["--mask"] == f"results/test/masks/{run.dataset}/{run.mask}.npz"
        trained = "exec python -m workflow.lease --gpus 2 --per-gpu 3 -- python -m workflow.train" in command
        assert trained == asked.trained(run.method)
        assert trained or "exec python -m workflow.evaluate --device cpu" in command
    done, changed = asked.runs[1], asked.runs[2]
    for run, seed in ((done, 0), (changed, 7)):
        spec = asked.spec(run).content() | {"seed": seed}
        record = Path(f"results/test/runs/{run.path}/run.json")
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps(run_record(spec=spec)))
    # A run of another spec is not finished.
    assert unfinished(asked) == [command for command in wanted if f"{done.path} " not in command]
    record.write_text("{")
    with pytest.raises(BadInput, match=r"run\.json: not JSON .*; delete it and run the workflow again"):
        unfinished(asked)
