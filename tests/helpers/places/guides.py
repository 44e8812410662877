"""Guides followed word for word: their files written and their commands run in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
NEEDED = (
    "Snakefile",
    "config",
    "data_prep",
    "environment.post-deploy.sh",
    "environment.yml",
    "methods",
    "profiles",
    "pyproject.toml",
    "requirements",
    "workflow",
)


@dataclass(frozen=True)
class Block:
    """A fenced block at the margin: its language, text, and the file that the line above names."""

    language: str
    text: str
    file: str | None


def blocks(guide: str) -> list[Block]:
    pattern = r"(?:^`([\w./]+)`\n\n)?^```(\w*)\n(.*?)^```$"
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    found = re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL)
    return [Block(language, text, file or None) for file, language, text in found]


def follow(guide: str, folder: Path) -> list[tuple[str, str]]:
    """Return every command of a guide with what it printed, after the files before it were written."""
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests/contract", folder / "tests/contract")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = []
    for block in blocks(guide):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
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


def shown(guide: str, start: str) -> str:
    """The block of output in a guide that starts so."""
    return next(b.text for b in blocks(guide) if b.language == "" and b.text.startswith(start))


def without_seconds(report: str) -> str:
    """A report of checks without how long each took."""
    return re.sub(r" +\d+\.\d s$", "", report, flags=re.MULTILINE)
