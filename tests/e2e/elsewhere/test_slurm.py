"""On a real Slurm: every job in its partition, and the same bits, whatever ends a job before its time."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from slurm_cluster import Cluster, cluster, missing, wait_for
from workspace import LIMIT, RESULTS, Outcome, Workspace

pytestmark = [pytest.mark.long, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def submission(slurm: Cluster, folder: Path) -> dict[str, str]:
    """Environment of a Snakemake that submits, from which a lease could be taken."""
    wrapper = Path(slurm.environment["SLURM_CONF"]).parent / "bin"
    path = os.pathsep.join((str(Path(sys.executable).parent), str(wrapper), os.environ["PATH"]))
    leases = {"GPU_LEASE_DEVICES": "0,1", "GPU_LEASE_FOLDER": str(folder / "leases")}
    return {**slurm.environment, **leases, "PATH": path, "OMP_NUM_THREADS": "1"}


# The profile as it stands. No accounting here, and no minute to wait before the first look.
OPTIONS = ("--profile", "profiles/slurm", "--slurm-status-command", "squeue")
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")


def partitions(outcome: Outcome) -> dict[str, set[str]]:
    """Rule -> partitions that its jobs were sent to."""
    found: dict[str, set[str]] = {}
    for line in outcome.output.splitlines():
        if line.startswith("Auto-selected partition "):
            words = line.split()
            found.setdefault(words[5], set()).add(words[2].strip("'"))
    return found


def test_the_smoke_experiment_runs_whole(slurm: Cluster, fresh: Workspace, tmp_path: Path) -> None:
    config = Path("config/smoke.yaml")
    # Each of its jobs starts Snakemake twice again, on the node.
    outcome = fresh.complete(
        *OPTIONS, *QUICK, config=config, env=submission(slurm, tmp_path), limit=3 * LIMIT
    )
    sent = partitions(outcome)
    assert sent.pop("train") == {"gpu"}
    # Probes of zero filling need none.
    assert sent.pop("probe") == {"cpu", "gpu"}
    assert sent.keys() >= {"align", "evaluate", "table", "provenance"}
    assert set().union(*sent.values()) == {"cpu"}
    scores = pd.read_parquet(fresh.path("results/smoke/metrics.parquet"))
    assert len(scores) > 0
    assert scores[["ssim", "psnr", "nmse"]].notna().all(axis=None)
    assert fresh.dry(config=config).jobs == set()
    # Slurm deals the GPUs, so nobody leased one.
    assert not (tmp_path / "leases").exists()


def train_longer(content: dict[str, Any]) -> None:
    # Long enough to be met in the middle.
    content["training"]["epochs"] = 600


def kill_training(folder: Path) -> None:
    """Kill the process that trains into a folder, without notice, as a node's lack of memory does."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "workflow.train" in (words := process.info["cmdline"] or []) and str(folder) in words
    ]
    assert len(found) == 1
    found[0].kill()


def test_killed_and_requeued_trainings_go_on_where_they_were_and_wait_for_a_drained_node(
    slurm: Cluster, finished: Workspace, tmp_path: Path
) -> None:
    undisturbed, disturbed = (finished.copy(tmp_path / name) for name in ("undisturbed", "disturbed"))
    killed, requeued = (f"runs/ixi/1d_uniform_6x/{method}/seed0" for method in ("unet", "xiang"))
    targets = [f"{RESULTS}/{run}/metrics.csv" for run in (killed, requeued)]
    for workspace in (undisturbed, disturbed):
        shutil.rmtree(workspace.results / "runs")
        config = workspace.configure(train_longer)
    undisturbed.complete(*targets, config=config)

    def pending() -> bool:
        return [state for state, _ in slurm.jobs().values()] == ["PENDING", "PENDING"]

    environment = submission(slurm, tmp_path)
    options = [*targets, *OPTIONS, *QUICK]
    with disturbed.running(*options, config=config, env=environment) as run:
        states = [disturbed.results / folder / "resume" / "state.pt" for folder in (killed, requeued)]
        wait_for(lambda: all(state.exists() for state in states), "the first epoch of both")
        numbers = {number for number, (_, comment) in slurm.jobs().items() if "xiang" in comment}
        slurm.command("scontrol", "update", f"NodeName={slurm.node}", "State=DRAIN", "Reason=test")
        kill_training(RESULTS / killed)
        slurm.command("scontrol", "requeue", *numbers)
        wait_for(lambda: slurm.node_state() == "drained" and pending(), "the drained node")
        assert not (disturbed.results / killed / "run.json").exists()
        slurm.command("scontrol", "update", f"NodeName={slurm.node}", "State=RESUME")
        outcome = run.end()
    assert outcome.status == 0, outcome.output
    for folder in (killed, requeued):
        log = disturbed.results / "logs" / "train" / f"{folder.removeprefix('runs/')}.log"
        assert "resuming in epoch" in log.read_text()
        one, two = (pd.read_csv(w.results / folder / "metrics.csv") for w in (undisturbed, disturbed))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
