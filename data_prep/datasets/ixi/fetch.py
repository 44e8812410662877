"""IXI's two archives: downloaded, resumed where they broke off, verified, unpacked; or what is there, used.

``python -m data_prep.datasets.ixi.fetch --root IXI`` leaves ``IXI/IXI-T1/`` and ``IXI/IXI-T2/``. A folder
that is already there is not touched. A download that breaks off stays in ``.IXI-T1.<random>.part/`` and goes
on from there at the next attempt or the next run of the same user. An archive is unpacked only if its MD5 is
the expected one, and the folder appears under its name only when it is complete; the downloaded archive is
removed then.
"""

import hashlib
import json
import os
import re
import shutil
import ssl
import stat
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from data_prep.datasets.ixi.names import MODALITIES, SUFFIXES, misnamed_subject, scan_name
from data_prep.errors import BadInput, naming, reading, with_causes
from data_prep.io.command import command
from data_prep.io.files import remove_partial_files, replacing
from data_prep.io.json_files import DAMAGE, parsed, write_json
from data_prep.io.locks import shared_lock
from data_prep.io.private import without_login, without_logins
from data_prep.io.yaml_files import read_yaml

_KEYS = ("url", "md5")
# As configurations have them by default.
_ARCHIVES = read_yaml(Path(__file__).with_name("config.schema.yaml"))["properties"]["archives"]["properties"]
ARCHIVES = {name: {key: of["properties"][key]["default"] for key in _KEYS} for name, of in _ARCHIVES.items()}
_BLOCK = 1 << 20
# What IXI's archives cannot have: four times their bytes, nine times their members, and headers (of names
# and times) of this many bytes.
_LARGEST, _MOST_MEMBERS, _LONGEST_HEADER = 2**34, 5000, 2**14
_NOTHING = "nothing was unpacked, check the address and the checksum in datasets.ixi.archives"
# Statuses that another attempt may mend.
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server.

    Attributes:
        timeout: seconds without any byte, after which an attempt ends.
        window: seconds in which ``least`` bytes must arrive.
        least: bytes.
        attempts: in all, for one archive in one run.
        barren: attempts in a row that bring nothing.
        pause: longest wait between two attempts, in seconds; the first is 1 s, or this if it is shorter.
    """

    timeout: float = 60.0
    window: float = 60.0
    least: int = 60_000
    attempts: int = 20
    barren: int = 5
    pause: float = 30.0


class _Broken(Exception):
    """An attempt that ended early; another may go on from there."""


# Called with the bytes that are there and the size, if known.
Watch = Callable[[int, int | None], None]


def fetch(root: Path, archives: Mapping[str, Mapping[str, str]], patience: Patience) -> dict[str, Any]:
    """Make ``root`` hold ``IXI-T1`` and ``IXI-T2``; processes that ask at the same time wait for each other.

    Where both are there, no lock is taken, so that ``root`` may be read-only.

    Args:
        root: folder; made if it is missing.
        archives: per modality ``url`` and ``md5``, as ``ARCHIVES``.
        patience: with the server.

    Returns:
        Per modality, where its scans came from and how many there are.

    Raises:
        BadInput: the download failed, a checksum is wrong, or an archive holds what it must not.

    Users and passwords of addresses are used, and neither printed nor returned.
    """
    folders = {modality: root / f"IXI-{modality}" for modality in MODALITIES}
    there = all(folder.is_dir() for folder in folders.values())
    remedy = "have the scans put there, or choose another datasets.ixi.root"
    with nullcontext() if there else shared_lock(root / ".fetch.lock", remedy):
        return {
            modality: _fetch_one(folder, modality, archives[modality], patience)
            for modality, folder in folders.items()
        }


def _fetch_one(folder: Path, modality: str, source: Mapping[str, str], patience: Patience) -> dict[str, Any]:
    url, md5 = source["url"], source["md5"]
    if folder.is_dir():
        scans = sum(path.name.endswith(SUFFIXES) for path in folder.iterdir())
        print(f"{folder}: already there, {scans} scans", flush=True)
        return {"from": "the folder that was there", "scans": scans}
    # Of a run that was killed while it unpacked.
    remove_partial_files(folder.parent, folder.name)
    own = folder.with_name(f"{folder.name}.tar")
    if own.is_file():
        if (found := _md5(own)) != md5:
            raise BadInput(
                f"{own}: its MD5 is {found}, expected {md5}; download it again, or remove it to have it "
                f"downloaded from {without_login(url)}"
            )
        scans = unpack(own, folder, modality)
    else:
        part = _private_folder(folder) / own.name
        try:
            with _display(own.name) as watch:
                download(url, md5, part, patience, watch)
            scans = unpack(part, folder, modality)
            part.unlink()
        finally:
            # Not where something came: the next run goes on from there.
            with suppress(OSError):
                part.parent.rmdir()
    print(f"{folder}: {scans} scans", flush=True)
    return {"from": own.name if own.is_file() else without_login(url), "md5": md5, "scans": scans}


def _private_folder(folder: Path) -> Path:
    """Return where a download of this user broke off, or a new folder that only this user may enter."""
    new = Path(tempfile.mkdtemp(".part", f".{folder.name}.", folder.parent))
    # As this file system tells owners, which may not be as the process does.
    mine = new.lstat().st_uid
    for path in sorted(folder.parent.glob(f".{folder.name}.*.part")):
        status = path.lstat()
        if path != new and stat.S_ISDIR(status.st_mode) and status.st_uid == mine:
            new.rmdir()
            return path
    return new


def download(url: str, md5: str, part: Path, patience: Patience, watch: Watch) -> None:
    """Bring ``part`` to its full size and verify it.

    Args:
        url: http or https.
        md5: expected checksum, hexadecimal.
        part: file to write, in a folder of its own that nobody else may enter; what it holds of an earlier
            attempt is kept and continued.
        patience: with the server.
        watch: told of progress.

    Raises:
        BadInput: the server refuses, fails too often, or its file has another checksum; in the last case
            ``part`` is removed.
    """
    kept = part.is_file()
    # It may be complete: a run can end between download and unpacking.
    while not (kept and _md5(part) == md5):
        _bring(url, part, patience, watch)
        if (found := _md5(part)) == md5:
            return
        part.unlink()
        if not kept:
            raise BadInput(
                f"{without_login(url)}: the file's MD5 is {found}, expected {md5}; it was not kept, check "
                "the address and the checksum in datasets.ixi.archives"
            )
        # The beginning may be of another file, or spoilt on this disk.
        print(f"{without_login(url)}: what was here of it did not fit; starting anew", flush=True)
        kept = False


def _bring(url: str, part: Path, patience: Patience, watch: Watch) -> None:
    barren, shown = 0, without_login(url)
    for attempt in range(1, patience.attempts + 1):
        before = _size(part)
        try:
            return _attempt(url, part, patience, watch)
        except _Broken as error:
            reason = f"{error}, {_size(part) / 1e6:.1f} MB are here"
        print(f"{shown}: {reason} (attempt {attempt} of {patience.attempts})", flush=True)
        barren = 0 if _size(part) > before else barren + 1
        if barren == patience.barren or attempt == patience.attempts:
            break
        time.sleep(min(patience.pause, 2.0 ** min(attempt - 1, 10)))
    raise BadInput(
        f"{shown}: gave up after {attempt} attempts ({reason}); check the network and run again, it goes on "
        "from there"
    )


def _attempt(url: str, part: Path, patience: Patience, watch: Watch) -> None:
    """Append what is missing of ``part``; returns when it is complete."""
    # Imported here, because a folder that is there needs no network.
    import requests
    from urllib3.exceptions import HTTPError

    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=patience.timeout) as answer:
            extent = _extent(answer.status_code, answer.headers, have, url)
            if extent is None:
                part.unlink(missing_ok=True)
                raise _Broken("the server sends another part than was asked for")
            if (extent[1] or 0) > _LARGEST:
                raise _wrong_address(url, f"leads to {extent[1]} bytes, which no archive of IXI has")
            _receive(answer.raw, url, part, *extent, patience, watch)
    except ValueError as error:
        raise _wrong_address(url, "is none of the web, which begins with https:// or http://") from error
    except requests.exceptions.Timeout as error:
        raise _Broken(f"no answer within {patience.timeout:g} s") from error
    except requests.exceptions.TooManyRedirects as error:
        raise _wrong_address(url, "leads round in a circle") from error
    except (requests.exceptions.RequestException, HTTPError) as error:
        causes = list(with_causes(error))
        refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
        if refused is not None:
            raise BadInput(
                f"{without_login(url)}: its certificate is refused ({refused.verify_message}); check this "
                "machine's clock, name a proxy's own certificate in REQUESTS_CA_BUNDLE, or bring the file to "
                f"{part.parents[1] / part.name} by other means, where its MD5 is checked"
            ) from error
        broke_off = isinstance(error, HTTPError | requests.exceptions.ChunkedEncodingError)
        what = "the connection broke off" if broke_off else "the server cannot be reached"
        raise _Broken(f"{what}: {' '.join(without_login(str(causes[-1])).split())}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # Of requests, where there is no such file of certificates.
        raise BadInput(f"{without_login(url)}: {error}; correct REQUESTS_CA_BUNDLE") from error


def _extent(status: int, headers: Mapping[str, str], have: int, url: str) -> tuple[int, int | None] | None:
    """Return the first byte that the answer brings and the whole file's size; None if it brings no use."""
    if status == 200:
        # Also of a server that ignores Range: all over again.
        length = re.fullmatch(r"\d{1,18}", headers.get("Content-Length", ""), re.ASCII)
        return 0, int(length[0]) if length else None
    if status == 206:
        given = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", headers.get("Content-Range", ""))
        if given is None or int(given[1]) != have:
            return None
        return have, int(given[2]) if given[2].isdecimal() else None
    if status == 416:
        return None  # no such part: more is here than the server has
    if status in _PASSING:
        raise _Broken(f"the server answers {status}")
    raise _wrong_address(url, f"is answered with {status}")


def _receive(
    stream: Any, url: str, part: Path, start: int, size: int | None, patience: Patience, watch: Watch
) -> None:
    free = shutil.disk_usage(part.parent).free
    if size is not None and free < 2 * size - start:
        raise _no_room(part, free, 2 * size - start)
    # Of a size that is not told, what an archive can have and what leaves room to unpack it.
    bound = size if size is not None else min(_LARGEST, (free + start) // 2)
    have, counted, since = start, 0, time.monotonic()
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        # As packets arrive: a full block of a slow server could take for ever.
        while block := stream.read1(_BLOCK, decode_content=False):
            if have + len(block) > bound:
                if size is not None:
                    raise _Broken("the server sends more than it said")
                if bound < _LARGEST:
                    raise _no_room(part, free, free + 1)
                part.unlink()
                raise _wrong_address(url, f"leads to more than {bound} bytes, which no archive of IXI has")
            with naming(part):
                file.write(block)
            have += len(block)
            counted += len(block)
            watch(have, size)
            if time.monotonic() - since > patience.window:
                if counted < patience.least:
                    raise _Broken(f"only {counted} bytes came in {patience.window:g} s")
                counted, since = 0, time.monotonic()
    if size is not None and have != size:
        raise _Broken("the connection broke off")


def _no_room(part: Path, free: int, needed: int) -> BadInput:
    return BadInput(
        f"{part.parents[1]}: {free / 1e9:.1f} GB are free, but {needed / 1e9:.1f} GB or more are needed "
        "to download and unpack; make room or choose another datasets.ixi.root"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _md5(path: Path) -> str:
    with naming(path), path.open("rb") as file:
        # Against accidents and mix-ups; no other checksum of these files is published.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _wrong_address(url: str, what: str) -> BadInput:
    return BadInput(f"{without_login(url)}: the address {what}; correct it in datasets.ixi.archives")


class _Member(tarfile.TarInfo):
    """A header whose claims are bounded: tarfile reads a long one whole, and keeps every one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header as tarfile does."""
        member = super().frombuf(buf, encoding, errors)
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"member {member.name} claims more than is stored of it")
        if not (member.isfile() or member.isdir()) and member.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {member.size} bytes")
        return member


def unpack(archive: Path, folder: Path, modality: str) -> int:
    """Unpack a modality's scans into ``folder``, which appears only when it is complete.

    Returns:
        Number of scans. Files that are no scans are passed over; what ends as a scan does is kept.

    Raises:
        BadInput: the archive is broken, holds no scan or one twice, or a member would leave the folder, is no
            plain file or claims what it cannot hold; nothing is left of it then.
    """
    members = 0

    def place_of(member: tarfile.TarInfo, partial: Path) -> Path | None:
        """Return where a scan goes; None for what is passed over."""
        nonlocal members
        members += 1
        if members > _MOST_MEMBERS:
            raise _unfit(archive, f"it holds more than {_MOST_MEMBERS} members")
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise _unfit(archive, f"member {member.name} would be written outside the folder")
        if not (member.isfile() or member.isdir()):
            raise _unfit(archive, f"member {member.name} is a link or a device and no file")
        if member.issparse():
            raise _unfit(archive, f"member {member.name} claims more than is stored of it")
        name = scan_name(path.name)
        # What is like a scan is kept, so that the check of the folder tells it.
        wanted = name.modality == modality if name else misnamed_subject(path.name) is not None
        if member.isdir() or not wanted:
            return None
        if not path.name.isprintable() or len(path.name.encode()) > 255:
            raise _unfit(archive, f"member {member.name} has a name that no file should have")
        if (partial / path.name).exists():
            raise _unfit(archive, f"it holds {path.name} twice")
        return partial / path.name

    damage = (tarfile.TarError, EOFError, zlib.error)
    with replacing(folder) as partial:
        partial.mkdir()
        with (
            reading(archive, "no such file", "it cannot be unpacked", _NOTHING, damage),
            # As published; a compressed one could be of any size.
            tarfile.open(archive, "r:", tarinfo=_Member) as tar,
        ):
            # Python knows filters of members from 3.11.4 on, and Debian has 3.11.2.
            for member in tar:
                if (place := place_of(member, partial)) is not None:
                    content = tar.extractfile(member)
                    assert content is not None, "a plain file, see above"
                    with content, place.open("xb") as file:
                        shutil.copyfileobj(content, file)
        scans = sum(scan_name(path) is not None for path in partial.iterdir())
        if not scans:
            raise _unfit(archive, f"it holds no scan with a name like IXI012-HH-1211-{modality}.nii.gz")
    return scans


def _unfit(archive: Path, what: str) -> BadInput:
    return BadInput(f"{archive}: {what}; {_NOTHING}")


@contextmanager
def _display(name: str) -> Iterator[Watch]:
    """Show progress: a bar in a terminal, a line for every tenth in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(f"{name}", *columns, console=console) as bar:
            task = bar.add_task(name, total=None)
            yield lambda have, size: bar.update(task, completed=have, total=size)
        return
    shown = -1

    def line(have: int, size: int | None) -> None:
        nonlocal shown
        tenth = 10 * have // size if size else have // 500_000_000
        if tenth != shown:
            shown = tenth
            print(f"{name}: {have / 1e6:.0f}{f' of {size / 1e6:.0f}' if size else ''} MB", flush=True)

    yield line


def parse_archives(text: str) -> dict[str, dict[str, str]]:
    """Read the JSON object of ``--archives``.

    Raises:
        BadInput: it is not of the form of ``ARCHIVES``.
    """
    try:
        given = parsed(text)
        return {modality: {key: str(given[modality][key]) for key in _KEYS} for modality in MODALITIES}
    except (*DAMAGE, KeyError, TypeError) as error:
        raise BadInput(
            '--archives: must be a JSON object such as {"T1": {"url": "https://...", "md5": "..."}, '
            '"T2": ...}'
        ) from error


def _with_logins(archives: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the addresses with the users and passwords that the workflow hands over by the environment."""
    given = json.loads(os.environ.get("FETCH_ARCHIVES", "{}")).get("ixi")
    return given if given and without_logins(given) == archives else archives


@command
def main(
    root: Annotated[Path, "folder for IXI-T1 and IXI-T2"],
    archives: Annotated[
        Mapping[str, Any], parse_archives, "addresses and MD5 as JSON (default: the published ones)"
    ] = ARCHIVES,
    timeout: Annotated[float, "seconds without a byte (default: 60)"] = Patience.timeout,
    attempts: Annotated[int, "for each archive (default: 20)"] = Patience.attempts,
    record: Annotated[Path | None, "JSON file to write: what came from where"] = None,
) -> None:
    """Download, verify and unpack what is missing."""
    came = fetch(root, _with_logins(archives), Patience(timeout=timeout, attempts=attempts))
    if record:
        write_json(record, came)
