"""Start a paper: ``python -m workflow.new_paper ID`` copies ``workflow/papers/_template`` with its name.

The new folder is a complete paper; docs/adding_a_paper.md tells how to go on from there.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import replacing
from workflow.papers.contract import FILES, PAPERS

TEMPLATE = "_template"


def create(name: str, folder: Path = PAPERS) -> Path:
    """Copy the template to ``folder``/``name`` and return that folder.

    Raises:
        BadInput: the name is malformed or taken.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name == TEMPLATE.lstrip("_"):
        raise BadInput(
            f"ID: {name!r} is no paper's id; use letters a-z, digits and _, starting with a letter"
        )
    made = folder / name
    if made.exists():
        raise BadInput(f"ID: workflow/papers/{name} exists already; choose another id or delete it")
    # All of it or nothing: half a paper would be refused by every command.
    with replacing(made) as temporary:
        temporary.mkdir()
        for file in (*FILES, "README.md"):
            text = (PAPERS / TEMPLATE / file).read_text(encoding="utf-8")
            text = text.replace("Template", name.replace("_", " ").capitalize()).replace("template", name)
            (temporary / file).write_text(text, encoding="utf-8")
    return made


@command
def main(name: Annotated[str, "name of the new folder: a-z, 0-9 and _"], /) -> None:
    """Make the folder and say what to do next."""
    create(name)
    for file in (*FILES, "README.md"):
        sys.stdout.write(f"workflow/papers/{name}/{file}\n")
    sys.stdout.write(f"Next: python -m workflow.check_paper {name}\n")
