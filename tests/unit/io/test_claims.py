"""What a file claims to be is compared with what it holds, before memory is taken for it."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from knee_phantom import write_published

from data_prep.datasets.fastmri.pairs import read_pair_list
from data_prep.datasets.fastmri.scans import open_scan, parse_header
from data_prep.datasets.ixi.report import _read_picture
from data_prep.errors import BadInput
from data_prep.io.archives import read_npz
from data_prep.io.files import read_rows
from data_prep.io.frames import read_csv, read_parquet
from data_prep.io.json_files import from_json, read_json
from data_prep.volumes import load_volume
from workflow.run.checkpoint import load_whole, save_atomically

MEGABYTE = 2**20
MOST = 64 * MEGABYTE  # of memory, for a file of some kilobytes


def scan(path: Path, voxels: int = 8, **fields: tuple[int, str, float]) -> None:
    """Write a NIfTI scan whose header then says otherwise: byte, format and value of a field."""
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 9, (8, 8, voxels), np.int16), np.eye(4))
    image.set_qform(np.eye(4), code=1)
    content = bytearray(image.to_bytes())
    for at, kind, value in fields.values():
        struct.pack_into(kind, content, at, value)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def far_scan(path: Path) -> None:
    scan(path, offset=(108, "<f", 4e11))
    # Enough to be read for a long time on the way to the first voxel.
    with path.open("ab") as file:
        file.write(gzip.compress(bytes(200 * MEGABYTE), 1))


def large_scan(path: Path) -> None:
    scan(path, x=(42, "<h", 500), y=(44, "<h", 500), z=(46, "<h", 500))


def array(shape: tuple[int, ...], content: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def npz(path: Path, shape: tuple[int, ...], content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", array(shape, content))


def checkpoint(path: Path, **options: Any) -> None:
    """Write a checkpoint of one weight, packed anew, or with other bytes in place of those that it has."""
    save_atomically({"a": torch.ones(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", options.get("packed", zipfile.ZIP_STORED)) as archive:
        for name, content in members.items():
            old, new = options.get("swap", (b"", b""))
            archive.writestr(name, content.replace(old, new) if old else content)


def doubled(times: int) -> list[Any]:
    """A list of 2**times numbers, of which each level is stored once."""
    values: list[Any] = [0]
    for _ in range(times):
        values = [values, values]
    return values


def endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


def pickled(path: Path, *instructions: bytes) -> None:
    """Write a checkpoint of one storage, a, whose pickle is of these instructions, begun with a mapping."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + b"".join(instructions) + b".")
        archive.writestr("archive/data/a", b"1234")


def twice(number: int) -> bytes:
    """Put a tuple of what has a number, twice, and give it the next number."""
    return b"h%ch%c\x86q%c" % (number, number, number + 1)


def storage(count: bytes) -> tuple[bytes, ...]:
    """Read the storage a as so many elements of 2**28 bytes each."""
    size, text = b"J\x00\x00\x00\x10", b"X\x07\x00\x00\x00storage"
    return (text, b"(", text, size, b"X\x01\x00\x00\x00aX\x03\x00\x00\x00cpu", count, b"tQs")


def knee(path: Path, change: Callable[[h5py.File], None]) -> None:
    write_published(path)
    with h5py.File(path, "r+") as file:
        change(file)


def unwritten(file: h5py.File) -> None:
    """A volume of 1.9 GB of which nothing is stored."""
    del file["kspace"]
    file.create_dataset("kspace", (1000, 640, 368), np.complex64, chunks=(1, 640, 368), compression="gzip")


def table(path: Path) -> None:
    pd.DataFrame({"a": np.zeros(2**22), "b": np.zeros(2**22)}).to_parquet(path, index=False)


def packed_table(path: Path) -> None:
    pd.DataFrame({"a": ["x" * 2**24]}).to_parquet(path, index=False, compression="zstd")


def csv(path: Path) -> Any:
    return read_csv(path, {"a": "string"}, "make it", "make it again")


def one_npz(path: Path) -> Any:
    return read_npz(path, ["a"], "no such file; make it", "make it again")


def as_text(path: Path) -> Any:
    return from_json(dict[str, Any], path.read_text(), str(path), "mend it")


def picture(path: Path) -> None:
    """A picture of 30,000 x 30,000 pixels, by its header."""
    head = b"IHDR" + struct.pack(">2I5B", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = (head, b"IDAT" + zlib.compress(b""), b"IEND")
    chunks = (struct.pack(">I", len(of) - 4) + of + struct.pack(">I", zlib.crc32(of)) for of in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


BOMBS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any], str]] = {
    "offset": ("a.nii.gz", far_scan, load_volume, "vox_offset is 399999"),
    "dimensions": ("a.nii.gz", large_scan, load_volume, "truncated"),
    "npz of terabytes": ("a.npz", lambda path: npz(path, (2**39,), bytes(8)), one_npz, "not of the size"),
    "npz of a gigabyte": (
        "a.npz",
        lambda path: npz(path, (2**25,), bytes(2**28)),
        one_npz,
        "larger than any such file",
    ),
    "packed checkpoint": (
        "a.ckpt",
        lambda path: checkpoint(path, packed=zipfile.ZIP_DEFLATED),
        load_whole,
        "does not store its members",
    ),
    # M\xe8\x03 is 1000 in a pickle, M\xe9\x03 is 1001: one number beyond the end of what is stored.
    "storage beyond its end": (
        "a.ckpt",
        lambda path: checkpoint(path, swap=(b"M\xe8\x03", b"M\xe9\x03")),
        load_whole,
        "storage 0 is not of the size",
    ),
    "a number for a gigabyte": (
        "a.ckpt",
        lambda path: save_atomically({"a": torch.ones(1).expand(2**28)}, path),
        load_whole,
        "claim 1073741824 bytes",
    ),
    "sparse weights": (
        "a.ckpt",
        lambda path: save_atomically({"a": torch.sparse_coo_tensor(size=(2**20, 2**10))}, path),
        load_whole,
        "holds a torch._utils._rebuild_sparse_tensor",
    ),
    "values that double": (
        "a.ckpt",
        lambda path: save_atomically({"card": {"training": doubled(60)}}, path),
        load_whole,
        "its values claim more than 67108864 bytes",
    ),
    "a text many times": (
        "a.ckpt",
        lambda path: save_atomically({"card": ["x" * 10_000] * 10_000}, path),
        load_whole,
        "its values claim more than 67108864 bytes",
    ),
    "values without end": (
        "a.ckpt",
        lambda path: save_atomically({"card": endless()}, path),
        load_whole,
        "within each other more than 64 deep",
    ),
    # Its hash is as long as what it stands for.
    "a key that doubles": (
        "a.ckpt",
        lambda path: pickled(path, b"K\x00\x85q\x00", *map(twice, range(60)), b"}h\x3cK\x00s"),
        load_whole,
        "a key is neither a text nor a whole number",
    ),
    "one of many keys that doubles": (
        "a.ckpt",
        lambda path: pickled(path, b"(K\x00\x85q\x00", *map(twice, range(61)), b"K\x00u"),
        load_whole,
        "a key is neither a text nor a whole number",
    ),
    "a set of what doubles": (
        "a.ckpt",
        lambda path: pickled(path, b"(K\x00\x85q\x00", *map(twice, range(61)), b"\x91"),
        load_whole,
        "it is not whole, or no checkpoint",
    ),
    # The number of bytes comes before them, and none follow.
    "bytes by a number": (
        "a.ckpt",
        lambda path: pickled(path, b"\x96" + struct.pack("<Q", 2**28)),
        load_whole,
        "it is not whole, or no checkpoint",
    ),
    "a storage times a list": (
        "a.ckpt",
        lambda path: pickled(path, *storage(b"]K\x00a")),
        load_whole,
        "a storage is not told by name and size",
    ),
    "a tensor of many axes": (
        "a.ckpt",
        lambda path: save_atomically({"a": torch.ones(1).expand((1,) * 100)}, path),
        load_whole,
        "a tensor is of no shape",
    ),
    "number of many digits": (
        "a.json",
        lambda path: path.write_text("9" * 5000) and None,
        read_json,
        "5000 digits",
    ),
    "option of many digits": (
        "a.json",
        lambda path: path.write_text('{"a": ' + "9" * 5000 + "}") and None,
        as_text,
        "5000 digits",
    ),
    "large JSON": ("a.json", lambda path: os.truncate(path, 2**26), read_json, "larger than"),
    "rows of nothing": (
        "a.parquet",
        table,
        lambda path: read_parquet(path, "x"),
        "more rows than it can hold",
    ),
    "packed rows": ("a.parquet", packed_table, lambda path: read_parquet(path, "x"), "compressed as no such"),
    "cells": ("a.csv", lambda path: path.write_text("a" + "," * 10**6) and None, csv, "more than 1000 cells"),
    "large table": ("a.csv", lambda path: os.truncate(path, 2**28), csv, "larger than"),
    "large rows": (
        "a.csv",
        lambda path: os.truncate(path, 2**28),
        lambda p: read_rows(p, "", ""),
        "larger than",
    ),
    "large pair list": ("a.csv", lambda path: os.truncate(path, 2**28), read_pair_list, "larger than"),
    "pixels": ("a.png", picture, _read_picture, "no picture"),
    "chunks that nobody wrote": (
        "a.h5",
        lambda path: knee(path, unwritten),
        open_scan,
        "larger than any knee",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_file_cannot_hold_is_refused_by_name_and_takes_no_memory(name: str, tmp_path: Path) -> None:
    file, write, read, said = BOMBS[name]
    path = tmp_path / file
    path.touch()
    write(path)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=rf"{file}: .*{said}") as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_tied_and_expanded_weights_and_every_type_of_number_are_taken(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    kinds = [torch.float64, torch.bfloat16, torch.uint16, torch.bool, torch.complex64, torch.float8_e4m3fn]
    content = {"a": weight, "b": weight.T, "c": torch.ones(1).expand(500, 500), "d": torch.tensor(2.0)}
    content |= {str(kind): torch.ones(3).to(kind) for kind in kinds} | {"empty": torch.ones(0, 3)}
    save_atomically(content, tmp_path / "a.ckpt")
    read = load_whole(tmp_path / "a.ckpt")
    assert list(read) == list(content)
    assert all(torch.equal(read[name], of) for name, of in content.items() if name != "c")


def test_the_state_of_a_long_training_is_taken(tmp_path: Path) -> None:
    """With a long history, an optimiser's numbers, and the versions that torch keeps beside the weights."""
    names = ("epoch", "train_loss", "val_loss", "val_psnr", "learning_rate", "seconds")
    history = [{name: float(epoch) + place for place, name in enumerate(names)} for epoch in range(20_000)]
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 1, 5, 5)).sum().backward()
    optimiser.step()
    states = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    save_atomically({"progress": {"history": history}, **states}, tmp_path / "a.pt")
    read = load_whole(tmp_path / "a.pt")
    assert read["progress"]["history"] == history
    assert read["model"]._metadata == states["model"]._metadata
    optimiser.load_state_dict(read["optimiser"])


def test_scaled_voxels_are_those_that_nibabel_reads(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 900, (6, 5, 4)).astype(">i2"), np.eye(4))
    image.set_qform(np.eye(4), code=1)
    image.header.set_slope_inter(0.37, 2)
    nibabel.save(image, tmp_path / "a.nii")
    expected = np.asanyarray(nibabel.load(tmp_path / "a.nii").dataobj).astype(np.float32)
    assert np.array_equal(load_volume(tmp_path / "a.nii").data, expected)


def test_a_long_text_in_place_of_a_number_is_read_in_no_time(tmp_path: Path) -> None:
    header = write_published(tmp_path / "a.h5")
    with h5py.File(header) as file:
        xml = file["ismrmrd_header"][()]
    first = xml.index(b"<x>") + 3
    long = xml[:first] + b"1" * 200_000 + b"x" + xml[xml.index(b"</x>") :]
    with pytest.raises(BadInput, match="not a number"):
        parse_header(long, header)


@pytest.mark.parametrize(("file", "read"), [("a.json", read_json), ("a.csv", csv), ("a.ckpt", load_whole)])
def test_a_pipe_or_a_device_in_place_of_a_file_is_named_and_not_waited_for(
    file: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / file
    os.mkfifo(path)
    with pytest.raises(BadInput, match=rf"{file}: it is a pipe or a device and no file"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(BadInput, match=rf"{file}: it is a pipe or a device and no file"):
        read(path)
