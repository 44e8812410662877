"""A user's mistake ends in one sentence and status 1; a defect of ours keeps its traceback."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from data_prep.errors import BadInput, run_command, tell

ROOT = Path(__file__).parents[3]


def raising(error: Exception) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def ended(error: Exception) -> str:
    with pytest.raises(SystemExit) as end:
        run_command(raising(error))
    message = end.value.code
    assert isinstance(message, str)  # the interpreter prints it and exits with status 1
    assert "\n" not in message
    return message


def test_a_program_that_works_ends_quietly(capsys):
    run_command(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_bad_input_is_told_as_it_is():
    sentence = "a.csv: field `b` is missing; add it"
    assert ended(BadInput(sentence)) == f"error: {sentence}"


def test_a_full_disk_names_the_file_and_the_remedy():
    message = ended(OSError(errno.ENOSPC, "No space left on device", "results/x/train.h5"))
    assert "results/x/train.h5: No space left on device" in message
    assert "free disk space" in message
    assert "finished steps are kept" in message


def test_a_full_disk_without_a_file_name_is_told_too():
    assert "No space left on device" in ended(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize(
    "error", [ValueError("shape"), KeyError("x"), OSError("no number"), AssertionError()], ids=repr
)
def test_a_defect_of_ours_is_not_hidden(error):
    with pytest.raises(type(error)):
        run_command(raising(error))


def printed(monkeypatch: pytest.MonkeyPatch, text: str) -> bytes:
    """What a command prints where standard output is UTF-8 and strict."""
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="utf-8", errors="strict"))
    run_command(partial(print, text))
    return content.getvalue()


def test_a_name_of_other_bytes_is_printed_with_escapes(monkeypatch):
    name = os.fsdecode(b"caf\xe9.h5")
    assert printed(monkeypatch, f"wrote {name}") == b"wrote caf\\udce9.h5\n"
    assert printed(monkeypatch, "6\u00d7") == "6\u00d7\n".encode()


def test_what_is_told_is_one_line_that_moves_no_cursor(capsys):
    name = os.fsdecode(b"knee\nwrote somewhere\x1b[2K caf\xe9.h5")
    tell(f"wrote {name}: 6\u00d7")
    assert capsys.readouterr().out == "wrote knee\\nwrote somewhere\\x1b[2K caf\\udce9.h5: 6\u00d7\n"


def test_status_and_output_of_a_process():
    code = (
        "from data_prep.errors import *\n"
        "def main(): raise BadInput('a.csv: field b is missing; add it')\n"
        "run_command(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: a.csv: field b is missing; add it\n"


def shell(line: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of bash, in which ``"$PY" -c "$CODE"`` is a command of ours that prints nine long lines."""
    code = "from data_prep.errors import *; run_command(lambda: [print('6\\u00d7' * 9999) for _ in range(9)])"
    environment = {**os.environ, **environment, "CODE": code, "PY": sys.executable}
    return subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, check=False)


def test_a_reader_that_has_seen_enough_is_no_error():
    done = shell('"$PY" -c "$CODE" | head -c 3; echo ${PIPESTATUS[0]}')
    assert done.stdout.decode() == "6\u00d7141\n"
    assert done.stderr == b""


def test_a_table_whose_reader_has_seen_enough_has_no_status_of_its_own():
    code = "from rich.console import Console\nfrom data_prep.errors import *\n"
    code += "run_command(lambda: [Console().print('666\\n' * 99, highlight=False) for _ in range(999)])"
    done = shell('"$PY" -c "$TABLE" | head -c 3; echo ${PIPESTATUS[0]}', TABLE=code)
    assert (done.stdout, done.stderr) == (b"666141\n", b"")


def test_a_full_device_is_told_also_at_the_end():
    done = shell('"$PY" -c "$CODE" > /dev/full')
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: input or output: No space left on device (ENOSPC):")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "locale",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=str,
)
def test_what_is_printed_is_utf_8_in_every_locale(locale):
    done = shell('"$PY" -c "$CODE"', **locale)
    assert done.stderr == b""
    assert done.stdout.decode("utf-8").splitlines() == ["6\u00d7" * 9999] * 9


def test_a_closed_output_is_one_that_nobody_reads():
    done = shell('"$PY" -c "$CODE" >&-; echo $?; "$PY" -c "$CODE" 2>&- | tail -n 1; echo $?')
    assert done.stdout.decode() == "0\n" + "6\u00d7" * 9999 + "\n0\n"
    assert done.stderr == b""


_CLOSED = """
import os, sys
from pathlib import Path
from data_prep.errors import run_command

def main():
    with Path(sys.argv[1]).open("wb") as file:
        os.write(1, b"a library's own words")  # as HDF5's and a subprocess's are printed
        print("progress", file=sys.stderr)
        file.write(b"kept")

run_command(main)
"""


def test_nothing_is_printed_into_a_file_that_takes_the_place_of_a_closed_output(tmp_path):
    done = shell(f'"$PY" -c "$CODED" {tmp_path}/file >&- 2>&-', CODED=_CLOSED)
    assert (done.returncode, (tmp_path / "file").read_bytes()) == (0, b"kept")


def test_what_went_wrong_is_told_although_nobody_reads_the_output():
    code = "from data_prep.errors import *\ndef main():\n  try: raise BadInput('a.csv: bad; mend it')\n"
    code += "  finally: print('6' * 99999, flush=True)\nrun_command(main)"
    done = shell('"$PY" -c "$FAILING" | head -c 3; echo ${PIPESTATUS[0]}', FAILING=code)
    assert done.stdout == b"6661\n"
    assert done.stderr == b"error: a.csv: bad; mend it\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "memory is full; "),
        (MemoryError("Unable to allocate 3 GiB\nfor an array"), "memory is full (Unable to allocate 3 GiB"),
        (RuntimeError("DefaultCPUAllocator: can't: Error code 12 (Cannot)"), "memory is full (DefaultCPU"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory is full (CUDA out of"),
        (OSError("Unable to write (errno = 28, error message = 'No')"), "input or output: No space left on"),
    ],
    ids=repr,
)
def test_a_fault_of_the_system_without_a_number_is_told_in_one_sentence(error, told):
    message = ended(error)
    assert message.startswith(f"error: {told}")
    assert message.endswith("then run again (finished steps are kept)")


_WAITING = '''"""Wait while a file is written."""
import time
from pathlib import Path
from data_prep.io.command import command
from data_prep.io.files import replacing


class Wait:
    def __set_name__(self, *_: object) -> None:
        print("begun", flush=True)
        time.sleep(60)


@command
def main(path: Path, /) -> None:
    """Write.

    Args:
        path: to write.
    """
    with replacing(path) as temporary:
        temporary.write_text("half")
        # Python wraps whatever comes out of this.
        type("Any", (), {"wait": Wait()})
'''


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (signal.SIGINT, -signal.SIGINT, "interrupted\n"),
        (signal.SIGTERM, 128 + signal.SIGTERM, ""),
        (signal.SIGHUP, 128 + signal.SIGHUP, ""),
    ],
)
def test_a_signal_leaves_nothing_half_written_and_no_traceback(tmp_path, sent, status, told):
    (tmp_path / "waiting.py").write_text(_WAITING)
    (tmp_path / "made").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "waiting", str(tmp_path / "made" / "file")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, tmp_path)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell starts it: tests may run where a signal is ignored, as by nohup.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(sent)
        assert (process.communicate(timeout=30)[1], process.returncode) == (told, status)
    assert list((tmp_path / "made").iterdir()) == []
