"""A result stands under its name whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.io.files import replacing


def test_a_result_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".csv"
        assert temporary.parent == path.parent
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
