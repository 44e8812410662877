"""Every shipped configuration is valid, and a mistake in one is refused by name before anything runs."""

import copy
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from published_masks import MASKS

from data_prep.errors import BadInput
from methods.registry import discover
from workflow.plan.config import check_config, read_config, split_numbers
from workflow.plan.document import document

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "config").glob("*.yaml"))
METHODS = discover()


def valid() -> dict[str, Any]:
    """A complete configuration of both datasets."""
    return {
        "experiment": "test",
        "paper": "manet",
        "datasets": {
            "ixi": {
                "source": "embedded",
                "matrix": 64,
                "slices": 4,
                "acquired_slices": 8,
                "splits": {"train": 2, "val": 1, "test": 1},
                "masks": ["1d_uniform_6x"],
            },
            "fastmri": {
                "source": "embedded",
                "matrix": 64,
                "slices": 3,
                "splits": {"train": 2, "val": 1, "test": 1},
                "masks": ["equispaced_4x"],
            },
        },
        "training": {"epochs": 1, "batch_size": 2},
    }


def changed(**changes: Any) -> dict[str, Any]:
    """The valid configuration with values set at dotted places (double underscores for dots)."""
    content = valid()
    for place, value in changes.items():
        *folders, name = place.split("__")
        entry = content
        for folder in folders:
            entry = entry.setdefault(folder, {})
        entry[name] = value
    return content


def test_there_are_a_default_a_tiny_and_the_papers_configuration():
    assert {path.stem for path in SHIPPED} >= {"demo", "smoke", "paper"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid_and_named_after_its_experiment(path):
    # A part that was cut out of another configuration may fill that one's folder.
    cut = re.match(r"# python -m workflow\.subset config/(\w+)\.yaml ", path.read_text(encoding="utf-8"))
    assert read_config(path)["experiment"] == (cut[1] if cut else path.stem)


def test_a_number_with_an_exponent_is_a_number_wherever_no_text_is_meant(tmp_path):
    """YAML 1.1, as Snakemake reads it, takes it for text unless it has a point, and a sign after the e."""
    text = yaml.safe_dump(changed(methods__manet__parameters__kspace=False))
    text = text.replace("experiment: test", "experiment: 1e3").replace("kspace: false", "alpha: 4e-1")
    text += "sweep: {alphas: [2E-1, .4e+0], betas: [1.e-1]}\n"
    text += "trust: {noise: [5e-2], masks: {ixi: [1d_uniform_6x]}}\n"
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("training:", "training:\n  gradient_clip: 1e0\n  warm_up: 1e-1"))
    config = read_config(path)
    assert config == check_config(yaml.safe_load(path.read_text()), METHODS)
    assert config["experiment"] == "1e3"
    assert config["methods"]["manet"]["parameters"]["alpha"] == 0.4
    assert config["sweep"] == {"alphas": [0.2, 0.4], "betas": [0.1]}
    assert config["trust"]["noise"] == [0.05]
    assert (config["training"]["gradient_clip"], config["training"]["warm_up"]) == (1.0, 0.1)
    noisy = changed(
        datasets__ixi__noise="1e-1", methods__unet__optimiser={"lr": "1e-3", "betas": ["9e-1", 0.99]}
    )
    found = check_config(noisy, METHODS)
    assert found["datasets"]["ixi"]["noise"] == 0.1
    assert found["methods"]["unet"]["optimiser"] == {"lr": 0.001, "betas": [0.9, 0.99]}


def test_the_documentation_is_the_schemas():
    assert (ROOT / "config" / "README.md").read_text(encoding="utf-8") == document()


def test_the_documentation_explains_every_key():
    undocumented = [
        line for line in document().splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
    assert undocumented == []


def test_the_papers_configuration_is_the_papers_setting():
    paper = read_config(ROOT / "config" / "paper.yaml")
    ixi, fastmri = paper["datasets"]["ixi"], paper["datasets"]["fastmri"]
    assert (ixi["matrix"], ixi["slices"], ixi["noise"]) == (256, 100, 0.1)
    assert split_numbers(ixi["splits"]) == {"train": 369, "val": 93, "test": 115}
    assert (fastmri["matrix"], fastmri["slices"]) == (320, None)
    assert split_numbers(fastmri["splits"]) == {"train": 227 - 23, "val": 23, "test": 45}
    # The published files cannot fill either: training gives way, whether excluded or not there at all.
    assert ixi["splits"]["train"] == {"at_most": 369}
    assert fastmri["splits"]["train"] == {"at_most": 204}
    assert {name: tuple(dataset["masks"]) for name, dataset in paper["datasets"].items()} == MASKS
    assert (paper["training"]["epochs"], paper["training"]["batch_size"]) == (50, 8)
    assert paper["training"]["schedule"] == "constant"
    # Full widths and the published optimisers are the defaults of method.yaml.
    assert paper["methods"] == {}
    assert paper["sweep"] == {"alphas": [0.2, 0.4, 0.6, 0.8], "betas": [0.2, 0.4, 0.6, 0.8]}


def test_defaults_are_filled_in_and_the_input_is_left_alone():
    content = valid()
    before = copy.deepcopy(content)
    config = check_config(content, METHODS)
    assert content == before
    assert (config["seed"], config["seeds"], config["bad_scans"]) == (2022, [0], "stop")
    assert config["tables"] == "all"
    assert config["datasets"]["ixi"]["noise"] == 0.1
    assert config["datasets"]["fastmri"]["acquired_slices"] == 3
    assert config["training"]["threads"] == 1
    # A default is a copy, not the schema's own list.
    config["seeds"].append(7)
    assert check_config(valid(), METHODS)["seeds"] == [0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": "red"}, "'colour'"),
        ({"experiment": "sec\n"}, r"experiment: is 'sec\n'; remove the characters that cannot be seen"),
        ({"experiment": "a b"}, "experiment: 'a b' does not match"),
        ({"datasets__ixi__root": "/scans\u202e"}, r"datasets.ixi.root: is '/scans\u202e'"),
        ({"datasets__ixi__root": "/scans\0"}, r"datasets.ixi.root: is '/scans\x00'"),
        ({"compare": ["zf\x1b[m"]}, r"compare[0]: is 'zf\x1b[m'"),
        ({"datasets__ixi__maskz": []}, "'maskz'"),
        ({"datasets__oasis": {}}, "'oasis'"),
        ({"training__epoch": 3}, "'epoch'"),
        ({"training__epochs": 0}, "training.epochs"),
        ({"training__recompute": "never"}, "training.recompute"),
        ({"training__compile": 1}, "training.compile"),
        (
            {"training__compile": True, "training__devices": 2},
            "training.compile: is true, but training.devices is 2",
        ),
        ({"training__epochs": {"ixi": 3, "knee": 3}}, "training.epochs"),
        ({"training__epochs": True}, "training.epochs"),
        ({"training__epochs": {"ixi": 3}}, "training.epochs: no number for fastmri"),
        ({"training__batch_size": {"ixi": 3}}, "training.batch_size: no number for fastmri"),
        ({"training__batch_size": {"ixi": 3, "knee": 3}}, "training.batch_size"),
        ({"training__batch_size": {"ixi": 3, "fastmri": 0}}, "training.batch_size"),
        ({"training__batch_size": "four"}, "training.batch_size"),
        ({"training__precision": "16"}, "training.precision"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0, 0]}, "seeds"),
        ({"seed": -1}, "seed"),
        ({"experiment": "../elsewhere"}, "experiment"),
        ({"bad_scans": "ignore"}, "bad_scans"),
        ({"tables": [5]}, "tables"),
        ({"figures": [2]}, "figures"),
        ({"metric_convention": "patch"}, "metric_convention"),
        ({"sweep": {"alphas": [0.2]}}, "'betas'"),
        ({"sweep": {"alphas": [2], "betas": [0.2]}}, "sweep.alphas"),
        ({"sweep": {"alphas": [0.2, 0.2], "betas": [0.2]}}, "sweep.alphas"),
        ({"datasets__ixi__source": "downloaded"}, "datasets.ixi.source"),
        ({"datasets__ixi__matrix": 16}, "datasets.ixi.matrix"),
        ({"datasets__ixi__splits": {"train": 1, "val": 1}}, "'test'"),
        ({"datasets__ixi__splits__val": 0}, "datasets.ixi.splits.val"),
        ({"datasets__ixi__splits__validation": 1}, "'validation'"),
        ({"datasets__ixi__splits__train": 0}, "datasets.ixi.splits.train: 0 is less than the minimum of 1"),
        ({"datasets__ixi__splits__train": "rest"}, "splits.train: 'rest' is not of type 'integer', 'object'"),
        ({"datasets__ixi__splits__train": {}}, "datasets.ixi.splits.train: {} should be non-empty"),
        ({"datasets__ixi__splits__train": {"at_least": 1}}, "'at_least'"),
        (
            {"datasets__ixi__splits__train": {"at_most": 0}},
            "splits.train.at_most: 0 is less than the minimum",
        ),
        (
            {"datasets__ixi__splits__val": {"at_most": 3}},
            "datasets.ixi.splits.val: {'at_most': 3} is not of type",
        ),
        ({"datasets__ixi__masks": ["1d_uniform_5x"]}, "1d_uniform_5x"),
        ({"datasets__ixi__masks": ["equispaced_4x"]}, "datasets.ixi.masks"),
        ({"datasets__fastmri__masks": ["1d_uniform_6x"]}, "datasets.fastmri.masks"),
        ({"datasets__ixi__masks": []}, "datasets.ixi.masks"),
        ({"datasets__fastmri__noise": 0.1}, "'noise'"),
        ({"datasets__ixi__acquired_slices": 2}, "datasets.ixi.acquired_slices"),
        ({"datasets__ixi__matrix": 48}, "datasets.ixi: embedded brains: matrix is 48; choose 64 to 256"),
        ({"datasets__ixi__slice_spacing": 40}, "datasets.ixi: embedded brains: slice spacing is 40"),
        ({"datasets__fastmri__matrix": 65}, "datasets.fastmri: matrix 65: choose an even number"),
        ({"datasets__fastmri__acquired_slices": 40}, "slices 40: the donor knee has 24 slices"),
        ({"datasets__fastmri__slices": None}, "datasets.fastmri.acquired_slices"),
        ({"compare": ["zf", "unett"]}, "unett"),
        ({"compare": ["manet-sc"]}, "manet-sc"),
        ({"methods__unett__parameters": {}}, "unett"),
        ({"methods__manet-sc__parameters": {}}, "manet-sc"),
        ({"methods__unet__width": 3}, "'width'"),
        ({"methods__unet__parameters__chanels": 4}, "methods.unet.parameters: unknown parameter 'chanels'"),
        (
            {"methods__unet__parameters__channels": "many"},
            "unet.parameters.channels: is 'many'; give a whole",
        ),
        (
            {"methods__unet__parameters__channels": 1.5},
            "unet.parameters.channels: is 1.5; give a whole number",
        ),
        ({"methods__unet__parameters__channels": True}, "unet.parameters.channels: is True; give a whole"),
        ({"methods__manet__parameters__alpha": "0,4"}, "manet.parameters.alpha: is '0,4'; give a number"),
        ({"methods__manet__parameters__kspace": 1}, "manet.parameters.kspace: is 1; give true or false"),
        ({"methods__unet__optimiser__learning_rate": 1}, "methods.unet.optimiser.learning_rate"),
        ({"methods__unet__optimiser__betas": 0.9}, "methods.unet.optimiser.betas: is 0.9; give two numbers"),
        (
            {"methods__unet__optimiser__betas": [0.9, 1]},
            "unet.optimiser.betas: is [0.9, 1]; give two numbers",
        ),
        ({"methods__unet__optimiser__weight_decay": "no"}, "optimiser.weight_decay: is 'no'; give a number"),
        ({"methods__unet__optimiser__eps": -1}, "unet.optimiser.eps: is -1; give a number from 0"),
        ({"methods__unet__optimiser__name": "adamm"}, "methods.unet.optimiser.name"),
        ({"methods__unet__optimiser__lr": -1}, "methods.unet.optimiser.lr"),
        ({"methods__unet__optimiser__lr": "0,001"}, "methods.unet.optimiser.lr"),
        ({"methods__unet__optimiser__lr": "1e-999"}, "unet.optimiser.lr: is 0.0; give a number above"),
        ({"datasets__ixi__noise": "1e999"}, "datasets.ixi.noise: is infinite"),
        ({"training__epochs": "1e1"}, "training.epochs: 10.0"),
        ({"methods__unet__optimiser": {"name": "sgd", "momentum": 0.9}}, "methods.unet.optimiser.lr"),
        ({"methods__zf__optimiser__lr": 1}, "methods.zf.optimiser"),
        # JSON Schema takes 2.0 for an integer.
        ({"datasets__ixi__splits__train": 2.0}, "datasets.ixi.splits.train: 2.0 is not of type 'integer'"),
        ({"datasets__ixi__matrix": 64.0}, "datasets.ixi.matrix: 64.0"),
        ({"datasets__fastmri__slices": 3.0}, "datasets.fastmri.slices: 3.0"),
        ({"training__batch_size": 2.0}, "training.batch_size: 2.0"),
        ({"training__epochs": 2.0}, "training.epochs: 2.0"),
        ({"trust__shifts": [2.0]}, "trust.shifts[0]: 2.0"),
        ({"tables": [2.0]}, "tables[0]: 2.0"),
        ({"figures": [5.0]}, "figures[0]: 5.0"),
        ({"seed": 2022.0}, "seed: 2022.0"),
        ({"seeds": [0.0]}, "seeds[0]: 0.0"),
        ({"compare": 3}, "compare: 3 is not all or a list (each a text); "),
        ({"compare": "manet"}, "compare: 'manet' is not all or a list (each a text); "),
        (
            {"training__epochs": True},
            "training.epochs: True is not a whole number from 1 or keys with values (ixi",
        ),
        (
            {"training__epochs": "x"},
            "training.epochs: 'x' is not a whole number from 1 or keys with values (ixi",
        ),
        ({"training__epochs": {"ixi": 0}}, "training.epochs.ixi: 0 is less than the minimum of 1; "),
        ({"training__floor": 0.1}, "training.floor: is 0.1, but training.schedule is constant"),
        (
            {"training__schedule": "cosine", "training__tail": 0.2},
            "training.tail: is 0.2, but training.floor is 0, and steps at a rate of zero train nothing; give",
        ),
        ({"training__warm_up": True}, "training.warm_up: True is not of type 'number'; "),
        ({"experiment": "a" * 300}, "experiment: has 300 characters, more than 200; "),
        ({"experiment": "ä" + "b" * 99}, "experiment: 'äbbbbbbbbbbb...bbbbbbbbbbbbb' does not match"),
        ({"methods__unet__optimiser__lr": True}, "methods.unet.optimiser.lr: is True; give a number above 0"),
        (
            {"methods__unet__optimiser__betas": 1.5},
            "optimiser.betas: is 1.5; give two numbers from 0 and below",
        ),
        (
            {"methods__unet__optimiser__betas": [1.5, 0.9]},
            "betas: is [1.5, 0.9]; give two numbers from 0 and",
        ),
        (
            {"methods__unet__optimiser__name": ["adam"]},
            "optimiser.name: ['adam'] is unknown; known optimisers",
        ),
        # Tables hold a seed in 64 bits, pages in 53.
        ({"seed": 2**31}, "seed: 2147483648 is greater than the maximum of 2147483647"),
        ({"seeds": [10**30]}, "is greater than the maximum of 2147483647"),
        ({"methods": {1: {}}}, "config: methods: the key 1 is no text; "),
        ({"trust__phase": {"fastmri": ["random_4x"]}}, "trust.phase: "),
        ({"trust__phase": {"ixi": ["2d_poisson_6x"]}}, "trust.phase.ixi: '2d_poisson_6x' does not stand in"),
        ({"datasets__ixi__phase": "rough"}, "datasets.ixi.phase: 'rough' is not one of ['none', 'smooth']"),
        ({"datasets__fastmri__phase": "smooth"}, "datasets.fastmri: "),
        (
            {"datasets__ixi__phase": "smooth", "trust__phase": {"ixi": ["1d_uniform_6x"]}},
            "trust.phase.ixi: datasets.ixi.phase gives all of its runs a phase",
        ),
        ({"trust__masks": {None: []}}, "config: trust.masks: the key None is no text; "),
        ({"training__epochs": {True: 3}}, "config: training.epochs: the key True is no text; "),
        ({"methods__unet__parameters__channels": 0}, "parameters.channels: is 0; give a whole number from 1"),
        ({"methods__unet__parameters__channels": -3}, "unet.parameters.channels: is -3; give a whole number"),
        ({"methods__manet__parameters__width": 0}, "methods.manet.parameters.width: is 0; give a whole"),
        ({"methods__dudornet__parameters__features": 0}, "dudornet.parameters.features: is 0; give a whole"),
        ({"sweep": {"alphas": [0.00001], "betas": [0.2]}}, "sweep.alphas: 1e-05 is no plain decimal; give"),
        ({"sweep": {"alphas": [0.2], "betas": [-0.0]}}, "sweep.betas: -0.0 is no plain decimal; give"),
    ],
    ids=str,
)
def test_a_mistake_is_refused_by_name(changes, named):
    with pytest.raises(BadInput) as refusal:
        check_config(changed(**changes), METHODS)
    message = str(refusal.value)
    assert named in message
    assert message.startswith("config: ")
    assert "\n" not in message
    # The remedy follows the complaint.
    assert ";" in message or ": choose" in message


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400], ids=["nan", "inf", "-inf", "huge"]
)
@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("datasets__ixi__noise", "datasets.ixi.noise"),
        ("datasets__ixi__slice_spacing", "datasets.ixi.slice_spacing"),
        ("training__warm_up", "training.warm_up"),
        ("training__gradient_clip", "training.gradient_clip"),
        ("training__resident_gigabytes", "training.resident_gigabytes"),
        ("trust__noise", "trust.noise[1]"),
        ("trust__rotations", "trust.rotations[1]"),
        ("methods__manet__parameters__alpha", "methods.manet.parameters.alpha"),
        ("methods__unet__optimiser__lr", "methods.unet.optimiser.lr"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_its_place(key, place, value):
    content = changed(**{key: [0.1, value] if place.endswith("]") else value})
    with pytest.raises(BadInput) as refusal:
        check_config(content, METHODS)
    assert str(refusal.value) == f"config: {place}: is infinite or no number at all; give a finite number"


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_methods_own_learning_rate_must_be_finite(rate):
    unet = METHODS["unet"]
    broken = replace(unet, default=replace(unet.default, optimiser={"name": "adam", "lr": rate}))
    with pytest.raises(BadInput, match=rf"^methods/unet/method\.yaml: optimiser\.lr: is {rate}; give"):
        check_config(valid(), METHODS | {"unet": broken})


def test_numbers_at_the_edges_are_taken():
    content = changed(
        seed=2**31 - 1,
        seeds=[0, 2**31 - 1],
        sweep={"alphas": [0, 1, 0.0001], "betas": [0.0, 1.0]},
        training__warm_up=0,
        methods__unet__parameters={"channels": 1, "dropout": 0},
    )
    check_config(content, METHODS)


@pytest.mark.parametrize(
    ("files", "refused"),
    [([], False), (["good", "more"], False), (["twice"], True), (["good", "twice"], True)],
    ids=["default", "several", "twice", "second twice"],
)
def test_snakemake_refuses_a_key_that_is_there_twice(tmp_path, files, refused):
    good = yaml.safe_dump(changed(tables=[1], figures=[]))
    texts = {"good": good, "more": "seeds: [1]\n", "twice": good + "tables: [2]\n"}
    paths = [tmp_path / f"{name}.yaml" for name in files]
    for path in paths:
        path.write_text(texts[path.stem], encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--list-rules", "--config", "seed=7"]
    command += ["--configfile", *map(str, paths)] if paths else []
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    printed = outcome.stdout + outcome.stderr
    assert (outcome.returncode != 0) == refused, printed
    assert (f"{tmp_path}/twice.yaml: not valid YAML (the key 'tables' is there twice" in printed) == refused
    assert "Traceback" not in printed


def test_a_missing_key_is_named():
    content = valid()
    del content["datasets"]["ixi"]["matrix"]
    with pytest.raises(BadInput, match=r"datasets\.ixi: 'matrix' is a required property"):
        check_config(content, METHODS)


@pytest.mark.parametrize(("name", "published"), [("ixi", 577), ("fastmri", 272)])
def test_published_splits_cannot_exceed_what_is_published(name, published):
    splits = {"train": published - 20, "val": 10, "test": 10}
    content = changed(**{f"datasets__{name}__source": "published", f"datasets__{name}__splits": splits})
    assert check_config(content, METHODS)["datasets"][name]["splits"] == splits
    splits["train"] += 1
    with pytest.raises(BadInput, match=rf"{name}\.splits: add up to {published + 1}, .*{published}"):
        check_config(content, METHODS)


def test_embedded_subjects_are_not_limited_by_what_is_published():
    content = changed(datasets__ixi__splits={"train": 1000, "val": 1, "test": 1})
    assert check_config(content, METHODS)["datasets"]["ixi"]["splits"]["train"] == 1000


def test_methods_that_exist_are_taken():
    content = changed(
        compare=["zf", "unet"],
        methods__unet={"parameters": {"channels": 2}, "optimiser": {"lr": 0.01}},
        methods__xiang={"optimiser": {"name": "sgd", "lr": 0.1}},
    )
    assert check_config(content, METHODS)["methods"] == content["methods"]


@pytest.mark.parametrize(
    ("text", "named"),
    [("experiment: [", "not valid YAML"), ("- 1\n", "not a mapping"), ("", "not a mapping")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, named):
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=named) as refusal:
        read_config(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_in_latin_1_is_refused_by_its_line(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(f"# one\n# M\u00fcller\n{yaml.safe_dump(valid())}".encode("latin-1"))
    with pytest.raises(
        BadInput, match=r"latin\.yaml: .*\(line 2 is not UTF-8: byte 0xfc\); save the file as UTF-8"
    ):
        read_config(path)
    # Snakemake reads it before the Snakefile could, and our display of its output says what it is.
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--logger", "progress", "--configfile", str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "workflow/plugins"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a configuration is not UTF-8; save it as UTF-8" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("given", ["none.yaml", "."])
def test_a_configuration_that_is_not_there_is_told_in_a_sentence(tmp_path, given):
    path = tmp_path / given
    command = [sys.executable, "-m", "snakemake", "-n", "--logger", "progress", "--configfile", str(path)]
    environment = os.environ | {"PYTHONPATH": "workflow/plugins"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}': check the path after --configfile" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "known"), [("table", "1, 2"), ("figure", "none")])
def test_a_number_that_the_configuration_does_not_ask_for_is_told_from_those_it_does(tmp_path, kind, known):
    path = tmp_path / "some.yaml"
    path.write_text(yaml.safe_dump(changed(tables=[1, 2], figures=[])), encoding="utf-8")
    command = [sys.executable, "-m", "workflow.plan", str(path), f"--{kind}", "9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == f"error: {path}: asks for no {kind} 9; its {kind}s: {known}\n"


def test_a_target_with_such_a_number_has_no_rule():
    targets = ["results/smoke/tables/table_9.html", "results/smoke/figures/figure_2.png"]
    for target in targets:
        command = [sys.executable, "-m", "snakemake", "-n", target, "--configfile", "config/smoke.yaml"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert f"No rule to produce {target}" in done.stdout + done.stderr
        assert "KeyError" not in done.stdout + done.stderr


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml: no such file"):
        read_config(tmp_path / "none.yaml")


def test_the_command_prints_the_filled_configuration_or_one_sentence(tmp_path):
    def run(content: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "some.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-m", "workflow.plan", str(path), "--check"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    content = changed(figures=[])
    good = run(content)
    assert good.returncode == 0, good.stderr
    assert yaml.safe_load(good.stdout) == check_config(content, METHODS)
    bad = run(changed(datasets__ixi__masks=["1d_uniform_7x"]))
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert bad.stderr.count("\n") == 1
    assert "1d_uniform_7x" in bad.stderr
    # What only a plan knows, too.
    by_dataset = {"unet": {"optimiser": {"lr": {"ixi": 0.002}}}}
    for content, said in (
        (changed(), "figure 1 shows 1d_random_3x"),
        (changed(figures=[], methods=by_dataset), "methods.unet.optimiser.lr: no value for fastmri"),
        (
            changed(figures=[], tuning={"masks": {"ixi": "1d_uniform_6x"}, "grid": {"lr": [0.1, 0.2]}}),
            "tuning.masks: names no mask for fastmri",
        ),
    ):
        bad = run(content)
        assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (1, "", 1)
        assert said in bad.stderr


@pytest.mark.parametrize(
    ("source", "said"), [("embedded", "source is embedded"), ("published", "root is null")]
)
def test_a_download_without_a_place_or_a_use_is_refused(source, said):
    content = changed(datasets__ixi__source=source, datasets__ixi__download=True)
    with pytest.raises(BadInput, match=rf"datasets\.ixi\.download: is true, but {said}"):
        check_config(content, METHODS)


def test_a_method_whose_folder_is_gone_while_its_results_stay_is_named_and_left_out(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    left = {name: entry for name, entry in METHODS.items() if name != "xiang"}
    content = changed(methods__xiang__parameters={"width": 2}, compare=["zf", "xiang"])
    with pytest.raises(BadInput, match=r"compare: unknown method 'xiang': there is no folder methods/xiang/"):
        check_config(content, left)
    (tmp_path / "results/test/runs/ixi/1d_uniform_6x/xiang/seed0").mkdir(parents=True)
    config = check_config(content, left)
    assert (config["compare"], config["methods"]) == (["zf"], {})
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("config: there is no folder methods/xiang/ any more; what results/test/runs holds")
    # A name that was never a method's is still a mistake.
    with pytest.raises(BadInput, match="unknown method 'xiangg'"):
        check_config(changed(compare=["zf", "xiangg"]), left)


@pytest.mark.parametrize("option", ["--snakefile", "--directory"])
def test_rules_of_one_folder_do_not_run_the_modules_of_another(tmp_path, option):
    here, given = (tmp_path, ROOT / "Snakefile") if option == "--snakefile" else (ROOT, tmp_path)
    command = [sys.executable, "-m", "snakemake", "--list-rules", option, str(given)]
    outcome = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    printed = outcome.stdout + outcome.stderr
    assert outcome.returncode != 0
    assert f"The Snakefile is that of {ROOT}, but the working directory is {tmp_path}: " in printed
    assert "Traceback" not in printed


def test_a_checkout_behind_a_link_is_one_folder(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    command = [sys.executable, "-m", "snakemake", "--list-rules", "--directory", str(tmp_path / "link")]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
