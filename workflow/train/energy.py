"""Energy that GPUs have used, as the cards themselves count it."""

from contextlib import suppress

import torch


class EnergyMeter:
    """Reads the energy counters of the first visible GPUs together.

    A card counts all that runs on it, whoever's it is. Where a card does not tell (an older one, a slice of a
    card, no management library), nothing is measured: there is no estimate.
    """

    def __init__(self, devices: int) -> None:
        """Find the counters of the first ``devices`` visible GPUs; 0 measures nothing, which is 0 joules."""
        self._handles: list[object] | None = []
        if devices == 0:
            return
        # Only GPU machines need it, and a training without it is the same training.
        try:
            import pynvml
        except ImportError:
            self._handles = None
            return
        try:
            pynvml.nvmlInit()
            # By UUID: CUDA's numbers count visible devices only.
            uuids = [str(torch.cuda.get_device_properties(number).uuid) for number in range(devices)]
            self._handles = [pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode()) for uuid in uuids]
        except pynvml.NVMLError:
            self._handles = None

    def read(self) -> float | None:
        """Return the joules counted so far, from an arbitrary zero; None where a card does not tell."""
        if not self._handles:
            return None if self._handles is None else 0.0
        import pynvml

        with suppress(pynvml.NVMLError):
            millijoules = [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles]
            return float(sum(millijoules)) / 1000
        return None
