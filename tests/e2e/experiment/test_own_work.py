"""docs/own_work.md, followed word for word on the tiny experiment."""

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Callable

import pytest
from guides import blocks
from workspace import Workspace

from data_prep.io.command import call

GUIDE = "own_work.md"


def program(module: str) -> Callable[..., object]:
    """The function that ``python -m module`` calls, the last of its module."""
    found = importlib.import_module(module)
    own = [value for value in vars(found).values() if getattr(value, "__module__", "") == module]
    return next(value for value in reversed(own) if callable(value) and not isinstance(value, type))


def run(command: str, workspace: Workspace) -> str:
    """What a command prints; those of the suite run in this process, which has imported torch already."""
    if command.startswith("python -m workflow."):
        module, *words = shlex.split(command)[2:]
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            call(program(module), words)
        return stream.getvalue()
    done = workspace.shell(command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def shape_of(text: str) -> list[str]:
    """A transcript without its numbers, and without widths that depend on them."""
    plain = re.sub(r"(device|commit|torch): .*", r"\1: #", text)
    plain = re.sub(r"[0-9a-f]{64}|[-−]?\d+(\.\d+)?", "#", plain)
    return [re.sub(r"[ ─]+", " ", line).strip() for line in plain.splitlines() if line.strip()]


def test_the_page_does_what_it_shows(copy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.folder)
    said = ""
    for block in blocks(GUIDE):
        if block.file:
            copy.path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            lines = block.text.replace("results/demo", "results/tiny").splitlines()
            said = "".join(run(line, copy) for line in lines)
        elif block.language == "":
            assert shape_of(said) == shape_of(block.text)
