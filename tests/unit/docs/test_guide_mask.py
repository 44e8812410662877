"""docs/adding_a_mask.md, followed word for word in a copy of the repository."""

import json
import re

import numpy as np
import pytest
from guides import blocks, follow, output_of, shown, without_seconds

GUIDE = "adding_a_mask.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def transcript(folder) -> list[tuple[str, str]]:
    return follow(GUIDE, folder)


def test_one_file_makes_a_family():
    files = [block.file for block in blocks(GUIDE) if block.file]
    assert files == ["data_prep/masks/families/random_points.py", "config/mine.yaml"]


@pytest.mark.long
def test_the_checks_output_is_the_one_shown(transcript):
    found = output_of(transcript, "python -m data_prep.check_mask")
    assert without_seconds(found) == shown(GUIDE, "2d_random: ")


@pytest.mark.long
def test_the_new_family_is_tested_by_existing(transcript):
    assert re.search(r"^6 passed", output_of(transcript, "pytest"), flags=re.MULTILINE)


@pytest.mark.long
def test_the_mask_is_frozen_with_its_record_and_picture(transcript, folder):
    record = json.loads((folder / "masks/2d_random_4x.json").read_text())
    assert record["realised_acceleration"] == pytest.approx(4, rel=1e-3)
    with np.load(folder / "masks/2d_random_4x.npz") as stored:
        assert stored["mask"].sum() == record["sampled"] == 128 * 128 // 4
    assert (folder / "masks/2d_random_4x.png").is_file()


@pytest.mark.long
def test_a_configuration_may_name_it_and_the_workflow_plans_it(transcript):
    assert output_of(transcript, "python -m workflow.plan") == shown(GUIDE, "ixi/1d_uniform_6x/unet")
    listed = output_of(transcript, "snakemake -n")
    assert re.search(r"^mask +2$", listed, flags=re.MULTILINE)
    assert re.search(r"^train +2$", listed, flags=re.MULTILINE)
