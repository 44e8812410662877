"""The contract of a metric, and every metric by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.contracts.discovery import entries_of
from data_prep.errors import BadInput
from workflow.metrics import library as further_metrics

Image = NDArray[np.float64]
# Of the metrics that every experiment has, and of the columns beside them.
TAKEN = (
    *("ssim", "psnr", "nmse"),
    *("dataset", "mask", "pattern", "acceleration", "method", "seed", "subject", "slice", "level"),
)


@dataclass(frozen=True)
class FurtherMetric:
    """One metric; the ``METRIC`` of its file.

    Attributes:
        id: its column in ``metrics.parquet``, e.g. ``hfen``.
        label: what tables print, e.g. HFEN.
        meaning: half a sentence for captions.
        rising: whether higher is better.
        perfect: its value for a reconstruction that equals the truth.
        digits: decimals in tables.
        score: (target, reconstruction) -> value. Both are magnitudes, float64 (slice, height, width) in one
            arbitrary unit: a volume, or one slice of it for the ``slice`` convention. The reconstruction is
            finite. A target that is zero everywhere gives NaN.
    """

    id: str
    label: str
    meaning: str
    rising: bool
    perfect: float
    digits: int
    score: Callable[[Image, Image], float]

    def __post_init__(self) -> None:
        """Refuse an id that can be no column of its own.

        Raises:
            BadInput: the id is malformed or taken.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", self.id):
            raise BadInput(f"METRIC: id is {self.id!r}; use a-z, 0-9 and _, starting with a letter")
        if self.id in TAKEN:
            raise BadInput(f"METRIC: id {self.id!r} is the name of another column; rename it")


@cache
def discover() -> dict[str, tuple[str, FurtherMetric]]:
    """Return every further metric with its module, by id, sorted.

    Raises:
        BadInput: a file defines no metric, or one whose id another has; the message names the file.
    """
    return entries_of(further_metrics, "METRIC", FurtherMetric, "id", "docs/adding_a_metric.md")


def further_metric(name: str) -> FurtherMetric:
    """Return a metric by id.

    Raises:
        BadInput: there is no such file.
    """
    found = discover()
    if name not in found:
        raise BadInput(f"metric {name!r} is unknown; further metrics: {', '.join(found) or 'none'}")
    return found[name][1]


def further_scores(
    names: Sequence[str], target: NDArray[np.floating], reconstruction: NDArray[np.floating]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Score one volume with further metrics, in both conventions.

    Slices with NaN or infinite pixels have NaN scores, and so has the volume that holds them.

    Args:
        names: ids of the metrics.
        target: ground-truth magnitude (slice, height, width).
        reconstruction: in the same unit and shape.

    Returns:
        Of every slice by itself, float64 (slice,); and of the volume.
    """
    truth, image = np.asarray(target, dtype=np.float64), np.asarray(reconstruction, dtype=np.float64)
    usable = np.asarray(np.isfinite(image).all(axis=(1, 2)))
    slices, volume = {}, {}
    for name in names:
        score = further_metric(name).score
        slices[name] = np.array(
            [score(truth[i : i + 1], image[i : i + 1]) if usable[i] else np.nan for i in range(len(truth))],
            dtype=np.float64,
        )
        volume[name] = float(score(truth, image)) if usable.all() else float("nan")
    return slices, volume


METRICS = ("ssim", "psnr", "nmse")
RISING = {"ssim": True, "psnr": True, "nmse": False}  # whether higher is better


def rises(metric: str) -> bool:
    """Tell whether higher values of a metric are better."""
    return RISING[metric] if metric in RISING else further_metric(metric).rising


DIGITS = {"ssim": 3, "psnr": 2, "nmse": 4}

UNDEFINED = "undefined"  # a further metric that has no value for some volume or slice
HEADERS = {"ssim": "SSIM ↑", "psnr": "PSNR ↑", "nmse": "NMSE ↓"}


def digits_of(metric: str) -> int:
    """Return the decimals in which a metric is printed."""
    return DIGITS[metric] if metric in DIGITS else further_metric(metric).digits


def header(metric: str) -> str:
    """Return a metric's name with an arrow that says which way is better."""
    if metric in HEADERS:
        return HEADERS[metric]
    found = further_metric(metric)
    return f"{found.label} {'↑' if found.rising else '↓'}"
