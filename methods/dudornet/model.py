"""DuDoRNet: recurrent restoration in image and k-space with data consistency after each."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.fourier import fft2c, ifft2c
from data_prep.measurement import Measurement, Truth
from methods.blocks import bad_parameter, complex_l1, to_channels, to_complex
from methods.contract import Parameters, Reconstruction, ReconstructionModel
from methods.recomputation import concatenated, map_bytes, recomputing

_DILATIONS = (1, 2, 3, 3)
_SQUEEZE_RATIO = 16


class SqueezeExciteDenseBlock(nn.Module):
    """SEDRDB: four dilated convolutions densely connected, 1x1 fusion, squeeze-excite, residual.

    97,568 parameters at 32 features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d((position + 1) * features, features, 3, padding=dilation, dilation=dilation)
            for position, dilation in enumerate(_DILATIONS)
        )
        self.fusion = nn.Conv2d((len(_DILATIONS) + 1) * features, features, 1)
        squeezed = max(1, features // _SQUEEZE_RATIO)
        self.squeeze = nn.Linear(features, squeezed, bias=False)
        self.excite = nn.Linear(squeezed, features, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, features, height, width) to the same shape."""
        dense = maps
        for convolution in self.convolutions:
            dense = concatenated(dense, functional.relu(convolution(dense), inplace=True))
        fused = self.fusion(dense)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(fused.mean(dim=(-2, -1))))))
        restored: Tensor = maps + fused * gate[:, :, None, None]
        return restored


class DilatedResidualDenseNetwork(nn.Module):
    """DRDN: two shallow convolutions, three SEDRDB, global fusion and a two-convolution tail.

    No norm, no residual from input to output. 325,314 parameters with 4 inputs and 32 features.
    """

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.shallow_1 = nn.Conv2d(inputs, features, 3, padding=1)
        self.shallow_2 = nn.Conv2d(features, features, 3, padding=1)
        self.blocks = nn.ModuleList(SqueezeExciteDenseBlock(features) for _ in range(3))
        self.fusion = nn.Sequential(
            nn.Conv2d(3 * features, features, 1), nn.Conv2d(features, features, 3, padding=1)
        )
        self.tail = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.Conv2d(features, 2, 3, padding=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, 2, height, width)."""
        shallow = self.shallow_1(maps)
        features = self.shallow_2(shallow)
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        restored: Tensor = self.tail(self.fusion(concatenated(*outputs)) + shallow)
        return restored


class DuDoRNet(ReconstructionModel):
    """Image and k-space DRDN in turn, each shared by all recurrences.

    Args:
        features: feature maps and growth of each DRDN.
        recurrences: how often both networks are applied.
        prior: whether the auxiliary joins the input of each network.
        initial_std: standard deviation of the normal distribution of the initial weights.
    """

    def __init__(self, features: int, recurrences: int, prior: bool, initial_std: float) -> None:
        super().__init__()
        self.features = features
        self.recurrences = recurrences
        self.prior = prior
        inputs = 4 if prior else 2
        self.image_network = DilatedResidualDenseNetwork(inputs, features)
        self.kspace_network = DilatedResidualDenseNetwork(inputs, features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=initial_std)

    def _restore(self, network: nn.Module, values: Tensor, auxiliary: Tensor) -> Tensor:
        """Apply one network to complex (batch, height, width) beside the auxiliary of that domain."""
        inputs = to_channels(values)
        if self.prior:
            inputs = torch.cat((inputs, auxiliary), dim=1)
        return to_complex(network(inputs))

    def forward(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct; extras: ``images`` (after data consistency) and ``kspaces`` of every step."""
        with recomputing(map_bytes(self.features, measurement.auxiliary)):
            return self._reconstruct(measurement)

    def _reconstruct(self, measurement: Measurement) -> Reconstruction:

        def consistent(kspace: Tensor) -> Tensor:
            """(1 - M) k + M k_measured, with the measured samples, noise included."""
            return torch.where(measurement.mask, measurement.kspace, kspace)

        auxiliary_image = functional.pad(measurement.auxiliary[:, None], (0, 0, 0, 0, 0, 1))
        auxiliary_kspace = to_channels(measurement.auxiliary_kspace)
        images, kspaces = [], []
        image = ifft2c(measurement.kspace)
        for _ in range(self.recurrences):
            # F of the consistent image is this k-space itself: no need to transform back and forth.
            consistent_kspace = consistent(fft2c(self._restore(self.image_network, image, auxiliary_image)))
            images.append(ifft2c(consistent_kspace))
            kspaces.append(self._restore(self.kspace_network, consistent_kspace, auxiliary_kspace))
            image = ifft2c(consistent(kspaces[-1]))
        return Reconstruction(image.abs(), {"images": images, "kspaces": kspaces})

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        """Sum over steps of L1(consistent image, full image) + L1(predicted k-space, full k-space)."""
        image = ifft2c(truth.kspace)
        steps = zip(reconstruction.extras["images"], reconstruction.extras["kspaces"], strict=True)
        terms = [complex_l1(step, image) + complex_l1(kspace, truth.kspace) for step, kspace in steps]
        return torch.stack(terms).sum()


def build(params: Parameters, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build both networks with ``features``, ``recurrences``, ``prior`` and ``initial_std``.

    Raises:
        BadInput: there is no recurrence, or ``initial_std`` is not above 0.
    """
    if params["recurrences"] < 1:
        raise bad_parameter("dudornet", "recurrences", params["recurrences"], "set it to 1 or more")
    if params["initial_std"] <= 0:
        raise bad_parameter("dudornet", "initial_std", params["initial_std"], "set it above 0, such as 0.02")
    return DuDoRNet(params["features"], params["recurrences"], params["prior"], params["initial_std"])
