"""Faults of the system, as they are: locks of other processes, and files that give EIO."""

import errno
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

# A regular file to all that ask, whose first bytes the system cannot read: no page of memory lies there.
UNREADABLE = Path("/proc/self/mem")

_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "rb")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another process hold an exclusive lock on a file while the block lasts."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            process.communicate()


def spoil(path: Path) -> None:
    """Replace a file by one that is there but cannot be read (EIO)."""
    path.unlink(missing_ok=True)
    path.symlink_to(UNREADABLE)


class NobodyReads(io.StringIO):
    """Standard output whose reader has seen enough, such as ``head``."""

    def write(self, _: str) -> int:
        """Refuse, as the system does."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def full(*_: object, **__: object) -> NoReturn:
    """Stand in for a writer whose disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@contextmanager
def failing(descriptor: int) -> Iterator[None]:
    """Let every read of an open file fail with EIO while the block lasts."""
    kept, unreadable = os.dup(descriptor), os.open(UNREADABLE, os.O_RDONLY)
    try:
        os.dup2(unreadable, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(unreadable)
