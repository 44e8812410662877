"""Figures of any mask, method and slice: the scored images, drawn as the figures of papers are."""

import re
import shutil
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_experiment import BRAINS, KNEES, MASKS, copy_of, subjects

from data_prep.errors import BadInput
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import read_json, write_json
from data_prep.masks.registry import all_masks
from data_prep.prepare.places import folder_of
from workflow.draw import check_room, chosen_runs, definition_of, draw, rows_of
from workflow.evaluate.examples import Example, read_examples
from workflow.evaluate.volumes import example_slice, open_test
from workflow.figures import __main__ as figures
from workflow.figures import style
from workflow.plan.definitions import Definition, Row
from workflow.run.checkpoint import load_whole, save_atomically
from workflow.run.finished import read_finished

CPU = torch.device("cpu")


def of_paper(dataset: str, rows: dict[str, str], kind: str = "comparison") -> Definition:
    """What the plan would ask for."""
    return Definition(
        dataset=dataset,
        source="embedded",
        masks=(MASKS[dataset],),
        planned=(),
        number=5,
        rows=tuple(Row(method, text) for method, text in rows.items()),
        kind=kind,
    )


@pytest.fixture
def to(tmp_path) -> Path:
    return tmp_path / "figure.png"


# ---- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BRAINS, KNEES, BRAINS.replace("unet", "zf"), KNEES.replace("unet", "zf")])
def test_a_slice_that_the_run_keeps_comes_out_the_same_to_the_bit(experiment, name):
    dataset, mask, method, _ = name.split("/")
    (kept,) = read_examples(experiment, of_paper(dataset, {}), mask, method)
    store = open_test(experiment, dataset, CPU)
    position = store.volumes()[str(kept.subject)][int(kept.slice)]
    made = example_slice(read_finished(experiment / "runs" / name), store, CPU, position)
    for field in fields(Example):
        one, other = getattr(made, field.name), getattr(kept, field.name)
        assert np.array_equal(one, other), field.name


@pytest.mark.parametrize("dataset", MASKS)
def test_the_figure_of_such_a_slice_is_the_workflows_own(experiment, tmp_path, said, dataset):
    wanted = replace(of_paper(dataset, {}), rows=rows_of(["zf", "unet"], dataset))
    with style.printed():
        style.save(figures.draw(wanted, experiment), tmp_path / "theirs")
    files = [tmp_path / f"ours.{kind}" for kind in ("png", "pdf")]
    said(draw, experiment, "--dataset", dataset, "--device", "cpu", "--to", *files)
    for file in files:
        assert file.read_bytes() == (tmp_path / f"theirs{file.suffix}").read_bytes()


def test_any_slice_of_any_subject_has_the_scores_of_its_slice(experiment):
    metrics = pd.read_csv(experiment / "runs" / BRAINS / "metrics.csv").set_index(["subject", "slice"])
    run, store = read_finished(experiment / "runs" / BRAINS), open_test(experiment, "brats", CPU)
    for position in store.volumes()[subjects(experiment, "brats")[-1]][1:3]:
        made = example_slice(run, store, CPU, position)
        row = metrics.loc[made.subject, made.slice]
        assert (made.subject, made.slice) == (store.subjects[position], store.slice_indices[position])
        assert (made.psnr, made.ssim) == (row["psnr"], row["ssim"])


def test_only_the_volume_that_is_shown_is_read(experiment, monkeypatch):
    run, store = read_finished(experiment / "runs" / BRAINS), open_test(experiment, "brats", CPU)
    read, batch = set(), store.batch
    monkeypatch.setattr(store, "batch", lambda positions: read.update(positions) or batch(positions))
    wanted = store.volumes()[subjects(experiment, "brats")[-1]]
    example_slice(run, store, CPU, wanted[0])
    assert read == set(wanted)


def test_the_command_says_what_it_shows_and_leaves_the_results_as_they_are(experiment, to, said):
    before = {path: path.stat().st_mtime_ns for path in experiment.parent.rglob("*")}
    subject = subjects(experiment, "brats")[-1]
    words = ("--dataset", "brats", "--subject", subject, "--slice", 3, "--device", "cpu")
    text = said(draw, experiment, *words, "--to", to)
    assert text == f"{subject}, slice 3, under 1D-Uniform-6×\nZF, UNet\nwrote {to}\n"
    with Image.open(to) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert {path: path.stat().st_mtime_ns for path in experiment.parent.rglob("*")} == before
    # What is there is replaced.
    assert said(draw, experiment, *words, "--method", "zf", "--to", to).splitlines()[1] == "ZF"


def test_modalities_are_shown_under_one_mask(experiment, tmp_path, to, said):
    wanted = of_paper("brats", {"zf": "ZF"}, "modalities")
    with style.printed():
        style.save(figures.draw(wanted, experiment), tmp_path / "theirs")
    said(draw, experiment, "--dataset", "brats", "--kind", "modalities", "--device", "cpu", "--to", to)
    assert to.read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_a_diverged_run_is_said_to_be(experiment, tmp_path, to, said, monkeypatch):
    copy = copy_of(experiment, tmp_path)
    run = copy / "runs" / BRAINS
    save_atomically(load_whole(run / "model.ckpt") | {"status": "diverged"}, run / "model.ckpt")
    record = read_json(run / "run.json")
    outputs = record["outputs"] | {"model.ckpt": file_sha256(run / "model.ckpt")}
    write_json(run / "run.json", record | {"status": "diverged", "outputs": outputs})
    shown = []
    monkeypatch.setattr(style, "save_as", lambda figure, *_: shown.append(figure))
    said(draw, copy, "--dataset", "brats", "--device", "cpu", "--to", to)
    texts = [text.get_text() for text in shown[0].findobj(lambda artist: hasattr(artist, "get_text"))]
    assert texts.count("diverged") == 1
    assert f"{subjects(copy, 'brats')[0]}, slice 4; PSNR (dB) / SSIM of the slice" in texts
    assert "embedded data, not BraTS" in texts


# ---- which runs -----------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path) -> Path:
    """Folders of runs; a folder without a record is of one that is not finished."""
    finished = {
        "2d_radial_9x": ("zf", "unet", "manet", "manet-no_kspace", "manet-a0.2-b0.4", "manet-smooth-phase"),
        "2d_radial_6x": ("zf", "manet", "manet-no_kspace", "manet-a0.2-b0.4"),
    }
    for mask, methods in finished.items():
        for method in methods:
            folder = tmp_path / "runs/ixi" / mask / method / "seed0"
            folder.mkdir(parents=True)
            (folder / "run.json").touch()
    (tmp_path / "runs/ixi/2d_radial_6x/unet/seed0/resume").mkdir(parents=True)
    return tmp_path


def test_masks_and_methods_come_as_they_are_named(there):
    found = chosen_runs(there, None, ("2d_radial_9x", "2d_radial_6x"), ("manet-a0.2-b0.4", "zf"), None)
    assert [(mask, *runs) for mask, runs in found.items()] == [
        ("2d_radial_9x", "manet-a0.2-b0.4", "zf"),
        ("2d_radial_6x", "manet-a0.2-b0.4", "zf"),
    ]
    assert found["2d_radial_6x"]["zf"] == there / "runs/ixi/2d_radial_6x/zf/seed0"


def test_without_names_all_are_shown_that_ran_under_every_mask_but_points_of_sweeps(there, capsys):
    (runs,) = chosen_runs(there, "ixi", ("2d_radial_9x",), (), None).values()
    assert [*runs] == ["zf", "unet", "manet", "manet-no_kspace", "manet-smooth-phase"]
    assert capsys.readouterr().err.endswith("not under every mask: manet-a0.2-b0.4\n")
    both = chosen_runs(there, "ixi", ("2d_radial_9x", "2d_radial_6x"), (), None)
    assert [[*runs] for runs in both.values()] == [["zf", "manet", "manet-no_kspace"]] * 2
    assert "manet-a0.2-b0.4, manet-smooth-phase, unet\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "masks", "methods", "seed", "message"),
    [
        ("brats", (), (), None, r"--dataset: no run of 'brats' in .*; there are ixi; choose one"),
        (None, ("nope",), (), None, r"--mask: no run of 'nope' in .*; there are 2d_radial_6x, 2d_radial_9x"),
        (None, (), (), None, r"--mask: .* has 2d_radial_6x, 2d_radial_9x; choose one"),
        (None, ("2d_radial_9x",), (), 3, r"--seed: no finished run of seed 3 in .*, which has 0; choose one"),
        (
            *(None, ("2d_radial_9x", "2d_radial_6x"), ("zf", "unet"), None),
            r"2d_radial_6x/unet/seed0: no finished run; run the workflow to its end, or choose among manet, ",
        ),
        (
            *(None, ("2d_radial_6x",), ("nope",), None),
            r"2d_radial_6x/nope/seed0: no finished run; .* or choose among manet, .*, zf$",
        ),
    ],
)
def test_what_did_not_run_is_named_with_what_did(there, dataset, masks, methods, seed, message):
    with pytest.raises(BadInput, match=message):
        chosen_runs(there, dataset, masks, methods, seed)


def test_an_ablation_is_called_by_its_method_where_others_stand_beside_it():
    names = ["zf", "manet", "manet-no_kspace", "manet-smooth-phase"]
    assert [row.label for row in rows_of(names, "ixi")] == [
        *("ZF", "MANet", "MANet w/o k-space", "MANet, smooth phase"),
    ]
    assert [row.label for row in rows_of(names[1:3], "ixi")] == ["MANet", "w/o k-space"]


def test_a_figure_says_of_which_of_several_trainings_it_is(tmp_path):
    spec = SimpleNamespace(dataset="ixi", seed=1, phase="none")
    run = SimpleNamespace(spec=spec, source="embedded", place=tmp_path / "seed1")
    for name, seeds in (
        ("seed1", (1,)),
        ("seed0", (1, 0)),
        ("seed10", (1, 0, 10)),
        ("seed0.old", (1, 0, 10)),
    ):
        (tmp_path / name).mkdir()
        assert definition_of({"1d_uniform_6x": {"unet": run}}, "comparison").seeds == seeds


# ---- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--subject", "nobody"), r"--subject: 'nobody' is no test subject of brats; choose one of Br"),
        (("--slice", 8), r"--slice: BraTS\w+ has slices 1 to 7, not 8; choose one"),
        (("--slice", 0), r"--slice: BraTS\w+ has slices 1 to 7, not 0; choose one"),
        (("--to", "figure.svg"), r"--to: figure\.svg ends in neither \.pdf nor \.png; name it so"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence_before_anything_is_drawn(
    experiment, to, said, words, message
):
    with pytest.raises(BadInput, match=message) as told:
        said(draw, experiment, "--dataset", "brats", "--device", "cpu", "--to", to, *words)
    assert "\n" not in str(told.value)
    assert not to.exists()


def test_a_place_where_nothing_can_be_is_told_before_anything_is_reconstructed(
    experiment, to, said, monkeypatch
):
    to.write_text("no folder", encoding="utf-8")
    monkeypatch.setattr("workflow.evaluate.volumes.example_slice", lambda *_: pytest.fail("reconstructed"))
    with pytest.raises(BadInput, match=f"--to: {re.escape(str(to))} is no folder; give one to write into"):
        said(draw, experiment, "--dataset", "brats", "--device", "cpu", "--to", to / "figure.png")


def test_several_datasets_and_a_place_within_the_results_are_refused(experiment, to, said):
    with pytest.raises(BadInput, match=r"--dataset: .* has brats, fastmri; choose one"):
        said(draw, experiment, "--to", to)
    with pytest.raises(BadInput, match=r"--to: .* lies within .*, whose files are listed; choose a folder"):
        said(draw, experiment, "--to", experiment / "figures/figure_5.png")


def test_a_folder_without_its_data_says_what_to_bring(experiment, tmp_path, to, said):
    alone = shutil.copytree(experiment, tmp_path / "alone")
    with pytest.raises(BadInput, match=r"shared/data/brats: no such folder; bring results/shared along"):
        said(draw, alone, "--dataset", "brats", "--device", "cpu", "--to", to)


def test_other_data_than_was_scored_and_a_slice_without_signal_are_refused(experiment, tmp_path, to, said):
    copy = copy_of(experiment, tmp_path)
    words = (copy, "--dataset", "brats", "--slice", 2, "--device", "cpu", "--to", to)
    with h5py.File(folder_of(copy, "brats", "data") / "test.h5", "a") as file:
        file["target"][1] = 0
    with pytest.raises(BadInput, match=r"--slice: slice 2 of BraTS\w+ has no signal to compare; choo"):
        said(draw, *words)
    with h5py.File(folder_of(copy, "brats", "data") / "test.h5", "a") as file:
        file.attrs["fingerprint"] = "0" * 64
    with pytest.raises(BadInput, match=r"seed0: it was scored on other data than .*test\.h5 holds; run it"):
        said(draw, *words)
    assert not to.exists()


def test_more_than_fits_a_page_legibly_is_refused():
    def asked(masks: int, methods: int) -> Definition:
        rows = {f"m{number}": f"Method {number}" for number in range(methods)}
        return replace(of_paper("brats", rows), masks=all_masks()[:masks])

    check_room(asked(4, 6), (256, 256))
    check_room(asked(3, 12), (256, 256))
    with pytest.raises(BadInput, match="--method: 6 methods under 6 masks do not fit a page legibly; choose"):
        check_room(asked(6, 6), (256, 256))


def test_the_name_of_the_file_forges_no_line(experiment, tmp_path, said, odd, lines):
    to = tmp_path / f"{odd}.png"
    words = ("--dataset", "brats", "--method", "zf", "--device", "cpu", "--to", to)
    assert any(line.startswith("wrote ") for line in lines(said(draw, experiment, *words)))
    assert to.is_file()
