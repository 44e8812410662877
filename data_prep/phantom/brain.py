"""Anatomy of embedded brains, and the signal that a T1- and a T2-weighted scan receive from it.

A subject's head is a donor template, deformed, with tissue fractions, relaxation times, texture, lesions
and vessels of its own. Coordinates are RAS+ millimetres.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.phantom.fields import Array, Grid, flow, resize, rotation, smooth_noise

# The donors' template space, at 1 mm.
TEMPLATE = Grid(box=(192, 228, 192), spacing=(1, 1, 1))
TEMPLATE_ORIGIN = np.array([-96.0, -132.0, -78.0])
CSF, GM, WM = range(3)

# Wavelengths and velocities of the deformation, in mm: head shape, lobes, gyri, folds.
DEFORMATION = ((55.0, 2.6), (20.0, 1.6), (10.0, 1.6), (6.0, 0.9))
VELOCITY_SPACING = 4.0


@dataclass(frozen=True)
class Protocol:
    """What a site's scanner does; relaxation times in ms as (CSF, grey matter, white matter).

    Attributes:
        t1, t2: relaxation times at the site's field strength.
        inversion, cycle: inversion time and repetition of the inversion of the T1 scan, ms.
        repetition, echo: TR and effective TE of the T2 scan, ms.
        acquired_t1, acquired_t2: part of k-space acquired along both in-plane axes; the rest is zero-filled.
        snr: signal-to-noise ratio of white matter at full matrix size.
    """

    t1: tuple[float, float, float]
    t2: tuple[float, float, float]
    inversion: float
    cycle: float
    repetition: float
    echo: float
    acquired_t1: float
    acquired_t2: float
    snr: float


_T1_15, _T2_15 = (4000.0, 1080.0, 680.0), (1700.0, 97.0, 76.0)
_T1_30, _T2_30 = (4200.0, 1330.0, 830.0), (1600.0, 92.0, 71.0)
PROTOCOLS = {
    "Guys": Protocol(_T1_15, _T2_15, 860, 1900, 8180, 100, 0.90, 0.86, 26),
    "HH": Protocol(_T1_30, _T2_30, 1000, 2100, 5725, 100, 0.90, 0.82, 30),
    "IOP": Protocol(_T1_15, _T2_15, 880, 1900, 6500, 98, 0.90, 0.90, 24),
}
PROTON_DENSITY = np.array([1.0, 0.84, 0.70])


@dataclass(frozen=True)
class Anatomy:
    """One head on a grid of the template's box; all arrays float32.

    Attributes:
        grid: where the arrays are sampled; its first point lies at ``TEMPLATE_ORIGIN``.
        fractions: (3, x, y, z), CSF, grey and white matter, sum 1; they mean something inside the brain only.
        residual: (x, y, z), T2 log intensity beyond the three tissues (iron and the like).
        head_t1, head_t2: (x, y, z), the template's intensities, used outside the brain.
        brain: (x, y, z), 0 to 1.
    """

    grid: Grid
    fractions: Array
    residual: Array
    head_t1: Array
    head_t2: Array
    brain: Array


def deform(donor: Mapping[str, NDArray], grid: Grid, rng: Generator, atrophy: float) -> Anatomy:
    """Give a donor another shape: affine, diffeomorphism, ventricles by ``atrophy``, perhaps mirrored."""
    coarse = Grid(grid.box, (VELOCITY_SPACING,) * 3)
    step = int(VELOCITY_SPACING)
    brain = np.asarray(donor["brain"][::step, ::step, ::step], dtype=np.float32)
    inside = ndimage.gaussian_filter(brain, 1.5)
    velocity = np.zeros((3, *coarse.shape), np.float32)
    for sigma, amplitude in DEFORMATION:
        # Fine folds vary in the brain only; the skull stays smooth.
        weight = amplitude * (inside if sigma < 15 else 0.4 + 0.6 * inside if sigma < 30 else 1.0)
        for i in range(3):
            velocity[i] += weight * smooth_noise(rng, coarse, sigma)
    csf = np.asarray(donor["fractions"][CSF, ::step, ::step, ::step], dtype=np.float32)
    velocity += np.float32(1.0 + 1.6 * atrophy) * _towards_ventricles(csf, brain)
    displacement = flow(velocity, VELOCITY_SPACING)

    shear = rotation(rng.normal(0, 0.04, 3)) @ np.diag(rng.normal(1, 0.045, 3))
    centre = np.array(grid.box) / 2
    points = np.stack([resize(part, coarse, grid) for part in displacement])
    axes = [np.asarray(grid.axis(i) - centre[i], dtype=np.float32) for i in range(3)]
    for i in range(3):
        row = shear[i].astype(np.float32)
        points[i] += row[0] * axes[0][:, None, None] + row[1] * axes[1][:, None] + row[2] * axes[2]
        points[i] += np.float32(centre[i])
    if rng.random() < 0.5:
        points[0] = np.float32(grid.box[0]) - points[0]

    def pull(values: NDArray) -> Array:
        moved = ndimage.map_coordinates(values.astype(np.float32), points, order=1, mode="constant")
        return np.asarray(moved, dtype=np.float32)

    csf, grey = pull(donor["fractions"][CSF]), pull(donor["fractions"][GM])
    fractions = np.stack([csf, grey, np.clip(1 - csf - grey, 0, 1)])
    residual, head_t1, head_t2, mask = (pull(donor[name]) for name in ("residual", "t1", "t2", "brain"))
    return Anatomy(grid, fractions, residual, head_t1, head_t2, mask)


def vary_tissues(anatomy: Anatomy, rng: Generator, atrophy: float) -> Anatomy:
    """Shift the tissue odds smoothly and sharpen them: gyri and sulci differ, averaging blur goes."""
    grid = anatomy.grid
    odds = np.stack(
        [
            0.25 * smooth_noise(rng, grid, 12.0) + 0.22 * smooth_noise(rng, grid, 3.5) + rng.normal(0, 0.12)
            for _ in range(3)
        ]
    )
    odds[CSF] += 0.2 * atrophy
    fractions = np.clip(anatomy.fractions, 1e-4, 1) ** rng.uniform(2.2, 3.0) * np.exp(odds)
    fractions /= fractions.sum(0)
    return replace(anatomy, fractions=fractions.astype(np.float32))


def _towards_ventricles(csf: Array, brain: Array) -> Array:
    """Unit-peak field (3, x, y, z) that points to the ventricles from around them."""
    deep = ndimage.binary_erosion(brain > 0.5, iterations=7)
    ventricles = ndimage.gaussian_filter(csf * deep, 1.5)
    gradient = np.stack(np.gradient(ventricles))
    return np.asarray(gradient / np.abs(gradient).max(), dtype=np.float32)


@dataclass(frozen=True)
class Lesion:
    """A white-matter hyperintensity; millimetres in the head's coordinates (those of the T1 scan)."""

    centre: tuple[float, float, float]
    radius: float
    stretch: tuple[float, float, float]


def draw_lesions(anatomy: Anatomy, rng: Generator, count: int) -> list[Lesion]:
    """Place lesions of 1.5 to 5 mm radius at random in white matter."""
    lesions = []
    for point in _points_in_white_matter(anatomy, rng, count):
        x, y, z = point + TEMPLATE_ORIGIN
        sx, sy, sz = rng.uniform(0.7, 1.4, 3)
        # Small lesions are the more frequent ones.
        radius = 1.5 + 3.5 * rng.beta(1.2, 2.2)
        lesions.append(
            Lesion((float(x), float(y), float(z)), float(radius), (float(sx), float(sy), float(sz)))
        )
    return lesions


def paint_lesions(grid: Grid, lesions: list[Lesion]) -> list[tuple[tuple[slice, ...], Array]]:
    """Soft-edged ellipsoids: for each lesion its place on the grid and its values there, 0 to 1."""
    return [_ellipsoid(grid, lesion) for lesion in lesions]


def lesion_map(grid: Grid, painted: list[tuple[tuple[slice, ...], Array]]) -> Array:
    """Return what ``paint_lesions`` gives as one map of the grid, the larger value where lesions overlap."""
    lesions = np.zeros(grid.shape, np.float32)
    for place, values in painted:
        np.maximum(lesions[place], values, out=lesions[place])
    return lesions


def vessels(anatomy: Anatomy, rng: Generator) -> tuple[Array, Array]:
    """Draw perivascular spaces and veins, thin tubes that run outwards through white matter.

    Returns:
        Two maps (x, y, z) of the part of each voxel that they fill, 0 to 1.
    """
    grid = anatomy.grid
    voxel = float(np.prod(grid.spacing))
    maps = (np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32))
    middle = np.array([0.0, -20.0, 15.0]) - TEMPLATE_ORIGIN
    step, area = 0.5, 0.9
    for start in _points_in_white_matter(anatomy, rng, int(rng.integers(40, 120))):
        direction = (start - middle) / np.linalg.norm(start - middle) + rng.normal(0, 0.45, 3)
        direction /= np.linalg.norm(direction)
        length, bend, vein = rng.uniform(4, 14), rng.normal(0, 0.6, 3), int(rng.random() < 0.35)
        t = np.arange(0, length, step)[:, None]
        path = (start + direction * t + bend * np.sin(t / 4)) / np.array(grid.spacing)
        index = np.clip(np.round(path).astype(int), 0, np.array(grid.shape) - 1)
        np.add.at(maps[vein], tuple(index.T), step * area / voxel)
    sigma = 0.5 / np.array(grid.spacing)
    spaces, veins = (np.clip(ndimage.gaussian_filter(part, sigma), 0, 1) for part in maps)
    return spaces, veins


def _points_in_white_matter(anatomy: Anatomy, rng: Generator, count: int) -> NDArray[np.float64]:
    """Random points (count or fewer, 3) in mm of the box, well inside white matter."""
    grid = anatomy.grid
    # Many points are tried at once, so that the places hardly depend on the grid's spacing.
    tried = rng.uniform(0, grid.box, (max(200, 60 * count), 3))
    white = anatomy.fractions[WM] * (anatomy.brain > 0.9)
    white = ndimage.gaussian_filter(white, 2.0 / np.array(grid.spacing))
    found = ndimage.map_coordinates(white, (tried / np.array(grid.spacing)).T, order=1)
    return np.asarray(tried[found > 0.8][:count])


def _ellipsoid(grid: Grid, lesion: Lesion) -> tuple[tuple[slice, ...], Array]:
    centre = np.array(lesion.centre) - TEMPLATE_ORIGIN
    reach = 2.0 * lesion.radius + 2.0
    places, squares = [], []
    for i in range(3):
        first = max(0, int((centre[i] - reach) / grid.spacing[i]))
        last = min(grid.shape[i], int((centre[i] + reach) / grid.spacing[i]) + 2)
        offset = (np.arange(first, last) * grid.spacing[i] - centre[i]) / lesion.stretch[i]
        places.append(slice(first, last))
        squares.append(offset**2)
    distance = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    return tuple(places), np.asarray(1 / (1 + np.exp((distance - lesion.radius) / 0.5)), dtype=np.float32)


def inversion_recovery(density: Array, r1: Array, inversion: float | Array, cycle: float) -> Array:
    """Signal of an MPRAGE-like scan: M0 (1 - 2 exp(-TI R1) + exp(-Tc R1)), never below 3 % of M0.

    Args:
        density: proton density, any shape.
        r1: 1/T1 in 1/ms.
        inversion: TI in ms.
        cycle: time from one inversion to the next in ms.
    """
    recovered = 1 - 2 * np.exp(-inversion * r1) + np.exp(-cycle * r1)
    return np.asarray(density * np.clip(recovered, 0.03, None), dtype=np.float32)


def spin_echo(density: Array, r1: Array, r2: Array, repetition: float, echo: float) -> Array:
    """Signal of a fast spin echo: M0 (1 - exp(-TR R1)) exp(-TE R2), times in ms and rates in 1/ms."""
    return np.asarray(density * (1 - np.exp(-repetition * r1)) * np.exp(-echo * r2), dtype=np.float32)


def weighted_images(
    anatomy: Anatomy, lesion_map: Array, protocol: Protocol, rng: Generator
) -> tuple[Array, Array]:
    """Compute what ideal T1- and T2-weighted scans of a head show, white matter near 1.

    Relaxation times, texture (partly common to both, partly of each) and vessels are drawn here.
    """
    grid, fractions = anatomy.grid, anatomy.fractions
    common = smooth_noise(rng, grid, 1.2)

    def texture() -> Array:
        return np.asarray(0.6 * common + 0.8 * smooth_noise(rng, grid, 1.5))

    r1_tissue = 1 / (np.array(protocol.t1) * np.exp(rng.normal(0, 0.04, 3)))
    r2_tissue = 1 / (np.array(protocol.t2) * np.exp(rng.normal(0, 0.05, 3)))
    r1 = _mix(r1_tissue, fractions) * np.exp(0.03 * texture() + 0.035 * smooth_noise(rng, grid, 15))
    r2 = _mix(r2_tissue, fractions) * np.exp(0.05 * texture() + 0.05 * smooth_noise(rng, grid, 12))
    density = _mix(PROTON_DENSITY, fractions) * np.exp(0.015 * smooth_noise(rng, grid, 1.5))
    # The residual is the template's log intensity, whose echo time was near 100 ms.
    r2 = r2 - anatomy.residual * np.float32(1.1 / 100)
    spaces, veins = vessels(anatomy, rng)
    strength = rng.uniform(0.65, 1.0)
    # Lesions, perivascular spaces and veins change T2 only, so that the T1 scan cannot tell of them.
    r2 = r2 * (1 - 0.52 * strength * lesion_map) * (1 - 0.55 * spaces) * (1 + 0.6 * veins)
    r1, r2 = np.clip(r1, 1 / 4500, 1 / 200), np.clip(r2, 1 / 2500, 1 / 12)
    inversion = protocol.inversion * rng.normal(1, 0.02) * (1 + 0.04 * smooth_noise(rng, grid, 40))
    t1 = inversion_recovery(density, r1, inversion, protocol.cycle * rng.normal(1, 0.02))
    t2 = spin_echo(density, r1, r2, protocol.repetition, protocol.echo * rng.normal(1, 0.03))

    white = (fractions[WM] > 0.9) & (anatomy.brain > 0.9)
    inside = ndimage.gaussian_filter(anatomy.brain, 0.8 / np.array(grid.spacing))
    images = []
    for brain, head in ((t1, anatomy.head_t1), (t2, anatomy.head_t2)):
        outside = np.clip(head - 0.03, 0, None) * np.exp(0.07 * texture())
        images.append(inside * brain / np.float32(np.median(brain[white])) + (1 - inside) * outside)
    fade = _coil_reach(grid)
    return images[0] * fade, images[1] * fade


def _mix(values: NDArray[np.float64], fractions: Array) -> Array:
    return np.asarray(np.tensordot(values.astype(np.float32), fractions, 1))


def _coil_reach(grid: Grid) -> Array:
    """Sensitivity of a head coil along z, which falls off at the neck."""
    z = grid.axis(2) + TEMPLATE_ORIGIN[2]
    return np.asarray(1 / (1 + np.exp(-(z + 58) / 6)), dtype=np.float32)
