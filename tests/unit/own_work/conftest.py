"""One small experiment, made once; tests that change it take a copy."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_experiment import make_experiment

from data_prep.io.command import call

Command = Callable[..., str]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the results. Not to be changed."""
    return make_experiment(tmp_path_factory.mktemp("own_work"))


@pytest.fixture(params=[b"caf\xe9", b"knee\nwrote somewhere\x1b[2K"], ids=["bytes", "line"])
def odd(request: pytest.FixtureRequest) -> str:
    """The beginning of a file's name that is no UTF-8, or that ends a line and begins another."""
    return os.fsdecode(request.param)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[str], list[str]]:
    """Return the lines that a command printed and said, each of which a terminal can only show."""

    def check(printed: str) -> list[str]:
        found = [*printed.split("\n"), *capsys.readouterr().err.split("\n")]
        assert all(line.isprintable() and not line.startswith("wrote somewhere") for line in found)
        return found

    return check


@pytest.fixture
def said() -> Command:
    """Call a command with the words of a command line and return what it printed."""

    def run(function: Callable[..., object], *words: object) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            call(function, [str(word) for word in words])
        return stream.getvalue()

    return run
