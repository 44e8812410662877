"""A training ends with the same bits however often it is interrupted, and never takes up another's state."""

import errno
import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from tiny_runs import spec_content, tiny_spec
from tiny_trainings import (
    BIT_EQUAL,
    StopAt,
    command,
    count_steps,
    exit_status,
    results,
    run,
)

from workflow.run import checkpoint
from workflow.run.spec import RunSpec
from workflow.train import loop
from workflow.train.termination import TERMINATED


@pytest.mark.parametrize("channels_last", [False, True])
def test_sigterm_after_any_step_saves_and_loses_nothing(ixi, tmp_path, monkeypatch, channels_last):
    spec = tiny_spec(training__epochs=2, training__channels_last=channels_last)
    run(ixi, tmp_path / "whole", spec)
    steps = count_steps(monkeypatch)
    for moment in itertools.count():
        output = tmp_path / str(moment)
        steps.clear()
        status = exit_status(ixi, output, spec, StopAt(moment))
        if status is None:
            break
        assert status == TERMINATED
        assert (output / "resume" / "state.pt").is_file()
        run(ixi, output, spec)
        assert results(output) == results(tmp_path / "whole"), f"moment {moment}"
        assert len(steps) == 6, "a step was repeated or left out"
    # Six steps, two validations of one batch, the end.
    assert moment >= 9


def test_targets_with_a_phase_have_the_same_one_when_a_training_goes_on(ixi, tmp_path):
    spec = tiny_spec(training__epochs=2, phase="smooth")
    record = run(ixi, tmp_path / "whole", spec)
    assert exit_status(ixi, tmp_path / "broken", spec, StopAt(4)) == TERMINATED
    run(ixi, tmp_path / "broken", spec)
    assert results(tmp_path / "broken") == results(tmp_path / "whole")
    assert record["spec"]["phase"] == "smooth"
    plain = run(ixi, tmp_path / "plain", tiny_spec(training__epochs=2))
    assert "phase" not in plain["spec"]
    assert plain["training_hash"] != record["training_hash"]


@pytest.mark.long
def test_sigterm_ends_the_program_with_143_and_it_goes_on_from_there(ixi, tmp_path):
    content = spec_content(training__epochs=60)
    process = subprocess.Popen(command(ixi, tmp_path / "a", content), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(timeout=30) == 143
    assert "SIGTERM: state saved" in rest
    assert not (tmp_path / "a" / "run.json").exists()
    record = run(ixi, tmp_path / "a", RunSpec.from_json(json.dumps(content)))
    assert record["restarts"] == 1
    run(ixi, tmp_path / "b", RunSpec.from_json(json.dumps(content)))
    assert results(tmp_path / "a") == results(tmp_path / "b")


# Real processes that can be killed, without paying for torch's import each time.
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["workflow.train.loop", "workflow.metrics.volume", "methods.unet.model"])


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    process = _server.Process(target=target, args=arguments)
    process.start()
    return process


def _train(folder: Path, output: Path, spec: RunSpec) -> None:
    run(folder, output, spec)


def _train_until_killed_while_writing(folder: Path, output: Path, spec: RunSpec, number: int) -> None:
    """Kill this process in the middle of writing its n-th state."""
    written = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == number:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    with mock.patch.object(checkpoint.os, "fsync", fsync):
        run(folder, output, spec)


def kill_at_random(folder: Path, output: Path, spec: RunSpec, kills: int, longest: float) -> int:
    """Start, kill and start again; return how many kills hit a running training, then let it end."""
    state = output / "resume" / "state.pt"
    chance = random.Random(2022)
    hits = 0
    for _ in range(100 * kills):
        if hits == kills:
            break
        before = state.stat().st_mtime_ns if state.exists() else None
        process = start(_train, folder, output, spec)
        # A kill before the first state of this start only tests starting.
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            if (state.stat().st_mtime_ns if state.exists() else None) != before:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, longest))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        hits += process.exitcode == -signal.SIGKILL
    last = start(_train, folder, output, spec)
    last.join()
    assert last.exitcode == 0
    return hits


def test_two_kills_leave_no_trace(ixi, tmp_path):
    spec = tiny_spec(training__epochs=40)
    run(ixi, tmp_path / "whole", spec)
    assert kill_at_random(ixi, tmp_path / "killed", spec, kills=2, longest=0.1) == 2
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["restarts"] == 2
    assert not list((tmp_path / "killed").rglob("*.partial*"))


def test_a_kill_while_the_state_is_written_leaves_the_one_before(ixi, tmp_path):
    spec = tiny_spec(training__epochs=4)
    run(ixi, tmp_path / "whole", spec)
    for number in (1, 3):
        output = tmp_path / str(number)
        process = start(_train_until_killed_while_writing, ixi, output, spec, number)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert list((output / "resume").glob(".*.partial*")), "killed before it wrote anything"
        run(ixi, output, spec)
        assert results(output) == results(tmp_path / "whole")
        assert not list(output.rglob("*.partial*"))


@pytest.mark.long
def test_a_storm_of_kills_also_while_states_are_written_leaves_no_trace(ixi, tmp_path):
    spec = tiny_spec(training__epochs=200)
    run(ixi, tmp_path / "whole", spec)
    output = tmp_path / "killed"
    chance = random.Random(7)
    for _ in range(6):
        process = start(_train_until_killed_while_writing, ixi, output, spec, chance.randint(1, 4))
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert list((output / "resume").glob(".*.partial*"))
    assert kill_at_random(ixi, output, spec, kills=20, longest=0.25) == 20
    assert results(output) == results(tmp_path / "whole")
    assert not list(output.rglob("*.partial*"))
    # Kills in the first epoch leave nothing to take up.
    assert 20 <= json.loads((output / "run.json").read_text())["restarts"] <= 26


def test_resuming_takes_up_where_it_was_and_says_so(ixi, tmp_path, monkeypatch, capsys):
    spec = tiny_spec(training__epochs=3)
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, spec, StopAt(7))
    steps = count_steps(monkeypatch)
    record = run(ixi, tmp_path, spec)
    assert "resuming in epoch 2/3" in capsys.readouterr().err
    assert len(steps) < 9
    assert record["restarts"] == 1


def test_the_state_of_another_training_is_never_used(ixi, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "a", tiny_spec(), StopAt(7))
    capsys.readouterr()
    steps = count_steps(monkeypatch)
    changed = tiny_spec(optimiser__lr=0.02)
    run(ixi, tmp_path / "a", changed)
    assert "refused, it is of another training (spec.optimiser.lr changed)" in capsys.readouterr().err
    assert len(steps) == 9
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["refused_states"] == ["it is of another training (spec.optimiser.lr changed)"]
    assert record["restarts"] == 0
    run(ixi, tmp_path / "b", changed)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_refusal_is_still_told_after_another_interruption(ixi, tmp_path):
    for spec in (tiny_spec(), tiny_spec(noise=0.2)):
        with pytest.raises(SystemExit):
            run(ixi, tmp_path, spec, StopAt(7))
    record = run(ixi, tmp_path, tiny_spec(noise=0.2))
    assert record["refused_states"] == ["it is of another training (spec.noise changed)"]
    assert record["restarts"] == 1


def test_a_file_that_is_no_state_is_refused(ixi, tmp_path):
    (tmp_path / "resume").mkdir()
    torch.save({"weights": torch.zeros(2)}, tmp_path / "resume" / "state.pt")
    record = run(ixi, tmp_path, tiny_spec())
    assert record["refused_states"] == ["it does not say of which training it is"]


def test_a_torn_state_is_not_used(ixi, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path / "a", tiny_spec(), StopAt(7))
    state = tmp_path / "a" / "resume" / "state.pt"
    whole = state.read_bytes()
    middle, pickled = len(whole) // 2, whole.index(b"identity")
    for torn in (
        whole[:-200],
        b"",
        b"text",
        whole[:middle] + bytes(2000) + whole[middle + 2000 :],
        whole[:pickled] + b"\xff" * 8 + whole[pickled + 8 :],
    ):
        state.write_bytes(torn)
        record = run(ixi, tmp_path / "a", tiny_spec())
        assert "is not whole" in capsys.readouterr().err
        assert record["refused_states"] == ["it is not whole"]


def test_a_state_that_cannot_be_read_now_is_not_given_up(ixi, tmp_path):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    state = tmp_path / "resume" / "state.pt"
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path == state:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(path, *arguments, **options)

    with mock.patch.object(Path, "open", refuse), pytest.raises(OSError, match="Stale file") as caught:
        run(ixi, tmp_path, tiny_spec())
    assert (caught.value.errno, caught.value.filename) == (errno.ESTALE, str(state))
    record = run(ixi, tmp_path, tiny_spec())
    assert (record["restarts"], record["refused_states"]) == (1, [])


def test_a_finished_training_is_not_repeated_when_only_the_evaluation_changes(
    ixi, tmp_path, monkeypatch, capsys
):
    run(ixi, tmp_path, tiny_spec())
    before = results(tmp_path)
    steps = count_steps(monkeypatch)
    # Snakemake removes the outputs of a job before it runs again.
    for name in (*BIT_EQUAL, "history.csv", "run.json"):
        (tmp_path / name).unlink()
    capsys.readouterr()
    run(ixi, tmp_path, tiny_spec(examples=2))
    assert "evaluating only" in capsys.readouterr().err
    assert steps == []
    after = results(tmp_path)
    assert after[1] == before[1]
    assert after[3:] == before[3:]
    run(ixi, tmp_path, tiny_spec())
    assert results(tmp_path) == before


def test_an_ended_training_keeps_only_its_best_weights(ixi, tmp_path):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    running = (tmp_path / "resume" / "state.pt").stat().st_size
    run(ixi, tmp_path, tiny_spec())
    assert (tmp_path / "resume" / "state.pt").stat().st_size < 0.5 * running


def test_the_versions_that_took_part_are_recorded(ixi, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, tiny_spec(), StopAt(7))
    monkeypatch.setattr(loop.torch, "__version__", "9.9")
    record = run(ixi, tmp_path, tiny_spec())
    assert "another torch" in capsys.readouterr().err
    assert [entry["torch"] for entry in record["environments"]][1:] == ["9.9"]
