"""CUDA's driver comes before torch; then every test has a GPU that is not there, and a small dataset."""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_driver import load_driver

# What is loaded needs no file.
with tempfile.TemporaryDirectory() as folder:
    load_driver(Path(folder))

from pretended_gpu import PretendedGpu, pretended
from tiny_runs import write_mask, write_splits

from workflow.evaluate import evaluation
from workflow.train.loop import Training

# In these the host must not wait for the GPU, but for the sums that a validation ends with.
WATCHED = {
    "step": (Training, "_step"),
    "validation": (Training, "_validate"),
    "evaluation": (evaluation, "reconstruct_volume"),
}


@pytest.fixture(scope="session")
def ixi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ixi")
    write_splits(folder)
    write_mask(folder)
    return folder


@pytest.fixture(scope="session")
def fastmri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fastmri")
    write_splits(folder, "fastmri")
    write_mask(folder, "fastmri")
    return folder


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    with pretended() as mode:
        for what, (owner, name) in WATCHED.items():
            real = getattr(owner, name)

            @functools.wraps(real)
            def watched(*arguments, what=what, real=real):
                with mode.watching(what):
                    return real(*arguments)

            monkeypatch.setattr(owner, name, watched)
        yield mode
