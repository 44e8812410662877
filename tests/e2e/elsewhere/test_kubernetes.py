"""What the pod of a Kubernetes job runs, tried without a cluster: its command, as the manifest has it."""

import signal
import subprocess

import yaml
from workspace import LIMIT, ROOT, Outcome, Workspace, environment

BEGUN = ".snakemake/incomplete"
"""Holds a file for every output of a job that has begun, for which Snakemake has locked the folder before."""


def run_pod(workspace: Workspace, *further: str) -> Outcome:
    """Run the pod's command in a workspace; a second --configfile takes the place of the first."""
    job = yaml.safe_load((ROOT / "profiles/kubernetes/job.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    done = subprocess.run(
        [*container["command"], *container["args"], *further],
        cwd=workspace.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Outcome(done.returncode, done.stdout)


def test_the_job_plans_the_whole_demo_in_an_empty_clone(fresh: Workspace) -> None:
    planned = run_pod(fresh, "--dry-run")
    assert planned.status == 0, planned.output
    assert planned.rules["table"] == 4
    assert planned.rules["train"] > 0
    assert not fresh.path("results/demo").exists()


def test_a_pod_goes_on_where_one_that_was_killed_left_the_folder_locked(copy: Workspace) -> None:
    for table in (copy.results / "tables").iterdir():
        table.unlink()
    begun = copy.path(BEGUN)
    assert not any(begun.iterdir())
    copy.broken_off(signal.SIGKILL, lambda: any(begun.iterdir()))
    assert "--unlock" in copy.run().output

    tiny = ("--configfile", "tests/e2e/tiny.yaml")
    resumed = run_pod(copy, *tiny)
    assert resumed.status == 0, resumed.output
    assert copy.dry().jobs == set()
