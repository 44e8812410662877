"""What the product parses, mutated: each file is read as it says, or refused by name; nothing else happens.

    python -m tests.fuzz [--kinds nifti hdf5 ...] [--first 0] [--count 100]

A case is a kind of file and a number: its seed content is mutated by a generator of that number, written,
and read by the product. The **oracle**: either ``BadInput`` whose one sentence contains the file's name; or a
result that a second, independent reading of the mutated file confirms (each kind's ``judge`` says how).
Everything else is a failure: another exception, a crash of the interpreter, more than 10 seconds of processor
time, more than a gigabyte of addresses, memory or written bytes out of proportion to the file.

Changed content that is still well formed is a legitimate file: a flipped bit in a voxel of an uncompressed
NIfTI, another digit in a header. Where a format has a checksum (gzip), the result must be the unchanged one.

``hunt`` runs cases in child processes with these limits, so that a crash ends the case and not the test.
"""

import argparse
import csv
import gzip
import io
import json
import math
import re
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.dom import minidom

import h5py
import nibabel
import numpy as np
import yaml

import workflow.plan.config
from data_prep.datasets.fastmri.pairs import read_pair_list
from data_prep.datasets.fastmri.scans import PD, PDFS, open_scan, parse_header, read_images
from data_prep.datasets.ixi.fetch import unpack
from data_prep.errors import BadInput
from data_prep.io.archives import read_npz
from data_prep.io.json_files import read_json
from data_prep.volumes import Volume, load_volume
from methods.registry import discover
from workflow.plan.config import read_config

ROOT = Path(__file__).parent.parent
SECONDS, EXTRA_BYTES = 10, 2**30
# What reading a file may really take, of memory and of disk: its bytes so many times, and what Python needs.
TIMES, FEW_BYTES = 64, 2**26

# ---- mutation -------------------------------------------------------------------------------------

_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1)
# Sizes that are plausible for a number and not for a file.
_SIZES = (2**20, 2**27, 2**30, 2**40, 2**62)
_TOKENS = (
    *(
        b"0",
        b"-1",
        b"1e999",
        b"nan",
        b"-inf",
        b"1_0",
        b"9" * 30,
        b"1e-320",
        b"0x",
        b"12:99:99",
        b"2022-13-45",
    ),
    *(b"9" * 5000, b"1073741824", b"4398046511104"),
    *(b"", b" ", b"\t", b"\r", b"\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xd9\xa3"),
    *(b"<", b">", b"<a>" * 2000, b"]]>", b"<![CDATA[", b"&amp;", b"&x;", b"<!DOCTYPE a [<!ENTITY x 'y'>]>"),
    *(b"'", b'"', b",", b"%", b"../x", b"~", b"true", b": ", b"- ", b"{", b"}", b"[" * 3000, b"*a", b"&a "),
    *(b"&b [&c [*b]]", b"<<: ", b"? ", b"!!int x", b"!!python/object:os.x ", b"2001-01-01 00:00:00 +99:99"),
)


def mutated(content: bytes, rng: np.random.Generator, hot: int, text: bool) -> bytes:
    """Return the content after one to four changes, most of them in its first ``hot`` bytes."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        bound = min(hot, len(data)) if rng.random() < 0.7 else len(data)
        at = int(rng.integers(bound))
        length = int(rng.integers(1, 17))
        how = int(rng.integers(9))
        # Random bytes are seldom text, which would end most cases at the first step.
        if text and how in (0, 1) and rng.random() < 0.8:
            how = 8
        match how:
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + length] = rng.bytes(length)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                data[at : at + length] = _TOKENS[int(rng.integers(len(_TOKENS)))] if text else bytes(length)
            case 6:
                numbers = _NUMBERS + _SIZES
                number = numbers[int(rng.integers(len(numbers)))]
                width = (2, 4, 8)[int(rng.integers(3))]
                place = at // width * width
                if not text and place + width <= len(data):
                    data[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
            case 7:
                other = int(rng.integers(bound))
                low, high = sorted((at, other))
                length = min(length, high - low, len(data) - high)
                data[low : low + length], data[high : high + length] = (
                    data[high : high + length],
                    data[low : low + length],
                )
            case 8:
                if text:
                    _mutate_a_word(data, rng)
                elif at + 4 <= len(data):
                    value = (math.nan, math.inf, 0.0, -1.0, 1e38, 4e11)[int(rng.integers(6))]
                    data[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<f", value)
    return bytes(data)


def _mutate_a_word(data: bytearray, rng: np.random.Generator) -> None:
    """Replace a word by a token or by another word, or drop, repeat or exchange a line."""
    words = list(re.finditer(rb"[A-Za-z0-9_.+-]+", data))
    lines = bytes(data).splitlines(keepends=True)
    how = int(rng.integers(4))
    if how < 2 and words:
        word = words[int(rng.integers(len(words)))]
        other = words[int(rng.integers(len(words)))][0] if how else _TOKENS[int(rng.integers(len(_TOKENS)))]
        data[word.start() : word.end()] = other
    elif len(lines) > 1:
        first, second = (int(rng.integers(len(lines))) for _ in range(2))
        if how == 2:
            lines[first], lines[second] = lines[second], lines[first]
        else:
            lines[first] = lines[first] * 2 if rng.random() < 0.5 else b""
        data[:] = b"".join(lines)


# ---- kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: the file's, below a folder that is the case's own.
        seeds: valid contents, to be mutated.
        read: what the product reads.
        judge: whether a second reading of the same file agrees; given path, result and the seed's result.
        hot: the first bytes, in which most changes are made.
        text: whether to put in words rather than numbers.
        mutate: (content, generator, hot, text) -> the mutated content.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path], Any]
    judge: Callable[[Path, Any, Any], bool]
    hot: int = 10**9
    text: bool = False
    mutate: Callable[[bytes, np.random.Generator, int, bool], bytes] = mutated


def _nifti_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0, 1.2, -90], [-0.94, 0.02, 0, 120], [0.02, 0.94, 0, -110], [0, 0, 0, 1]])
    found = []
    for dtype, shape in ((np.int16, (6, 5, 7)), (np.float32, (5, 4, 6, 1)), (np.uint8, (4, 5, 6))):
        image = nibabel.Nifti1Image((rng.random(shape) * 200).astype(dtype), affine)
        image.set_qform(affine, code=1, strip_shears=True)
        if dtype is np.int16:
            image.header.set_slope_inter(0.5, 3)
        found.append(image.to_bytes())
    return found


def _nifti_judge(path: Path, volume: Volume, _: Volume) -> bool:
    """Voxels as the header's bytes place them, in a place that all of the header agrees on."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    order, shape = _order_and_shape(content)
    code = struct.unpack(order + "h", content[70:72])[0]
    kinds = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
    kind = (kinds | {1024: "i8", 1280: "u8", 1536: np.dtype(np.longdouble).str[1:]})[code]
    offset, slope, inter = struct.unpack(order + "3f", content[108:120])
    # Of a single file the data begin at 352 at the earliest.
    values = np.frombuffer(content, order + kind, math.prod(shape), max(int(offset), 352))
    voxels = values.reshape(shape, order="F").astype(np.float64)
    if math.isfinite(slope) and slope != 0:
        voxels = voxels * np.float64(slope) + np.float64(inter if math.isfinite(inter) else 0)
    affine, misfit = _position(content)
    placed = misfit <= 1.001 and np.allclose(volume.affine, affine, rtol=1e-5, atol=1e-4)
    return placed and np.allclose(volume.data, voxels, rtol=1e-5, atol=1e-6)


def _order_and_shape(content: bytes) -> tuple[str, list[int]]:
    """The number of axes tells the order of bytes, as the standard says."""
    order = "<" if 1 <= struct.unpack("<h", content[40:42])[0] <= 7 else ">"
    dim = struct.unpack(order + "8h", content[40:56])
    shape = [max(side, 1) for side in dim[1 : 1 + dim[0]]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return order, shape


def _position(content: bytes) -> tuple[Any, float]:
    """Where a header places its voxels, by the standard's formulas, and how far it contradicts itself.

    Returns:
        Affine (4, 4) in mm, and the largest contradiction in units of what is allowed: 1 mm at a corner, one
        percent of a voxel, a hundredth of a right angle's cosine; infinite for what is no position at all.
    """
    order, shape = _order_and_shape(content)
    qfac, *pixdim = struct.unpack(order + "4f", content[76:92])
    codes = struct.unpack(order + "2h", content[252:256])
    b, c, d, *offset = struct.unpack(order + "6f", content[256:280])
    unit = {1: 1000.0, 3: 0.001}.get(content[123] & 7, 1.0)
    turned = 1 - b * b - c * c - d * d
    a = math.sqrt(max(turned, 0))
    rotation = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    qform = np.column_stack([np.array(rotation) * pixdim * (1, 1, -1 if qfac < 0 else 1), offset])
    sform = np.array(struct.unpack(order + "12f", content[280:328])).reshape(3, 4)
    known = [1 <= code <= 5 for code in codes]
    forms = [form * unit for form, coded in zip((sform, qform), known[::-1], strict=True) if coded]
    if not forms or (known[0] and not turned > -1e-6) or not np.isfinite(forms[0]).all():
        return np.eye(4), math.inf
    columns = forms[0][:, :3]
    voxel, stated = np.linalg.norm(columns, axis=0), np.array(pixdim) * unit
    if not (voxel.min() >= 0.01 and voxel.max() <= 100 and min(stated) > 0):
        return np.eye(4), math.inf
    angles = (columns / voxel).T @ (columns / voxel) - np.eye(3)
    found = [100 * np.abs(voxel / stated - 1).max(), 100 * np.abs(angles).max()]
    for x, y, z in np.ndindex(2, 2, 2):
        corner = np.array([x * shape[0] - 0.5, y * shape[1] - 0.5, z * shape[2] - 0.5, 1])
        found.append(np.linalg.norm(forms[0] @ corner - forms[-1] @ corner))
    return np.vstack([forms[0], [0, 0, 0, 1]]), float(np.nan_to_num(max(found), nan=math.inf))


def _contradicted(content: bytes, rng: np.random.Generator, _hot: int, _text: bool) -> bytes:
    """Change one or two of the things that say where a volume lies, by much or by nearly nothing."""
    header = nibabel.Nifti1Header(content[:348], check=False)
    for _ in range(int(rng.integers(1, 3))):
        rows = np.array([header[f"srow_{axis}"] for axis in "xyz"])
        which, little = int(rng.integers(3)), rng.normal()
        match int(rng.integers(9)):
            case 0:  # a quarter turn, a mirror, or both
                rows = rows[rng.permutation(3)] * rng.choice([-1, 1], (3, 1))
            case 1:
                rows[:, :3] /= np.linalg.norm(rows[:, :3], axis=0)
            case 2:
                rows[which, 3] += little
            case 3:
                rows[:, which] *= 1 + little / 100
            case 4:
                header["pixdim"][1 + which] *= rng.choice([1 + little / 100, 0, -1, math.nan])
            case 5:
                header[rng.choice(["qform_code", "sform_code"])] = rng.choice([0, 1, 2, 4, 77])
            case 6:
                header["quatern_" + "bcd"[which]] += little * rng.choice([0.01, 1])
            case 7:
                header["pixdim"][0] = rng.choice([-1, 0, 1, 5, -5])
            case 8:
                header["xyzt_units"] = rng.integers(5)
        for axis, row in zip("xyz", rows, strict=True):
            header[f"srow_{axis}"] = row
    return bytes(header.binaryblock) + content[348:]


def _placed_read(path: Path) -> Volume | BadInput:
    """Read a volume; a refusal of one that contradicts itself in nothing is a result, and a wrong one."""
    try:
        return load_volume(path)
    except BadInput as error:
        if _position(path.read_bytes())[1] < 0.999:
            return error
        raise


def _placed_judge(path: Path, result: Volume | BadInput, original: Any) -> bool:
    return isinstance(result, Volume) and _nifti_judge(path, result, original)


def _nifti_unchanged(_: Path, volume: Volume, original: Volume) -> bool:
    """The stream's checksum vouches for every byte."""
    same = np.array_equal(volume.data, original.data)
    return same and np.array_equal(volume.affine, original.affine)


def _scan_seeds() -> list[bytes]:
    sys.path.insert(0, str(ROOT / "tests" / "unit"))
    from tests.helpers.scans.knee_phantom import write_published

    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_published(Path(folder) / "a.h5", slices=2)
        found.append(path.read_bytes())
        for options in ({"libver": "latest"}, {"libver": ("earliest", "v110")}):
            other = Path(folder) / "b.h5"
            with h5py.File(path) as source, h5py.File(other, "w", **options) as copy:
                for name, data in source.items():
                    packed = {"chunks": (1, *data.shape[1:]), "compression": "gzip"} if data.ndim else {}
                    copy.create_dataset(name, data=data[()], **packed)
                copy.attrs.update(source.attrs)
            found.append(other.read_bytes())
    return found


def _scan_read(path: Path) -> tuple[Any, Any]:
    scan = open_scan(path)
    return scan, read_images(scan, 0, scan.slices)


def _scan_judge(path: Path, result: tuple[Any, Any], _: Any) -> bool:
    """What plain h5py reads: attributes, header; and images whose magnitude is the stored reconstruction."""
    scan, images = result
    with h5py.File(path) as file:
        stored = file["reconstruction_esc"][()]
        header = _geometry(file["ismrmrd_header"][()])
        attributes = [file.attrs[name] for name in ("acquisition", "patient_id")]
    attributes = [value.decode() if isinstance(value, bytes) else value for value in attributes]
    agree = np.abs(np.abs(images) - stored).max((1, 2)) <= 1e-5 * stored.max((1, 2)) * (1 + 1e-4)
    known = scan.acquisition in (PD, PDFS) and bool(scan.patient_id)
    return (
        known and [scan.acquisition, scan.patient_id] == attributes and scan.header == header and agree.all()
    )


def _split_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.float32, np.complex64):
            path = Path(folder) / "train.h5"
            with h5py.File(path, "w") as file:
                file["target"] = (rng.random((3, 6, 5)) * 9).astype(dtype)
                file["auxiliary"] = rng.random((3, 6, 5)).astype(np.float32)
                file["subject"] = ["IXI901", "IXI901", "IXI902"]
                file["slice"] = np.array([0, 1, 0], np.int32)
                file.attrs.update(dataset="ixi", source="embedded", fingerprint="abc")
            found.append(path.read_bytes())
    return found


def _split_read(path: Path) -> tuple[Any, ...]:
    from data_prep.undersample.slices import SliceStore

    store = SliceStore(path, "cpu", 0.0)
    target, auxiliary = store.batch(range(len(store)))
    words = (store.dataset, store.source, store.fingerprint)
    store.close()
    return target.numpy(), auxiliary.numpy(), store.subjects, store.slice_indices, words


def _split_judge(path: Path, result: tuple[Any, ...], _: Any) -> bool:
    """What plain h5py reads, and only finite values."""
    target, auxiliary, subjects, indices, words = result
    with h5py.File(path) as file:
        same = np.array_equal(target, file["target"][()]) and np.array_equal(auxiliary, file["auxiliary"][()])
        same = same and subjects == list(file["subject"].asstr()[()]) and indices == list(file["slice"][()])
        same = same and words == tuple(file.attrs[name] for name in ("dataset", "source", "fingerprint"))
    return same and bool(np.isfinite(target).all() and np.isfinite(auxiliary).all())


def _xml_seeds() -> list[bytes]:
    sys.path.insert(0, str(ROOT / "tests" / "unit"))
    from tests.helpers.scans.knee_phantom import HEADER

    return [HEADER.encode()]


def _geometry(xml: bytes) -> Any:
    """Read the geometry by a second way, the document object model."""
    from data_prep.datasets.fastmri.scans import NAMESPACE, Header

    def child(node: Any, name: str) -> Any:
        return next(c for c in node.childNodes if c.localName == name and c.namespaceURI == NAMESPACE)

    # As the product: text before any declaration of its encoding.
    text = re.sub(r"^<\?xml.*?\?>", "", xml.decode("utf-8").strip(), flags=re.DOTALL)
    encoding = child(minidom.parseString(text.encode()).documentElement, "encoding")

    def number(path: str) -> float:
        node = encoding
        for name in path.split("/"):
            node = child(node, name)
        leading = []
        for part in node.childNodes:
            if part.nodeType == part.ELEMENT_NODE:
                break
            if part.nodeType in (part.TEXT_NODE, part.CDATA_SECTION_NODE):
                leading.append(part.data)
        return float("".join(leading))

    encoded = (int(number("encodedSpace/matrixSize/x")), int(number("encodedSpace/matrixSize/y")))
    left = encoded[1] // 2 - int(number("encodingLimits/kspace_encoding_step_1/center"))
    return Header(
        encoded,
        (int(number("reconSpace/matrixSize/x")), int(number("reconSpace/matrixSize/y"))),
        (number("encodedSpace/fieldOfView_mm/x"), number("encodedSpace/fieldOfView_mm/y")),
        (number("reconSpace/fieldOfView_mm/x"), number("reconSpace/fieldOfView_mm/y")),
        left,
        left + int(number("encodingLimits/kspace_encoding_step_1/maximum")) + 1,
    )


def _xml_judge(path: Path, header: Any, _: Any) -> bool:
    """A second parser finds the same numbers; sizes are positive."""
    flat = (*header.encoded_matrix, *header.recon_matrix, *header.encoded_field_of_view)
    return min(flat) > 0 and header == _geometry(path.read_bytes())


def _pairs_seeds() -> list[bytes]:
    lines = [f"file{1000000 + i},file{1001000 + i},0.{301723929779229 + i}" for i in range(12)]
    return ["\n".join(lines).encode(), ("\r\n".join(lines) + "\r\n").encode()]


def _pairs_judge(path: Path, entries: list[Any], _: Any) -> bool:
    """Line by line, split at the commas; with quotes, by csv; always plain stems, each PDFS once."""
    text = path.read_bytes().decode("utf-8-sig")
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+", stem) for entry in entries for stem in entry[:2]):
        return False
    if len({entry.pdfs for entry in entries}) < len(entries) or any(e.pd == e.pdfs for e in entries):
        return False
    if '"' in text:
        return len(entries) == sum(bool(row) for row in csv.reader(io.StringIO(text, newline="")))
    rows = [line.split(",") for line in re.split(r"\r\n|\r|\n", text) if line]
    expected = [(pd.strip(), pdfs.strip(), float(score)) for pd, pdfs, score in rows]
    return [tuple(entry) for entry in entries] == expected and all(math.isfinite(e.score) for e in entries)


def _method_seeds() -> list[bytes]:
    return [(ROOT / "methods" / name / "method.yaml").read_bytes() for name in ("manet", "unet", "zf")]


def _method_read(path: Path) -> Any:
    folder = path.parent
    for name in ("model.py", "README.md"):
        (folder / name).write_text("")
    (entry,) = discover(folder.parent).values()
    return entry


def _method_judge(path: Path, entry: Any, _: Any) -> bool:
    """As plain YAML reads it."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    default = entry.default
    same = (default.id, default.order, default.trainable) == tuple(
        content[name] for name in ("id", "order", "trainable")
    )
    same = same and dict(default.parameters) == content["parameters"] and default.id == path.parent.name
    return same and entry.variants == content.get("variants", {})


def _config_seeds() -> list[bytes]:
    return [(ROOT / "config" / f"{name}.yaml").read_bytes() for name in ("smoke", "paper")]


def _config_judge(path: Path, config: Any, _: Any) -> bool:
    """All that plain YAML reads is there, unchanged; only defaults are added."""

    def within(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(
                k in whole and within(v, whole[k]) for k, v in part.items()
            )
        return type(part) is type(whole) and part == whole

    return within(yaml.safe_load(path.read_text(encoding="utf-8")), config)


def _npz_seeds() -> list[bytes]:
    found = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, name=np.array("2d_radial_9x"), mask=np.eye(40, dtype=bool), files=np.array(["a", "bc"]))
        found.append(stream.getvalue())
    return found


def _npz_read(path: Path) -> dict[str, Any]:
    return read_npz(path, ("name", "mask", "files"), "no such file; make it", "make it again")


def _npz_unchanged(_: Path, arrays: dict[str, Any], original: dict[str, Any]) -> bool:
    """The members' checksums vouch for every byte of them."""
    return all(np.array_equal(arrays[name], original[name]) for name in original)


def _checkpoint_seeds() -> list[bytes]:
    import torch

    from workflow.run.checkpoint import save_atomically

    weights = torch.arange(60.0).reshape(6, 10)
    content = {"epoch": 3, "losses": [0.5, 0.25], "a": weights, "b": weights.T, "c": torch.ones(3).bool()}
    with tempfile.TemporaryDirectory() as folder:
        save_atomically(content, Path(folder) / "a.ckpt")
        return [(Path(folder) / "a.ckpt").read_bytes()]


def _checkpoint_read(path: Path) -> Any:
    from workflow.run.checkpoint import load_whole

    return load_whole(path)


def _checkpoint_unchanged(_: Path, content: Any, original: Any) -> bool:
    """The members' checksums vouch for every byte of them."""
    return repr(content) == repr(original)


def _tar_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
            for number in range(3):
                info = tarfile.TarInfo(f"{'long/' * 30}IXI00{number}-Guys-0828-T1.nii.gz")
                info.size = 700
                archive.addfile(info, io.BytesIO(rng.bytes(700)))
        found.append(stream.getvalue())
    return found


def _tar_read(path: Path) -> dict[str, bytes]:
    unpack(path, path.parent / "IXI-T1", "T1")
    return {file.name: file.read_bytes() for file in sorted((path.parent / "IXI-T1").iterdir())}


def _tar_judge(path: Path, found: dict[str, bytes], _: Any) -> bool:
    """Nothing that does not stand in the archive, and nothing beside the folder."""
    content = path.read_bytes()
    alone = {file.name for file in path.parent.iterdir()} == {path.name, "IXI-T1"}
    return alone and bool(found) and all(scan in content for scan in found.values())


def _json_seeds() -> list[bytes]:
    return [b'{"outputs": {"a": "b", "c": [1, 2.5e3, null]}, "n": 12, "deep": {"er": [true, "\\u00e9"]}}']


def _json_judge(path: Path, content: Any, _: Any) -> bool:
    return repr(content) == repr(json.loads(path.read_bytes().decode("utf-8")))


KINDS = {
    "nifti": Kind("IXI901-HH-1000-T1.nii", _nifti_seeds, load_volume, _nifti_judge, hot=352),
    "nifti_gz": Kind(
        "IXI901-HH-1000-T1.nii.gz",
        lambda: [gzip.compress(content, mtime=0) for content in _nifti_seeds()],
        load_volume,
        _nifti_unchanged,
    ),
    "position": Kind(
        "IXI901-HH-1000-T2.nii", _nifti_seeds, _placed_read, _placed_judge, mutate=_contradicted
    ),
    "hdf5": Kind("file1000001.h5", _scan_seeds, _scan_read, _scan_judge),
    "split": Kind("train.h5", _split_seeds, _split_read, _split_judge),
    "xml": Kind(
        "file1000002.h5",
        _xml_seeds,
        lambda path: parse_header(path.read_bytes(), path),
        _xml_judge,
        text=True,
    ),
    "pairs": Kind("pairs.csv", _pairs_seeds, read_pair_list, _pairs_judge, text=True),
    "npz": Kind("mask.npz", _npz_seeds, _npz_read, _npz_unchanged),
    "checkpoint": Kind("model.ckpt", _checkpoint_seeds, _checkpoint_read, _checkpoint_unchanged),
    "tar": Kind("IXI-T1.tar", _tar_seeds, _tar_read, _tar_judge),
    "json": Kind("run.json", _json_seeds, read_json, _json_judge, text=True),
    "method": Kind("method.yaml", _method_seeds, _method_read, _method_judge, text=True),
    "config": Kind("config.yaml", _config_seeds, read_config, _config_judge, text=True),
}

# ---- cases ----------------------------------------------------------------------------------------


def place(kind: Kind, content: bytes, folder: Path) -> Path:
    """Return where a seed's mutations are written: a method's folder has its name."""
    if kind.name != "method.yaml":
        return folder / kind.name
    path = folder / yaml.safe_load(content)["id"] / kind.name
    path.parent.mkdir(exist_ok=True)
    return path


def originals(kind: Kind, seeds: Sequence[bytes]) -> list[Any]:
    """Read the seeds as they are."""
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            path = place(kind, seed, Path(folder))
            path.write_bytes(seed)
            found.append(kind.read(path))
            if not kind.judge(path, found[-1], found[-1]):
                raise AssertionError(f"{kind.name}: the second reading of a valid file differs")
    return found


def run_case(kind: Kind, number: int, seeds: Sequence[bytes], unchanged: Sequence[Any], folder: Path) -> str:
    """Return ``refused``, ``read`` or what went wrong.

    Args:
        kind: of file.
        number: of the case; the mutation follows from it.
        seeds: ``kind.seeds()``.
        unchanged: ``originals(kind, seeds)``.
        folder: empty, for the case alone.
    """
    seed = seeds[number % len(seeds)]
    path = place(kind, seed, folder)
    path.write_bytes(kind.mutate(seed, np.random.default_rng([number, 2022]), kind.hot, kind.text))
    bound = TIMES * path.stat().st_size + FEW_BYTES
    taken = most_memory()
    refused = False
    try:
        result = kind.read(path)
    except BadInput as error:
        if kind.name not in str(error) or "\n" in str(error):
            return f"a refusal that does not name the file in one line: {error}"
        refused = True
    except Exception as error:  # The harness's purpose: whatever else comes out is a finding.
        return f"{type(error).__name__}: {error}"
    taken = most_memory() - taken
    written = sum(file.lstat().st_size for file in folder.rglob("*"))
    if max(taken, written) > bound:
        return f"takes {taken} bytes of memory and writes {written}, more than {bound}"
    if refused:
        return "refused"
    try:
        agreed = kind.judge(path, result, unchanged[number % len(seeds)])
    except Exception as error:  # A second reader that fails where the product reads is a finding, too.
        return f"read, but a second reading fails with {type(error).__name__}: {error}"
    return "read" if agreed else "read, but a second reading of the file differs"


def most_memory() -> int:
    """Return the most bytes of memory that this process has had; of addresses only, none count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child(kind: str, first: int, count: int) -> None:
    """Run cases and print one line for each before it begins and after it ended."""
    warnings.simplefilter("ignore")
    # The methods' folders do not change; reading them anew for each configuration takes most of the time.
    workflow.plan.config.discover = cache(discover)
    seeds = KINDS[kind].seeds()
    unchanged = originals(KINDS[kind], seeds)  # and imports what reading needs
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmSize"].split()[0]) * 1024 + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, first + count):
        print(json.dumps([kind, number]), flush=True)
        # Without a handler the alarm ends the process wherever it is, also within a library. Of the
        # processor's time, which other processes on the machine do not use up.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            said = run_case(KINDS[kind], number, seeds, unchanged, Path(folder))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([kind, number, said]), flush=True)


def hunt(kind: str, first: int, count: int) -> Iterator[tuple[int, str]]:
    """Run cases in child processes; yield each case's number and what came of it."""
    end = first + count
    while first < end:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "--child"]
        command += ["--kinds", kind, "--first", str(first), "--count", str(end - first)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
        yield from ((line[1], line[2]) for line in lines if len(line) == 3)
        if done.returncode == 0:
            return
        if not lines or len(lines[-1]) == 3:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        first = lines[-1][1] + 1
        ended = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
        yield first - 1, f"the process ended with {ended}: {done.stderr[-300:]}"


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--count", type=int, default=100, help="cases of each kind")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments.kinds[0], arguments.first, arguments.count)
        return
    for kind in arguments.kinds:
        results = list(hunt(kind, arguments.first, arguments.count))
        counts = {how: sum(said == how for _, said in results) for how in ("read", "refused")}
        print(f"{kind}: {len(results)} cases, {counts['read']} read, {counts['refused']} refused", flush=True)
        for number, said in results:
            if said not in counts:
                print(f"  case {number}: {said}")


if __name__ == "__main__":
    main()
