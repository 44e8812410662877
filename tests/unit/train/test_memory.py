"""Memory does not grow with the dataset, and where a device has too little a batch is computed in parts.

Preparing takes one subject at a time, training one batch.
"""

import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
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
    job,
    opened,
    results,
    run,
)
from torch import Tensor

from data_prep.errors import BadInput
from workflow.train.__main__ import fit
from workflow.train.batches import Batch, Learner, shares
from workflow.train.termination import Termination

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
def test_shares_count_each_slice_once_and_equally_in_its_part(count, processes, most):
    of_each = [shares(count, processes, process, most) for process in range(processes)]
    assert len({len(parts) for parts in of_each}) == 1
    seen: Counter[int] = Counter()
    weights = [0.0] * count
    for together in zip(*of_each, strict=True):
        # What enters the statistics of a part that the processes join.
        joined = Counter(i for rows, _ in together for i in range(count)[rows])
        assert len(set(joined.values())) == 1
        seen.update(set(joined))
        for rows, share in together:
            size = rows.stop - rows.start
            assert 0 < size <= (most or count)
            assert share > 0
            for i in range(count)[rows]:
                weights[i] += share / size
    assert seen == Counter(range(count))
    assert weights == pytest.approx([1 / count] * count)


@given(st.integers(1, 40), st.none() | st.integers(1, 12))
def test_one_process_computes_as_few_parts_as_fit_of_nearly_one_size(count, most):
    parts = shares(count, 1, 0, most)
    assert len(parts) == math.ceil(count / (most or count))
    sizes = [rows.stop - rows.start for rows, _ in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [share for _, share in parts] == [size / count for size in sizes]
    assert [i for rows, _ in parts for i in range(count)[rows]] == list(range(count))


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

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        most: int,
        after: int = 0,
        error: Exception | None = None,
    ) -> None:
        self.refusals = 0
        self.calls = 0
        real = Learner.forward

        def forward(learner: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
            found = real(learner, batch)
            self.calls += learner.training
            if learner.training and self.calls > after and len(batch.truth.image) > most:
                self.refusals += 1
                raise error or torch.OutOfMemoryError("CUDA out of memory.")
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


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: str(error)[:40])
def test_short_memory_is_known_in_every_library_s_words(ixi, tmp_path, monkeypatch, error):
    device = SmallDevice(monkeypatch, most=3, error=error)
    record = run(ixi, tmp_path, tiny_spec(training__batch_size=6, training__epochs=1))
    assert (record["micro_batch"], device.refusals) == (3, 1)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        ValueError("out of memory"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_any_other_fault_of_a_step_ends_the_training_as_itself(ixi, tmp_path, monkeypatch, error):
    device = SmallDevice(monkeypatch, most=3, error=error)
    with pytest.raises(type(error), match=re.escape(str(error))):
        run(ixi, tmp_path, tiny_spec(training__batch_size=6, training__epochs=1))
    assert device.refusals == 1


def test_the_next_attempt_compiles_anew_and_counts_its_own_peak(ixi, tmp_path, monkeypatch):
    SmallDevice(monkeypatch, most=3)
    done = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: done.append("compiler"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: done.append("reset"))
    fit(job(ixi, tmp_path, tiny_spec(training__batch_size=6, training__epochs=1)), Termination())
    assert done == ["compiler", "emptied", "reset"]


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
