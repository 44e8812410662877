"""The paper's full setting: its jobs can be counted without its scans, and it stops at once without them."""

from pathlib import Path

import pytest
import yaml
from published_tree import PAIRS as LISTS
from published_tree import write_fastmri, write_ixi
from workspace import Workspace

from methods.registry import discover

CONFIG = Path("config/paper.yaml")
SUBJECTS, PAIRS = 582, 227 + 45
IXI_MASKS, FASTMRI_MASKS = 8, 4
SWEEP = 4 * 4 - 1  # one point is MANet itself


def with_scans(folder: Path) -> Path:
    """The paper's configuration with all scans there, as published, by their headers."""
    write_ixi(folder / "IXI")
    write_fastmri(folder / "fastMRI")
    content = yaml.safe_load(CONFIG.read_text())
    content["datasets"]["ixi"]["root"] = str(folder / "IXI")
    content["datasets"]["fastmri"]["root"] = str(folder / "fastMRI")
    for split in LISTS:
        path = folder / "fastMRI" / f"singlecoil_{split}_split_less.csv"
        content["datasets"]["fastmri"][f"{split}_pairs"] = str(path)
    (folder / "paper.yaml").write_text(yaml.safe_dump(content))
    return folder / "paper.yaml"


@pytest.mark.parametrize("scans", ["nowhere", "here"])
def test_a_dry_run_counts_the_same_jobs_without_the_scans_and_with_them(
    fresh: Workspace, scans: str, tmp_path: Path
) -> None:
    methods = {name: entry for name, entry in discover().items() if entry.default.collection is None}
    trained = [name for name, folder in methods.items() if folder.default.trainable]
    masks = IXI_MASKS + FASTMRI_MASKS
    expected = {
        "align": SUBJECTS + PAIRS,
        "prepare": 2,
        "places": 2,
        "registration_report": 1,
        "mask": masks,
        # Tables I and II; two ablations under IXI's masks; two attention orders under one; Fig. 9.
        "train": len(trained) * masks + 2 * IXI_MASKS + 2 + SWEEP,
        "evaluate": (len(methods) - len(trained)) * masks,
        "gather": 1,
        "significance": 1,
        "differences": 1,
        "table": 4,
        "claims": 1,
        "index": 1,
        "provenance": 1,
        "figure": 6,
        "training_curves": 2,
    }
    outcome = fresh.dry(config=CONFIG if scans == "nowhere" else with_scans(tmp_path / "scans"))
    assert dict(outcome.rules) == expected
    # The target `all` is counted as a job, too.
    lines = [line.split() for line in outcome.output.splitlines()]
    assert ["total", str(sum(expected.values()) + 1)] in lines
    assert not fresh.path("results/paper").exists()


def test_a_real_run_without_the_scans_stops_at_once_and_names_the_key(fresh: Workspace) -> None:
    outcome = fresh.run(config=CONFIG)
    assert outcome.status != 0
    assert (
        "config: datasets.ixi.root is not set; point it at your copy of the published data" in outcome.output
    )
    assert outcome.jobs == set()
    assert not [path for path in fresh.shared.rglob("*") if path.is_file() and path.name[0] != "."]
