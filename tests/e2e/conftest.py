"""The tiny workflow, run once; every test works on a copy of the finished folder."""

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import Outcome, Workspace


def pytest_configure() -> None:
    # What runs in the background ignores Ctrl-C, and so would every Snakemake started from it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the second whole run: begun last, it would leave the other of two workers idle."""
    items.sort(key=lambda item: item.path.name != "test_interruption.py")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Outcome]:
    """The folder after one command, and what the command said. Not to be changed: take a ``copy``."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Above the worker's own folder: the first that asks makes the run, the others wait for it.
        place = place.parent
    said = place / "first_run.txt"
    with (place / "first_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            workspace = Workspace.of_repository(place / "first_run" / "repository")
            said.write_text(workspace.complete(cores=2).output, encoding="utf-8")
    return Workspace(place / "first_run" / "repository"), Outcome(0, said.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def finished(first_run: tuple[Workspace, Outcome]) -> Workspace:
    """The finished folder. Not to be changed: a test of another worker may copy it at this moment."""
    return first_run[0]


@pytest.fixture(scope="module")
def workspace(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One copy for those tests of a file that change nothing, or put it back."""
    copied = finished.copy(tmp_path_factory.mktemp("copy") / "repository")
    yield copied
    shutil.rmtree(copied.folder)


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of the finished folder to change at will."""
    workspace = finished.copy(tmp_path / "repository")
    yield workspace
    shutil.rmtree(workspace.folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """The repository without any results."""
    return Workspace.of_repository(tmp_path / "repository")
