"""What jobs beside trainings take: between what was measured, and by rule."""

from pathlib import Path

import pytest

from data_prep.errors import BadInput
from methods.registry import discover
from workflow.cost.estimate import Steps
from workflow.cost.jobs import START, Job, at, data_jobs, read_jobs, run_jobs, seconds_per_job
from workflow.plan.config import read_config
from workflow.plan.plan import Plan

ROOT = Path(__file__).parents[3]
TABLE = read_jobs()
ROWS = [(100.0, Job(1.0, 10.0, 100.0)), (300.0, Job(3.0, 20.0, 500.0))]
STEPS = {name: Steps(64, 0.3, 0.1) for name in ("unet", "xiang", "dudornet", "manet")}


def test_jobs_of_other_sizes_lie_between_the_measured_ones_and_grow_beyond() -> None:
    assert at(ROWS, 200) == Job(2.0, 15.0, 300.0)
    assert at(ROWS, 600) == Job(6.0, 40.0, 1000.0)
    # What does not grow is most of a small job.
    assert at(ROWS, 10) == Job(1.0, 10.0, 100.0)


def test_the_papers_alignments_take_what_was_measured_of_them() -> None:
    plan = Plan(read_config(ROOT / "config" / "paper.yaml"), discover())
    jobs = data_jobs(plan, TABLE)
    count, job = jobs["align ixi"]
    assert count == 582  # published scans
    assert job is not None
    # docs/ixi.md: 20 s at 116 slices, of which most is the registration.
    assert 14 < job.seconds < 20
    assert "embed_ixi" not in jobs
    assert "fetch_donor" not in jobs


def test_seconds_by_rule_are_those_of_the_plans_jobs() -> None:
    plan = Plan(read_config(ROOT / "config" / "smoke.yaml"), discover())
    found = seconds_per_job(plan, STEPS, TABLE)
    counts = run_jobs(plan)
    assert counts == {"train": 69, "evaluate": 12, "probe": 10}
    # One epoch of 8 slices with 4 of validation and 8 of test for IXI, 6, 3 and 6 for fastMRI.
    ixi, fastmri = 8 * 0.3 + 4 * 0.1 + 8 * 0.1, 6 * 0.3 + 3 * 0.1 + 6 * 0.1
    on_ixi = sum(run.dataset == "ixi" and plan.trained(run.method) for run in plan.runs)
    mean = (on_ixi * ixi + (69 - on_ixi) * fastmri) / 69
    assert found["train"] == pytest.approx(START + mean)
    assert {"fetch_donor", "embed_ixi", "embed_fastmri", "align", "prepare", "mask", "evaluate"} <= set(found)
    # Evaluations are of methods without training, and what networks take does not count there.
    assert found["evaluate"] == START
    # ZF takes none, the U-Net, which sees no auxiliary, one reconstruction; the others five more, without it,
    # with another's, and with it shifted twice and rotated.
    assert found["probe"] == pytest.approx(START + (1 + 3 * 6) * (8 + 6) * 0.1 / 10)
    # Nothing of a training is known where nobody measured one.
    assert "train" not in seconds_per_job(plan, {}, TABLE)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "measured_jobs.csv"
    path.write_text("machine,job\nhere,align\n")
    with pytest.raises(BadInput, match=r"measured_jobs\.csv: column dataset is missing; restore it with git"):
        read_jobs(path)
