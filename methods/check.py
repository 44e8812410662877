r"""Check that methods keep the contract: ``python -m methods.check NAME``.

NAME is a folder of ``methods/`` (its variants are checked too) or one variant such as ``manet-sc``; without
a name every method is checked, in a line each. Each is built small (``small`` in its method.yaml, if it has
one) and taken through head-like slices under every mask: tiny ones, or the smallest that its ``build`` takes.
A failure says what is wrong, with which input and, if the method's own code stopped, in which line. The exit
status is 0 only if everything holds.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
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
from data_prep.errors import BadInput
from data_prep.fourier import fft2c
from data_prep.io.command import NAMES, command
from data_prep.masks.registry import all_masks
from data_prep.measurement import Measurement, measure
from methods.contract import Parameters, ReconstructionModel
from methods.optimisers import check_optimiser, make_optimiser
from methods.registry import Method, discover, folder_of, folder_path, load_builder
from methods.tiny import EVEN, ODD, example, head_slices, measured, named_measurement, sampling, with_phase
from methods.trial import (
    evaluated,
    reconstruction_of,
    require_finite,
    require_finite_image,
    require_image,
    step,
)

# Sides of the slices are these times EVEN and ODD: the first at which the network can be built.
SCALES = (1, 2, 4, 8)
# Largest difference between a slice alone and in a batch, as a share of the image's largest value.
ROUNDING = 1e-4
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

    def built(self, parameters: Parameters, shape: tuple[int, int]) -> ReconstructionModel:
        """Build the method for slices of this shape."""
        model = self.builder(parameters, shape)
        found = type(model).__name__
        require(isinstance(model, nn.Module), f"build returns a {found}, not a ReconstructionModel")
        return model

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Even and odd sides of the slices: a network of one size may need larger ones.

        Raises:
            BadInput: the method's own, if it takes none of ``SCALES``.
        """
        for scale in SCALES:
            even = (EVEN[0] * scale, EVEN[1] * scale)
            odd = (ODD[0] * scale + 1 - scale % 2, ODD[1] * scale + 1 - scale % 2)
            try:
                self.small(even), self.small(odd)
                return even, odd
            except BadInput as error:
                refused = error
        raise refused

    @property
    def even(self) -> tuple[int, int]:
        """Even sides of slices."""
        return self.shapes[0]

    @property
    def odd(self) -> tuple[int, int]:
        """Odd sides of slices, not square."""
        return self.shapes[1]

    def small(self, shape: tuple[int, int], seed: int = 0) -> ReconstructionModel:
        """Build the method in its small form, if it has one, for slices of this shape."""
        torch.manual_seed(seed)
        method = self.method
        # What defines a variant stands, whatever the small form says of the rest.
        return self.built({**method.parameters, **method.small, **method.changes}, shape)


def where(shape: tuple[int, int], *details: str) -> str:
    """Name an input: its sides and what else distinguishes it."""
    return ", ".join([f"{shape[0]}x{shape[1]}", *details])


def train(candidate: Candidate, model: ReconstructionModel) -> Iterator[float]:
    """Yield the losses of steps on one batch with the method's own optimiser, before each step."""
    check_optimiser("method.yaml: optimiser", candidate.method.optimiser)
    optimiser = make_optimiser(model.parameters(), candidate.method.optimiser)
    measurement, truth = example(candidate.even)
    for taken in itertools.count():
        place = where(candidate.even, "1d mask", f"after {taken} steps")
        optimiser.zero_grad()
        loss = step(model, measurement, truth, place)[1].item()
        require(bool(np.isfinite(loss)), f"the loss is {loss} ({place})")
        optimiser.step()
        yield loss


def parameter_count(candidate: Candidate) -> None:
    """The stated parameter count is the built one, at 256x256 and the defaults."""
    method = candidate.method
    with torch.device("meta"):
        model = candidate.built(method.parameters, (256, 256))
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    stated = method.full_parameter_count
    require(
        stated in (None, count), f"method.yaml: full_parameter_count is {stated}, the network has {count}"
    )
    require(
        (count > 0) == method.trainable,
        f"method.yaml: trainable is {str(method.trainable).lower()}, but there are {count} parameters",
    )


def unstated_count(candidate: Candidate) -> None:
    """There are parameters to train as method.yaml says (their number it does not say)."""
    parameter_count(candidate)


def output(candidate: Candidate) -> None:
    """The image has the target's shape, is float32 and finite, for even and odd sides."""
    for shape, pattern in itertools.product(candidate.shapes, ("1d", "2d")):
        place = where(shape, f"{pattern} mask", "batch of 2")
        measurement, truth = example(shape, pattern)
        model = candidate.small(shape)
        with torch.no_grad():
            require_image(reconstruction_of(copy.deepcopy(model), measurement, place), truth, place)
        _, loss = step(model, measurement, truth, place)
        require(
            loss.shape == () and loss.dtype == torch.float32,
            f"the loss is {loss.dtype} of shape {tuple(loss.shape)}, not a float32 scalar ({place})",
        )
        require(loss.item() > 0, f"the loss is {loss.item()}, not above 0 ({place})")
        require_finite(model, loss, place)


def batch_of_one(candidate: Candidate) -> None:
    """A batch of one slice trains."""
    measurement, truth = example(candidate.odd, "2d", batch=1)
    model = candidate.small(candidate.odd)
    place = where(candidate.odd, "2d mask", "batch of 1")
    require_finite(model, step(model, measurement, truth, place)[1], place)


def masks(candidate: Candidate) -> None:
    """Every mask of the benchmark is taken, or declined with a reason."""
    declines, known = candidate.method.declines, all_masks()
    for name in declines:
        require(
            name in known, f"method.yaml: declines: {name!r} is no mask; the masks are {', '.join(known)}"
        )
    side = max(64, *candidate.even)
    model = candidate.small((side, side))
    for name in known:
        if name not in declines:
            measurement, truth = named_measurement(name, (side, side))
            place = f"mask {name}"
            reconstruction = evaluated(model, measurement, place, "; decline the mask if it must be so")
            require_image(reconstruction, truth, place)


def gradients(candidate: Candidate) -> None:
    """Gradients reach every parameter."""
    # A ReLU may be silent for one initialisation (an attention of one hidden channel often is), so
    # several are tried. Batch norm cancels a bias just before it in training; with its running
    # statistics (evaluation mode) that bias counts as well.
    measurement, truth = example(candidate.even)
    place = where(candidate.even, "1d mask")
    untouched = [name for name, _ in candidate.small(candidate.even).named_parameters()]
    for seed in range(INITIALISATIONS):
        model = candidate.small(candidate.even, seed).eval()
        step(model, measurement, truth, place)
        found = dict(model.named_parameters())
        untouched = [name for name in untouched if not _has_gradient(found[name])]
        if not untouched:
            return
    more = f" and {len(untouched) - 3} more" if len(untouched) > 3 else ""
    raise Violation(
        f"no gradient reaches {', '.join(untouched[:3])}{more} in {INITIALISATIONS} initialisations "
        f"({place}); use what gets none in the loss, or remove it"
    )


def _has_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def determinism(candidate: Candidate) -> None:
    """The seed decides everything: equal seeds, equal bits; other seeds, other weights."""
    measurement, truth = example(candidate.even)

    def trained_twice(seed: int) -> Tensor:
        model = candidate.small(candidate.even, seed)
        if candidate.method.trainable:
            losses = train(candidate, model)
            next(losses), next(losses)
        return step(model, measurement, truth, where(candidate.even, "1d mask"))[0].image

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
    losses = train(candidate, candidate.small(candidate.even))
    first = lowest = next(losses)
    for _ in range(STEPS):
        lowest = min(lowest, next(losses))
        if lowest < FALLEN * first:
            return
    raise Violation(
        f"the loss falls from {first:.4g} to no less than {lowest:.4g} in {STEPS} steps on one batch "
        f"({where(candidate.even, '1d mask')}); look at the loss, or at the learning rate in method.yaml"
    )


def checkpoint(candidate: Candidate) -> None:
    """A saved state gives the same reconstruction."""
    measurement, _ = example(candidate.even)
    model = candidate.small(candidate.even)
    place = where(candidate.even, "1d mask", "evaluation")
    if candidate.method.trainable:
        losses = train(candidate, model)
        next(losses), next(losses)
        place += " after 2 steps"
    restored = candidate.small(candidate.even, seed=1)
    restored.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    first = evaluated(model, measurement, place).image
    require(
        torch.equal(evaluated(restored, measurement, place).image, first),
        f"the image changes when the weights are loaded into a new network ({place}); "
        "keep all that training changes in parameters or buffers",
    )


def constant_images(candidate: Candidate) -> None:
    """Empty and constant slices stay finite."""
    for value in (0.0, 1.0):
        for training, shape in ((True, candidate.even), (True, candidate.odd), (False, candidate.odd)):
            generator = torch.Generator().manual_seed(0)
            images = torch.full((2, *shape), value)
            measurement, truth = measure(images, images, sampling("1d", 2, shape, generator))
            model = candidate.small(shape).train(training)
            place = where(shape, f"all pixels {value:g}", "training" if training else "evaluation")
            require_finite(model, step(model, measurement, truth, place)[1], place)


def independent_slices(candidate: Candidate) -> None:
    """In evaluation, a slice does not depend on the others of its batch."""
    measurement, _ = example(candidate.odd, "1d", batch=3)
    alone = Measurement(**{name: values[1:2] for name, values in vars(measurement).items()})
    model, place = candidate.small(candidate.odd), where(candidate.odd, "1d mask", "evaluation")
    image = evaluated(model, measurement, place).image[1:2]
    difference = (evaluated(model, alone, place).image - image).abs().max().item()
    largest = image.abs().max().item()
    require(
        difference <= ROUNDING * largest,
        f"a slice alone differs by {difference:.2g} from itself in a batch of 3, where the largest value is "
        f"{largest:.2g} ({place}); more than {ROUNDING:g} of it is no rounding",
    )


def no_look_at_truth(candidate: Candidate) -> None:
    """Truth and unsampled k-space have no way into the image."""
    even, odd = candidate.shapes
    for shape, pattern, training in ((even, "1d", True), (even, "1d", False), (odd, "2d", True)):
        place = where(shape, f"{pattern} mask", "training" if training else "evaluation")
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
                images.append(step(again, measurement, truth, place)[0].image)
        require(torch.equal(images[0], images[2]), f"the image changes with unsampled k-space ({place})")
        require(
            torch.equal(images[1], images[3]),
            f"the image changes with the truth that an earlier loss saw ({place})",
        )


def auxiliary(candidate: Candidate) -> None:
    """The auxiliary scan matters exactly where method.yaml says so."""
    measurement, _ = example(candidate.even)
    flipped = replace(
        measurement,
        auxiliary=measurement.auxiliary.flip(-1),
        auxiliary_kspace=fft2c(measurement.auxiliary.flip(-1).to(torch.complex64)),
    )
    model, place = candidate.small(candidate.even), where(candidate.even, "1d mask", "evaluation")
    with torch.no_grad():
        model(measurement)  # fills running statistics, if there are any
    images = [evaluated(model, one, place).image for one in (measurement, flipped)]
    matters = not torch.equal(*images)
    stated = candidate.method.needs_auxiliary
    require(
        matters == stated,
        f"method.yaml: needs_auxiliary is {str(stated).lower()}, but another auxiliary "
        f"{'changes' if matters else 'does not change'} the image",
    )


def full_precision(candidate: Candidate) -> None:
    """Under mixed precision, image and loss are float32 and finite."""
    measurement, truth = example(candidate.odd, "2d")
    model, place = candidate.small(candidate.odd), where(candidate.odd, "2d mask", "bfloat16 autocast")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reconstruction = reconstruction_of(model, measurement, place)
        require_finite_image(model, measurement, reconstruction, place)
        loss = model.loss(reconstruction, truth, measurement)
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


def run(method: Method, *, briefly: bool = False) -> tuple[int, int]:
    """Check one method, print what was found, and return the numbers of failures and of checks."""
    titled = (
        CHECKS if method.full_parameter_count is not None else CHECKS | {"parameter_count": unstated_count}
    )
    checks = [titled[name] for name in checks_of(method)]
    heading = f"{method.id}: {next(iter(method.label.values()), 'no label')}"
    return report(heading, checks, Candidate(method), folder_path(method.folder), briefly=briefly)


@command
def main(
    names: Annotated[tuple[str, ...], NAMES, "folder or variant, e.g. manet or manet-sc; default: all"] = (),
    /,
) -> None:
    """Check methods; the exit status is 1 unless all hold."""
    torch.set_num_threads(1)
    # All are found before the first is checked.
    chosen = [method for name in names or discover() for method in methods_of(name)]
    conclude(run(method, briefly=not names) for method in chosen)
