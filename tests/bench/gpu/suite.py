"""All parts of the GPU bench, each in a process and a time of its own, and the report of what they said.

The report is written anew after each part.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.io.files import write_text
from tests.bench.gpu.report import markdown

ROOT = Path(__file__).parents[3]
LEAST_SECONDS = 15.0  # of a part: torch alone takes some of them to start
POLL_SECONDS = 0.2
INTERRUPTED = "interrupted"
NOT_BEGUN = "not begun"
OUT_OF_TIME = "out of time"


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def handle(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def command(name: str, device: str, rows: Path) -> list[str]:
    return [sys.executable, "-m", "tests.bench.gpu", name, "--device", device, "--rows", str(rows)]


def run_part(words: list[str], rows: Path, seconds: float) -> str | None:
    """Run one part; return why it did not come to its end, None if it did."""
    errors = rows.with_suffix(".log")
    with errors.open("w", encoding="utf-8") as log:
        # A group of its own: Ctrl-C is ours, and what it started ends with it.
        process = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"{OUT_OF_TIME} after {seconds:.0f} s"
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            _end(process)
    if process.returncode == 0:
        return None
    last = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"failed with status {process.returncode}: {' '.join(last)[:300]}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End whatever is left of a part and of what it started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(2.0)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


def read_rows(file: Path, why: str | None) -> dict[str, dict[str, Any]]:
    """Return what a part wrote; a row that it did not come to says why."""
    # A part that is ended while it writes leaves half a line.
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    said = [json.loads(line) for line in lines if line.endswith("\n")]
    reason: dict[str, Any] = {"reason": why or "failed: it said nothing"}
    if reason["reason"].startswith("failed"):
        reason["failed"] = True
    names = said[0]["rows"] if said else ["all of it"]
    return {name: dict(reason) for name in names} | {row.pop("row"): row for row in said[1:]}


def run_suite(out: Path, device: str, minutes: float, parts: Mapping[str, Any], chosen: Sequence[str]) -> int:
    """Run parts one after the other and write ``report.json`` and ``report.md``.

    Args:
        out: folder of the report.
        device: ``auto``, ``cuda``, or ``cpu``, which stands in for a GPU with everything tiny.
        minutes: for all parts together.
        parts: title and seconds of each, by name.
        chosen: names of those to run.

    Returns:
        The exit status: 0, 1 if something failed, 130 if it was interrupted.
    """
    # Parts run in the folder of the repository.
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"minutes": minutes, "device": device, "parts": {}}
    for name in chosen:
        report["parts"][name] = {"title": parts[name].title, "rows": {"all of it": {"reason": NOT_BEGUN}}}
    begun, interrupted = time.monotonic(), False
    try:
        with stopped_by_sigterm():
            for number, name in enumerate(chosen, start=1):
                left = 60 * minutes - (time.monotonic() - begun)
                _say(f"[{number}/{len(chosen)}] {parts[name].title}; {left:.0f} s left")
                taken, why = _taken(out, name, device, min(parts[name].seconds, left))
                report["parts"][name] |= taken
                _write(out, report)
                if why == INTERRUPTED:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        interrupted = True
        _say("interrupted; the report keeps what was taken")
    rows = [row for part in report["parts"].values() for row in part["rows"].values()]
    for row in rows:
        if row.get("reason") == NOT_BEGUN:
            row["reason"] = INTERRUPTED
    report["seconds"] = time.monotonic() - begun
    print(_write(out, report))
    _say(f"written: {out / 'report.md'} and report.json")
    return 130 if interrupted else int(any(row.get("failed") for row in rows))


def _taken(out: Path, name: str, device: str, seconds: float) -> tuple[dict[str, Any], str | None]:
    """Return what one part took, and why it did not come to its end."""
    if seconds < LEAST_SECONDS:
        return {"rows": {"all of it": {"reason": OUT_OF_TIME}}}, OUT_OF_TIME
    file = out / f"{name}.jsonl"
    file.unlink(missing_ok=True)
    begun = time.monotonic()
    why = run_part(command(name, device, file), file, seconds)
    return {"seconds": time.monotonic() - begun, "rows": read_rows(file, why)}, why


def _write(out: Path, report: Mapping[str, Any]) -> str:
    text = markdown(report)
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    write_text(out / "report.md", text)
    return text


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
