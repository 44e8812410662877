"""Many semi-synthetic single-coil knee pairs (PD, PDFS) from one real knee, written as fastMRI files.

The donor is a real multi-echo scan: 24 sagittal slices at 8 echo times. Its proton density, T2 and fat
fraction are deformed at random, both contrasts are computed from them, and an acquisition is simulated
from a grid finer than the scan's own: the k-space is cut to the acquired matrix, a smooth phase and
complex noise are added. Everything drawn at random comes from seeds named by the pair's index.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.datasets.contract import Size
from data_prep.datasets.fastmri.dataset import PAIRS, check_size, pair_files
from data_prep.datasets.fastmri.pairs import PairEntry, pair_list_text
from data_prep.datasets.fastmri.scans import NAMESPACE, PD, PDFS, centre_crop
from data_prep.fourier import fft2c, ifft2c
from data_prep.io.files import replacing, write_text
from data_prep.io.json_files import write_json
from data_prep.phantom.fields import Array
from data_prep.phantom.knee import (
    COLUMN_EXTENT,
    DONOR_SPACING,
    FIELD_OF_VIEW,
    ROW_EXTENT,
    FineGrid,
    deformed,
    fine_grid,
    textured,
    with_oedema,
)
from data_prep.phantom.knee_maps import load_maps
from data_prep.registration.in_plane import rigid_in_plane
from data_prep.seeds import seed_for

# The leg goes on beyond the image, and the coil's sensitivity ends it smoothly: without this the cut at
# the image's edge would put a bright cross into k-space. Where the fall begins and where it ends, from the
# centre, in fields of view.
_ROW_TAPER, _COLUMN_TAPER = 0.42, 0.50

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


def encoded_width(matrix: int) -> int:
    """Acquired columns, even, for a reconstructed ``matrix``: 368 for 320, as published."""
    return 2 * round(1.15 * matrix / 2)


def padding_columns(matrix: int) -> int:
    """Columns on each side that are stored as zeros because they are never acquired."""
    return max(1, round(4 * matrix / 320))


def simulate_pair(
    maps: Mapping[str, Array], index: int, seed: int, matrix: int, slices: int
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
    check_size(Size(matrix, slices), count)

    def rng(part: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(use="embedded_knee", seed=seed, pair=index, part=part))

    grid = fine_grid(matrix, slices)
    # The outermost donor slices show little but skin; they are used only when nearly all are wanted.
    spare = max(0, min(2, (count - slices) // 2))
    first = int(rng("slices").integers(spare, count - slices - spare + 1))
    anatomy = textured(deformed(maps, rng("anatomy"), grid, first), rng("texture"), grid)
    anatomy, lesions = with_oedema(anatomy, rng("oedema"), grid)
    motion = _draw_motion(rng("motion"))

    contrast = rng("contrast")
    sensitivity = np.exp(0.15 * replace(grid, slices=1).field(contrast, 45.0)[0])
    residual = np.clip(0.10 + 0.05 * grid.field(contrast, 25.0), 0.03, 0.4)
    density = anatomy.water + anatomy.fat
    pd = density * np.exp(-_ECHO_TIME[PD] * anatomy.r2)
    pdfs = (1.25 * anatomy.water + residual * anatomy.fat) * np.exp(-_ECHO_TIME[PDFS] * anatomy.r2)
    pdfs = _moved(pdfs, motion, grid.matrix / matrix, grid)
    sensitivity *= np.outer(
        _taper(grid.rows, _ROW_TAPER, ROW_EXTENT), _taper(grid.columns, _COLUMN_TAPER, COLUMN_EXTENT)
    )

    def acquired(image: Array, name: str) -> SimulatedScan:
        draws = rng(f"phase {name}"), rng(f"noise {name}")
        kspace = _acquired(image * sensitivity, *draws, name, grid, matrix)
        return SimulatedScan(kspace, name, padding_columns(matrix))

    oedema = [_oedema_in_pdfs(lesion, motion, matrix) for lesion in lesions]
    return acquired(pd, PD), acquired(pdfs, PDFS), motion, oedema


def _draw_motion(rng: np.random.Generator) -> Motion:
    rows, columns = rng.normal(0, 0.9, 2)
    return Motion(shift=(float(rows), float(columns)), rotation=float(rng.normal(0, 0.4)))


def motion_matrix(motion: Motion, matrix: int) -> NDArray[np.float64]:
    """4x4 matrix that takes (slice, row, column, 1) of a PDFS voxel to the same tissue's place in PD."""
    return rigid_in_plane(np.deg2rad(motion.rotation), motion.shift, (matrix // 2, matrix // 2))


def _moved(volume: Array, motion: Motion, fine_per_pixel: float, grid: FineGrid) -> Array:
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
    volume: Array,
    phase_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    acquisition: str,
    grid: FineGrid,
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


def embed(donors: Path, index: int, seed: int, size: Size, root: Path, split: str) -> None:
    """Write one pair; see ``write_pair``."""
    write_pair(load_maps(donors), index, seed, size.matrix, size.slices, split, root)


def write_pair(
    maps: Mapping[str, Array], index: int, seed: int, matrix: int, slices: int, split: str, output: Path
) -> None:
    """Write a pair to ``singlecoil_<split>/`` and its truth, for tests only, below ``truth/``."""
    pd, pdfs, motion, lesions = simulate_pair(maps, index, seed, matrix, slices)
    stems = pair_files(index)
    for stem, scan in zip(stems, (pd, pdfs), strict=True):
        path = output / f"singlecoil_{split}" / f"{stem}.h5"
        write_scan(path, scan, matrix, patient_id=f"embedded-knee-{index:05d}")
    truth = {
        "auxiliary": stems[0],
        "subject": stems[1],
        "seed": seed,
        "matrix": matrix,
        "shift_pixels": motion.shift,
        "rotation_degrees": motion.rotation,
        "transform": motion_matrix(motion, matrix).tolist(),
        "transform_maps": "(slice, row, column, 1) of a PDFS voxel to the place of the same tissue in PD",
        "oedema": lesions,
    }
    write_json(output / "truth" / f"singlecoil_{split}" / f"{stems[1]}.truth.json", truth)


def write_pair_lists(train: int, val: int, output: Path) -> None:
    """Write ``train_pairs.csv`` and ``val_pairs.csv``: pairs 0 to train - 1, then val more."""
    for split, indices in (("train", range(train)), ("val", range(train, train + val))):
        # Pairs are known here, so that the score, a likeness in the published lists, is 1.
        text = pair_list_text([PairEntry(*pair_files(index), 1.0) for index in indices])
        write_text(output / PAIRS.format(split), text)


def list_embedded(splits: Mapping[str, int], output: Path) -> None:
    """Write the pair lists of the embedded knees that fill the splits."""
    write_pair_lists(splits["train"] + splits["val"], splits["test"], output)
