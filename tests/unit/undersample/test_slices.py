"""The slice store returns the file's bits, held or read, and names what is wrong with a file."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from faults import failing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.errors import BadInput
from data_prep.undersample.slices import SliceStore

SHAPE = (7, 10, 9)


def arrays(dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    target = draw.normal(size=SHAPE) + (1j * draw.normal(size=SHAPE) if dtype is np.complex64 else 0)
    return target.astype(dtype), draw.random(SHAPE).astype(np.float32)


def write(path: Path, dtype: type = np.float32) -> Path:
    with h5py.File(path, "w") as file:
        file["target"], file["auxiliary"] = arrays(dtype)
        file["subject"] = ["IXI902"] * 4 + ["IXI901"] * 3
        file["slice"] = np.array([0, 1, 2, 3, 2, 1, 0], dtype=np.int32)
        file.attrs.update({"dataset": "ixi", "source": "embedded", "fingerprint": "abc"})
    return path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write(tmp_path / "train.h5")


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("indices", [[0], [5, 1, 6, 0], [2, 2, 1], [-1], range(7), np.array([3, 4])])
def test_held_and_read_batches_have_the_files_bits(tmp_path: Path, dtype: type, indices: list[int]) -> None:
    path = write(tmp_path / "train.h5", dtype)
    target, auxiliary = arrays(dtype)
    held, read = SliceStore(path, "cpu", 1.0), SliceStore(path, "cpu", 0.0)
    assert held.resident
    assert not read.resident
    wanted = list(indices)
    for store in (held, read):
        got_target, got_auxiliary = store.batch(indices)
        assert got_target.dtype == (torch.complex64 if dtype is np.complex64 else torch.float32)
        assert got_auxiliary.dtype == torch.float32
        np.testing.assert_array_equal(got_target.numpy(), target[wanted])
        np.testing.assert_array_equal(got_auxiliary.numpy(), auxiliary[wanted])


@given(st.lists(st.integers(-7, 6), min_size=1, max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_is_kept_and_repeated_slices_too(split: Path, wanted: list[int]) -> None:
    target, auxiliary = arrays()
    for resident_gigabytes in (1.0, 0.0):
        batch = SliceStore(split, "cpu", resident_gigabytes).batch(wanted)
        np.testing.assert_array_equal(batch[0].numpy(), target[wanted])
        np.testing.assert_array_equal(batch[1].numpy(), auxiliary[wanted])


@pytest.mark.parametrize("resident_gigabytes", [1.0, 0.0])
def test_slices_beyond_the_end_are_an_error(split: Path, resident_gigabytes: float) -> None:
    for index in (7, -8):
        with pytest.raises(IndexError):
            SliceStore(split, "cpu", resident_gigabytes).batch([index])


def test_a_file_cut_short_is_refused_before_training(split: Path) -> None:
    with h5py.File(split) as file:
        last = max(file[name].id.get_offset() for name in ("target", "auxiliary"))
    # HDF5 itself notices in most places, but not where the file's recorded end is beyond its values.
    content = split.read_bytes()
    for size in (last + 10, len(content) - 1, 100, 0):
        split.write_bytes(content[:size])
        with pytest.raises(BadInput, match=r"train\.h5: it .*run the step `prepare`"):
            SliceStore(split, "cpu", 0.0)


def test_a_file_cut_short_while_in_use_is_noticed(split: Path) -> None:
    store = SliceStore(split, "cpu", 0.0)
    assert store.batch([6])[0].any()
    os.truncate(split, 3000)
    with pytest.raises(BadInput, match=r"train\.h5: it ends before its last slice"):
        store.batch([6])


def test_a_disk_that_fails_while_in_use_is_told_as_such(split: Path) -> None:
    store = SliceStore(split, "cpu", 0.0)
    with failing(store._file.fileno()), pytest.raises(OSError, match="Input/output error") as caught:
        store.batch([3])
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(split))
    # It was not the file.
    np.testing.assert_array_equal(store.batch([3])[0].numpy(), arrays()[0][[3]])


def test_slices_that_arrive_in_pieces_are_whole(split: Path) -> None:
    """A network's folder may give less than was asked for."""

    class Pieces(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(memoryview(buffer).cast("B")[:100])

    store = SliceStore(split, "cpu", 0.0)
    store._file = Pieces(split)
    np.testing.assert_array_equal(store.batch([5, 0])[0].numpy(), arrays()[0][[5, 0]])


def test_large_splits_are_loaded_in_blocks(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.undersample.slices._BLOCK_BYTES", 3 * 10 * 9 * 4)
    np.testing.assert_array_equal(SliceStore(split, "cpu", 1.0).batch(range(7))[0].numpy(), arrays()[0])


def test_describes_its_slices(split: Path) -> None:
    store = SliceStore(split, "cpu", 1.0)
    assert (len(store), store.height, store.width) == (7, 10, 9)
    assert (store.dataset, store.source, store.fingerprint) == ("ixi", "embedded", "abc")
    assert store.subjects == ["IXI902"] * 4 + ["IXI901"] * 3
    assert store.slice_indices == [0, 1, 2, 3, 2, 1, 0]
    assert store.volumes() == {"IXI901": [6, 5, 4], "IXI902": [0, 1, 2, 3]}
    assert list(store.volumes()) == ["IXI901", "IXI902"]


def test_the_limit_counts_both_images(split: Path) -> None:
    gigabytes = 2 * np.prod(SHAPE) * 4 / 1e9
    assert SliceStore(split, "cpu", gigabytes * 1.001).resident
    assert not SliceStore(split, "cpu", gigabytes * 0.999).resident


def test_a_batch_is_a_copy(split: Path) -> None:
    store = SliceStore(split, "cpu", 1.0)
    store.batch([1])[0].zero_()
    assert store.batch([1])[0].any()


def test_a_resident_store_outlives_its_file(split: Path) -> None:
    store = SliceStore(split, "cpu", 1.0)
    store.close()
    split.unlink()
    assert store.batch([0])[0].any()


@pytest.mark.parametrize("resident_gigabytes", [1.0, 0.0])
@pytest.mark.parametrize(("name", "value"), [("target", np.nan), ("auxiliary", np.inf)])
def test_values_that_are_not_finite_are_refused(
    split: Path, resident_gigabytes: float, name: str, value: float
) -> None:
    with h5py.File(split, "r+") as file:
        file[name][5, 2, 2] = value
    with pytest.raises(BadInput, match=rf"train\.h5: {name} of subject IXI901, slice 1, holds NaN"):
        SliceStore(split, "cpu", resident_gigabytes).batch([0, 5])


def replace(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def in_chunks(file: h5py.File) -> None:
    values = file["target"][()]
    del file["target"]
    file.create_dataset("target", data=values, chunks=(1, *SHAPE[1:]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("target"), "dataset `target` is missing"),
        (lambda file: file.pop("auxiliary"), "dataset `auxiliary` is missing"),
        (lambda file: file.pop("subject"), "dataset `subject` is missing"),
        (lambda file: file.pop("slice"), "dataset `slice` is missing"),
        (lambda file: file.attrs.pop("fingerprint"), "attribute `fingerprint` is missing"),
        (replace("auxiliary", np.zeros((7, 10, 8), np.float32)), "must be .slice, height, width. and agree"),
        (replace("slice", np.arange(6)), "`slice` has shape .6,., not one entry per slice, .7,."),
        (replace("target", np.zeros((7, 90), np.float32)), "`target` .7, 90. must be"),
        (in_chunks, "`target` is not stored in one piece"),
        (replace("slice", np.zeros(7)), "`slice` is float64, not what `prepare` writes"),
        (lambda file: file.attrs.update(fingerprint=3), "attribute `fingerprint` is missing"),
        (replace("target", np.zeros(SHAPE)), "`target` is float64, not float32 or complex64"),
        (replace("auxiliary", np.zeros(SHAPE, np.complex64)), "`auxiliary` is complex64, not float32"),
    ],
)
def test_broken_files_are_named(split: Path, change: Callable[[h5py.File], None], message: str) -> None:
    with h5py.File(split, "r+") as file:
        change(file)
    with pytest.raises(BadInput, match=rf"train\.h5: .*{message}.*run the step `prepare`"):
        SliceStore(split, "cpu", 1.0)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"val\.h5: the file is missing"):
        SliceStore(tmp_path / "val.h5", "cpu", 1.0)
    (tmp_path / "val.h5").write_text("no slices")
    with pytest.raises(BadInput, match=r"val\.h5: it is truncated or no HDF5 file"):
        SliceStore(tmp_path / "val.h5", "cpu", 1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("resident_gigabytes", [1.0, 0.0])
def test_batches_reach_the_gpu_unchanged(split: Path, resident_gigabytes: float) -> None:
    target, auxiliary = SliceStore(split, "cuda", resident_gigabytes).batch([4, 0, 4])
    assert target.is_cuda
    assert auxiliary.is_cuda
    np.testing.assert_array_equal(target.cpu().numpy(), arrays()[0][[4, 0, 4]])
    np.testing.assert_array_equal(auxiliary.cpu().numpy(), arrays()[1][[4, 0, 4]])
