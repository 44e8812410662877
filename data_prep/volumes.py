"""NIfTI volumes: read whole or refused by name, in a standard orientation."""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
_BLOCK = 1 << 24


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
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]

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
    return Volume(data, affine)


def load_volume(path: Path) -> Volume:
    """Load a three-dimensional NIfTI scan and check it.

    A fourth axis of length one is dropped.

    Raises:
        BadInput: the file is missing, truncated or not NIfTI; it is not one real-valued volume; it holds
            NaN or infinite values, no signal, or values far below zero; or its header gives no usable
            orientation.
    """
    header, data = _read(path)
    data = data.reshape(header.shape).astype(np.float32)
    if not np.isfinite(data).all():
        raise BadInput(f"{path}: voxels are NaN or infinite; replace the file or leave the scan out")
    if data.min() == data.max():
        raise BadInput(f"{path}: all voxels are equal; replace the file or leave the scan out")
    if data.min() < -_NEGATIVE_SHARE * data.max():
        raise BadInput(
            f"{path}: voxels are negative, down to {data.min():g} (the largest is {data.max():g}); scans are "
            "magnitudes, so give the published file in place of a normalised copy"
        )
    return Volume(data, header.affine)


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
    return Volume(np.ascontiguousarray(apply_orientation(volume.data, change)), affine)


def save_volume(path: Path, data: NDArray[np.integer], affine: NDArray[np.float64]) -> None:
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

    with _opened(path) as stream:
        content = bytearray(stream.read(_HEADER_BYTES))
        header = _check_header(bytes(content), path)
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
        image = nibabel.Nifti1Image.from_bytes(bytes(content))
        return header, np.asanyarray(image.dataobj)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a scan, compressed or not, whatever its suffix; what goes wrong inside names the file."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    if not path.is_file():
        raise BadInput(f"{path}: no such file; check the folder of the scans")
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

    # Extensions between header and voxels are not looked at.
    header: Any = nibabel.Nifti1Header(block)
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
    if not (header["qform_code"] or header["sform_code"]):
        raise BadInput(
            f"{path}: qform_code and sform_code are 0, so the header gives no position in space; "
            "replace the file or leave the scan out"
        )
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    _check_affine(affine, path)
    begin = int(header.get_data_offset())
    # nibabel would take the header itself for voxels.
    if begin < _FIRST_VOXEL:
        raise _unfit(path, f"vox_offset is {begin}, so the voxels would begin within the header")
    return Header(shape, affine, begin + math.prod(shape) * dtype.itemsize)


def _check_affine(affine: NDArray[np.float64], path: Path) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise _unfit(path, "the header's affine is not invertible")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        raise _unfit(path, "the header's axes are not at right angles")


def _unfit(path: Path, what: str) -> BadInput:
    return BadInput(f"{path}: {what}; repair the header or leave the scan out")
