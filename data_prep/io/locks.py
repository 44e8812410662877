"""Locks for all users of a machine, and how a message calls a user."""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import BadInput, tell


@contextmanager
def shared_lock(path: Path, remedy: str) -> Iterator[None]:
    """Hold a lock that every user can take; waiting for it is told.

    Args:
        path: the lock's file, in the folder that is to be written; both are made if they are missing. A link
            is not followed.
        remedy: what to do where this user cannot take it.

    Raises:
        BadInput: the file or its folder may not be written, or it is a link.
    """
    # Imported here: it takes a sixth of a second, and what is there already needs no lock.
    from filelock import FileLock, Timeout

    # With a mode given, filelock sets it whatever the umask.
    lock = FileLock(path, mode=0o666)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"waiting for another process, which holds {path} (a file of {owner(path)})")
            lock.acquire()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
            raise
        refused = Path(error.filename)
        while not os.path.lexists(refused):
            refused = refused.parent
        raise BadInput(
            f"{refused}: it belongs to {owner(refused)} and may not be written ({os.strerror(error.errno)}); "
            f"{remedy}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def user(uid: int) -> str:
    """Return how a message calls a user, e.g. ``alice (uid 1001)``."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def owner(path: Path) -> str:
    """Return how a message calls a file's or link's owner, also where the system does not tell."""
    try:
        return user(path.lstat().st_uid)
    except OSError:
        return "an unknown user"
