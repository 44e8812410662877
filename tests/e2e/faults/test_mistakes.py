"""Mistakes and mishaps end the run with one sentence; once mended, the next run loses nothing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from workspace import Workspace

from data_prep.phantom.donors import CACHE_VARIABLE, DONORS, cache_folder

# ---- configuration and method folders -------------------------------------------------------------


def unknown_mask(content: Any) -> None:
    content["datasets"]["ixi"]["masks"].append("1d_uniform_7x")


def unknown_key(content: Any) -> None:
    content["training"]["epoch"] = 3


def unknown_method(content: Any) -> None:
    content["compare"] = ["zf", "transformer"]


def unknown_parameter(content: Any) -> None:
    content["methods"]["manet"]["parameters"]["depth"] = 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            unknown_mask,
            "config: datasets.ixi.masks: unknown mask '1d_uniform_7x'; known masks: 1d_uniform_6x,",
        ),
        (unknown_key, "config: training: Additional properties are not allowed ('epoch' was unexpected); "),
        (unknown_method, "config: compare: unknown method 'transformer': there is no folder "),
        (
            unknown_parameter,
            "config: methods.manet.parameters: unknown parameter 'depth'; methods/manet/method",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_mistake_in_the_configuration_stops_before_anything_runs(
    workspace: Workspace, change: Callable[[Any], None], sentence: str
) -> None:
    outcome = workspace.run(config=workspace.configure(change))
    assert outcome.status != 0
    assert [line for line in outcome.output.splitlines() if line.startswith(sentence)]
    assert outcome.jobs == set()
    assert "Traceback" not in outcome.output


def test_a_dry_run_counts_the_scans_of_a_folder_against_the_splits(workspace: Workspace) -> None:
    def more_than_there_are(content: Any) -> None:
        ixi = content["datasets"]["ixi"]
        del ixi["acquired_slices"], ixi["slice_spacing"]
        splits = {"train": {"at_most": 300}, "val": 1, "test": 2}
        ixi |= {"source": "published", "root": "few", "splits": splits}

    # Empty: names are counted, and no scan is opened.
    for modality, number in product(("T1", "T2"), range(3)):
        scan = workspace.path(f"few/IXI-{modality}/IXI{100 + number}-HH-1000-{modality}.nii.gz")
        scan.parent.mkdir(parents=True, exist_ok=True)
        scan.touch()
    config = workspace.configure(more_than_there_are)
    outcome = workspace.run("--dry-run", config=config)
    assert outcome.status != 0
    assert (
        "config: datasets.ixi.splits: test + val + train add up to at least 4, but there are 3 subjects in "
        "few; lower the numbers or add scans" in outcome.output
    )
    assert outcome.jobs == set()
    assert "Traceback" not in outcome.output


def test_a_malformed_method_description_stops_until_it_is_mended(workspace: Workspace) -> None:
    with workspace.edited("methods/xiang/method.yaml", "\norder: [1\n"):
        outcome = workspace.run()
        assert outcome.status != 0
        assert "methods/xiang/method.yaml: not valid YAML (" in outcome.output
        assert outcome.jobs == set()
    with workspace.edited("methods/xiang/method.yaml", "\ncolour: red\n"):
        assert "methods/xiang/method.yaml: the file: Additional properties" in workspace.run().output
    assert workspace.dry().jobs == set()


# ---- donors ---------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(finished: Workspace, tmp_path: Path) -> Path:
    """A donor's archive that is not what was published, in a cache folder of its own."""
    assert finished.results.is_dir()  # which filled the user's cache
    for donor in DONORS:
        (tmp_path / donor.archive).symlink_to(cache_folder() / donor.archive)
    path = tmp_path / DONORS[1].archive
    path.unlink()
    path.write_bytes(b"not what was published")
    return path


MAPS = "results/shared/donors/brain_sym.json"


def test_a_donor_with_a_wrong_checksum_is_not_used(copy: Workspace, spoilt: Path) -> None:
    shutil.rmtree(copy.path(MAPS).parent)
    outcome = copy.run(MAPS, env={CACHE_VARIABLE: str(spoilt.parent)})
    assert outcome.status != 0
    assert outcome.sentence.startswith(f"{spoilt}: its SHA-256 is ")
    assert f"expected {DONORS[1].sha256}" in outcome.sentence
    assert "run again to download it anew" in outcome.sentence
    assert not spoilt.exists()
    assert not copy.path(MAPS).exists()


@pytest.mark.long
def test_after_a_wrong_checksum_the_next_run_completes(copy: Workspace, spoilt: Path) -> None:
    shutil.rmtree(copy.path(MAPS).parent)
    assert copy.run(MAPS, env={CACHE_VARIABLE: str(spoilt.parent)}).status != 0
    # Put into place by hand here: the test needs no network.
    spoilt.symlink_to(cache_folder() / spoilt.name)
    outcome = copy.complete(MAPS, env={CACHE_VARIABLE: str(spoilt.parent)})
    assert dict(outcome.rules) == {"fetch_donor": 1}


# ---- full disk ------------------------------------------------------------------------------------


def emptied(workspace: Workspace) -> str:
    """Remove IXI's splits, and return their folder below the repository's."""
    folder = workspace.place("data", "ixi")
    shutil.rmtree(folder)
    return folder.relative_to(workspace.folder).as_posix()


def test_a_file_size_limit_is_told_and_the_next_run_goes_on(copy: Workspace) -> None:
    largest = (copy.place("data", "ixi") / "train.h5").stat().st_size
    splits = emptied(copy)
    outcome = copy.run(f"{splits}/manifest.csv", largest_file=largest // 2)
    assert outcome.status != 0
    assert outcome.sentence.startswith(f"{splits}/train.h5: File too large (EFBIG): it cannot")
    assert "free disk space, then run again" in outcome.sentence
    assert not list(copy.path(splits).glob("*.h5"))
    outcome = copy.complete(f"{splits}/manifest.csv")
    assert dict(outcome.rules) == {"prepare": 1}


@pytest.fixture
def small_disk(copy: Workspace) -> Iterator[Path]:
    """A disk of 64 kB in the place of IXI's splits; only root can have one."""
    folder = copy.path(emptied(copy))
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_next_run_goes_on(copy: Workspace, small_disk: Path) -> None:
    splits = small_disk.relative_to(copy.folder).as_posix()
    outcome = copy.run(f"{splits}/manifest.csv")
    assert outcome.status != 0
    assert outcome.sentence.startswith(f"{splits}/train.h5: No space left on device (ENOSPC): it cannot")
    assert "free disk space, then run again" in outcome.sentence
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    outcome = copy.complete(f"{splits}/manifest.csv")
    assert dict(outcome.rules) == {"prepare": 1}


def test_a_disk_that_fills_during_a_training_is_told_and_the_next_run_goes_on(copy: Workspace) -> None:
    # Wide enough that its state is larger than any file that Snakemake itself writes.
    changed = copy.configure(lambda content: content["methods"]["unet"]["parameters"].update(channels=16))
    target = "results/tiny/runs/ixi/1d_uniform_6x/unet/seed0/metrics.csv"
    outcome = copy.run(target, config=changed, largest_file=300_000)
    assert outcome.status != 0
    assert outcome.sentence.startswith(f"{Path(target).parent}/resume/state.pt: File too large (EFBIG): ")
    outcome = copy.complete(target, config=changed)
    assert dict(outcome.rules) == {"train": 1}
