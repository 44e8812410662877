"""docs/adding_a_paper.md, followed word for word in a copy of the repository."""

import re
from dataclasses import fields

import pytest
from guides import ROOT, blocks, follow, output_of, shown, without_seconds

from workflow.papers.contract import FILES, Paper

GUIDE = "adding_a_paper.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_four_files_make_a_paper_with_a_table_of_two_metrics_and_a_figure():
    files = [block.file for block in blocks(GUIDE) if block.file]
    assert files == [f"workflow/papers/mine/{name}" for name in (*FILES, "README.md")]


def test_the_guide_tells_every_key():
    text = (ROOT / "docs" / GUIDE).read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))))
    assert told == {field.name for field in fields(Paper)}


def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m workflow.check_paper mine")
    assert without_seconds(found) == shown(GUIDE, "mine: ")


def test_the_new_paper_is_tested_by_existing(transcript):
    assert re.search(r"^4 passed", output_of(transcript, "pytest"), flags=re.MULTILINE)


def test_a_configuration_chooses_it_beside_another_and_trains_nothing_twice(transcript):
    plan = "python -m workflow.plan config/mine.yaml"
    assert output_of(transcript, f"{plan} | tail") == "81 runs, 69 of them trainings\n"
    assert output_of(transcript, f"{plan} --table") == '"numeral":"2 of Doe 2026"\n'
    assert output_of(transcript, f"{plan} --figure") == '"kind":"comparison"\n'
