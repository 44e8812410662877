"""Scans that cannot be used, among published ones: told by file and remedy, or excluded by name."""

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from faults import locked
from workspace import Outcome, Workspace, environment

RESULTS = Path("results/published")
TARGETS = [f"{RESULTS}/data/{dataset}/manifest.csv" for dataset in ("ixi", "fastmri")]


class Published:
    """The tiny experiment's raw scans, which have the published form, in a folder as a user has them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.ixi, self.fastmri = workspace.path("scans/ixi"), workspace.path("scans/fastmri")
        for name in ("ixi", "fastmri"):
            shutil.copytree(workspace.place("raw", name), workspace.path("scans") / name)
        # Side files of the generator; published scans have none.
        shutil.rmtree(self.ixi / "truth")
        shutil.rmtree(self.fastmri / "truth")
        splits = '{"train": 2, "val": 1, "test": 1}'
        command = [
            sys.executable,
            "-m",
            "data_prep.datasets.embed",
            "--dataset",
            "fastmri",
            "--lists",
            splits,
        ]
        subprocess.run(
            [*command, "--output", str(self.fastmri)], cwd=workspace.folder, env=environment(), check=True
        )
        self.subjects = sorted(
            path.name.removesuffix("-T2.nii.gz") for path in (self.ixi / "IXI-T2").iterdir()
        )
        self.knees = sorted(path.stem for path in self.fastmri.glob("singlecoil_train/*1.h5"))

    def scan(self, subject: str, modality: str) -> Path:
        return self.ixi / f"IXI-{modality}" / f"{subject}-{modality}.nii.gz"

    def knee(self, stem: str) -> Path:
        return self.fastmri / "singlecoil_train" / f"{stem}.h5"

    def config(self, bad_scans: str) -> Path:
        def change(content: Any) -> None:
            content |= {"experiment": "published", "bad_scans": bad_scans}
            for name, dataset in content["datasets"].items():
                dataset |= {"source": "published", "root": f"scans/{name}"}
                del dataset["acquired_slices"]
            content["datasets"]["fastmri"] |= {
                f"{split}_pairs": f"scans/fastmri/{split}_pairs.csv" for split in ("train", "val")
            }

        return self.workspace.configure(change, f"tests/e2e/published_{bad_scans}.yaml")

    def prepare(self, bad_scans: str) -> Outcome:
        """Align and split both datasets, whatever else fails."""
        return self.workspace.run(*TARGETS, "--keep-going", config=self.config(bad_scans))

    def manifest(self, dataset: str) -> pd.DataFrame:
        path = self.workspace.path(f"{RESULTS}/data/{dataset}/manifest.csv")
        return pd.read_csv(path, keep_default_na=False).set_index("subject")


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def poison(path: Path) -> None:
    """Replace one voxel by NaN."""
    image = nibabel.load(path)
    data = image.get_fdata(dtype=np.float32)
    data[tuple(side // 2 for side in data.shape)] = np.nan
    content = nibabel.Nifti1Image(data, image.affine).to_bytes()
    path.write_bytes(gzip.compress(content, 1))


def strip(path: Path) -> None:
    """Remove k-space."""
    with h5py.File(path, "a") as file:
        del file["kspace"]


def aligned(outcome: Outcome) -> set[str]:
    return {job["subject"] for job in outcome.jobs if job.rule.startswith("align")}


@pytest.fixture
def published(copy: Workspace) -> Iterator[Published]:
    return Published(copy)


def test_a_bad_scan_stops_the_run_with_a_sentence_and_costs_nothing_else(published: Published) -> None:
    first, second, third, _ = published.subjects
    knee = published.knees[0]
    spoilt = [
        published.scan(first, "T2"),
        published.scan(second, "T1"),
        published.knee(knee),
        published.scan(third, "T2"),
    ]
    kept = {path: path.read_bytes() for path in spoilt}
    truncate(spoilt[0])
    poison(spoilt[1])
    strip(spoilt[2])
    spoilt[3].unlink()

    # What can be told before anything runs is told then.
    outcome = published.prepare("stop")
    assert outcome.status != 0
    assert (
        f"scans/ixi/IXI-T2/{third}-T2.nii.gz: subject {third} has no such scan; add the file"
        in outcome.output
    )
    assert outcome.jobs == set()
    spoilt[3].write_bytes(kept[spoilt[3]])

    outcome = published.prepare("stop")
    assert outcome.status != 0
    said = dict(sentence.split(": ", 1) for sentence in outcome.sentences)
    names = [str(path.relative_to(published.workspace.folder)) for path in spoilt[:3]]
    assert sorted(said) == sorted(names)
    assert said[names[0]] == "the file is truncated or not NIfTI; download or copy it again"
    assert said[names[1]] == "voxels are NaN or infinite; replace the file or leave the scan out"
    assert said[names[2]].startswith("dataset kspace is missing; ")
    # The others went on, because --keep-going asked for it.
    assert len(aligned(outcome)) == 8

    for path, content in kept.items():
        path.write_bytes(content)
    outcome = published.prepare("stop")
    assert outcome.status == 0, outcome.output
    assert aligned(outcome) == {first, second, knee}
    assert outcome.rules["prepare"] == 2
    for dataset in ("ixi", "fastmri"):
        assert set(published.manifest(dataset)["status"]) == {"ok"}
        assert set(published.manifest(dataset)["source"]) == {"published"}


def test_a_scan_that_another_process_locks_is_tried_again_by_the_next_run(published: Published) -> None:
    knee, target = published.knees[0], TARGETS[1]
    with locked(published.knee(knee)):
        outcome = published.workspace.run(target, "--keep-going", config=published.config("exclude"))
    assert outcome.status != 0
    named = published.knee(knee).relative_to(published.workspace.folder)
    assert outcome.sentence.startswith(f"{named}: Resource temporarily unavailable (EAGAIN): ")
    assert "set HDF5_USE_FILE_LOCKING=FALSE" in outcome.sentence
    # The embedded scan's record alone is there.
    assert len(list(published.workspace.shared.glob(f"aligned/fastmri-*/{knee}.json"))) == 1
    assert not published.workspace.path(target).exists()

    outcome = published.workspace.complete(target, config=published.config("exclude"))
    assert aligned(outcome) == {knee}
    assert list(published.manifest("fastmri")["status"]) == ["ok"] * 4


@pytest.mark.long
def test_bad_scans_are_excluded_by_name_and_the_run_goes_on(published: Published) -> None:
    broken = {"IXI990-HH-0001": "truncated or not NIfTI", "IXI991-HH-0001": "voxels are NaN"}
    for subject in broken:
        for modality in ("T1", "T2"):
            shutil.copy(published.scan(published.subjects[0], modality), published.scan(subject, modality))
    truncate(published.scan("IXI990-HH-0001", "T1"))
    poison(published.scan("IXI991-HH-0001", "T2"))
    pairs = published.fastmri / "train_pairs.csv"
    pairs.write_text(pairs.read_text() + "file9900000,file9900001,0.5\n")
    for stem in ("file9900000", "file9900001"):
        shutil.copy(published.knee(published.knees[0]), published.knee(stem))
    strip(published.knee("file9900001"))
    assert published.prepare("stop").status != 0

    # Excluding is one of the remedies: what was aligned stays aligned.
    outcome = published.prepare("exclude")
    assert outcome.status == 0, outcome.output
    assert aligned(outcome) == {*broken, "file9900001"}

    # Subjects of which a file is missing are no less to be listed.
    shutil.copy(published.scan(published.subjects[0], "T1"), published.scan("IXI992-HH-0001", "T1"))
    pairs.write_text(pairs.read_text() + "file9900010,file9900011,0.5\n")
    outcome = published.prepare("exclude")
    assert outcome.status == 0, outcome.output
    assert aligned(outcome) == {"IXI992-HH-0001", "file9900011"}
    reasons = {
        "ixi": broken | {"IXI992-HH-0001": "no such file"},
        "fastmri": {"file9900001": "dataset kspace is missing", "file9900011": "the file is missing"},
    }
    for dataset, expected in reasons.items():
        manifest = published.manifest(dataset)
        left_out = manifest[manifest["status"] == "excluded"]
        assert set(left_out.index) == set(expected)
        for subject, reason in expected.items():
            assert reason in left_out.loc[subject, "reason"]
            assert left_out.loc[subject, "split"] == ""
        used = manifest[manifest["status"] == "ok"]
        assert dict(used["split"].value_counts()) == {"train": 2, "val": 1, "test": 1}

    # Who goes back to stopping is told what was left out.
    published.scan("IXI992-HH-0001", "T1").unlink()
    pairs.write_text("".join(pairs.read_text().splitlines(keepends=True)[:3]))
    outcome = published.prepare("stop")
    assert outcome.status != 0
    assert outcome.jobs == set()
    assert re.search(r"aligned/ixi-\w+/IXI990-HH-0001\.json: the subject was excluded", outcome.output)
