r"""Check that methods keep the contract: ``python -m methods.check NAME``.

NAME is a folder of ``methods/`` (its variants are checked too) or one variant such as ``manet-sc``; without
a name every method is checked. Each is built small (``small`` in its method.yaml) and taken through tiny
head-like slices under every mask. A failure says what is wrong, with which input and, if the method's own
code stopped, in which line. The exit status is 0 only if everything holds.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from data_prep.contracts.checking import (
    Violation,
    conclude,
    problem_with,
    report,
    require,
)
from data_prep.fourier import fft2c
from data_prep.io.command import command
from data_prep.masks.registry import all_masks
from data_prep.measurement import Measurement, Truth, measure
from methods.contract import Reconstruction, ReconstructionModel
from methods.optimisers import check_optimiser, make_optimiser
from methods.registry import Method, discover, folder_of, folder_path, load_builder
from methods.tiny import EVEN, ODD, example, head_slices, measured, named_measurement, sampling, with_phase

GEOMETRIES = ((EVEN, "1d"), (EVEN, "2d"), (ODD, "1d"), (ODD, "2d"))
# Initialisations tried before a parameter counts as out of the loss's reach.
INITIALISATIONS = 12
# Steps within which the loss on one batch must fall to FALLEN of what it was.
STEPS, FALLEN = 60, 0.95


@dataclass(frozen=True)
class Candidate:
    """A method under check.

    Attributes:
        method: as discovered.
    """

    method: Method

    @property
    def builder(self) -> Callable[..., ReconstructionModel]:
        """Its ``build``; the import of its code is part of what is checked."""
        return load_builder(self.method.folder)

    def small(self, shape: tuple[int, int], seed: int = 0) -> ReconstructionModel:
        """Build the method in its small form for slices of this shape."""
        torch.manual_seed(seed)
        method = self.method
        # What defines a variant stands, whatever the small form says of the rest.
        return self.builder({**method.parameters, **method.small, **method.changes}, shape)


def where(shape: tuple[int, int], *details: str) -> str:
    """Name an input: its sides and what else distinguishes it."""
    return ", ".join([f"{shape[0]}x{shape[1]}", *details])


def step(model: ReconstructionModel, measurement: Measurement, truth: Truth) -> tuple[Reconstruction, Tensor]:
    """Reconstruct, and send the gradient of the loss back if anything is trained."""
    reconstruction = model(measurement)
    loss = model.loss(reconstruction, truth, measurement)
    # More than one value is the finding of ``output``.
    if loss.requires_grad and loss.numel() == 1:
        torch.autograd.backward(loss)
    return reconstruction, loss.detach()


def train(candidate: Candidate, model: ReconstructionModel) -> Iterator[float]:
    """Yield the losses of steps on one batch with the method's own optimiser, before each step."""
    check_optimiser("method.yaml: optimiser", candidate.method.optimiser)
    optimiser = make_optimiser(model.parameters(), candidate.method.optimiser)
    measurement, truth = example()
    while True:
        optimiser.zero_grad()
        loss = step(model, measurement, truth)[1].item()
        optimiser.step()
        yield loss


def require_finite(
    model: ReconstructionModel, reconstruction: Reconstruction, loss: Tensor, place: str
) -> None:
    """Require finite image, loss and gradients, and a gradient for every parameter."""
    require(bool(torch.isfinite(reconstruction.image).all()), f"the image has NaN or infinity ({place})")
    require(bool(torch.isfinite(loss)), f"the loss is {loss.item()} ({place})")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            require(parameter.grad is not None, f"{name} takes no part in the loss ({place})")
            assert parameter.grad is not None
            finite = bool(torch.isfinite(parameter.grad).all())
            require(finite, f"the gradient of {name} has NaN or infinity ({place})")


def require_image(reconstruction: Reconstruction, truth: Truth, place: str) -> None:
    """Require a float32 image of the target's shape."""
    image = reconstruction.image
    found, wanted = tuple(image.shape), tuple(truth.image.shape)
    require(found == wanted, f"the image is {found}, not {wanted} ({place})")
    require(image.dtype == torch.float32, f"the image is {image.dtype}, not float32 ({place})")


def parameter_count(candidate: Candidate) -> None:
    """The stated parameter count is the built one, at 256x256 and the defaults."""
    method = candidate.method
    with torch.device("meta"):
        model = candidate.builder(method.parameters, (256, 256))
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    stated = method.full_parameter_count
    require(
        stated in (None, count), f"method.yaml: full_parameter_count is {stated}, the network has {count}"
    )
    require(
        (count > 0) == method.trainable,
        f"method.yaml: trainable is {str(method.trainable).lower()}, but there are {count} parameters",
    )


def output(candidate: Candidate) -> None:
    """The image has the target's shape, is float32 and finite, for even and odd sides."""
    for shape, pattern in GEOMETRIES:
        place = where(shape, f"{pattern} mask", "batch of 2")
        measurement, truth = example(shape, pattern)
        model = candidate.small(shape)
        with torch.no_grad():
            require_image(copy.deepcopy(model)(measurement), truth, place)
        reconstruction, loss = step(model, measurement, truth)
        require(
            loss.shape == () and loss.dtype == torch.float32,
            f"the loss is {loss.dtype} of shape {tuple(loss.shape)}, not a float32 scalar ({place})",
        )
        require(loss.item() > 0, f"the loss is {loss.item()}, not above 0 ({place})")
        require_finite(model, reconstruction, loss, place)


def batch_of_one(candidate: Candidate) -> None:
    """A batch of one slice trains."""
    measurement, truth = example(ODD, "2d", batch=1)
    model = candidate.small(ODD)
    require_finite(model, *step(model, measurement, truth), where(ODD, "2d mask", "batch of 1"))


def masks(candidate: Candidate) -> None:
    """Every mask of the benchmark is taken, or declined with a reason."""
    declines, known = candidate.method.declines, all_masks()
    for name in declines:
        require(
            name in known, f"method.yaml: declines: {name!r} is no mask; the masks are {', '.join(known)}"
        )
    model = candidate.small((64, 64)).eval()
    for name in known:
        if name not in declines:
            measurement, truth = named_measurement(name, (64, 64))
            with torch.no_grad():
                reconstruction = model(measurement)
            require_image(reconstruction, truth, f"mask {name}")
            finite = bool(torch.isfinite(reconstruction.image).all())
            require(finite, f"the image has NaN or infinity (mask {name}); decline the mask if it must be so")


def gradients(candidate: Candidate) -> None:
    """Gradients reach every parameter."""
    # A ReLU may be silent for one initialisation (an attention of one hidden channel often is), so
    # several are tried. Batch norm cancels a bias just before it in training; with its running
    # statistics (evaluation mode) that bias counts as well.
    measurement, truth = example()
    untouched = [name for name, _ in candidate.small(EVEN).named_parameters()]
    for seed in range(INITIALISATIONS):
        model = candidate.small(EVEN, seed).eval()
        step(model, measurement, truth)
        found = dict(model.named_parameters())
        untouched = [name for name in untouched if not _has_gradient(found[name])]
        if not untouched:
            return
    more = f" and {len(untouched) - 3} more" if len(untouched) > 3 else ""
    raise Violation(
        f"no gradient reaches {', '.join(untouched[:3])}{more} in {INITIALISATIONS} initialisations "
        f"({where(EVEN, '1d mask')}); use what gets none in the loss, or remove it"
    )


def _has_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def determinism(candidate: Candidate) -> None:
    """The seed decides everything: equal seeds, equal bits; other seeds, other weights."""
    measurement, truth = example()

    def trained_twice(seed: int) -> Tensor:
        model = candidate.small(EVEN, seed)
        if candidate.method.trainable:
            losses = train(candidate, model)
            next(losses), next(losses)
        return step(model, measurement, truth)[0].image

    first = trained_twice(0)
    require(
        torch.equal(trained_twice(0), first), "two trainings of two steps from one seed differ in their bits"
    )
    if candidate.method.trainable:
        require(not torch.equal(trained_twice(1), first), "another seed gives the same weights")
    else:
        require(torch.equal(trained_twice(1), first), "nothing is trained, but the seed changes the image")


def learning(candidate: Candidate) -> None:
    """The loss falls on one batch with the method's own optimiser."""
    losses = train(candidate, candidate.small(EVEN))
    first = lowest = next(losses)
    for _ in range(STEPS):
        lowest = min(lowest, next(losses))
        if lowest < FALLEN * first:
            return
    raise Violation(
        f"the loss falls from {first:.4g} to no less than {lowest:.4g} in {STEPS} steps on one batch "
        f"({where(EVEN, '1d mask')}); look at the loss, or at the learning rate in method.yaml"
    )


def checkpoint(candidate: Candidate) -> None:
    """A saved state gives the same reconstruction."""
    measurement, _ = example()
    model = candidate.small(EVEN)
    if candidate.method.trainable:
        losses = train(candidate, model)
        next(losses), next(losses)
    restored = candidate.small(EVEN, seed=1)
    restored.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    with torch.no_grad():
        same = torch.equal(restored.eval()(measurement).image, model.eval()(measurement).image)
    require(
        same,
        f"the image changes when the weights are loaded into a new network ({where(EVEN)}); "
        "keep all that training changes in parameters or buffers",
    )


def constant_images(candidate: Candidate) -> None:
    """Empty and constant slices stay finite."""
    for value in (0.0, 1.0):
        for training, shape in ((True, EVEN), (True, ODD), (False, ODD)):
            generator = torch.Generator().manual_seed(0)
            images = torch.full((2, *shape), value)
            measurement, truth = measure(images, images, sampling("1d", 2, shape, generator))
            model = candidate.small(shape).train(training)
            place = where(shape, f"all pixels {value:g}", "training" if training else "evaluation")
            require_finite(model, *step(model, measurement, truth), place)


def independent_slices(candidate: Candidate) -> None:
    """In evaluation, a slice does not depend on the others of its batch."""
    measurement, _ = example(ODD, "1d", batch=3)
    alone = Measurement(**{name: values[1:2] for name, values in vars(measurement).items()})
    model = candidate.small(ODD).eval()
    with torch.no_grad():
        difference = (model(alone).image - model(measurement).image[1:2]).abs().max().item()
    require(difference <= 1e-4, f"a slice alone differs by {difference:.2g} from itself in a batch of 3")


def no_look_at_truth(candidate: Candidate) -> None:
    """Truth and unsampled k-space have no way into the image."""
    for shape, pattern, training in ((EVEN, "1d", True), (EVEN, "1d", False), (ODD, "2d", True)):
        generator = torch.Generator().manual_seed(3)
        mask = sampling(pattern, 2, shape, generator)
        target, auxiliary = head_slices(2, shape, generator)
        kspace = fft2c(with_phase(target))
        elsewhere = torch.randn(2, *shape, dtype=torch.complex64, generator=generator)
        model = candidate.small(shape).train(training)
        # The second pass of the second model comes after its loss has seen the other truth.
        images = []
        for other in (kspace, torch.where(mask, kspace, elsewhere)):
            measurement, truth = measured(other, auxiliary, mask)
            again = copy.deepcopy(model)
            for _ in range(2):
                torch.manual_seed(0)
                images.append(step(again, measurement, truth)[0].image)
        place = where(shape, f"{pattern} mask", "training" if training else "evaluation")
        require(torch.equal(images[0], images[2]), f"the image changes with unsampled k-space ({place})")
        require(
            torch.equal(images[1], images[3]),
            f"the image changes with the truth that an earlier loss saw ({place})",
        )


def auxiliary(candidate: Candidate) -> None:
    """The auxiliary scan matters exactly where method.yaml says so."""
    measurement, _ = example()
    flipped = replace(
        measurement,
        auxiliary=measurement.auxiliary.flip(-1),
        auxiliary_kspace=fft2c(measurement.auxiliary.flip(-1).to(torch.complex64)),
    )
    model = candidate.small(EVEN)
    with torch.no_grad():
        model(measurement)  # fills running statistics, if there are any
        model.eval()
        matters = not torch.equal(model(measurement).image, model(flipped).image)
    stated = candidate.method.needs_auxiliary
    require(
        matters == stated,
        f"method.yaml: needs_auxiliary is {str(stated).lower()}, but another auxiliary "
        f"{'changes' if matters else 'does not change'} the image",
    )


def full_precision(candidate: Candidate) -> None:
    """Under mixed precision, image and loss are float32 and finite."""
    measurement, truth = example(ODD, "2d")
    model = candidate.small(ODD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reconstruction = model(measurement)
        loss = model.loss(reconstruction, truth, measurement)
    place = where(ODD, "2d mask", "bfloat16 autocast")
    require_image(reconstruction, truth, place)
    require(loss.dtype == torch.float32, f"the loss is {loss.dtype}, not float32 ({place})")
    require(bool(np.isfinite(loss.item())), f"the loss is {loss.item()} ({place})")


CHECKS: dict[str, Callable[[Candidate], None]] = {
    function.__name__: function
    for function in (
        parameter_count,
        output,
        batch_of_one,
        masks,
        gradients,
        determinism,
        learning,
        checkpoint,
        constant_images,
        independent_slices,
        no_look_at_truth,
        auxiliary,
        full_precision,
    )
}
_OF_TRAINED = {"gradients", "learning"}


def checks_of(method: Method) -> list[str]:
    """Return the names of the checks that apply to a method."""
    return [name for name in CHECKS if method.trainable or name not in _OF_TRAINED]


def methods_of(name: str) -> list[Method]:
    """Return a folder's default and variants, or the one variant or sweep point that ``name`` names.

    Raises:
        BadInput: there is no such method.
    """
    found = discover()
    folder = found[folder_of(name, found)]
    if name != folder.default.id:
        return [folder.method(name)]
    return [folder.default, *(folder.method(f"{name}-{variant}") for variant in folder.variants)]


def check(method: Method, name: str) -> str | None:
    """Run one check on a method and say what is wrong, whatever its code raises; None if it passed."""
    return problem_with(CHECKS[name], Candidate(method), folder_path(method.folder))


def run(method: Method) -> tuple[int, int]:
    """Check one method, print what was found, and return the numbers of failures and of checks."""
    checks = [CHECKS[name] for name in checks_of(method)]
    heading = f"{method.id}: {next(iter(method.label.values()), 'no label')}"
    return report(heading, checks, Candidate(method), folder_path(method.folder))


@command
def main(
    names: Annotated[tuple[str, ...], "folder or variant, e.g. manet or manet-sc; default: all"] = (), /
) -> None:
    """Check methods; the exit status is 1 unless all hold."""
    torch.set_num_threads(1)
    # All are found before the first is checked.
    chosen = [method for name in names or discover() for method in methods_of(name)]
    conclude(map(run, chosen))
