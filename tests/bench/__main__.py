"""How fast the product is, as ratios: each thing beside its comparison, same machine, same run, in turns.

    python -m tests.bench [--only networks start-up slices metrics] [--precision bf16-mixed]
    python -m tests.bench --gpu --out DIR [--device cpu] [--minutes 8] [--only PART ...]

The second form is for whoever has a GPU for some minutes: what it can do, and whether everything holds on it
(docs/gpu.md). DIR/report.md and report.json are written anew after each part. With ``--device cpu`` a CPU
stands in for the GPU, with everything tiny: a rehearsal.

Networks run at their full width, against the plain functions of ``tests/helpers/runs/oracles.py`` with the
same weights: on a GPU 8 slices of 256x256, on a CPU 1 of 128x128 with all cores. A training step is the
product's own: from slices on the device through undersampling, noise, network, loss and gradients to Adam.

GPU times are wall clock. CPU times are processor seconds, all threads together: other processes hardly change
them, and ``OMP_WAIT_POLICY=PASSIVE``, as ``make bench`` sets it, keeps waiting threads from adding to them.
Each is the least of two rounds or more, or the only one where one takes long.
"""

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from tests.bench.common import Setting
from tests.bench.gpu.parts import PARTS as GPU_PARTS
from tests.bench.gpu.suite import run_suite
from tests.bench.networks import Seconds, bench_networks
from tests.bench.scoring import bench_metrics
from tests.bench.slices import bench_slices
from tests.bench.start_up import bench_start_up
from workflow.evaluate.record import processor_name
from workflow.run.device import set_up_torch
from workflow.run.spec import Precision

PARTS = ("networks", "start-up", "slices", "metrics")


def machine(device: torch.device, cores: int) -> str:
    """Describe where the numbers were taken."""
    load = os.getloadavg()[0]
    lines = [
        f"{processor_name()}, {cores} cores, {platform.system()}; load when started {load:.1f}",
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    ]
    if device.type == "cuda":
        lines.append(f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}")
    return "\n".join(lines)


def write_steps(file: Path, setting: Setting, spent: Mapping[str, Seconds]) -> None:
    """Write what ``python -m workflow.estimate --steps`` reads."""
    on_gpu = setting.device.type == "cuda"
    device = torch.cuda.get_device_name(setting.device) if on_gpu else f"one core of {processor_name()}"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["device", "method", "side", "batch", "precision", "training", "reconstruction"])
        for method, seconds in spent.items():
            times = [f"{seconds.training:.4g}", f"{seconds.reconstruction:.4g}"]
            writer.writerow([device, method, setting.side, setting.batch, setting.precision, *times])


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--only", nargs="+", choices=(*PARTS, *GPU_PARTS), help="default: all parts")
    parser.add_argument("--gpu", action="store_true", help="measure and prove a GPU; needs --out")
    parser.add_argument("--out", type=Path, help="folder for the report of --gpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of --gpu; default: 8")
    parser.add_argument("--steps", type=Path, help="write the seconds per slice here, for workflow.estimate")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="32-true", help="default: 32-true"
    )
    arguments = parser.parse_args()
    parts = GPU_PARTS if arguments.gpu else PARTS
    arguments.only = arguments.only or tuple(parts)
    if unknown := set(arguments.only) - set(parts):
        parser.error(f"--only: {', '.join(sorted(unknown))}: here the parts are {', '.join(parts)}")
    if arguments.gpu:
        if arguments.out is None:
            parser.error("--gpu: give --out, the folder for its report")
        sys.exit(run_suite(arguments.out, arguments.device, arguments.minutes, GPU_PARTS, arguments.only))
    cores = len(os.sched_getaffinity(0))
    device = set_up_torch(cores, arguments.device)
    on_gpu = device.type == "cuda"
    batch, side, seconds = (8, 256, 5.0) if on_gpu else (1, 128, 6.0)
    setting = Setting(device, batch, side, seconds, arguments.precision)
    print(machine(device, cores))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if "networks" in arguments.only or "metrics" in arguments.only:
            spent = bench_networks(setting, Path(folder))
            if arguments.steps:
                write_steps(arguments.steps, setting, spent)
            if "metrics" in arguments.only:
                bench_metrics(setting, {method: seconds.reconstruction for method, seconds in spent.items()})
        if "slices" in arguments.only:
            bench_slices(Path(folder), 4.0)
    if "start-up" in arguments.only:
        bench_start_up()
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
