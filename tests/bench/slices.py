"""Reading prepared slices, against the plain ways to read them."""

from pathlib import Path

import h5py
import numpy as np
import torch

from data_prep.undersample.slices import SliceStore
from tests.bench.common import SEED, Work, fastest, seconds_text, table, write_split

STORED_SLICES, STORED_SIDE, STORED_BATCH = 96, 256, 8


def bench_slices(folder: Path, seconds: float) -> None:
    """Compare random batches from a prepared file with the plain ways to read one; all is in memory.

    "All is in memory" is the system's cache: the same state for every way.
    """
    # As h5py, and as trainings beside each other.
    torch.set_num_threads(1)
    path = write_split(folder / "val.h5", STORED_SLICES, STORED_SIDE)
    zipped = write_split(
        folder / "zipped.h5",
        STORED_SLICES,
        STORED_SIDE,
        chunks=(1, STORED_SIDE, STORED_SIDE),
        compression="gzip",
    )
    order = np.random.default_rng(SEED).permutation(STORED_SLICES).tolist()
    batches = [order[i : i + STORED_BATCH] for i in range(0, STORED_SLICES, STORED_BATCH)]
    resident, streaming = SliceStore(path, "cpu", 8.0), SliceStore(path, "cpu", 0.0)

    def all_batches(store: SliceStore) -> None:
        for batch in batches:
            store.batch(batch)

    def item_by_item() -> None:
        with h5py.File(zipped) as file:
            for batch in batches:
                for name in ("target", "auxiliary"):
                    torch.from_numpy(np.stack([file[name][i] for i in batch]))

    def at_one_go() -> None:
        with h5py.File(path) as file:
            for name in ("target", "auxiliary"):
                torch.from_numpy(file[name][()])

    works: dict[str, Work] = {
        "product, resident: each epoch": lambda: all_batches(resident),
        "product, resident: loading, once": lambda: SliceStore(path, "cpu", 8.0).close(),
        "product, streaming: each epoch": lambda: all_batches(streaming),
        "(a) plain: one read per item, gzip": item_by_item,
        "(b) plain: one read of the whole file": at_one_go,
    }
    spent = fastest(list(works.values()), torch.device("cpu"), seconds)
    item, whole = spent[-2:]
    rows = [
        [
            name,
            seconds_text(value),
            f"{STORED_SLICES / value:.3g}",
            f"{item / value:.1f}",
            f"{whole / value:.2f}",
        ]
        for name, value in zip(works, spent, strict=True)
    ]
    table(
        f"Read {STORED_SLICES} shuffled pairs of {STORED_SIDE}x{STORED_SIDE} in batches of {STORED_BATCH}: "
        "goals: 10 times (a), 0.5 times (b)",
        ["way", "time", "slices per second", "times (a)", "times (b)"],
        rows,
    )
