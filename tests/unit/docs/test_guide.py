"""docs/adding_a_method.md, followed word for word in a copy of the repository."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest
from guides import ROOT, blocks, follow, output_of, shown, without_seconds

from data_prep.measurement import Measurement

GUIDE = "adding_a_method.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_the_guide_writes_both_methods_and_runs_every_kind_of_command():
    files = {
        "early": ("method.yaml", "model.py", "README.md"),
        "cascade": ("method.yaml", "layers.py", "network.py", "model.py", "README.md"),
    }
    assert [block.file for block in blocks(GUIDE) if block.file] == [
        f"methods/{method}/{name}" for method, names in files.items() for name in names
    ]
    commands = " ".join(block.text for block in blocks(GUIDE) if block.language == "sh")
    for kind in ("methods.new", "methods.check", "pytest", "workflow.plan", "snakemake -n"):
        assert kind in commands


@pytest.mark.parametrize("method", ["early", "cascade"])
def test_the_checks_output_is_the_one_shown(transcript, method):
    found = output_of(transcript, f"python -m methods.check {method}")
    assert without_seconds(found) == shown(GUIDE, f"{method}: ")


def test_the_guide_lists_all_that_a_method_sees():
    told = re.findall(r"^  \| `(\w+)` \|", (ROOT / "docs" / GUIDE).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(told) == {field.name for field in fields(Measurement)} | {"zero_filled"}


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
