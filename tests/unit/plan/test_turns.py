"""Runs at one time: who makes shared files is waited for, who reads them is not disturbed."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prep.errors import BadInput
from workflow.plan.turns import Turns

ROOT = Path(__file__).parents[3]
# A run of its own: it takes its turn, makes one file after it is told so, and lives until its input ends.
OTHER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from workflow.plan.turns import Turns
folder, made = Path(sys.argv[1]), Path(sys.argv[2])
done = []
job = SimpleNamespace(output=[str(made)])
dag = SimpleNamespace(needrun_jobs=lambda: [] if made.exists() else [job], finished=lambda job: bool(done))
turns = Turns(sys.argv[3], [str(folder)], lambda said: print(said, flush=True))
locks = SimpleNamespace(all_outputfiles=list, _read_locks=list, _lockdir=sys.argv[3], _lockfile={})
turns.wait(locks)
turns.begin(dag)
print("begun", flush=True)
sys.stdin.readline()
made.write_text("made")
done.append(True)
print("made", flush=True)
sys.stdin.readline()
"""


class Other:
    """Another run, in a process of its own."""

    def __init__(self, folder, made, experiment):
        command = [sys.executable, "-c", OTHER, str(folder), str(made), experiment]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, **pipes)
        self.hears("begun")

    def hears(self, line):
        assert self.process.stdout.readline() == f"{line}\n"

    def makes(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.hears("made")

    def ends(self, sent=signal.SIGKILL):
        self.process.send_signal(sent)
        self.process.communicate()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shared" / "data" / "ixi-1"


@pytest.fixture
def mine(tmp_path):
    return str(tmp_path / "mine")


@pytest.fixture
def other(folder, tmp_path):
    run = Other(folder, folder / "train.h5", str(tmp_path / "other"))
    yield run
    run.ends()


@pytest.fixture
def persistence(tmp_path):
    """Snakemake's, as far as its lock goes."""
    outputs = [f"{tmp_path}/shared/data/ixi-1/train.h5", "results/mine/metrics.parquet"]
    return SimpleNamespace(
        all_outputfiles=lambda: outputs,
        _read_locks=list,
        _lockdir=str(tmp_path / "locks"),
        _lockfile={"output": str(tmp_path / "locks" / "1.output.lock")},
    )


def dag(*outputs):
    jobs = [SimpleNamespace(output=[str(path)]) for path in outputs]
    return SimpleNamespace(needrun_jobs=lambda: jobs, finished=lambda job: False)


def test_who_makes_a_shared_file_is_waited_for_and_only_until_it_is_made(other, folder, mine, persistence):
    said = []

    def say(sentence):
        said.append(sentence)
        other.makes()

    turns = Turns(mine, [str(folder)], say)
    turns.wait(persistence)
    assert (folder / "train.h5").read_text() == "made"
    assert len(said) == 1
    assert f"waiting for another run, which makes files in {folder}" in said[0]
    # The other run lives on, as one that trains; both read.
    assert other.process.poll() is None
    turns.begin(dag())


def test_a_run_that_was_killed_is_not_waited_for(other, folder, mine, persistence):
    other.ends()
    Turns(mine, [str(folder)], pytest.fail).wait(persistence)
    assert not (folder / "train.h5").exists()


def test_what_another_run_reads_is_not_made_again(other, folder, mine, persistence):
    other.makes()
    turns = Turns(mine, [str(folder)], lambda sentence: None)
    turns.wait(persistence)
    with pytest.raises(
        BadInput, match=r"train\.h5: is to be made again, but another run of the workflow reads"
    ):
        turns.begin(dag(folder / "train.h5"))
    # A file that nobody can be reading yet is another matter.
    after = Turns(f"{mine}-after", [str(folder.parent / "ixi-2")], pytest.fail)
    after.wait(persistence)
    after.begin(dag(folder.parent / "ixi-2" / "val.h5"))


def test_a_new_file_disturbs_nobody_who_reads_the_others(other, folder, mine, persistence):
    other.makes()
    turns = Turns(mine, [str(folder)], lambda sentence: None)
    turns.wait(persistence)
    turns.begin(dag(folder / "val.h5"))


def test_snakemakes_lock_leaves_shared_files_to_the_turns(folder, mine, persistence):
    Turns(mine, [str(folder)], pytest.fail).wait(persistence)
    assert list(persistence.all_outputfiles()) == ["results/mine/metrics.parquet"]


def test_the_lock_of_another_run_stays_when_this_one_ends(folder, mine, persistence):
    Turns(mine, [str(folder)], pytest.fail).wait(persistence)
    # The folder may have gone with another run.
    for name in ("0.output.lock", "1.output.lock"):
        (Path(persistence._lockdir) / name).touch()
    persistence.unlock()
    assert [path.name for path in Path(persistence._lockdir).iterdir()] == ["0.output.lock"]


def test_a_lock_that_goes_while_locks_are_read_does_not_end_a_run(folder, mine, persistence):
    tries = iter([FileNotFoundError("0.output.lock"), [("output", "a")]])

    def read():
        found = next(tries)
        if isinstance(found, Exception):
            raise found
        return found

    persistence._read_locks = read
    Turns(mine, [str(folder)], pytest.fail).wait(persistence)
    assert persistence._read_locks() == [("output", "a")]


def test_a_folder_that_cannot_be_written_is_read_without_a_turn(folder, monkeypatch, mine, persistence):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    turns = Turns(mine, [str(folder)], pytest.fail)
    turns.wait(persistence)
    turns.begin(dag())


def test_a_file_system_without_locks_is_told(folder, monkeypatch, mine, persistence):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    said = []
    monkeypatch.setattr("fcntl.flock", refuse)
    Turns(mine, [str(folder)], said.append).wait(persistence)
    assert said == [f"{folder}: its file system has no locks; start no other run until this one has ended"]


def test_waiting_ends_at_ctrl_c(other, folder, mine, persistence):
    def press(sentence):
        signal.raise_signal(signal.SIGINT)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Turns(mine, [str(folder)], press).wait(persistence)
    assert time.monotonic() - start < 30


def test_an_experiment_is_worked_on_by_one_run(other, folder, tmp_path, persistence):
    other.makes()
    turns = Turns(str(tmp_path / "other"), [str(folder)], lambda sentence: None)
    turns.wait(persistence)
    with pytest.raises(BadInput, match=r"other: another run of this experiment is at work; wait for it, or"):
        turns.begin(dag())
