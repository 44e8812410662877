"""Memory does not grow with the dataset: preparing takes one subject at a time, training one batch."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

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
