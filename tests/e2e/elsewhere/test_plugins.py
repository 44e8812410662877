"""A dataset, a mask and a metric beyond the paper's, one file each, through the whole workflow."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from workspace import NOTHING, Outcome, Workspace

Ran = tuple[Workspace, Path, Outcome]
RESULTS = Path("results/beyond")
RULES = {
    "embed_brats": 3,
    "align": 3,
    "prepare": 1,
    "places": 1,
    "mask": 1,
    "train": 1,
    "evaluate": 1,
    "gather": 1,
    "significance": 1,
    "differences": 1,
    "table": 1,
    "training_curves": 1,
    "index": 1,
    "provenance": 1,
}


def only_brats(content: Any) -> None:
    content |= {"experiment": "beyond", "compare": ["zf", "unet"], "metrics": ["hfen"]}
    content["datasets"] = {
        "brats": {
            "source": "embedded",
            "matrix": 64,
            "slices": 3,
            "acquired_slices": 4,
            "slice_spacing": 8.0,
            "splits": {"train": 1, "val": 1, "test": 1},
            "masks": ["2d_poisson_6x"],
        }
    }


@pytest.fixture(scope="module")
def ran(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """The workflow's folder with another experiment in it, its configuration, and what its run said."""
    workspace = finished.copy(tmp_path_factory.mktemp("beyond") / "repository")
    config = workspace.configure(only_brats, "tests/e2e/beyond.yaml")
    yield workspace, config, workspace.complete(config=config)
    shutil.rmtree(workspace.folder)


@pytest.mark.long
def test_the_datasets_jobs_run_and_no_others(ran: Ran) -> None:
    workspace, config, outcome = ran
    assert outcome.rules == RULES
    assert NOTHING in workspace.dry(config=config).output


@pytest.mark.long
def test_its_scans_have_the_published_form_and_reach_the_splits(ran: Ran) -> None:
    results = ran[0].path(str(RESULTS))
    manifest = pd.read_csv(results / "data/brats/manifest.csv")
    assert sorted(manifest["split"]) == ["test", "train", "val"]
    for subject in manifest["subject"]:
        folder = ran[0].place("raw", "brats") / subject
        images = [nibabel.load(folder / f"{subject}_{contrast}.nii.gz") for contrast in ("t1", "t2")]
        assert images[0].shape == images[1].shape == (64, 64, 4)
        assert (images[0].affine == images[1].affine).all()
        assert (ran[0].place("aligned", "brats") / f"{subject}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_every_run_is_scored_with_the_chosen_metric_and_the_table_shows_it(
    ran: Ran,
) -> None:
    results = ran[0].path(str(RESULTS))
    metrics = pd.read_parquet(results / "metrics.parquet")
    assert set(metrics["method"]) == {"zf", "unet"}
    assert set(metrics["mask"]) == {"2d_poisson_6x"}
    assert np.isfinite(metrics["hfen"]).all()
    table = pd.read_csv(results / "tables/table_5.csv")
    volumes = metrics[metrics["level"] == "volume"].set_index("method")["hfen"]
    for row in table.to_dict("records"):
        assert row["hfen_mean"] == pytest.approx(volumes[row["method"]], rel=1e-8)
    page = (results / "tables/table_5.md").read_text(encoding="utf-8")
    for words in (
        "Table 5. Comparison of methods, T2 guided by T1 (embedded data, not BraTS)",
        "2D-Poisson-6×",
        "HFEN ↓",
        "none has a tumour",
    ):
        assert words in page
    assert "paper" not in page
    record = json.loads((results / "masks/brats/2d_poisson_6x.json").read_text(encoding="utf-8"))
    assert record["realised_acceleration"] == pytest.approx(6, rel=0.02)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("data_prep/datasets/brats/dataset.py", {"embed_brats": 3, "align": 3}),
        ("data_prep/masks/families/poisson_disc.py", {"mask": 1}),
        ("workflow/metrics/library/hfen.py", {"train": 1, "evaluate": 1}),
    ],
)
def test_an_edited_file_repeats_its_own_jobs(ran: Ran, name: str, rules: dict[str, int]) -> None:
    workspace, config, _ = ran
    with workspace.edited(name):
        own = workspace.dry(config=config).rules
        assert {rule: own[rule] for rule in rules} == rules
        # The paper's experiment uses none of the three.
        assert NOTHING in workspace.dry().output
    assert NOTHING in workspace.dry(config=config).output
