"""Versions of the code and of the packages it runs with."""

import hashlib
import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Iterable
from functools import cache

from data_prep.contracts.discovery import sources_in
from data_prep.io.hashes import file_sha256
from workflow.provenance.record import CodeVersion
from workflow.provenance.sources import ROOT, portable_name

_SOURCE_FOLDERS = ("data_prep", "methods", "requirements", "workflow")
_SOURCE_FILES = ("Snakefile", "environment.post-deploy.sh", "environment.yml")


def source_files() -> list[str]:
    """Return the files of the repository that the workflow is made of, relative to its root."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in _SOURCE_FOLDERS
        for path in sources_in(ROOT / folder, "*")
    ]
    return sorted([*found, *(name for name in _SOURCE_FILES if (ROOT / name).is_file())])


PACKAGES = ("torch", "numpy", "lightning-fabric", "h5py", "scikit-image", "scipy")


def code_version(sources: Iterable[str]) -> CodeVersion:
    """Return the git commit and the sha256 over the given source files."""
    together = hashlib.sha256()
    for path in sorted(set(sources)):
        together.update(f"{portable_name(path)} {file_sha256(ROOT / path)}\n".encode())
    return CodeVersion(_git_commit(), together.hexdigest())


def _git_commit() -> str | None:
    # Without this test git would report the commit of a repository that merely surrounds ours.
    if not (ROOT / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            # A clone in a container belongs to another user; to read its commit runs nothing of it.
            ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part in the numbers.

    Among them is what torch's build brought: CUDA's packages are not locked, because builds differ.
    """
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    cuda = sorted(name for name in installed if re.match("cuda-|nvidia-(?!ml-py)|triton", name))
    found = {name: installed.get(name, "not installed") for name in (*PACKAGES, *cuda)}
    return {"python": platform.python_version()} | found
