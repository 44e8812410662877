"""What an experiment costs: the arithmetic, checked by hand-made cases and by brute force."""

import csv
import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import BadInput
from methods.registry import discover
from workflow.cost.estimate import (
    Row,
    Steps,
    chosen_steps,
    growth,
    hours_rows,
    hours_text,
    makespan,
    markdown,
    measured_otherwise,
    parts,
    read_steps,
    run_seconds,
    unmeasured,
)
from workflow.cost.estimate import training_seconds as cost_of
from workflow.cost.jobs import START
from workflow.plan.config import check_config, read_config
from workflow.plan.plan import Plan
from workflow.provenance.sources import RESOURCES

ROOT = Path(__file__).parents[3]
PAPER = Plan(read_config(ROOT / "config" / "paper.yaml"), discover())
STEPS = {name: Steps(256, 3.0, 1.0) for name in ("unet", "xiang", "dudornet", "manet")}
HEADER = "device,method,side,batch,precision,training,reconstruction\n"


def test_one_training_by_hand() -> None:
    assert cost_of(Steps(64, 3.0, 1.0), {"train": 10, "val": 4, "test": 5}, epochs=2) == 2 * (30 + 4) + 5


def test_parts_of_several_papers_are_called_as_they_are_in_print() -> None:
    needed = parts(Plan(read_config(ROOT / "config" / "extended.yaml"), discover()))
    assert {"Table I", "Table fastMRI-PDFS of Ramzi et al. 2020", "Fig. 1 of Ramzi et al. 2020"} <= {*needed}


def test_pixels_decide() -> None:
    assert Steps(128, 0.5, 0.25).at(256) == Steps(256, 2.0, 1.0)


@given(st.lists(st.floats(0.1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_makespan_lies_between_the_best_possible_and_four_thirds_of_it(
    seconds: list[float], devices: int
) -> None:
    """Graham 1969: the longest first is at most 4/3 - 1/(3 m) of the best assignment."""
    best = min(
        max(
            sum(s for s, d in zip(seconds, assignment, strict=True) if d == device)
            for device in range(devices)
        )
        for assignment in itertools.product(range(devices), repeat=len(seconds))
    )
    found = makespan(seconds, devices)
    assert best * (1 - 1e-9) <= found <= best * (4 / 3 - 1 / (3 * devices)) * (1 + 1e-9)


def test_the_paper_is_its_trainings_once_each() -> None:
    seconds = run_seconds(PAPER, STEPS)
    # 4 methods under 12 masks, two ablations under 8, two orders under one, 15 other loss weights.
    ixi, fastmri = 4 * 8 + 2 * 8 + 2, 4 * 4 + 15
    assert len(seconds) == ixi + fastmri
    one_ixi = 50 * (36900 * 3 + 9300) + 11500
    one_fastmri = (320 / 256) ** 2 * 36 * (50 * (204 * 3 + 23) + 45)
    assert sum(seconds.values()) == pytest.approx(ixi * one_ixi + fastmri * one_fastmri)


def test_each_part_needs_its_own_trainings() -> None:
    needed = parts(PAPER)
    assert {name: len(runs) for name, runs in needed.items() if name.startswith("Table")} == {
        "Table I": 32,
        "Table II": 16,
        "Table III": 24,
        "Table IV": 3,
    }
    assert len(needed["Fig. 9"]) == 16
    assert "Fig. 1" not in needed  # zero filling alone


def test_devices_share_whole_trainings() -> None:
    rows = hours_rows(PAPER, {"here": STEPS})
    whole = rows[-1]
    assert whole["part"] == "all"
    assert whole["hours_on_1"] == pytest.approx(whole["hours"])
    for devices in (2, 8):
        assert whole["hours"] / devices <= whole[f"hours_on_{devices}"] <= 1.1 * whole["hours"] / devices


def test_hours_are_summed_in_one_order() -> None:
    # Sums of fractions depend on their order, and that of a set on the hash seed.
    fractions = {name: Steps(256, 1 / (place + 3), 0.1 / 7) for place, name in enumerate(STEPS)}
    seconds = run_seconds(PAPER, fractions)
    whole = hours_rows(PAPER, {"here": fractions})[-1]
    assert whole["hours"] == sum(seconds[run] for run in sorted(seconds)) / 3600


def test_nothing_grows_where_nothing_is_trained() -> None:
    config = check_config(PAPER.config | {"compare": ["zf"], "tables": [1], "figures": []}, discover())
    assert growth(Plan(config, discover()), STEPS) == {}


def test_growth() -> None:
    factors = growth(PAPER, STEPS)
    assert factors["twice the slices"] == pytest.approx(2)
    assert factors["twice the sides"] == pytest.approx(4)
    assert factors["one more seed"] == 2
    seconds = run_seconds(PAPER, STEPS)
    one = next(value for run, value in seconds.items() if run.dataset == "ixi")
    more = factors["one more mask of ixi in its comparison"]
    assert more == pytest.approx(1 + 4 * one / sum(seconds.values()))


def test_a_variants_own_measurement_goes_first() -> None:
    base = run_seconds(PAPER, STEPS)
    own = run_seconds(PAPER, {**STEPS, "manet-no_kspace": Steps(256, 1.5, 0.5)})
    for run, value in own.items():
        assert value == pytest.approx(base[run] / (2 if run.method == "manet-no_kspace" else 1))


def test_a_file_of_each_device(tmp_path: Path) -> None:
    (tmp_path / "cpu.csv").write_text(f"{HEADER}a core,unet,128,1,32-true,0.4,0.1\n")
    (tmp_path / "gpu.csv").write_text(f"{HEADER}a card,unet,256,8,bf16-mixed,0.002,0.001\n")
    found = read_steps([tmp_path / "cpu.csv", tmp_path / "gpu.csv"])
    assert found["a core, 32-true"] == [Row("unet", 1, {}, Steps(128, 0.4, 0.1))]
    assert found["a card, bf16-mixed"] == [Row("unet", 8, {}, Steps(256, 0.002, 0.001))]


@pytest.mark.parametrize(
    "line",
    [
        "a core,unet,128,1,32-true,zero,0.1",
        "a core,unet,128,1,32-true,0,0.1",
        "a core,unet,128,1,32-true,inf,0.1",
        "a core,unet,128,1,32-true,nan,0.1",
        "a core,unet,inf,1,32-true,0.4,0.1",
        "a core,unet,0.5,1,32-true,0.4,0.1",
        "a core,unet,64.5,1,32-true,0.4,0.1",
        "a core,unet,128,inf,32-true,0.4,0.1",
        "a core,unet,128,some,32-true,0.4,0.1",
        "a,b",
    ],
)
def test_a_broken_measurement_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "steps.csv"
    file.write_text(f"{HEADER}{line}\n")
    with pytest.raises(BadInput, match=r"steps\.csv, line 2"):
        read_steps([file])


def test_a_method_without_a_measurement_is_named_and_hours_are_at_least_those_of_the_others() -> None:
    known = {name: steps for name, steps in STEPS.items() if name != "manet"}
    assert unmeasured(PAPER, STEPS, PAPER.runs) == []
    missing = unmeasured(PAPER, known, PAPER.runs)
    assert {method.split("-")[0] for method in missing} == {"manet"}
    rows = {row["part"]: row for row in hours_rows(PAPER, {"here": known})}
    whole = {row["part"]: row for row in hours_rows(PAPER, {"here": STEPS})}
    # A quarter of Table I's trainings are MANet's, and all of Table III's.
    assert rows["Table I"]["hours"] == pytest.approx(0.75 * whole["Table I"]["hours"])
    assert rows["Table I"]["trainings"] == 32
    assert rows["Table III"]["hours"] == 0
    assert rows["Table I"]["unmeasured"] == "manet"
    assert whole["Table I"]["unmeasured"] == ""
    assert hours_text(rows["Table I"]).startswith("at least ")
    assert "at least" not in hours_text(whole["Table I"])
    page = markdown(PAPER, {"here": known}, list(rows.values()))
    assert f"Not measured, and so not counted: {', '.join(missing)}." in page


def test_memory_is_read_where_a_file_tells_it(tmp_path: Path) -> None:
    (tmp_path / "with.csv").write_text(f"{HEADER.strip()},memory\na card,unet,64,8,32-true,0.4,0.1,2e9\n")
    assert read_steps([tmp_path / "with.csv"])["a card, 32-true"][0].steps.at(128).memory == 8e9
    (tmp_path / "empty.csv").write_text(f"{HEADER.strip()},memory\na card,unet,64,8,32-true,0.4,0.1,\n")
    assert read_steps([tmp_path / "empty.csv"])["a card, 32-true"][0].steps.memory == 0


DEMO = Plan(read_config(ROOT / "config" / "demo.yaml"), discover())
NARROW = {method: dict(DEMO.method(method).parameters) for method in ("unet", "xiang", "dudornet", "manet")}
OWN = [Row(method, 1, {}, Steps(64, 30.0, 10.0)) for method in NARROW]
SAME = [Row(method, 2, built, Steps(64, 3.0, 1.0)) for method, built in NARROW.items()]


@pytest.mark.parametrize("rows", [[*OWN, *SAME], [*SAME, *OWN]])
def test_a_configuration_gets_the_measurements_of_its_own_parameters(rows: list[Row]) -> None:
    (of_demo,) = chosen_steps(DEMO, {"here": rows}).values()
    (of_paper,) = chosen_steps(PAPER, {"here": rows}).values()
    # Variants and points of the grid have none of their own, and take what their method takes.
    assert set(of_demo.values()) == {Steps(64, 3.0, 1.0)}
    assert set(of_paper.values()) == {Steps(64, 30.0, 10.0)}
    assert set(of_demo) == {f"{run.method} on {run.dataset}" for run in DEMO.runs if DEMO.trained(run.method)}
    assert measured_otherwise(DEMO, of_demo) == measured_otherwise(PAPER, of_paper) == ""


def test_other_parameters_are_told_of_those_methods_alone() -> None:
    (found,) = chosen_steps(DEMO, {"here": [*OWN[:2], *SAME[2:]]}).values()
    assert measured_otherwise(DEMO, found) == "unet (channels 32, not 16), xiang (width 64, not 8)"
    assert found["unet on ixi"] == Steps(64, 30.0, 10.0, other=("channels 32, not 16",))
    page = markdown(DEMO, {"here": found}, hours_rows(DEMO, {"here": found}))
    assert "\nMeasured with other parameters: unet (channels 32, not 16), xiang (width 64, not 8).\n" in page


def test_the_fewest_other_parameters_and_then_the_nearest_batch_decide() -> None:
    widths = {"width": 16, "levels": 2, "fusion": "concat"}
    rows = [
        Row("manet", 1, {}, Steps(64, 9.0, 9.0)),
        *(Row("manet", batch, NARROW["manet"], Steps(64, batch, batch)) for batch in (1, 2, 4, 16)),
        Row("manet-no_attention", 2, widths, Steps(64, 7.0, 7.0)),
    ]
    training = DEMO.config["training"] | {"batch_size": {"ixi": 2, "fastmri": 5}}
    (found,) = chosen_steps(Plan(DEMO.config | {"training": training}, discover()), {"here": rows}).values()
    assert found["manet on ixi"].training == 2
    assert found["manet on fastmri"].training == found["manet-a0.2-b0.4 on fastmri"].training == 4
    assert found["manet-no_attention on ixi"].training == 7


def test_devices_that_know_most_of_the_very_networks_are_shown() -> None:
    devices = {"full": OWN, "narrow": SAME, "half": [*SAME[:2], *OWN[2:]], "too": SAME}
    assert [*chosen_steps(DEMO, devices)] == ["narrow", "too"]
    assert [*chosen_steps(PAPER, devices)] == ["full"]
    # Of none the very ones: which is nearer nobody knows, unless one knows more methods.
    changed = DEMO.config["methods"] | {"unet": {"parameters": {"channels": 4}}}
    other = Plan(
        DEMO.config | {"compare": ["unet"], "tables": [1], "figures": [], "methods": changed}, discover()
    )
    assert [*chosen_steps(other, devices)] == ["full", "narrow", "half", "too"]
    assert [*chosen_steps(other, {"nothing": [], "full": OWN})] == ["full"]
    assert chosen_steps(other, {"nothing": [], "no more": []}) == {"nothing": {}}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_configuration_was_measured_with_its_own_parameters(file: Path) -> None:
    """Measure what is missing as docs/cost.md tells."""
    plan = Plan(read_config(file), discover())
    for steps in chosen_steps(plan, read_steps(sorted(RESOURCES.glob("measured_steps*.csv")))).values():
        assert measured_otherwise(plan, steps) == ""
        assert unmeasured(plan, steps, plan.runs) == []


def test_the_trainings_of_a_demo_took_what_is_estimated() -> None:
    """Of a demo on two cores of which each did nothing else, see tests/unit/test_time_left.py."""
    recorded = ROOT / "tests" / "unit" / "recorded_runs"
    plan = Plan(read_config(recorded / "demo.yaml"), discover())
    (steps,) = chosen_steps(plan, read_steps([RESOURCES / "measured_steps.csv"])).values()
    expected, took, of_method = run_seconds(plan, steps), Counter[str](), Counter[str]()
    for run, seconds in expected.items():
        of_method[run.method] += START + seconds
    with (recorded / "demo.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rule, *words = row["job"].split()
            if rule == "train":
                took[words[2]] += float(row["ended"]) - float(row["started"])
    assert took.keys() == of_method.keys()
    assert took.total() == pytest.approx(of_method.total(), rel=0.25)
    for method, seconds in of_method.items():
        assert 1 / 1.5 < seconds / took[method] < 1.5, method


@pytest.mark.parametrize("cell", ["16", "width", '"{""width"":"', "[16]"])
def test_parameters_that_are_none_are_named(tmp_path: Path, cell: str) -> None:
    file = tmp_path / "steps.csv"
    file.write_text(f"{HEADER.strip()},parameters\na core,unet,64,1,32-true,0.4,0.1,{cell}\n")
    with pytest.raises(BadInput, match=r"steps\.csv, line 2: parameters must be a JSON object such as"):
        read_steps([file])
