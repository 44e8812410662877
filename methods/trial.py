"""One pass through a method under check: what must hold of images and gradients, and where they overflow."""

from functools import partial

import torch
from torch import Tensor, nn

from data_prep.contracts.checking import Violation, require
from data_prep.measurement import Measurement, Truth
from methods.contract import Reconstruction, ReconstructionModel


def all_finite(values: object) -> bool:
    """Tell whether no number in tensors, or in what holds tensors, is NaN or infinite."""
    if isinstance(values, Tensor):
        return bool(torch.isfinite(values).all())
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, list | tuple):
        return all(map(all_finite, values))
    return all_finite(vars(values)) if isinstance(values, Measurement | Reconstruction) else True


def overflow(model: ReconstructionModel, measurement: Measurement) -> str:
    """Say what overflows first: weights, or the innermost module that makes it of finite numbers."""
    for name, values in (*model.named_parameters(), *model.named_buffers()):
        if not all_finite(values):
            return f"; {name} has some"
    found: list[str] = []

    def look(module: nn.Module, inputs: object, output: object, *, name: str) -> None:
        if not found and all_finite(inputs) and not all_finite(output):
            found.append(f"; they begin in {name} ({type(module).__name__})" if name else "")

    hooks = [module.register_forward_hook(partial(look, name=name)) for name, module in model.named_modules()]
    with torch.no_grad():
        model(measurement)
    for hook in hooks:
        hook.remove()
    return "".join(found)


def reconstruction_of(model: ReconstructionModel, measurement: Measurement, place: str) -> Reconstruction:
    """Reconstruct, and require that what comes is a ``Reconstruction``, its image a tensor."""
    reconstruction: Reconstruction = model(measurement)
    if not isinstance(getattr(reconstruction, "image", None), Tensor):
        found = f"a {type(reconstruction).__name__}, not a Reconstruction with a tensor as its image"
        raise Violation(f"forward returns {found} ({place})")
    return reconstruction


def require_finite_image(
    model: ReconstructionModel,
    measurement: Measurement,
    reconstruction: Reconstruction,
    place: str,
    remedy: str = "",
) -> None:
    """Require a finite image; else say where in the network it ceases to be so."""
    if not all_finite(reconstruction.image):
        found = overflow(model, measurement)
        raise Violation(f"the image has NaN or infinity ({place}){found}{remedy}")


def evaluated(
    model: ReconstructionModel, measurement: Measurement, place: str, remedy: str = ""
) -> Reconstruction:
    """Reconstruct without gradients, in evaluation mode; the image is finite."""
    with torch.no_grad():
        reconstruction = reconstruction_of(model.eval(), measurement, place)
    require_finite_image(model, measurement, reconstruction, place, remedy)
    return reconstruction


def step(
    model: ReconstructionModel, measurement: Measurement, truth: Truth, place: str
) -> tuple[Reconstruction, Tensor]:
    """Reconstruct a finite image, and send the gradient of the loss back if anything is trained."""
    kept = {name: values.clone() for name, values in vars(measurement).items()}
    reconstruction = reconstruction_of(model, measurement, place)
    for name, values in vars(measurement).items():
        same = torch.equal(values, kept[name])
        require(same, f"forward changes the measurement's {name} ({place}); work on a copy")
    require_finite_image(model, measurement, reconstruction, place)
    loss = model.loss(reconstruction, truth, measurement)
    # More than one value is the finding of ``output``.
    if loss.requires_grad and loss.numel() == 1:
        torch.autograd.backward(loss)
    return reconstruction, loss.detach()


def require_finite(model: ReconstructionModel, loss: Tensor, place: str) -> None:
    """Require finite loss and gradients, and a gradient for every parameter."""
    require(all_finite(loss), f"the loss is {loss.item()} ({place})")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            require(parameter.grad is not None, f"{name} takes no part in the loss ({place})")
            require(all_finite(parameter.grad), f"the gradient of {name} has NaN or infinity ({place})")


def require_image(reconstruction: Reconstruction, truth: Truth, place: str) -> None:
    """Require a float32 image of the target's shape."""
    image = reconstruction.image
    found, wanted = tuple(image.shape), tuple(truth.image.shape)
    require(found == wanted, f"the image is {found}, not {wanted} ({place})")
    require(image.dtype == torch.float32, f"the image is {image.dtype}, not float32 ({place})")
