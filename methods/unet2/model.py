"""U-Net on the zero-filled target and the auxiliary as two input channels."""

from methods.blocks import bad_parameter, require_depth
from methods.contract import Parameters, ReconstructionModel
from methods.networks import UNetReconstruction


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the U-Net with ``channels``, ``pools`` and ``dropout``.

    Raises:
        BadInput: ``pools`` does not suit the image shape, or ``dropout`` is no probability below 1.
    """
    require_depth("unet2", "pools", params["pools"], image_shape, least=1, padded=False)
    if not 0 <= params["dropout"] < 1:
        raise bad_parameter(
            "unet2", "dropout", params["dropout"], "set it to a probability from 0 and below 1"
        )
    return UNetReconstruction(2, **params)
