"""Memory does not grow with the dataset, and where a device has too little a batch is computed in parts.

Preparing takes one subject at a time, training one batch.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import tiny_spec
from tiny_trainings import (
    NORMED,
    StopAt,
    history,
    opened,
    results,
    run,
)
from torch import Tensor

from data_prep.errors import BadInput
from workflow.train.batches import Batch, Learner, shares

ROOT = Path(__file__).parents[3]
FEW, MANY = 6, 24
SLICES, SIDE = 20, 160  # 4 MB a subject
SUBJECT_BYTES = 2 * SLICES * SIDE * SIDE * 4
# Some allocations differ from run to run; the larger dataset has 74 MB more.
SLACK = 12_000_000


def peak(code: str, *arguments: str) -> int:
    """Run Python and return the most bytes that it held; without what its parent held before it began."""
    code += (
        "\nfrom pathlib import Path\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) * 1024


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    volume = np.random.default_rng(0).random((SLICES, SIDE, SIDE), dtype=np.float32)
    for i in range(MANY):
        subject = f"IXI{900 + i}"
        with h5py.File(folder / f"{subject}.h5", "w") as file:
            file["target"] = file["auxiliary"] = volume + i
        names = {"target": f"{subject}-T2.nii", "auxiliary": f"{subject}-T1.nii"}
        record = {f"{kind}_file": name for kind, name in names.items()}
        record |= {f"{k}_sha256": hashlib.sha256(name.encode()).hexdigest() for k, name in names.items()}
        record |= {"subject": subject, "group": subject, "dataset": "ixi", "source": "embedded", "site": "HH"}
        record |= {"status": "ok", "reason": "", "slices": SLICES, "split_hint": ""}
        record |= {"score_before": 0.1, "score_after": 0.2}
        (folder / f"{subject}.json").write_text(json.dumps(record))
    return folder


PREPARE = """
import sys
from pathlib import Path
from data_prep.prepare.__main__ import prepare
aligned, output, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
wanted = {"train": count - 2, "val": 1, "test": 1}
prepare("ixi", aligned, [f"IXI{900 + i}" for i in range(count)], wanted, 2022, output)
"""
READ = """
import random, sys
from data_prep.undersample.slices import SliceStore
store = SliceStore(sys.argv[1], "cpu", 0.0)
order = list(range(len(store)))
random.Random(0).shuffle(order)
for start in range(0, len(order), 8):
    store.batch(order[start : start + 8])
"""


def test_preparing_and_reading_four_times_the_subjects_take_the_same_memory(
    aligned: Path, tmp_path: Path
) -> None:
    prepared, read = [], []
    for count in (FEW, MANY):
        output = tmp_path / str(count)
        prepared.append(peak(PREPARE, str(aligned), str(output), str(count)))
        assert (output / "train.h5").stat().st_size > (count - 2) * SUBJECT_BYTES
        read.append(peak(READ, str(output / "train.h5")))
    assert (MANY - FEW) * SUBJECT_BYTES > 6 * SLACK
    assert prepared[1] - prepared[0] < SLACK
    assert read[1] - read[0] < SLACK


def test_the_measure_notices_a_dataset_that_is_held(aligned: Path, tmp_path: Path) -> None:
    hold = "import numpy, sys\nheld = numpy.ones(int(sys.argv[1]), numpy.uint8)"
    few, many = (peak(hold, str(count * SUBJECT_BYTES)) for count in (FEW, MANY))
    assert many - few > 5 * SLACK


# ---- in parts ------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 5), st.none() | st.integers(1, 12))
def test_shares_cover_each_slice_once_and_every_process_has_as_many_parts(count, processes, most):
    of_each = [shares(count, processes, process, most) for process in range(processes)]
    assert len({len(parts) for parts in of_each}) == 1
    counted = [(rows, share) for parts in of_each for rows, share in parts if share]
    assert [i for rows, _ in counted for i in range(count)[rows]] == list(range(count))
    assert sum(share for _, share in counted) == pytest.approx(1)
    for rows, share in counted:
        size = rows.stop - rows.start
        assert share == size / count
        assert size <= (most or count)
    if most is None:
        sizes = [sum(share * count for _, share in parts) for parts in of_each]
        assert max(sizes) - min(sizes) < 1.001


def test_a_part_of_a_batch_is_what_its_slices_alone_would_be(fastmri):
    acquisition, store = opened(fastmri, "fastmri", 0.0)
    part = Batch(*acquisition.fresh(store, [4, 7, 1, 0], 0, 0, 0)).part(slice(1, 3))
    alone = Batch(*acquisition.fresh(store, [7, 1], 0, 0, 0))
    for name in ("kspace", "mask", "auxiliary", "auxiliary_kspace", "scale"):
        assert torch.equal(getattr(part.measurement, name), getattr(alone.measurement, name))
    assert torch.equal(part.truth.image, alone.truth.image)
    assert torch.equal(part.truth.kspace, alone.truth.kspace)


class SmallDevice:
    """Lets training fail as CUDA does where more than ``most`` slices are computed at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> None:
        self.refusals = 0
        self.calls = 0
        real = Learner.forward

        def forward(learner: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
            found = real(learner, batch)
            self.calls += learner.training
            if learner.training and self.calls > after and len(batch.truth.image) > most:
                self.refusals += 1
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return found

        monkeypatch.setattr(Learner, "forward", forward)


@pytest.mark.parametrize("method", [{"parameters__dropout": 0.0}, NORMED], ids=["unet", "xiang"])
def test_out_of_memory_goes_on_in_parts_of_the_same_batch(ixi, tmp_path, monkeypatch, capsys, method):
    spec = tiny_spec(training__batch_size=6, training__epochs=2, **method)
    whole = run(ixi, tmp_path / "whole", spec)
    assert (whole["micro_batch"], whole["notes"]) == (None, [])
    device = SmallDevice(monkeypatch, most=2)
    record = run(ixi, tmp_path / "parts", spec)
    # 6 slices do not fit, nor do 3, one does.
    assert (record["micro_batch"], device.refusals) == (1, 2)
    assert "out of memory at 3 slices at once; going on with parts of 1" in capsys.readouterr().err
    one, other = history(tmp_path / "whole"), history(tmp_path / "parts")
    normed = method is NORMED
    (note,) = record["notes"]
    assert note.startswith("out of memory: each batch was computed in parts of at most 1 slices")
    assert ("batch normalisation took its statistics from parts" in note) == normed
    for name in ("train_loss", "val_loss", "val_psnr"):
        same = [row[name] for row in other] == pytest.approx([row[name] for row in one], rel=1e-5)
        assert same != normed


def test_parts_survive_interruptions_to_the_bit(ixi, tmp_path, monkeypatch):
    # Memory that runs short later only, in a network whose batch statistics the failed step has moved.
    spec = tiny_spec(training__batch_size=6, training__epochs=3, **NORMED)
    SmallDevice(monkeypatch, most=3, after=3)
    run(ixi, tmp_path / "whole", spec)
    monkeypatch.undo()
    SmallDevice(monkeypatch, most=3, after=3)
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "broken", spec, StopAt(8))
    monkeypatch.undo()
    # The parts are part of the state: nothing has to fail again.
    record = run(ixi, tmp_path / "broken", spec)
    assert record["micro_batch"] == 3
    assert results(tmp_path / "broken") == results(tmp_path / "whole")


def test_one_slice_that_does_not_fit_is_one_sentence(ixi, tmp_path, monkeypatch):
    SmallDevice(monkeypatch, most=0)
    with pytest.raises(BadInput, match=r"too little memory for one slice of unet; use a larger device"):
        run(ixi, tmp_path, tiny_spec())
