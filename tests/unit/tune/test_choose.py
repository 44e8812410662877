"""Trials compared: who wins, what is said of it, and a fragment that a configuration takes."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from made_up_results import run_record

from data_prep.errors import BadInput
from data_prep.io.files import write_rows
from data_prep.io.hashes import file_sha256
from methods.registry import discover
from workflow.metrics.contract import KEY_COLUMNS, STANDARD
from workflow.plan.config import check_config
from workflow.plan.definitions import Setting
from workflow.plan.plan import Plan
from workflow.plan.tuning import TuningPlan
from workflow.tune.choose import at_edge, choose, outcomes, page, trial_rows, winner

METHODS = discover()
RATES = [0.004, 0.001, 0.002]
MASKS = {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"}
CONFIG: dict[str, Any] = {
    "experiment": "made_up",
    "datasets": {
        name: {
            "source": "embedded",
            "matrix": 64,
            "slices": 4,
            "splits": {"train": 3, "val": 2, "test": 2},
            "masks": [mask],
        }
        for name, mask in MASKS.items()
    },
    "paper": "manet",
    "compare": ["zf", "unet", "manet"],
    "tables": [1, 2],
    "figures": [],
    "training": {"epochs": 3, "batch_size": 2},
    "tuning": {"masks": MASKS, "grid": {"lr": RATES}, "epochs": 2},
}
# By dataset, method and learning rate.
SCORES = {
    ("ixi", "unet"): (20.0, 22.0, 24.0),
    ("ixi", "manet"): (math.nan, 25.0, 24.0),
    ("fastmri", "unet"): (21.0, 23.0, 23.0),
    ("fastmri", "manet"): (30.0, 29.0, math.nan),
}


def plan_of(**changes: Any) -> TuningPlan:
    return TuningPlan(Plan(check_config({**CONFIG, **changes}, METHODS), METHODS))


def write_trials(results: Path, plan: TuningPlan, scores: dict[tuple[str, str], tuple[float, ...]]) -> None:
    """What the trials leave; a score that is no number is of a training that diverged."""
    data = {group.runs[0]: group.data for one in plan.definitions() for group in one.planned}
    for trial in plan.trials:
        spec = plan.spec(trial)
        psnr = scores[spec.dataset, spec.method][RATES.index(spec.optimiser["lr"])] + 2 * spec.seed
        folder = results / "tuning/trials" / trial.path
        # The higher the PSNR the lower the SSIM, and slices by themselves say something else again.
        rows = [
            {"dataset": spec.dataset, "mask": spec.mask, "pattern": "p", "acceleration": 6}
            | {"method": spec.method, "seed": spec.seed, "subject": subject, "slice": -1}
            | {"level": level, "blank": int(subject == "blank")}
            | {"ssim": 1.6 - psnr / 30, "psnr": math.nan if subject == "blank" else value, "nmse": 0.1}
            for subject, of_volume in (("A", psnr - 1), ("B", psnr + 1), ("blank", 0.0))
            for level, value in (("slice", 60 - 2 * psnr), ("volume", of_volume))
        ]
        write_rows(folder / "metrics.csv", (*KEY_COLUMNS, *STANDARD), rows)
        record = run_record(
            spec=spec.content(),
            status="diverged" if math.isnan(psnr) else "finished",
            mask_sha256="m",
            epochs=2,
            best_epoch=2,
            converged=False,
            training_hash=f"{spec.method}{spec.optimiser['lr']}",
            seconds={"reconstruction": 1.0, "metrics": 1.0, "total": 9.0, "training": 7.0},
            outputs={"metrics.csv": file_sha256(folder / "metrics.csv")},
        )
        (folder / "run.json").write_text(json.dumps(record))
        prepared = results / "data" / spec.dataset / "prepared.json"
        prepared.parent.mkdir(parents=True, exist_ok=True)
        prepared.write_text(json.dumps({"configuration": data[trial.path], "fingerprints": {}}))
        prepared.with_name("manifest.csv").write_text("manifest")
        mask = results / "masks" / spec.dataset / f"{spec.mask}.json"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_text(json.dumps({"sha256": "m"}))


def chosen(results: Path, plan: TuningPlan) -> dict[str, Any]:
    choose(plan.definitions(), results, "c" * 64)
    return yaml.safe_load((results / "tuning/winners.yaml").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("tuned")
    plan = plan_of()
    write_trials(results, plan, SCORES)
    chosen(results, plan)
    return results


def notes(results: Path, dataset: str) -> str:
    return "\n".join(json.loads((results / f"tuning/trials_{dataset}.json").read_text())["notes"])


def test_the_highest_validation_psnr_wins_of_equals_the_first_and_never_one_that_diverged(done):
    winners = yaml.safe_load((done / "tuning/winners.yaml").read_text())
    assert winners["methods"] == {
        "unet": {"optimiser": {"lr": {"ixi": 0.002, "fastmri": 0.001}}},
        "manet": {"optimiser": {"lr": {"ixi": 0.001, "fastmri": 0.004}}},
    }


def test_the_configuration_takes_the_winners_and_the_trials_stay_as_planned(done):
    winners = yaml.safe_load((done / "tuning/winners.yaml").read_text())
    before, after = plan_of(), plan_of(**winners)
    rates = {(run.dataset, run.method): after.plan.spec(run).optimiser.get("lr") for run in after.plan.runs}
    assert rates["ixi", "unet"] == 0.002
    assert rates["fastmri", "manet"] == 0.004
    assert after.plan.table_definitions[1].tuned == (
        "Optimisers of unet, manet by equal tuning on validation data: 3 settings each, experiment made_up, "
        "configuration cccccccccccc."
    )
    assert [after.spec(trial) for trial in after.trials] == [before.spec(trial) for trial in before.trials]


def test_the_report_says_who_was_tuned_with_what_budget_and_what_is_to_be_known(done):
    said = notes(done, "ixi")
    budget = "3 settings (lr 0.004; lr 0.001; lr 0.002), each trained for 2 epochs with seed 0; 6 trainings"
    assert "Tuned, with the same budget each: UNet-T2, MANet." in said
    assert budget in said
    assert "UNet-T2: lr 0.002, 24.00 dB, 2.00 dB above lr 0.001." in said
    assert "MANet: lr 0.001, 25.00 dB, 1.00 dB above lr 0.002; best at the edge of the grid (lr)" in said
    assert "lr 0.004 diverged" in said
    assert "Not converged: 5 of 5 trainings (the best validation loss fell by" in said
    assert "UNet-PDFS: lr 0.001, 23.00 dB, as lr 0.002: of equals the first of the grid" in notes(
        done, "fastmri"
    )


def test_many_hours_are_written_without_a_power_of_ten(done):
    (definition, *_) = plan_of().definitions()
    trials = trial_rows(definition, done).assign(training_seconds=3600 * 20.2)
    said = page(definition, trials, list(outcomes(definition, trials)), "").notes[0]
    assert said.endswith("6 trainings, 121 hours in all (time of the clock).")


def test_the_table_has_every_trial_with_its_hash_and_marks_the_winner(done):
    table = pd.read_csv(done / "tuning/trials_ixi.csv")
    assert len(table) == 6
    assert list(table[table["chosen"] == 1]["training_hash"]) == ["unet0.002", "manet0.001"]
    assert list(table["status"]) == ["ok", "ok", "ok", "diverged", "ok", "ok"]
    # Blank volumes have no score, and do not count.
    assert table["val_psnr"].tolist()[:3] == [20.0, 22.0, 24.0]
    text = (done / "tuning/trials_ixi.md").read_text()
    assert "**24.00 / 0.800**" in text
    assert "diverged" in text
    assert {path.suffix for path in (done / "tuning").glob("trials_fastmri.*")} == {
        *(".csv", ".json", ".md", ".tex", ".html", ".pdf", ".png")
    }


def test_the_fragment_tells_where_it_is_from(done):
    head = [line for line in (done / "tuning/winners.yaml").read_text().splitlines() if line.startswith("#")]
    told = "\n".join(head)
    assert "Experiment made_up, configuration cccccccccccc." in told
    assert "ixi, 1d_uniform_6x, embedded data, not IXI: 3 settings" in told
    assert "manet: tuning/trials/ixi/1d_uniform_6x/manet/lr0.001, training hash manet0.001." in told
    assert "best at the edge" in told


def test_a_method_of_which_every_trial_diverged_has_no_winner_and_the_report_says_so(tmp_path):
    plan = plan_of()
    write_trials(tmp_path, plan, {**SCORES, ("ixi", "manet"): (math.nan,) * 3})
    assert chosen(tmp_path, plan)["methods"]["manet"] == {"optimiser": {"lr": {"fastmri": 0.004}}}
    assert "MANet: no winner (lr 0.004 diverged; lr 0.001 diverged; lr 0.002 diverged)" in notes(
        tmp_path, "ixi"
    )
    write_trials(tmp_path, plan, dict.fromkeys(SCORES, (math.nan,) * 3))
    assert chosen(tmp_path, plan) == {"methods": {}}


@pytest.mark.parametrize(
    ("lost", "status", "outcome"),
    [(("25.0", "27.0"), "diverged", "diverged"), (("27.0",), "finished", "failed")],
)
def test_one_diverged_seed_or_failed_volume_is_enough_to_lose(tmp_path, lost, status, outcome):
    plan = plan_of(tuning={**CONFIG["tuning"], "seeds": [0, 1]})
    write_trials(tmp_path, plan, SCORES)
    trial = next(t for t in plan.trials if "unet/lr0.002/seed1" in t.path and t.run.dataset == "ixi")
    folder = tmp_path / "tuning/trials" / trial.path
    text = (folder / "metrics.csv").read_text()
    for score in lost:
        text = text.replace(score, "nan")
    (folder / "metrics.csv").write_text(text)
    record = json.loads((folder / "run.json").read_text()) | {"status": status}
    record["outputs"]["metrics.csv"] = file_sha256(folder / "metrics.csv")
    (folder / "run.json").write_text(json.dumps(record))
    asked = next(one for one in plan.definitions() if one.dataset == "ixi")
    own = [one for one in outcomes(asked, trial_rows(asked, tmp_path)) if one.row.method == "unet"]
    assert [one.status for one in own] == ["ok", "ok", outcome]
    # Of two seeds the mean.
    assert [one.psnr for one in own[:2]] == [21, 23]
    assert winner(own).setting.options == {"lr": 0.001}


def test_one_dataset_needs_no_name_in_the_fragment(tmp_path):
    datasets = {"ixi": CONFIG["datasets"]["ixi"]}
    plan = plan_of(datasets=datasets, tuning={**CONFIG["tuning"], "masks": {"ixi": MASKS["ixi"]}})
    write_trials(tmp_path, plan, SCORES)
    assert chosen(tmp_path, plan)["methods"]["unet"] == {"optimiser": {"lr": 0.002}}


def test_switches_have_no_edge_and_lists_are_compared_number_by_number():
    grid = {"betas": [[0.9, 0.9], [0.9, 0.99], [0.9, 0.999]], "nesterov": [True, False]}
    settings = [Setting("", {"betas": b, "nesterov": n}) for b in grid["betas"] for n in grid["nesterov"]]
    assert at_edge(settings[2], settings) == []
    assert at_edge(settings[5], settings) == ["betas"]


def other_budget(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["spec"]["training"]["epochs"] = 9
    (folder / "run.json").write_text(json.dumps(record))


def of_the_test_split(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    del record["spec"]["scored"]
    (folder / "run.json").write_text(json.dumps(record))


def edited(folder: Path) -> None:
    (folder / "metrics.csv").write_text((folder / "metrics.csv").read_text().replace("2", "9"))


def gone(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def blank(folder: Path) -> None:
    text = (folder / "metrics.csv").read_text().replace("volume,0", "volume,1")
    (folder / "metrics.csv").write_text(text)
    record = json.loads((folder / "run.json").read_text())
    record["outputs"]["metrics.csv"] = file_sha256(folder / "metrics.csv")
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other_budget, "training.epochs is 9, planned is 2"),
        (of_the_test_split, "scored is None, planned is val"),
        (edited, "metrics.csv: this is not the file that run.json beside it tells of"),
        (gone, "this trial is missing; ask for the target tuned again"),
        (blank, "no validation volume has signal"),
    ],
)
def test_a_trial_that_is_not_the_planned_one_is_refused_by_name(tmp_path, spoil, said):
    plan = plan_of()
    write_trials(tmp_path, plan, SCORES)
    folder = tmp_path / "tuning/trials" / plan.trials[0].path
    spoil(folder)
    with pytest.raises(BadInput, match=plan.trials[0].path) as refused:
        choose(plan.definitions(), tmp_path, "c" * 64)
    assert said in str(refused.value)
    assert not (tmp_path / "tuning/winners.yaml").exists()
