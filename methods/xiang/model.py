"""Dense-Unet on target and auxiliary image concatenated at the input (Xiang et al.)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement
from methods.blocks import DenseBlock, UpBlock, bad_parameter, crop_to, pad_to_multiple, require_depth
from methods.contract import Parameters, Reconstruction, ReconstructionModel

_LOSSES = {"l1": functional.l1_loss, "mse": functional.mse_loss}


class DenseUnet(nn.Module):
    """1x1 stem, ``levels`` dense blocks with 2x2 max pooling, bottleneck, skips, 1x1 head."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 1)
        self.encoder = nn.ModuleList(DenseBlock(width) for _ in range(levels))
        self.bottleneck = DenseBlock(width)
        self.ups = nn.ModuleList(UpBlock(width, skip=True) for _ in range(levels))
        self.decoder = nn.ModuleList(DenseBlock(width) for _ in range(levels))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 2, height, width) to (batch, 1, height, width), of any sides."""
        features = self.stem(pad_to_multiple(images, 2 ** len(self.encoder)))
        skips: list[Tensor] = []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = functional.max_pool2d(features, 2)
        features = self.bottleneck(features)
        for up, block in zip(self.ups, self.decoder, strict=True):
            features = block(up(features, skips.pop()))
        height, width = images.shape[-2:]
        return crop_to(self.head(features), (height, width))


class XiangReconstruction(ReconstructionModel):
    """Dense-Unet from [|F^-1 k_u|, auxiliary] to the magnitude image."""

    def __init__(self, width: int, levels: int, loss: str) -> None:
        super().__init__()
        self.network = DenseUnet(width, levels)
        self.criterion = _LOSSES[loss]

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct the target from both images."""
        images = torch.stack((measurement.zero_filled, measurement.auxiliary), dim=1)
        return Reconstruction(self.network(images)[:, 0].float())


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the network with ``width``, ``levels`` and ``loss``.

    Raises:
        BadInput: ``levels`` does not suit the image shape, or ``loss`` is unknown.
    """
    require_depth("xiang", "levels", params["levels"], image_shape, least=2, padded=True)
    if params["loss"] not in _LOSSES:
        raise bad_parameter("xiang", "loss", params["loss"], "set it to l1 or mse")
    return XiangReconstruction(params["width"], params["levels"], params["loss"])
