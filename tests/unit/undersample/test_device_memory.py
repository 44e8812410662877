"""Which splits a GPU holds is decided by its memory, as a table; the slices are the same either way."""

from pathlib import Path

import pytest
import torch
from tiny_runs import write_splits

from data_prep.undersample import device_memory, slices
from data_prep.undersample.device_memory import DeviceMemory, room_for_slices
from data_prep.undersample.slices import SliceStore

GB = 10**9
# Of the paper's IXI, in the order in which a training opens them.
IXI = {"train": 19.3, "val": 4.9, "test": 6.0}


def held(gigabytes: float, places: int = 1, taken: float = 0.0) -> set[str]:
    """Return which splits a training holds on a device of which others have taken some memory."""
    own, names = 0, set()
    for name, size in IXI.items():
        free = int((gigabytes - taken) * GB) - own
        if size * GB <= room_for_slices(DeviceMemory(int(gigabytes * GB), free, own, places)):
            own += int(size * GB)
            names.add(name)
    return names


@pytest.mark.parametrize(
    ("gigabytes", "places", "taken", "expected"),
    [
        (12, 1, 0, {"val"}),
        (24, 1, 0, {"val", "test"}),
        (40, 1, 0, {"train"}),
        (80, 1, 0, {"train", "val", "test"}),
        (141, 1, 0, {"train", "val", "test"}),
        # As many trainings as may share it leave each other room, whoever comes first.
        (80, 2, 0, {"train"}),
        (80, 4, 0, {"val"}),
        (141, 2, 0, {"train", "val", "test"}),
        # Others have most of it.
        (80, 1, 30, {"val"}),
        (80, 1, 60, set()),
    ],
)
def test_what_a_device_holds_of_the_paper_s_ixi(
    gigabytes: float, places: int, taken: float, expected: set[str]
) -> None:
    assert held(gigabytes, places, taken) == expected


@pytest.mark.parametrize("places", [1, 2, 3, 8])
@pytest.mark.parametrize("total", [7 * GB, 24 * GB, 141 * GB + 1])
def test_half_of_everybody_s_share_stays_free(total: int, places: int) -> None:
    room = room_for_slices(DeviceMemory(total, total, 0, places))
    assert places * room <= total - places * (total // places // 2)
    assert room_for_slices(DeviceMemory(total, total - room, room, places)) == 0


def test_the_device_and_the_lease_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.delenv(device_memory.SHARED_BY, raising=False)
    assert device_memory.device_memory(torch.device("cuda")) == DeviceMemory(100, 40, 20, 1)
    monkeypatch.setenv(device_memory.SHARED_BY, "3")
    assert device_memory.device_memory(torch.device("cuda")).places == 3


class Pretended:
    """A store's device that calls itself a GPU and is the processor."""

    type = "cuda"


@pytest.mark.parametrize("failing", [False, True])
def test_a_split_that_does_not_fit_beside_the_network_is_read_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    path = write_splits(tmp_path) / "train.h5"
    on_cpu = SliceStore(path, "cpu", 1.0)
    size = len(on_cpu) * 32 * 32 * 8
    real = SliceStore._load

    def load(store: SliceStore, values: slices._Values) -> torch.Tensor:
        store.device = torch.empty(0).device
        held = real(store, values)
        store.device = Pretended()
        if failing:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return held

    monkeypatch.setattr(SliceStore, "_load", load)
    for free, expected in ((2 * size, not failing), (2 * size - 2, False)):
        monkeypatch.setattr(slices, "device_memory", lambda _, free=free: DeviceMemory(free, free))
        with monkeypatch.context() as pretended:
            pretended.setattr(torch, "device", lambda _: Pretended())
            store = SliceStore(path, "cuda", 1.0)
        assert store.resident == expected
        store.device = torch.empty(0).device
        for one, other in zip(store.batch([5, 0]), on_cpu.batch([5, 0]), strict=True):
            assert torch.equal(one, other)
