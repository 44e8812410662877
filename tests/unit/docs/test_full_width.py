"""Everything, at full width, in equal steps, within the time of one GPU."""

from collections import Counter
from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from data_prep.masks.sets import make_masks
from data_prep.measurement import measure
from methods.registry import discover, load_builder
from workflow.papers.contract import read_paper
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.provenance.sources import ROOT

SIDE = 32  # FLOPs grow with the area
# Dense bf16 rate of one data-centre GPU, and the share of it that the estimate takes for granted.
PEAK, SHARE = 989e12, 0.2
MINUTES = 25


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read_config(ROOT / "config/full_width.yaml"), discover())


def test_it_makes_every_table_and_figure_from_embedded_data_of_128_pixels_or_more(plan):
    assert set(plan.table_definitions) == set(read_paper("manet").tables)
    assert set(plan.figure_definitions) == set(read_paper("manet").figures)
    assert len(plan.figure_definitions[9].grid) == 16
    for number, definition in {**plan.table_definitions, **plan.figure_definitions}.items():
        assert definition.source == "embedded", number
    assert all(dataset["matrix"] >= 128 for dataset in plan.config["datasets"].values())
    assert sum(plan.trained(run.method) for run in plan.runs) == 81


def test_networks_are_as_their_folders_say(plan):
    assert plan.config["methods"] == {}


def test_every_method_takes_as_many_steps(plan):
    training, steps = plan.config["training"], set()
    assert isinstance(training["epochs"], int)
    for dataset in plan.config["datasets"].values():
        slices = dataset["splits"]["train"] * dataset["slices"]
        assert slices % training["batch_size"] == 0
        steps.add(training["epochs"] * slices // training["batch_size"])
    assert steps == {1000}


@cache
def forward_flops(folder: str, parameters: tuple) -> int:
    """FLOPs of one slice of 128x128."""
    model = load_builder(folder)(dict(parameters), (SIDE, SIDE)).eval()
    slices = torch.rand(1, SIDE, SIDE)
    mask = torch.from_numpy(make_masks("1d_uniform_6x", SIDE, SIDE, 0).mask)[None]
    measurement, _ = measure(slices, slices, mask)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(measurement)
    return counter.get_total_flops() * (128 // SIDE) ** 2


def test_it_fits_the_time_of_one_gpu(plan):
    total = Counter()
    for run in plan.runs:
        if plan.trained(run.method):
            method = plan.method(run.method)
            # Loss weights cost nothing: the sixteen points of the grid are one network.
            weights = {"alpha": 0.4, "beta": 0.6} if method.folder == "manet" else {}
            parameters = {**method.parameters, **weights}
            # Backward costs twice as much as forward.
            total[method.folder] += 3 * 8000 * forward_flops(method.folder, tuple(parameters.items()))
    assert 85e15 < total.total() < 100e15
    compute = 1.06 * total.total() / (SHARE * PEAK) / 60
    starting = 81 * 12 / plan.config["training"]["trainings_per_gpu"] / 60
    assert compute < 10
    # Half of the share would still do.
    assert 2 * compute + starting < MINUTES
