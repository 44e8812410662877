"""Zero filling: the magnitude of the inverse transform of what was measured."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from data_prep.measurement import Measurement, Truth
from methods.contract import Reconstruction, ReconstructionModel


class ZeroFilling(ReconstructionModel):
    """|F^-1 k_u|. Nothing to train."""

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Return the zero-filled magnitude."""
        return Reconstruction(measurement.zero_filled)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """L1 of the magnitude image, for comparison only: there is no parameter to train."""
        return functional.l1_loss(reconstruction.image, truth.image)


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Return the method; it has no parameters and takes any image shape."""
    return ZeroFilling()
