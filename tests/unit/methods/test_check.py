"""Every check of the contract fails on a method that breaks it, and says what and where."""

import random
import re
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data_prep.errors import BadInput, run_command
from data_prep.io.command import call
from data_prep.masks.registry import all_masks
from data_prep.measurement import Measurement, Truth
from methods import check as checking
from methods import tiny
from methods.check import CHECKS, check, checks_of, methods_of
from methods.contract import Reconstruction, ReconstructionModel
from methods.registry import Method, discover
from methods.tiny import head_slices


class Overflowing(nn.Module):
    """As a batch norm whose running statistics are still far from the data's."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps if self.training else maps * 1e38 * 1e38


class Toy(ReconstructionModel):
    """Sound unless a fault is named."""

    def __init__(self, fault: str, shape: tuple[int, int]) -> None:
        super().__init__()
        self.fault = fault
        self.shape = shape
        self.network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
        if fault == "idle parameter":
            self.idle = nn.Parameter(torch.ones(3))
        if fault == "overflows in evaluation":
            self.last = Overflowing()
        self.memory: Any = 0.0
        self.steps = 0

    def forward(self, measurement: Measurement) -> Reconstruction:
        zero_filled, auxiliary = measurement.zero_filled, measurement.auxiliary
        if self.fault == "blind":
            auxiliary = torch.zeros_like(auxiliary)
        image = zero_filled + self.network(torch.stack((zero_filled, auxiliary), dim=1))[:, 0].float()
        match self.fault:
            case "transposed":
                image = image.mT
            case "double":
                image = image.double()
            case "even only":
                image = image[:, : image.shape[1] // 2 * 2]
            case "mixed precision":
                image = self.network(torch.stack((zero_filled, auxiliary), dim=1))[:, 0]
            case "divides by spread":
                image = image / zero_filled.std(dim=(-2, -1), keepdim=True)
            case "batch statistics":
                image = image - image.mean()
            case "dice":
                image = image + random.random()  # of a generator that no seed of torch reaches
            case "remembers the truth":
                image = image + self.memory
            case "counts":
                self.steps += self.training
                image = image + 0.1 * self.steps
            case "2d only" if measurement.mask.shape[-2] == 1:
                image = image * torch.nan
            case "crashes":
                raise ValueError("no such thing")
            case "overflows in evaluation":
                image = self.last(image)
            case "bare tensor":
                return image  # type: ignore[return-value]
            case "works in place":
                measurement.auxiliary.mul_(0.5)
            case "faint and by batch":
                image = 1e-3 * (image - 0.01 * image.mean())
        return Reconstruction(image)

    def loss(self, reconstruction: Reconstruction, truth: Truth, measurement: Measurement) -> Tensor:
        if self.fault == "remembers the truth":
            self.memory = 0.01 * truth.image.detach()
        if self.fault == "climbs":
            loss = nn.functional.l1_loss(reconstruction.image, truth.image)
            return 2 * loss.detach() - loss
        if self.fault == "loses its way":
            self.steps += 1
            return nn.functional.l1_loss(reconstruction.image, truth.image) * (
                1 if self.steps < 2 else torch.nan
            )
        difference = nn.functional.l1_loss(reconstruction.image, truth.image, reduction="none")
        return difference.mean(0) if self.fault == "loss by pixel" else difference.mean()


def toy(**changes: Any) -> Method:
    content: dict[str, Any] = {
        "id": "toy",
        "folder": "toy",
        "label": {"ixi": "Toy", "fastmri": "Toy"},
        "order": 1,
        "trainable": True,
        "needs_auxiliary": True,
        "citation": "none",
        "parameters": {},
        "optimiser": {"name": "adam", "lr": 0.01},
    }
    return Method(**(content | changes))


@pytest.fixture
def problem(monkeypatch):
    """The finding of one check on a toy with a fault."""

    def find(name: str, fault: str = "none", **changes: Any) -> str | None:
        monkeypatch.setattr(
            checking, "load_builder", lambda _folder: lambda _params, shape: Toy(fault, shape)
        )
        return check(toy(**changes), name)

    return find


@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_method_passes(problem, name):
    assert problem(name, full_parameter_count=113) is None


# The torch loss's own word on shapes that differ.
@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("output", "transposed", r"the image is \(2, 37, 45\), not \(2, 45, 37\) \(45x37, 1d mask"),
        ("output", "double", r"the image is torch.float64, not float32 \(32x32, 1d mask, batch of 2\)"),
        ("output", "even only", r"the image is \(2, 44, 37\)"),
        ("output", "loss by pixel", r"the loss is torch.float32 of shape \(32, 32\)"),
        ("output", "idle parameter", r"idle takes no part in the loss \(32x32"),
        ("output", "crashes", r"ValueError: no such thing"),
        (
            "output",
            "bare tensor",
            r"forward returns a Tensor, not a Reconstruction .*\(32x32, 1d mask, batch of 2",
        ),
        ("masks", "bare tensor", r"forward returns a Tensor, not a Reconstruction"),
        ("full_precision", "bare tensor", r"forward returns a Tensor, not a Reconstruction"),
        (
            "determinism",
            "works in place",
            r"forward changes the measurement's auxiliary \(32x32.*work on a copy",
        ),
        ("batch_of_one", "even only", r"RuntimeError: The size of tensor"),
        ("masks", "2d only", r"NaN or infinity \(mask random_4x\)"),
        ("gradients", "idle parameter", r"no gradient reaches idle in 12 initialisations"),
        ("determinism", "dice", r"differ in their bits"),
        ("learning", "climbs", r"falls from .* to no less than .* learning rate"),
        ("checkpoint", "counts", r"image changes when the weights are loaded"),
        *(
            (name, "overflows in evaluation", r"the image has NaN or infinity \(.*they begin in last \(Overf")
            for name in ("masks", "checkpoint", "independent_slices", "auxiliary", "gradients")
        ),
        (
            "checkpoint",
            "overflows in evaluation",
            r"\(32x32, 1d mask, evaluation after 2 steps\); they begin",
        ),
        ("learning", "loses its way", r"the loss is nan \(32x32, 1d mask, after 1 steps\)"),
        ("constant_images", "divides by spread", r"NaN or infinity \(32x32, all pixels 0, training\)"),
        ("independent_slices", "batch statistics", r"differs by .* in a batch of 3"),
        ("independent_slices", "faint and by batch", r"differs by .* where the largest value is 0.00"),
        ("no_look_at_truth", "remembers the truth", r"the truth that an earlier loss saw \(32x32"),
        ("auxiliary", "blind", r"needs_auxiliary is true, but another auxiliary does not change"),
        ("full_precision", "mixed precision", r"the image is torch.bfloat16, not float32"),
    ],
)
def test_a_fault_is_found_and_placed(problem, name, fault, said):
    found = problem(name, fault)
    assert found is not None
    assert re.search(said, found), found


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "parameter_count",
            {"full_parameter_count": 112},
            "full_parameter_count is 112, the network has 113",
        ),
        ("parameter_count", {"trainable": False}, "trainable is false, but there are 113 parameters"),
        ("masks", {"declines": {"2d_star_6x": "no"}}, "declines: '2d_star_6x' is no mask"),
        ("auxiliary", {"needs_auxiliary": False}, "needs_auxiliary is false, but another auxiliary changes"),
        ("learning", {"optimiser": {"name": "lion", "lr": 1.0}}, "optimiser.name: 'lion' is unknown"),
        ("learning", {"optimiser": {"name": "sgd", "lr": 1e-9}}, "look at the loss, or at the learning rate"),
    ],
)
def test_a_description_that_is_not_true_is_found(problem, name, changes, said):
    assert said in problem(name, **changes)


def test_rounding_is_judged_by_the_size_of_the_image():
    # At full size an untrained MANet gives 8e7, where float32 rounds by whole units.
    full = replace(methods_of("manet")[0], small={})
    assert check(full, "independent_slices") is None


def test_a_network_of_one_size_is_checked_on_slices_that_it_takes(monkeypatch):
    def build(_params: Any, shape: tuple[int, int]) -> Toy:
        if min(shape) < 100:
            raise BadInput(f"toy: {shape[0]}x{shape[1]} is too small; use sides of 100 or more")
        return Toy("none", shape)

    monkeypatch.setattr(checking, "load_builder", lambda _folder: build)
    assert {name: check(toy(), name) for name in CHECKS} == dict.fromkeys(CHECKS)


def test_a_size_that_a_network_never_takes_is_told_in_its_own_words(monkeypatch):
    def build(_params: Any, shape: tuple[int, int]) -> Toy:
        raise BadInput(f"toy: {shape[0]}x{shape[1]} is too small")

    monkeypatch.setattr(checking, "load_builder", lambda _folder: build)
    assert "toy: 256x256 is too small" in (check(toy(), "output") or "")


def test_a_build_that_returns_no_network_is_told(monkeypatch):
    monkeypatch.setattr(checking, "load_builder", lambda _folder: lambda *_: None)
    for name in ("parameter_count", "output"):
        assert check(toy(), name) == "build returns a NoneType, not a ReconstructionModel"


@pytest.mark.parametrize(("count", "said"), [(113, True), (None, False)])
def test_only_a_stated_count_is_said_to_be_the_built_one(problem, monkeypatch, capsys, count, said):
    problem("parameter_count")
    monkeypatch.setattr(checking, "checks_of", lambda _method: ["parameter_count"])
    assert checking.run(toy(full_parameter_count=count)) == (0, 1)
    assert ("is the built one" in capsys.readouterr().out) is said


def test_a_declined_mask_is_not_tried(problem):
    declines = dict.fromkeys(all_masks(), "the reason")
    assert problem("masks", "2d only") is not None
    assert problem("masks", "2d only", declines=declines) is None


def test_a_look_at_unsampled_kspace_is_found(problem, monkeypatch):
    def leaking(target: Tensor, auxiliary: Tensor, mask: Tensor, noise: Tensor | None = None):
        return original(target, auxiliary, torch.ones_like(mask), noise)

    original = tiny.measure
    monkeypatch.setattr(tiny, "measure", leaking)
    assert "the image changes with unsampled k-space (32x32, 1d mask, training)" in problem(
        "no_look_at_truth"
    )


def test_an_untrained_method_is_spared_what_is_about_training():
    assert set(CHECKS) - set(checks_of(toy(trainable=False))) == {"gradients", "learning"}


def test_a_folder_is_checked_with_its_variants_and_a_variant_alone():
    assert [method.id for method in methods_of("manet")][:2] == ["manet", "manet-no_kspace"]
    assert [method.id for method in methods_of("manet-sc")] == ["manet-sc"]
    with pytest.raises(BadInput, match="there is no folder methods/nothing/"):
        methods_of("nothing")


def test_the_tiny_slices_are_one_anatomy_in_two_contrasts():
    target, auxiliary = head_slices(3, (64, 64), torch.Generator().manual_seed(0))
    assert target.shape == auxiliary.shape == (3, 64, 64)
    assert target.min() == auxiliary.min() == 0
    assert not torch.equal(target[0], target[1])
    edges = [images.diff(dim=-1) != 0 for images in (target, auxiliary)]
    shared = (edges[0] & edges[1]).sum() / (edges[0] | edges[1]).sum()
    assert shared > 0.8
    inside = (target > 0) & (auxiliary > 0)
    correlation = torch.corrcoef(torch.stack((target[inside], auxiliary[inside])))[0, 1]
    assert correlation < 0.2


def test_the_command_prints_a_table_and_fails_when_a_check_does(problem, monkeypatch, capsys):
    monkeypatch.setattr(checking, "methods_of", lambda _name: [toy()])
    monkeypatch.setattr(sys, "argv", ["methods.check", "toy"])
    problem("output", "blind")
    with pytest.raises(SystemExit) as ended:
        call(checking.main)
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "toy: Toy"
    assert "  FAIL  The auxiliary scan matters exactly where method.yaml says so" in printed
    assert "12 of 13 checks passed" in printed


@pytest.mark.parametrize("names", [(), ("zf",)])
def test_all_methods_are_told_of_briefly_and_named_ones_in_full(names, monkeypatch, capsys):
    monkeypatch.setattr(checking, "discover", lambda: {"zf": None})
    monkeypatch.setattr(checking, "methods_of", lambda _name: [discover()["zf"].default])
    monkeypatch.setattr(sys, "argv", ["methods.check", *names])
    call(checking.main)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "11 of 11 checks passed"
    assert len(lines) == (13 if names else 2)


def test_of_a_method_told_of_briefly_the_checks_that_fail_are_shown(problem, capsys):
    problem("output", "blind")
    assert checking.run(toy(), briefly=True) == (1, 13)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FAIL  toy: Toy")
    assert lines[1].startswith("  FAIL  The auxiliary scan matters exactly where method.yaml says so")
    assert lines[2].startswith("        method.yaml: needs_auxiliary is true, but another")
    assert len(lines) == 3


@pytest.mark.parametrize(("method", "expected"), [("zf", 0), ("zff", 1)])
def test_the_command_line_checks_a_shipped_method_and_refuses_an_unknown_one(
    method, expected, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["methods.check", method])
    if expected == 0:
        run_command(partial(call, checking.main))
        assert capsys.readouterr().out.endswith("11 of 11 checks passed\n")
        return
    with pytest.raises(SystemExit, match="error: unknown method 'zff'"):
        run_command(partial(call, checking.main))
