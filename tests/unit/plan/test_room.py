"""Whether a machine is large enough, told before anything runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.datasets.align import write_aligned
from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import Aligned, Record
from data_prep.prepare.__main__ import prepare
from methods.registry import discover
from workflow.plan import room
from workflow.plan.config import check_config
from workflow.plan.plan import Plan
from workflow.plan.room import data_files, gigabytes, short_of_room, too_few_gpus

TRAINING = {"epochs": 1, "batch_size": 2, "threads": 1}
MASKS = {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"}


def plan(name: str, **changes: Any) -> Plan:
    dataset = {
        "source": "embedded",
        "matrix": 64,
        "slices": 12,
        "acquired_slices": 12,
        "splits": {"train": 4, "val": 2, "test": 2},
        "masks": [MASKS[name]],
    }
    content = {"experiment": "mine", "datasets": {name: dataset}, "figures": [], "training": TRAINING}
    content |= changes
    return Plan(check_config(content, discover()), discover())


def record(name: str, subject: str, hint: str) -> Record:
    return Record(
        subject=subject,
        dataset=name,
        source="embedded",
        status="ok",
        reason="",
        site="",
        group=subject,
        slices=12,
        target_file=f"{subject}-target",
        auxiliary_file=f"{subject}-auxiliary",
        target_sha256=f"{subject}1",
        auxiliary_sha256=f"{subject}2",
        score_before=None,
        score_after=None,
        split_hint=hint,
        auxiliary_group=subject if name == "fastmri" else "",
    )


@pytest.mark.parametrize("name", ["ixi", "fastmri"])
def test_files_are_as_large_as_what_the_steps_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = plan(name)
    expected = list(data_files(planned))
    before = [files.to_come for files in expected]
    assert before == [files.total for files in expected]
    for subject, scans in planned.subjects[name].items():
        shape = (12, 64, 64)
        target = np.ones(shape, dataset_of(name).target_dtype)
        one = record(name, subject, scans.split_hint)
        aligned = Aligned(one, target, np.ones(shape, np.float32), lambda: NoPicture())
        write_aligned(aligned, expected[0].paths[0].parent)
    splits = {"train": 4, "val": 2, "test": 2}
    folder = expected[1].paths[0].parent
    prepare(name, expected[0].paths[0].parent, list(planned.subjects[name]), splits, 2022, folder)
    for files in expected:
        written = sum(path.stat().st_size for path in files.paths)
        assert files.total == pytest.approx(written, rel=0.03)
        assert files.to_come == 0
    assert len(expected[0].paths) == 8


class NoPicture:
    """A picture of no size."""

    def savefig(self, path: Path, **options: object) -> None:
        path.touch()


def test_too_small_a_disk_is_told_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = plan("ixi")
    needed = sum(files.to_come for files in data_files(planned))
    assert needed == 2 * 8 * 12 * 64 * 64 * 8
    monkeypatch.setattr(room, "free_bytes", lambda path: needed)
    assert short_of_room(planned) == ""
    monkeypatch.setattr(room, "free_bytes", lambda path: needed - 1)
    said = short_of_room(planned)
    expected = (
        r"results/shared/aligned/ixi-\w+: about 6\.29 MB of aligned and prepared scans are to come, but "
    )
    assert re.match(expected, said)
    assert "make room, or let results/ be a link" in said
    # What is there already is not to be written again.
    first = next(iter(data_files(planned)))
    first.paths[0].parent.mkdir(parents=True)
    first.paths[0].touch()
    assert short_of_room(planned) == ""


@pytest.mark.parametrize(("gpus", "told"), [("", False), ("0", True), ("0,1", False), ("0,1,2", False)])
def test_fewer_gpus_than_a_training_is_to_have_are_told(
    gpus: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_LEASE_DEVICES", gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert bool(too_few_gpus(plan("ixi", training=TRAINING | {"devices": 2}))) == told
    assert too_few_gpus(plan("ixi")) == ""


@pytest.mark.parametrize(
    ("size", "text"),
    [(1500, "1.5 kB"), (2e6, "2 MB"), (52.4e9, "52.4 GB"), (1.2e13, "12 TB"), (9.997e11, "1 TB")],
)
def test_bytes_for_people(size: float, text: str) -> None:
    assert gigabytes(size) == text
