"""YAML files that people write: read without surprises, or refused with the file's name."""

from pathlib import Path
from typing import Any

import yaml

from data_prep.errors import BadInput, reading

_LARGEST_FILE = 2**20  # bytes; a hundred times the longest here
_MOST_DIGITS = 1000
# Beside its own errors, yaml lets those of numbers, dates and nesting pass.
_DAMAGE = (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, of which a few lines can stand for gigabytes, and without doubled keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse an alias where it stands, and a number whose parts (to base 60) take for ever to add."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem=f"an alias, near line {self.line + 1}, is not taken")
        node: yaml.Node | None = super().compose_node(parent, index)
        if node and node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MOST_DIGITS:
            raise yaml.composer.ComposerError(
                problem=f"a number of {len(node.value)} digits, near line {self.line + 1}"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice, of which YAML would take the last."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), keys[0])
            problem = f"the key {twice!r} is there twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return mapping


def read_yaml(path: Path) -> Any:
    """Read a file.

    Raises:
        BadInput: the file is missing, too large or no plain YAML; the message is one line.
    """
    if path.is_dir():
        raise BadInput(f"{path}: it is a folder and no file; give a file of it")
    absent, broken = "no such file; check its path", ("not valid YAML", "correct that line")
    with reading(path, absent, *broken, _DAMAGE, _LARGEST_FILE):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise BadInput(
                f"{path}: not valid YAML (line {line} is not UTF-8: byte {error.object[error.start]:#04x}); "
                "save the file as UTF-8"
            ) from error
        return yaml.load(text, _PlainLoader)
