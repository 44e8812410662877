"""Whether a method gives images at all, looked at before hours are spent on it."""

from typing import TYPE_CHECKING

from data_prep.contracts.checking import Violation, require
from data_prep.errors import BadInput
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from methods.contract import ReconstructionModel


def check_form(
    model: "ReconstructionModel", spec: RunSpec, store: "SliceStore", acquisition: "Acquisition"
) -> None:
    """Reconstruct the first slices of a split, as evaluation does, and look at the form of what comes.

    Nothing else would say a word where an image of another shape is spread over the slices of its batch, or a
    complex one is scored by its real part.

    Args:
        model: on the store's device; its modes and torch's generators are left as they are.
        spec: the run.
        store: the split.
        acquisition: how it is undersampled.

    Raises:
        BadInput: they are no real images of the slices' shape.
    """
    import torch

    from methods.trial import reconstruction_of

    positions = range(min(2, spec.training.batch_size, len(store)))
    measurement, truth = acquisition.fixed(store, positions)
    place = f"{len(positions)} slices of {store.subjects[0]}"
    modes = [(module, module.training) for module in model.modules()]
    devices = [store.device] if store.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            image = reconstruction_of(model.eval(), measurement, place).image
        found, wanted = tuple(image.shape), tuple(truth.image.shape)
        require(found == wanted, f"the image is {found}, not {wanted} ({place})")
        require(image.is_floating_point(), f"the image is {image.dtype}, not float32 ({place})")
    except Violation as violation:
        raise BadInput(
            f"{spec.method}: {violation}; `python -m methods.check {spec.method}` tells what it must return"
        ) from violation
    finally:
        for module, training in modes:
            module.training = training
