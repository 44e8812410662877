"""What a reconstruction makes of lesions whose place is known (embedded brains only).

The lesions change T2 only: the T1 scan cannot tell of them, and a method that trusts T1 too much could paint
them away, or paint spots that are not there. All thresholds are shares of the lesions' own true contrast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.errors import BadInput
from data_prep.io import hdf5

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]

SHARES = (0.25, 0.5, 0.75)  # of the true contrast, at which detections and false spots are counted
VISIBLE = 0.1  # least true contrast as a share of the surroundings
FLOOR = 3.0  # standard deviations of the truth's noise, which a perfect reconstruction has not
_GAP, _RING = 1, 3  # pixels from the lesion to the inner and outer edge of its surroundings
_SPOT = 3  # pixels along a false spot: what is smaller is no finding
_IN_PLANE = ndimage.generate_binary_structure(2, 2)[None]  # slices are thick: never across them
_AROUND_SPOT = np.ones((1, _SPOT + 2 * _RING, _SPOT + 2 * _RING), dtype=np.bool_)
_AROUND_SPOT[:, _RING - _GAP : _GAP - _RING, _RING - _GAP : _GAP - _RING] = False


@dataclass(frozen=True)
class Lesion:
    """A known lesion in a volume of the test split.

    Attributes:
        number: as in the labels.
        radius_mm: of the ellipsoid it was made from.
        inside: its pixels, bool (slice, height, width).
        around: its surroundings: a ring in each slice from 1 to 3 pixels off, without other lesions.
        contrast: mean inside less median around, in the truth, scanner units.
        visible: whether the contrast is at least 10 % of the surroundings' median.
    """

    number: int
    radius_mm: float
    inside: Mask
    around: Mask
    contrast: float
    visible: bool


def read_labels(path: Path, subject: str) -> tuple[NDArray[np.uint8], list[float]]:
    """Read a subject's lesion numbers (slice, height, width) and radii in mm (step ``lesion_labels``).

    Args:
        path: what that step wrote.
        subject: id.

    Raises:
        BadInput: the file or the subject is missing, or the file is damaged.
    """
    again = "delete it and run the step `lesion_labels` again"
    with hdf5.opened(path, "run the step `lesion_labels`", again) as file:
        stored = hdf5.dataset(file, subject)
        if stored is None:
            raise BadInput(f"{path}: holds no subject {subject}; run the step `lesion_labels` again")
        if "radius_mm" not in stored.attrs:
            raise BadInput(f"{path}: field radius_mm of {subject} is missing; {again}")
        labels, radii = stored[()], [float(radius) for radius in stored.attrs["radius_mm"]]
    if labels.ndim != 3 or labels.dtype != np.uint8 or labels.max(initial=0) > len(radii):
        raise BadInput(f"{path}: the lesions of {subject} do not fit their radius_mm; {again}")
    return labels, radii


def contrast(image: Image, inside: Mask, around: Mask) -> float:
    """Mean inside less median around: an overall change of intensity does not look like a lesion."""
    return float(image[inside].mean() - np.median(image[around]))


def known_lesions(target: Image, labels: NDArray[np.uint8], radii: Sequence[float]) -> list[Lesion]:
    """Return the lesions that fill a pixel of the volume or more.

    Args:
        target: ground-truth magnitude (slice, height, width).
        labels: lesion numbers from 1, of the same shape.
        radii: in mm, of each number.
    """
    near = ndimage.binary_dilation(labels > 0, _IN_PLANE, iterations=_GAP)
    found = []
    for number in np.unique(labels[labels > 0]).tolist():
        inside = labels == number
        around = ndimage.binary_dilation(inside, _IN_PLANE, iterations=_RING) & ~near
        if not around.any():
            continue
        height = contrast(target, inside, around)
        visible = height > 0 and height >= VISIBLE * float(np.median(target[around]))
        found.append(Lesion(number, radii[number - 1], inside, around, height, visible))
    return found


def recovered(lesion: Lesion, reconstruction: Image) -> float:
    """Contrast of the lesion in the reconstruction over its contrast in the truth: 1 is right, 0 is gone.

    NaN where the truth has none, as whole numbers of the scanner's unit may have it; it is not visible then.
    """
    if lesion.contrast == 0:
        return float("nan")
    return contrast(reconstruction, lesion.inside, lesion.around) / lesion.contrast


def noise_level(target: Image, body: Mask) -> float:
    """Standard deviation of the noise of a magnitude image, from its air: the median of Rayleigh's law.

    0 where there is no air, or where the air is empty.
    """
    air = target[~body]
    return float(np.median(air) / np.sqrt(2 * np.log(2))) if air.size else 0.0


def even_tissue(target: Image, labels: NDArray[np.uint8], body: Mask, lesions: Sequence[Lesion]) -> Mask:
    """Find where a bright spot could be taken for a lesion: the centres, bool (slice, height, width).

    All 3 x 3 pixels are of the body and farther than 1 pixel from any lesion, and the truth differs in none
    of them by the median contrast of the lesions or more from the median of their surroundings. In fluid and
    on edges of tissue every blur is a bright spot, and none would be read as a lesion.

    Args:
        target: ground-truth magnitude (slice, height, width).
        labels: lesion numbers, 0 elsewhere.
        body: the body's pixels.
        lesions: the visible ones, at least one.
    """
    level = np.median([np.median(target[lesion.around]) for lesion in lesions])
    near = ndimage.binary_dilation(labels > 0, _IN_PLANE, iterations=_GAP)
    alike = body & ~near & (np.abs(target - level) < typical_contrast(lesions))
    return np.asarray(ndimage.binary_erosion(alike, _IN_PLANE))


def typical_contrast(lesions: Sequence[Lesion]) -> float:
    """Median true contrast, scanner units."""
    return float(np.median([lesion.contrast for lesion in lesions]))


def false_spots(target: Image, reconstruction: Image, places: Mask) -> NDArray[np.float64]:
    """Return the contrasts of spots that the truth does not have, in the images' unit.

    A spot is scored as a lesion of 3 x 3 pixels would be, in reconstruction less truth: mean inside less
    median of the surroundings. There is one at each place where this is the largest within 2 pixels, so that
    spots do not share a centre; a smaller bright thing is averaged with what surrounds it.

    Args:
        target: ground-truth magnitude (slice, height, width).
        reconstruction: in the same unit and shape.
        places: their possible centres, as ``even_tissue`` finds them.
    """
    difference = reconstruction.astype(np.float64) - target
    inside = ndimage.uniform_filter(difference, size=(1, _SPOT, _SPOT))
    height = inside - ndimage.median_filter(difference, footprint=_AROUND_SPOT)
    peaks = places & (height == ndimage.maximum_filter(height, size=(1, 2 * _SPOT - 1, 2 * _SPOT - 1)))
    numbers, count = ndimage.label(peaks, np.pad(_IN_PLANE, ((1, 1), (0, 0), (0, 0))))
    return np.asarray(ndimage.maximum(height, numbers, range(1, count + 1)), dtype=np.float64)


def score_lesions(
    target: Image, reconstruction: Image, labels: NDArray[np.uint8], radii: Sequence[float], body: Mask
) -> tuple[list[tuple[Lesion, float]], dict[float, float]]:
    """Score one volume.

    Returns:
        Each lesion with its recovered contrast (NaN if the reconstruction holds NaN or the truth has no
        contrast), and per share the false spots per slice that exceed this share of the median true contrast
        of the volume's visible lesions and three times the noise of the truth; none where the volume has no
        visible lesion.
    """
    lesions = known_lesions(target, labels, radii)
    scored = [(lesion, recovered(lesion, reconstruction)) for lesion in lesions]
    visible = [lesion for lesion in lesions if lesion.visible]
    if not visible or not np.isfinite(reconstruction).all():
        return scored, {}
    floor, typical = FLOOR * noise_level(target, body), typical_contrast(visible)
    spots = false_spots(target, reconstruction, even_tissue(target, labels, body, visible))
    return scored, {
        share: float(np.sum(spots >= max(share * typical, floor)) / len(target)) for share in SHARES
    }
