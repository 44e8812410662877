"""U-Net on the zero-filled magnitude of the target alone (UNet-T2, UNet-PDFS)."""

from methods.blocks import require_depth, require_dropout
from methods.contract import Parameters, ReconstructionModel
from methods.networks import UNetReconstruction


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the U-Net with ``channels``, ``pools`` and ``dropout``.

    Raises:
        BadInput: ``pools`` does not suit the image shape, or ``dropout`` is no probability below 1.
    """
    require_depth("unet", "pools", params["pools"], image_shape, least=1, padded=False)
    require_dropout("unet", params["dropout"])
    return UNetReconstruction(1, **params)
