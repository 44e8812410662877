"""What a results folder still tells of machines and persons: every file is looked into, whatever its form.

Nothing is run, no pickle is loaded, no link is followed, and of a file's texts no more is taken than
``_MOST`` bytes. What is drawn is not read, nor what scans show: a head can be recognised.
"""

import csv
import io
import json
import os
import pickletools
import re
import stat
import struct
import zipfile
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from data_prep.errors import BadInput, system_number
from data_prep.io.private import named_in
from workflow.provenance.private import Names, names_here, private_field, private_words

_MOST = 2**26  # bytes of texts
_BEGINNING = 2**20  # bytes of a file of unknown form
_DEEPEST = 2  # archives within archives
_LONGEST = 100  # characters of an example
# What readers raise for damaged files; faults of the system are told apart by their number.
_DAMAGE: tuple[type[Exception], ...] = (ValueError, LookupError, TypeError, RuntimeError, OSError, EOFError)
_DAMAGE += (zipfile.BadZipFile, zlib.error, struct.error, csv.Error)


class Private(NamedTuple):
    """What is private in a file.

    Attributes:
        file: relative path.
        kind: such as "absolute path".
        example: the first of it, and where it stands.
        more: how many others of the kind there are.
    """

    file: str
    kind: str
    example: str
    more: int


class _Told(NamedTuple):
    """A text of a file and where it stands, or, with a kind, what is private for another reason."""

    place: str
    text: str
    kind: str = ""


def find_private(results: Path, names: Names | None = None) -> tuple[list[Private], int]:
    """Return what is private in a results folder, by file and kind, and how many files were looked into.

    Args:
        results: the folder.
        names: of hosts and users; by default of this machine.

    Raises:
        BadInput: there is no such folder.
        OSError: a file cannot be read now.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder; give the results of an experiment, such as results/demo")
    names = names or names_here(results)
    found, count = [], 0
    for path in _files(results):
        file, by_kind = path.relative_to(results).as_posix(), dict[str, list[str]]()
        for told in _told(path, file):
            kinds = (
                [(told.kind, told.text)]
                if told.kind
                else private_words(told.text, names, told.place == _BYTES)
            )
            for kind, words in kinds:
                shown = f"{words[:_LONGEST]!r}" + (f" ({told.place})" if told.place else "")
                by_kind.setdefault(kind, []).append(shown)
        found += [Private(file, kind, shown[0], len(shown) - 1) for kind, shown in by_kind.items()]
        count += 1
    return found, count


def _files(folder: Path) -> Iterator[Path]:
    """Yield all that lies below a folder and is no folder, in order; links to folders too, and unfollowed."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in sorted((*files, *links)))


def _told(path: Path, file: str) -> Iterator[_Told]:
    yield _Told("its name", f" {file} ")
    if re.match(r"events\.out\.tfevents\.\d+\.", path.name):
        yield _Told("its name", path.name, "host")
    if path.is_symlink():
        yield from _link(str(path.readlink()), PurePosixPath(file))
        return
    if not stat.S_ISREG(path.stat().st_mode):
        yield _Told("", "no regular file", "not looked into")
        return
    with path.open("rb") as stream:
        yield from _texts(stream, path.stat().st_size, PurePosixPath(file), _DEEPEST)


def _link(target: str, file: PurePosixPath) -> Iterator[_Told]:
    """Yield a link that leads out of the folder, whose copy would lack what it leads to."""
    within = os.path.normpath(file.parent / target)
    if target.startswith("/"):
        yield _Told("link", target, "absolute path")
    elif within.startswith(".."):
        yield _Told("link", target, "not looked into")


def _texts(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the texts of a file by its form, which its first bytes tell."""
    beginning = stream.read(_BEGINNING)
    stream.seek(0)
    reader = next((reader for mark, reader in _FORMS.items() if beginning.startswith(mark)), None)
    try:
        if reader is not None:
            yield from reader(stream, size, name, deeper)
        elif b"\0" in beginning or not _is_text(beginning):
            yield from _strings(beginning)
        elif size > _MOST:
            yield _Told("", f"a text of {size} bytes", "not looked into")
        else:
            yield from _written(stream.read(_MOST).decode(errors="replace"), name)
    except _DAMAGE as error:
        if isinstance(error, OSError) and system_number(error) is not None:
            raise
        yield _Told("", " ".join(str(error).split()) or "damaged", "not looked into")


def _is_text(beginning: bytes) -> bool:
    try:
        # The last character may be cut.
        beginning[: max(len(beginning) - 4, 1)].decode()
    except UnicodeDecodeError as error:
        return error.start > len(beginning) - 8
    return True


_BYTES = "among bytes"


def _strings(content: bytes) -> Iterator[_Told]:
    for found in re.finditer(rb"[\x20-\x7e]{8,}", content):
        yield _Told(_BYTES, found[0].decode())


def _written(text: str, name: PurePosixPath) -> Iterator[_Told]:
    """Yield the lines of a text, what pages hold as data, and fields and columns that tell by their names."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            yield from _fields(json.loads(text), "")
            return
        except (ValueError, RecursionError):
            pass
    pages = re.compile(r"data:([\w./+-]*)(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=]+)")
    for found in pages.finditer(text):
        if found[1].startswith(("text/", "application/json", "application/javascript", "image/svg")):
            yield _Told(f"{found[1]} within", b64decode(found[2], validate=False).decode(errors="replace"))
    for number, line in enumerate(pages.sub("", text).splitlines(), 1):
        yield _Told(f"line {number}", line)
    if name.suffix in (".csv", ".tsv"):
        rows = csv.DictReader(io.StringIO(text), delimiter="," if name.suffix == ".csv" else "\t")
        for row in rows:
            yield from _told_by_names(row, f"line {rows.line_num}, column ")


def _fields(value: Any, place: str) -> Iterator[_Told]:
    """Yield the keys and texts of JSON."""
    if isinstance(value, Mapping):
        yield from _told_by_names(value, f"field {place}")
        for key, inner in value.items():
            yield _Told(f"field {place}", str(key))
            yield from _fields(inner, f"{place}{key}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _fields(inner, f"{place.rstrip('.')}[{number}].")
    elif isinstance(value, str):
        yield _Told(f"field {place.rstrip('.')}", value)


def _told_by_names(record: Mapping[Any, Any], place: str) -> Iterator[_Told]:
    """Yield fields that are private by their names, and persons of scans whom the subject does not name."""
    for key, value in record.items():
        if isinstance(value, str | int) and (kind := private_field(str(key), value)):
            yield _Told(f"{place}{key}", str(value), kind)
    if record.get("source") == "published" and isinstance(subject := record.get("subject"), str):
        for key in ("group", "auxiliary_group"):
            person = record.get(key)
            if isinstance(person, str) and private_field("person", person) and not named_in(person, subject):
                yield _Told(f"{place}{key}", person, "id of a patient")


def _hdf5(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield names, attributes, texts, and the files that links and data outside lead to."""
    import h5py
    import numpy as np

    found: list[_Told] = []

    def attributes(place: str, thing: h5py.HLObject) -> None:
        for key, value in thing.attrs.items():
            for text in np.ravel(value)[:_BEGINNING]:
                words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
                found.append(_Told(f"attribute {place}{key}", words))
                if kind := private_field(key, words):
                    found.append(_Told(f"attribute {place}{key}", words, kind))

    def visit(place: str, thing: h5py.HLObject) -> None:
        attributes(f"{place}.", thing)
        if not isinstance(thing, h5py.Dataset):
            return
        for outside in thing.external or ():
            found.append(_Told(f"data of {place}", str(outside[0])))
        if thing.is_virtual:
            found.extend(_Told(f"data of {place}", source.file_name) for source in thing.virtual_sources())
        if thing.dtype.kind in "OS" and h5py.check_string_dtype(thing.dtype) and thing.external is None:
            if thing.size * max(thing.dtype.itemsize, 1) > _MOST:
                found.append(_Told(place, f"{thing.size} texts", "not looked into"))
                return
            texts = {text.decode(errors="replace") for text in np.ravel(thing[()])}
            found.extend(_Told(f"dataset {place}", text) for text in sorted(texts))
            if kind := next(filter(None, (private_field(place, text) for text in texts)), None):
                found.append(_Told(f"dataset {place}", min(texts), kind))

    def link(place: str, target: object) -> None:
        found.append(_Told("name within", place))
        if isinstance(target, h5py.ExternalLink):
            found.append(_Told(f"link {place}", target.filename))

    with h5py.File(stream, "r") as file:
        attributes("", file)
        file.visititems(visit)
        file.visititems_links(link)
    yield from found


def _parquet(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the metadata, and the texts of each column once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(stream, memory_map=False) as file:
        for key, value in (file.metadata.metadata or {}).items():
            if key != b"ARROW:schema":
                yield from _written(
                    value.decode(errors="replace"), PurePosixPath(key.decode(errors="replace"))
                )
        schema = file.schema_arrow
        for column in schema.names:
            kind = schema.field(column).type
            if not (
                pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
            ):
                continue
            texts: set[str] = set()
            for batch in file.iter_batches(columns=[column]):
                texts.update(str(text) for text in batch.column(0).unique().to_pylist() if text is not None)
                if sum(map(len, texts)) > _MOST:
                    yield _Told(f"column {column}", "too many texts", "not looked into")
                    break
            for text in sorted(texts):
                yield _Told(f"column {column}", text)
                if told := private_field(column, text):
                    yield _Told(f"column {column}", text, told)


def _archive(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the texts of a zip's members: of checkpoints, arrays, reports; arrays of numbers are not read."""
    if not deeper:
        yield _Told("", "an archive within archives", "not looked into")
        return
    with zipfile.ZipFile(stream) as archive:
        yield _Told("comment", archive.comment.decode(errors="replace"))
        room = 4 * _MOST
        for member in archive.infolist():
            yield _Told("name within", member.filename)
            with archive.open(member) as inner:
                beginning = inner.read(_BEGINNING)
                inside = PurePosixPath(member.filename)
                # Weights and images, by the million.
                if inside.parent.name == "data" or _is_array_of_numbers(beginning):
                    continue
                content = beginning + inner.read(_MOST - len(beginning) + 1)
            room -= len(content)
            if len(content) > _MOST or room < 0:
                yield _Told(member.filename, "too many bytes", "not looked into")
                continue
            for told in _texts(io.BytesIO(content), len(content), inside, deeper - 1):
                yield told._replace(
                    place=f"{member.filename}, {told.place}" if told.place != _BYTES else _BYTES
                )


def _is_array_of_numbers(beginning: bytes) -> bool:
    described = re.match(rb"\x93NUMPY...{0,3}\{'descr': '[<>|=](.)", beginning, re.DOTALL)
    return bool(described and described[1] in b"biufc?")


def _array(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the texts of an array in NumPy's form."""
    import numpy as np

    if _is_array_of_numbers(stream.read(_BEGINNING)):
        return
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, kind = read(stream)
    if kind.kind not in "US":
        yield _Told("", f"an array of {kind}", "not looked into")
        return
    content = stream.read(_MOST)
    values = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
    for text in np.unique(values):
        yield _Told("array", text.decode(errors="replace") if isinstance(text, bytes) else str(text))


def _pickle(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the texts of a pickle, which is taken apart and not loaded."""
    texts: list[str] = []
    for _, argument, _ in pickletools.genops(stream.read(_MOST)):
        if isinstance(argument, str):
            texts.append(argument)
            yield _Told("pickle", argument)


def _png(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield the texts that stand beside a picture."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            content = stream.read(min(length, _BEGINNING))
            label = content.split(b"\0")[0].decode("latin-1") if kind != b"eXIf" else "EXIF"
            pieces = [content]
            for start in (
                found.end()
                for found in re.finditer(rb"\x00\x00|\x00\x01\x00[^\x00]*\x00[^\x00]*\x00", content)
            ):
                try:
                    pieces.append(zlib.decompressobj().decompress(content[start:], _BEGINNING))
                except zlib.error:
                    continue
            for piece in pieces:
                yield _Told(f"text {label}", piece.decode(errors="replace").replace("\0", " "))
            stream.seek(length - len(content) + 4, os.SEEK_CUR)
        else:
            stream.seek(length + 4, os.SEEK_CUR)


def _pdf(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield a document's strings, of its description and of what is drawn but for pixels, and its XML."""
    content = stream.read(_MOST)
    pieces = []
    for part in content.split(b"endstream"):
        before, _, packed = part.partition(b"stream")
        pieces.append(before)
        # Among so many pixels chance makes paths.
        if re.search(rb"/Subtype\s*/Image\b", before[before.rfind(b"obj") :]):
            continue
        try:
            pieces.append(zlib.decompressobj().decompress(packed.lstrip(b"\r\n"), _BEGINNING))
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
            yield _Told(
                "document",
                literal[2:].decode("utf-16-be", "replace")
                if wide
                else (literal or between).decode("latin-1"),
            )


def _gzip(stream: IO[bytes], size: int, name: PurePosixPath, deeper: int) -> Iterator[_Told]:
    """Yield what stands at the beginning; of a scan in its header alone."""
    content = zlib.decompressobj(47).decompress(stream.read(_BEGINNING), _BEGINNING)
    if content[344:347] in (b"n+1", b"ni1"):
        (start,) = struct.unpack("<f", content[108:112])
        content = content[: int(start) if 348 <= start <= _BEGINNING else 352]
        yield from _strings(content)
    else:
        yield from _texts(io.BytesIO(content), len(content), name.with_suffix(""), deeper - 1)


_FORMS: Mapping[bytes, Callable[[IO[bytes], int, PurePosixPath, int], Iterator[_Told]]] = {
    b"\x89HDF\r\n\x1a\n": _hdf5,
    b"PAR1": _parquet,
    b"PK\3\4": _archive,
    b"\x93NUMPY": _array,
    b"\x89PNG\r\n\x1a\n": _png,
    b"%PDF-": _pdf,
    b"\x1f\x8b": _gzip,
    **{b"\x80" + bytes([protocol]): _pickle for protocol in range(2, 6)},
}
