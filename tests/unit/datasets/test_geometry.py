"""The way from prepared slices back to the scan: recorded, exact, and refused where it cannot be."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.datasets.contract import Wanted, dataset_of
from data_prep.datasets.geometry import Geometry
from data_prep.datasets.ixi import align as align_ixi
from data_prep.datasets.nifti import read_volume, write_volume
from data_prep.datasets.registered import geometry_of, stored
from data_prep.errors import BadInput
from data_prep.io.json_files import from_json, to_json
from data_prep.phantom.fields import rotation
from data_prep.registration.rigid import Registration
from data_prep.volumes import Volume, central, load_volume, save_volume, to_axial
from workflow.predict import blank_record

SIZES = (9, 8, 7)
VOXEL = (0.9, 1.7, 4.0)


def oblique(order: tuple[int, ...], signs: tuple[int, ...]) -> NDArray[np.float64]:
    """Voxel to RAS+ mm of a scan whose axes are stored in an order and with signs, tilted about all axes."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(np.deg2rad((6.0, -9.0, 11.0))) @ (np.eye(3)[:, list(order)] * signs * VOXEL)
    affine[:3, 3] = (40, -50, 20)
    return affine


@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    matrix=st.integers(4, 12),
    slices=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_every_voxel_comes_back_to_its_place(order, signs, matrix, slices):
    affine = oblique(tuple(order), signs)
    data = np.random.default_rng(5).random(SIZES).astype(np.float32)
    scan = Volume(data, affine, Volume(data, affine))  # any grid may stand for the file's header
    axial = to_axial(scan)
    prepared = central(axial, (matrix, matrix, slices))
    geometry = geometry_of(prepared, axial)
    assert geometry.shape == list(SIZES)
    placed = geometry.placed(stored(prepared))
    # Voxels are the scan's or were cropped away, and none of them is lost that was not.
    assert np.isin(placed[placed != 0], data).all()
    np.testing.assert_array_equal(placed[placed != 0], data[placed != 0])
    assert np.count_nonzero(placed) == np.count_nonzero(stored(prepared))
    np.testing.assert_array_equal(geometry.taken(placed, stored(prepared).shape), stored(prepared))
    # Where the affines place a prepared voxel, each by its own way, is one place.
    here = np.array([slices // 2, matrix // 3, matrix // 2])
    there = np.array(geometry.steps) @ [*here, 1]
    np.testing.assert_allclose(
        (affine @ [*there, 1])[:3], (prepared.affine @ [*here[::-1], 1])[:3], atol=1e-9
    )


def test_a_record_keeps_it_exactly():
    geometry = Geometry(
        [4, 5, 6], [[0, 0, -1, 3], [1, 0, 0, -2], [0, 1, 0, 0]], oblique((2, 0, 1), (1, -1, 1)).tolist()
    )
    assert from_json(Geometry, to_json(geometry), "record", "mend it") == geometry


@pytest.mark.parametrize(
    "broken",
    [
        {"shape": [4, 5]},
        {"shape": [4, 5, 0]},
        {"shape": [2**20, 2**20, 2**20]},
        {"steps": [[1, 0, 0, 0], [0, 1, 0, 0]]},
        {"steps": [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]},
        {"steps": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]},
        {"affine": [[1.0, 0.0], [0.0, 1.0]]},
        {"affine": np.zeros((4, 4)).tolist()},
    ],
)
def test_what_leads_nowhere_is_refused(broken):
    whole = {"shape": [4, 5, 6], "steps": np.eye(3, 4, dtype=int).tolist(), "affine": np.eye(4).tolist()}
    with pytest.raises(BadInput, match="geometry: "):
        from_json(Geometry, to_json(whole | broken), "geometry", "align again")


def test_ixi_records_the_grid_of_its_target(tmp_path, monkeypatch):
    """T2 stored from the side, with the registration left out: it moves T1 only."""
    affine = oblique((1, 2, 0), (1, -1, 1))
    rng = np.random.default_rng(3)
    paths = [tmp_path / f"IXI012-HH-1211-T{number}.nii.gz" for number in (2, 1)]
    for path in paths:
        save_volume(path, rng.integers(1, 900, (40, 12, 36), dtype=np.int16), affine)
    still = Registration(np.eye(4), 0.5, 0.6, 0.0)
    monkeypatch.setattr(align_ixi, "register_checked", lambda t1, t2, record: still)
    ixi = dataset_of("ixi")
    record = blank_record(ixi, "IXI012-HH-1211", *paths)
    aligned = align_ixi.align(Wanted(ixi, *paths, 32, 10), record)
    geometry = aligned.record.geometry
    assert geometry is not None
    voxels = np.asarray(nibabel.load(paths[0]).dataobj)
    placed = geometry.placed(aligned.target)
    assert np.count_nonzero(placed) == aligned.target.size == 32 * 32 * 10
    np.testing.assert_array_equal(placed[placed > 0], voxels[placed > 0])
    np.testing.assert_allclose(geometry.affine, affine, atol=1e-5)
    # Without a matrix the larger side is taken, and nothing in the plane is cut off.
    whole = align_ixi.align(Wanted(ixi, *paths, None, None), record)
    assert whole.target.shape == (12, 40, 40)
    np.testing.assert_array_equal(whole.record.geometry.placed(whole.target), voxels)


def test_a_reading_that_interpolates_has_a_grid_of_its_own():
    data, affine = np.ones(SIZES, np.float32), np.diag([-1.0, -1.0, 1.0, 1.0])
    finer = np.diag([-0.5, -0.5, 1.0, 1.0])
    volume = Volume(data, finer, Volume(data, affine))
    assert geometry_of(volume, volume).affine == finer.tolist()


def test_nifti_comes_back_with_its_bits_and_elsewhere_is_refused(tmp_path: Path):
    values = np.random.default_rng(1).random(SIZES).astype(np.float32)
    geometry = Geometry(
        list(SIZES), np.eye(3, 4, dtype=int).tolist(), oblique((0, 1, 2), (-1, 1, 1)).tolist()
    )
    for name in ("volume.nii", "volume.nii.gz"):
        write_volume(tmp_path / name, values, geometry)
        np.testing.assert_array_equal(read_volume(tmp_path / name, geometry), values)
    with pytest.raises(BadInput, match="volumes of this dataset are NIfTI; give a name that ends in"):
        write_volume(tmp_path / "volume.npy", values, geometry)
    moved = np.array(geometry.affine)
    moved[0, 3] += 0.2
    with pytest.raises(BadInput, match=r"its header places it up to 0\.2 mm from the scan"):
        read_volume(tmp_path / "volume.nii", replace(geometry, affine=moved.tolist()))
    assert load_volume(tmp_path / "volume.nii").scan is not None
