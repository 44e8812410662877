"""A finished run as an RO-Crate: from a result back to the scans, by the crate alone."""

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from workspace import RESULTS, ROOT, Workspace, environment

FILE = "ro-crate-metadata.json"


@pytest.fixture(scope="module")
def written(workspace: Workspace) -> list[dict[str, Any]]:
    """Have the crate written by the command of results/README.md, and return its entities."""
    page = (ROOT / "results/README.md").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^snakemake --configfile \S+ (--reporter .*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    command = command.replace("results/demo", str(RESULTS)).replace("Your Name", "A. Reader")
    workspace.complete(*shlex.split(command.replace("\\\n", "")))
    graph: list[dict[str, Any]] = json.loads((workspace.results / FILE).read_text(encoding="utf-8"))["@graph"]
    return graph


def test_a_crate_leads_from_the_metrics_back_to_the_raw_data(
    workspace: Workspace, written: list[dict[str, Any]]
) -> None:
    entities = {entity["@id"]: entity for entity in written}

    def place(entity: dict[str, Any]) -> str:
        # What experiments share lies beside the results, like scans and sources.
        return str(entity.get("contentUrl", entity.get("localPath", "")))

    files = {place(entity): entity for entity in entities.values() if place(entity)}

    def sources(path: str) -> set[str]:
        """Files that the job read which wrote ``path``, by their places."""
        (job,) = files[path]["generatedBy"]
        return {place(entities[link["@id"]]) for link in entities[job["@id"]]["usedDataset"]}

    run = "runs/ixi/1d_uniform_6x/unet/seed0"
    assert f"{run}/metrics.csv" in sources("metrics.parquet")
    split = (workspace.place("data", "ixi") / "train.h5").relative_to(workspace.folder).as_posix()
    assert {split, "masks/ixi/1d_uniform_6x.npz"} <= sources(f"{run}/metrics.csv")
    aligned = {path for path in sources(split) if "/aligned/ixi-" in path}
    assert aligned
    assert all(any("raw/ixi-" in source for source in sources(path)) for path in aligned)

    urls = {entity["contentUrl"] for entity in files.values() if "contentUrl" in entity}
    inside = {path for path in urls if not path.startswith(("/", "http"))}
    assert {path for path in inside if not (workspace.results / path).exists()} == set()
    assert {files[path]["author"] for path in inside} == {"A. Reader"}


@pytest.mark.usefixtures("written")
def test_a_crate_is_no_stranger_among_the_results(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "workflow.verify", str(RESULTS)]
    done = subprocess.run(
        command, cwd=workspace.folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert workspace.dry().jobs == set()
