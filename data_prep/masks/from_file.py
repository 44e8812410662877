"""Masks that users bring as files: checked here, then frozen, hashed and drawn like all others.

A mask's full name ends in its nominal acceleration, as every mask's does; of a file, that is the realised
one, rounded. The names that a configuration gives are known to a process, and to all that it starts, by the
environment variable ``MANET_BENCH_MASKS``; ``data_prep/masks/families/from_file.py`` makes families of them.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data_prep.errors import BadInput, reading
from data_prep.io.files import matching
from data_prep.masks.contract import Mask
from data_prep.masks.registry import families

VARIABLE = "MANET_BENCH_MASKS"
_NAME = "[a-z0-9]+(_[a-z0-9]+)*"
_SAVE = "save it with numpy.save(file, mask.astype(bool))"


def read_mask(path: Path, height: int, width: int) -> Mask:
    """Read a mask (height, width), True where sampled, from an array of this shape or of its lines (width,).

    Raises:
        BadInput: the file is missing or no such array, or the mask cannot be used.
        OSError: the system cannot read it now.
    """
    absent = "no such file; correct the path, which counts from the repository's folder"
    with reading(path, absent, "not a NumPy array of numbers (.npy)", _SAVE, (ValueError, EOFError)):
        # Mapped: shape and type are known before anything is read. Objects, which would be run, are refused.
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(stored, np.ndarray):
        raise BadInput(f"{path}: an archive, not one array; {_SAVE}")
    if stored.dtype != np.bool_:
        raise BadInput(f"{path}: its values are {stored.dtype}, not bool; {_SAVE}")
    if stored.shape not in ((height, width), (width,)):
        shape = " x ".join(map(str, stored.shape)) or "a single value"
        raise BadInput(
            f"{path}: has the shape {shape}, but this dataset's masks are {height} x {width}, or {width} "
            "whole lines; bring it to that size, or change matrix"
        )
    mask = np.array(np.broadcast_to(stored, (height, width)))
    if not mask.any():
        raise BadInput(f"{path}: samples nothing; set sampled positions to True")
    if not mask[height // 2, width // 2]:
        raise BadInput(
            f"{path}: does not sample the zero frequency, which stands at [{height // 2}, {width // 2}]; "
            "apply numpy.fft.fftshift if it stands in a corner"
        )
    if acceleration_of(mask) < 2:
        raise BadInput(
            f"{path}: samples {mask.mean():.0%} of all positions, which leaves nothing to do; sample at most "
            "two thirds"
        )
    return mask


def acceleration_of(mask: Mask) -> int:
    """Return the nominal acceleration of a mask from a file: the realised one, rounded."""
    return round(mask.size / int(mask.sum()))


def full_name(name: str, mask: Mask, place: str) -> str:
    """Return the name under which a mask from a file is run: with its acceleration, where it has none.

    Args:
        name: that the user gave.
        mask: what the file holds.
        place: of the configuration, for messages.

    Raises:
        BadInput: the name cannot be one, is a family's, or tells of another acceleration.
    """
    if not re.fullmatch(_NAME, name) or len(name) > 60:
        raise BadInput(f"{place}: {name!r} cannot be a name; use up to 60 of a-z, 0-9, and _ between words")
    nominal = acceleration_of(mask)
    told = re.fullmatch(r"(.+)_(\d+)x", name)
    pattern = told[1] if told else name
    if pattern in _of_families():
        raise BadInput(f"{place}: {name} is of a family of masks; give the file another name")
    if told and int(told[2]) != nominal:
        raise BadInput(
            f"{place}: {name} tells of {told[2]}x, but the mask samples one position in "
            f"{mask.size / int(mask.sum()):.2f}; call it {pattern}_{nominal}x"
        )
    return f"{pattern}_{nominal}x"


def register(names: Iterable[str]) -> None:
    """Make names of masks from files known to this process, and to those that it starts."""
    known = {*registered(), *names}
    os.environ[VARIABLE] = ",".join(sorted(known))
    families.cache_clear()


def registered() -> list[str]:
    """Return the names of masks from files that are known."""
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def register_found(results: Path) -> None:
    """Make the names of an experiment's masks known to a command that shows results."""
    register_unknown(path.stem for path in matching(results, "masks/*/*.json"))


def register_unknown(names: Iterable[str]) -> None:
    """Make names of masks of finished runs known that are of no family: those are from files."""
    own = _of_families()
    register(
        name
        for name in names
        if re.fullmatch(f"{_NAME}_[1-9][0-9]{{0,6}}x", name) and name.rpartition("_")[0] not in own
    )


def _of_families() -> set[str]:
    """Return the patterns of all masks that are from no file."""
    return {*families()} - {known.rpartition("_")[0] for known in registered()}
