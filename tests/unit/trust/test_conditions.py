"""Altered auxiliaries: nothing else changes, and nothing at all where nothing is altered."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny_runs import MASKS, SUBJECTS, write_mask, write_splits

from data_prep.undersample.acquisition import Acquisition, open_acquisition, open_split
from workflow.trust.conditions import altered, of_other_subject, others, rotate, rotated, shifted, zeroed

CPU = torch.device("cpu")
OTHER = of_other_subject(others({subject: [subject] for subject in SUBJECTS["test"]}))


@pytest.fixture
def measured(tmp_path):
    """An acquisition, the test split, and the measurement of three slices."""
    write_splits(tmp_path)
    acquisition = open_acquisition(write_mask(tmp_path), "ixi", MASKS["ixi"], 0.1, 2022)
    store = open_split(tmp_path / "data" / "ixi", "test", acquisition, CPU, 1.0)
    return acquisition, store, acquisition.fixed(store, [0, 3, 5])[0]


@pytest.mark.parametrize("alteration", [shifted(0), rotated(0.0)])
def test_nothing_altered_is_the_same_to_the_bit(measured, alteration):
    acquisition, store, plain = measured
    same = altered(acquisition, alteration).fixed(store, [0, 3, 5])[0]
    for field in fields(plain):
        assert torch.equal(getattr(same, field.name), getattr(plain, field.name)), field.name


@pytest.mark.parametrize("alteration", [zeroed, OTHER, shifted(3), rotated(5.0)])
def test_only_the_auxiliary_changes_and_its_kspace_belongs_to_it(measured, alteration):
    from data_prep.fourier import ifft2c

    acquisition, store, plain = measured
    changed = altered(acquisition, alteration).fixed(store, [0, 3, 5])[0]
    assert torch.equal(changed.kspace, plain.kspace)
    assert torch.equal(changed.scale, plain.scale)
    assert not torch.equal(changed.auxiliary, plain.auxiliary)
    torch.testing.assert_close(ifft2c(changed.auxiliary_kspace).abs(), changed.auxiliary, atol=1e-5, rtol=0)
    if alteration is not zeroed:
        assert changed.auxiliary.amax(dim=(-2, -1)).tolist() == pytest.approx([1, 1, 1])


def test_a_shift_moves_to_the_right_and_brings_zeros_in(measured):
    _, store, plain = measured
    moved = shifted(3)(store, [0, 3, 5], plain.auxiliary)
    assert torch.equal(moved[..., 3:], plain.auxiliary[..., :-3])
    assert not moved[..., :3].any()


def test_a_rotation_agrees_with_scipys():
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 56)), 2.5)
    image[:9] = image[-9:] = 0
    image[:, :9] = image[:, -9:] = 0
    image = ndimage.gaussian_filter(image, 1.5)
    ours = rotate(torch.tensor(image[None], dtype=torch.float32), 5)[0].numpy()
    scipys = ndimage.rotate(image, 5, reshape=False, order=3)
    # Two kinds of cubic interpolation: a small difference, far below that of a wrong direction.
    assert np.abs(ours - scipys).max() < 0.02 * image.max()
    assert np.abs(ours - ndimage.rotate(image, -5, reshape=False, order=3)).max() > 0.2 * image.max()
    assert ours.min() >= 0


def test_the_other_subjects_slice_has_the_same_index(measured):
    _, store, _ = measured
    other = OTHER(store, [0, 3, 5], store.batch([0, 3, 5])[1])
    for row, position in zip(other, [0, 3, 5], strict=True):
        wanted = next(
            i
            for i in range(len(store))
            if store.subjects[i] != store.subjects[position]
            and store.slice_indices[i] == store.slice_indices[position]
        )
        assert torch.equal(row, store.batch([wanted])[1][0])
    assert set(store.subjects) == set(SUBJECTS["test"])


def test_the_other_subject_is_the_next_and_of_a_shorter_volume_it_is_the_last_slice():
    class Split:
        subjects = ("A", "A", "A", "B", "C", "C")

        def volumes(self):
            return {"A": [0, 1, 2], "B": [3], "C": [4, 5]}

        def batch(self, positions):
            return None, torch.tensor(positions)

    alter = of_other_subject(others({subject: [subject] for subject in "ABC"}))
    assert alter(Split(), range(6), torch.zeros(6)).tolist() == [3, 3, 3, 4, 0, 1]


def test_another_scan_of_the_same_person_is_no_other_subjects():
    # Sessions of one person have ids beside each other; a pair may be of two persons.
    persons = {"A-0": {"A"}, "A-1": {"A"}, "B-0": {"B", "C"}, "C-0": {"C"}, "D-0": {"D"}}
    assert others(persons) == {"A-0": "B-0", "A-1": "B-0", "B-0": "D-0", "C-0": "D-0", "D-0": "A-0"}
    assert others({"A-0": {"A"}, "A-1": {"A"}}) == {}


def test_an_altered_acquisition_is_an_acquisition(measured):
    acquisition, _, _ = measured
    assert isinstance(altered(acquisition, zeroed), Acquisition)
