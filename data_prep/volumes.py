"""NIfTI volumes: read whole or refused by name, in a standard orientation."""

import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput, naming
from data_prep.io.files import replacing

_FEWEST_VOXELS = 4
# Twelve times IXI's largest scans: beyond, a header is more likely broken than true.
_MOST_VOXELS = 2**27
# Resampling with sharp kernels leaves small negative values; subtracting a mean leaves large ones.
_NEGATIVE_SHARE = 0.05
_GZIP_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 348
_FIRST_VOXEL = 352  # byte, at the earliest, of a single file
_LAST_VOXEL = 2**24  # byte at which voxels begin at the latest: extensions before them are texts
_DEFLATED = 1032  # bytes that one of a compressed stream stands for at most (zlib's technical details)
_BLOCK = 1 << 24
_NIFTI2_BYTES = 540  # what the header of the format's second version says of its length
# Millimetres in a metre and in a micron, by their code in xyzt_units; 2 is mm, and others say nothing.
_MILLIMETRES = {1: 1e3, 3: 1e-3}
_SMALLEST, _LARGEST = 0.01, 100.0  # voxel sizes in mm; beyond, the unit is wrong
# How far two descriptions of one volume may differ: single precision leaves a thousandth of either.
_LARGEST_GAP, _LARGEST_MISFIT = 1.0, 0.01  # mm at a corner, part of a voxel's size
# nibabel tells what it mends in a header on the terminal, without the file's name.
_UNHEARD = logging.Logger("nibabel", logging.CRITICAL + 1)


@dataclass(frozen=True)
class Header:
    """What a scan's header says, checked.

    Attributes:
        shape: voxels along the three axes of the file.
        affine: (4, 4), voxel index to RAS+ millimetres.
        file_bytes: of header and voxels, uncompressed.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    file_bytes: int


@dataclass(frozen=True)
class Volume:
    """A scan in physical space.

    Attributes:
        data: float32 (x, y, z) in scanner units, in the order of the file or as reoriented.
        affine: (4, 4), voxel index to RAS+ millimetres.
        scan: header of the file that the voxels come from, whatever became of their order since.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    scan: Header | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the three axes."""
        return self.data.shape

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size along the three axes in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def central(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """Crop to the central ``shape``, or pad with zeros about the centre, axis by axis."""
    data, origin = volume.data, np.zeros(3)
    for axis, (have, want) in enumerate(zip(volume.data.shape, shape, strict=True)):
        start = (have - want) // 2
        origin[axis] = start
        if start >= 0:
            data = np.take(data, np.arange(start, start + want), axis)
        else:
            width = [(0, 0)] * 3
            width[axis] = (-start, want - have + start)
            data = np.pad(data, width)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ origin
    return replace(volume, data=data, affine=affine)


def absence(path: Path, missing: str) -> str:
    """Say why there is no scan at a path; empty if it is a file.

    Args:
        path: of the scan.
        missing: what is said where nothing is there, and the remedy.
    """
    if path.is_dir():
        # Some programs make of scan.nii.gz a folder scan.nii with the scan in it.
        return f"{path}: it is a folder and no file; put the scan that it holds in its place"
    return "" if path.is_file() else f"{path}: {missing}"


def load_volume(path: Path, *, signed: bool = False) -> Volume:
    """Load a three-dimensional NIfTI scan and check it.

    A fourth axis of length one is dropped.

    Args:
        path: of the scan.
        signed: whether values far below zero are taken: no magnitude has them, a reconstruction may.

    Raises:
        BadInput: the file is missing, truncated or not NIfTI; it is not one real-valued volume; it holds
            NaN or infinite values, no signal, or values far below zero; or its header gives no usable
            orientation, or two that contradict each other.
    """
    # What overflows is infinite, and refused below.
    with np.errstate(over="ignore", invalid="ignore"):
        header, data = _read(path)
        data = data.reshape(header.shape).astype(np.float32)
    if not np.isfinite(data).all():
        raise BadInput(f"{path}: voxels are NaN or infinite; replace the file or leave the scan out")
    if data.min() == data.max():
        raise BadInput(f"{path}: all voxels are equal; replace the file or leave the scan out")
    if not signed and data.min() < -_NEGATIVE_SHARE * data.max():
        raise BadInput(
            f"{path}: voxels are negative, down to {data.min():g} (the largest is {data.max():g}); give "
            "magnitudes, neither normalised nor a real part"
        )
    return Volume(data, header.affine, header)


def read_header(path: Path) -> Header:
    """Read and check a scan's header only, without its voxels.

    Raises:
        BadInput: as ``load_volume`` for all that a header can tell.
    """
    with _opened(path) as stream:
        return _check_header(stream.read(_HEADER_BYTES), path)


def axial_slices(header: Header) -> int:
    """Number of slices that ``to_axial`` gives."""
    from nibabel.orientations import io_orientation

    axes = io_orientation(header.affine)[:, 0]
    return header.shape[int(np.flatnonzero(axes == 2)[0])]


def to_axial(volume: Volume) -> Volume:
    """Reorder and flip the axes, without interpolation, so that they run to left, posterior, superior.

    The storage axis nearest to each direction is taken. ``data.T`` is then (slice, height, width) as
    radiologists display it: slices from below, anterior at the top, the patient's right on the left.
    """
    from nibabel.orientations import (
        apply_orientation,
        axcodes2ornt,
        inv_ornt_aff,
        io_orientation,
        ornt_transform,
    )

    change = ornt_transform(io_orientation(volume.affine), axcodes2ornt(("L", "P", "S")))
    affine = volume.affine @ inv_ornt_aff(change, volume.data.shape)
    data = np.ascontiguousarray(apply_orientation(volume.data, change))
    return replace(volume, data=data, affine=affine)


def save_volume(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write a volume as NIfTI, compressed if ``path`` ends in ``.gz``, its affine as qform and sform.

    The same input gives the same bytes.
    """
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    with replacing(path) as temporary:
        # No time stamp, and a level beyond which noisy scans hardly shrink.
        temporary.write_bytes(gzip.compress(content, 4, mtime=0) if path.suffix == ".gz" else content)


def _read(path: Path) -> tuple[Header, NDArray]:
    """Read header and voxels, scaled as the header says."""
    import nibabel
    from nibabel.volumeutils import apply_read_scaling

    with _opened(path) as stream:
        content = bytearray(stream.read(_HEADER_BYTES))
        header = _check_header(bytes(content), path)
        # What cannot be there is not begun to read.
        if header.file_bytes > path.stat().st_size * (_DEFLATED if isinstance(stream, gzip.GzipFile) else 1):
            raise EOFError
        # Block by block, because a header may promise more than there is.
        while len(content) < header.file_bytes and (block := stream.read(_BLOCK)):
            content += block
        if len(content) < header.file_bytes:
            raise EOFError
        # To the end, because only there the compressed stream has its checksum.
        left = header.file_bytes
        while block := stream.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise ValueError
        stored: Any = nibabel.Nifti1Header(bytes(content[:_HEADER_BYTES]), check=False)
        # As nibabel's data_from_fileobj, but without copies of what is in memory already.
        dtype, count = stored.get_data_dtype(), math.prod(header.shape)
        voxels = np.frombuffer(content, dtype, count, header.file_bytes - count * dtype.itemsize)
        slope, intercept = stored.get_slope_inter()
        scaled = apply_read_scaling(
            voxels.reshape(header.shape, order="F"),
            1.0 if slope is None else slope,
            0.0 if intercept is None else intercept,
        )
        return header, np.asanyarray(scaled)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a scan, compressed or not, whatever its suffix; what goes wrong inside names the file."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    if said := absence(path, "no such file; check the folder of the scans"):
        raise BadInput(said)
    broken = BadInput(f"{path}: the file is truncated or not NIfTI; download or copy it again")
    try:
        with naming(path), path.open("rb") as file:
            compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if compressed else file
    except (
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        EOFError,
        ValueError,
        OverflowError,
        zlib.error,
    ) as error:
        raise broken from error
    except OSError as error:
        # A bad gzip stream or too short a file; errors with a number are the system's (permission, disk).
        if error.errno is not None:
            raise
        raise broken from error


def _check_header(block: bytes, path: Path) -> Header:
    import nibabel

    if _NIFTI2_BYTES in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")):
        raise BadInput(f"{path}: NIfTI-2, but NIfTI-1 is needed; convert the scan")
    # Extensions between header and voxels are not looked at.
    header: Any = nibabel.Nifti1Header(block, check=False)
    # As it is: nibabel mends zeros and signs.
    pixdim = header["pixdim"][1:4].astype(np.float64)
    # The format's sign of the third axis; nibabel would take any but -1 for 1.
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    header.check_fix(_UNHEARD)
    shape = tuple(int(side) for side in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < _FEWEST_VOXELS:
        raise BadInput(
            f"{path}: the image has shape {shape}, but one volume of at least {_FEWEST_VOXELS} voxels a "
            "side is needed; extract it or leave the scan out"
        )
    if math.prod(shape) > _MOST_VOXELS:
        raise _unfit(path, f"the image has shape {shape}, more voxels than any scan of a head")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise BadInput(f"{path}: voxels of type {dtype} are no magnitudes; convert the scan to int16")
    affine = _affine(header, shape, pixdim, path)
    begin = int(header.get_data_offset())
    # nibabel would take the header itself for voxels.
    if begin < _FIRST_VOXEL:
        raise _unfit(path, f"vox_offset is {begin}, so the voxels would begin within the header")
    if begin > _LAST_VOXEL:
        notes = f"so {_LAST_VOXEL} bytes of notes or more would precede the voxels"
        raise _unfit(path, f"vox_offset is {begin}, {notes}")
    return Header(shape, affine, begin + math.prod(shape) * dtype.itemsize)


def _affine(
    header: Any, shape: tuple[int, ...], pixdim: NDArray[np.float64], path: Path
) -> NDArray[np.float64]:
    """Return where a header places the voxels, in mm, if all that it says of it agrees."""
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
    forms = {}
    for name, get in (("sform", header.get_sform), ("qform", header.get_qform)):
        if header[f"{name}_code"]:
            try:
                forms[name] = np.asarray(get(), dtype=np.float64)
            except ValueError as error:
                raise _unfit(path, f"{name} is no rotation") from error
            forms[name][:3] *= unit
    if not forms:
        raise BadInput(
            f"{path}: qform_code and sform_code are 0, so the header gives no position in space; "
            "replace the file or leave the scan out"
        )
    used, affine = next(iter(forms.items()))
    _check_affine(affine, path)
    voxel, stated = np.linalg.norm(affine[:3, :3], axis=0), pixdim * unit
    if not (np.abs(voxel - stated) <= _LARGEST_MISFIT * np.abs(stated)).all():
        raise _unfit(path, f"{used} gives voxels of {_sizes(voxel)} mm, but pixdim {_sizes(stated)} mm")
    gap = largest_gap(affine, forms.get("qform", affine), shape)
    if not gap <= _LARGEST_GAP:
        mirrored = np.linalg.det(affine) * np.linalg.det(forms["qform"]) < 0
        how = f"up to {gap:.1f} mm apart{' and mirror each other' if mirrored else ''}"
        raise BadInput(
            f"{path}: sform and qform place the volume's corners {how}; set the code of the wrong one to 0 "
            "or leave the scan out"
        )
    return affine


def largest_gap(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return how far apart, in mm, two affines (4, 4) place a corner of a volume, at most."""
    corners = np.indices((2, 2, 2)).reshape(3, 8).T * shape - 0.5
    difference = (first - second)[:3]
    return float(np.linalg.norm(corners @ difference[:, :3].T + difference[:, 3], axis=1).max())


def _check_affine(affine: NDArray[np.float64], path: Path) -> None:
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and voxel.all()):
        raise _unfit(path, "the header's affine is not invertible")
    if voxel.min() < _SMALLEST or voxel.max() > _LARGEST:
        raise _unfit(path, f"voxels of {_sizes(voxel)} mm, by the unit that xyzt_units names, are no scan's")
    axes = affine[:3, :3] / voxel
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        raise _unfit(path, "the header's axes are not at right angles")


def _sizes(voxel: NDArray[np.float64]) -> str:
    return " x ".join(f"{side:.4g}" for side in voxel)


def _unfit(path: Path, what: str) -> BadInput:
    return BadInput(f"{path}: {what}; repair the header or leave the scan out")
