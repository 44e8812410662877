"""One subject of a further dataset: both scans cropped or padded, with a record and a picture to look at.

``python -m data_prep.datasets.align --dataset brats --target T2.nii.gz --auxiliary T1.nii.gz --subject
BraTS2021_00000 --source published --matrix 240 --slices 100 --output DIR`` writes ``<subject>.h5``, ``.json``
and ``.png``. Nothing is interpolated: the dataset's file reads both scans onto one grid.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.contract import FurtherDataset, further_dataset
from data_prep.datasets.record import Record
from data_prep.errors import BadInput, run_command
from data_prep.io.files import replacing
from data_prep.io.hashes import sha256_of
from data_prep.volumes import Volume, central


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


@dataclass(frozen=True)
class Pair:
    """A subject's two scans.

    Attributes:
        record: what became of the subject.
        target, auxiliary: on one grid, (width, height, slice), cropped; without slices if excluded.
    """

    record: Record
    target: Volume
    auxiliary: Volume


def begin(dataset: FurtherDataset, subject: str, source: str, target: Path, auxiliary: Path) -> Record:
    """Return the record of a subject before its scans are read."""
    return Record(
        subject=subject,
        dataset=dataset.id,
        source=source,
        status="ok",
        reason="",
        site="",
        group=dataset.group(subject),
        slices=0,
        # With their folders: names alone may be the same for every subject.
        target_file=dataset.target_file.format(subject=subject),
        auxiliary_file=dataset.auxiliary_file.format(subject=subject),
        target_sha256=sha256_of(target),
        auxiliary_sha256=sha256_of(auxiliary),
        score_before=None,
        score_after=None,
        split_hint="",
    )


def align(
    dataset: FurtherDataset, target: Path, auxiliary: Path, matrix: int, slices: int, record: Record
) -> Pair:
    """Read a subject's scans and take the central matrix and slices of both.

    Args:
        dataset: whose scans these are.
        target: path of the target scan.
        auxiliary: path of the auxiliary scan.
        matrix: wanted height and width; larger scans are cropped about their centre, smaller ones padded
            with zeros.
        slices: wanted number of central axial slices.
        record: to be completed.

    Raises:
        BadInput: a scan cannot be used, or has too few slices.
    """
    volumes = dataset.read(target, auxiliary)
    available = [int(volume.data.shape[2]) for volume in volumes]
    if min(available) < slices:
        raise BadInput(
            f"{target}: {min(available)} axial slices, but {slices} are wanted; set "
            f"datasets.{dataset.id}.slices lower or leave the scan out"
        )
    cropped = [central(volume, (matrix, matrix, slices)) for volume in volumes]
    for path, volume in zip((target, auxiliary), cropped, strict=True):
        if not volume.data.any():
            raise BadInput(f"{path}: the central slices hold no signal; leave the scan out")
    record = replace(record, slices=slices, target_slices=available[0], auxiliary_slices=available[1])
    return Pair(record, *cropped)


def excluded(record: Record, reason: str, matrix: int) -> Pair:
    """Return the empty result of a subject that cannot be used."""
    nothing = Volume(np.zeros((matrix, matrix, 0), np.float32), np.eye(4))
    return Pair(replace(record, status="excluded", reason=reason), nothing, nothing)


def write(pair: Pair, dataset: FurtherDataset, output: Path) -> None:
    """Write ``<subject>.h5``, ``.png`` and ``.json``."""
    # (width, height, slice) transposed is (slice, height, width).
    target, auxiliary = (np.ascontiguousarray(scan.data.T) for scan in (pair.target, pair.auxiliary))
    write_subject(output, vars(pair.record), target, auxiliary, lambda path: draw(pair, dataset, path))


def draw(pair: Pair, dataset: FurtherDataset, path: Path) -> None:
    """Draw the central slice: target, auxiliary, and both as a chequerboard, where edges should meet."""
    from matplotlib.figure import Figure

    record = pair.record
    figure = Figure(figsize=(9.6, 3.7), dpi=110)
    title = f"{record.subject} ({record.source})"
    if record.status == "excluded":
        figure.text(0.5, 0.7, f"{title}: excluded", ha="center", size=11, weight="bold")
        figure.text(0.5, 0.4, record.reason, ha="center", va="center", size=9, wrap=True)
    else:
        middle = pair.target.data.shape[2] // 2
        target, auxiliary = (shown(volume.data[:, :, middle].T) for volume in (pair.target, pair.auxiliary))
        fields = np.indices(target.shape) // max(1, target.shape[0] // 6)
        panels = {
            dataset.target: target,
            dataset.auxiliary: auxiliary,
            "chequerboard of both": np.where(fields.sum(0) % 2 == 0, target, auxiliary),
        }
        figure.text(
            0.5, 0.94, f"{title}: slice {middle} of {record.slices}", ha="center", size=11, weight="bold"
        )
        for column, (name, image) in enumerate(panels.items()):
            axes = figure.add_axes((0.01 + column * 0.33, 0.02, 0.32, 0.82))
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(name, fontsize=9)
            axes.set_axis_off()
    with replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def shown(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a slice so that nearly all of its signal lies between 0 and 1."""
    signal = image[image > 0]
    bright = float(np.percentile(signal, 99.5)) if signal.size else 1.0
    return np.asarray(np.clip(image / bright, 0, 1), dtype=np.float32)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.datasets.align", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--dataset", required=True, help="a file of data_prep/further_datasets/, e.g. brats")
    parser.add_argument("--target", type=Path, required=True, help="scan that is reconstructed")
    parser.add_argument("--auxiliary", type=Path, required=True, help="scan that guides")
    parser.add_argument("--subject", required=True, help="subject id")
    add_size_options(parser)
    add_options(parser, "scan", "results/mine/aligned/brats")
    options = parser.parse_args()
    dataset = further_dataset(options.dataset)
    record = begin(dataset, options.subject, options.source, options.target, options.auxiliary)
    try:
        pair = align(dataset, options.target, options.auxiliary, options.matrix, options.slices, record)
    except BadInput as error:
        if options.bad_scans == "stop":
            raise
        pair = excluded(record, str(error), options.matrix)
    write(pair, dataset, options.output)
    print(f"{record.subject}: {pair.record.status}, {pair.record.slices} slices {pair.record.reason}")


if __name__ == "__main__":
    run_command(main)
