"""What a user is meant to read: input to mend, faults of the system, and the wrapper that prints both.

The two are never mixed up. ``BadInput`` is a verdict about data, which stays true and may exclude a scan. A
fault of the system (a lock, a full disk, a server that does not answer) says nothing about the data: it is an
``OSError`` with number and file name, it ends the job, and the next run tries again.
"""

import codecs
import errno
import io
import os
import re
import signal
import stat
import sys
import textwrap
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# HDF5 and torch tell the system's number in their texts only, h5py in exceptions of many types.
_IN_A_TEXT = re.compile(r"\berrno = (\d+)|\bError code (\d+)")
# What zlib, expat and torch begin with where memory is full; damage has other texts.
_FULL_MEMORY = re.compile("Error -4 |out of memory: line |CUDA out of memory")
# Of a place in a file that cannot be, which a damaged file asks for.
_OF_THE_CONTENT = {errno.EINVAL, errno.EOVERFLOW}

_REMEDIES = {
    "another process holds a lock on it, or its file system has no locks; wait for that process, or set "
    "HDF5_USE_FILE_LOCKING=FALSE where nobody writes to it": "EAGAIN EDEADLK ENOLCK ENOSYS EOPNOTSUPP",
    "allow more open files (`ulimit -n 4096`) or run fewer jobs at once": "EMFILE ENFILE",
    "check the permissions": "EACCES EPERM EROFS",
    "check the quota and the free disk space": "ENOSPC EDQUOT EFBIG",
    "run fewer jobs at once or give them more memory": "ENOMEM",
    "see that its disk or network folder is there and answers": "EIO ESTALE ETIMEDOUT ENOTCONN ENODEV ENXIO",
}
_REMEDY = {getattr(errno, name): remedy for remedy, names in _REMEDIES.items() for name in names.split()}


class BadInput(Exception):
    """Input that the user can mend.

    The message is one sentence that names the file, the field and the remedy. It becomes one line that shows
    all of its characters, whatever names, headers and other exceptions brought into it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


def printable(text: str) -> str:
    """Return a text that stays within its line, with escapes for what terminals obey or do not show.

    A name that others chose may hold what moves a terminal's cursor, turns the order of letters round, or
    begins a line of its own.
    """
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text)
    return "".join(shown)


def visible(text: str) -> str:
    """Return a text of several lines in one, ``printable``."""
    return printable(re.sub(r"\s*[\r\n]\s*", " ", text.strip("\r\n")))


def tell(text: str) -> None:
    """Print a line, ``printable``: whatever names are in it, it is one line, and can be encoded."""
    print(printable(text), flush=True)


def system_number(error: BaseException) -> int | None:
    """Return the system's number (``errno``) that an exception carries or tells in its text, or None."""
    if isinstance(error, MemoryError) or _FULL_MEMORY.match(str(error)):
        return errno.ENOMEM
    told = _IN_A_TEXT.search(str(error))
    number = (isinstance(error, OSError) and error.errno) or (told and int(told[1] or told[2]))
    return number if number and number not in _OF_THE_CONTENT else None


class Ended(SystemExit):
    """A signal ends the program; its code is that of the signal plus 128."""


def of_the_system(error: BaseException) -> bool:
    """Whether an exception is a signal, or a fault of the system that waiting, room or rights mend."""
    return isinstance(error, Ended) or system_number(error) in _REMEDY


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give faults of the system the name of the file: reading or writing an open one does not tell it.

    Args:
        path: the file.
        temporary: what it is called while it is written.

    Raises:
        OSError: with number and file name, whatever exception a library made of it.
    """
    try:
        yield
    except (OSError, RuntimeError, LookupError, zlib.error) as error:
        if (number := system_number(error)) is None:
            raise
        named = getattr(error, "filename", None)
        of_this = named is None or str(named) == str(temporary)
        raise OSError(number, os.strerror(number), str(path) if of_this else named) from error


@contextmanager
def reading(
    path: Path,
    absent: str,
    what: str,
    remedy: str,
    damage: tuple[type[Exception], ...],
    most: int | None = None,
) -> Iterator[None]:
    """Tell what goes wrong in reading a file with its name: as damage, or as a fault of the system.

    Args:
        path: the file; keep the block to reading it.
        absent: what to say where there is no such file.
        what: what to say of a damaged one, such as "not JSON".
        remedy: what to do with that.
        damage: what the library raises for it.
        most: bytes that any such file has, if it is read whole.

    Raises:
        BadInput: the file is missing, a folder, a pipe or a device (which may never end), too large, or
            damaged.
        OSError: with number and file name, a fault of the system.
    """
    caught: tuple[type[Exception], ...] = (OSError, MemoryError, *damage)
    try:
        there = path.stat()
        if not (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)):
            raise BadInput(f"{path}: it is a pipe or a device and no file; {remedy}")
        if most is not None and there.st_size > most:
            raise BadInput(f"{path}: it is larger than {most} bytes, which no such file is; {remedy}")
        yield
    except caught as error:
        # zipfile and tarfile call a file damaged whose end could not be read; the cause hangs on it.
        number = next(filter(None, map(system_number, with_causes(error))), None)
        if number in (errno.ENOENT, errno.ENOTDIR):
            raise BadInput(f"{path}: {absent}") from error
        if number == errno.EISDIR:
            raise BadInput(f"{path}: it is a folder and no file; {remedy}") from error
        if number is not None:
            named = getattr(error, "filename", None) or str(path)
            raise OSError(number, os.strerror(number), named) from error
        if not isinstance(error, damage):
            raise
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: {what}{f' ({said})' if said else ''}; {remedy}") from error


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, what it was raised from, and so on down to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def sentence_of(error: BadInput | OSError) -> str:
    """Return what a user reads of an error: one sentence with file, fault and remedy."""
    if isinstance(error, BadInput) or error.errno is None:
        return str(error)
    number, file = error.errno, visible(str(error.filename or "input or output"))
    name = errno.errorcode.get(number, number)
    # Not error.strerror, which libraries fill with lines of their own.
    return (
        f"{file}: {os.strerror(number)} ({name}): it cannot be read or written now; "
        f"{_REMEDY.get(number, 'check the path')}, then run again (finished steps are kept)"
    )


def run_command(main: Callable[[], None]) -> None:
    """Run a command line program: bad input and faults of the system end in one sentence and exit status 1.

    Everything else keeps its traceback, because it is a defect of ours and not of the input. What is printed
    is UTF-8 whatever the locale, as are the files that are made of it; a name of other bytes is printed with
    escapes, and ends no program after its work. A reader that has seen enough, such as ``head``, ends the
    program without a word, with the status of a program that SIGPIPE ends, unless something else went wrong
    before; where standard output or error is closed, nothing is printed there. Ctrl-C ends it with a word.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Also so that no file of ours takes the closed one's number, which libraries print to.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(encoding="utf-8", errors=errors)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            main()
        finally:
            _flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        first = _first(error)
        if isinstance(first, KeyboardInterrupt):
            # The interpreter then ends by the signal, by which a shell knows that its loop is to end too.
            sys.excepthook = lambda *_: print("interrupted", file=sys.stderr)
        if isinstance(first, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        if said := _said(first):
            sys.exit(f"error: {said}")
        if first is error:
            raise
        raise first from None


def _first(error: BaseException) -> BaseException:
    """Return what ended a program: a signal, whatever it became, or what went wrong before a reader left."""
    before = error.__context__
    # Of a reader that left, rich makes an end with status 1, which is some commands' verdict.
    if (isinstance(error, SystemExit) and isinstance(before, BrokenPipeError)) or (
        isinstance(error, BrokenPipeError) and isinstance(before, BadInput | OSError)
    ):
        return _first(before)
    stopped = (one for one in with_causes(error) if isinstance(one, KeyboardInterrupt | SystemExit))
    return next(stopped, error)


def _said(error: BaseException) -> str | None:
    """Return the sentence of bad input or of a fault of the system; None of all else."""
    if isinstance(error, BadInput) or (isinstance(error, OSError) and error.errno is not None):
        return sentence_of(error)
    number = system_number(error) if isinstance(error, OSError | MemoryError | RuntimeError) else None
    if number == errno.ENOMEM:
        told = printable(textwrap.shorten(str(error), 160, placeholder=" ..."))
        full = f"memory is full ({told})" if told else "memory is full"
        return f"{full}; {_REMEDY[number]}, then run again (finished steps are kept)"
    return None if number is None else sentence_of(OSError(number, os.strerror(number)))


def _flush() -> None:
    """Write what is left now, where a failure can be told, and leave nothing for the interpreter's end."""
    try:
        sys.stdout.flush()
    except OSError:
        # Not closed: the interpreter would try again and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
