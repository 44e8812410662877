"""Torch's CUDA build on a machine without CUDA's driver."""

import ctypes
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_driver.c")


def load_driver(folder: Path) -> None:
    """Let torch believe that there are devices: before its import, because its libraries look up theirs then.

    Raises:
        RuntimeError: torch is imported already, or is a build without CUDA.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch is imported already, with this machine's own driver or none")
    # Under the name of CUDA's own driver, which is therefore not looked for, whether there is one or not.
    library = folder / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["cc", *options, "-o", str(library), str(SOURCE)], check=True)
    driver = ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    import torch

    if torch.version.cuda is None:
        raise RuntimeError(f"torch {torch.__version__} is built without CUDA; run make test-gpu-rehearsal")
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.c_byte.in_dll(driver, "devices").value = 127
