"""What every part of the bench uses: timing in turns, tables, and a split file to work on."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

MASK, NOISE, SEED = "1d_random_3x", 0.1, 2022

Work = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """How large the networks' inputs are, and how long one comparison may take.

    Attributes:
        device: where.
        batch, side: slices and their sides in pixels.
        seconds: after which a comparison is not repeated any more.
        precision: of the product; the plain networks run in float32.
    """

    device: torch.device
    batch: int
    side: int
    seconds: float
    precision: str = "32-true"


def fastest(works: Sequence[Work], device: torch.device, seconds: float) -> list[float]:
    """Time several works in turns, for about ``seconds``; return the fastest round of each.

    The first rounds are slower, which does not show in the fastest.
    """

    def timed(work: Work) -> float:
        if device.type == "cpu":
            started = time.process_time()
            work()
            return time.process_time() - started
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - started

    best = [float("inf")] * len(works)
    begun, passed, rounds = time.perf_counter(), 0.0, 0
    while passed < seconds or (rounds < 2 and passed < 4 * seconds):
        best = [min(known, timed(work)) for known, work in zip(best, works, strict=True)]
        passed, rounds = time.perf_counter() - begun, rounds + 1
    return best


def memory(work: Work, device: torch.device) -> tuple[int, int]:
    """Return the bytes that torch held before a work, weights included, and the most at any moment of it."""
    work()  # whatever stays from one step to the next is there when the record begins
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return before, torch.cuda.max_memory_allocated(device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        record.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda event: float(event["ts"]))
    held = [event["args"]["Total Allocated"] for event in changes]
    return held[0] - changes[0]["args"]["Bytes"], max(held)


def matrix_rate(
    device: torch.device, dtype: torch.dtype, side: int | None = None, seconds: float = 2.0
) -> float:
    """Return the floating-point operations per second (per core second on a CPU) of large matrix products."""
    side = side or (8192 if device.type == "cuda" else 1024)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    (spent,) = fastest([lambda: a @ b], device, seconds)
    return 2.0 * side**3 / spent


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let convolutions round their inputs to TF32 in the block, or not; of no effect on a CPU."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def tf32_products(allowed: bool) -> Iterator[None]:
    """Let matrix products round their inputs to TF32 in the block, or not; of no effect on a CPU."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def operations(work: Work) -> float:
    """Return the floating-point operations of a work's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    print(f"\n{title}")
    for row in (headings, ["-" * width for width in widths], *rows):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def seconds_text(seconds: float) -> str:
    """Write seconds with three digits that count."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def write_split(path: Path, slices: int, side: int, **storage: Any) -> Path:
    """Write a split file of noisy discs on an empty background, which compresses about as scans do."""
    generator = np.random.default_rng(SEED)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    head = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * 100
    with h5py.File(path, "w") as file:
        for name in ("target", "auxiliary"):
            values = head * (1 + 0.2 * generator.standard_normal((slices, side, side)))
            file.create_dataset(name, data=np.abs(values).astype(np.float32), **storage)
        file.create_dataset("subject", data=["IXI900"] * slices, dtype=h5py.string_dtype())
        file["slice"] = np.arange(slices, dtype=np.int32)
        file.attrs.update(dataset="ixi", source="embedded", split=path.stem, fingerprint="none")
    return path
