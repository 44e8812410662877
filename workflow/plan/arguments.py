"""The options that every command has that shows results of an experiment."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, get_origin

from data_prep.io.json_files import from_json


def show_parser(
    module: str,
    description: str | None,
    kind: Any,
    source: tuple[str, str] = ("--results", "folder of the experiment"),
    output: str = "folder to write into",
) -> argparse.ArgumentParser:
    """Return a parser of ``--definition``, the source, and ``--output``.

    Args:
        module: that ``python -m`` runs.
        description: its docstring.
        kind: of definition that the option is read as; of a list of them it is ``--definitions``.
        source: option and help of what the numbers are read from.
        output: help of ``--output``; without one there is no such option.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    option = "--definitions" if get_origin(kind) is list else "--definition"
    parser.add_argument(
        option, required=True, type=partial(definition, kind, option), help="JSON, as workflow.plan prints it"
    )
    name, what = source
    parser.add_argument(name, required=True, type=Path, help=what)
    if output:
        parser.add_argument("--output", required=True, type=Path, help=output)
    return parser


def definition(kind: Any, option: str, text: str) -> Any:
    """Read an option that holds a definition.

    Raises:
        BadInput: it is something else; the message names the field.
    """
    return from_json(kind, text, option, "give what workflow.plan prints")


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the option of what is printed with a footer."""
    parser.add_argument("--configuration", required=True, help="sha256 of the configuration, for the footer")
