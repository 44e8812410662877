"""Commands: a function is the program, its parameters are the options."""

import ast
import importlib
import inspect
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from data_prep.errors import BadInput
from data_prep.io.command import NAMES, SPREAD, Choices, WrongUse, call, exclusive

PACKAGES = ("data_prep", "methods", "workflow")
ROOT = Path(__file__).parents[3]
seen: dict[str, Any] = {}


@dataclass(frozen=True)
class Point:
    """A place.

    Attributes:
        x: how far to the right,
            in pixels.
        names: what it is called.
    """

    x: int
    names: tuple[str, ...] = ()


def program(
    file: Annotated[Path, "what is read"],
    extra: Annotated[tuple[int, ...], "more of it"] = (),
    /,
    *,
    slice_spacing: Annotated[float, "100 % in mm"],
    kind: Annotated[Literal["a", "b"], "which"] = "a",
    known: Annotated[str | None, Choices(lambda: ("one", "two")), "whose"] = None,
    point: Annotated[Point | None, "where"] = None,
    points: Annotated[list[Point] | None, "where they all are"] = None,
    own: Annotated[Point, SPREAD],
    masks: Annotated[tuple[str, ...], NAMES, "under which"] = (),
    also: Annotated[list[Literal["truth", "error"]] | None, NAMES, "what else"] = None,
    big: Annotated[str, str.upper, "large letters"] = "",
    name: Annotated[str, "what it is called"] = "",
    deep: Annotated[bool, "all of it"] = False,
    **lists: Annotated[Path, Choices(lambda: ("train_list",)), "a list"],
) -> None:
    """Keep what was given."""
    seen.clear()
    seen.update({key: value for key, value in locals().items() if key != "name"})
    exclusive({"--deep": deep, "--big": big or None})
    if slice_spacing < 0:
        raise WrongUse("--slice-spacing must not be negative")


def lease(*words: Annotated[str, "the command"], gpus: Annotated[int, "how many"] = 1) -> None:
    """Keep what was given."""
    seen.update(locals())


NEEDED = ["here", "--slice-spacing", "2.5", "--x", "3"]


def test_what_is_not_given_has_its_default_and_every_value_its_type():
    call(program, NEEDED)
    assert seen == {
        **{
            "file": Path("here"),
            "extra": (),
            "slice_spacing": 2.5,
            "kind": "a",
            "known": None,
            "point": None,
        },
        **{"points": None, "own": Point(3), "masks": (), "also": None},
        **{"big": "", "deep": False, "lists": {}},
    }


def test_what_is_given_is_read_as_its_annotation_says():
    more = ["1", "2", "--kind", "b", "--known", "two", "--big", "x", "--names", "p", "q"]
    more += [
        "--masks",
        "u,v",
        "w",
        "--also",
        "truth",
        "--point",
        '{"x": 1}',
        "--points",
        '[{"x": 1}, {"x": 2}]',
        "--train-list",
        "l.csv",
    ]
    call(program, [NEEDED[0], *more[:2], *NEEDED[1:], *more[2:]])
    assert seen == {
        **{"file": Path("here"), "extra": (1, 2), "slice_spacing": 2.5, "kind": "b", "known": "two"},
        **{"point": Point(1), "points": [Point(1), Point(2)], "own": Point(3, ("p", "q"))},
        **{
            "masks": ("u", "v", "w"),
            "also": ["truth"],
            "big": "X",
            "deep": False,
            "lists": {"train_list": Path("l.csv")},
        },
    }


def test_of_a_list_that_is_given_twice_nothing_is_lost():
    call(program, [*NEEDED, "--names", "p", "q", "--names", "r", "--points", "[]"])
    assert seen["own"].names == ("p", "q", "r")


@pytest.mark.parametrize(
    "words", [("a", "b", "c"), ("a,b,c",), ("a,", "b", ",c"), ("a, b", "c"), ("a", "--masks", "b,c")]
)
def test_names_may_be_separated_by_spaces_and_commas(words):
    call(program, [*NEEDED, "--masks", *words, "--also", "truth,error"])
    assert (seen["masks"], seen["also"]) == (("a", "b", "c"), ["truth", "error"])


def test_the_rest_of_the_line_is_kept_with_its_own_options():
    call(lease, ["--gpus", "2", "--", "python", "-m", "x", "--gpus", "7", ""])
    assert seen["gpus"] == 2
    assert [word for word in seen["words"] if word != "--"] == ["python", "-m", "x", "--gpus", "7", ""]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--kind", "c"], "argument --kind: invalid choice: 'c' (choose from 'a', 'b')"),
        (["--known", "three"], "argument --known: invalid choice: 'three' (choose from 'one', 'two')"),
        (["--x", "much"], "argument --x: invalid int value: 'much'"),
        (["--depth", "1"], "unrecognized arguments: --depth 1"),
        (["--slice-spacing=-1"], "--slice-spacing must not be negative"),
        (["--deep", "--big", "x"], "argument --big: not allowed with argument --deep"),
        (["--name", " "], "argument --name: is empty; give a value"),
        (["--train-list", ""], "argument --train-list: is empty; give a value"),
        (["--known", ""], "argument --known: is empty; give a value"),
        (["--names", "p", ""], "argument --names: is empty; give a value"),
        (["--names"], "argument --names: expected at least one argument"),
        (["--masks"], "argument --masks: expected at least one argument"),
        (
            ["--masks", ", "],
            "argument --masks: names nothing; give names, separated by spaces or commas",
        ),
        (
            ["--masks", "u", "results/demo"],
            "argument --masks: 'results/demo' is a path and no name; what a command reads goes before its "
            "options",
        ),
        (
            ["--also", "truth,mask"],
            "argument --also: invalid choice: 'mask' (choose from 'truth', 'error')",
        ),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(more, said, capsys):
    with pytest.raises(SystemExit) as end:
        call(program, [*NEEDED, *more])
    assert end.value.code == 2
    usage, _, sentence = capsys.readouterr().err.rpartition("error: ")
    assert usage.startswith(f"usage: python -m {__name__}")
    assert sentence == f"{said}\n"


def test_what_must_be_given_is_named(capsys):
    with pytest.raises(SystemExit):
        call(program, [])
    assert "are required: file, --slice-spacing, --x" in capsys.readouterr().err
    with pytest.raises(WrongUse, match="one of the arguments file --config is required"):
        exclusive({"file": None, "--config": None}, needed=True)


def test_json_of_another_form_names_option_and_field():
    with pytest.raises(BadInput, match="--point: field x is 'far', not a whole number; give what workflow"):
        call(program, [*NEEDED, "--point", '{"x": "far"}'])


def test_help_is_that_of_annotations_and_of_attributes(capsys):
    with pytest.raises(SystemExit) as end:
        call(program, ["--help"])
    assert end.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith(f"usage: python -m {__name__} file [extra ...] [-h] ")
    for said in (
        "Commands: a function is",
        "100 % in mm",
        "--x X how far to the right, in pixels",
        "what is read",
    ):
        assert said in told


def commands() -> dict[str, str]:
    """Module -> name of the function, for every command of the packages."""
    found = {}
    for path in (
        path for name in ("data_prep", "methods", "workflow") for path in (ROOT / name).rglob("*.py")
    ):
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        marked = [node for node in functions if "command" in map(ast.unparse, node.decorator_list)]
        assert marked in ([], nodes[-1:]), f"{path}: what follows a command does not exist yet when it runs"
        found |= {".".join(path.relative_to(ROOT).with_suffix("").parts): node.name for node in marked}
    return found


COMMANDS = commands()


@pytest.mark.parametrize(("module", "name"), COMMANDS.items())
def test_every_command_has_help_for_every_option(module, name, capsys):
    function = getattr(importlib.import_module(module), name)
    with pytest.raises(SystemExit) as end:
        call(function, ["--help"])
    assert end.value.code == 0
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    placed, _, options = capsys.readouterr().out.partition(" [-h]")
    assert placed.startswith(f"usage: python -m {module.removesuffix('.__main__')}")
    # Behind an option that takes several words, what has its place would be one of them.
    assert len(placed.split()) > 3 or inspect.Parameter.POSITIONAL_ONLY not in kinds
    assert options


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("workflow.predict", "--run run --target t2 --auxiliary t1 --to file/out.nii.gz"),
        ("workflow.score", "--predictions folder --experiment results --to file/out.csv"),
        ("workflow.draw", "results --to file/out.png"),
        ("workflow.weights", "pack run --licence CC0 --to file/out.ckpt"),
        ("workflow.export", "results --to file"),
        ("workflow.compare.__main__", "results others --to file"),
        ("workflow.estimate", "mine.yaml --to file"),
        ("data_prep.check", "folder --csv file/out.csv"),
        ("data_prep.phantom.donors", "--maps knee --output file"),
    ],
)
def test_where_nothing_can_be_written_is_told_before_anything_is_read(module, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    function = getattr(importlib.import_module(module), COMMANDS[module])
    option = words.split()[-2]
    with pytest.raises(BadInput, match=f"{option}: file is no folder; give one to write into"):
        call(function, words.split())


def test_a_command_runs_as_a_program_only():
    done = subprocess.run(
        [sys.executable, "-m", "workflow.verify", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: nowhere: no such folder; give the results of an experiment")
