"""docs/adding_a_metric.md, followed word for word in a copy of the repository."""

import json
import re

import pytest
from guides import blocks, follow, output_of, shown, without_seconds

GUIDE = "adding_a_metric.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_one_file_makes_a_metric():
    assert [block.file for block in blocks(GUIDE) if block.file] == ["workflow/metrics/library/nmae.py"]


def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m workflow.check_metric")
    assert without_seconds(found) == shown(GUIDE, "nmae: ")


def test_the_new_metric_is_tested_by_existing(transcript):
    assert re.search(r"^6 passed", output_of(transcript, "pytest"), flags=re.MULTILINE)


def test_a_configuration_chooses_it_and_every_run_is_scored_with_it(transcript):
    assert output_of(transcript, "python -m workflow.plan config/mine.yaml --check") == "metrics:\n- nmae\n"
    assert json.loads(output_of(transcript, "python -m workflow.plan"))["metrics"] == ["nmae"]
