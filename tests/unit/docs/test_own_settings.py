"""docs/own_settings.md, followed word for word in a copy of the repository."""

import pytest
import yaml
from guides import ROOT, blocks, follow, output_of, shown

from methods.registry import discover
from workflow.plan.config import check_config, read_config
from workflow.plan.plan import Plan

GUIDE = "own_settings.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> list[tuple[str, str]]:
    return follow(GUIDE, tmp_path_factory.mktemp("guide"))


def test_the_subset_and_its_plan_are_those_shown(transcript):
    assert output_of(transcript, "head") == shown(GUIDE, "# python -m workflow.subset")
    assert output_of(transcript, "python -m workflow.plan") == shown(GUIDE, "fastmri/equispaced_4x/manet")


def test_a_tuning_says_what_it_tries_as_shown(transcript):
    assert output_of(transcript, "python -m workflow.tune").startswith(shown(GUIDE, "ixi under"))


def test_the_winners_shown_are_taken_beside_a_configuration():
    text = next(block.text for block in blocks(GUIDE) if block.text.startswith("tuned:"))
    content = read_config(ROOT / "config/demo.yaml") | yaml.safe_load(text)
    plan = Plan(check_config(content, discover()), discover())
    rates = {(run.dataset, run.method): plan.spec(run).optimiser.get("lr") for run in plan.runs}
    assert (rates["ixi", "manet-sc"], rates["fastmri", "unet"]) == (0.001, 0.001)
