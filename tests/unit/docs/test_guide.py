"""docs/adding_a_method.md, followed word for word in a copy of the repository."""

import re
import subprocess
import sys

import pytest
from guides import ROOT, blocks, follow, output_of, shown, without_seconds

GUIDE = "adding_a_method.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_the_guide_writes_three_files_and_runs_every_kind_of_command():
    assert [block.file for block in blocks(GUIDE) if block.file] == [
        f"methods/early/{name}" for name in ("method.yaml", "model.py", "README.md")
    ]
    commands = " ".join(block.text for block in blocks(GUIDE) if block.language == "sh")
    for kind in ("methods.new", "methods.check", "pytest", "workflow.plan", "snakemake -n"):
        assert kind in commands


def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m methods.check")
    assert without_seconds(found) == shown(GUIDE, "early: ")


def test_the_new_folder_is_tested_by_existing(transcript):
    assert re.search(r"^13 passed", output_of(transcript, "pytest"), flags=re.MULTILINE)


def test_the_plan_gains_one_run_per_mask_and_the_dry_run_the_trainings_shown(transcript):
    assert len(output_of(transcript, "python -m workflow.plan").splitlines()) == 12
    listed = output_of(transcript, "snakemake -n")
    trainings = int(re.search(r"^train +(\d+)$", listed, flags=re.MULTILINE)[1])
    command = [sys.executable, "-m", "workflow.plan", "config/demo.yaml"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before = int(re.search(r"(\d+) of them trainings$", planned.strip())[1])
    assert trainings == before + 12
    assert re.search(r"^train +12$", shown(GUIDE, "job  "), flags=re.MULTILINE)
