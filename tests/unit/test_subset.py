"""A smaller configuration: what depends on what was cut is cut along, and the plan is what was asked for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.io.hashes import file_sha256
from data_prep.masks.from_file import VARIABLE
from data_prep.masks.registry import families
from methods.registry import discover
from workflow.plan.config import check_config, read_config
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.tuning import TuningPlan
from workflow.subset import cut, main

ROOT = Path(__file__).parents[2]
METHODS = discover()


def made(capsys: pytest.CaptureFixture[str], name: str | Path, **options: Any) -> tuple[dict[str, Any], Plan]:
    """The smaller configuration as it is printed, and what it plans."""
    main(ROOT / "config" / name, **options)
    content = yaml.safe_load(capsys.readouterr().out)
    return content, Plan(check_config(content, METHODS), METHODS)


def test_three_methods_under_one_mask_are_three_runs(capsys):
    content, plan = made(
        capsys,
        "paper.yaml",
        methods=["zf", "unet", "manet"],
        masks=["1d_uniform_6x"],
        epochs=10,
        dataset=["ixi"],
    )
    assert [run.path for run in plan.runs] == [
        "ixi/1d_uniform_6x/manet/seed0",
        "ixi/1d_uniform_6x/unet/seed0",
        "ixi/1d_uniform_6x/zf/seed0",
    ]
    assert content["experiment"] == "paper-subset"
    assert (content["tables"], content["figures"]) == ([1], [5])
    assert "sweep" not in content
    assert plan.spec(plan.runs[0]).training.epochs == 10
    assert content["datasets"]["ixi"]["splits"] == {"train": {"at_most": 369}, "val": 93, "test": 115}


def test_a_naive_cut_of_the_same_would_train_far_more():
    content = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    content["compare"] = ["zf", "unet", "manet"]
    plan = Plan(check_config(content, METHODS), METHODS)
    assert sum(plan.trained(run.method) for run in plan.runs) > 40


def test_a_mask_of_one_dataset_leaves_the_other_out_and_keeps_the_ablations(capsys):
    content, plan = made(capsys, "trust.yaml", masks=["1d_uniform_6x"])
    assert list(content["datasets"]) == ["ixi"]
    assert content["training"]["epochs"] == {"ixi": 3}
    assert content["trust"]["masks"] == {"ixi": ["1d_uniform_6x"]}
    assert content["trust"]["phase"] == {"ixi": ["1d_uniform_6x"]}
    assert (content["tables"], content["figures"]) == ([1, 3, 4], [5, 8])
    assert {run.method for run in plan.runs} >= {"manet-no_kspace", "manet-sc"}
    assert TrustPlan(plan).runs


def test_probes_without_a_mask_that_is_left_go(capsys):
    content, plan = made(capsys, "demo.yaml", masks=["2d_radial_9x", "equispaced_8x"])
    assert content["trust"] == {"cost": True}
    assert TrustPlan(plan).runs == []


def test_lesions_go_with_the_data_that_has_them(capsys):
    content, _ = made(capsys, "demo.yaml", dataset=["fastmri"])
    assert "lesions" not in content["trust"]
    assert content["trust"]["masks"] == {"fastmri": ["equispaced_4x"]}
    assert content["sweep"] == {"alphas": [0.2, 0.4], "betas": [0.4, 0.6]}
    assert (content["tables"], content["figures"]) == ([2], [7, 9])


def test_named_variants_bring_their_table(capsys):
    names = ["manet", "manet-no_kspace", "manet-no_attention"]
    content, plan = made(capsys, "demo.yaml", methods=names, masks=["2d_radial_6x"])
    assert content["compare"] == ["manet"]
    assert content["methods"].keys() == {"manet"}
    assert (content["tables"], content["figures"]) == ([1, 3], [8])
    assert {run.method for run in plan.runs} == {*names}


def test_a_collections_methods_may_be_named(capsys):
    content, plan = made(capsys, "extended.yaml", methods=["cs", "varnet"], masks=["random_4x"])
    assert "collections" not in content
    assert {run.method for run in plan.runs} == {"cs", "cs-wavelet", "varnet"}


def test_tuning_is_cut_along(capsys, tmp_path):
    content = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    masks = {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"}
    grid = {"lr": [0.001, 0.002]}
    content["tuning"] = {
        "masks": masks,
        "grid": grid,
        "methods": ["unet", "manet"],
        "epochs": {"ixi": 1, "fastmri": 2},
    }
    content["methods"]["unet"]["optimiser"]["lr"] = {"ixi": 0.1, "fastmri": 0.2}
    content["experiment"] = "fastmri"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    smaller, plan = made(capsys, path, dataset=["ixi"], methods=["unet"])
    assert smaller["tuning"] == {
        "masks": {"ixi": "1d_uniform_6x"},
        "grid": grid,
        "methods": ["unet"],
        "epochs": {"ixi": 1},
    }
    assert {trial.run.method for trial in TuningPlan(plan).trials} == {"unet"}
    assert smaller["methods"]["unet"]["optimiser"]["lr"] == {"ixi": 0.1}
    assert smaller["experiment"] == "fastmri-subset"
    for masks in (["2d_radial_6x"], ["2d_radial_6x", "equispaced_4x"]):
        smaller, plan = made(capsys, path, masks=masks)
        assert "tuning" not in smaller
        assert not TuningPlan(plan).trials


@pytest.mark.parametrize("name", ["my_mask", "my_mask_4x"])
def test_a_mask_from_a_file_is_named_and_cut_by_either_name(capsys, tmp_path, monkeypatch, name):
    monkeypatch.setenv(VARIABLE, "")
    np.save(tmp_path / "mine.npy", np.arange(64) % 4 == 0)
    content = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    ixi = content["datasets"]["ixi"]
    ixi |= {"matrix": 64, "mask_files": {"my_mask": str(tmp_path / "mine.npy")}}
    ixi["masks"].append("my_mask")
    content |= {
        "trust": {"masks": {"ixi": ["my_mask_4x", "1d_uniform_6x"]}, "swaps": ["zeroed"]},
        "tuning": {"masks": {"ixi": "my_mask", "fastmri": "equispaced_4x"}, "grid": {"lr": [0.001, 0.002]}},
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    smaller, plan = made(capsys, path, masks=[name], methods=["zf", "unet"])
    assert {run.mask for run in plan.runs} == {"my_mask_4x"}
    assert smaller["trust"]["masks"] == {"ixi": ["my_mask_4x"]}
    assert {trial.run.mask for trial in TuningPlan(plan).trials} == {"my_mask_4x"}
    smaller, _ = made(capsys, path, masks=["1d_uniform_6x"])
    assert smaller["trust"]["masks"] == {"ixi": ["1d_uniform_6x"]}
    assert not {"tuning"} & {*smaller}
    assert "mask_files" not in smaller["datasets"]["ixi"]
    # One that was for testing alone goes with the tests.
    ixi["masks"].remove("my_mask")
    content["trust"] = {"masks": {"ixi": ["1d_uniform_6x"]}, "transfer": True}
    del content["tuning"]
    path.write_text(yaml.safe_dump(content))
    smaller, _ = made(capsys, path, masks=["2d_radial_6x"])
    assert "mask_files" not in smaller["datasets"]["ixi"]
    smaller, _ = made(capsys, path, masks=["1d_uniform_6x"])
    assert {*smaller["datasets"]["ixi"]["mask_files"]} == {"my_mask_4x"}
    families.cache_clear()


def test_names_may_be_separated_by_spaces_too(capsys):
    for words in (["zf,unet"], ["zf", "unet"]):
        call(main, [str(ROOT / "config/smoke.yaml"), "--methods", *words, "--masks", "random_4x"])
        assert yaml.safe_load(capsys.readouterr().out)["compare"] == ["zf", "unet"]


def test_words_that_are_like_names_stay_where_they_are_none():
    content = {"a": ["x", "y"], "b": {"x": 1}, "c": "x", "d": [], "e": None, "f": [3, {"x": 1}]}
    assert cut(content, {"x"}) == {"a": ["y"], "d": [], "e": None, "f": [3, {"x": 1}]}


def test_the_head_names_command_and_file(tmp_path):
    command = [
        sys.executable,
        "-m",
        "workflow.subset",
        "config/smoke.yaml",
        "--methods",
        "zf,unet",
        "--masks",
    ]
    command += ["equispaced_4x", "--experiment", "mine"]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    head = done.stdout.splitlines()[:3]
    words = " ".join(command[3:])
    assert head[0] == f"# python -m workflow.subset {words}"
    assert head[1].startswith("# 2 runs, 1 of them trainings; config/smoke.yaml had the sha256")
    assert head[2] == f"# {file_sha256(ROOT / 'config/smoke.yaml')}"
    path = tmp_path / "mine.yaml"
    path.write_text(done.stdout)
    assert read_config(path)["experiment"] == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ["unett"]}, "unknown method 'unett': there is no folder methods/unett/"),
        ({"methods": ["manet-nope"]}, "no variant or sweep gives the method id 'manet-nope'"),
        ({"masks": ["1d_uniform_7x"]}, "--masks: .*smoke.yaml has no '1d_uniform_7x'; it has 1d_random_3x"),
        ({"dataset": ["brats"]}, "--dataset: .*smoke.yaml has no 'brats'; it has fastmri, ixi"),
        ({"dataset": ["ixi"], "masks": ["random_4x"]}, "--masks: none of them stands in datasets.ixi.masks"),
        ({"methods": ["unet", "manet-sc"]}, "--methods: manet-sc: no table or figure that is left shows it"),
        ({"epochs": 0}, "^--epochs: 0 is less than the minimum of 1"),
        ({"experiment": "a/b"}, "^--experiment: 'a/b' does not match"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_a_sentence(options, said):
    with pytest.raises(BadInput, match=said):
        main(ROOT / "config/smoke.yaml", **options)
