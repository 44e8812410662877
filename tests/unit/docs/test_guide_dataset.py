"""docs/adding_a_dataset.md, followed word for word in a copy of the repository."""

import re

import pytest
from guides import blocks, follow, output_of, shown, without_seconds

GUIDE = "adding_a_dataset.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_one_file_makes_a_dataset():
    files = [block.file for block in blocks(GUIDE) if block.file]
    assert files == ["data_prep/datasets/phantom/dataset.py", "config/mine.yaml"]


@pytest.mark.long
def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m data_prep.check_dataset")
    assert without_seconds(found) == shown(GUIDE, "phantom: ")


@pytest.mark.long
def test_the_new_dataset_is_tested_by_existing(transcript):
    assert re.search(r"^1 passed", output_of(transcript, "pytest"), flags=re.MULTILINE)


@pytest.mark.long
def test_a_configuration_may_name_it_and_the_workflow_plans_it(transcript):
    assert output_of(transcript, "python -m workflow.plan") == shown(GUIDE, "phantom/1d_uniform_6x/unet")
    listed = output_of(transcript, "snakemake -n")
    wanted = {"embed_phantom": 5, "align": 5, "prepare": 1, "train": 2, "evaluate": 2, "table": 1}
    for rule, count in wanted.items():
        assert re.search(rf"^{rule} +{count}$", listed, flags=re.MULTILINE), rule
