"""Reconstruct a person's own scan with a trained network.

``python -m workflow.predict --run results/demo/runs/<dataset>/<mask>/unet/seed0 --target T2.nii.gz
--auxiliary T1.nii.gz --to OUT.nii.gz`` takes a fully sampled pair through alignment, simulated undersampling
and the network, back onto the grid of the target. ``--kspace FILE`` in place of ``--target`` takes k-space
with a mask as it is. ``--run`` may be a file of ``workflow.weights``. What was done is said.

This is research software and no medical device.
"""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

from data_prep.datasets.align import write_slices
from data_prep.datasets.contract import SUBJECT, Dataset, Wanted, dataset_of
from data_prep.datasets.record import Aligned, Record
from data_prep.errors import BadInput, tell
from data_prep.io.command import WrongUse, command, exclusive
from data_prep.io.files import check_place, scratch
from data_prep.io.hashes import sha256_of
from data_prep.io.json_files import converted
from data_prep.masks.from_file import registered
from data_prep.masks.registry import label
from data_prep.masks.sets import MaskSet, make_masks
from data_prep.prepare.files import write_split
from methods.registry import discover
from workflow.metrics.formulas import WINDOW
from workflow.plan.definitions import data_note
from workflow.provenance.files import check_outside
from workflow.run.finished import Finished
from workflow.run.weights import open_run

WARNING = (
    "This is research software and no medical device: not for diagnosis, treatment or any decision about a "
    "person."
)


def blank_record(dataset: Dataset, subject: str, target: Path, auxiliary: Path | None) -> Record:
    """Return the record of a subject that nobody listed, to be completed."""
    auxiliary = auxiliary or target
    return Record(
        dataset=dataset.id,
        source="published",
        subject=subject,
        group=subject,
        split_hint="",
        status="ok",
        reason="",
        site="",
        slices=0,
        target_file=target.name,
        auxiliary_file=auxiliary.name,
        target_sha256=sha256_of(target),
        auxiliary_sha256=sha256_of(auxiliary),
        score_before=None,
        score_after=None,
    )


def aligned_pair(dataset: Dataset, wanted: Wanted, record: Record) -> Aligned:
    """Align a pair as the step ``align`` does, with the dataset's own options as they are by default."""
    options = asdict(converted(dataset.align_options, {}, "align_options", "give them defaults"))
    return dataset.align(wanted, record, **options)


def measured(
    dataset: Dataset, kspace: Path, auxiliary: Path | None, record: Record
) -> tuple[Aligned, MaskSet]:
    """Read a scan that was undersampled when it was taken, with its mask.

    Raises:
        BadInput: the dataset has no k-space, or a file cannot be used.
    """
    if dataset.kspace is None:
        raise BadInput(f"--kspace: scans of {dataset.label} hold no k-space; give --target")
    found = dataset.kspace(kspace, auxiliary)
    record = replace(record, slices=len(found.target), geometry=found.geometry)
    masks = MaskSet("", found.mask[None], (record.subject,))
    return Aligned(record, found.target, found.auxiliary, lambda: None), masks


def masks_for(run: Finished, side: int, subject: str) -> MaskSet:
    """Return what undersamples slices of a side: the run's own mask, or one made as it was, for that size.

    Raises:
        BadInput: the mask is from a file, and of another size.
    """
    spec = run.spec
    if side != run.side and spec.mask in registered():
        raise BadInput(
            f"{run.place}: its mask {label(spec.mask)} is from a file and for {run.side} x {run.side} only; "
            f"give --matrix {run.side}, which crops or pads"
        )
    if run.masks.drawn or side != run.side:
        return make_masks(spec.mask, side, side, spec.base_seed, (subject,))
    return run.masks


def _reconstruct(
    trained: Finished,
    entry: Dataset,
    aligned: Aligned,
    masks: MaskSet,
    simulated: bool,
    guided: bool,
    device: Literal["auto", "cpu", "cuda"],
    to: Path,
) -> None:
    """Take aligned slices through the road of evaluation, write what comes of it, and say what was done."""
    from data_prep.undersample.slices import SliceStore
    from workflow.evaluate.volumes import reconstructed
    from workflow.metrics.volume import volume_metrics
    from workflow.run.device import set_up_torch
    from workflow.statistics.scores import number
    from workflow.train.progress import say

    spec, record, geometry = trained.spec, aligned.record, aligned.record.geometry
    if geometry is None:
        raise BadInput(f"{record.target_file}: the dataset {entry.id} does not tell the scan's geometry")
    # Only what lies in the scan is scored: a padded margin is none of it.
    sides = geometry.within(aligned.target).shape[1:]
    if simulated and min(sides) < WINDOW:
        raise BadInput(
            f"{record.target_file}: its slices have {' x '.join(map(str, sides))} pixels, but SSIM, by which "
            f"they are scored, takes {WINDOW} x {WINDOW} or more; give a larger scan"
        )
    chosen = set_up_torch(spec.training.threads, device)
    height, width = aligned.target.shape[1:]
    say(f"reconstructing {record.slices} slices on {chosen.type}")
    with scratch() as folder:
        write_slices(aligned, folder)
        write_split(folder / "test.h5", folder, "test", [record], (height, width))
        store = SliceStore(folder / "test.h5", chosen, resident_gigabytes=0.0)
        (volume,) = reconstructed(trained, store, chosen, zero_filled=simulated, masks=masks)
        store.close()
    # Before the file is written: what cannot be scored leaves none.
    scores = {
        name: volume_metrics(geometry.within(volume.target), geometry.within(image))
        for name, image in ((spec.method, volume.image), ("zero filling", volume.zero_filled))
        if simulated and image is not None
    }
    entry.export(to, geometry.placed(volume.image), geometry)
    scanned = " x ".join(map(str, geometry.shape))
    taken = f"{record.slices} slices of {height} x {width}"
    tell(f"{record.target_file}: {scanned} voxels, reconstructed as {taken}")
    if record.score_after is not None:
        told = f"{record.score_before:.3f} bits before and {record.score_after:.3f} after"
        tell(f"{record.auxiliary_file}: registered onto it, score {told}")
    fewer = f"{masks.realised_acceleration:.2f} times fewer samples"
    if simulated:
        noise = f", noise of {spec.noise:g} of each slice's mean added" if spec.noise else ""
        tell(f"undersampled by simulation: {label(spec.mask)}, {fewer}{noise}")
    else:
        guide = f"; {entry.auxiliary} is not registered onto it" if guided else ""
        tell(f"k-space taken as it was measured, with {fewer}{guide}")
    origin = f"trained on {data_note(spec.dataset, trained.source)}, {trained.side} x {trained.side}"
    weights = f"{origin}, {label(spec.mask)}" if spec.trainable else "which has no weights"
    tell(f"reconstructed by {spec.method}, {weights}")
    for name, scored in scores.items():
        tell(f"{name} against the scan: SSIM {scored['ssim']:.3f}, PSNR {number(scored['psnr'], 2)} dB")
    tell(f"wrote {to}: float32 in the scan's units, 0 where nothing was reconstructed")
    tell(WARNING)


@command
def predict(
    run: Annotated[Path, "folder of a finished run, or a file of workflow.weights"],
    to: Annotated[Path, "file to write"],
    target: Annotated[Path | None, "fully sampled scan, which is undersampled and reconstructed"] = None,
    kspace: Annotated[Path | None, "in its place: k-space with a mask, which is taken as it is"] = None,
    auxiliary: Annotated[Path | None, "scan that guides"] = None,
    matrix: Annotated[int | None, "crop or pad slices to this side (default: as they are, square)"] = None,
    slices: Annotated[int | None, "central slices to reconstruct (default: all)"] = None,
    subject: Annotated[
        str | None, "id that noise and drawn masks are seeded by (default: file's name)"
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], "default: CUDA where there is one"] = "auto",
) -> None:
    """Align, undersample, reconstruct and write.

    Raises:
        BadInput: a file cannot be used, or the method does not take images of this size.
    """
    exclusive({"--target": target, "--kspace": kspace}, needed=True)
    if kspace is not None and (matrix is not None or slices is not None):
        raise WrongUse("argument --kspace: not allowed with --matrix and --slices: k-space is taken as it is")
    check_place("--to", to)
    scan = target or kspace
    assert scan is not None  # exclusive has seen to it
    trained = open_run(run)
    spec, entry = trained.spec, dataset_of(trained.spec.dataset)
    if trained.status == "diverged":
        raise BadInput(f"{run}: its training diverged, so that it reconstructs nothing; give another run")
    if auxiliary is None and (target is not None or discover()[spec.folder].default.needs_auxiliary):
        raise BadInput(f"--auxiliary: a {entry.auxiliary} scan goes with the {entry.target} scan; give one")
    for option, number in (("--matrix", matrix), ("--slices", slices)):
        if number is not None and number < 1:
            raise BadInput(f"{option}: is {number}; give a whole number, at least 1")
    for path in filter(None, (scan, auxiliary)):
        if not path.is_file():
            raise BadInput(f"{path}: no such file; give a scan")
        if to.exists() and to.samefile(path):
            raise BadInput(f"--to: {to} is a scan that is read; choose another name")
    if trained.record is not None:
        check_outside("--to", to, trained.results)
    ending = "".join(Path(entry.target_file).suffixes)
    if not to.name.endswith((ending, ending.removesuffix(".gz"))):
        raise BadInput(f"--to: {to} does not end in {ending}, the form of {entry.label}; name it so")
    subject = subject or re.sub("[^A-Za-z0-9_-]", "_", scan.name.partition(".")[0])
    if not re.fullmatch(SUBJECT, subject):
        raise BadInput(f"--subject: is {subject!r}; use letters, digits, - and _")
    from workflow.train.progress import say

    say(f"reading and aligning {scan}")
    record = blank_record(entry, subject, scan, auxiliary)
    if auxiliary is not None and record.auxiliary_sha256 == record.target_sha256:
        # The network would be given what it is to find, and its scores be those of that.
        raise BadInput(
            f"--auxiliary: {auxiliary} is the scan that is reconstructed; give its {entry.auxiliary} scan"
        )
    if kspace is not None:
        aligned, masks = measured(entry, kspace, auxiliary, record)
        masks = replace(masks, name=spec.mask)
        if not masks.drawn:
            masks = replace(masks, mask=masks.mask.repeat(aligned.target.shape[1], axis=0), files=())
    else:
        assert auxiliary is not None
        aligned = aligned_pair(entry, Wanted(entry, scan, auxiliary, matrix, slices), record)
        masks = masks_for(trained, aligned.target.shape[-1], subject)
    _reconstruct(trained, entry, aligned, masks, kspace is None, auxiliary is not None, device, to)
