"""A result stands under its name whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from users import ALICE, MALLORY, as_user, common_folder

from data_prep.errors import BadInput
from data_prep.io.files import check_place, remove_partial_files, replacing


def test_a_result_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".csv"
        assert temporary.parent.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_the_old_result_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL = 200_000  # bytes, more than a file may have below

# A full disk as a file size limit, which needs no file system of its own.
WRITERS = {
    "plain": "with replacing(path) as temporary: temporary.write_bytes(bytes(FULL))",
    "open": "with replacing(path) as temporary, temporary.open('wb') as file: file.write(bytes(FULL))",
    "hdf5": (
        "import h5py, numpy\n"
        "with replacing(path, FULL) as temporary, h5py.File(temporary, 'w') as file:\n"
        "    file['data'] = numpy.zeros(FULL, numpy.uint8)"
    ),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_told_by_name_in_one_sentence_and_leaves_nothing(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "data.h5"
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom data_prep.errors import run_command\n"
        "from data_prep.io.files import replacing\n"
        f"path, FULL, limit = Path(sys.argv[1]), {FULL}, int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "def main():\n" + "".join(f"    {line}\n" for line in writer.splitlines()) + "run_command(main)"
    )

    def run(limit: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(path), str(limit)]
        root = Path(__file__).parents[3]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    done = run(FULL // 2)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {path}: File too large (EFBIG): it cannot be read or written now; check "
    )
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert run(2 * FULL).returncode == 0
    assert path.stat().st_size >= FULL


def test_other_errors_keep_the_file_they_name(tmp_path: Path) -> None:
    def read_another() -> None:
        with replacing(tmp_path / "new.csv"):
            (tmp_path / "none.csv").read_text()

    with pytest.raises(FileNotFoundError) as error:
        read_another()
    assert error.value.errno == errno.ENOENT
    assert error.value.filename == str(tmp_path / "none.csv")


# ---- among other users ----------------------------------------------------------------------------


def test_a_link_under_the_temporary_name_of_earlier_versions_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".run.{os.getpid()}.partial.json").symlink_to(victim)
    with replacing(tmp_path / "run.json") as temporary:
        temporary.write_text("{}")
    assert victim.read_text() == "kept"
    assert (tmp_path / "run.json").read_text() == "{}"


def test_the_temporary_name_is_another_each_time_and_in_a_folder_that_nobody_else_may_enter() -> None:
    names = set()
    with common_folder() as folder:
        for _ in range(3):
            with as_user(ALICE), replacing(folder / "run.json") as temporary:
                temporary.write_text("mine")
                names.add(temporary)
                assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
                os.seteuid(0)
                with as_user(MALLORY):
                    for attempt in (temporary.read_text, temporary.unlink, temporary.parent.rmdir):
                        with pytest.raises(PermissionError):
                            attempt()
                os.seteuid(ALICE)
    assert len(names) == 3


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_result_has_the_permissions_of_any_new_file_and_the_group_of_its_folder(
    tmp_path: Path, umask: int
) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, 4711)
    tmp_path.chmod(0o2775)
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "table.csv", 10) as temporary:
            temporary.write_text("whole")
        with replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "table.csv").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) & 0o777 == 0o777 & ~umask
    groups = {path.stat().st_gid for path in (tmp_path, *tmp_path.iterdir())}
    assert len(groups) == 1


def test_a_folder_that_may_not_be_written_is_told_by_the_results_name() -> None:
    with common_folder(0o755) as folder, as_user(ALICE):
        with pytest.raises(PermissionError) as error, replacing(folder / "run.json"):
            pass
        assert error.value.filename == str(folder / "run.json")


def test_a_place_where_nothing_can_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    check_place("--to", tmp_path / "new" / "folder" / "table.csv")
    check_place("--to", Path("table.csv"))
    check_place("--to", tmp_path, folder=True)
    assert not [*tmp_path.iterdir()]
    with pytest.raises(BadInput, match=r"--to: .* is a folder; give the name of a file"):
        check_place("--to", tmp_path)
    with common_folder(0o755) as folder, as_user(ALICE), pytest.raises(OSError, match="Permission") as told:
        check_place("--to", folder / "new" / "table.csv")
    assert told.value.filename == str(folder)


def test_what_killed_writers_left_is_removed_without_following_links(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom data_prep.io.files import replacing\n"
        "with replacing(Path(sys.argv[1], 'state.pt')) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    results, other = tmp_path / "results", tmp_path / "other"
    command = [sys.executable, "-c", code, str(results)]
    subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    (left,) = results.iterdir()
    assert [path.read_text() for path in left.iterdir()] == ["half"]
    other.mkdir()
    (other / "precious").touch()
    (results / ".state.x.partial").symlink_to(other)
    remove_partial_files(results, "table")
    assert len(list(results.iterdir())) == 2
    remove_partial_files(results)
    assert list(results.iterdir()) == []
    assert (other / "precious").exists()


def test_what_another_user_left_does_not_stop_a_run() -> None:
    with common_folder() as folder:
        with as_user(MALLORY):
            (folder / ".state.x.partial").mkdir()
            (folder / ".state.x.partial" / "partial.pt").touch()
        with as_user(ALICE):
            remove_partial_files(folder)
        assert (folder / ".state.x.partial" / "partial.pt").exists()
