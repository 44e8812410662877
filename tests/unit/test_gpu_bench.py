"""The GPU bench: a time for every part, a report whatever happens, and rows that a CPU can stand in for."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.gpu import correct, machine, steps, suite, trainings
from tests.bench.gpu.parts import PARTS, Part
from tests.bench.gpu.place import NotRun, Place
from tests.bench.gpu.report import markdown

ROOT = Path(__file__).parents[2]
ROWS = """
import json
file = open(sys.argv[1], "w")
print(json.dumps({"rows": ["a", "b"]}), file=file, flush=True)
"""
ONE = ROWS + 'print(json.dumps({"row": "a", "values": {"x": 1.5, "equal": "NO"}}), file=file, flush=True)\n'
# What a part may do: come to its end, crash, hang, and write half a line.
PROGRAMS = {
    "whole": ONE + 'print(json.dumps({"row": "b", "reason": "no GPU"}), file=file)',
    "crash": ONE + "import os; os.abort()",
    "mute": "raise SystemExit('no such thing')",
    "hang": ONE
    + 'print(json.dumps({"row": "b"})[:5], file=file, end="", flush=True); import time; time.sleep(60)',
}
SUITE = """
import json, signal, sys
from pathlib import Path
from types import SimpleNamespace
from tests.bench.gpu import suite
# Programs that are started in the background inherit that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
programs = json.loads(sys.argv[2])
suite.command = lambda name, device, rows: [sys.executable, "-c", "import sys\\n" + programs[name], str(rows)]
parts = {name: SimpleNamespace(title=name, seconds=60) for name in programs}
sys.exit(suite.run_suite(Path(sys.argv[1]), "cpu", 1, parts, ("whole", "hang", "crash")))
"""
ROAD = """
import importlib.metadata, sys, tempfile
from importlib.machinery import PathFinder
from pathlib import Path
names, known = sys.argv[1].split(), importlib.metadata.packages_distributions()
class Present:
    def find_spec(self, name, *where):
        top = name.partition(".")[0]
        of = {package.lower().replace("_", "-") for package in known.get(top, names)}
        return PathFinder.find_spec(name, *where) if of & set(names) or top == "tests" else None
sys.meta_path[sys.meta_path.index(PathFinder)] = Present()
import torch
import tests.bench.__main__, tests.bench.gpu.__main__, workflow.lease
from tests.bench.gpu import place, trainings
job = trainings.job_of(place.Place(torch.device("cpu"), Path(tempfile.mkdtemp())), "output")
trainings.train(job, trainings.Termination())
"""
FAKES = {name: Part(f"Part {name}", 60, dict) for name in PROGRAMS}


def fake_command(name: str, device: str, rows: Path) -> list[str]:
    return [sys.executable, "-c", "import sys\n" + PROGRAMS[name], str(rows)]


def reasons(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / "report.json").read_text())
    return {
        name: {row: said.get("reason") for row, said in part["rows"].items()}
        for name, part in report["parts"].items()
    }


def test_each_part_has_its_process_and_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "command", fake_command)
    monkeypatch.setattr(suite, "LEAST_SECONDS", 0.5)
    parts = FAKES | {"hang": Part("Part hang", 1.5, dict)}
    begun = time.monotonic()
    assert suite.run_suite(tmp_path, "cpu", 1, parts, ("hang", "crash", "mute", "whole")) == 1
    assert time.monotonic() - begun < 30
    found = reasons(tmp_path)
    assert found["hang"] == {"a": None, "b": "out of time after 2 s"}
    assert found["crash"] == {"a": None, "b": "failed with status -6: "}
    assert found["mute"] == {"all of it": "failed with status 1: no such thing"}
    assert found["whole"] == {"a": None, "b": "no GPU"}
    text = (tmp_path / "report.md").read_text()
    assert "| b | not run: no GPU |" in text
    assert "**What should hold and does not:** Part hang, a: equal" in text


def test_without_time_a_part_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "command", fake_command)
    assert suite.run_suite(tmp_path, "cpu", 0.1, FAKES, ("whole",)) == 0
    assert reasons(tmp_path) == {"whole": {"all of it": "out of time"}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bench_keeps_what_it_took(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", SUITE, str(tmp_path), json.dumps(PROGRAMS)]
    process = subprocess.Popen(command, cwd=ROOT)
    rows = tmp_path / "hang.jsonl"
    while not (rows.is_file() and rows.read_text().count("\n") == 2):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert reasons(tmp_path) == {
        "whole": {"a": None, "b": "no GPU"},
        "hang": {"a": None, "b": "interrupted"},
        "crash": {"all of it": "interrupted"},
    }


def test_on_a_machine_without_a_gpu_the_report_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--gpu", "--out", str(tmp_path)]
    command += ["--only", "versions", "memory"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=True)
    report = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert report["versions"]["rows"]["this machine"]["values"]["torch"] == str(torch.__version__)
    assert reasons(tmp_path)["memory"] == {"manet 256, in six tenths of its memory": "no GPU"}


def test_it_needs_no_more_packages_than_the_page_says() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"grep -oE '\^\((.*?)\)==", page)
    carried = listed.split("|")
    locked = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    assert [name for name in carried if not re.search(rf"^{name}==", locked, re.MULTILINE)] == []
    # What torch itself brings, and what the page expects beside it.
    there = ["torch", "numpy", "h5py", "filelock", "jinja2", "markupsafe", "mpmath", "networkx", "sympy"]

    def run(names: list[str]) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", ROAD, " ".join(names)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run([*there, "setuptools", *carried])
    assert done.returncode == 0, done.stderr
    assert "msgspec" in run([*there, *(name for name in carried if name != "msgspec")]).stderr


# ---- rows, with a CPU standing in ----------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(torch.device("cpu"), tmp_path)


def test_what_a_machine_can_do_at_best(place: Place) -> None:
    for rows in (machine.rates_rows(place), machine.copies_rows(place)):
        for row in rows.values():
            assert all(value > 0 for value in row().values())


@pytest.mark.parametrize("method", ["unet", "xiang", "dudornet"])
def test_losses_are_those_of_the_oracle(place: Place, method: str) -> None:
    found = correct.losses(place, method, "32-true", 3)
    assert found["apart"] < 1e-5
    assert found["within 0.001"] == "yes"
    assert found["first loss"] != found["last loss"]


def test_losses_notice_another_training(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct.Training, "_rate", lambda *_: 0.1)
    assert correct.losses(place, "unet", "32-true", 3)["within 0.001"] == "NO"


def test_steps_are_timed_and_counted(place: Place) -> None:
    rows = steps.step_rows(("xiang",), 256, ("plain, TF32 convolutions", "kept"))(place)
    plain, kept = (row() for row in rows.values())
    assert list(plain) == list(kept)
    for found in (plain, kept):
        assert found["ms"] > 0
        # The same operations over the time that each takes.
        assert found["TFLOP/s"] * found["ms"] == pytest.approx(plain["TFLOP/s"] * plain["ms"])
        assert found["GB/s"] > 0


def test_traffic_counts_what_operators_read_and_write() -> None:
    one = torch.ones(1000)
    assert steps.traffic(lambda: one + one) == 3 * 4000
    assert steps.traffic(lambda: one.view(10, 100)) == 0


def test_what_only_a_gpu_has_says_so(place: Place) -> None:
    with pytest.raises(NotRun, match="no GPU"):
        trainings.short_of_memory(place)


@pytest.mark.long
def test_trainings_by_their_own_command(place: Place) -> None:
    for name in ("resumed", "lease", "repeated"):
        for row, work in PARTS[name].rows(place).items():
            found = work()
            assert "NO" not in found.values(), (row, found)
            assert any(name.startswith("equal") for name in found) or row.startswith("uninterrupted")


def test_every_part_has_a_title_and_rows_of_its_own_names(place: Place) -> None:
    titles = [part.title for part in PARTS.values()]
    assert len(set(titles)) == len(titles)
    names = [name for part in PARTS.values() for name in part.rows(place)]
    assert len(set(names)) == len(names)


def test_a_report_of_nothing_is_a_report() -> None:
    rows = {"all of it": {"reason": "out of | time"}}
    text = markdown({"minutes": 8, "device": "auto", "parts": {"a": {"title": "A", "rows": rows}}})
    assert "| all of it | not run: out of / time |" in text
