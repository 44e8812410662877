"""What IXI's 577 subjects cost: seconds and bytes grow with their number and not faster."""

import csv
import json
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_prep.datasets.ixi.folder import findings
from data_prep.datasets.ixi.names import embedded_subject_id
from data_prep.prepare.__main__ import prepare
from data_prep.volumes import save_volume

SUBJECTS, SIDE, SLICES = 577, 48, 12
PAPER = {"train": 369, "val": 93, "test": 115}


def write_aligned(folder: Path, subject: str) -> None:
    """A subject as the step `align` leaves it, at a reduced matrix."""
    number = int(subject[3 : subject.index("-")])
    values = np.random.default_rng(number).random((2, SLICES, SIDE, SIDE), np.float32)
    with h5py.File(folder / f"{subject}.h5", "w") as file:
        file["target"], file["auxiliary"] = values
    record = {
        "subject": subject,
        "dataset": "ixi",
        "source": "embedded",
        "status": "ok",
        "reason": "",
        "site": subject.split("-")[1],
        "group": subject.split("-")[0],
        "slices": SLICES,
        "target_file": f"{subject}-T2.nii.gz",
        "auxiliary_file": f"{subject}-T1.nii.gz",
        "target_sha256": f"{number:064x}",
        "auxiliary_sha256": f"{number + 10_000:064x}",
        "score_before": 0.5,
        "score_after": 0.9,
        "transform": np.eye(4).tolist(),
        "split_hint": "",
    }
    (folder / f"{subject}.json").write_text(json.dumps(record))


@pytest.mark.long
def test_preparing_grows_with_the_number_of_subjects_and_not_faster(tmp_path: Path) -> None:
    aligned = tmp_path / "aligned"
    aligned.mkdir()
    subjects = [embedded_subject_id(index, 2022) for index in range(SUBJECTS)]
    for subject in subjects:
        write_aligned(aligned, subject)
    seconds, size = {}, {}
    for count in (144, 288, SUBJECTS):
        wanted = {split: max(1, number * count // SUBJECTS) for split, number in PAPER.items()}
        wanted["train"] += count - sum(wanted.values())
        output = tmp_path / str(count)
        start = time.process_time()
        prepare("ixi", aligned, subjects[:count], wanted, 2022, output)
        seconds[count] = time.process_time() - start
        size[count] = sum(path.stat().st_size for path in output.glob("*.h5"))
    print(f"seconds {seconds}, bytes {size}")
    with (tmp_path / str(SUBJECTS) / "manifest.csv").open(newline="") as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    assert {split: splits.count(split) for split in PAPER} == PAPER
    voxels = SUBJECTS * SLICES * SIDE * SIDE
    # Target and auxiliary in single precision, and little besides.
    assert voxels * 8 < size[SUBJECTS] < voxels * 8 * 1.02
    assert size[SUBJECTS] / size[144] == pytest.approx(SUBJECTS / 144, rel=0.02)
    # Time is the machine's; a cost that grew with the square would be four times the share.
    assert seconds[SUBJECTS] / seconds[144] < 2 * SUBJECTS / 144


@pytest.mark.long
def test_checking_all_of_ixi_takes_seconds(tmp_path: Path) -> None:
    affine = np.diag([-0.94, 0.94, 1.25, 1.0])
    data = np.random.default_rng(0).integers(0, 900, (12, 12, 10)).astype(np.int16)
    for index in range(SUBJECTS):
        for modality in ("T1", "T2"):
            data[0, 0, :2] = index, modality == "T1"
            name = f"{embedded_subject_id(index, 2022)}-{modality}.nii.gz"
            save_volume(tmp_path / f"IXI-{modality}" / name, data, affine)
    start = time.process_time()
    found = findings(tmp_path, 10)
    seconds = time.process_time() - start
    print(f"{seconds:.1f} s")
    assert {finding.status for finding in found} == {"ok"}
    assert len(found) == SUBJECTS
    assert seconds < 10
