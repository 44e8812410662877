"""Masks by name: families and the labels of their masks."""

from functools import cache

from data_prep.contracts.discovery import entries_of
from data_prep.errors import BadInput
from data_prep.masks import families as mask_families
from data_prep.masks.contract import MaskFamily


@cache
def families() -> dict[str, tuple[str, MaskFamily]]:
    """Return every family with its module, by pattern, in the order of lists and tables.

    Raises:
        BadInput: a file defines no family, or one whose pattern another has; the message names the file.
    """
    found = entries_of(mask_families, "FAMILY", MaskFamily, "pattern", "docs/adding_a_mask.md")
    return dict(sorted(found.items(), key=lambda entry: (entry[1][1].order, entry[0])))


def masks_of(drawn: bool) -> tuple[str, ...]:
    """Return the names of the masks that are drawn for each file, or of the frozen ones, as in tables."""
    return tuple(name for _, family in families().values() if family.drawn == drawn for name in family.names)


def all_masks() -> tuple[str, ...]:
    """Return the names of all masks in the order of tables."""
    return tuple(name for _, family in families().values() for name in family.names)


def parse_mask(name: str) -> tuple[MaskFamily, int]:
    """Return family and nominal acceleration of a mask's name.

    Raises:
        BadInput: no family has such a mask.
    """
    pattern, _, acceleration = name.rpartition("_")
    if name not in all_masks():
        raise BadInput(f"mask `{name}` is unknown; choose one of {', '.join(all_masks())}")
    return families()[pattern][1], int(acceleration.removesuffix("x"))


def label(name: str) -> str:
    """Return a mask's name as the paper prints it, e.g. 2D-Radial-9× or Equispaced-4×."""
    family, acceleration = parse_mask(name)
    words = [word.upper() if word[0].isdigit() else word.capitalize() for word in family.pattern.split("_")]
    return f"{'-'.join(words)}-{acceleration}×"


def acs_lines(name: str, width: int) -> int:
    """Number of fully sampled centre lines; 0 for the 2D patterns, whose centre is dense by construction."""
    family, acceleration = parse_mask(name)
    return family.acs(width, acceleration)
