"""Results that are copied into another clone stay valid there, and can be added to."""

import shutil
import subprocess
from pathlib import Path

import pytest
from workspace import RESULTS, SHARED, Job, Workspace

RECORDS = Path(".snakemake/metadata")


@pytest.fixture
def clone(fresh: Workspace, finished: Workspace) -> Workspace:
    """Another clone, with the results and Snakemake's records of them copied without their times."""
    for folder in (RESULTS, SHARED, RECORDS):
        shutil.copytree(finished.path(str(folder)), fresh.path(str(folder)), copy_function=shutil.copyfile)
    return fresh


def restore(workspace: Workspace) -> "subprocess.CompletedProcess[str]":
    """Do what docs/clusters.md says of copies without times."""
    text = (workspace.folder / "docs" / "clusters.md").read_text()
    (command,) = (line for line in text.splitlines() if line.startswith("python -m workflow.verify"))
    return workspace.shell(command.replace("results/demo", str(RESULTS)))


@pytest.mark.long
def test_a_copy_without_times_is_valid_again_and_can_be_added_to(clone: Workspace) -> None:
    # Times alone made them look out of date.
    assert clone.dry().jobs != set()
    done = restore(clone)
    assert done.returncode == 0, done.stderr
    assert clone.dry().jobs == set()

    # What is really out of date is still seen.
    with clone.edited("workflow/tables/__main__.py"):
        assert clone.dry().rules["table"] == 4

    changed = clone.configure(lambda content: content["datasets"]["ixi"]["masks"].append("2d_radial_6x"))
    planned = clone.dry(config=changed)
    runs = [job for job in planned.jobs if job.rule in {"mask", "train", "evaluate"}]
    assert {job["mask"] for job in runs} == {"2d_radial_6x"}
    assert not {job.rule for job in planned.jobs} & {"fetch_donor", "embed_ixi", "align", "prepare"}
    target = f"{RESULTS}/runs/ixi/2d_radial_6x/zf/seed0/metrics.csv"
    assert clone.complete(target, config=changed).jobs == {
        Job("mask", (("dataset", "ixi"), ("mask", "2d_radial_6x"))),
        next(job for job in runs if job.rule == "evaluate"),
    }


def test_a_copy_with_times_needs_no_command(fresh: Workspace, finished: Workspace) -> None:
    for folder in (RESULTS, SHARED, RECORDS):
        shutil.copytree(finished.path(str(folder)), fresh.path(str(folder)), copy_function=shutil.copy2)
    assert fresh.dry().jobs == set()


def test_a_copy_without_records_gets_them_by_touching_everything(
    fresh: Workspace, finished: Workspace
) -> None:
    for folder in (RESULTS, SHARED):
        shutil.copytree(finished.path(str(folder)), fresh.path(str(folder)), copy_function=shutil.copy2)
    changed = fresh.configure(lambda content: content["training"].update(epochs=7))
    # Without a record nobody knows what they were made with.
    assert fresh.dry(config=changed).jobs == set()
    fresh.complete("--touch", "--forceall")
    assert fresh.dry().jobs == set()
    assert fresh.dry(config=changed).rules["train"] > 0


def test_a_spoilt_copy_is_refused_by_name(clone: Workspace) -> None:
    table = clone.results / "tables" / "table_1.csv"
    table.write_text(table.read_text() + "\n")
    times = {path: path.stat().st_mtime_ns for path in clone.results.rglob("*")}
    done = restore(clone)
    assert done.returncode == 1
    assert "changed  tables/table_1.csv" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in clone.results.rglob("*")} == times
