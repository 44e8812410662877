r"""Check that metrics keep their contract: ``python -m workflow.check_metric ID``.

ID is that of a file of ``workflow/metrics/library/``, such as ``hfen``; without one every metric is checked.
Each scores small head-like volumes of known error. A failure says what is wrong, with which volume and, if
the metric's own code stopped, in which line. The exit status is 0 only if everything holds.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from data_prep.contracts.checking import conclude, file_of, report, require
from data_prep.io.command import NAMES, command
from workflow.metrics.contract import Metric, metric_of, metrics

SHAPES = ((1, 32, 32), (3, 45, 37), (2, 40, 64))
# Noise as shares of the volume's maximum.
NOISE = (0.01, 0.03, 0.1)
SCALES = (1e-3, 1e4)
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
Image = NDArray[np.float64]


def head(shape: tuple[int, int, int]) -> Image:
    """Return a head-like volume (slice, height, width): skull, tissue with texture, a dark centre."""
    slices, height, width = shape
    z, y, x = np.meshgrid(
        np.linspace(-0.3, 0.3, slices), *(np.linspace(-1, 1, n) for n in (height, width)), indexing="ij"
    )
    radius = np.sqrt((y / 0.9) ** 2 + (x / 0.75) ** 2 + z**2)
    tissue = 0.5 + 0.1 * np.sin(9 * x + 4 * z) * np.cos(7 * y)
    volume = np.select([radius < 0.25, radius < 0.85, radius < 0.95], [0.15, tissue, 1.0], 0.0)
    return np.asarray(400 * volume, dtype=np.float64)


def noisy(volume: Image, share: float) -> Image:
    """Return the volume with noise as a reconstruction has it: magnitude, the same draw at every share."""
    draw = np.random.default_rng(3).standard_normal(volume.shape)
    return np.asarray(np.abs(volume + share * volume.max() * draw), dtype=np.float64)


def cases() -> Iterator[tuple[str, Image, Image]]:
    """Yield a volume of every shape with its name, and with noise."""
    for shape in SHAPES:
        volume = head(shape)
        yield "x".join(map(str, shape)), volume, noisy(volume, NOISE[1])


def close(a: float, b: float) -> bool:
    """Tell whether two values are equal but for rounding; infinities equal themselves."""
    return a == b or math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def form(metric: Metric) -> None:
    """The value is one finite number, for one slice and many, even and odd sides."""
    for name, volume, image in cases():
        value = metric.score(volume, image)
        place = f"{name}, noise {NOISE[1]}"
        require(isinstance(value, float), f"the value is {type(value).__name__}, no float ({place})")
        require(math.isfinite(value), f"the value is {value} ({place})")


def perfection(metric: Metric) -> None:
    """A reconstruction that equals the truth has the stated value."""
    for name, volume, _ in cases():
        found = metric.score(volume, volume.copy())
        require(close(found, metric.perfect), f"it has {found}, but perfect is {metric.perfect} ({name})")


def direction(metric: Metric) -> None:
    """More noise is worse, in the stated direction."""
    sign = 1 if metric.rising else -1
    for name, volume, _ in cases():
        values = [metric.perfect, *(metric.score(volume, noisy(volume, share)) for share in NOISE)]
        shares, shown = ", ".join(map(str, NOISE)), ", ".join(f"{value:.4g}" for value in values)
        said = (
            f"rising is {str(metric.rising).lower()}, but under noise of 0, {shares} the values are {shown}"
        )
        require(all(sign * a > sign * b for a, b in pairwise(values)), f"{said} ({name})")


def unit(metric: Metric) -> None:
    """The unit of the images does not matter."""
    for name, volume, image in cases():
        value = metric.score(volume, image)
        for scale in SCALES:
            other = metric.score(scale * volume, scale * image)
            said = f"{value:.6g} becomes {other:.6g} where both images are multiplied by {scale:g} ({name})"
            require(close(value, other), f"{said}; scanners' units are arbitrary")


def purity(metric: Metric) -> None:
    """Images are left as they are, and the same images have the same value to the bit."""
    for name, volume, image in cases():
        kept = volume.copy(), image.copy()
        first = metric.score(volume, image)
        same = bool((volume == kept[0]).all() and (image == kept[1]).all())
        require(same, f"an image is changed ({name}); work on a copy")
        second = metric.score(volume, image)
        require(first == second, f"{first!r} becomes {second!r} at the second call ({name})")


def silence(metric: Metric) -> None:
    """A truth without signal has no value: NaN, and no error or warning."""
    for name, _, image in cases():
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            value = metric.score(np.zeros(image.shape), image)
        require(math.isnan(value), f"the value is {value}, not NaN ({name}, truth of zeros)")


CHECKS: dict[str, Callable[[Metric], None]] = {
    check.__name__: check for check in (form, perfection, direction, unit, purity, silence)
}


def run(name: str, *, briefly: bool = False) -> tuple[int, int]:
    """Check one metric, print what was found, and return the numbers of failures and of checks.

    Raises:
        BadInput: there is no such metric.
    """
    metric = metric_of(name)
    own = file_of(metrics()[name][0])
    return report(f"{name}: {metric.label}", CHECKS.values(), metric, own, briefly=briefly)


@command
def main(ids: Annotated[tuple[str, ...], NAMES, "metric, e.g. hfen; default: all"] = (), /) -> None:
    """Check metrics; the exit status is 1 unless all hold."""
    conclude(run(name, briefly=not ids) for name in ids or metrics())
