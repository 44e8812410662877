"""IXI and fastMRI as published: every known hole in its place, in files of a few voxels.

Real are the numbers of subjects, pairs and slices, the names of what is missing or does not fit, and the
forms of names and headers. The other names are made up.
"""

import gzip
import math
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
from knee_phantom import HEADER

from data_prep.datasets.fastmri.scans import centre_crop
from data_prep.fourier import fft2c

WITHOUT_T2 = ("IXI116-Guys-0739", "IXI182-Guys-0792", "IXI309-IOP-0897", "IXI500-Guys-1017")
WITHOUT_T1 = "IXI580-IOP-1157"
SHORT = "IXI014-HH-1236"  # 28 slices
HOLES = (*WITHOUT_T2, WITHOUT_T1, SHORT)
UNLIKE = ("file1000116", "file1000632")  # PD of 150 mm, PDFS of 160 mm
PAIRS = {"train": (227, 8332), "val": (45, 1665)}

# Ellipsoids: centre and half axes, as parts of a field of view from -1 to 1, brightness in T1 and T2.
_HEAD = [
    ((0, 0, 0), (0.75, 0.9, 0.9), 300, 250),
    ((0, -0.02, 0.05), (0.66, 0.8, 0.8), 500, 600),
    ((0.05, 0, 0.1), (0.5, 0.62, 0.6), 800, 420),
    ((-0.12, 0.1, 0.15), (0.12, 0.35, 0.25), 150, 1000),
    ((0.16, 0.05, 0.15), (0.1, 0.3, 0.3), 150, 1000),
    ((0.3, 0.45, -0.2), (0.15, 0.1, 0.2), 520, 650),
    ((-0.35, -0.4, 0.3), (0.12, 0.18, 0.15), 520, 650),
    ((0.1, -0.7, -0.35), (0.35, 0.2, 0.25), 650, 500),
]
_SPACING, _MOTION = 1.25, (5.0, -4.0, 3.0)  # mm


# ---- IXI ------------------------------------------------------------------------------------------


def ixi_subjects(count: int = 582) -> list[str]:
    """Return ids from three sites, the known ones among them."""
    known = {int(name[3:6]) for name in HOLES}
    others = (
        f"IXI{i:03d}-{('Guys', 'HH', 'IOP')[i % 3]}-{700 + i:04d}" for i in range(2, 900) if i not in known
    )
    return sorted([*HOLES, *(next(others) for _ in range(count - len(HOLES)))])


def write_ixi(
    root: Path, count: int = 582, side: int = 5, field: float = 10.0, slices: int = 104
) -> list[str]:
    """Write the scans of some subjects: T1 sagittal, T2 axial, all different.

    Args:
        root: folder of the two folders.
        count: number of subjects, the ones with holes among them.
        side: voxels of T2 along both in-plane axes, and of T1 alike.
        field: of view, mm; a head has 240.
        slices: of T2, 1.25 mm each.
    """
    for number, subject in enumerate(ixi_subjects(count)):
        generator = np.random.default_rng(number)
        for modality in ("T1", "T2"):
            if (modality == "T2" and subject in WITHOUT_T2) or (modality == "T1" and subject == WITHOUT_T1):
                continue
            header, voxels = _head(
                modality, side, field, 28 if subject == SHORT and modality == "T2" else slices
            )
            noisy = voxels + generator.integers(0, 12, voxels.shape, np.int16)
            path = root / f"IXI-{modality}" / f"{subject}-{modality}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(header + noisy.tobytes("F"), 1, mtime=0))
    return ixi_subjects(count)


@cache
def _head(modality: str, side: int, field: float, slices: int) -> tuple[bytes, np.ndarray]:
    """Return what precedes the voxels in the file, and int16 voxels."""
    step = field / side
    if modality == "T2":
        shape = (side, side, slices)
        affine = np.diag([-step, step, _SPACING, 1.0])
    else:
        # The file's axes run to posterior, superior and right.
        shape = (side, round(slices * _SPACING / step) + 1, side)
        affine = np.array([[0, 0, step, 0], [-step, 0, 0, 0], [0, step, 0, 0], [0, 0, 0, 1.0]])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    place = (index @ affine[:3, :3].T + affine[:3, 3]) / (field / 2)
    # Between the scans the head moves, of which the header does not tell.
    place -= np.array(_MOTION if modality == "T1" else (0, 0, 0)) / (field / 2)
    place[..., 2] *= field / (slices * _SPACING)
    voxels = np.zeros(shape, np.int16)
    for centre, axes, *bright in _HEAD:
        inside = (((place - np.array(centre)) / np.array(axes)) ** 2).sum(-1) < 1
        voxels[inside] = bright[modality == "T2"]
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return image.to_bytes()[: -voxels.nbytes], voxels


# ---- fastMRI --------------------------------------------------------------------------------------


def knee_pairs(split: str, count: int | None = None) -> list[tuple[str, str]]:
    """Return stems (PD, PDFS) of a published list, the odd pair among them."""
    first = 1_001_000 if split == "train" else 1_002_000
    pairs = [(f"file{first + 2 * i}", f"file{first + 2 * i + 1}") for i in range(count or PAIRS[split][0])]
    return [UNLIKE, *pairs[1:]] if split == "train" else pairs


def write_fastmri(
    root: Path, counts: Sequence[int | None] = (None, None), full_size: bool = True
) -> dict[str, Path]:
    """Write the pairs of both lists, and the lists.

    Args:
        root: folder of the files.
        counts: numbers of training and validation pairs; None: as published.
        full_size: as many slices as published, of 640 x 368, in which nothing is stored and which need no
            space; else three slices of 64 x 40, cropped to 32 x 32, with a knee of sorts in them.
    """
    lists = {}
    for (split, (_, slices)), count in zip(PAIRS.items(), counts, strict=True):
        pairs = knee_pairs(split, count)
        lists[split] = root / f"singlecoil_{split}_split_less.csv"
        (root / f"singlecoil_{split}").mkdir(parents=True)
        lists[split].write_text("".join(f"{pd},{pdfs},0.5\n" for pd, pdfs in pairs))
        for number, pair in enumerate(pairs):
            share = slices // len(pairs) + (number < slices % len(pairs)) if full_size else 3
            for stem, contrast in zip(pair, ("PD", "PDFS"), strict=True):
                path = root / f"singlecoil_{split}" / f"{stem}.h5"
                _write_knee(path, contrast, f"person of {pair[0]}", share, full_size)
    return lists


def _write_knee(path: Path, contrast: str, person: str, slices: int, full_size: bool) -> None:
    (rows, columns), side = ((640, 368), 320) if full_size else ((64, 40), 32)
    field = 150 if path.stem == UNLIKE[0] else 160
    header = HEADER.replace("<x>24</x><y>20</y>", f"<x>{rows}</x><y>{columns}</y>")
    header = header.replace("<x>12</x><y>12</y>", f"<x>{side}</x><y>{side}</y>")
    for old, pixels in (("<x>240</x><y>200</y>", (rows, columns)), ("<x>120</x><y>120</y>", (side, side))):
        x, y = (field * number / side for number in pixels)
        header = header.replace(old, f"<x>{x}</x><y>{y}</y>")
    with h5py.File(path, "w") as file:

        def dataset(name: str, shape: tuple[int, int, int], kind: type) -> h5py.Dataset:
            # A chunk for each slice: smaller ones are hundreds for each file, and as slow to write.
            packed: dict[str, Any] = {"compression": "gzip", "chunks": (1, *shape[1:])} if full_size else {}
            return file.create_dataset(name, shape, kind, **packed)

        kspace = dataset("kspace", (slices, rows, columns), np.complex64)
        stored = dataset("reconstruction_esc", (slices, side, side), np.float32)
        if full_size:
            # Zeros, but stored: of chunks that nobody wrote a file is said to claim too much.
            for data in (kspace, stored):
                zeros = _packed_zeros(math.prod(data.chunks) * data.dtype.itemsize)
                for number in range(slices):
                    data.id.write_direct_chunk((number, 0, 0), zeros)
        else:
            image = _knee(contrast, int(path.stem[4:]), (slices, rows, columns))
            kspace[...] = fft2c(image)
            stored[...] = np.abs(centre_crop(image, (side, side)))
        file["ismrmrd_header"] = header
        file.attrs.update(acquisition=f"COR{contrast}_FBK", patient_id=person)


@cache
def _packed_zeros(size: int) -> bytes:
    return zlib.compress(bytes(size))


def _knee(contrast: str, seed: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return complex64 slices: ellipses, a phase, and noise of their own."""
    generator = np.random.default_rng(seed)
    rows, columns = (np.linspace(-size / 32, size / 32, size) for size in shape[1:])
    y, x = np.meshgrid(rows, columns, indexing="ij")
    image = np.zeros(shape[1:])
    for (a, b, _), (width, height, _), *bright in _HEAD:
        image[((x - a) / width) ** 2 + ((y - b) / height) ** 2 < 1] = bright[contrast == "PDFS"]
    noise = generator.normal(0, 5, (2, *shape))
    return np.asarray(image * np.exp(0.5j * (x + y)) + noise[0] + 1j * noise[1], np.complex64)
