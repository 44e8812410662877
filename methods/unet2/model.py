"""U-Net on the zero-filled target and the auxiliary as two input channels."""

from collections.abc import Mapping
from typing import Any

import torch

from data_prep.measurement import Measurement
from methods.blocks import require_depth
from methods.contract import Reconstruction, ReconstructionModel
from methods.networks import UNet, standardise


class TwoContrastUNet(ReconstructionModel):
    """U-Net from [|F^-1 k_u|, auxiliary] to the magnitude image; L1."""

    def __init__(self, channels: int, pools: int, dropout: float) -> None:
        super().__init__()
        self.network = UNet(2, channels, pools, dropout)

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct the target from both images, each standardised; the target's statistics come back."""
        images = torch.stack((measurement.zero_filled, measurement.auxiliary), dim=1)
        images, mean, std = standardise(images)
        restored = self.network(images)[:, 0].float() * std[:, 0] + mean[:, 0]
        return Reconstruction(restored)


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the U-Net with ``channels``, ``pools`` and ``dropout``.

    Raises:
        BadInput: ``pools`` does not suit the image shape.
    """
    require_depth("unet2", "pools", params["pools"], image_shape, least=1, padded=False)
    return TwoContrastUNet(params["channels"], params["pools"], params["dropout"])
