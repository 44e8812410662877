"""Zero filling: the magnitude of the inverse transform of what was measured."""

from collections.abc import Mapping
from typing import Any

from data_prep.measurement import Measurement
from methods.contract import Reconstruction, ReconstructionModel


class ZeroFilling(ReconstructionModel):
    """|F^-1 k_u|. Nothing to train."""

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Return the zero-filled magnitude."""
        return Reconstruction(measurement.zero_filled)


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Return the method; it has no parameters and takes any image shape."""
    return ZeroFilling()
