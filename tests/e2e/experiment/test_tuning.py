"""Equal tuning as part of the workflow: what runs, what it leaves, and that the winners are taken."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import CONFIG, Outcome, Workspace, environment

SECTION = {
    "masks": {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"},
    "grid": {"lr": ["1e-3", 0.004]},
    "methods": ["unet"],
}


def with_tuning(workspace: Workspace) -> Path:
    def change(content: Any) -> None:
        content["tuning"] = SECTION

    return workspace.configure(change)


def test_only_trials_and_their_comparison_are_still_to_run(copy):
    config = with_tuning(copy)
    asked = copy.dry("tuned", config=config)
    assert dict(asked.rules) == {"trial": 4, "choose": 1}
    assert "val.h5" in asked.output
    assert "test.h5" not in asked.output
    # What is finished stays as it is: the section is no part of any run.
    assert not copy.dry("paper_tables", config=config).rules.keys() & {"train", "evaluate", "prepare"}
    refused = copy.run("tuned", "--dry-run", config=CONFIG)
    assert refused.status == 1
    assert "\nconfig: there is no section tuning; add one such as tuning: {masks" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.long
def test_a_tuning_runs_to_its_winners_which_the_workflow_takes(copy):
    config = with_tuning(copy)
    done = copy.complete("tuned", config=config)
    assert dict(done.rules) == {"trial": 4, "choose": 1}
    assert not copy.dry("tuned", config=config).jobs
    folder = copy.results / "tuning"
    winners = yaml.safe_load((folder / "winners.yaml").read_text())
    rates = winners["methods"]["unet"]["optimiser"]["lr"]
    assert {*rates} == {"ixi", "fastmri"}
    assert {*rates.values()} <= {0.001, 0.004}
    command = ["snakemake", "--dry-run", "--cores", "1", "--nocolor", "--configfile", str(config)]
    command.append(str(folder / "winners.yaml"))
    said = subprocess.run(
        command, cwd=copy.folder, env=environment(), capture_output=True, text=True, check=False
    )
    again = Outcome(said.returncode, said.stdout + said.stderr)
    assert again.status == 0, again.output
    # A winner that is the method's own setting repeats nothing.
    changed = {job["dataset"] for job in again.jobs if job.rule == "train" and job["method"] == "unet"}
    assert changed == {name for name, rate in rates.items() if rate != 0.001}
    # As after an interruption: what is there is not made again.
    (folder / "winners.yaml").unlink()
    (folder / "trials/ixi/1d_uniform_6x/unet/lr0.004/seed0/run.json").unlink()
    mended = copy.complete("tuned", config=config)
    assert dict(mended.rules) == {"trial": 1, "choose": 1}
    assert yaml.safe_load((folder / "winners.yaml").read_text()) == winners
