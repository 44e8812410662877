"""The spec is checked, one training has one hash, and the record says what ran."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tiny_runs import spec_content, tiny_spec

from data_prep.errors import BadInput
from data_prep.io.files import remove_partial_files
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import write_json
from workflow.evaluate.record import peak_resident_bytes, processor_name, run_sources
from workflow.provenance import code
from workflow.provenance.code import _git_commit, code_version, package_versions
from workflow.provenance.sources import ROOT
from workflow.run import identity
from workflow.run.identity import differences, identity_hash, training_identity, training_sources
from workflow.run.spec import RunSpec


def training_hash(spec: RunSpec, data: Mapping[str, str], mask: str) -> str:
    return identity_hash(training_identity(spec, data, mask))


DATA = {"train": "a" * 64, "val": "b" * 64}


def test_a_spec_survives_the_way_through_json():
    spec = tiny_spec()
    assert RunSpec.from_json(spec.canonical()) == spec


def test_the_canonical_text_does_not_depend_on_order_or_spelled_out_defaults():
    content = spec_content(noise=0)
    other = dict(reversed(content.items())) | {"noise": 0.0}
    other["training"] = {**content["training"], "gradient_clip": None}
    assert (
        RunSpec.from_json(json.dumps(content)).canonical() == RunSpec.from_json(json.dumps(other)).canonical()
    )


def test_a_spec_speaks_of_tuning_only_where_there_is_something_to_tune():
    assert "tune" not in json.loads(tiny_spec().canonical())
    tuned = tiny_spec(trainable=False, tune={"pools": [1, 2]})
    assert RunSpec.from_json(tuned.canonical()) == tuned
    assert "tune" not in tuned.training_part()


def test_a_spec_speaks_of_a_phase_only_where_there_is_one_and_it_is_part_of_the_training():
    plain, phased = tiny_spec(), tiny_spec(phase="smooth")
    assert "phase" not in plain.content() | plain.training_part()
    assert tiny_spec(phase="none").canonical() == plain.canonical()
    assert RunSpec.from_json(phased.canonical()) == phased
    assert training_hash(phased, DATA, "c" * 64) != training_hash(plain, DATA, "c" * 64)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"phase": "rough"}, "phase is 'rough'"),
        ({"phase": "smooth", "dataset": "fastmri"}, "phase: the targets of fastmri have their own"),
        ({"sed": 1}, "sed is unknown"),
        ({"seed": "one"}, "seed is 'one', not a whole number"),
        ({"seed": True}, "seed is True"),
        ({"seed": -1}, "seed is -1, not a whole number from 0"),
        ({"trainable": 1}, "trainable is 1, not true or false"),
        ({"noise": -0.1}, "noise is -0.1, not a number from 0"),
        ({"parameters": []}, "parameters is"),
        ({"folder": "nothing"}, "methods/nothing/model.py"),
        ({"training": 3}, "training is 3, not an object"),
        ({"training__epochs": 0}, "training.epochs is 0, not a whole number from 1"),
        ({"training__epoch": 3}, "training.epoch is unknown"),
        ({"training__schedule": "step"}, "training.schedule is 'step', not constant or cosine"),
        ({"training__precision": "16-mixed"}, "training.precision is '16-mixed', not 32-true or bf16-mixed"),
        ({"training__floor": 1}, "training.floor is 1, not a number below 1"),
        ({"training__tail": -0.1}, "training.tail is -0.1, not a number from 0"),
        ({"training__gradient_clip": 0}, "training.gradient_clip is 0, not a number above 0"),
        ({"training__channels_last": 1}, "training.channels_last is 1, not true or false"),
        ({"training__devices": 0}, "training.devices is 0, not a whole number from 1"),
        ({"training__compile": "yes"}, "training.compile is 'yes', not true or false or auto"),
        ({"training__logger": "wandb"}, "training.logger is 'wandb', not csv or tensorboard"),
        ({"optimiser": {}}, "optimiser.name"),
        ({"optimiser__name": "lion"}, "'lion' is unknown; known optimisers: adam, adamw, rmsprop, sgd"),
        ({"optimiser__momentum": 0.9}, "optimiser.momentum: no option of adam"),
        ({"optimiser__lr": 0}, "optimiser.lr: is"),
        ({"optimiser__lr": math.nan}, "optimiser.lr: is"),
        ({"optimiser__lr": math.inf}, "optimiser.lr: is"),
        ({"tune": {"pools": [1, 2]}}, "tune is for untrained methods"),
        ({"trainable": False, "tune": {"pool": [1, 2]}}, "tune.pool is no parameter of unet"),
        ({"trainable": False, "tune": {"pools": 2}}, "tune.pools must be a list"),
        ({"trainable": False, "tune": {"pools": [1, 0]}}, "tune.pools: is 0; give a whole number from 1"),
        ({"optimiser__lr": True}, "optimiser.lr: is True; give a number above 0"),
        ({"optimiser__betas": 1.5}, "optimiser.betas: is 1.5; give two numbers from 0 and below 1"),
        ({"optimiser__betas": [1.5, 0.9]}, "optimiser.betas: is [1.5, 0.9]; give two numbers"),
        ({"optimiser__betas": [True, 0.9]}, "optimiser.betas: is [True, 0.9]; give two numbers"),
        ({"optimiser__name": ["adam"]}, "['adam'] is unknown; known optimisers"),
        ({"parameters__channels": 0}, "parameters.channels: is 0; give a whole number from 1"),
        ({"parameters__channels": True}, "parameters.channels: is True; give a whole number such as"),
        ({"parameters__channels": 2.5}, "parameters.channels: is 2.5; give a whole number such as"),
        ({"parameters__dropout": math.nan}, "parameters.dropout: is nan; give a number such as"),
        (
            {"parameters__chanels": 2},
            "unknown parameter 'chanels'; methods/unet/method.yaml declares channels",
        ),
    ],
)
def test_a_spec_that_cannot_be_is_refused_by_name(changes, named):
    with pytest.raises(BadInput, match=r"--spec: ") as refusal:
        tiny_spec(**changes)
    assert named in str(refusal.value)


@pytest.mark.parametrize("name", ["seed", "training", "noise", "mask"])
def test_a_missing_key_is_named(name):
    content = spec_content()
    del content[name]
    with pytest.raises(BadInput, match=name):
        RunSpec.from_json(json.dumps(content))


def test_text_that_is_not_json_is_refused():
    with pytest.raises(BadInput, match="not JSON"):
        RunSpec.from_json("{")


def test_an_untrained_method_needs_no_optimiser():
    content = spec_content(trainable=False)
    del content["optimiser"]
    assert RunSpec.from_json(json.dumps(content)).optimiser == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"base_seed": 1},
        {"noise": 0.2},
        {"method": "unet-wide"},
        {"parameters__channels": 4},
        {"optimiser__lr": 0.02},
        {"training__epochs": 4},
        {"training__threads": 2},
        {"training__warm_up": 0.1},
        {"training__floor": 0.1},
        {"training__tail": 0.1},
        {"training__gradient_clip": 1.0},
        {"training__channels_last": True},
        {"training__recompute": False},
        {"training__compile": True},
        {"training__deterministic": False},
        {"training__devices": 2},
    ],
)
def test_what_changes_the_weights_changes_the_hash(changes):
    assert training_hash(tiny_spec(**changes), DATA, "m") != training_hash(tiny_spec(), DATA, "m")


def test_what_cannot_change_the_weights_keeps_the_hash():
    changed = tiny_spec(examples=7, training__resident_gigabytes=0.0, training__logger="tensorboard")
    assert training_hash(changed, DATA, "m") == training_hash(tiny_spec(), DATA, "m")


def test_other_data_or_another_mask_is_another_training():
    hashes = {
        training_hash(tiny_spec(), DATA, "m"),
        training_hash(tiny_spec(), DATA | {"val": "c" * 64}, "m"),
        training_hash(tiny_spec(), DATA, "n"),
    }
    assert len(hashes) == 3


def test_an_edited_source_is_another_training(monkeypatch):
    before = training_hash(tiny_spec(), DATA, "m")
    real = file_sha256
    monkeypatch.setattr(
        identity,
        "file_sha256",
        lambda path: "edited" if path == ROOT / "data_prep/undersample/noise.py" else real(path),
    )
    assert training_hash(tiny_spec(), DATA, "m") != before


def test_the_sources_of_a_training_are_those_that_change_its_numbers():
    sources = set(training_sources("manet", "2d_spiral_6x"))
    assert {
        "methods/manet/model.py",
        "methods/blocks.py",
        "methods/contract.py",
        "data_prep/fourier.py",
        "data_prep/measurement.py",
        "data_prep/undersample/noise.py",
        "data_prep/masks/sets.py",
        "data_prep/undersample/slices.py",
        "data_prep/seeds.py",
        "workflow/train/loop.py",
        "data_prep/undersample/acquisition.py",
        "workflow/run/model.py",
    } <= sources
    assert not sources & {
        "workflow/evaluate/__main__.py",
        "workflow/metrics/volume.py",
        "workflow/plan/plan.py",
        "workflow/run/spec.py",
        "methods/unet/model.py",
        "data_prep/masks/families/spiral.py",
    }


def test_a_family_of_masks_counts_where_training_draws_from_it():
    own = "data_prep/masks/families/fastmri_random.py"
    assert own in training_sources("unet", "random_4x")
    assert own not in training_sources("unet", "equispaced_4x")
    assert not [name for name in training_sources("unet", "2d_poisson_6x") if "masks/families" in name]


def test_planning_and_help_do_not_load_torch():
    code = (
        "import sys, workflow.run.spec, workflow.lease, workflow.train, workflow.evaluate\n"
        "print(sorted({'torch', 'scipy', 'pandas', 'lightning_fabric'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_record_names_the_commit_only_inside_its_own_checkout(tmp_path, monkeypatch):
    version = code_version(["workflow/run/spec.py"])
    if (code.ROOT / ".git").exists():
        assert len(version.commit) == 40
    assert len(version.source_sha256) == 64
    monkeypatch.setattr(code, "ROOT", tmp_path)
    assert _git_commit() is None


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in (".state.123.partial.pt", ".metrics.9.partial/partial.csv", "state.pt", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "state.pt"]
    remove_partial_files(tmp_path / "not there yet")


def test_a_json_record_reads_back_exactly(tmp_path):
    record = {"b": 0.1 + 0.2, "a": ["ü", None]}
    write_json(tmp_path / "run.json", record)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text) == record
    assert text.index('"a"') < text.index('"b"')


def test_the_machine_is_described():
    assert processor_name()
    assert peak_resident_bytes() > 10 * 2**20
    assert package_versions()["numpy"][0].isdigit()
    assert Path(code.ROOT / "workflow" / "run" / "spec.py").is_file()


def test_what_differs_between_two_trainings_is_named():
    one = training_identity(tiny_spec(), DATA, "m")
    other = training_identity(tiny_spec(optimiser__lr=0.02, seed=1), DATA | {"val": "c" * 64}, "n")
    assert differences(one, one) == ""
    assert differences(one, other) == "data.val, mask, spec.optimiser.lr and 1 more"


def test_the_code_of_a_run_is_all_that_took_part_in_it():
    found = run_sources(tiny_spec(metrics=["hfen"]))
    for name in (
        "train/loop",
        "train/__main__",
        "evaluate/tuning",
        "evaluate/evaluation",
        "metrics/library/hfen",
    ):
        assert f"workflow/{name}.py" in found
