"""Template: two convolutions on [zero-filled target, auxiliary] that predict what zero filling lacks."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement, Truth
from methods.blocks import bad_parameter
from methods.contract import Reconstruction, ReconstructionModel


class TemplateReconstruction(ReconstructionModel):
    """3x3 convolution, ReLU, 3x3 convolution, added to the zero-filled image; L1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(2, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct from the zero-filled target and the auxiliary image."""
        zero_filled = measurement.zero_filled
        lacking = self.network(torch.stack((zero_filled, measurement.auxiliary), dim=1))
        # Under mixed precision the network answers in 16 bits; the image is float32.
        return Reconstruction(zero_filled + lacking[:, 0].float())

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """L1 of the magnitude image."""
        return functional.l1_loss(reconstruction.image, truth.image)


def build(params: Mapping[str, Any], image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the network with ``width``; it takes any image shape.

    Raises:
        BadInput: ``width`` is below 1.
    """
    if params["width"] < 1:
        raise bad_parameter("template", "width", params["width"], "set it to 1 or more")
    return TemplateReconstruction(params["width"])
