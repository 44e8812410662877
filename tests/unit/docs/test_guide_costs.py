"""docs/own_costs.md: its configuration, its commands and what they print."""

import re
from pathlib import Path

import pytest
from guides import blocks, follow, output_of, shown

from workflow.estimate import estimate

GUIDE = "own_costs.md"


def of_any_machine(text: str) -> list[str]:
    """The lines of an estimate without what a machine adds: its cores and its disk."""
    text = re.sub(r"^This machine .*$", "This machine", text, flags=re.MULTILINE)
    text = re.sub(r"[\d.]+ [kMGT]B are free", "free", text)
    return [" ".join(re.sub("-{3,}", "---", line).split()) for line in text.strip().splitlines()]


def of_any_run(text: str) -> list[str]:
    """The lines of a comparison without its numbers, which another processor may round otherwise."""
    lines = re.sub(r"[+−]?\d+\.\d+|-{3,}", "N", text).strip().splitlines()
    return [" ".join(line.split()) for line in lines]


def test_the_estimate_is_the_one_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (written,) = [block for block in blocks(GUIDE) if block.file]
    path = tmp_path / str(written.file)
    path.write_text(written.text)
    estimate(path)
    assert of_any_machine(capsys.readouterr().out) == of_any_machine(shown(GUIDE, "mine: "))


def test_the_page_has_both_commands() -> None:
    commands = " ".join(block.text for block in blocks(GUIDE) if block.language == "sh")
    for kind in ("workflow.estimate mine.yaml", "snakemake --cores", "workflow.compare results/mine"):
        assert kind in commands


@pytest.mark.long
def test_the_comparison_is_the_one_shown(tmp_path: Path) -> None:
    transcript = follow(GUIDE, tmp_path)
    found = output_of(transcript, "python -m workflow.compare")
    assert of_any_run(found) == of_any_run(shown(GUIDE, "a: "))
    assert {path.name for path in (tmp_path / "compared").iterdir()} == {
        "cells.csv",
        "comparison.html",
        "differences.csv",
    }
