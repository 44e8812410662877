"""Whole trainings by the product's own command: interrupted, from disk, short of memory, side by side."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from tests.bench.gpu.correct import said
from tests.bench.gpu.place import NotRun, Place, Row, Values
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.train.__main__ import train
from workflow.train.termination import TERMINATED, Termination

METHOD = "xiang"  # small, with batch normalisation
SAME = ("model.ckpt", "metrics.csv", "examples.npz")


def job_of(place: Place, output: str, **training: Any) -> Job:
    """Return a training of some seconds, on a CPU of a second."""
    side, batch = place.sides(128, 8)
    slices, epochs = (240, 6) if place.on_gpu else (6, 4)
    settings = {"epochs": epochs, "schedule": "cosine"} | training
    spec = place.spec(METHOD, batch, "bf16-mixed", **settings)
    return place.job(spec, slices, side, output)


def command(job: Job) -> list[str]:
    words = ["--spec", json.dumps(job.spec.content()), "--data", str(job.data), "--mask", str(job.mask)]
    words += ["--output", str(job.output), "--device", job.device]
    return [sys.executable, "-m", "workflow.train", *words]


def ended(process: "subprocess.Popen[str]", status: int = 0) -> None:
    """Wait for a training.

    Raises:
        NotRun: it ended otherwise than it was to.
    """
    _, errors = process.communicate()
    if process.returncode != status:
        raise NotRun(f"a training ended with status {process.returncode}: {errors.strip()[-300:]}")


def started(words: list[str], **environment: str) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=os.environ | environment, **pipes)


def record_of(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "run.json").read_text(encoding="utf-8"))
    return content


def equal(one: Path, other: Path) -> str:
    return said(all((one / name).read_bytes() == (other / name).read_bytes() for name in SAME))


@cache
def whole(place: Place) -> Path:
    """Return the folder of the training that the others are compared with."""
    job = job_of(place, "whole")
    ended(started(command(job)))
    return job.output


def speed(output: Path) -> float:
    """Return steps per second."""
    record = record_of(output)
    per_second: float = record["throughput"]["training_slices_per_second"]
    return per_second / record["spec"]["training"]["batch_size"]


def alone(place: Place) -> Values:
    return {"steps/s": speed(whole(place)), "status": record_of(whole(place))["status"]}


def interrupted(place: Place) -> Values:
    """Send SIGTERM after the first epoch, and start again."""
    job = job_of(place, "interrupted")
    process = started(command(job))
    while process.poll() is None and not (job.output / "history.csv").is_file():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    ended(process, TERMINATED)
    ended(started(command(job)))
    restarts = record_of(job.output)["restarts"]
    return {"steps/s": speed(job.output), "restarts": restarts, "equal bits": equal(job.output, whole(place))}


def streamed(place: Place) -> Values:
    """Read every batch from disk."""
    job = job_of(place, "streamed", resident_gigabytes=0.0)
    ended(started(command(job)))
    return {"steps/s": speed(job.output), "equal bits": equal(job.output, whole(place))}


def resumed_rows(place: Place) -> dict[str, Row]:
    return {
        "uninterrupted, held on the device": partial(alone, place),
        "SIGTERM, and started again": partial(interrupted, place),
        "read from disk": partial(streamed, place),
    }


def short_of_memory(place: Place) -> Values:
    """Allow this process less memory than a step takes."""
    place.need_gpu()
    training = place.training("manet", 256, "bf16-mixed")
    torch.cuda.reset_peak_memory_stats(place.device)
    training._step(range(len(training.stores["train"])), 0, 1)
    peak = torch.cuda.max_memory_allocated(place.device)
    spec: RunSpec = training.spec
    del training
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(place.device).total_memory
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / total, place.device)
    try:
        job = place.job(spec, spec.training.batch_size, 256, "short")
        train(job, Termination())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, place.device)
    record = record_of(job.output)
    return {
        "GB of a whole step": peak / 1e9,
        "GB allowed": 0.6 * peak / 1e9,
        "slices at once": record["micro_batch"] or spec.training.batch_size,
        "status": record["status"],
        "went on in parts": said(record["micro_batch"] is not None and record["status"] == "finished"),
    }


def memory_rows(place: Place) -> dict[str, Row]:
    return {"manet 256, in six tenths of its memory": partial(short_of_memory, place)}


def side_by_side(place: Place, count: int) -> Values:
    """Train so many times at once, each with a lease of the same device."""
    jobs = [job_of(place, f"beside-{count}-{number}") for number in range(count)]
    lease = [sys.executable, "-m", "workflow.lease", "--per-gpu", str(count), "--"]
    begun = time.perf_counter()
    locks = {"GPU_LEASE_FOLDER": str(place.folder / "leases")}
    processes = [started([*lease, *command(job)], **locks) for job in jobs]
    for process in processes:
        ended(process)
    outputs = [job.output for job in jobs]
    return {
        "steps/s together": sum(map(speed, outputs)),
        "s from start to end": time.perf_counter() - begun,
        "equal to alone": said(all(equal(output, whole(place)) == "yes" for output in outputs)),
    }


def lease_rows(place: Place) -> dict[str, Row]:
    return {f"{count} at a time": partial(side_by_side, place, count) for count in (1, 2, 4)}
