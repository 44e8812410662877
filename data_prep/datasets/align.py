"""One subject's two scans on one grid, cropped, with a record and a picture to look at.

``python -m data_prep.datasets.align --dataset brats --target T2.nii.gz --auxiliary T1.nii.gz --subject
BraTS2021_00000 --source published --matrix 240 --slices 100 --output DIR`` writes ``<subject>.h5``, ``.json``
and ``.png``. How the scans come onto one grid is the dataset's own business.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np

from data_prep.datasets.contract import Dataset, DatasetId, Wanted, dataset_of, read_options
from data_prep.datasets.record import Aligned, Record
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import replacing
from data_prep.io.hashes import sha256_of
from data_prep.io.json_files import write_json
from data_prep.io.private import without_folders


def align(
    wanted: Wanted,
    subject: str,
    source: str,
    split_hint: str = "",
    options: Mapping[str, Any] | None = None,
    exclude: bool = False,
) -> Aligned:
    """Align one subject.

    Args:
        wanted: scans and size.
        subject: id.
        source: ``embedded`` or ``published``.
        split_hint: published split, if the dataset has several.
        options: the dataset's own, see ``Dataset.align_options``.
        exclude: whether a subject that cannot be used is recorded as excluded.

    Raises:
        BadInput: the subject cannot be used, and is not to be excluded.
    """
    record = Record(
        subject=subject,
        dataset=wanted.dataset.id,
        source=source,
        status="ok",
        reason="",
        site="",
        group="",
        slices=0,
        target_file=wanted.target.name,
        auxiliary_file=wanted.auxiliary.name,
        target_sha256=sha256_of(wanted.target),
        auxiliary_sha256=sha256_of(wanted.auxiliary),
        score_before=None,
        score_after=None,
        split_hint=split_hint,
    )
    try:
        record = replace(record, **wanted.dataset.described(record, wanted.target, wanted.auxiliary))
        return wanted.dataset.align(wanted, record, **(options or {}))
    except BadInput as error:
        if not exclude:
            raise
        # The record goes into the manifest, which is published; where scans lie is nobody's business there.
        names = {wanted.target: record.target_file, wanted.auxiliary: record.auxiliary_file}
        return excluded(record, without_folders(str(error), names), wanted.dataset, wanted.matrix or 0)


def excluded(record: Record, reason: str, dataset: Dataset, matrix: int) -> Aligned:
    """Return the empty result of a subject that cannot be used."""
    nothing = np.zeros((0, matrix, matrix), np.float32)
    record = replace(record, status="excluded", reason=reason)
    return Aligned(record, nothing.astype(dataset.target_dtype), nothing, lambda: _notice(record))


def _notice(record: Record) -> Any:
    """Draw a picture that says why there is none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 1.6), dpi=110)
    title = f"{record.subject} ({record.source}): excluded"
    figure.text(0.5, 0.74, title, ha="center", size=11, weight="bold")
    figure.text(0.5, 0.36, record.reason, ha="center", va="center", size=9, wrap=True)
    return figure


def write_slices(aligned: Aligned, output: Path) -> None:
    """Write ``<subject>.h5``.

    Raises:
        OSError: there is not enough room for the slices.
    """
    size = aligned.target.nbytes + aligned.auxiliary.nbytes + 4096
    path = output / f"{aligned.record.subject}.h5"
    with replacing(path, size) as temporary, h5py.File(temporary, "w") as file:
        file["target"] = aligned.target
        file["auxiliary"] = aligned.auxiliary


def write_aligned(aligned: Aligned, output: Path) -> None:
    """Write ``<subject>.h5``, ``.png`` and ``.json``, the record last: it says that the others are there."""
    stem = aligned.record.subject
    write_slices(aligned, output)
    with replacing(output / f"{stem}.png") as temporary:
        aligned.picture().savefig(temporary, metadata={"Software": None})
    write_json(output / f"{stem}.json", asdict(aligned.record))


@command
def main(
    dataset: Annotated[DatasetId, "whose scans these are"],
    target: Annotated[Path, "scan that is reconstructed"],
    auxiliary: Annotated[Path, "scan that guides"],
    subject: Annotated[str, "subject id"],
    source: Annotated[Literal["embedded", "published"], "of the scans"],
    matrix: Annotated[int, "height and width of the slices to write"],
    output: Annotated[Path, "folder, e.g. results/shared/aligned/brats-0123456789"],
    split_hint: Annotated[str, "published split, if there are several"] = "",
    slices: Annotated[int | None, "central slices to write (default: all that both have)"] = None,
    options: Annotated[str, "the dataset's own options, as JSON"] = "{}",
    bad_scans: Annotated[
        Literal["stop", "exclude"],
        "what a subject that cannot be used does: end with an error, or be recorded as excluded "
        "(default: stop)",
    ] = "stop",
) -> None:
    """Align a subject and write what comes of it."""
    entry = dataset_of(dataset)
    if split_hint not in entry.pools:
        known = " or ".join(filter(None, entry.pools)) or "leave it out"
        raise BadInput(f"--split-hint: {split_hint!r} is none of {entry.label}; give {known}")
    own = asdict(read_options(entry, "align", options))
    wanted = Wanted(entry, target, auxiliary, matrix, slices)
    aligned = align(wanted, subject, source, split_hint, own, bad_scans == "exclude")
    write_aligned(aligned, output)
    record = aligned.record
    print(f"{record.subject}: {record.status}, {record.slices} slices {record.reason}")
