"""Lesions on images whose answers are known; labels lie on the lesions of the aligned slices."""

import json

import h5py
import nibabel
import numpy as np
import pytest
from scipy import ndimage

from data_prep.datasets.ixi.lesions import lesion_labels
from data_prep.errors import BadInput
from data_prep.volumes import central, load_volume, save_volume, to_axial
from workflow.trust.lesions import known_lesions, noise_level, read_labels, recovered, score_lesions

LABELS = np.zeros((3, 30, 30), np.uint8)
LABELS[1, 10:12, 10:12] = 1
LABELS[2, 20, 20] = 2
TRUTH = np.where(LABELS > 0, 150.0, 100.0)
RADII = [4.0, 2.0]
BODY = np.ones(TRUTH.shape, bool)


def test_the_truth_has_all_of_its_contrast_and_no_false_spot():
    lesions = known_lesions(TRUTH, LABELS, RADII)
    assert [(lesion.number, lesion.radius_mm, lesion.contrast) for lesion in lesions] == [
        (1, 4, 50),
        (2, 2, 50),
    ]
    scored, spots = score_lesions(TRUTH, TRUTH, LABELS, RADII, BODY)
    assert [share for _, share in scored] == [1, 1]
    assert set(spots.values()) == {0.0}


def test_neither_a_vessel_nor_another_lesion_belongs_to_a_lesions_surroundings():
    labels = LABELS.copy()
    labels[1, 10:12, 13] = 3  # one pixel from the first
    truth = np.where(labels > 0, 150.0, 100.0)
    truth[1, 8, 8:14] = 900.0
    lesions = known_lesions(truth, labels, [*RADII, 2.0])
    assert [lesion.contrast for lesion in lesions] == [50, 50, 50]
    near = ndimage.binary_dilation(labels > 0, np.ones((1, 3, 3)))
    assert not any((lesion.around & near).any() for lesion in lesions)


def test_neither_one_bright_lesion_nor_those_that_are_not_visible_move_the_bar_for_false_spots():
    labels = LABELS.copy()
    labels[2, 8, 8] = 3
    labels[1, (3, 20, 25), (3, 3, 25)] = 4, 5, 6
    truth = np.where(labels == 3, 600.0, np.where(labels > 3, 101.0, TRUTH))
    image = truth + planted((0, 5, 5)) - TRUTH
    _, spots = score_lesions(truth, image, labels, [*RADII, 2.0, 2.0, 2.0, 2.0], BODY)
    assert spots == {0.25: pytest.approx(1 / 3), 0.5: pytest.approx(1 / 3), 0.75: 0}


def test_a_lesion_painted_away_is_gone_and_half_of_one_is_half():
    gone = np.where(LABELS == 1, 100.0, np.where(LABELS == 2, 125.0, 100.0))
    assert [share for _, share in score_lesions(TRUTH, gone, LABELS, RADII, BODY)[0]] == [0, 0.5]


def test_an_overall_change_of_intensity_is_no_lesion():
    first = known_lesions(TRUTH, LABELS, RADII)[0]
    assert recovered(first, TRUTH + 40) == pytest.approx(1)


def spots_per_slice(image, truth=TRUTH, labels=LABELS, body=BODY):
    return score_lesions(truth, image, labels, RADII, body)[1]


def planted(*places, height=30.0, size=3):
    image = TRUTH.copy()
    for part, y, x in places:
        image[part, y : y + size, x : x + size] += height
    return image


def test_planted_spots_are_counted_once_each_where_a_lesion_could_be():
    body = BODY.copy()
    body[0, 22:, 22:] = False
    image = planted((0, 5, 5), (2, 3, 3))  # 30 is 60 % of the lesions' contrast
    image[1, 12:15, 12:15] += 30  # beside a lesion
    image[0, 25:28, 25:28] += 30  # outside the body
    found = spots_per_slice(np.where(body, image, image - TRUTH), np.where(body, TRUTH, 0), body=body)
    assert found == {0.25: pytest.approx(2 / 3), 0.5: pytest.approx(2 / 3), 0.75: 0}


def test_two_spots_with_a_pixel_between_them_are_two():
    assert spots_per_slice(planted((0, 5, 5), (0, 5, 9)))[0.5] == pytest.approx(2 / 3)


def test_what_is_smaller_than_a_spot_is_averaged_with_what_surrounds_it():
    assert spots_per_slice(planted((0, 5, 5), size=1, height=49.0)) == dict.fromkeys((0.25, 0.5, 0.75), 0)
    assert spots_per_slice(planted((0, 5, 5), size=1, height=9 * 26.0))[0.5] == pytest.approx(1 / 3)


def test_an_overall_change_of_intensity_is_no_false_spot():
    assert set(spots_per_slice(TRUTH + 60).values()) == {0.0}


def test_in_fluid_and_on_its_edge_is_no_false_spot():
    truth = TRUTH.copy()
    truth[0, 15:25, 5:15] = 600.0
    image = truth.copy()
    image[0, 14:17, 5:15] += 200  # its edge, moved
    image[0, 18:21, 8:11] += 200  # inside it
    assert set(spots_per_slice(image, truth).values()) == {0.0}


@pytest.mark.parametrize("noise", [2.0, 8.0, 25.0])
def test_a_perfect_reconstruction_without_the_truths_noise_has_no_false_spot(noise):
    generator = np.random.default_rng(8)
    labels = np.zeros((16, 96, 96), np.uint8)
    labels[3, 40:46, 40:46], labels[9, 50:55, 30:35] = 1, 2
    body = np.zeros(labels.shape, bool)
    body[:, 20:76, 20:76] = True
    clean = np.where(labels > 0, 150.0, 100.0) * body
    # Magnitudes of what a scanner measures; neighbours share noise where k-space was filled up with zeros.
    real, imaginary = (
        ndimage.gaussian_filter(generator.normal(size=clean.shape), (0, 0.5, 0.5)) for _ in "ri"
    )
    truth = np.abs(clean + noise * (real + 1j * imaginary) / real.std())
    assert noise_level(truth, body) == pytest.approx(noise, rel=0.1)
    assert set(spots_per_slice(clean, truth, labels, body).values()) == {0.0}


def test_spots_as_faint_as_the_truths_noise_do_not_count():
    body = BODY.copy()
    body[:, :4] = False
    truth = np.where(body, TRUTH, 12.0)  # air as of noise of 10
    image = truth.copy()
    image[0, 15:18, 5:8] += 26
    assert noise_level(truth, body) == pytest.approx(10.2, abs=0.1)
    assert set(spots_per_slice(image, truth, body=body).values()) == {0.0}
    image[0, 15:18, 5:8] += 6
    assert spots_per_slice(image, truth, body=body)[0.25] == pytest.approx(1 / 3)


def test_a_lower_bar_never_finds_fewer_spots():
    image = TRUTH + np.random.default_rng(5).normal(0, 40, TRUTH.shape)
    counts = [*spots_per_slice(image).values()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] > 0


def test_a_lesion_that_the_truth_hardly_shows_is_not_visible():
    faint = np.where(LABELS == 2, 105.0, TRUTH)
    assert [lesion.visible for lesion in known_lesions(faint, LABELS, RADII)] == [True, False]
    assert not any(lesion.visible for lesion in known_lesions(0 * TRUTH, LABELS, RADII))


def test_a_lesion_without_any_contrast_in_the_truth_does_not_stop_the_others():
    flat = np.where(LABELS == 2, 100.0, TRUTH)
    scored, spots = score_lesions(flat, flat + 1, LABELS, RADII, BODY)
    (first, kept), (second, share) = scored
    assert (first.visible, kept, second.visible) == (True, 1.0, False)
    assert np.isnan(share)
    assert spots


def test_a_broken_reconstruction_has_no_numbers():
    scored, spots = score_lesions(TRUTH, np.full_like(TRUTH, np.nan), LABELS, RADII, BODY)
    assert all(np.isnan(share) for _, share in scored)
    assert spots == {}


def write_labels(path, labels=LABELS, **attributes):
    with h5py.File(path, "w") as file:
        file.create_dataset("IXI900", data=labels).attrs.update(attributes)
    return path


def test_labels_are_read_with_their_radii(tmp_path):
    labels, radii = read_labels(write_labels(tmp_path / "lesions.h5", radius_mm=RADII), "IXI900")
    np.testing.assert_array_equal(labels, LABELS)
    assert radii == RADII
    none = write_labels(tmp_path / "none.h5", np.zeros_like(LABELS), radius_mm=[])
    assert read_labels(none, "IXI900")[1] == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "field radius_mm of IXI900 is missing; delete it"),
        ({"radius_mm": RADII[:1]}, "the lesions of IXI900 do not fit their radius_mm; delete it"),
        ({"radius_mm": "large"}, "it is truncated or no HDF5 file .*; delete it"),
        ({"radius_mm": 3.0}, "it is truncated or no HDF5 file .*; delete it"),
    ],
)
def test_labels_without_their_radii_are_refused(tmp_path, attributes, message):
    path = write_labels(tmp_path / "lesions.h5", **attributes)
    with pytest.raises(BadInput, match=rf"lesions\.h5: {message}"):
        read_labels(path, "IXI900")


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"text", lambda data: data[:-500]])
def test_damaged_labels_are_refused(tmp_path, damage):
    path = write_labels(tmp_path / "lesions.h5", radius_mm=RADII)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=r"lesions\.h5: it is truncated .*; delete it and run the step"):
        read_labels(path, "IXI900")


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"lesions\.h5: the file is missing; run the step `lesion_labels`"):
        read_labels(tmp_path / "lesions.h5", "IXI900")
    with pytest.raises(BadInput, match=r"lesions\.h5: holds no subject IXI901"):
        read_labels(write_labels(tmp_path / "lesions.h5", radius_mm=RADII), "IXI901")


@pytest.fixture
def subject(tmp_path):
    """A scan stored in another orientation than axial slices, its labels, and its aligned target."""
    generator = np.random.default_rng(1)
    affine = np.array([[0, 0, -2.0, 30], [-1.5, 0, 0, 20], [0, 1.5, 0, -10], [0, 0, 0, 1]])
    labels = np.zeros((20, 18, 14), np.uint8)
    labels[8:10, 9:11, 6] = 1
    data = (generator.integers(10, 90, labels.shape) + 900 * (labels > 0)).astype(np.int16)
    save_volume(tmp_path / "raw/IXI-T2/IXI900-HH-1-T2.nii.gz", data, affine)
    save_volume(tmp_path / "raw/truth/IXI900-HH-1.lesions.nii.gz", labels, affine)
    truth = {"lesions": [{"radius_mm": 3.0}]}
    (tmp_path / "raw/truth/IXI900-HH-1.truth.json").write_text(json.dumps(truth))
    volume = load_volume(tmp_path / "raw/IXI-T2/IXI900-HH-1-T2.nii.gz")
    target = np.ascontiguousarray(central(to_axial(volume), (16, 16, 12)).data.T)
    (tmp_path / "aligned").mkdir()
    with h5py.File(tmp_path / "aligned/IXI900-HH-1.h5", "w") as file:
        file["target"] = target
    return tmp_path, target


def test_labels_lie_on_the_lesions_of_the_aligned_slices(subject):
    folder, target = subject
    labels, radii = lesion_labels(folder / "raw", folder / "aligned", "IXI900-HH-1")
    assert radii == [3.0]
    assert labels.shape == target.shape
    assert labels.sum() == 4
    np.testing.assert_array_equal(labels > 0, target > 500)


def test_labels_are_refused_where_the_target_is_another_crop(subject):
    folder, target = subject
    with h5py.File(folder / "aligned/IXI900-HH-1.h5", "r+") as file:
        file["target"][...] = np.roll(target, 1, axis=-1)
    with pytest.raises(BadInput, match="target is not the scan"):
        lesion_labels(folder / "raw", folder / "aligned", "IXI900-HH-1")


def test_a_subject_without_lesions_on_the_grid_has_none(subject):
    folder, _ = subject
    path = folder / "raw/truth/IXI900-HH-1.lesions.nii.gz"
    stored = nibabel.load(path)
    save_volume(path, np.zeros(stored.shape, np.uint8), stored.affine)
    assert not lesion_labels(folder / "raw", folder / "aligned", "IXI900-HH-1")[0].any()
