"""What a file is known by."""

import hashlib
from pathlib import Path

from data_prep.errors import naming


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file; of a missing one, which its reader reports, nothing."""
    return file_sha256(path) if path.is_file() else ""
