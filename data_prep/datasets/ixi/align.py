"""One IXI subject: T1 registered onto the T2 scan's grid, both cropped, with a quality picture.

T2 is not interpolated: its voxels are reordered to axial slices and cropped. T1 is interpolated once, by
cubic B-splines.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.contract import Wanted
from data_prep.datasets.ixi.names import check_single
from data_prep.datasets.record import Aligned, Record
from data_prep.datasets.registered import AFTER, BEFORE, ENLARGED, geometry_of, require_slices, stored
from data_prep.errors import BadInput
from data_prep.registration.rigid import (
    NoHead,
    Registration,
    RegistrationFailed,
    coverage,
    head_mask,
    preview,
    register,
    resample,
)
from data_prep.volumes import Volume, central, load_volume, to_axial

# A head moves by millimetres between scans; a result beyond these is a failure, or another head.
LARGEST_TURN, LARGEST_SHIFT = 25.0, 40.0  # degrees, mm at the head's centre
USUAL_TURN, USUAL_SHIFT = 12.0, 20.0  # beyond, the result is checked by a second search
LEAST_COVERAGE = 0.9  # part of the T2 head's voxels that the T1 must reach
# Bits above chance. Embedded pairs have 0.82 and more, and 0.37 once noise of 30 % of the head's signal is
# added to both scans; noise in the place of one of them has 0.02 at most (docs/ixi.md).
LEAST_SCORE = 0.2


def align(wanted: Wanted, record: Record) -> Aligned:
    """Register a subject's T1 onto its T2 and crop both; see ``align_subject``.

    Raises:
        BadInput: a scan cannot be used, is there twice, or the registration failed.
    """
    for path in (wanted.target, wanted.auxiliary):
        check_single(path)
    t1, t2 = load_volume(wanted.auxiliary), load_volume(wanted.target)
    return align_subject(t1, t2, wanted.matrix, wanted.slices, record)


def align_subject(t1: Volume, t2: Volume, matrix: int | None, slices: int | None, record: Record) -> Aligned:
    """Register T1 onto T2 and crop both.

    Args:
        t1: auxiliary scan, as loaded.
        t2: target scan, as loaded.
        matrix: wanted height and width; larger scans are cropped about their centre, smaller ones padded
            with zeros; None: the target's larger side.
        slices: wanted number of central axial slices; None: all.
        record: to be completed.

    Raises:
        BadInput: too few slices, or the registration failed.
    """
    t2 = to_axial(t2)
    matrix = max(t2.shape[:2]) if matrix is None else matrix
    slices = t2.data.shape[2] if slices is None else slices
    require_slices(t2.data.shape[2], slices, record.target_file, record.dataset)
    found = register_checked(t1, t2, record)
    target = central(t2, (matrix, matrix, slices))
    completed = replace(
        record,
        slices=slices,
        score_before=round(found.score_before, 6),
        score_after=round(found.score_after, 6),
        transform=found.transform.round(9).tolist(),
        geometry=geometry_of(target, t2),
    )
    auxiliary = resample(t1, target, found.transform)
    return Aligned(
        completed,
        stored(target),
        np.ascontiguousarray(auxiliary.T),
        lambda: draw_overlay(completed, target, preview(t1, target, np.eye(4)), auxiliary),
    )


def register_checked(t1: Volume, t2: Volume, record: Record) -> Registration:
    """Register T1 onto an axial T2; where the result is wrong or unusual, once more from further starts.

    A wrong result can still gain in score. It then mostly shows as a motion that heads rarely make, and the
    second search, if it scores higher, takes its place.

    Raises:
        BadInput: neither search led to a result that can be right; the reason is the second one's.
    """
    first = None
    try:
        first, turn, shift = _register_once(t1, t2, record, wide=False)
        if turn <= USUAL_TURN and shift <= USUAL_SHIFT:
            return first
        doubt = f"turned by {turn:.0f} degrees and moved by {shift:.0f} mm"
    except BadInput as error:
        doubt = str(error)
    print(f"{record.subject}: registering again from further starts ({doubt})", flush=True)
    try:
        second, _, _ = _register_once(t1, t2, record, wide=True)
    except BadInput:
        if first is None:
            raise
        return first
    return first if first is not None and first.score_after >= second.score_after else second


def _register_once(t1: Volume, t2: Volume, record: Record, wide: bool) -> tuple[Registration, float, float]:
    """Return a result that can be right, and its turn in degrees and shift in mm."""
    try:
        found = register(t2, t1, wide)
    except NoHead as error:
        flat = record.auxiliary_file if error.volume is t1 else record.target_file
        told = "nothing stands out in it as a head does in air; replace the file or leave the subject out"
        raise BadInput(f"{flat}: {told}") from error
    except RegistrationFailed as error:
        raise _other_head(record, "does not overlap with", "from any start of the registration") from error
    turn, shift = check_transform(t1, t2, found.transform, record)
    if found.score_after < found.score_before:
        lowered = f"lowered the score from {found.score_before:.3f} to {found.score_after:.3f}"
        raise _other_head(record, "registration onto", lowered)
    if found.score_after < found.chance + LEAST_SCORE:
        poor = f"scores {found.score_after:.3f} bits, where unrelated images have {found.chance:.3f}"
        raise _other_head(record, "registration onto", f"{poor} and {LEAST_SCORE:g} more are needed")
    return found, turn, shift


def _other_head(record: Record, before: str, after: str) -> BadInput:
    """Return the error of two scans that seem to show two heads; the target stands between the words."""
    return BadInput(
        f"{record.auxiliary_file}: {before} {record.target_file} {after}; check that both show the same "
        "head, or leave the subject out"
    )


def check_transform(
    t1: Volume, t2: Volume, transform: NDArray[np.float64], record: Record
) -> tuple[float, float]:
    """Refuse a registration that no head's motion explains, or that leaves the T2 head without T1.

    Returns:
        Its turn in degrees, and its shift of the head's centre in mm.

    Raises:
        BadInput: the turn or shift is too large, or the T1's field of view too small.
    """
    mask = head_mask(t2)
    centre = t2.affine[:3, :3] @ np.argwhere(mask).mean(0) + t2.affine[:3, 3]
    turn = float(np.degrees(np.arccos(np.clip((np.trace(transform[:3, :3]) - 1) / 2, -1, 1))))
    shift = float(np.linalg.norm(transform[:3, :3] @ centre + transform[:3, 3] - centre))
    if turn > LARGEST_TURN or shift > LARGEST_SHIFT:
        moved = f"turned it by {turn:.0f} degrees and moved it by {shift:.0f} mm"
        raise _other_head(record, "registration onto", moved)
    reached = float(coverage(t1, t2, transform)[mask].mean())
    if reached < LEAST_COVERAGE:
        raise BadInput(
            f"{record.auxiliary_file}: covers {100 * reached:.0f} % of the head in {record.target_file}, but "
            f"{100 * LEAST_COVERAGE:.0f} % are needed; leave the subject out"
        )
    return turn, shift


_PAGE, _HEADING, _GAP = 9.6, 0.62, 4.0  # width and heading in inches, gaps in mm


def draw_overlay(
    record: Record, target: Volume, before: NDArray[np.float32], after: NDArray[np.float32]
) -> Any:
    """Draw T2 in three planes with T1's outlines over it, before and after registration.

    Args:
        record: with the scores.
        target: T2, (width, height, slice).
        before: T1 on the same voxels as the headers alone place it.
        after: T1 on the same voxels as registered.
    """
    from matplotlib.figure import Figure

    box = _head_box(target)
    x, y, z = target.spacing * [part.stop - part.start for part in box]
    # Axial beside coronal above sagittal, twice: (plane, left, bottom, width, height) in mm.
    tall, wide = max(y, 2 * z + _GAP), x + y + 2 * _GAP
    low = (tall - 2 * z - _GAP) / 2
    places = (
        (2, 0.0, (tall - y) / 2, x, y),
        (1, x + _GAP, low + z + _GAP, x, z),
        (0, x + _GAP, low, y, z),
    )
    scale = _PAGE / (2 * wide - _GAP)
    size = (_PAGE, scale * tall + _HEADING)
    figure = Figure(figsize=size, dpi=110)
    for column, (colour, how, score, image) in enumerate(
        (
            (BEFORE, "header alignment", record.score_before, before),
            (AFTER, "registered", record.score_after, after),
        )
    ):
        for plane, left, bottom, width, height in places:
            corner = scale * (left + column * wide) / size[0], scale * bottom / size[1]
            panel = figure.add_axes((*corner, scale * width / size[0], scale * height / size[1]))
            _draw_plane(panel, target, image, box, plane, colour)
        middle = scale * (column * wide + (x + max(x, y) + _GAP) / 2) / size[0]
        text = f"{how}: mutual information {score:.3f} bits"
        figure.text(middle, 1 - 0.5 / size[1], text, ha="center", size=9)
    title = f"{record.subject} ({record.source}): T2 with outlines of T1"
    figure.text(0.5, 1 - 0.23 / size[1], title, ha="center", size=11, weight="bold")
    return figure


def _head_box(volume: Volume) -> tuple[slice, slice, slice]:
    """In-plane bounding box of the head and all slices."""
    mask = head_mask(volume)
    ranges = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (0, 1)]
    x, y = (slice(int(r[0]), int(r[-1]) + 1) for r in ranges)
    return x, y, slice(0, volume.data.shape[2])


def _draw_plane(
    panel: Any, target: Volume, outlined: NDArray[np.float32], box: tuple[slice, ...], axis: int, colour: str
) -> None:
    """Draw the central plane across ``axis`` (0 sagittal, 1 coronal, 2 axial) in millimetres."""
    from scipy import ndimage
    from skimage.filters import threshold_multiotsu

    middle = (box[axis].start + box[axis].stop) // 2
    views = [np.take(data[box], middle - box[axis].start, axis).T for data in (target.data, outlined)]
    if axis != 2:
        views = [view[::-1] for view in views]  # superior at the top
    spacing = target.spacing[[other for other in range(3) if other != axis]]
    height, width = views[0].shape
    extent = (0.0, width * spacing[0], height * spacing[1], 0.0)
    bright = np.percentile(target.data, 99.7)
    grey: Any = {"cmap": "gray", "vmin": 0, "vmax": bright, "interpolation": ENLARGED}
    panel.imshow(views[0], extent=extent, aspect="auto", **grey)
    # Outlines between fluid and grey matter and between air and skin, of a view that noise does not fray.
    smooth = ndimage.gaussian_filter(views[1], 1.0 / spacing[::-1])
    level = threshold_multiotsu(outlined[::2, ::2].ravel(), classes=3, nbins=128)[0]
    x = (np.arange(width) + 0.5) * spacing[0]
    y = (np.arange(height) + 0.5) * spacing[1]
    panel.contour(x, y, smooth, levels=[level], colors=colour, linewidths=0.7)
    panel.set_axis_off()
