"""Interrupted twice and on one core, the workflow ends with the same bits as in one go on two cores."""

import functools
import hashlib
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import pandas as pd
import pytest
from workspace import Job, Outcome, Workspace

FINISHED = ("tiny/runs/*/*/*/*/run.json", "tiny/data/*/*", "shared/aligned/*/*.json", "shared/data/*/[!.]*")


@dataclass(frozen=True)
class Story:
    """What happened in a second folder, worked on with one core.

    Attributes:
        after_interrupt: files that were finished when Ctrl-C came, with their times.
        interrupted: the run that Ctrl-C ended.
        killed: the next run, which was killed with all its children.
        after_kill: files that were finished then.
        locked: an attempt to go on at once.
        last: the run that came to the end.
    """

    workspace: Workspace
    after_interrupt: dict[Path, int]
    interrupted: Outcome
    killed: Outcome
    after_kill: dict[Path, int]
    locked: Outcome
    last: Outcome


def times(folder: Path, *patterns: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def story(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    workspace = finished.copy(tmp_path_factory.mktemp("story") / "repository")
    results = workspace.results
    # All but the donors' maps is made anew.
    for path in (results, *workspace.shared.iterdir()):
        if path.name != "donors":
            shutil.rmtree(path)

    # With one core, the third record shows that the jobs of the first two have ended.
    interrupted = workspace.broken_off(
        signal.SIGINT, lambda: len(list(workspace.shared.glob("aligned/*/*.json"))) >= 3, cores=1
    )
    after_interrupt = times(workspace.shared, "aligned/*/*.json")

    def in_a_training() -> bool:
        logs = (results / "logs" / "train").glob("*/*/*/*.log")
        runs = [path.relative_to(results / "logs" / "train").with_suffix("") for path in logs]
        ended = [(results / "runs" / run / "run.json").is_file() for run in runs]
        return any(ended) and not all(ended)

    killed = workspace.broken_off(signal.SIGKILL, in_a_training, cores=1)
    after_kill = times(results.parent, *FINISHED)
    locked = workspace.run(cores=1)
    workspace.complete("--unlock")
    last = workspace.complete(cores=1)
    yield Story(workspace, after_interrupt, interrupted, killed, after_kill, locked, last)
    shutil.rmtree(workspace.folder)


def test_after_ctrl_c_the_next_run_goes_on(story: Story) -> None:
    assert story.interrupted.status != 0
    assert story.after_interrupt
    aligned = {path.stem for path in story.after_interrupt}
    again = {job["subject"] for job in story.killed.jobs if job.rule == "align"}
    assert again
    # The one job that was cut off, just after it wrote its record, is repeated.
    cut_off = aligned & again
    assert len(cut_off) <= 1
    now = times(story.workspace.shared, "aligned/*/*.json")
    kept = {path: time for path, time in story.after_interrupt.items() if path.stem not in cut_off}
    assert kept
    assert now.items() >= kept.items()


def test_after_a_kill_snakemake_says_how_to_go_on(story: Story) -> None:
    assert story.killed.status == -signal.SIGKILL
    assert story.locked.status != 0
    assert "--unlock" in story.locked.output
    assert story.locked.jobs == set()


def test_after_a_kill_finished_steps_stay(story: Story) -> None:
    results = story.workspace.results
    kept = times(results.parent, *FINISHED)
    assert kept.items() >= story.after_kill.items()
    done = {path.parent.relative_to(results / "runs") for path in story.after_kill if path.name == "run.json"}
    assert done
    again = {
        Path(job["dataset"], job["mask"], job["method"], f"seed{job['seed']}")
        for job in story.last.jobs
        if job.rule in {"train", "evaluate"}
    }
    assert again
    assert done & again == set()
    assert Job("gather", ()) in story.last.jobs


def test_the_metrics_are_the_same_to_the_bit(story: Story, finished: Workspace) -> None:
    one, two = (pd.read_parquet(w.results / "metrics.parquet") for w in (story.workspace, finished))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_prepared_data_masks_and_tables_are_the_same(story: Story, finished: Workspace) -> None:
    def digests(workspace: Workspace, *patterns: str) -> dict[str, str]:
        found = [path for pattern in patterns for path in workspace.path("results").glob(pattern)]
        paths = [path for path in found if path.is_file()]
        return {
            str(path.relative_to(workspace.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
        }

    patterns = (
        "shared/raw/**/*",
        "shared/aligned/*/*.h5",
        "shared/data/*/*.h5",
        "tiny/data/*/*.csv",
        "tiny/tables/*",
        "tiny/runs/**/model.ckpt",
    )
    one, two = digests(story.workspace, *patterns), digests(finished, *patterns)
    assert len(one) > 40
    assert one == two
    for path in finished.shared.glob("data/*/*.h5"):
        other = story.workspace.folder / path.relative_to(finished.folder)
        with h5py.File(path) as mine, h5py.File(other) as its:
            assert mine.attrs["fingerprint"] == its.attrs["fingerprint"]
    for path in finished.results.glob("masks/*/*.json"):
        its = story.workspace.results / path.relative_to(finished.results)
        assert json.loads(path.read_text())["sha256"] == json.loads(its.read_text())["sha256"]


def test_nothing_half_written_is_left(story: Story) -> None:
    left = [path for path in story.workspace.path("results").rglob("*") if ".partial" in path.name]
    # A killed writer cannot clean up; what it left is not taken for a result, and a training removes its own.
    assert [path for path in left if "runs" in path.parts] == []
    assert story.workspace.dry().jobs == set()


def told(log: Path, text: str) -> bool:
    return log.is_file() and text in log.read_text(encoding="utf-8")


@pytest.mark.long
def test_an_interrupted_training_goes_on_from_its_last_epoch_with_the_same_bits(
    finished: Workspace, tmp_path: Path
) -> None:
    target = "results/tiny/runs/ixi/1d_uniform_6x/manet/seed0/metrics.csv"
    log = Path("results/tiny/logs/train/ixi/1d_uniform_6x/manet/seed0.log")
    outcomes = []
    for name in ("whole", "broken"):
        workspace = finished.copy(tmp_path / name)
        changed = workspace.configure(lambda content: content["training"].update(epochs=60))
        if name == "broken":
            for sent, epoch in ((signal.SIGINT, "epoch 5/60"), (signal.SIGKILL, "epoch 30/60")):
                reached = functools.partial(told, workspace.path(str(log)), epoch)
                workspace.broken_off(sent, reached, target, config=changed)
            workspace.complete("--unlock", config=changed)
        workspace.complete(target, config=changed)
        outcomes.append(workspace)
    whole, broken = (workspace.path(target).parent for workspace in outcomes)
    for name in ("metrics.csv", "model.ckpt", "examples.npz"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    assert json.loads((broken / "run.json").read_text())["restarts"] == 2
