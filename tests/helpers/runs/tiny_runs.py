"""Tiny splits, masks and specs for tests of training and evaluation."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_prep.masks.sets import make_masks
from workflow.run.spec import RunSpec

SIDE = 32
SUBJECTS = {"train": ("IXI901", "IXI902", "IXI903"), "val": ("IXI904",), "test": ("IXI906", "IXI905")}
MASKS = {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"}


def write_splits(folder: Path, dataset: str = "ixi", slices: int = 4, gain: float = 1.0) -> Path:
    """Write data/<dataset>/{train,val,test}.h5 and return that folder; ``gain`` scales the target."""
    generator = np.random.default_rng(7)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    head = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * 100.0
    for split, subjects in SUBJECTS.items():
        count = len(subjects) * slices
        waves = generator.uniform(3, 9, (count, 2, 1, 1))
        texture = np.sin(waves[:, 0] * x) * np.cos(waves[:, 1] * y)
        target = (gain * head * (1 + 0.4 * texture)).astype(np.float32)
        auxiliary = (head * (1 - 0.3 * texture)).astype(np.float32)
        if dataset == "fastmri":
            target = (target * np.exp(1j * (x + y))).astype(np.complex64)
        path = folder / "data" / dataset / f"{split}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["target"], file["auxiliary"] = target, auxiliary
            names = [name for name in subjects for _ in range(slices)]
            file.create_dataset("subject", data=names, dtype=h5py.string_dtype())
            file["slice"] = np.tile(np.arange(slices, dtype=np.int32), len(subjects))
            file.attrs.update(
                dataset=dataset,
                source="embedded",
                split=split,
                height=SIDE,
                width=SIDE,
                fingerprint=hashlib.sha256(target.tobytes() + auxiliary.tobytes()).hexdigest(),
            )
    return folder / "data" / dataset


def write_mask(folder: Path, dataset: str = "ixi", name: str | None = None) -> Path:
    """Write one mask set and return its file."""
    name = name or MASKS[dataset]
    files = sorted(subject for subjects in SUBJECTS.values() for subject in subjects)
    masks = make_masks(name, SIDE, SIDE, 2022, files if dataset == "fastmri" else ())
    path = folder / f"{name}.npz"
    np.savez(path, name=np.array(name), mask=masks.mask, files=np.array(masks.files, dtype=np.str_))
    return path


def spec_content(**changes: Any) -> dict[str, Any]:
    """Return the content of a spec of a very small U-Net; dotted keys change nested values."""
    content: dict[str, Any] = {
        "dataset": "ixi",
        "mask": MASKS["ixi"],
        "method": "unet",
        "folder": "unet",
        "seed": 0,
        "trainable": True,
        "parameters": {"channels": 2, "pools": 2, "dropout": 0.1},
        "optimiser": {"name": "adam", "lr": 0.01, "betas": [0.9, 0.999]},
        "noise": 0.1,
        "base_seed": 2022,
        "training": {
            "epochs": 3,
            "batch_size": 5,
            "threads": 1,
            "schedule": "cosine",
            "precision": "32-true",
            "resident_gigabytes": 8.0,
        },
        "examples": 1,
    }
    for key, value in changes.items():
        place, _, name = key.rpartition("__")
        (content[place] if place else content)[name] = value
    return content


def tiny_spec(**changes: Any) -> RunSpec:
    """Return the checked spec of ``spec_content``."""
    return RunSpec.from_json(json.dumps(spec_content(**changes)))


def zero_filling_spec(**changes: Any) -> RunSpec:
    """Return the spec of zero filling."""
    untrained = {"method": "zf", "folder": "zf", "trainable": False, "parameters": {}, "optimiser": {}}
    return tiny_spec(**untrained, **changes)
