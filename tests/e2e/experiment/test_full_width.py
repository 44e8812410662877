"""Full width, shrunk: trainings by hand on data that Snakemake made, and it makes the rest."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import CONFIG, Workspace, environment

FULL_WIDTH = Path("config/full_width.yaml")


def shrunk(workspace: Workspace) -> Path:
    """Write the configuration of full width with the sizes of the tiny one, and as few masks."""
    tiny: Any = yaml.safe_load(workspace.path(str(CONFIG)).read_text(encoding="utf-8"))
    content: Any = yaml.safe_load(workspace.path(str(FULL_WIDTH)).read_text(encoding="utf-8"))
    for name, dataset in content["datasets"].items():
        assert dataset.keys() == tiny["datasets"][name].keys()
        dataset |= tiny["datasets"][name]
    content["training"] |= {"epochs": 1, "batch_size": 4, "threads": 1}
    content |= {"methods": tiny["methods"], "figures": tiny["figures"], "sweep": tiny["sweep"]}
    path = Path("tests/e2e/full_width.yaml")
    workspace.path(str(path)).write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.long
def test_trainings_by_hand_are_taken_for_the_workflows_own(fresh: Workspace) -> None:
    config = shrunk(fresh)
    fresh.complete("prepared_data", config=config)
    listed = subprocess.run(
        [sys.executable, "-m", "workflow.plan", str(config), "--commands"],
        cwd=fresh.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    commands = listed.stdout.splitlines()
    assert len(commands) > 10
    subprocess.run(
        ["xargs", "-d", "\\n", "-n", "1", "-P", "2", "sh", "-c"],
        cwd=fresh.folder,
        input=listed.stdout,
        env=environment(),
        text=True,
        check=True,
    )
    results = fresh.folder / "results" / "full_width"
    records = sorted(results.glob("runs/*/*/*/*/run.json"))
    assert len(records) == len(commands)
    contents = [json.loads(record.read_text()) for record in records]
    # One epoch is not enough to tell.
    assert {content["converged"] for content in contents if content["spec"]["trainable"]} == {False}
    times = {record: record.stat().st_mtime_ns for record in records}
    outcome = fresh.complete(config=config)
    assert {"train", "evaluate"} & set(outcome.rules) == set()
    assert {record: record.stat().st_mtime_ns for record in records} == times
    for number in (1, 2, 3, 4):
        assert (results / "tables" / f"table_{number}.html").is_file()
