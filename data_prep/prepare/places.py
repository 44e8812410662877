"""Where the data of experiments lies: in one folder beside theirs, once for all that ask for the same.

Raw scans, aligned subjects and split files stand in ``results/shared/``, in folders that the plan names by
all that their files depend on. An experiment keeps what tells of them: ``python -m data_prep.prepare.places
--data results/shared/data/brats-0123456789 --places JSON --output results/mine/data/brats`` copies manifest,
counts and fingerprints, and writes ``shared.json``, which names the folders.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import matching, read_rows, replacing
from data_prep.io.json_files import check_fields, read_as, write_json

SHARED = "shared"
KEPT = ("manifest.csv", "counts.csv", "prepared.json")
_FILE, _AGAIN = "shared.json", "delete it and run the workflow again"


@dataclass(frozen=True)
class Places:
    """Folders of one dataset, relative to ``results/shared/``.

    Attributes:
        raw: of embedded scans; of published ones it holds at most the record of their download.
        aligned: of the aligned subjects.
        data: of the split files.
        donors: names of the maps in ``donors/`` that embedded scans are made of.
    """

    raw: str
    aligned: str
    data: str
    donors: tuple[str, ...] = ()


def shared_folder(results: Path) -> Path:
    """Return the folder that an experiment shares with others, there or not."""
    return results.resolve().parent / SHARED


def read_places(results: Path, dataset: str) -> Places | None:
    """Return the places of a dataset of an experiment; None if none of its data was asked for.

    Raises:
        BadInput: the file is damaged, or names a folder outside ``results/shared/``.
    """
    path = results / "data" / dataset / _FILE
    if not path.exists():
        return None
    places = read_as(Places, path, damaged=_AGAIN)
    for name in (places.raw, places.aligned, places.data, *places.donors):
        if not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", name):
            raise BadInput(f"{path}: {name!r} is no folder of results/{SHARED}; {_AGAIN}")
    return places


def folder_of(results: Path, dataset: str, kind: str) -> Path:
    """Return where files of an experiment's dataset lie: ``raw``, ``aligned`` or ``data``.

    Raises:
        BadInput: the experiment does not say, or not in a usable way, or came here without what it shares.
    """
    places = read_places(results, dataset)
    if places is None:
        raise BadInput(
            f"{results / 'data' / dataset / _FILE}: no such file; run the workflow, which writes it"
        )
    folder: Path = shared_folder(results) / getattr(places, kind)
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: no such folder; bring results/{SHARED} along with {results.name}, or run the workflow"
        )
    return folder


def shared_files(results: Path, dataset: str) -> list[str]:
    """Return the shared files of an experiment's dataset, relative to the shared folder, in order.

    Those of subjects that only another experiment uses are left out, and so is what is not there.

    Raises:
        BadInput: a record of the experiment is missing or damaged.
    """
    places, shared = read_places(results, dataset), shared_folder(results)
    if places is None:
        return []
    manifest = results / "data" / dataset / "manifest.csv"
    own: set[str] = set()
    for row in read_rows(manifest, _AGAIN, _AGAIN):
        check_fields(row, dict.fromkeys(("subject", "target_file", "auxiliary_file"), str), manifest, _AGAIN)
        names = (row[key].rpartition("/")[2] for key in ("target_file", "auxiliary_file"))
        own |= {row["subject"], *names}
    found = [
        *(path for name in places.donors for path in matching(shared / "donors", f"{name}.*")),
        *_files(shared / places.data),
        *(
            path
            for folder in (places.raw, places.aligned)
            for path in _files(shared / folder)
            if path.name == "fetched.json" or _subject_of(path.name, own)
        ),
    ]
    return sorted(path.relative_to(shared).as_posix() for path in found)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, but for hidden ones: locks, and what killed processes left behind.

    Links to folders are not followed.

    Raises:
        OSError: a folder may not be read.
    """
    for path in matching(folder, "[!.]*"):
        if path.is_file():
            yield path
        elif not path.is_symlink():
            yield from _files(path)


def _subject_of(name: str, own: set[str]) -> bool:
    """Tell whether a file is named after one of these: by its whole name, or by what a mark follows."""
    ends = (match.start() for match in re.finditer(r"[._-]", name))
    return name in own or any(name[:end] in own for end in ends)


def keep(data: Path, places: Places, output: Path) -> None:
    """Copy what tells of a dataset's splits into an experiment, and say where they lie.

    Args:
        data: folder of the split files.
        places: as the plan names them.
        output: folder of the experiment's dataset.
    """
    for name in KEPT:
        with replacing(output / name) as temporary:
            shutil.copyfile(data / name, temporary)
    write_json(output / _FILE, places)


@command
def main(
    data: Annotated[Path, "folder of the split files, such as results/shared/data/brats-0123456789"],
    places: Annotated[Places, "as the plan names them"],
    output: Annotated[Path, "folder of the experiment, such as results/mine/data/brats"],
) -> None:
    """Copy what tells of a dataset's splits into an experiment, and say where they lie."""
    keep(data, places, output)
