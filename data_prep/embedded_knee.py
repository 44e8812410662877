"""Many semi-synthetic single-coil knee pairs (PD, PDFS) from one real knee, written as fastMRI files.

The donor is a real multi-echo scan: 24 sagittal slices at 8 echo times. Its proton density, T2 and fat
fraction are deformed at random, both contrasts are computed from them, and an acquisition is simulated
from a grid finer than the scan's own: the k-space is cut to the acquired matrix, a smooth phase and
complex noise are added. Everything drawn at random comes from seeds named by the pair's index.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from data_prep.archives import read_npz
from data_prep.errors import BadInput, run_command
from data_prep.fastmri import NAMESPACE, PD, PDFS, PairEntry, centre_crop, pair_list_text, rigid_in_plane
from data_prep.files import replacing
from data_prep.fourier import fft2c, ifft2c
from data_prep.random_fields import Grid, smooth_noise
from data_prep.seeds import seed_for

Volume = NDArray[np.float32]

FIRST_FILE = 9_000_000
FIELD_OF_VIEW = 160.0  # mm, of the reconstructed image; the donor's own
DONOR_PIXEL = 0.625  # mm
DONOR_SPACING = 4.0  # mm between slice centres
DONOR_SLICES = 24
MAPS = ("M0", "R2", "fat_fraction")

# The donor's outermost rows fade where the scanner cropped them.
_FADED_ROWS = 6
# The leg goes on beyond the image, and the coil's sensitivity ends it smoothly: without this the cut at
# the image's edge would put a bright cross into k-space. Where the fall begins and where it ends, from the
# centre, in fields of view.
_ROW_TAPER, _COLUMN_TAPER = 0.42, 0.50
_ROW_EXTENT, _COLUMN_EXTENT = 0.625, 0.5625
_MINIMUM_FINE_MATRIX = 288  # as fine as the donor
_SIGNAL_TO_NOISE = {PD: 60.0, PDFS: 28.0}
_ECHO_TIME = {PD: 32.0, PDFS: 34.0}  # ms
_REPETITION_TIME = {PD: 2750, PDFS: 2850}  # ms
# Published k-space has values around 1e-4; nothing may depend on the unit.
_SCANNER_UNIT = 1e-4


@dataclass(frozen=True)
class Motion:
    """In-plane rigid motion between the scans: PDFS pixel p shows what PD shows at R (p - c) + c + shift.

    Attributes:
        shift: (rows, columns) in pixels of the reconstructed image.
        rotation: degrees, from rows towards columns, about the image's centre pixel c = matrix // 2.
    """

    shift: tuple[float, float]
    rotation: float


@dataclass(frozen=True)
class Oedema:
    """One lesion: a fluid-rich part of fatty tissue.

    Attributes:
        slice: index of its central slice.
        row, column: its centre in the PDFS image, pixels.
        radius: mm.
    """

    slice: int
    row: float
    column: float
    radius: float


@dataclass(frozen=True)
class SimulatedScan:
    """One scan as it comes from the scanner: k-space complex64 (slices, 2 matrix, about 1.15 matrix)."""

    kspace: NDArray[np.complex64]
    acquisition: str
    padding: int


def pair_files(index: int) -> tuple[str, str]:
    """Return the file stems (PD, PDFS) of pair ``index``: they differ in their last digit only."""
    first = FIRST_FILE + 10 * index
    return f"file{first}", f"file{first + 1}"


def encoded_width(matrix: int) -> int:
    """Acquired columns, even, for a reconstructed ``matrix``: 368 for 320, as published."""
    return 2 * round(1.15 * matrix / 2)


def padding_columns(matrix: int) -> int:
    """Columns on each side that are stored as zeros because they are never acquired."""
    return max(1, round(4 * matrix / 320))


# ---- the donor's maps -----------------------------------------------------------------------------


def donor_maps(echoes: NDArray[np.float32], echo_times: NDArray[np.float64]) -> dict[str, Volume]:
    """Estimate proton density, R2 and fat fraction from a multi-echo scan.

    Args:
        echoes: magnitude images (slices, echoes, rows, columns), scanner units.
        echo_times: (echoes,) in ms.

    Returns:
        ``M0`` (fat is about 1), ``R2`` (1/ms) and ``fat_fraction`` (0..1), each float32
        (slices, rows, columns).
    """
    # The first echo lacks the stimulated echoes that the later ones contain: it is left out of the fit.
    log_signal = np.log(np.clip(echoes[:, 1:], 1, None))
    # Weights of a log-linear fit: the variance of a logarithm goes as 1 / signal squared.
    weight = echoes[:, 1:] ** 2 + 1
    time = echo_times[1:].astype(np.float32)[:, None, None]
    total = weight.sum(axis=1)
    mean_time = (weight * time).sum(axis=1) / total
    mean_log = (weight * log_signal).sum(axis=1) / total
    centred = time - mean_time[:, None]
    slope = (weight * centred * (log_signal - mean_log[:, None])).sum(axis=1) / (weight * centred**2).sum(
        axis=1
    )
    r2 = np.clip(-slope, 1 / 300, 1 / 8)
    # Where little signal is left for the fit, it extrapolates beyond what any tissue has.
    m0 = np.minimum(np.exp(mean_log - slope * mean_time), 1.6 * echoes[:, 0])
    return {
        "M0": (m0 / 4000).astype(np.float32),
        "R2": r2.astype(np.float32),
        "fat_fraction": _fat_fraction(echoes[:, 0], m0, r2).astype(np.float32),
    }


def _fat_fraction(first_echo: Volume, m0: Volume, r2: Volume) -> Volume:
    """Tell fat from water by brightness at a short echo time, and by its long apparent T2."""
    body = ndimage.gaussian_filter(m0, (0, 2, 2)) > 600
    # Fat is the brightest tissue at 6 ms: a local high percentile follows the coil's sensitivity.
    coarse = ndimage.percentile_filter(ndimage.zoom(m0, (1, 0.25, 0.25), order=1), 85, size=(3, 17, 17))
    fat_level = ndimage.zoom(ndimage.gaussian_filter(coarse, (1, 5, 5)), (1, 4, 4), order=1)
    relative = first_echo / np.maximum(fat_level, 1500)
    t2 = ndimage.median_filter(1 / r2, (1, 3, 3))
    bright = expit((relative - 0.72) / 0.05)
    slow = expit((relative - 0.30) / 0.04) * expit((t2 - 68) / 5)
    fraction: Volume = ndimage.gaussian_filter(np.maximum(bright, slow) * body, (0, 0.5, 0.5))
    return fraction


def load_maps(folder: Path) -> dict[str, Volume]:
    """Read ``knee.npz`` as written by ``data_prep.donors``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a map.
    """
    path = folder / "knee.npz"
    absent = "the donor's maps are missing; run `python -m data_prep.donors` first"
    return read_npz(path, MAPS, absent, "delete it and run data_prep.donors again")


# ---- anatomy --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FineGrid:
    """A fine grid over somewhat more than the field of view; the image's centre is at 0 mm.

    Attributes:
        matrix: pixels along the field of view.
        slices: number of slices.
    """

    matrix: int
    slices: int

    @property
    def pixel(self) -> float:
        """Pixel size in mm."""
        return FIELD_OF_VIEW / self.matrix

    @property
    def rows(self) -> NDArray[np.float32]:
        """Row positions in mm."""
        return self._positions(_ROW_EXTENT)

    @property
    def columns(self) -> NDArray[np.float32]:
        """Column positions in mm."""
        return self._positions(_COLUMN_EXTENT)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return self.slices, len(self.rows), len(self.columns)

    def _positions(self, extent: float) -> NDArray[np.float32]:
        half = int(extent * self.matrix)
        return (np.arange(-half, half) * self.pixel).astype(np.float32)

    def field(self, rng: np.random.Generator, scale: float) -> Volume:
        """Gaussian random field (slices, rows, columns) of unit variance, smooth over ``scale`` mm.

        The box is always the donor's, so that one seed gives one field whatever the matrix.
        """
        extents = (2 * _ROW_EXTENT * FIELD_OF_VIEW, 2 * _COLUMN_EXTENT * FIELD_OF_VIEW)
        box = Grid(
            box=((self.slices - 1) * DONOR_SPACING, *extents), spacing=(DONOR_SPACING, self.pixel, self.pixel)
        )
        field: Volume = smooth_noise(rng, box, scale)[:, : len(self.rows), : len(self.columns)]
        return field


def _fine_grid(matrix: int, slices: int) -> _FineGrid:
    # Half-integer multiples of an even matrix keep pixel centres and the encoded width whole.
    halves = int(np.ceil(2 * max(_MINIMUM_FINE_MATRIX, 1.4 * matrix) / matrix))
    return _FineGrid(matrix=matrix * halves // 2, slices=slices)


@dataclass(frozen=True)
class _Anatomy:
    """One deformed knee on the fine grid, volumes (slices, rows, columns); densities where fat is about 1."""

    water: Volume
    fat: Volume
    r2: Volume


def _deformed(maps: Mapping[str, Volume], rng: np.random.Generator, grid: _FineGrid, first: int) -> _Anatomy:
    """Sample the donor through a random affine and a random smooth in-plane deformation."""
    count = len(maps["M0"])
    angle = rng.normal(0, 0.08)
    zoom = rng.uniform(0.86, 1.0) * np.exp(rng.normal(0, 0.03, 2))
    mirrored = rng.random() < 0.5  # a right knee from a left one: medial and lateral change places
    row_shift, column_shift = (
        3.4 * grid.field(rng, 17.0) + 0.7 * grid.field(rng, 6.0) for _axis in ("rows", "columns")
    )
    y, x = grid.rows[:, None] * zoom[0], grid.columns[None, :] * zoom[1]
    rows = np.cos(angle) * y - np.sin(angle) * x + row_shift
    columns = np.sin(angle) * y + np.cos(angle) * x + column_shift
    donor_centre = maps["M0"].shape[1] // 2
    rows = rows / DONOR_PIXEL + donor_centre - _FADED_ROWS
    columns = columns / DONOR_PIXEL + donor_centre

    sampled = {name: np.empty(grid.shape, dtype=np.float32) for name in MAPS}
    for i in range(grid.slices):
        donor = count - 1 - (first + i) if mirrored else first + i
        where = np.stack([rows[i], columns[i]])
        for name in MAPS:
            trimmed = maps[name][donor, _FADED_ROWS:-_FADED_ROWS]
            sampled[name][i] = ndimage.map_coordinates(trimmed, where, order=3, mode="mirror")
    # Spline interpolation overshoots at edges.
    m0 = np.maximum(_sharpened(sampled["M0"], grid), 0)
    fraction = expit((sampled["fat_fraction"] - 0.5) / 0.13)
    r2 = np.clip(sampled["R2"], 1 / 300, 1 / 8)
    return _Anatomy(water=m0 * (1 - fraction), fat=m0 * fraction, r2=r2)


def _sharpened(volume: Volume, grid: _FineGrid) -> Volume:
    sigma = 0.6 / grid.pixel
    blurred = ndimage.gaussian_filter(volume, (0, sigma, sigma))
    sharpened: Volume = volume + np.float32(0.4) * (volume - blurred)
    return sharpened


def _textured(anatomy: _Anatomy, rng: np.random.Generator, grid: _FineGrid) -> _Anatomy:
    """Add detail below the donor's resolution: trabeculae in marrow, fibres along the leg in muscle."""
    shape = anatomy.water.shape

    def noise(rows_mm: float, columns_mm: float) -> Volume:
        white = rng.standard_normal(shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, (0, rows_mm / grid.pixel, columns_mm / grid.pixel))
        scaled: Volume = smooth / smooth.std()
        return scaled

    return _Anatomy(
        water=anatomy.water * np.exp(0.07 * noise(1.2, 0.25) + rng.normal(0, 0.06)),
        fat=anatomy.fat * np.exp(0.06 * noise(0.25, 0.25)),
        r2=anatomy.r2 * np.exp(0.04 * noise(0.3, 0.3) + rng.normal(0, 0.07)),
    )


def _with_oedema(
    anatomy: _Anatomy, rng: np.random.Generator, grid: _FineGrid
) -> tuple[_Anatomy, list[tuple[int, float, float, float]]]:
    """Turn part of the fat in a few places into water of the same brightness.

    The sum, and with it PD, stays; PDFS, which suppresses fat only, shows it bright.

    Returns:
        The anatomy, and (slice, row mm, column mm, radius mm) of every lesion.
    """
    density = anatomy.fat + anatomy.water
    # Well inside fatty tissue of some extent, mostly bone marrow, and inside the image.
    sigma = 5.0 / grid.pixel
    inside = ndimage.gaussian_filter(
        anatomy.fat * (anatomy.fat > 0.8 * density) * (density > 0.25), (0, sigma, sigma)
    )
    central = np.outer(np.abs(grid.rows) < 0.35 * FIELD_OF_VIEW, np.abs(grid.columns) < 0.25 * FIELD_OF_VIEW)
    inside = inside * central
    candidates = np.argwhere(inside >= 0.6 * inside.max())
    extent = np.zeros_like(anatomy.fat)
    found = []
    ragged = np.exp(0.25 * grid.field(rng, 3.5))
    for _ in range(1 + rng.poisson(0.8)):
        index, row, column = candidates[rng.integers(len(candidates))]
        radius = rng.uniform(4.0, 10.0)
        across = (np.arange(grid.slices) - index)[:, None, None] * DONOR_SPACING
        down, along = grid.rows[:, None] - grid.rows[row], grid.columns - grid.columns[column]
        distance = np.sqrt(across**2 + down**2 + along**2) * ragged
        fluid = rng.uniform(0.15, 0.32)
        extent = np.maximum(extent, fluid * np.exp(-((distance / radius) ** 2.5)))
        found.append((int(index), float(grid.rows[row]), float(grid.columns[column]), radius))
    changed = (extent * anatomy.fat).astype(np.float32)
    return _Anatomy(anatomy.water + changed, anatomy.fat - changed, anatomy.r2), found


# ---- scans ----------------------------------------------------------------------------------------


def check_size(matrix: int, slices: int, count: int = DONOR_SLICES) -> None:
    """Refuse what a donor of ``count`` slices cannot fill.

    Raises:
        BadInput: the donor has too few slices, or the matrix is odd or out of range.
    """
    if not 1 <= slices <= count:
        raise BadInput(f"--slices {slices}: the donor knee has {count} slices; choose 1 to {count}")
    if matrix % 2 or not 32 <= matrix <= 512:
        raise BadInput(f"--matrix {matrix}: choose an even number from 32 to 512 (320 is the published one)")


def simulate_pair(
    maps: Mapping[str, Volume], index: int, seed: int, matrix: int, slices: int
) -> tuple[SimulatedScan, SimulatedScan, Motion, list[Oedema]]:
    """Simulate the PD and the PDFS scan of pair ``index``.

    Args:
        maps: the donor's ``M0``, ``R2`` and ``fat_fraction`` (slices, rows, columns).
        index: the pair's number; with ``seed`` it fixes everything.
        seed: the experiment's seed.
        matrix: side of the reconstructed image, even; the field of view does not change with it.
        slices: neighbouring donor slices to scan.

    Returns:
        PD scan, PDFS scan, the true motion between them and the oedema that only PDFS shows.

    Raises:
        BadInput: the donor has too few slices, or the matrix is odd or out of range.
    """
    count = len(maps["M0"])
    check_size(matrix, slices, count)

    def rng(part: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(use="embedded_knee", seed=seed, pair=index, part=part))

    grid = _fine_grid(matrix, slices)
    # The outermost donor slices show little but skin; they are used only when nearly all are wanted.
    spare = max(0, min(2, (count - slices) // 2))
    first = int(rng("slices").integers(spare, count - slices - spare + 1))
    anatomy = _textured(_deformed(maps, rng("anatomy"), grid, first), rng("texture"), grid)
    anatomy, lesions = _with_oedema(anatomy, rng("oedema"), grid)
    motion = _draw_motion(rng("motion"))

    contrast = rng("contrast")
    sensitivity = np.exp(0.15 * replace(grid, slices=1).field(contrast, 45.0)[0])
    residual = np.clip(0.10 + 0.05 * grid.field(contrast, 25.0), 0.03, 0.4)
    density = anatomy.water + anatomy.fat
    pd = density * np.exp(-_ECHO_TIME[PD] * anatomy.r2)
    pdfs = (1.25 * anatomy.water + residual * anatomy.fat) * np.exp(-_ECHO_TIME[PDFS] * anatomy.r2)
    pdfs = _moved(pdfs, motion, grid.matrix / matrix, grid)
    sensitivity *= np.outer(
        _taper(grid.rows, _ROW_TAPER, _ROW_EXTENT), _taper(grid.columns, _COLUMN_TAPER, _COLUMN_EXTENT)
    )

    scans = [
        SimulatedScan(
            kspace=_acquired(
                image * sensitivity, rng(f"phase {name}"), rng(f"noise {name}"), name, grid, matrix
            ),
            acquisition=name,
            padding=padding_columns(matrix),
        )
        for name, image in ((PD, pd), (PDFS, pdfs))
    ]
    return scans[0], scans[1], motion, [_oedema_in_pdfs(lesion, motion, matrix) for lesion in lesions]


def _draw_motion(rng: np.random.Generator) -> Motion:
    rows, columns = rng.normal(0, 0.9, 2)
    return Motion(shift=(float(rows), float(columns)), rotation=float(rng.normal(0, 0.4)))


def motion_matrix(motion: Motion, matrix: int) -> NDArray[np.float64]:
    """4x4 matrix that takes (slice, row, column, 1) of a PDFS voxel to the same tissue's place in PD."""
    return rigid_in_plane(np.deg2rad(motion.rotation), motion.shift, (matrix // 2, matrix // 2))


def _moved(volume: Volume, motion: Motion, fine_per_pixel: float, grid: _FineGrid) -> Volume:
    """Resample every slice at the place where the other scan had it."""
    rows, columns = (fine_per_pixel * shift for shift in motion.shift)
    centre = (len(grid.rows) // 2, len(grid.columns) // 2)
    transform = rigid_in_plane(np.deg2rad(motion.rotation), (rows, columns), centre)[1:3, 1:]
    moved = [
        ndimage.affine_transform(image, transform[:, :2], transform[:, 2], order=3, mode="mirror")
        for image in volume
    ]
    return np.stack(moved).astype(np.float32)


def _oedema_in_pdfs(lesion: tuple[int, float, float, float], motion: Motion, matrix: int) -> Oedema:
    index, row_mm, column_mm, radius = lesion
    in_pd = np.array([index, *(np.array([row_mm, column_mm]) * matrix / FIELD_OF_VIEW + matrix // 2), 1])
    _, row, column, _ = np.linalg.solve(motion_matrix(motion, matrix), in_pd)
    return Oedema(slice=index, row=float(row), column=float(column), radius=radius)


def _taper(positions: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
    """1 in the middle, falling as a raised cosine between the two fractions of the field of view."""
    ramp = np.clip((np.abs(positions) / FIELD_OF_VIEW - start) / (end - start), 0, 1)
    falling: NDArray[np.float32] = (0.5 + 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return falling


def _acquired(
    volume: Volume,
    phase_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    acquisition: str,
    grid: _FineGrid,
    matrix: int,
) -> NDArray[np.complex64]:
    """Give fine magnitude images a phase and take noisy k-space (slices, 2 matrix, encoded width) of them."""
    width = encoded_width(matrix)
    fine = grid.matrix
    encoded = (2 * fine, width * fine // matrix)
    top, left = ((side - size) // 2 for side, size in zip(encoded, grid.shape[1:], strict=True))
    noise_std = np.percentile(volume, 97) / _SIGNAL_TO_NOISE[acquisition] / np.sqrt(2)
    padding = padding_columns(matrix)

    y, x = (axis / (0.5 * FIELD_OF_VIEW) for axis in (grid.rows[:, None], grid.columns[None, :]))
    polynomials = np.stack(np.broadcast_arrays(np.ones_like(y), y, x, y * x, y**2, x**2))
    common = phase_rng.normal(0, 0.8, 6)
    local = 0.25 * grid.field(phase_rng, 12.0)
    kspace = np.zeros((grid.slices, 2 * matrix, width), dtype=np.complex64)
    # einsum sums in one order; the bits of a BLAS product may depend on the number of threads.
    for i in range(grid.slices):
        coefficients = common + phase_rng.normal(0, 0.15, 6)
        phase = np.einsum("k,kyx->yx", coefficients, polynomials) + local[i]
        field = np.zeros(encoded, dtype=np.complex64)
        field[top : top + grid.shape[1], left : left + grid.shape[2]] = volume[i] * np.exp(1j * phase)
        rows, columns = ((side - size) // 2 for side, size in zip(encoded, kspace.shape[1:], strict=True))
        # Orthonormal transforms of two sizes: the ratio keeps the image's intensity.
        centre = fft2c(field)[rows : rows + 2 * matrix, columns : columns + width] * np.float32(matrix / fine)
        noise = noise_rng.standard_normal((2, *centre.shape), dtype=np.float32) * np.float32(noise_std)
        kspace[i, :, padding:-padding] = (centre + noise[0] + 1j * noise[1])[:, padding:-padding]
    return kspace * np.complex64(_SCANNER_UNIT)


# ---- files ----------------------------------------------------------------------------------------


def header_xml(scan: SimulatedScan, matrix: int) -> str:
    """Return the ISMRMRD header of a simulated scan, with the fields that published files have."""
    rows, width = scan.kspace.shape[1:]
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}ismrmrdHeader")

    def add(path: str, value: object) -> None:
        element = root
        for step in path.split("/"):
            child = element.find(f"{{{NAMESPACE}}}{step}")
            element = ElementTree.SubElement(element, f"{{{NAMESPACE}}}{step}") if child is None else child
        element.text = str(value)

    def add_space(name: str, size: tuple[int, int], thickness: float) -> None:
        for axis, count in zip("xyz", (*size, 1), strict=True):
            add(f"encoding/{name}/matrixSize/{axis}", count)
        fields = (*(FIELD_OF_VIEW * count / matrix for count in size), thickness)
        for axis, millimetres in zip("xyz", fields, strict=True):
            add(f"encoding/{name}/fieldOfView_mm/{axis}", f"{millimetres:.6g}")

    add("acquisitionSystemInformation/systemVendor", "simulated from an embedded donor")
    add("acquisitionSystemInformation/systemFieldStrength_T", 3)
    add("acquisitionSystemInformation/receiverChannels", 1)
    add("experimentalConditions/H1resonanceFrequency_Hz", 127779670)
    add_space("encodedSpace", (rows, width), DONOR_SPACING)
    add_space("reconSpace", (matrix, matrix), 3.0)
    add("encoding/encodingLimits/kspace_encoding_step_1/minimum", 0)
    add("encoding/encodingLimits/kspace_encoding_step_1/maximum", width - 2 * scan.padding - 1)
    add("encoding/encodingLimits/kspace_encoding_step_1/center", width // 2 - scan.padding)
    add("encoding/encodingLimits/slice/minimum", 0)
    add("encoding/encodingLimits/slice/maximum", len(scan.kspace) - 1)
    add("encoding/encodingLimits/slice/center", len(scan.kspace) // 2)
    add("encoding/trajectory", "cartesian")
    add("sequenceParameters/TR", _REPETITION_TIME[scan.acquisition])
    add("sequenceParameters/TE", round(_ECHO_TIME[scan.acquisition]))
    add("sequenceParameters/sequence_type", "TurboSpinEcho")
    return ElementTree.tostring(root, encoding="unicode")


def write_scan(path: Path, scan: SimulatedScan, matrix: int, patient_id: str) -> None:
    """Write one scan in the published HDF5 form; its reconstruction is the magnitude of the cropped image."""
    image = np.abs(centre_crop(ifft2c(scan.kspace), (matrix, matrix))).astype(np.float32)
    size = scan.kspace.nbytes + 2 * image.nbytes + 16_384
    with replacing(path, size) as temporary, h5py.File(temporary, "w") as file:
        file["ismrmrd_header"] = '<?xml version="1.0" encoding="UTF-8"?>\n' + header_xml(scan, matrix)
        file["kspace"] = scan.kspace
        file["reconstruction_esc"] = image
        # Single coil: the root of the sum of squares has one term.
        file["reconstruction_rss"] = image
        file.attrs["acquisition"] = scan.acquisition
        file.attrs["max"] = float(image.max())
        file.attrs["norm"] = float(np.sqrt(np.sum(image.astype(np.float64) ** 2)))
        file.attrs["patient_id"] = patient_id


def write_pair(
    maps: Mapping[str, Volume], index: int, seed: int, matrix: int, slices: int, split: str, output: Path
) -> None:
    """Write a pair to ``singlecoil_<split>/`` and its truth, for tests only, below ``truth/``."""
    pd, pdfs, motion, lesions = simulate_pair(maps, index, seed, matrix, slices)
    stems = pair_files(index)
    for stem, scan in zip(stems, (pd, pdfs), strict=True):
        path = output / f"singlecoil_{split}" / f"{stem}.h5"
        write_scan(path, scan, matrix, patient_id=f"embedded-knee-{index:05d}")
        print(f"wrote {path}", flush=True)
    truth = {
        "auxiliary": stems[0],
        "subject": stems[1],
        "seed": seed,
        "matrix": matrix,
        "shift_pixels": motion.shift,
        "rotation_degrees": motion.rotation,
        "transform": motion_matrix(motion, matrix).tolist(),
        "transform_maps": "(slice, row, column, 1) of a PDFS voxel to the place of the same tissue in PD",
        "oedema": [asdict(lesion) for lesion in lesions],
    }
    with replacing(output / "truth" / f"singlecoil_{split}" / f"{stems[1]}.truth.json") as temporary:
        temporary.write_text(json.dumps(truth, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_pair_lists(train: int, val: int, output: Path) -> None:
    """Write ``train_pairs.csv`` and ``val_pairs.csv``: pairs 0 to train - 1, then val more."""
    for split, indices in (("train", range(train)), ("val", range(train, train + val))):
        # Pairs are known here, so that the score, a likeness in the published lists, is 1.
        text = pair_list_text([PairEntry(*pair_files(index), 1.0) for index in indices])
        with replacing(output / f"{split}_pairs.csv") as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {output / f'{split}_pairs.csv'}", flush=True)


def main() -> None:
    """Write one pair, or the two pair lists."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.embedded_knee", description=__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write, e.g. results/demo/raw/fastmri"
    )
    parser.add_argument("--donors", type=Path, help="folder with knee.npz, written by data_prep.donors")
    parser.add_argument("--index", type=int, help="number of the pair, from 0")
    parser.add_argument("--seed", type=int, default=2022, help="the experiment's seed (default: %(default)s)")
    parser.add_argument("--split", choices=("train", "val"), help="published split to pose as")
    parser.add_argument(
        "--matrix", type=int, default=320, help="side of the reconstructed image, even (default: %(default)s)"
    )
    parser.add_argument(
        "--slices", type=int, default=20, help="slices per volume, at most 24 (default: %(default)s)"
    )
    parser.add_argument(
        "--pair-lists", action="store_true", help="write the two pair lists instead of a pair"
    )
    parser.add_argument("--train", type=int, help="with --pair-lists: pairs in train_pairs.csv")
    parser.add_argument(
        "--val", type=int, help="with --pair-lists: pairs in val_pairs.csv, numbered on from them"
    )
    arguments = parser.parse_args()
    needed = ("train", "val") if arguments.pair_lists else ("donors", "index", "split")
    missing = [f"--{name}" for name in needed if getattr(arguments, name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} must be given")
    if arguments.pair_lists:
        write_pair_lists(arguments.train, arguments.val, arguments.output)
        return
    write_pair(
        load_maps(arguments.donors),
        arguments.index,
        arguments.seed,
        arguments.matrix,
        arguments.slices,
        arguments.split,
        arguments.output,
    )


if __name__ == "__main__":
    run_command(main)
