"""What an experiment will cost, told before anything runs."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults import NobodyReads, full
from tiny_runs import tiny_spec

from data_prep.errors import BadInput
from data_prep.io.command import WrongUse
from data_prep.masks.from_file import VARIABLE, register
from data_prep.masks.registry import families
from methods.registry import discover
from workflow import estimate as module
from workflow.cost import steps as measuring
from workflow.cost.estimate import chosen_steps, read_steps
from workflow.cost.steps import Measured, measure, measured_apart
from workflow.estimate import estimate, measured_methods, run_bytes
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.run.spec import RunSpec

ROOT = Path(__file__).parents[2]
FOUND = Measured("a card", "32-true", 64, 4, 0.02, 0.01, 3e9)


def config() -> Any:
    return {
        "experiment": "mine",
        "datasets": {
            "ixi": {
                "source": "embedded",
                "matrix": 64,
                "slices": 4,
                "acquired_slices": 8,
                "slice_spacing": 6.0,
                "splits": {"train": 2, "val": 1, "test": 2},
                "masks": ["1d_uniform_6x"],
            }
        },
        "compare": ["zf", "unet", "varnet"],
        "tables": ["ixi"],
        "figures": [],
        "training": {"epochs": 1, "batch_size": 4, "threads": 1},
        "methods": {"unet": {"parameters": {"channels": 2, "pools": 2}}},
    }


def written(folder: Path, change: Callable[[Any], object] = lambda content: None) -> Path:
    content = config()
    change(content)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_says_what_it_knows_whose_measurement_that_is_and_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = tmp_path / "steps.csv"
    line = "a core,unet,128,1,32-true,0.4,0.1"
    steps.write_text(f"device,method,side,batch,precision,training,reconstruction\n{line}\n")
    estimate(written(tmp_path), steps=[steps], to=tmp_path / "cost")
    text = capsys.readouterr().out
    assert "based on steps.csv, measured on a core, 32-true" in text
    assert re.search(r"^align ixi +5 ", text, flags=re.MULTILINE)
    assert re.search(r"^train +2 ", text, flags=re.MULTILINE)
    assert "Not measured: varnet; --measure does it here." in text
    sentence = (
        "Measured with other parameters: unet (channels 32, not 2; pools 4, not 2); --measure takes yours."
    )
    assert sentence in text
    assert re.search(r"^all +2 +at least ", text, flags=re.MULTILINE)
    assert re.search(r"^This machine \(.*\): at least ", text, flags=re.MULTILINE)
    assert re.search(r"^prepared ixi +655 kB$", text, flags=re.MULTILINE)
    assert "are free at results/mine" in text
    assert "at least" in (tmp_path / "cost" / "cost.md").read_text()
    assert "varnet" in (tmp_path / "cost" / "cost.csv").read_text()
    assert not (tmp_path / "cost" / "measured_steps.csv").exists()


@pytest.mark.parametrize(
    ("name", "device"),
    [("demo", "AMD EPYC"), ("extended", "AMD EPYC"), ("paper", "Intel Xeon (AVX-512, AMX)")],
)
def test_a_shipped_configuration_has_one_table_of_the_machine_that_knows_its_networks(
    name: str, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    estimate(ROOT / "config" / f"{name}.yaml")
    text = capsys.readouterr().out
    assert re.findall(r"^Trainings on (.*), one after another$", text, flags=re.MULTILINE) == [
        f"one core of an {device}, 32-true"
    ]
    assert f"based on measured_steps.csv, measured on one core of an {device}, 32-true\n" in text
    assert "Measured with other" not in text
    assert "Not measured" not in text


def test_what_experiments_share_is_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    subjects = Plan(read_config(path), discover()).subjects
    aligned, data = (Path(subjects.folder(kind, "ixi")) for kind in ("aligned", "data"))
    made = [Path(scans.target) for scans in subjects["ixi"].values()]
    made += [
        aligned / f"{subject}.{ending}" for subject in [*subjects["ixi"]][1:] for ending in ("h5", "json")
    ]
    made += [data / name for name in ("train.h5", "val.h5", "test.h5", "prepared.json")]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    estimate(path)
    text = capsys.readouterr().out
    for line in ("embed_ixi +0 .*", "align ixi +1 .*", "prepare +0 .*", "fetch_donor +2 .*"):
        assert re.search(f"^{line}$", text, flags=re.MULTILINE), line
    assert "as results/shared has what they make: 5 embed_ixi, 4 align ixi, 1 prepare." in text
    assert re.search("^raw ixi +there already$", text, flags=re.MULTILINE)
    assert re.search("^aligned ixi +2[0-9]{2} kB$", text, flags=re.MULTILINE)
    assert re.search("^prepared ixi +there already$", text, flags=re.MULTILINE)


def test_measured_methods_are_known_and_kept_for_another_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"unet": FOUND, "varnet": "its process ended with status -9"}
    monkeypatch.setattr(module, "measured_apart", lambda spec, side: answers[spec.method])
    path = written(tmp_path)
    estimate(path, measure=True, to=tmp_path / "cost")
    text = capsys.readouterr().out
    assert "based on steps measured here, of unet" in text
    assert "based on nothing for varnet: its process ended with status -9" in text
    assert "Measured with other parameters" not in text
    kept = tmp_path / "cost" / "measured_steps.csv"
    (row,) = read_steps([kept])["a card, 32-true"]
    assert (row.method, row.batch, row.steps.memory) == ("unet", 4, 3e9)
    assert row.parameters == {"channels": 2, "pools": 2, "dropout": 0.0}
    estimate(path, steps=[kept])
    text = capsys.readouterr().out
    assert "measured on a card, 32-true" in text
    assert "Measured with other parameters" not in text
    wider = written(tmp_path, lambda content: content["methods"]["unet"]["parameters"].update(channels=3))
    estimate(wider, steps=[kept])
    text = capsys.readouterr().out
    assert "Measured with other parameters: unet (channels 2, not 3); --measure takes yours." in text
    written(tmp_path)
    answers["unet"] = Measured(**vars(FOUND) | {"batch": 2})
    estimate(path, measure=True)
    assert "based on parts of 2 slices of unet, whose batches do not fit" in capsys.readouterr().out
    # A method too large for the device is no estimate.
    answers["unet"] = "--spec: a card has too little memory for one slice of unet"
    with pytest.raises(
        BadInput, match=r"no method could be measured .*too little memory for one slice of unet"
    ):
        estimate(path, measure=True)


def test_neither_a_reader_that_left_nor_a_full_disk_loses_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "measured_apart", lambda spec, side: FOUND)
    path, output = written(tmp_path), tmp_path / "cost"
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", NobodyReads())
        with pytest.raises(BrokenPipeError):
            estimate(path, measure=True, to=output)
    assert {path.name for path in output.iterdir()} == {"cost.csv", "cost.md", "measured_steps.csv"}
    monkeypatch.setattr(module, "write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        estimate(path, measure=True, to=output)
    assert "Trainings on a card, 32-true" in capsys.readouterr().out


def test_points_of_the_grid_are_measured_once() -> None:
    plan = Plan(read_config(ROOT / "config" / "demo.yaml"), discover())
    chosen = measured_methods(plan)
    variants = {"manet-sc", "manet-sc_cs", "manet-no_kspace", "manet-no_attention"}
    methods = {"unet", "xiang", "dudornet", "manet"}
    # Brains have batches of their own there.
    assert set(chosen) == methods | variants | {f"{method} on ixi" for method in methods}


def test_a_dataset_with_a_batch_of_its_own_is_measured_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(spec: RunSpec, side: int) -> Measured:
        batch = spec.training.batch_size
        return Measured("a card", "32-true", side, batch, 1.0 / batch, 0.5 / batch, 3e9)

    monkeypatch.setattr(module, "measured_apart", measured)
    estimate(ROOT / "config" / "demo.yaml", measure=True, to=tmp_path)
    assert "parts of" not in capsys.readouterr().out
    rows = read_steps([tmp_path / "measured_steps.csv"])["a card, 32-true"]
    assert {row.batch for row in rows if row.method == "manet"} == {1, 2}
    plan = Plan(read_config(ROOT / "config" / "demo.yaml"), discover())
    (found,) = chosen_steps(plan, {"here": rows}).values()
    assert (found["manet on ixi"].training, found["manet on fastmri"].training) == (1.0, 0.5)


@pytest.mark.parametrize("dataset", ["ixi", "fastmri"])
def test_a_step_is_measured_with_the_runs_own_size_and_batch(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_SECONDS", 0.1)
    found = measure(
        tiny_spec(
            **({"dataset": "fastmri", "mask": "equispaced_4x", "noise": 0.0} if dataset == "fastmri" else {})
        ),
        32,
    )
    assert (found.side, found.batch, found.precision) == (32, 5, "32-true")
    assert found.training > found.reconstruction > 0
    assert found.memory > 1e8  # torch itself


def test_a_mask_from_a_file_does_not_hinder_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_SECONDS", 0.1)
    monkeypatch.setenv(VARIABLE, "")
    register(["my_mask_4x"])
    # Also at another size than the file's.
    assert measure(tiny_spec(mask="my_mask_4x"), 48).training > 0
    families.cache_clear()


def test_what_does_not_fit_is_halved_and_one_slice_that_does_not_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried, fits = [], 2

    def timed(spec: object, side: int, batch: int, *rest: object) -> tuple[tuple[float, float], float]:
        tried.append(batch)
        if batch > fits:
            raise RuntimeError("CUDA out of memory")
        return (1.0, 0.5), 1e9

    monkeypatch.setattr(measuring, "_timed", timed)
    assert measure(tiny_spec(), 32).batch == 2
    assert tried == [5, 2]
    fits = 0
    with pytest.raises(
        BadInput, match="has too little memory for one slice of unet at 32 x 32; use a larger"
    ):
        measure(tiny_spec(), 32)


def test_a_method_that_fails_says_why_in_a_process_of_its_own() -> None:
    said = measured_apart(tiny_spec(parameters={"channels": 2, "pools": 9, "dropout": 0.1}), 32)
    assert isinstance(said, str)
    assert said
    assert "\n" not in said


def test_runs_are_as_large_as_their_files(tmp_path: Path) -> None:
    plan = Plan(read_config(written(tmp_path)), discover())
    run = next(run for run in plan.runs if run.method == "unet")
    # Twice the weights; one example; 2 volumes of 4 slices: 10 lines.
    assert run_bytes(plan, run, 1000) == 2000 + 17 * 64 * 64 + 10 * 125


def no_yaml(path: Path) -> None:
    path.write_text("experiment: [")


def unknown_key(path: Path) -> None:
    path.write_text(path.read_text() + "\ncolour: red\n")


def too_many(path: Path) -> None:
    scans = path.with_name("scans")
    for modality in ("T1", "T2"):
        for number in range(3):
            scan = scans / f"IXI-{modality}" / f"IXI{100 + number}-HH-1000-{modality}.nii.gz"
            scan.parent.mkdir(parents=True, exist_ok=True)
            scan.touch()
    content = config()
    content["datasets"]["ixi"] |= {"source": "published", "root": str(scans)}
    del content["datasets"]["ixi"]["acquired_slices"], content["datasets"]["ixi"]["slice_spacing"]
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (Path.unlink, r"mine\.yaml: no such file"),
        (no_yaml, r"mine\.yaml: not valid YAML"),
        (unknown_key, r"mine\.yaml: .*'colour' was unexpected"),
        (
            too_many,
            r"ixi\.splits: test \+ val \+ train add up to 5, but there are 3 subjects in .*scans; lower",
        ),
    ],
)
def test_wrong_configurations_are_refused_in_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = written(tmp_path)
    spoil(path)
    with pytest.raises(BadInput, match=sentence) as refused:
        estimate(path)
    assert "\n" not in str(refused.value)


def test_wrong_options_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = written(tmp_path), tmp_path / "steps.csv"
    steps.write_text("device,method\nhere,unet\n")
    with pytest.raises(BadInput, match=r"steps\.csv: column precision is missing; write it with workflow"):
        estimate(path, steps=[steps])
    for side in ("inf", "0.5"):
        steps.write_text(
            "device,precision,method,side,training,reconstruction\n"
            f"here,32-true,unet,64,0.1,0.1\nhere,32-true,unet,{side},0.1,0.1\n"
        )
        with pytest.raises(BadInput, match=r"steps\.csv, line 3: .* side and batch whole ones") as told:
            estimate(path, steps=[steps])
        assert "\n" not in str(told.value)
    with pytest.raises(BadInput, match=r"--to: .*steps\.csv is no folder; give one to write into"):
        estimate(path, to=steps)
    with pytest.raises(WrongUse, match="--steps: not allowed with argument --measure"):
        estimate(path, steps=[steps], measure=True)
    monkeypatch.chdir(tmp_path)
    # There stand those that the workflow has written.
    with pytest.raises(BadInput, match=r"--to: results/\w+ lies within .*, whose files are listed"):
        estimate(path, to=Path("results") / config()["experiment"])
