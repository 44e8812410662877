"""How well two volumes fit: mutual information, and errors at points."""

import numpy as np
from numpy.typing import NDArray


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


def point_errors(
    estimate: NDArray[np.float64], truth: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in mm, (n,), between where two transforms (4, 4) send the points (n, 3)."""
    difference = (estimate - truth)[:3]
    return np.asarray(np.linalg.norm(points @ difference[:, :3].T + difference[:, 3], axis=1))
