"""Checkpoints: whole or refused, with their origin."""

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.serialization import StorageType

from data_prep.errors import BadInput, reading
from data_prep.io.archives import DAMAGE
from data_prep.io.files import replacing
from data_prep.io.json_files import check_fields
from methods.contract import ReconstructionModel
from workflow.run.spec import RunSpec

AGAIN = "delete it and run the workflow again"
_OF_PICKLES = (pickle.UnpicklingError, AttributeError, TypeError, AssertionError)
_LONGEST_PICKLE = 2**22  # bytes: of names, shapes and history; the values are stored beside it
# Tied weights are stored once, and expanded ones as a few numbers.
_MOST_TIMES, _SMALL = 16, 2**26  # bytes claimed for each stored one; what any file may claim


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """Write a file that ``torch.load(weights_only=True)`` reads: complete under its name, or not at all."""
    # In memory first: torch's own writer reports a disk that fills up as an internal error. (Given a path, it
    # would also write the temporary name into the archive.)
    archive = io.BytesIO()
    torch.save(dict(content), archive)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(archive.getbuffer())
        file.flush()
        # Otherwise a power cut may leave the name on an empty file.
        os.fsync(file.fileno())


def load_whole(path: Path) -> dict[str, Any]:
    """Read what ``save_atomically`` wrote, onto the CPU.

    Raises:
        BadInput: the file is missing, damaged or foreign.
        OSError: the system cannot read it now, or has no memory left for it.
    """
    absent, damage = "no such checkpoint; train the method first", (*DAMAGE, *_OF_PICKLES)
    # Opened once: of a path, torch's own reader tells the system's faults as damage.
    with reading(path, absent, "it is not whole, or no checkpoint", AGAIN, damage), path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            _check_claims(archive, os.fstat(file.fileno()).st_size)
            # torch compares no checksums: most damage would become wrong weights.
            if archive.testzip() is not None:
                raise ValueError("a checksum does not fit")
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        return content


def _check_claims(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse a checkpoint that claims more than its file of ``size`` bytes holds.

    torch believes what it is told: it would unpack, reserve, or read beyond the end of what is stored.
    """
    members = archive.infolist()
    packed = any(member.compress_type or member.file_size != member.compress_size for member in members)
    if packed or sum(member.file_size for member in members) > size:
        raise ValueError("it does not store its members as they are")
    sizes = {member.filename: member.file_size for member in members}
    (name,) = (name for name in sizes if name.endswith("/data.pkl"))
    if sizes[name] > _LONGEST_PICKLE:
        raise ValueError(f"{name} is larger than {_LONGEST_PICKLE} bytes")
    claims = _Claims(archive.read(name), {key.partition("/data/")[2]: of for key, of in sizes.items()})
    claims.load()
    if claims.claimed > max(_MOST_TIMES * size, _SMALL):
        raise ValueError(f"its tensors claim {claims.claimed} bytes")


# Python's, because the memory that C's takes depends on a number in the file.
class _Claims(pickle._Unpickler):
    """Reads a checkpoint as ``torch.load`` does, but makes no tensor: it adds up what they claim."""

    def __init__(self, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self.sizes, self.claimed = sizes, 0

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for what tensors are made of; nothing else is in a state of training."""
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor,
            "torch.storage.UntypedStorage": 1,
        }
        if module == "torch" and name.endswith("Storage"):
            # torch gives it no types.
            stored: Any = StorageType(name)  # type: ignore[no-untyped-call]
            return stored.dtype.itemsize
        if f"{module}.{name}" not in known:
            raise ValueError(f"it holds a {module}.{name}")
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> tuple[int, int]:
        """Return bytes and bytes per element of a storage, which are those of its member."""
        _, itemsize, key, _, count = pid
        if self.sizes[key] != itemsize * count:
            raise ValueError(f"storage {key} is not of the size that it claims")
        return self.sizes[key], itemsize

    def tensor(
        self,
        storage: tuple[int, int],
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        *more: Any,
    ) -> None:
        """Count a tensor, which must lie within its storage."""
        stored, itemsize = storage
        itemsize = next((of.itemsize for of in more if isinstance(of, torch.dtype)), itemsize)
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if min((offset, *shape, *stride)) < 0 or (0 not in shape and (last + 1) * itemsize > stored):
            raise ValueError("a tensor lies outside its storage")
        self.claimed += math.prod(shape) * itemsize


@dataclass(frozen=True)
class Origin:
    """What a network's weights come from; by default from no training.

    Attributes:
        training_hash: of the training.
        status: how it ended: ``finished`` or ``diverged``.
    """

    training_hash: str | None = None
    status: str = "finished"


def save_checkpoint(model: ReconstructionModel, spec: RunSpec, origin: Origin, path: Path) -> None:
    """Write model.ckpt: the weights and what they come from. Equal trainings give equal bytes."""
    content = {
        "state_dict": {name: value.cpu() for name, value in model.state_dict().items()},
        "spec": spec.training_part(),
        **asdict(origin),
    }
    save_atomically(content, path)


def load_checkpoint(model: ReconstructionModel, spec: RunSpec, path: Path) -> Origin:
    """Load weights into a model built from ``spec`` and return what they come from.

    Raises:
        BadInput: no checkpoint of this method with these parameters, or a damaged one.
    """
    stored = load_whole(path)
    needed = {"spec.folder": str, "spec.parameters": dict, "state_dict": dict}
    check_fields(stored, needed | {"training_hash": str | None, "status": str}, path, AGAIN)
    for name in ("folder", "parameters"):
        mine, theirs = getattr(spec, name), stored["spec"][name]
        if mine != theirs:
            raise BadInput(
                f"{path}: field {name} is {theirs}, but the spec says {mine}; "
                "give the spec it was trained with"
            )
    try:
        model.load_state_dict(stored["state_dict"])
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: field state_dict does not fit the method ({said}); {AGAIN}") from error
    return Origin(stored["training_hash"], stored["status"])
