"""Weights that travel: one file with a card, used by its path, and safe to open."""

import json
import os
import shutil
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from small_experiment import BRAINS, KNEES, copy_of, spec_of, write_brain
from torch import nn

from data_prep.errors import BadInput, run_command
from data_prep.io.command import call
from data_prep.measurement import measure
from data_prep.prepare.places import folder_of
from methods.registry import discover
from workflow.evaluate.__main__ import main as evaluate
from workflow.predict import predict
from workflow.run.checkpoint import load_checkpoint, load_whole, save_atomically
from workflow.run.finished import read_finished
from workflow.run.model import build_model
from workflow.run.weights import load_model, pack, read_packed
from workflow.weights import card_of, weights

TRAINED = sorted(name for name, folder in discover().items() if folder.default.trainable)
LICENCE = ("--licence", "CC BY 4.0")


@pytest.fixture(scope="module")
def packed(experiment, tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("packed") / "unet.ckpt"
    weights("pack", experiment / "runs" / BRAINS, to, LICENCE[1])
    return to


def test_the_card_says_what_people_need_to_know(packed, said):
    text = said(weights, "show", packed)
    for part in (
        "method: unet (UNet), ",
        "data: 'embedded data, not BraTS: 7 slices of 1 subjects; T1 guides T2'",
        "sampling: 1D-Uniform-6×, ",
        "epochs: 1",
        "psnr: ",
        "volumes: 2",
        "licence: CC BY 4.0",
        "intended_use: 'Research on image reconstruction. No medical device",
        f"torch: {torch.__version__}",
    ):
        assert part in " ".join(text.split()), part


def test_predict_gives_the_same_from_the_file_alone(experiment, packed, tmp_path, said):
    target, auxiliary = (write_brain(tmp_path / f"T{2 - i}.nii.gz", 5, i) for i in (0, 1))
    pair = ("--target", target, "--auxiliary", auxiliary, "--matrix", 32, "--device", "cpu")
    alone = shutil.copy(packed, tmp_path / "mine.ckpt")
    found = []
    for run in (experiment / "runs" / BRAINS, alone):
        said(predict, "--run", run, "--to", tmp_path / "out.nii.gz", *pair)
        found.append(nibabel.load(tmp_path / "out.nii.gz").get_fdata())
    np.testing.assert_array_equal(*found)


def test_evaluate_takes_the_file_and_gives_the_scores_of_the_run(experiment, packed, tmp_path, monkeypatch):
    data, mask = folder_of(experiment, "brats", "data"), experiment / "masks/brats/1d_uniform_6x.npz"
    words = ["--spec", spec_of("brats", "unet").canonical(), "--data", data, "--mask", mask]
    words += ["--checkpoint", packed, "--output", tmp_path, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, words)])
    call(evaluate)
    assert (tmp_path / "metrics.csv").read_bytes() == (
        experiment / "runs" / BRAINS / "metrics.csv"
    ).read_bytes()


def test_a_program_gets_the_network_of_the_methods_folder(packed):
    model, card = load_model(packed)
    assert type(model).__module__.startswith("methods.")
    assert card.matrix == 32
    assert not model.training
    image = torch.rand(1, 32, 32)
    measurement, _ = measure(image, image, torch.ones(1, 32, 32, dtype=torch.bool))
    with torch.inference_mode():
        assert model(measurement).image.shape == (1, 32, 32)


def test_weights_of_drawn_masks_travel_without_the_subjects_names(experiment, tmp_path, said):
    said(weights, "pack", experiment / "runs" / KNEES, "--to", tmp_path / "knees.ckpt", *LICENCE)
    content = (tmp_path / "knees.ckpt").read_bytes()
    assert b"file9000" not in content
    assert b"patient" not in content.replace(b"patients", b"")
    assert read_packed(tmp_path / "knees.ckpt").side == 32
    # Of the test subjects' masks, as the table beside says, and not of all.
    every = read_finished(experiment / "runs" / KNEES).masks.realised_acceleration
    (told,) = pd.read_csv(experiment / "tables/table_6.csv")["realised_acceleration"].unique()
    assert f"{told:.2f}" != f"{every:.2f}"
    assert f"sampling: Equispaced-4×, {told:.2f} times fewer" in said(
        weights, "show", tmp_path / "knees.ckpt"
    )


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_can_be_measured_before_it_takes_memory(name):
    """Its sizes are known from its description alone, which a file from elsewhere is held against."""
    from methods.registry import load_builder

    method = discover()[name].default
    parameters = {**method.parameters, **method.small}
    with torch.device("meta"):
        wanted = load_builder(name)(parameters, (64, 64)).state_dict()
    built = load_builder(name)(parameters, (64, 64)).state_dict()
    assert {key: of.shape for key, of in wanted.items()} == {key: of.shape for key, of in built.items()}


class Harm:
    """What a hostile file would run."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


def changed(packed: Path, to: Path, **changes: object) -> Path:
    save_atomically({**load_whole(packed), **changes}, to)
    return to


def spec(packed: Path, **changes: object) -> dict:
    return {**load_whole(packed)["spec"], **changes}


def training(packed: Path, **changes: object) -> dict:
    content = spec(packed)
    return content | {"training": content["training"] | changes}


def card(packed: Path, **changes: object) -> dict:
    return {**load_whole(packed)["card"], **changes}


def doubled(times: int) -> list:
    """A list of 2**times numbers, of which each level is stored once."""
    values: list = [0]
    for _ in range(times):
        values = [values, values]
    return values


def endless() -> list:
    values: list = []
    values.append(values)
    return values


def disguised() -> OrderedDict:
    """A mapping that has a value in place of a method."""
    mapping = OrderedDict(a=torch.ones(1))
    mapping.values = None
    return mapping


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda packed: {"card": {}}, "card: field method is missing"),
        (
            lambda packed: {"spec": spec(packed, folder="../../evil")},
            r"methods/\.\./\.\./evil, which is not here",
        ),
        (
            lambda packed: {"mask": torch.zeros(3, 5, dtype=torch.uint8)},
            "field mask is not of the card's matrix, 32",
        ),
        (lambda packed: {"mask": "1d"}, "field mask is no mask"),
        (lambda packed: {"mask": torch.zeros(32, 32, dtype=torch.uint8)}, "field mask samples nothing"),
        (
            lambda packed: {"mask": torch.ones(4, 4, dtype=torch.uint8), "card": card(packed, matrix=4)},
            "field mask samples nothing, or has a side below 32",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={"channels": 2, "pools": 10**9, "dropout": 0.1})},
            "its parameters hold a number above 4096, which no network has",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={"channels": 4096, "pools": 2, "dropout": 0.1})},
            "field state_dict does not fit methods/unet with the parameters that it names",
        ),
        (lambda packed: {"card": card(packed, training={"b": doubled(60)})}, "its values claim more than"),
        (lambda packed: {"spec": spec(packed, parameters={"b": doubled(60)})}, "its values claim more than"),
        (lambda packed: {"card": card(packed, licence="x" * 100_000)}, "its card is longer than 100000 char"),
        (lambda packed: {"spec": spec(packed, method="x" * 100_000)}, "its spec is longer than 100000 char"),
        (
            lambda packed: {"card": card(packed, training={"b": torch.zeros(2)})},
            "field card holds more than texts and numbers .*Tensor",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={"dropout": torch.zeros(2)})},
            "field spec holds more than texts and numbers .*Tensor",
        ),
        (lambda packed: {"card": card(packed, training={"b": endless()})}, "within each other more than 64"),
        (
            lambda packed: {"spec": spec(packed, folder=["unet"])},
            r"field spec\.folder is \['unet'\], not a text",
        ),
        (
            lambda packed: {"spec": training(packed, threads=2**31)},
            "field training.threads is 2147483648, not a whole number up to 1024",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={"channels": 2, "pools": 2, "dropout": 10**400})},
            "parameters.dropout: is 1000.*; give a number",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={"channels": 2, "pools": 2, "dropout": 7.0})},
            r"methods/unet cannot be built with the parameters that it names \(BadInput: .*dropout is 7\.0",
        ),
        (
            lambda packed: {"spec": spec(packed, parameters={})},
            r"methods/unet cannot be built with the parameters that it names \(KeyError: 'pools'\)",
        ),
        (lambda packed: {"state_dict": {"a": 3}}, "field state_dict.* not Tensor"),
        (lambda packed: {"state_dict": {3: torch.ones(1)}}, "field state_dict has a key that is not a text"),
        (lambda packed: {"state_dict": disguised()}, "it gives an object more than its versions"),
    ],
)
def test_a_file_that_others_changed_is_refused_in_one_sentence(packed, tmp_path, make, message):
    file = changed(packed, tmp_path / "theirs.ckpt", **make(packed))
    with pytest.raises(BadInput, match=message) as told:
        load_model(file)
    assert str(told.value).startswith(f"{file}: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            lambda packed: {"spec": spec(packed, parameters={"b": torch.zeros(2)})},
            "field spec holds more",
        ),
        (lambda packed: {"state_dict": {"a": 3}}, "field state_dict.* not Tensor"),
    ],
)
def test_evaluation_refuses_such_a_file_as_well(packed, tmp_path, changes, message):
    file, own = changed(packed, tmp_path / "theirs.ckpt", **changes(packed)), spec_of("brats", "unet")
    with pytest.raises(BadInput, match=rf"theirs\.ckpt: {message}"):
        load_checkpoint(build_model(own, (32, 32)), own, file)


def test_what_is_refused_ends_in_one_line(packed, tmp_path):
    many = changed(packed, tmp_path / "many.ckpt", spec=training(packed, threads=2**31))
    held = changed(packed, tmp_path / "held.ckpt", card=card(packed, training={"b": torch.zeros(2)}))
    scan = write_brain(tmp_path / "T2.nii.gz", 5, 0)
    with pytest.raises(SystemExit) as first:
        run_command(partial(call, weights, ["show", str(held)]))
    words = ["--run", many, "--target", scan, "--auxiliary", scan, "--to", tmp_path / "out.nii.gz"]
    with pytest.raises(SystemExit) as second:
        run_command(partial(call, predict, [str(word) for word in words]))
    for told, file in ((first, held), (second, many)):
        # The interpreter prints it and exits with status 1.
        assert str(told.value.code).startswith(f"error: {file}: ")
        assert "\n" not in str(told.value.code)


def test_a_network_of_more_parts_than_the_file_has_weights_is_not_built(packed, tmp_path, monkeypatch):
    from methods.unet import model

    built = []

    def of_parts(parameters, shape):
        parts = nn.ModuleList()
        for _ in range(parameters["channels"]):
            parts.append(nn.Linear(1, 1))
            built.append(parts[-1])
        return parts

    monkeypatch.setattr(model, "build", of_parts)
    of_many = spec(packed, parameters={"channels": 4096, "pools": 2, "dropout": 0.1})
    with pytest.raises(BadInput, match="field state_dict does not fit methods/unet with the parameters"):
        load_model(changed(packed, tmp_path / "theirs.ckpt", spec=of_many))
    assert len(built) < 1000


def test_nothing_in_a_file_is_run(packed, tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    torch.save({**load_whole(packed), "card": Harm()}, tmp_path / "theirs.ckpt")
    with pytest.raises(
        BadInput, match=r"theirs\.ckpt: it is not whole, or no checkpoint .*get the file again"
    ):
        said(weights, "show", tmp_path / "theirs.ckpt")
    assert not Path("harmed").exists()


def test_a_card_cannot_move_the_cursor(packed, tmp_path, said):
    card = load_whole(packed)["card"] | {"licence": "free\x1b[2J\nvolumes: 9000"}
    text = said(weights, "show", changed(packed, tmp_path / "theirs.ckpt", card=card))
    assert "\x1b" not in text
    assert "\nvolumes: 9000" not in text


def test_what_cannot_be_packed_or_shown_is_told(experiment, tmp_path, said):
    run = experiment / "runs" / BRAINS
    to = ("--to", tmp_path / "weights.ckpt", *LICENCE)
    with pytest.raises(BadInput, match="zf has no weights, so that there is nothing to pack"):
        said(weights, "pack", str(run).replace("unet", "zf"), *to)
    with pytest.raises(BadInput, match=r"--to: .*weights\.pt does not end in \.ckpt"):
        said(weights, "pack", run, "--to", tmp_path / "weights.pt", *LICENCE)
    with pytest.raises(BadInput, match=r"--to: .* lies within .*, whose files are listed"):
        said(weights, "pack", run, "--to", run / "packed.ckpt", *LICENCE)
    # A folder that the list leaves out.
    kept = run.parents[4] / "weights" / "unet.ckpt"
    said(weights, "pack", run, "--to", kept, *LICENCE)
    assert kept.is_file()
    with pytest.raises(BadInput, match=r"model\.ckpt: it has no card; pack the run's folder"):
        said(weights, "show", run / "model.ckpt")
    with pytest.raises(BadInput, match=r"none\.ckpt: no such file; give one that workflow\.weights packed"):
        said(weights, "show", tmp_path / "none.ckpt")
    with pytest.raises(SystemExit):
        said(weights, "pack", run, "--to", tmp_path / "weights.ckpt")
    with pytest.raises(SystemExit):
        said(weights, "pack", run, "--to", tmp_path / "weights.ckpt", "--licence", "")
    with pytest.raises(SystemExit):
        said(weights, "show", kept, "--use", "play")


@pytest.mark.parametrize(
    ("column", "value", "rows", "what"),
    [("psnr", np.nan, 1, "1 of 2 volumes failed"), ("blank", 1, 2, "no volume has signal")],
)
def test_the_mean_of_what_is_left_stands_on_no_card(experiment, tmp_path, said, column, value, rows, what):
    run = copy_of(experiment, tmp_path) / "runs" / BRAINS
    table = pd.read_csv(run / "metrics.csv")
    table.loc[table.index[table["level"] == "volume"][:rows], column] = value
    table.to_csv(run / "metrics.csv", index=False)
    with pytest.raises(BadInput, match=rf"metrics\.csv: {what}, so that a card has no mean to tell"):
        said(weights, "pack", run, "--to", tmp_path / "weights.ckpt", *LICENCE)
    assert not (tmp_path / "weights.ckpt").exists()


def test_perfect_scores_are_printed_as_in_tables(experiment, tmp_path, said):
    run, to = copy_of(experiment, tmp_path) / "runs" / BRAINS, tmp_path / "weights.ckpt"
    table = pd.read_csv(run / "metrics.csv")
    table.loc[table.index[table["level"] == "volume"][:1], "psnr"] = np.inf
    table.to_csv(run / "metrics.csv", index=False)
    said(weights, "pack", run, "--to", to, *LICENCE)
    text = said(weights, "show", to)
    assert "  psnr: ∞\n" in text
    assert "inf" not in text


def test_the_name_of_the_file_forges_no_line(experiment, tmp_path, said, odd, lines):
    to = tmp_path / f"{odd}.ckpt"
    assert any(lines(said(weights, "pack", experiment / "runs" / BRAINS, "--to", to, *LICENCE)))
    assert to.is_file()


def test_weights_that_a_workflow_replaces_meanwhile_are_neither_packed_nor_used(experiment, tmp_path):
    run = read_finished(copy_of(experiment, tmp_path) / "runs" / BRAINS)
    content = load_whole(run.checkpoint)
    content["state_dict"] = {name: 2 * value for name, value in content["state_dict"].items()}
    save_atomically(content, run.checkpoint)
    told = r"model\.ckpt: was replaced while this command was at work"
    with pytest.raises(BadInput, match=told):
        run.restore((run.side, run.side), torch.device("cpu"))
    with pytest.raises(BadInput, match=told):
        pack(run, card_of(run, "", ""), tmp_path / "unet.ckpt")
    assert not (tmp_path / "unet.ckpt").exists()


def test_what_is_packed_is_the_same_each_time(experiment, packed, tmp_path, said):
    said(weights, "pack", experiment / "runs" / BRAINS, "--to", tmp_path / "again.ckpt", *LICENCE)
    assert (tmp_path / "again.ckpt").read_bytes() == packed.read_bytes()
    assert json.dumps(load_whole(packed)["card"], sort_keys=True)
