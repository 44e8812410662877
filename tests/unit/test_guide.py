"""docs/adding_a_method.md, followed word for word in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/adding_a_method.md"
NEEDED = (
    "Snakefile",
    "config",
    "data_prep",
    "environment.yml",
    "methods",
    "profiles",
    "pyproject.toml",
    "workflow",
)


@dataclass(frozen=True)
class Block:
    """A fenced block at the margin: its language, text, and the file that the line above names."""

    language: str
    text: str
    file: str | None


def blocks() -> list[Block]:
    pattern = r"(?:^`([\w./]+)`\n\n)?^```(\w*)\n(.*?)^```$"
    found = re.findall(pattern, GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [Block(language, text, file or None) for file, language, text in found]


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    """Every command of the guide with what it printed, after the files before it were written."""
    folder = tmp_path_factory.mktemp("guide")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests/contract", folder / "tests/contract")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = []
    for block in blocks():
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for command in block.text.splitlines():
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command],
                    cwd=folder,
                    env=os.environ | {"PATH": path, "PYTHONPATH": ""},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                said.append((command, done.stdout))
    return said


def output_of(transcript: list[tuple[str, str]], start: str) -> str:
    """What the last command that starts so printed."""
    return [output for command, output in transcript if command.startswith(start)][-1]


def shown(start: str) -> str:
    """The block of output in the guide that starts so."""
    return next(block.text for block in blocks() if block.language == "" and block.text.startswith(start))


def test_the_guide_writes_three_files_and_runs_every_kind_of_command():
    assert [block.file for block in blocks() if block.file] == [
        f"methods/early/{name}" for name in ("method.yaml", "model.py", "README.md")
    ]
    commands = " ".join(block.text for block in blocks() if block.language == "sh")
    for kind in ("methods.new", "methods.check", "pytest", "workflow.plan", "snakemake -n"):
        assert kind in commands


def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m methods.check")
    assert re.sub(r" +\d+\.\d s$", "", found, flags=re.MULTILINE) == shown("early: ")


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
    assert re.search(r"^train +12$", shown("job  "), flags=re.MULTILINE)
