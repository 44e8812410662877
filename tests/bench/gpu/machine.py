"""What the machine is, and what it can do at best."""

import os
import platform
from functools import partial

import h5py
import numpy as np
import torch

from tests.bench.common import fastest, matrix_rate, tf32_products
from tests.bench.gpu.place import Place, Row, Values
from workflow.evaluate.record import processor_name
from workflow.provenance.code import package_versions


def versions(place: Place) -> Values:
    found: Values = {
        "device": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "lightning-fabric": package_versions()["lightning-fabric"],
    }
    if place.on_gpu:
        properties = torch.cuda.get_device_properties(place.device)
        found |= {
            "device": properties.name,
            "processor": processor_name(),
            "memory, GB": properties.total_memory / 1e9,
            "multiprocessors": properties.multi_processor_count,
            "CUDA": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    return found


def copies(place: Place) -> Values:
    """GB/s of large copies; within the device each byte is read and written, which counts twice."""
    size = 2**30 if place.on_gpu else 2**22
    one, other = (torch.empty(size, dtype=torch.uint8, device=place.device) for _ in range(2))
    hosts = [torch.empty(size // 4, dtype=torch.uint8, pin_memory=locked) for locked in (place.on_gpu, False)]
    part = one[: size // 4]
    works = [
        lambda: other.copy_(one),
        lambda: part.copy_(hosts[0], non_blocking=True),
        lambda: part.copy_(hosts[1]),
        lambda: hosts[0].copy_(part, non_blocking=True),
    ]
    seconds = fastest(works, place.device, 2.0 if place.on_gpu else 0.02)
    names = ("within the device", "to it, page-locked", "to it, from other memory", "from it, page-locked")
    sizes = (2 * size, *(size // 4,) * 3)
    return {name: size / spent / 1e9 for name, size, spent in zip(names, sizes, seconds, strict=True)}


def rate(place: Place, dtype: torch.dtype, *, allow_tf32: bool = False) -> Values:
    """TFLOP/s of large matrix products."""
    with tf32_products(allow_tf32):
        found = matrix_rate(place.device, dtype, *(() if place.on_gpu else (64, 0.02)))
    return {"TFLOP/s": found / 1e12}


def versions_rows(place: Place) -> dict[str, Row]:
    return {"this machine": partial(versions, place)}


def rates_rows(place: Place) -> dict[str, Row]:
    return {
        "bf16": partial(rate, place, torch.bfloat16),
        "float32, TF32": partial(rate, place, torch.float32, allow_tf32=True),
        "float32, strict": partial(rate, place, torch.float32),
    }


def copies_rows(place: Place) -> dict[str, Row]:
    return {"GB/s": partial(copies, place)}
