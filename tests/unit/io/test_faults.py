"""A fault of the system is told by file, number and remedy, and is never a verdict about data."""

import builtins
import errno
import gzip
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from faults import failing, full, locked, spoil
from knee_phantom import write_published
from matplotlib.figure import Figure
from tiny_runs import write_mask, write_splits
from users import MALLORY as NOBODY
from users import as_user, common_folder

from data_prep.contracts.checking import problem_with
from data_prep.contracts.discovery import entries_of
from data_prep.datasets.fastmri.dataset import locate
from data_prep.datasets.fastmri.folder import findings
from data_prep.datasets.fastmri.pairs import read_pair_list
from data_prep.datasets.fastmri.scans import open_scan
from data_prep.datasets.ixi.fetch import unpack
from data_prep.datasets.ixi.report import _read_picture
from data_prep.errors import BadInput, Ended, naming, reading, run_command
from data_prep.io import archives, hdf5
from data_prep.io.files import matching, read_rows, replacing, scratch
from data_prep.io.frames import read_csv, read_parquet
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import read_as, read_json, write_json
from data_prep.io.yaml_files import read_yaml
from data_prep.masks.from_file import register_found
from data_prep.masks.sets import MaskSet
from data_prep.prepare.files import stored_matrix
from data_prep.prepare.places import Places, shared_files
from data_prep.undersample.slices import SliceStore
from data_prep.volumes import load_volume, read_header
from methods.new import create as new_method
from workflow.figures.style import save_as
from workflow.new_paper import create as new_paper
from workflow.provenance.files import check_outside
from workflow.run.checkpoint import load_whole, save_atomically
from workflow.run.finished import find_runs
from workflow.score import main as score
from workflow.score import matched, table_of
from workflow.summary import summarise
from workflow.train.progress import Refused, StateFile

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Reader:
    """A reader of scans or of our own files, and how to write one that it reads."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]


def _nifti(path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((6, 6, 6), np.float32), np.eye(4))
    nibabel.save(image, path)


def _split(path: Path) -> None:
    write_splits(path.parent)
    (path.parent / "data" / "ixi" / "train.h5").replace(path)


def _mask(path: Path) -> None:
    write_mask(path.parent).replace(path)


def _tar(path: Path) -> None:
    scan = path.with_name("IXI002-Guys-0828-T1.nii.gz")
    scan.write_bytes(bytes(100_000))
    with tarfile.open(path, "w") as archive:
        archive.add(scan, scan.name)


def _text(content: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(content)


READERS = {
    "scan": Reader("file1000001.h5", write_published, open_scan),
    "aligned": Reader("a.h5", lambda path: _h5(path, target=np.ones((2, 4, 4))), stored_matrix),
    "split": Reader("train.h5", _split, lambda path: SliceStore(path, "cpu", 1.0)),
    "nifti": Reader("a.nii", _nifti, load_volume),
    "nifti_gz": Reader("a.nii.gz", _nifti, load_volume),
    "header": Reader("a.nii.gz", _nifti, read_header),
    "tar": Reader("a.tar", _tar, lambda path: unpack(path, path.parent / "IXI-T1", "T1")),
    "pairs": Reader("a.csv", _text("file1,file2,0.5\n"), read_pair_list),
    "json": Reader("a.json", _text("{}"), read_json),
    "record": Reader("a.json", _text("[]"), lambda path: read_as(list[str], path)),
    "yaml": Reader("a.yaml", _text("a: 1\n"), read_yaml),
    "csv": Reader("a.csv", _text("a\n1\n"), lambda path: read_csv(path, {"a": "int64"}, "make", "again")),
    "rows": Reader("a.csv", _text("a\n1\n"), lambda path: read_rows(path, "make it", "make it again")),
    "parquet": Reader(
        "a.parquet",
        lambda path: pd.DataFrame({"a": [1]}).to_parquet(path),
        lambda path: read_parquet(path, "a module"),
    ),
    "mask": Reader("a.npz", _mask, MaskSet.load),
    "arrays": Reader(
        "a.npz",
        lambda path: np.savez(path, a=[1]),
        lambda path: archives.read_npz(path, ["a"], "make", "again"),
    ),
    "checkpoint": Reader("a.ckpt", lambda path: save_atomically({"a": torch.ones(9)}, path), load_whole),
    "state": Reader(
        "a.pt", lambda path: save_atomically({"a": 1}, path), lambda path: StateFile(path, {}).read()
    ),
    "picture": Reader("a.png", lambda path: Figure().savefig(path), _read_picture),
}
# What the system says where a disk, a network folder, a limit or a permission is at fault.
NUMBERS = (
    *("EAGAIN", "EMFILE", "ENFILE", "EIO", "ESTALE", "ENOMEM", "EACCES", "EPERM", "ENOSPC", "EDQUOT"),
    *("ETIMEDOUT", "ENOTCONN", "EROFS", "ENODEV", "ENXIO", "ENOLCK", "EBUSY", "ELOOP", "EINTR", "EHOSTDOWN"),
)


def _h5(path: Path, **datasets: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


@pytest.fixture
def file(reader: Reader, tmp_path: Path) -> Path:
    path = tmp_path / reader.name
    reader.write(path)
    # It can be read, and what reading needs is imported; the state is of no training.
    with pytest.raises(Refused, match="of which training") if reader.name == "a.pt" else nullcontext():
        reader.read(path)
    return path


def fault(call: Callable[[], Any]) -> OSError:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is the caller's to judge
        call()
    return caught.value


def said(error: OSError) -> str:
    """What the user reads."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run_command(main)
    message = end.value.code
    assert isinstance(message, str)
    assert "\n" not in message
    return message


ZIPS = ("mask", "arrays", "checkpoint", "state")


# ---- every reader ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [name for name in READERS if name not in ZIPS], indirect=True)
def test_an_input_output_error_is_no_damage(reader: Reader, file: Path) -> None:
    spoil(file)
    error = fault(lambda: reader.read(file))
    assert (error.errno, error.filename) == (errno.EIO, str(file))
    assert said(error) == (
        f"error: {file}: Input/output error (EIO): it cannot be read or written now; see that its disk or "
        "network folder is there and answers, then run again (finished steps are kept)"
    )


class _Failing(io.FileIO):
    """A file of which the system gives ``left`` pieces, and then EIO."""

    left = 0

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            raise OSError(errno.EIO, "Input/output error")
        self.left -= 1
        return super().readinto(buffer)


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
@pytest.mark.parametrize("reader", ZIPS, indirect=True)
def test_an_archive_that_cannot_be_read_to_its_end_is_not_damaged(
    reader: Reader, file: Path, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_failing(path: Path, *_: Any, **__: Any) -> io.BufferedReader:
        raw = _Failing(path)
        raw.left = pieces
        return io.BufferedReader(raw, 64)

    with monkeypatch.context() as patched:
        patched.setattr(io, "open", open_failing)
        error = fault(lambda: reader.read(file))
    assert (error.errno, error.filename) == (errno.EIO, str(file))


def test_whatever_number_the_system_gives_is_told(
    reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NUMBERS:
        number = getattr(errno, name)

        def refuse(*_: Any, number: int = number, **__: Any) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            for place, opener in ((io, "open"), (builtins, "open"), (tarfile, "bltn_open"), (h5py, "File")):
                patched.setattr(place, opener, refuse)
            error = fault(lambda: reader.read(file))
        assert (error.errno, error.filename) == (number, str(file))
        assert f"{file}: {os.strerror(number)} ({name}): it cannot be read or written now; " in said(error)


@pytest.mark.parametrize("wrapped", [OSError, KeyError, RuntimeError, ValueError])
@pytest.mark.parametrize("reader", ["scan", "aligned", "split"], indirect=True)
def test_a_number_that_stands_in_a_text_only_is_found(
    reader: Reader, file: Path, wrapped: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        # As HDF5 says it, in exceptions without a number.
        raise wrapped(
            "Unable to open object (file read failed: file descriptor = 4, errno = 116, error message = ...)"
        )

    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", refuse)
        assert fault(lambda: reader.read(file)).errno == errno.ESTALE


def test_a_missing_file_and_a_folder_in_its_place_are_told_as_such(reader: Reader, file: Path) -> None:
    file.unlink()
    with pytest.raises((BadInput, FileNotFoundError, Refused)) as caught:
        reader.read(file)
    if not isinstance(caught.value, Refused):
        assert str(file) in str(caught.value)
    file.mkdir()
    with pytest.raises((BadInput, Refused)) as caught:
        reader.read(file)


_EXHAUSTED = """
import json, os, resource, sys
from pathlib import Path
from tests.unit.io.test_faults import READERS

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
told = {}
for name, reader in READERS.items():
    path = Path(sys.argv[1], name, reader.name)
    path.parent.mkdir()
    reader.write(path)
    try:
        reader.read(path)
    except Exception:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        reader.read(path)
        told[name] = "it was read"
    except Exception as error:
        told[name] = [error.errno, error.filename] if isinstance(error, OSError) else repr(error)
    for descriptor in held:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
print(json.dumps(told))
"""


def test_too_many_open_files_are_no_damage(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _EXHAUSTED, str(tmp_path)]
    helpers = (ROOT / "tests" / "helpers" / name for name in ("places", "runs", "scans"))
    path = os.pathsep.join(map(str, (ROOT, *helpers, ROOT / "workflow" / "plugins")))
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = {name: [errno.EMFILE, str(tmp_path / name / reader.name)] for name, reader in READERS.items()}
    assert json.loads(done.stdout) == expected


def as_nobody() -> AbstractContextManager[None]:
    """Give up the rights of root, who may read everything, while the block lasts."""
    return as_user(NOBODY) if os.geteuid() == 0 else nullcontext()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with common_folder(0o777) as folder:
        yield folder


def test_what_may_not_be_read_is_no_damage(reader: Reader, file: Path, open_folder: Path) -> None:
    path = open_folder / file.name
    path.write_bytes(file.read_bytes())
    path.chmod(0)
    with as_nobody():
        error = fault(lambda: reader.read(path))
    assert (error.errno, error.filename) == (errno.EACCES, str(path))
    assert "(EACCES): it cannot be read or written now; check the permissions, then run again" in said(error)


def test_a_folder_that_may_not_be_read_is_not_empty(open_folder: Path) -> None:
    inner = open_folder / "singlecoil_train"
    write_published(inner / "file1000001.h5")
    (inner / "._file1000001.h5").touch()
    assert list(matching(open_folder, "single*/file*.h5")) == [inner / "file1000001.h5"]
    assert list(matching(open_folder / "elsewhere", "*")) == []
    inner.chmod(0)
    try:
        with as_nobody():
            assert fault(lambda: list(matching(open_folder, "*/file*.h5"))).filename == str(inner)
            assert fault(lambda: locate(open_folder, {})).errno == errno.EACCES
            assert fault(lambda: findings(open_folder)).errno == errno.EACCES
    finally:
        inner.chmod(0o755)


def test_a_compressed_scan_that_memory_does_not_suffice_for_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii.gz"
    READERS["nifti_gz"].write(path)

    def refuse(*_: Any) -> None:
        # As zlib says it where it cannot have its window.
        raise zlib.error("Error -4 while decompressing data")

    monkeypatch.setattr(gzip.GzipFile, "read", refuse)
    error = fault(lambda: READERS["nifti_gz"].read(path))
    assert (error.errno, error.filename) == (errno.ENOMEM, str(path))


def test_a_header_that_memory_does_not_suffice_for_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ElementTree.ParseError("out of memory: line 1, column 0")

    monkeypatch.setattr(ElementTree, "fromstring", refuse)
    with pytest.raises(MemoryError):
        open_scan(write_published(tmp_path / "file1000001.h5"))


def _shared(folder: Path) -> list[str]:
    """The shared files of an experiment that reads those of ``folder/shared``."""
    results = folder / "mine"
    write_json(results / "data" / "ixi" / "shared.json", Places("raw", "aligned", "data"))
    row = "IXI1,IXI1-T2.nii.gz,IXI1-T1.nii.gz"
    (results / "data" / "ixi" / "manifest.csv").write_text(f"subject,target_file,auxiliary_file\n{row}\n")
    return shared_files(results, "ixi")


def _plug_ins(folder: Path) -> list[str]:
    package = ModuleType("plug_ins")
    package.__path__ = [str(folder)]
    return list(entries_of(package, "DATASET", int, "real", "", "dataset.py"))


@pytest.mark.parametrize(
    ("listed", "closed", "call"),
    [
        ("runs/ixi/2d_radial_9x/unet/seed0/run.json", "runs/ixi/2d_radial_9x", find_runs),
        ("shared/aligned/inner/IXI1.h5", "shared/aligned/inner", _shared),
        ("shared/raw/IXI-T2/IXI1-T2.nii.gz", "shared/raw", _shared),
        ("masks/ixi/mine_6x.json", "masks/ixi", register_found),
        ("tables/table_1.csv", "tables", summarise),
        ("mine/dataset.py", "mine", _plug_ins),
        ("data/ixi/shared.json", "data", lambda folder: score(folder, folder)),
        ("data/ixi/shared.json", "data/ixi", lambda at: check_outside("", at / "../shared/a", at)),
        ("tables/table_1.csv", "tables", lambda folder: table_of(folder, "ixi", "1d_uniform_6x")),
        ("inner/IXI1-T2.nii.gz", "inner", lambda folder: matched(folder, {})),
    ],
)
def test_what_lies_in_a_folder_that_may_not_be_read_is_not_passed_over(
    open_folder: Path, listed: str, closed: str, call: Callable[[Path], Any]
) -> None:
    path = open_folder / listed
    path.parent.mkdir(parents=True)
    path.touch()
    (open_folder / closed).chmod(0)
    try:
        with as_nobody():
            error = fault(lambda: call(open_folder))
    finally:
        (open_folder / closed).chmod(0o755)
    assert (error.errno, error.filename) == (errno.EACCES, str(open_folder / closed))


# ---- one by one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda file: hdf5.dataset(file, "kspace"),
        lambda file: hdf5.attribute(file, "patient_id"),
        lambda file: "mask" in file,
        lambda file: file["kspace"][()],
        lambda file: file["packed"][()],
    ],
    ids=["dataset", "attribute", "mask", "values", "packed"],
)
def test_hdf5_that_fails_half_way_is_no_damage(tmp_path: Path, read: Callable[[h5py.File], Any]) -> None:
    """In particular nothing is taken for missing, as h5py's own ``get`` does."""
    path = tmp_path / "file1000001.h5"
    with h5py.File(write_published(path), "r+") as file:
        file.create_dataset("packed", data=np.ones((9, 50, 50)), chunks=(1, 50, 50), compression="gzip")

    def read_and_fail() -> None:
        # Not by `opened`, which has looked for the datasets already.
        with (
            reading(path, "", "damaged", "", (KeyError, RuntimeError)),
            h5py.File(path, "r") as file,
            failing(file.id.get_vfd_handle()),
        ):
            read(file)

    error = fault(read_and_fail)
    assert (error.errno, error.filename) == (errno.EIO, str(path))


def test_a_lock_tells_how_to_do_without(tmp_path: Path) -> None:
    path = write_published(tmp_path / "file1000001.h5")
    with locked(path):
        error = fault(lambda: open_scan(path))
    assert said(error) == (
        f"error: {path}: Resource temporarily unavailable (EAGAIN): it cannot be read or written now; "
        "another process holds a lock on it, or its file system has no locks; wait for that process, or set "
        "HDF5_USE_FILE_LOCKING=FALSE where nobody writes to it, then run again (finished steps are kept)"
    )
    assert open_scan(path).slices == 4


def test_memory_that_is_full_is_no_damage(tmp_path: Path) -> None:
    def fill() -> None:
        with reading(tmp_path, "", "damaged", "", (RuntimeError,)):
            torch.empty(2**60, dtype=torch.uint8)

    assert fault(fill).errno == errno.ENOMEM
    with pytest.raises(OSError, match="Cannot allocate memory"), reading(tmp_path, "", "", "", ()):
        raise MemoryError


_SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import h5py, numpy as np
from data_prep.io import hdf5

path = Path(sys.argv[1])
shape = (1, 4000, 3000)
with h5py.File(path, "w") as file:
    file.create_dataset("kspace", shape, np.complex64, chunks=shape, compression="gzip")[...] = 1
values = np.empty(shape, np.complex64)
with hdf5.opened(path, "find it", "download it") as file:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, hard))
    file["kspace"].read_direct(values)
"""


def test_memory_that_is_full_within_hdf5_is_no_damage(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SHORT_OF_MEMORY, str(tmp_path / "a.h5")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"OSError: [Errno 12] Cannot allocate memory: '{tmp_path / 'a.h5'}'" in done.stderr


def test_a_place_that_cannot_be_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    with (
        pytest.raises(BadInput, match=r"a: damaged \(.*Invalid argument.*\); replace it"),
        reading(path, "missing", "damaged", "replace it", (OSError,)),
        path.open("rb") as file,
    ):
        file.seek(-8, os.SEEK_END)


def test_what_is_no_fault_of_the_system_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), reading(tmp_path, "", "", "", (ValueError,)):
        raise ZeroDivisionError
    with pytest.raises(KeyError, match="errno"), naming(tmp_path):
        raise KeyError("errno")


def test_a_fault_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    spoil(other)
    with pytest.raises(OSError) as caught, replacing(tmp_path / "mine.json"):  # noqa: PT011
        file_sha256(other)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(other))


def test_a_fault_in_writing_names_the_result_and_not_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.json"

    def write() -> None:
        with replacing(path) as temporary:
            temporary.parent.rmdir()
            temporary.write_text("{}")

    assert fault(write).filename == str(path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "a.npz"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        Ended(128 + signal.SIGTERM),
    ],
    ids=repr,
)
def test_a_check_gives_no_verdict_where_the_system_is_at_fault(error: BaseException) -> None:
    def check(_: None) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        problem_with(check, None, ROOT)
    assert caught.value is error


def test_a_check_finds_fault_with_code_that_looks_for_a_missing_file() -> None:
    def check(path: Path) -> None:
        path.read_text()

    assert problem_with(check, ROOT / "none", ROOT) is not None


@pytest.mark.parametrize("create", [new_method, new_paper], ids=["method", "paper"])
def test_an_entry_is_begun_whole_or_not_at_all(
    create: Callable[[str, Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_text, list[str]()

    def fill(path: Path, text: str, **options: Any) -> int:
        written.append(path.name)
        return write(path, text, **options) if len(written) == 1 else full()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fill)
        assert fault(lambda: create("mine", tmp_path)).errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    assert {path.name for path in create("mine", tmp_path).iterdir()} > set(written)


@pytest.mark.parametrize("suffix", ["pdf", "png"])
def test_a_figure_for_which_there_is_no_room_is_told_by_name(tmp_path: Path, suffix: str) -> None:
    figure, before = Figure(), resource.getrlimit(resource.RLIMIT_FSIZE)
    # Of so many letters, the disk is full where matplotlib begins a part of a PDF, of which it loses count.
    figure.text(0.5, 0.5, "abcdefghijklmnopqrstuvwxyz")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        error = fault(lambda: save_as(figure, tmp_path / "a", suffix))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (error.errno, error.filename) == (errno.EFBIG, str(tmp_path / f"a.{suffix}"))
    assert list(tmp_path.iterdir()) == []


def test_where_temporary_files_find_no_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use(name: str) -> None:
        with scratch() as folder:
            raise OSError(errno.ENOSPC, "", str(folder / name))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = "temporary files (TMPDIR names another folder for them)"
    assert fault(lambda: use("a.h5")).filename == f"{tmp_path}: {place}"
    assert fault(lambda: use("/elsewhere/a.h5")).filename == "/elsewhere/a.h5"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert said(fault(lambda: use("a.h5"))).startswith(f"error: {place}: No such file or directory")
