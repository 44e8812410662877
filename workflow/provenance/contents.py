"""The texts within a file, whatever its form; what is not read is said.

Nothing is run, no pickle is loaded, and of a file's texts no more is taken than ``_MOST`` bytes.
"""

import codecs
import csv
import gzip
import io
import json
import os
import pickletools
import re
import struct
import zipfile
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

from data_prep.errors import system_number
from data_prep.io.private import named_in
from workflow.provenance.private import private_field

_MOST = 2**26  # bytes of texts
_BEGINNING = 2**20  # bytes of a file of unknown form
_DEEPEST = 2  # archives within archives
# What readers raise for damaged files; faults of the system are told apart by their number.
_DAMAGE: tuple[type[Exception], ...] = (ValueError, LookupError, TypeError, RuntimeError, OSError, EOFError)
_DAMAGE += (zipfile.BadZipFile, zlib.error, struct.error, csv.Error)
UNREAD = "not looked into"
BYTES = "among bytes"
_SCANS = {b"\x5c\1\0\0": "<", b"\0\0\1\x5c": ">"}  # first bytes of a NIfTI header, and their order


class Told(NamedTuple):
    """A text of a file and where it stands, or, with a kind, what is private for another reason."""

    place: str
    text: str
    kind: str = ""


def texts(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int = _DEEPEST) -> Iterator[Told]:
    """Yield the texts of a file by its form, which its first bytes tell.

    Args:
        stream: its bytes, to be read from their beginning.
        size: how many they are.
        name: by whose ending tables are known.
        deeper: how many archives within archives are opened.

    Raises:
        OSError: the system cannot read it now.
    """
    beginning = stream.read(_BEGINNING)
    stream.seek(0)
    reader = next((reader for mark, reader in _FORMS.items() if beginning.startswith(mark)), None)
    other = next((form for (at, mark), form in _OTHERS.items() if beginning.startswith(mark, at)), None)
    code = _code(beginning)
    try:
        if reader is not None:
            yield from reader(stream, size, name, deeper)
        elif _is_scan(beginning):
            yield from _header(beginning)
        elif other is not None:
            yield Told("", other, UNREAD)
        elif code is None:
            yield from _strings(beginning)
            if size > _BEGINNING:
                yield Told("", f"{size} bytes of an unknown form", UNREAD)
        elif size > _MOST:
            yield Told("", f"a text of {size} bytes", UNREAD)
        else:
            yield from _written(stream.read(_MOST).decode(code, errors="replace"), name, deeper)
    except _DAMAGE as error:
        if isinstance(error, OSError) and system_number(error) is not None:
            raise
        yield Told("", " ".join(str(error).split()) or "damaged", UNREAD)


def _code(beginning: bytes) -> str | None:
    """Return the code of a text; None of what is none."""
    marked = next((code for mark, code in _BYTE_ORDER_MARKS.items() if beginning.startswith(mark)), None)
    if marked is None and b"\0" in beginning:
        return None
    try:
        # The last character may be cut.
        codecs.getincrementaldecoder(marked or "utf-8")().decode(beginning)
    except UnicodeDecodeError:
        # Texts in older codes have no control characters either, but for those of lines and colours.
        return None if marked or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", beginning) else "latin-1"
    return marked or "utf-8"


def _strings(content: bytes) -> Iterator[Told]:
    # Also of two bytes a letter.
    for found in re.finditer(rb"[\x20-\x7e]{8,}|(?:[\x20-\x7e]\0){8,}", content):
        yield Told(BYTES, found[0].replace(b"\0", b"").decode())


def _is_scan(beginning: bytes) -> bool:
    return beginning[:4] in _SCANS and beginning[344:347] in (b"n+1", b"ni1")


def _header(beginning: bytes) -> Iterator[Told]:
    """Yield what the header of a NIfTI file and its extensions hold; the voxels are not read."""
    (start,) = struct.unpack(f"{_SCANS[beginning[:4]]}f", beginning[108:112])
    if start > len(beginning) and beginning[344:347] == b"n+1":
        yield Told("", f"a header of {start:.0f} bytes", UNREAD)
    yield from _strings(beginning[: int(start) if 348 <= start <= len(beginning) else 352])


def _written(text: str, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the lines of a text, what pages hold as data, and fields and columns that tell by their names."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            yield from _fields(json.loads(text), "")
            return
        except (ValueError, RecursionError):
            pass
    pages = re.compile(r"data:([\w./+-]*)(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=]+)")
    for found in pages.finditer(text):
        # Pictures and fonts are not read, but for those that are texts.
        if re.match("image/(?!svg)|font/|application/(x-)?font", found[1]):
            continue
        place = f"{found[1]} within"
        if not deeper:
            yield Told(place, "a file within files", UNREAD)
            continue
        content = b64decode(found[2], validate=False)
        for told in texts(io.BytesIO(content), len(content), PurePosixPath("within"), deeper - 1):
            yield told if told.place == BYTES else told._replace(place=place)
    for number, line in enumerate(pages.sub("", text).splitlines(), 1):
        yield Told(f"line {number}", line)
    if name.suffix.lower() in (".csv", ".tsv"):
        rows = csv.DictReader(io.StringIO(text), delimiter="," if name.suffix.lower() == ".csv" else "\t")
        for row in rows:
            yield from _told_by_names(row, f"line {rows.line_num}, column ")


def _fields(value: Any, place: str) -> Iterator[Told]:
    """Yield the keys and texts of JSON."""
    if isinstance(value, Mapping):
        yield from _told_by_names(value, f"field {place}")
        for key, inner in value.items():
            yield Told(f"field {place}", str(key))
            yield from _fields(inner, f"{place}{key}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _fields(inner, f"{place.rstrip('.')}[{number}].")
    elif isinstance(value, str):
        yield Told(f"field {place.rstrip('.')}", value)


def _told_by_names(record: Mapping[Any, Any], place: str) -> Iterator[Told]:
    """Yield fields that are private by their names, and persons of scans whom the subject does not name."""
    for key, value in record.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, str | int | float) and (kind := private_field(str(key), one)):
                yield Told(f"{place}{key}", str(one), kind)
    if record.get("source") == "published" and isinstance(subject := record.get("subject"), str):
        for key in ("group", "auxiliary_group"):
            person = record.get(key)
            if isinstance(person, str) and private_field("person", person) and not named_in(person, subject):
                yield Told(f"{place}{key}", person, "id of a patient")


def _named(name: str, value: object) -> str | None:
    """Return the kind of a value by its whole name, such as ``study.patient_id``, or by the last part."""
    return private_field(name, value) or private_field(re.split("[./]", name)[-1], value)


def _hdf5(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield names, attributes, texts, and the files that links and data outside lead to."""
    import h5py
    import numpy as np

    found: list[Told] = []

    def attributes(place: str, thing: h5py.HLObject) -> None:
        for key, value in thing.attrs.items():
            for text in np.ravel(value)[:_BEGINNING]:
                words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
                found.append(Told(f"attribute {place}{key}", words))
                if kind := _named(key, words):
                    found.append(Told(f"attribute {place}{key}", words, kind))

    def visit(place: str, thing: h5py.HLObject) -> None:
        attributes(f"{place}.", thing)
        if not isinstance(thing, h5py.Dataset):
            return
        for outside in thing.external or ():
            found.append(Told(f"data of {place}", str(outside[0])))
        if thing.is_virtual:
            found.extend(Told(f"data of {place}", source.file_name) for source in thing.virtual_sources())
        if thing.dtype.kind in "OS" and h5py.check_string_dtype(thing.dtype) and thing.external is None:
            if thing.size * max(thing.dtype.itemsize, 1) > _MOST:
                found.append(Told(place, f"{thing.size} texts", UNREAD))
                return
            values = {text.decode(errors="replace") for text in np.ravel(thing[()])}
            found.extend(Told(f"dataset {place}", text) for text in sorted(values))
            if kind := next(filter(None, (_named(place, text) for text in values)), None):
                found.append(Told(f"dataset {place}", min(values), kind))
        elif thing.dtype.kind == "V":
            found.append(Told(f"dataset {place}", f"values of {thing.dtype}", UNREAD))
        elif kind := _named(place, 0):
            found.append(Told(f"dataset {place}", f"{thing.size} numbers", kind))

    def link(place: str, target: object) -> None:
        found.append(Told("name within", place))
        if isinstance(target, h5py.ExternalLink):
            found.append(Told(f"link {place}", target.filename))

    with h5py.File(stream, "r") as file:
        attributes("", file)
        file.visititems(visit)
        file.visititems_links(link)
    yield from found


def _parquet(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the metadata, and the values of each column once; numbers and dates of a private name only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(stream, memory_map=False) as file:
        for key, value in (file.metadata.metadata or {}).items():
            if key != b"ARROW:schema":
                own = PurePosixPath(key.decode(errors="replace"))
                yield from _written(value.decode(errors="replace"), own, deeper)
        for field in file.schema_arrow:
            if pa.types.is_primitive(field.type) and not _named(field.name, 0):
                continue
            found: set[tuple[str, str]] = set()
            for batch in file.iter_batches(columns=[field.name]):
                column = batch.column(0)
                nested = pa.types.is_nested(field.type)
                values = column.to_pylist(maps_as_pydicts="lossy") if nested else column.unique().to_pylist()
                found.update(leaf for value in values for leaf in _leaves(field.name, value))
                if sum(len(text) for _, text in found) > _MOST:
                    yield Told(f"column {field.name}", "too many texts", UNREAD)
                    break
            for place, text in sorted(found):
                yield Told(f"column {place}", text)
                if told := _named(place, text):
                    yield Told(f"column {place}", text, told)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of what is within a value; nothing of what is missing."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(name, inner)
    elif value is not None:
        yield name, value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _archive(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the texts of a zip's members: of checkpoints, arrays, reports; arrays of numbers are not read."""
    if not deeper:
        yield Told("", "an archive within archives", UNREAD)
        return
    with zipfile.ZipFile(stream) as archive:
        yield Told("comment", archive.comment.decode(errors="replace"))
        room, members = 4 * _MOST, archive.infolist()
        # Of checkpoints; beside each folder of them lies the pickle that tells what they are.
        inside = [PurePosixPath(member.filename) for member in members]
        weights = {path.with_suffix("") for path in inside if path.name == "data.pkl"}
        for member, path in zip(members, inside, strict=True):
            yield Told("name within", member.filename)
            if path.parent in weights:
                continue
            with archive.open(member) as inner:
                beginning = inner.read(_BEGINNING)
                # Images, by the million.
                if _is_array_of_numbers(beginning):
                    yield from _numbers(path)
                    continue
                content = beginning + inner.read(_MOST - len(beginning) + 1)
            room -= len(content)
            if len(content) > _MOST or room < 0:
                yield Told(member.filename, "too many bytes", UNREAD)
                continue
            for told in texts(io.BytesIO(content), len(content), path, deeper - 1):
                yield told._replace(
                    place=f"{member.filename}, {told.place}" if told.place != BYTES else BYTES
                )


def _is_array_of_numbers(beginning: bytes) -> bool:
    described = re.match(rb"\x93NUMPY...{0,3}\{'descr': '[<>|=](.)", beginning, re.DOTALL)
    return bool(described and described[1] in b"biufc?")


def _numbers(name: PurePosixPath) -> Iterator[Told]:
    if kind := private_field(name.stem, 0):
        yield Told("array", "numbers", kind)


def _array(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the texts of an array in NumPy's form."""
    import numpy as np

    if _is_array_of_numbers(stream.read(_BEGINNING)):
        yield from _numbers(name)
        return
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, kind = read(stream)
    if kind.kind not in "US":
        yield Told("", f"an array of {kind}", UNREAD)
        return
    if size > _MOST:
        yield Told("", f"an array of {size} bytes", UNREAD)
        return
    for value in np.unique(np.frombuffer(stream.read(_MOST), kind)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        yield Told("array", text)
        if told := private_field(name.stem, text):
            yield Told("array", text, told)


def _pickle(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the texts of a pickle, which is taken apart and not loaded."""
    for _, argument, _ in pickletools.genops(stream.read(_MOST)):
        if isinstance(argument, str):
            yield Told("pickle", argument)
        elif isinstance(argument, bytes | bytearray):
            yield from _strings(bytes(argument))


def _png(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield the texts that stand beside a picture."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            content = stream.read(min(length, _BEGINNING))
            cut = length > _BEGINNING
            label = content.split(b"\0")[0].decode("latin-1") if kind != b"eXIf" else "EXIF"
            pieces = [content]
            for start in (
                found.end()
                for found in re.finditer(rb"\x00\x00|\x00\x01\x00[^\x00]*\x00[^\x00]*\x00", content)
            ):
                unpacker = zlib.decompressobj()
                try:
                    pieces.append(unpacker.decompress(content[start:], _BEGINNING))
                except zlib.error:
                    continue
                cut = cut or bool(unpacker.unconsumed_tail)
            if cut:
                yield Told(f"text {label}", "too long a text", UNREAD)
            for piece in pieces:
                yield Told(f"text {label}", piece.decode(errors="replace").replace("\0", " "))
            stream.seek(length - len(content) + 4, os.SEEK_CUR)
        else:
            stream.seek(length + 4, os.SEEK_CUR)


def _pdf(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield a document's strings, of its description and of what is drawn but for pixels, and its XML."""
    content, room = stream.read(_MOST), 4 * _MOST
    pieces = []
    if size > _MOST:
        yield Told("", f"a document of {size} bytes", UNREAD)
    for part in content.split(b"endstream"):
        before, _, packed = part.partition(b"stream")
        pieces.append(before)
        # Among so many pixels chance makes paths.
        if re.search(rb"/Subtype\s*/Image\b", before[before.rfind(b"obj") :]):
            continue
        unpacker = zlib.decompressobj()
        try:
            pieces.append(unpacker.decompress(packed.lstrip(b"\r\n"), max(min(room, _MOST), 1)))
            room -= len(pieces[-1])
            if unpacker.unconsumed_tail:
                yield Told("document", "too many bytes", UNREAD)
        except zlib.error:
            pieces.append(packed if packed.lstrip().startswith(b"<") else b"")
    for piece in pieces:
        for text in re.findall(
            rb"\(((?:\\.|[^\\()])*)\)|<(FEFF[0-9A-Fa-f\s]+)>|>([^<>]+)<", piece, re.DOTALL
        ):
            literal, coded, between = text
            if coded:
                literal = bytes.fromhex(coded.decode())
            wide = literal.startswith(b"\xfe\xff")
            yield Told(
                "document",
                literal[2:].decode("utf-16-be", "replace")
                if wide
                else (literal or between).decode("latin-1"),
            )


def _gzip(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[Told]:
    """Yield what is packed; of a scan no more than its header is unpacked."""
    if not deeper:
        yield Told("", "an archive within archives", UNREAD)
        return
    with gzip.GzipFile(fileobj=stream) as packed:
        content = packed.read(_BEGINNING)
        if not _is_scan(content):
            content += packed.read(_MOST - len(content) + 1)
    within = content[:_MOST]
    yield from texts(io.BytesIO(within), len(within), name.with_suffix(""), deeper - 1)
    if len(content) > _MOST:
        yield Told("", "too many bytes", UNREAD)


_FORMS: Mapping[bytes, Callable[[IO[bytes], int, PurePosixPath, int], Iterator[Told]]] = {
    b"\x89HDF\r\n\x1a\n": _hdf5,
    b"PAR1": _parquet,
    b"PK\3\4": _archive,
    b"\x93NUMPY": _array,
    b"\x89PNG\r\n\x1a\n": _png,
    b"%PDF-": _pdf,
    b"\x1f\x8b": _gzip,
    **{b"\x80" + bytes([protocol]): _pickle for protocol in range(2, 6)},
}
# Where their marks stand, and what they are.
_OTHERS: Mapping[tuple[int, bytes], str] = {
    (0, b"BZh"): "packed by bzip2",
    (0, b"\xfd7zXZ\0"): "packed by xz",
    (0, b"\x28\xb5\x2f\xfd"): "packed by zstd",
    (0, b"7z\xbc\xaf\x27\x1c"): "a 7z archive",
    (0, b"Rar!"): "a rar archive",
    (257, b"ustar"): "a tar archive",
    (128, b"DICM"): "a DICOM file",
    (0, b"MATLAB 5.0"): "a MATLAB file",
    (0, b"SQLite format 3"): "an SQLite database",
    (0, b"ARROW1"): "an Arrow file",
}
# That of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
    codecs.BOM_UTF8: "utf-8-sig",
}
