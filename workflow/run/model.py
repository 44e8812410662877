"""A run's network: built, restored, and applied to measurements."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from data_prep.measurement import Measurement
from data_prep.seeds import seed_for
from methods.contract import ReconstructionModel
from methods.registry import load_builder
from workflow.run.checkpoint import Origin, load_checkpoint
from workflow.run.spec import RunSpec

# From a measurement to the magnitude image, float32 (batch, height, width) in the measurement's units.
Reconstruct = Callable[[Measurement], Tensor]


def build_model(spec: RunSpec, image_shape: tuple[int, int]) -> ReconstructionModel:
    """Build the run's method; its initial weights depend on the spec alone.

    Convolutions give their maps the memory format of their weights, so that the model's decides.
    """
    torch.manual_seed(
        seed_for(use="init", dataset=spec.dataset, mask=spec.mask, method=spec.method, seed=spec.seed)
    )
    model = load_builder(spec.folder)(spec.parameters, image_shape)
    if spec.training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def reconstructor(
    model: ReconstructionModel, precision: str, device: torch.device, status: str = "finished"
) -> Reconstruct:
    """Return the model as a function from measurement to image, in evaluation mode and without gradients.

    Args:
        model: on the device.
        precision: as in the training's spec.
        device: where to reconstruct.
        status: how its training ended; one that diverged reconstructs nothing.
    """
    if status == "diverged":
        return not_a_number
    model.eval()

    def reconstruct(measurement: Measurement) -> Tensor:
        half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed")
        with torch.inference_mode(), half:
            image: Tensor = model(measurement).image.float()
        return image

    return reconstruct


def not_a_number(measurement: Measurement) -> Tensor:
    """Reconstruct nothing: stands in for a network whose training diverged, so that every score is NaN."""
    return torch.full_like(measurement.zero_filled, torch.nan)


def restore(
    spec: RunSpec, image_shape: tuple[int, int], checkpoint: Path | None, device: torch.device
) -> tuple[ReconstructionModel, Reconstruct, Origin]:
    """Return a run's model on a device, with the weights of its checkpoint, as a function, and their origin.

    Args:
        spec: the run.
        image_shape: (height, width).
        checkpoint: model.ckpt; None for a method without weights.
        device: where to reconstruct.

    Raises:
        BadInput: see ``load_checkpoint``.
    """
    model = build_model(spec, image_shape)
    origin = Origin() if checkpoint is None else load_checkpoint(model, spec, checkpoint)
    model.to(device)
    return model, reconstructor(model, spec.training.precision, device, origin.status), origin
