"""What the steps that align one subject have in common: their options and the three files that they write."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.files import replacing


def add_options(parser: argparse.ArgumentParser, noun: str, example: str) -> None:
    """Add the options ``--source``, ``--bad-scans`` and ``--output``.

    Args:
        parser: of the step.
        noun: what is aligned, for the help: "scan" or "pair".
        example: a folder that ``--output`` may name.
    """
    parser.add_argument(
        "--source", choices=("embedded", "published"), required=True, help="where the scans come from"
    )
    parser.add_argument(
        "--bad-scans",
        choices=("stop", "exclude"),
        default="stop",
        help=f"what a {noun} that cannot be used does: end with an error, or be recorded as excluded "
        "(default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, help=f"folder, e.g. {example}")


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--matrix`` and ``--slices``."""
    parser.add_argument("--matrix", type=int, required=True, help="height and width of the slices to write")
    parser.add_argument("--slices", type=int, required=True, help="number of central slices to write")


def write_subject(
    output: Path,
    record: Mapping[str, Any],
    target: NDArray[np.generic],
    auxiliary: NDArray[np.generic],
    draw: Callable[[Path], None],
) -> None:
    """Write ``<subject>.h5``, ``.png`` and ``.json``, the record last: it says that the others are there.

    Args:
        output: folder.
        record: the fields of the JSON file, ``subject`` among them.
        target: (slice, height, width); without slices if the subject is excluded.
        auxiliary: of the same shape.
        draw: draws the quality picture to a path.

    Raises:
        BadInput: there is not enough room for the slices.
    """
    stem = record["subject"]
    size = target.nbytes + auxiliary.nbytes + 4096
    with replacing(output / f"{stem}.h5", size) as temporary, h5py.File(temporary, "w") as file:
        file["target"] = target
        file["auxiliary"] = auxiliary
    draw(output / f"{stem}.png")
    with replacing(output / f"{stem}.json") as temporary:
        text = json.dumps(record, indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
