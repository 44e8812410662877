"""How much of a device's memory prepared slices may take, and how a device says that it has too little.

Light: torch is imported by what asks a device.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# In the environment of a leased command: how many commands may share each of its devices.
SHARED_BY = "GPU_SHARED_BY"

# What CUDA, its allocator, cuDNN, cuBLAS, cuFFT and NCCL call it, in torch 2.13 and the libraries with it.
_SHORT_OF_MEMORY = (
    "out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
    "Failed to CUDA calloc",
    # cuDNN, where no algorithm's workspace can be had.
    "unable to find an engine to execute this computation",
)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that a GPU's memory was too small, whichever library says so."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    # torch.AcceleratorError among them. The processor's own shortage is another matter.
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SHORT_OF_MEMORY)


@dataclass(frozen=True)
class DeviceMemory:
    """A device's memory, in bytes.

    Attributes:
        total: all of it.
        free: what anybody may still take, and what this process holds without using it.
        own: what this process uses.
        places: processes that may share the device, this one included.
    """

    total: int
    free: int
    own: int = 0
    places: int = 1


def room_for_network(memory: DeviceMemory) -> int:
    """Return how many bytes slices leave to the network: half of a process's share of the device.

    What it takes is not known before a step, and a batch computed in parts has other batch statistics, while
    slices read from disk are the same.
    """
    return memory.total // memory.places // 2


def room_for_slices(memory: DeviceMemory) -> int:
    """Return how many further bytes of slices a device should hold, beside ``room_for_network``."""
    share, network = memory.total // memory.places, room_for_network(memory)
    return max(0, min(share - network - memory.own, memory.free - network))


def device_memory(device: "torch.device") -> DeviceMemory:
    """Ask a CUDA device, and the lease that this process runs under."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    unused = torch.cuda.memory_reserved(device) - used
    return DeviceMemory(total, free + unused, used, int(os.environ.get(SHARED_BY, "1")))
