"""fastMRI single-coil knee files exactly as published: checks, header, complex images, pair lists."""

import math
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray

from data_prep.datasets.geometry import Geometry
from data_prep.errors import BadInput, system_number
from data_prep.fourier import ifft2c
from data_prep.io import hdf5

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
PD, PDFS = "CORPD_FBK", "CORPDFS_FBK"

# |crop| against the stored reconstruction, relative to the slice's maximum: both are float32 transforms of
# a quarter of a million samples, which differ by a few 1e-6.
_RECONSTRUCTION_TOLERANCE = 1e-5
# Two scans with fields of view further apart than this do not share a pixel grid: 0.8 pixels at the edge.
FIELD_OF_VIEW_TOLERANCE = 0.005
# Published volumes have up to 50 or so. A damaged number must not become a request for all memory.
_MOST_SLICES = 1000
_LONGEST_HEADER = 2**20  # bytes; published ones have some 10,000
_LARGEST_BYTES = 2**31  # of a volume; published ones have some 100 million
_LARGEST_WHOLE = 2**20  # of matrix sizes and encoding steps
# One way only to match any text: of a long one, each of several would be tried at every digit.
DECIMAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True)
class Header:
    """What the ISMRMRD header says about geometry; x is the readout (rows), y the phase encoding (columns).

    Attributes:
        encoded_matrix: (x, y) of k-space.
        recon_matrix: (x, y) of the reconstructed image.
        encoded_field_of_view: (x, y) in mm.
        recon_field_of_view: (x, y) in mm.
        padding_left: first acquired column of k-space; those before are zeros.
        padding_right: one past the last acquired column. Images need neither, so that any numbers are taken.
    """

    encoded_matrix: tuple[int, int]
    recon_matrix: tuple[int, int]
    encoded_field_of_view: tuple[float, float]
    recon_field_of_view: tuple[float, float]
    padding_left: int
    padding_right: int

    @property
    def acquired_within(self) -> bool:
        """Whether the acquired columns lie within the encoded matrix."""
        return 0 <= self.padding_left < self.padding_right <= self.encoded_matrix[1]


@dataclass(frozen=True)
class Scan:
    """One file, checked except for its arrays' values.

    Attributes:
        path: the file.
        acquisition: ``CORPD_FBK`` (PD) or ``CORPDFS_FBK`` (PD with fat suppression).
        patient_id: as published.
        header: geometry.
        slices: number of slices.
        matrix: (rows, columns) of k-space as stored.
    """

    path: Path
    acquisition: str
    patient_id: str
    header: Header
    slices: int
    matrix: tuple[int, int]


def parse_header(xml: bytes, path: Path) -> Header:
    """Read the geometry from an ISMRMRD header.

    Args:
        xml: the content of ``ismrmrd_header``.
        path: the file it comes from, for messages.

    Raises:
        BadInput: not XML, a document type declaration (the way to entities), or a field that is missing, no
            number or inconsistent.
    """
    if len(xml) > _LONGEST_HEADER:
        raise _too_long(path, len(xml))
    try:
        text = xml.decode("utf-8").strip()
        # Entities can only be declared in a document type; a scanner writes none.
        if "<!DOCTYPE" in text:
            raise BadInput(
                f"{path}: ismrmrd_header declares a document type, which is refused because entities can "
                "harm; replace the file by the published one"
            )
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        if system_number(error) is not None:
            raise MemoryError(str(error)) from error
        raise _damaged(path, f"ismrmrd_header is not XML ({error})") from error

    def matrix(space: str) -> tuple[int, int]:
        x, y = (_whole(root, path, f"{space}/matrixSize/{axis}", least=1) for axis in "xy")
        return x, y

    def field_of_view(space: str) -> tuple[float, float]:
        x, y = (_positive(root, path, f"{space}/fieldOfView_mm/{axis}") for axis in "xy")
        return x, y

    encoded = matrix("encodedSpace")
    limits = "encodingLimits/kspace_encoding_step_1"
    left = encoded[1] // 2 - _whole(root, path, f"{limits}/center")
    right = left + _whole(root, path, f"{limits}/maximum") + 1
    return Header(
        encoded,
        matrix("reconSpace"),
        field_of_view("encodedSpace"),
        field_of_view("reconSpace"),
        padding_left=left,
        padding_right=right,
    )


def _text(root: ElementTree.Element, path: Path, field: str) -> str:
    """Return what stands in a field below the first ``encoding`` element, if it is a decimal number."""
    steps = ["encoding", *field.split("/")]
    text = root.findtext("/".join(f"{{{NAMESPACE}}}{step}" for step in steps))
    if text is None:
        raise _wrong_field(path, field, "is missing")
    # float() alone also takes underscores and other scripts' digits.
    if not DECIMAL.fullmatch(text):
        raise _wrong_field(path, field, f"is {text[:40]!r}, not a number")
    return text.strip()


def _positive(root: ElementTree.Element, path: Path, field: str) -> float:
    text = _text(root, path, field)
    if not (math.isfinite(value := float(text)) and value > 0):
        raise _wrong_field(path, field, f"is {text[:40]}, not a positive number")
    return value


def _whole(root: ElementTree.Element, path: Path, field: str, least: int = -_LARGEST_WHOLE) -> int:
    # Said as it is written: 111.9996 is not 112.
    text = _text(root, path, field)
    if not float(text).is_integer():
        raise _wrong_field(path, field, f"is {text[:40]}, not a whole number")
    if not least <= float(text) <= _LARGEST_WHOLE:
        raise _wrong_field(path, field, f"is {text[:40]}, not from {least} to {_LARGEST_WHOLE}")
    return int(float(text))


def _wrong_field(path: Path, field: str, what: str) -> BadInput:
    return _damaged(path, f"field encoding/{field} of ismrmrd_header {what}")


def _damaged(path: Path, what: str) -> BadInput:
    """Return the error of a file that is not as published."""
    return BadInput(f"{path}: {what}; the file is not as published, download it again")


def _unpairable(path: Path, what: str) -> BadInput:
    """Return the error of a scan that cannot be one of a pair."""
    return BadInput(f"{path}: {what}; remove its pair from the list")


def open_scan(path: Path) -> Scan:
    """Check a file's datasets, attributes and header, without reading its k-space.

    Raises:
        BadInput: the file is missing, truncated or not of the published form.
    """
    with opened_scan(path) as file:
        kspace = stack(file, path, "kspace", np.dtype(np.complex64))
        if "mask" in file:
            raise BadInput(
                f"{path}: it holds a `mask`, as the files of the published test set do, so its k-space is "
                "undersampled; use files of singlecoil_train and singlecoil_val"
            )
        reconstruction = stack(file, path, "reconstruction_esc", np.dtype(np.float32))
        xml = header_text(file, path)
        acquisition, patient = (_attribute(file, path, name) for name in ("acquisition", "patient_id"))
        slices, *matrix = kspace.shape
        stored = reconstruction.shape
    header = parse_header(xml, path)
    if acquisition not in (PD, PDFS):
        raise _unpairable(path, f"attribute acquisition is {acquisition[:40]!r}, neither {PD} nor {PDFS}")
    crop = (slices, *header.recon_matrix)
    if stored != crop:
        what = f"dataset reconstruction_esc has shape {stored}, not {crop} as k-space and header say"
        raise _damaged(path, what)
    if any(have < want for have, want in zip(matrix, header.recon_matrix, strict=True)):
        wanted = f"the reconstructed matrix {header.recon_matrix} of its header"
        raise _unpairable(path, f"dataset kspace {(slices, *matrix)} is smaller than {wanted}")
    return Scan(path, acquisition, patient, header, slices, (matrix[0], matrix[1]))


def remarks(scan: Scan) -> list[str]:
    """Return what is unusual about a scan that can be used: a person should look at it.

    Nothing here changes an image, which comes from all of the stored k-space; but each says that the header
    does not describe these data, and the field of view by which scans are paired comes from the header.
    """
    header, found = scan.header, []
    if scan.matrix != header.encoded_matrix:
        found.append(
            f"{scan.path.name}: k-space is {scan.matrix[0]} x {scan.matrix[1]}, the header encodes "
            f"{header.encoded_matrix[0]} x {header.encoded_matrix[1]}"
        )
    if not header.acquired_within:
        found.append(
            f"{scan.path.name}: the header puts the acquired columns at "
            f"{header.padding_left}:{header.padding_right}, outside its matrix of {header.encoded_matrix[1]}"
        )
    for axis, encoded, matrix, recon, size in zip(
        ("rows", "columns"),
        header.encoded_field_of_view,
        header.encoded_matrix,
        header.recon_field_of_view,
        header.recon_matrix,
        strict=True,
    ):
        # A crop leaves the pixel as it is.
        if abs(encoded / matrix - recon / size) > FIELD_OF_VIEW_TOLERANCE * recon / size:
            found.append(
                f"{scan.path.name}: pixels along {axis} are {encoded / matrix:.4g} mm by the encoded space, "
                f"{recon / size:.4g} mm by the reconstructed one"
            )
    return found


def signal_in_padding(scan: Scan, start: int, stop: int) -> list[str]:
    """Return a remark if k-space columns that the header calls never acquired hold a signal.

    Args:
        scan: from ``open_scan``.
        start: first slice.
        stop: one past the last slice.

    Raises:
        BadInput: the file is damaged.
    """
    left, right = scan.header.padding_left, scan.header.padding_right
    # Columns cannot be placed by a header that does not describe these data.
    if scan.matrix[1] != scan.header.encoded_matrix[1] or not scan.header.acquired_within:
        return []
    with opened_scan(scan.path) as file:
        kspace = stack(file, scan.path, "kspace", np.dtype(np.complex64))
        outside = (kspace[start:stop, :, :left], kspace[start:stop, :, right:])
    if not any(columns.any() for columns in outside):
        return []
    return [f"{scan.path.name}: k-space columns outside {left}:{right}, never acquired, are not zero"]


def read_images(scan: Scan, start: int, stop: int) -> NDArray[np.complex64]:
    """Return complex images of the slices ``start`` to ``stop``: inverse FFT of all k-space, centre-cropped.

    Args:
        scan: from ``open_scan``.
        start: first slice.
        stop: one past the last slice.

    Returns:
        complex64 (slices, rows, columns) in scanner units, of the header's reconstructed matrix.

    Raises:
        BadInput: k-space holds NaN or infinite values or no signal, or the images' magnitude is not the
            stored ``reconstruction_esc``.
    """
    images = np.empty((stop - start, *scan.header.recon_matrix), dtype=np.complex64)
    with opened_scan(scan.path) as file:
        data = stack(file, scan.path, "kspace", np.dtype(np.complex64))
        reconstruction = stack(file, scan.path, "reconstruction_esc", np.dtype(np.float32))
        for index in range(start, stop):
            kspace = data[index]
            if not np.isfinite(kspace).all():
                raise BadInput(
                    f"{scan.path}: dataset kspace, slice {index}, holds NaN or infinite values; download the "
                    "file again or remove its pair from the list"
                )
            image = centre_crop(ifft2c(kspace), scan.header.recon_matrix)
            stored = reconstruction[index]
            # Written so that a NaN in the stored image fails too.
            if not np.abs(np.abs(image) - stored).max() <= _RECONSTRUCTION_TOLERANCE * np.abs(image).max():
                wrong = "is not the magnitude of the cropped inverse transform of kspace"
                raise _damaged(scan.path, f"dataset reconstruction_esc, slice {index}, {wrong}")
            images[index - start] = image
    if not images.any():
        raise _unpairable(scan.path, "dataset kspace is zero in all chosen slices")
    return images


def geometry_of(scan: Scan, start: int, matrix: tuple[int, int]) -> Geometry:
    """Return where slices from ``start`` on, cropped about the centre, lie among a scan's images."""
    shape = (scan.slices, *scan.header.recon_matrix)
    origin = (start, *((have - want) // 2 for have, want in zip(shape[1:], matrix, strict=True)))
    steps = [[int(axis == along) for along in range(3)] + [origin[axis]] for axis in range(3)]
    return Geometry(list(shape), steps)


def centre_crop(image: NDArray, size: tuple[int, int]) -> NDArray:
    """Crop the last two axes to ``size`` (rows, columns) about the centre."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]]


def opened_scan(path: Path) -> AbstractContextManager[h5py.File]:
    """Open a file for reading, see ``hdf5.opened``."""
    return hdf5.opened(path, "check the data folder and the pair list", "download it again")


def stack(file: h5py.File, path: Path, name: str, dtype: np.dtype) -> h5py.Dataset:
    """Return a dataset (slices, rows, columns).

    Raises:
        BadInput: there is none, or it is of another type or shape, or larger than any scan's.
    """
    data = hdf5.dataset(file, name)
    if data is None:
        raise _damaged(path, f"dataset {name} is missing")
    if data.dtype != dtype or data.ndim != 3 or 0 in data.shape:
        raise BadInput(
            f"{path}: dataset {name} is {data.dtype} of shape {data.shape}, not {dtype} (slices, rows, "
            "columns); use the single-coil files as published"
        )
    if hdf5.too_large(data) or len(data) > _MOST_SLICES or data.nbytes > _LARGEST_BYTES:
        raise _damaged(path, f"dataset {name} of shape {data.shape} is larger than any knee scan")
    return data


def _too_long(path: Path, size: int) -> BadInput:
    return _damaged(path, f"ismrmrd_header has {size} bytes, more than any scanner writes")


def header_text(file: h5py.File, path: Path) -> bytes:
    """Return the ISMRMRD header.

    Raises:
        BadInput: there is none, or none of reasonable length.
    """
    data = hdf5.dataset(file, "ismrmrd_header")
    text = None
    if data is not None and data.shape == ():
        if (size := hdf5.claimed_bytes(data)) > _LONGEST_HEADER:
            raise _too_long(path, size)
        text = data[()]
    if not isinstance(text, bytes):
        raise _damaged(path, "dataset ismrmrd_header (scalar text) is missing")
    return text


def _attribute(file: h5py.File, path: Path, name: str) -> str:
    value = hdf5.attribute(file, name)
    if not value:
        raise _damaged(path, f"attribute {name} (text) is missing")
    return value
