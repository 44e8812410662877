r"""Evaluate a finished run again under altered conditions, without training: one tidy table per run.

One process evaluates all conditions of a run on its test split and writes a CSV with a row for each
condition, subject and metric (columns and conditions: docs/trust.md):

    python -m workflow.trust.probe --spec JSON --data results/shared/data/brats-KEY \
        --mask results/X/masks/brats/NAME.npz --checkpoint results/X/runs/brats/NAME/METHOD/seed0/model.ckpt \
        --shifts 1 2 4 --swaps zeroed --audit --output FILE.csv

The unchanged condition is always evaluated; its scores are the run's own volume scores (to the bit on a CPU).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from data_prep.errors import BadInput
from data_prep.io.command import SPREAD, command
from data_prep.io.files import read_rows, write_rows
from data_prep.io.json_files import check_fields
from workflow.plan.definitions import GROUND_TRUTH
from workflow.provenance.runs import identity_of
from workflow.run.job import Checkpoint, Job, check_checkpoint
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from workflow.run.model import Reconstruct

    # Subject, truth and reconstruction.
    Volume = tuple[str, NDArray[np.float32], NDArray[np.float32]]


COLUMNS = {
    "dataset": "string",
    "mask": "string",
    "method": "string",
    "seed": "int64",
    "probe": "string",
    "condition": "string",
    "amount": "float64",
    "subject": "string",
    "item": "int64",
    "metric": "string",
    "value": "float64",
    "run": "string",
}


@dataclass(frozen=True)
class Probes:
    """Which conditions a run is evaluated under, besides the unchanged one.

    Attributes:
        swaps: what the auxiliary is exchanged for: ``zeroed``, ``other_subject``.
        shifts: of the auxiliary, in pixels.
        rotations: of the auxiliary, in degrees.
        noise: k-space noise as a share of each slice's mean intensity.
        masks: files of the other sampling masks.
        audit: score the unchanged reconstructions under all metric conventions.
        lesions: file of the step `lesion_labels`.
        ceiling: score the ground truth too, as a method of the name ``ground_truth``.
    """

    swaps: tuple[Literal["zeroed", "other_subject"], ...] = ()
    shifts: tuple[int, ...] = ()
    rotations: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    masks: tuple[Path, ...] = ()
    audit: bool = False
    lesions: Path | None = None
    ceiling: bool = False


Row = dict[str, Any]


def probe(
    reconstruct: "Reconstruct", spec: RunSpec, store: "SliceStore", acquisition: "Acquisition", probes: Probes
) -> list[Row]:
    """Evaluate a method under all conditions.

    Args:
        reconstruct: the method.
        spec: the run.
        store: the test split.
        acquisition: how the run's own evaluation undersamples it.
        probes: the conditions.

    Returns:
        Rows with ``COLUMNS``.

    Raises:
        BadInput: another subject's auxiliary is asked for and the test subjects are of one person only, or a
            mask is of another dataset.
    """
    from workflow.evaluate.evaluation import reconstruct_volume
    from workflow.train.progress import say

    def volumes(measured: "Acquisition") -> "Iterator[Volume]":
        for subject, positions in store.volumes().items():
            target, images = reconstruct_volume(reconstruct, spec, store, measured, positions)
            yield subject, target.cpu().numpy(), images.cpu().numpy()

    unchanged = list(volumes(acquisition))
    rows = _score_volumes("unchanged", "unchanged", 0.0, unchanged)
    for kind, condition, amount, changed in _conditions(store, acquisition, probes):
        rows += _score_volumes(kind, condition, amount, volumes(changed))
        say(f"{spec.method}: {kind} {condition} {amount:g}")
    rows = [{"method": spec.method, **row} for row in rows + _score_unchanged(unchanged, probes)]
    if probes.ceiling:
        perfect = [(subject, target, target) for subject, target, _ in unchanged]
        ceiling = _score_volumes("unchanged", "unchanged", 0.0, perfect) + _score_unchanged(perfect, probes)
        rows += [{"method": GROUND_TRUTH, **row} for row in ceiling]
    return [{"dataset": spec.dataset, "mask": spec.mask, "seed": spec.seed, **row} for row in rows]


def _conditions(
    store: "SliceStore", acquisition: "Acquisition", probes: Probes
) -> Iterator[tuple[str, str, float, "Acquisition"]]:
    """Yield probe, condition, amount and the acquisition that realises them."""
    from data_prep.undersample.acquisition import open_acquisition
    from workflow.trust.conditions import altered, of_other_subject, rotated, shifted, zeroed

    for name in probes.swaps:
        swap = zeroed if name == "zeroed" else of_other_subject(_others_of(store))
        yield "auxiliary", name, 0.0, altered(acquisition, swap)
    for pixels in probes.shifts:
        yield "auxiliary", "shift", float(pixels), altered(acquisition, shifted(pixels))
    for degrees in probes.rotations:
        yield "auxiliary", "rotation", degrees, altered(acquisition, rotated(degrees))
    for level in probes.noise:
        yield "noise", "noise", level, replace(acquisition, noise=level)
    for path in probes.masks:
        other = open_acquisition(path, store.dataset, path.stem, 0.0, acquisition.base_seed)
        yield "mask", path.stem, 0.0, replace(acquisition, masks=other.masks)


def _others_of(store: "SliceStore") -> dict[str, str]:
    """Return whose auxiliary each test subject is given, by the persons of the manifest beside the split."""
    from workflow.trust.conditions import others

    path, again = store.path.with_name("manifest.csv"), "run the step `prepare` of its dataset again"
    persons: dict[str, set[str]] = {}
    for row in read_rows(path, again, again):
        check_fields(row, ("subject", "group", "auxiliary_group"), path, again)
        persons[row["subject"]] = {row["group"], row["auxiliary_group"]} - {""}
    subjects = list(store.volumes())
    if unknown := [subject for subject in subjects if subject not in persons]:
        raise BadInput(f"{path}: does not tell of {unknown[0]}, who is in {store.path.name}; {again}")
    found = others({subject: persons[subject] for subject in subjects})
    if alone := [subject for subject in subjects if subject not in found]:
        raise BadInput(
            f"{store.path}: holds no subject of another person than {alone[0]}'s, so there is no other "
            "subject's auxiliary; leave other_subject out of trust.swaps, or raise datasets' splits.test"
        )
    return found


def _score_rows(
    kind: str, condition: str, amount: float, subject: str, scores: dict[str, float]
) -> list[Row]:
    named = {"probe": kind, "condition": condition, "amount": amount, "subject": subject, "item": 0}
    return [{**named, "metric": metric, "value": value} for metric, value in scores.items()]


def _score_volumes(kind: str, condition: str, amount: float, volumes: Iterable["Volume"]) -> list[Row]:
    from workflow.metrics.volume import volume_metrics

    return [
        row
        for subject, target, images in volumes
        for row in _score_rows(kind, condition, amount, subject, volume_metrics(target, images))
    ]


def _score_unchanged(volumes: Sequence["Volume"], probes: Probes) -> list[Row]:
    """Score reconstructions under the conventions, and their lesions."""
    from workflow.metrics.conventions import audit, body_mask
    from workflow.trust.lesions import read_labels, score_lesions

    rows: list[Row] = []
    for subject, target, images in volumes:
        if probes.audit:
            for convention, metric, value in audit(target, images):
                rows += _score_rows("audit", convention, 0.0, subject, {metric: value})
        if probes.lesions is not None:
            labels, radii = read_labels(probes.lesions, subject)
            lesions, spots = score_lesions(target, images, labels, radii, body_mask(target))
            for lesion, share in lesions:
                scores = {
                    "recovered": share,
                    "true_contrast": lesion.contrast,
                    "visible": float(lesion.visible),
                    "pixels": float(lesion.inside.sum()),
                }
                found = _score_rows("lesions", "lesion", lesion.radius_mm, subject, scores)
                rows += [{**row, "item": lesion.number} for row in found]
            for share, count in spots.items():
                rows += _score_rows("lesions", "false_spots", share, subject, {"per_slice": count})
    return rows


@command
def main(
    job: Annotated[Job, SPREAD], checkpoint: Checkpoint = None, probes: Annotated[Probes, SPREAD] = Probes()
) -> None:
    """Evaluate under all conditions and write the table."""
    spec = asked = job.spec
    check_checkpoint(spec, checkpoint)
    if any(pixels < 0 for pixels in probes.shifts):
        raise BadInput("--shifts: must not be negative; give pixels to the right")
    if any(level < 0 or not math.isfinite(level) for level in probes.noise):
        raise BadInput("--noise: must not be negative; give shares of the mean intensity such as 0.1")
    from data_prep.undersample.acquisition import open_acquisition, open_split
    from workflow.run.device import set_up_torch
    from workflow.run.model import restore
    from workflow.train.progress import say

    training = spec.training
    device = set_up_torch(training.threads, job.device)
    acquisition = open_acquisition(job.mask, spec.dataset, spec.mask, spec.noise, spec.base_seed, spec.phase)
    if spec.tune:
        from workflow.evaluate.tuning import tune

        # As its evaluation chose, under the conditions that were altered for neither.
        validation = open_split(job.data, "val", acquisition, device, training.resident_gigabytes)
        spec, _ = tune(spec, validation, acquisition, device)
    store = open_split(job.data, "test", acquisition, device, training.resident_gigabytes)
    _, reconstruct, origin = restore(spec, (store.height, store.width), checkpoint, device)
    rows = probe(reconstruct, spec, store, acquisition, probes)
    run = identity_of(asked.content(), origin.training_hash, acquisition.masks.sha256, store.fingerprint)
    write_rows(job.output, [*COLUMNS], ({**row, "run": run} for row in rows))
    say(f"{spec.method}: {len(rows)} rows")
