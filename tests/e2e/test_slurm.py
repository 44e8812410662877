"""On a real Slurm: every job in its partition, and the same bits."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from slurm_cluster import Cluster, cluster, missing
from workspace import Outcome, Workspace

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


def test_the_whole_workflow_ends_with_the_same_bits(
    slurm: Cluster, finished: Workspace, tmp_path: Path
) -> None:
    workspace = finished.copy(tmp_path / "repository")
    for path in [*workspace.results.iterdir(), *(workspace.results / "raw").iterdir()]:
        if path.name not in {"raw", "donors"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = workspace.complete(*OPTIONS, *QUICK, env=submission(slurm, tmp_path))
    sent = partitions(outcome)
    assert sent.pop("train") == {"gpu"}
    assert sent.keys() >= {"align_ixi", "evaluate", "table", "provenance"}
    assert set().union(*sent.values()) == {"cpu"}
    one, two = (pd.read_parquet(w.results / "metrics.parquet") for w in (workspace, finished))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert workspace.dry().jobs == set()
    assert not (tmp_path / "leases").exists()
