"""U-Net on the zero-filled magnitude of the target alone (UNet-T2, UNet-PDFS)."""

from collections.abc import Mapping
from typing import Any

from data_prep.measurement import Measurement
from methods.blocks import require_depth
from methods.contract import Reconstruction, ReconstructionModel
from methods.networks import UNet, standardise


class UNetReconstruction(ReconstructionModel):
    """U-Net from |F^-1 k_u| to the magnitude image; L1."""

    def __init__(self, channels: int, pools: int, dropout: float) -> None:
        super().__init__()
        self.network = UNet(1, channels, pools, dropout)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct the target from its own zero-filled magnitude.

        Instance norm forgets the intensity of its input. The network therefore maps standardised
        slices to standardised slices, and the zero-filled mean and standard deviation come back after.
        """
        image, mean, std = standardise(measurement.zero_filled[:, None])
        restored = self.network(image).float() * std + mean
        return Reconstruction(restored[:, 0])


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the U-Net with ``channels``, ``pools`` and ``dropout``.

    Raises:
        BadInput: ``pools`` does not suit the image shape.
    """
    require_depth("unet", "pools", params["pools"], image_shape, least=1, padded=False)
    return UNetReconstruction(params["channels"], params["pools"], params["dropout"])
