"""Start a method: ``python -m methods.new NAME`` copies ``methods/_template`` with the name filled in.

The new folder is a complete, working method; docs/adding_a_method.md tells how to go on from there.
"""

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import replacing
from methods.registry import METHODS_FOLDER, installed_methods

TEMPLATE = "_template"
_FILES = ("method.yaml", "model.py", "README.md")


def check_name(name: str, folder: Path = METHODS_FOLDER) -> None:
    """Refuse a name that cannot be, or already is, a method's.

    Raises:
        BadInput: the name is malformed, a word of Python, or taken by a folder or module.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise BadInput(
            f"NAME: {name!r} is no method's name; use letters a-z, digits and _, starting with a letter"
        )
    if keyword.iskeyword(name):
        raise BadInput(f"NAME: {name!r} is a word of Python and cannot be imported; choose another")
    if name == TEMPLATE.lstrip("_"):
        raise BadInput(f"NAME: {name!r} is what the template calls itself; choose another")
    if name in installed_methods():
        package, _ = installed_methods()[name]
        raise BadInput(f"NAME: {name!r} is a method of the installed package {package}; choose another name")
    for taken in (folder / name, folder / f"{name}.py"):
        if taken.exists():
            raise BadInput(f"NAME: methods/{taken.name} exists already; choose another name or delete it")


def create(name: str, folder: Path = METHODS_FOLDER) -> Path:
    """Copy the template to ``folder``/``name`` and return that folder.

    Raises:
        BadInput: the name cannot be a method's, or is taken.
    """
    check_name(name, folder)
    made, words = folder / name, name.split("_")
    # All of it or nothing: half a method would be refused by every command.
    with replacing(made) as temporary:
        temporary.mkdir()
        for file in _FILES:
            text = (METHODS_FOLDER / TEMPLATE / file).read_text(encoding="utf-8")
            # The class first: its name holds the label's.
            named = f"{''.join(map(str.capitalize, words))}Reconstruction"
            text = text.replace("TemplateReconstruction", named)
            text = text.replace("Template", " ".join(words).capitalize()).replace("template", name)
            (temporary / file).write_text(text, encoding="utf-8")
    return made


@command
def main(name: Annotated[str, "name of the new folder: a-z, 0-9 and _"], /) -> None:
    """Make the folder and say what to do next."""
    create(name)
    for file in _FILES:
        sys.stdout.write(f"methods/{name}/{file}\n")
    sys.stdout.write(f"Next: python -m methods.check {name}\n")
