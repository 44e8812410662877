"""Targets with a smooth phase: bounded, seeded by subject and slice, and no longer symmetric."""

import math

import pytest
import torch
from tiny_runs import MASKS, write_mask, write_splits

from data_prep.fourier import fft2c, ifft2c
from data_prep.masks.sets import mirrored
from data_prep.measurement import Measurement, Truth
from data_prep.seeds import seed_for
from data_prep.undersample.acquisition import open_acquisition, open_split
from data_prep.undersample.phase import smooth_phase
from methods.tiny import head_slices

CPU = torch.device("cpu")
POSITIONS = [0, 3, 5, 7, 10]


@pytest.fixture
def opened(tmp_path):
    """Open the training split and an acquisition with the given phase."""
    write_splits(tmp_path)
    mask = write_mask(tmp_path)

    def find(phase: str, dataset: str = "ixi", base_seed: int = 2022):
        acquisition = open_acquisition(mask, dataset, MASKS["ixi"], 0.1, base_seed, phase)
        return acquisition, open_split(tmp_path / "data" / "ixi", "train", acquisition, CPU, 1.0)

    return find


def phases(truth: Truth) -> torch.Tensor:
    return ifft2c(truth.kspace).angle()


@pytest.mark.parametrize("shape", [(64, 64), (45, 37)])
def test_it_is_bounded_smooth_and_another_for_each_seed(shape):
    found = smooth_phase(shape, range(20), CPU)
    torch.testing.assert_close(found.abs().amax(dim=(-2, -1)), torch.full((20,), math.pi))
    # Three half waves of at most pi over the image: from pixel to pixel a small part of it.
    steps = max(found.diff(dim=axis).abs().max() * size for axis, size in zip((-2, -1), shape, strict=True))
    assert steps < 3 * math.pi**2
    spread = found.amax(dim=(-2, -1)) - found.amin(dim=(-2, -1))
    assert (spread > 1).all(), "hardly more than a constant"
    assert len({tuple(row.tolist()) for row in found[:, 0]}) == 20


@pytest.mark.parametrize("shape", [(64, 64), (45, 37)])
def test_a_slices_phase_depends_on_no_other_slice_of_the_batch(shape):
    alone = torch.cat([smooth_phase(shape, [seed], CPU) for seed in range(7)])
    assert torch.equal(smooth_phase(shape, range(7), CPU), alone)


def test_values_are_those_of_the_first_release():
    found = smooth_phase((8, 6), [seed_for(use="phase", subject="IXI901", slice=0)], CPU)[0]
    assert found[[0, 4, 7], [0, 3, 5]].tolist() == pytest.approx([1.417074, -0.166266, 2.10946], abs=1e-5)


def test_off_is_what_there_was_before_it_to_the_bit(opened):
    plain, store = opened("none")
    for measurement, truth in (plain.fixed(store, POSITIONS), plain.fresh(store, POSITIONS, 0, 1, 2)):
        target, _ = store.batch(POSITIONS)
        assert torch.equal(truth.image, target / measurement.scale[:, None, None])
        assert torch.equal(truth.kspace, fft2c(target.to(torch.complex64)) / measurement.scale[:, None, None])


def test_it_changes_the_phase_alone_and_is_the_same_for_each_epoch_seed_mask_and_split_of_the_batch(opened):
    (plain, store), (phased, _) = opened("none"), opened("smooth")
    without, (measurement, truth) = plain.fixed(store, POSITIONS), phased.fixed(store, POSITIONS)
    torch.testing.assert_close(
        truth.image * measurement.scale[:, None, None], without[1].image * without[0].scale[:, None, None]
    )
    assert torch.equal(measurement.auxiliary, without[0].auxiliary)
    inside = truth.image > 0.1 * truth.image.amax()
    for again in (phased.fresh(store, POSITIONS, 0, 0, 0)[1], phased.fresh(store, POSITIONS, 3, 7, 2)[1]):
        torch.testing.assert_close(phases(again)[inside], phases(truth)[inside], atol=1e-4, rtol=0)
    parts = [phased.fixed(store, POSITIONS[:2])[0], phased.fixed(store, POSITIONS[2:])[0]]
    for name, values in vars(measurement).items():
        if name != "mask":
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), values), name
    assert torch.equal(phased.fixed(store, POSITIONS)[0].kspace, measurement.kspace)
    other, _ = opened("smooth", base_seed=2023)
    assert not torch.allclose(
        phases(other.fixed(store, POSITIONS)[1])[inside], phases(truth)[inside], atol=0.1
    )


def test_a_mirror_image_is_no_longer_given():
    """Filling in what symmetry promises completes a magnitude, and spoils what has a phase."""
    image, _ = head_slices(4, (64, 64), torch.Generator().manual_seed(0))
    lines = torch.zeros(64, 64, dtype=torch.bool)
    lines[:, 33:] = lines[:, 0] = lines[:, 32] = True  # all but the mirrored half

    def error(target: torch.Tensor) -> float:
        kspace = fft2c(target)
        places = [(2 * (size // 2) - torch.arange(size)) % size for size in kspace.shape[-2:]]
        given = (kspace * lines)[:, places[0]][:, :, places[1]].conj()
        filled = torch.where(lines, kspace, given)
        assert bool(torch.from_numpy(lines.numpy() | mirrored(lines.numpy())).all())
        return float((filled - kspace).abs().square().sum() / kspace.abs().square().sum())

    assert error(image.to(torch.complex64)) < 1e-10
    assert error(torch.polar(image, smooth_phase((64, 64), range(4), CPU))) > 0.5


def test_no_method_is_told_the_phase():
    assert set(Measurement.__dataclass_fields__) == {
        "kspace",
        "mask",
        "auxiliary",
        "auxiliary_kspace",
        "scale",
    }
