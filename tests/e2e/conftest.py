"""The tiny workflow, run once; every test works on a copy of the finished folder."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import Outcome, Workspace


def pytest_configure() -> None:
    # What runs in the background ignores Ctrl-C, and so would every Snakemake started from it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Outcome]:
    """The folder after one command, and what the command said. Not to be changed: take a ``copy``."""
    workspace = Workspace.of_repository(tmp_path_factory.mktemp("tiny") / "repository")
    return workspace, workspace.complete(cores=2)


@pytest.fixture(scope="session")
def finished(first_run: tuple[Workspace, Outcome]) -> Workspace:
    """The finished folder. Not to be changed."""
    return first_run[0]


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
