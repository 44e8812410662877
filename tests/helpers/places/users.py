"""Several users of one machine, by their real numbers."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ALICE, MALLORY = 12345, 65534


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Act as another user, without the rights of root, while the block lasts; skip where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    try:
        os.seteuid(uid)
    except PermissionError:
        pytest.skip("this root has no right to become another user")
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def common_folder(mode: int = 0o1777) -> Iterator[Path]:
    """A folder that every user reaches, as pytest's own are not; by default like ``/tmp``."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(mode)
        yield Path(name)
