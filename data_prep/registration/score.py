"""How well two volumes fit: mutual information, which scores are odd, and errors at points."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Modified z-score beyond which a value is an outlier (B. Iglewicz, D. C. Hoaglin, "How to detect and handle
# outliers", 1993).
_LARGEST_Z = 3.5
# Least spread of scores, as a part of their median: among few or nearly equal ones the MAD says too little.
_LEAST_SPREAD = 0.05


def mutual_information(a: NDArray[np.float32], b: NDArray[np.float32], bins: int = 48) -> float:
    """Mutual information in bits of two lists of intensities, (n,) each, from their joint histogram.

    Bins divide each list's range evenly; intensities beyond its 0.5th and 99.5th percentile fall into the
    outermost bins.
    """
    index = []
    for values in (a, b):
        low, high = np.percentile(values, (0.5, 99.5))
        width = max(float(high - low), 1e-12)
        index.append(np.clip((values - low) / width * bins, 0, bins - 1).astype(np.int64))
    joint = np.bincount(index[0] * bins + index[1], minlength=bins * bins).reshape(bins, bins) / len(a)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log2(joint[seen] / independent[seen])))


def chance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mutual information in bits that two lists of intensities, (n,) each, keep in a random order."""
    return mutual_information(a, np.random.default_rng(0).permutation(b))


def outliers(scores: Mapping[str, float | None]) -> dict[str, str]:
    """Tell which of a dataset's scores, by subject, lie far from the others, and say so in half a sentence.

    Far is 3.5 times the spread from the median, on either side: two scans of one contrast agree too well. The
    spread is the median absolute deviation, scaled to a normal distribution's standard deviation.
    """
    known = {subject: score for subject, score in scores.items() if score is not None}
    if not known:
        return {}
    values = np.array(list(known.values()))
    median = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - median))), _LEAST_SPREAD * median)
    return {
        subject: f"score {score:.3f} is an outlier, the dataset's median is {median:.3f}: look at its picture"
        for subject, score in known.items()
        if abs(score - median) > _LARGEST_Z * spread
    }


def point_errors(
    estimate: NDArray[np.float64], truth: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in mm, (n,), between where two transforms (4, 4) send the points (n, 3)."""
    difference = (estimate - truth)[:3]
    return np.asarray(np.linalg.norm(points @ difference[:, :3].T + difference[:, 3], axis=1))
