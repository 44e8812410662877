"""The test volumes of finished runs, reconstructed again as they were scored, one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.record import AGAIN, Record, broken, read_record
from data_prep.errors import BadInput
from data_prep.masks.sets import MaskSet
from data_prep.prepare.places import folder_of
from workflow.evaluate.evaluation import reconstruct_volume
from workflow.evaluate.examples import Example, example_of
from workflow.run.finished import Finished

if TYPE_CHECKING:
    import torch

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore


@dataclass(frozen=True)
class Reconstructed:
    """One volume in scanner units, float32 (slice, height, width).

    Attributes:
        subject: whose it is.
        target: truth.
        image: reconstruction.
        zero_filled: |F^-1 k_u|; None where it was not asked for.
    """

    subject: str
    target: NDArray[np.float32]
    image: NDArray[np.float32]
    zero_filled: NDArray[np.float32] | None


def reconstructed(
    run: Finished,
    store: "SliceStore",
    device: "torch.device",
    zero_filled: bool = False,
    masks: MaskSet | None = None,
    subject: str | None = None,
) -> Iterator[Reconstructed]:
    """Yield the volumes of a split as a run reconstructs them: in evaluation's batches, masks and noise.

    Args:
        run: whose method it is.
        store: the split, on the device.
        device: where to reconstruct; on that of the evaluation, the bits are the scored ones.
        zero_filled: whether the zero-filled images are wanted too.
        masks: of the slices, if they are not the run's own.
        subject: whose volume alone is wanted; None: all.
    """
    spec, acquisition = run.spec, _acquisition(run, masks or run.masks)
    reconstruct = run.restore((store.height, store.width), device)
    for name, positions in store.volumes().items():
        if subject not in (None, name):
            continue
        target, image = reconstruct_volume(reconstruct, spec, store, acquisition, positions)
        floor = None
        if zero_filled:
            _, images = reconstruct_volume(lambda m: m.zero_filled, spec, store, acquisition, positions)
            floor = images.cpu().numpy()
        yield Reconstructed(name, target.cpu().numpy(), image.cpu().numpy(), floor)


def example_slice(run: Finished, store: "SliceStore", device: "torch.device", position: int) -> Example:
    """Return one slice as a run reconstructs it: what ``examples.npz`` holds of its own ones.

    Args:
        run: whose method it is.
        store: the test split, on the device.
        device: where to reconstruct; see ``reconstructed``.
        position: of the slice in the split.
    """
    subject = store.subjects[position]
    (volume,) = reconstructed(run, store, device, subject=subject)
    image = volume.image[store.volumes()[subject].index(position)]
    return Example(**example_of(store, _acquisition(run, run.masks), position, image))


def _acquisition(run: Finished, masks: MaskSet) -> "Acquisition":
    from data_prep.undersample.acquisition import Acquisition

    spec = run.spec
    return Acquisition(spec.dataset, masks, spec.noise, spec.base_seed, spec.phase)


def open_test(results: Path, dataset: str, device: "torch.device") -> "SliceStore":
    """Open an experiment's test split, read from disk as it is needed.

    Raises:
        BadInput: it is missing or damaged.
    """
    from data_prep.undersample.slices import SliceStore

    return SliceStore(folder_of(results, dataset, "data") / "test.h5", device, resident_gigabytes=0.0)


def check_scored(run: Finished, store: "SliceStore") -> None:
    """Refuse a run that was scored on another test split.

    Raises:
        BadInput: it was.
    """
    if store.fingerprint != run.fingerprint:
        raise BadInput(f"{run.place}: it was scored on other data than {store.path} holds; run it again")


def scan_record(results: Path, dataset: str, subject: str) -> Record:
    """Read how a subject was aligned, and with which scan's geometry.

    Raises:
        BadInput: that is missing or damaged, was written before geometries were, or names a file elsewhere.
    """
    folder = folder_of(results, dataset, "aligned")
    record, path = read_record(folder, dataset, subject), folder / f"{subject}.json"
    if record.geometry is None:
        raise BadInput(f"{path}: field `geometry` is missing, an older version wrote the file; {AGAIN}")
    place = PurePosixPath(record.target_file)
    if place.is_absolute() or ".." in place.parts:
        raise broken(path, f"field `target_file` is {record.target_file!r}, outside of any folder")
    return record
