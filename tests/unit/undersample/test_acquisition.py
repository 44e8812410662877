"""What is drawn for a slice, a step and an epoch: of its own for each, and the same in every release."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import MASKS, write_mask, write_splits
from torch import Tensor

from data_prep.fourier import ifft2c
from data_prep.measurement import Measurement, Truth
from data_prep.undersample.acquisition import Acquisition, epoch_order, open_acquisition, open_split
from data_prep.undersample.slices import SliceStore

CPU = torch.device("cpu")


def opened(folder: Path, dataset: str, base_seed: int = 2022) -> tuple[Acquisition, SliceStore]:
    write_splits(folder, dataset)
    level = 0.1 if dataset == "ixi" else 0.0
    acquisition = open_acquisition(write_mask(folder, dataset), dataset, MASKS[dataset], level, base_seed)
    return acquisition, open_split(folder / "data" / dataset, "train", acquisition, CPU, 1.0)


def noise(measured: tuple[Measurement, Truth], store: SliceStore, positions: list[int]) -> Tensor:
    """The noise of the sampled positions of slices, (slice, samples), in units of its standard deviation."""
    measurement, truth = measured
    target, _ = store.batch(positions)
    added = (measurement.kspace - truth.kspace) * measurement.scale[:, None, None]
    return added[:, measurement.mask[0]] / (0.1 * target.mean(dim=(1, 2)))[:, None]


def test_every_slice_of_every_subject_has_noise_of_its_own(tmp_path: Path) -> None:
    acquisition, store = opened(tmp_path, "ixi")
    positions = [0, 1, 4]  # two slices of one subject, and the first of another
    drawn = [acquisition.fixed(store, positions), acquisition.fresh(store, positions, 0, 0, 0)]
    for found in (noise(one, store, positions) for one in drawn):
        # Noise of other slices shares nothing with it; the same noise would correlate with 1.
        assert np.abs(np.corrcoef(found.numpy()) - np.eye(3)).max() < 0.3


def test_a_training_of_another_seed_or_experiment_draws_otherwise(tmp_path: Path) -> None:
    for dataset in MASKS:
        acquisition, store = opened(tmp_path / dataset, dataset)
        other, _ = opened(tmp_path / dataset, dataset, base_seed=2023)
        everything = list(range(len(store)))
        first = acquisition.fresh(store, everything, 0, 0, 0)[0].kspace
        assert torch.equal(first, acquisition.fresh(store, everything, 0, 0, 0)[0].kspace)
        assert not torch.equal(first, acquisition.fresh(store, everything, 1, 0, 0)[0].kspace)
        assert not torch.equal(first, other.fresh(store, everything, 0, 0, 0)[0].kspace)
    places = (("ixi", 1, 0, 0), ("ixi", 2, 0, 0), ("brats", 1, 0, 0))
    orders = {tuple(epoch_order(20, *place)) for place in places}
    assert len(orders) == 3


def test_draws_stay_as_they_are(tmp_path: Path) -> None:
    """A change here changes every published number of the suite."""
    acquisition, store = opened(tmp_path / "ixi", "ixi")
    of_scoring, of_training = acquisition.fixed(store, [5]), acquisition.fresh(store, [5], 1, 2, 3)
    for measured, values in (
        (of_scoring, [0.0818 + 0.2304j, 2.8716 + 0.8304j]),
        (of_training, [-0.2816 - 0.0063j, 0.4151 - 1.7379j]),
    ):
        assert noise(measured, store, [5])[0, :2].tolist() == pytest.approx(values, abs=1e-3)
    phased = ifft2c(replace(acquisition, phase="smooth").fixed(store, [5])[1].kspace)
    assert phased[0, 16, [8, 24]].angle().tolist() == pytest.approx([-0.0629, -0.5658], abs=1e-3)
    acquisition, store = opened(tmp_path / "fastmri", "fastmri")
    lines = acquisition.fresh(store, [5], 1, 2, 3)[0].mask[0, 0]
    assert lines.nonzero()[:, 0].tolist() == [1, 7, 13, 15, 16, 17, 18, 24, 30]
    assert epoch_order(8, "ixi", 2022, 1, 2) == [7, 1, 3, 5, 0, 2, 4, 6]
