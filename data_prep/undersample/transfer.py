"""From the host's memory to the device's, without the host waiting for it."""

import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(values: Tensor | NDArray, device: torch.device | str) -> Tensor:
    """Return the values of the host's memory on a device.

    A GPU copies from page-locked memory while the host goes on; from any other memory the host would wait
    until the GPU has done all before. On the CPU these are the values themselves, not a copy.
    """
    host = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if torch.device(device).type == "cuda" and not host.is_pinned():
        host = host.pin_memory()
    return host.to(device, non_blocking=True)
