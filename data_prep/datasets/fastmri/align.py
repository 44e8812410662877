"""One fastMRI pair: PD registered in-plane to PDFS, both cropped, with a record and a quality picture.

The scans of a pair are taken minutes apart and the knee moves by a pixel or so. One rigid transform per
pair (a rotation and a shift within the slice plane) maximises the mean squared local correlation of the
two magnitudes: within a few pixels one contrast is close to a linear function of the other, whatever its
sign, which holds at edges too, where a mutual information of whole images is biased. On embedded
pairs it errs by less than a tenth of a pixel on average. Everything runs on one thread and draws nothing at
random.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from data_prep.datasets.contract import Wanted
from data_prep.datasets.fastmri.pairs import check_pair, paired_slices
from data_prep.datasets.fastmri.scans import (
    Scan,
    centre_crop,
    geometry_of,
    open_scan,
    read_images,
    remarks,
    signal_in_padding,
)
from data_prep.datasets.record import Aligned, Record
from data_prep.datasets.registered import AFTER, BEFORE, shown, side_by_side
from data_prep.errors import BadInput
from data_prep.registration.in_plane import Stack, register_in_plane, resample
from data_prep.registration.score import chance, mutual_information

# Bits above chance. Embedded pairs have 1.0 and more, and 0.11 once noise of 10 % of the bright tissue is
# added to both scans; noise in the place of one of them has 0.02 at most (docs/fastmri.md).
LEAST_SCORE = 0.05


def describe(subject: str, target: Path, auxiliary: Path) -> dict[str, Any]:
    """Return persons and slices of a pair, from the two headers.

    Raises:
        BadInput: a file cannot be opened.
    """
    pdfs, pd = open_scan(target), open_scan(auxiliary)
    return {
        "group": pdfs.patient_id,
        "auxiliary_group": pd.patient_id,
        "target_slices": pdfs.slices,
        "auxiliary_slices": pd.slices,
    }


def align(wanted: Wanted, record: Record, register: bool) -> Aligned:
    """Read, register and crop one pair; see ``align_pair``."""
    pd, pdfs = open_scan(wanted.auxiliary), open_scan(wanted.target)
    return align_pair(pd, pdfs, wanted.matrix, wanted.slices, register, record)


def align_pair(
    pd: Scan, pdfs: Scan, matrix: int | None, slices: int | None, register: bool, record: Record
) -> Aligned:
    """Read, register and crop one pair.

    Args:
        pd: the auxiliary scan.
        pdfs: the target scan.
        matrix: side of the wanted square crop, pixels; None: the smaller side of the images.
        slices: number of central slices, or None for all that both scans have.
        register: whether to register; otherwise pixels are paired as they are.
        record: to be completed.

    Raises:
        BadInput: the files cannot be paired, registration fails, or the two show nothing in common.
    """
    check_pair(pd, pdfs)
    matrix = min(pdfs.header.recon_matrix) if matrix is None else matrix
    if matrix > min(pdfs.header.recon_matrix):
        raise BadInput(
            f"{pdfs.path}: its reconstructed matrix is {pdfs.header.recon_matrix}, but a side of {matrix} is "
            "wanted; set datasets.fastmri.matrix, or the option --matrix, to at most "
            f"{min(pdfs.header.recon_matrix)} or leave the pair out"
        )
    start, stop = paired_slices(pd, pdfs, slices)
    target = read_images(pdfs, start, stop)
    said = [text for scan in (pd, pdfs) for text in (*remarks(scan), *signal_in_padding(scan, start, stop))]
    magnitude = np.abs(target)
    unregistered = np.abs(read_images(pd, start, stop))
    transform, auxiliary = None, unregistered
    before = after = mutual_information(magnitude.ravel(), unregistered.ravel())
    if register:
        try:
            transform = register_in_plane(magnitude, unregistered)
        except BadInput as error:
            raise BadInput(f"{pdfs.path} with {pd.path.name}: {error}") from error
        auxiliary = resample(unregistered, transform)
        after = mutual_information(magnitude.ravel(), auxiliary.ravel())
    unrelated = chance(magnitude.ravel(), auxiliary.ravel())
    if after < unrelated + LEAST_SCORE:
        raise BadInput(
            f"{pdfs.path} with {pd.path.name}: score {after:.3f} bits, where unrelated images have "
            f"{unrelated:.3f} and {LEAST_SCORE:g} more are needed; check that both show the same knee"
        )
    target, auxiliary, unregistered = (
        centre_crop(images, (matrix, matrix)) for images in (target, auxiliary, unregistered)
    )
    record = replace(
        record,
        slices=stop - start,
        remark="; ".join(said),
        score_before=round(before, 6),
        score_after=round(after, 6),
        transform=None if transform is None else np.round(transform, 9).tolist(),
        geometry=geometry_of(pdfs, start, (matrix, matrix)),
    )
    return Aligned(
        record, target, auxiliary, lambda: draw_overlay(record, np.abs(target), unregistered, auxiliary)
    )


def draw_overlay(record: Record, target: Stack, before: Stack, after: Stack) -> Any:
    """Draw the central slice: PDFS with PD's outlines over it, before and after registration, and PD itself.

    Args:
        record: with the scores.
        target: PDFS magnitude (slice, height, width).
        before: PD magnitude as scanned.
        after: PD magnitude as registered.
    """
    middle = len(target) // 2
    pdfs = shown(target[middle])
    how = "not registered" if record.transform is None else "registered"
    pictures = {
        f"as scanned: mutual information {record.score_before:.3f} bits": pdfs,
        f"{how}: mutual information {record.score_after:.3f} bits": pdfs,
        f"PD, {how}": shown(after[middle]),
    }
    title = f"{record.subject} ({record.source}): PDFS with outlines of PD"
    figure, panels = side_by_side(title, pictures)
    for axes, outlined, colour in zip(panels, (before[middle], after[middle]), (BEFORE, AFTER), strict=False):
        level = 0.2 * np.percentile(outlined, 99.5)
        smooth = ndimage.gaussian_filter(outlined, len(outlined) / 160)
        axes.contour(smooth, levels=[level], colors=colour, linewidths=0.8)
    return figure
