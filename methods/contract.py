"""What every method folder's ``model.py`` provides.

``build(params, image_shape) -> ReconstructionModel`` where ``params`` are the parameters of
``method.yaml`` after variants and configuration, and ``image_shape`` is (height, width).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from data_prep.measurement import Measurement, Truth

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Reconstruction:
    """A method's output in the measurement's normalised units.

    Attributes:
        image: magnitude, float32 (batch, height, width).
        extras: other outputs that the method's own loss needs.
    """

    image: Tensor
    extras: dict[str, Any] = field(default_factory=dict)


class ReconstructionModel(nn.Module, ABC):
    """A network (or a classical method) that reconstructs the target from a measurement.

    Attributes:
        criterion: difference of two stacks of images, where the loss is that of the magnitude image alone.
    """

    criterion: Callable[[Tensor, Tensor], Tensor] = staticmethod(functional.l1_loss)

    @abstractmethod
    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct from what the scanner gives; the truth is out of reach here."""

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """Scalar training loss: L1 of the magnitude image, where a method has no other."""
        return self.criterion(reconstruction.image, truth.image)
