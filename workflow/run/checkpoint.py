"""Checkpoints: whole or refused, with their origin."""

import io
import json
import math
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

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
_LONGEST_ENTRY = 100_000  # characters of a spec or a card
# Tied weights are stored once, and expanded ones as a few numbers.
_MOST_TIMES, _SMALL = 16, 2**26  # bytes claimed for each stored one; what any file may claim
_DEEPEST, _MOST_AXES = 64, 64  # of values within values; of a tensor
# What torch writes and reads; others take memory by a number in the file, or hash what they read.
_NAMES = (
    "PROTO STOP MARK GLOBAL BINPERSID REDUCE BUILD EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINUNICODE BINGET LONG_BINGET BINPUT LONG_BINPUT"
)
_CODES = [getattr(pickle, name)[0] for name in _NAMES.split()]
_INSTRUCTIONS: dict[int, Any] = {code: pickle._Unpickler.dispatch[code] for code in _CODES}


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
    _check_values(claims.load())
    if claims.claimed > max(_MOST_TIMES * size, _SMALL):
        raise ValueError(f"its tensors claim {claims.claimed} bytes")


def _check_values(content: Any) -> None:
    """Refuse values that are small as a pickle and large for everybody who goes through them.

    A pickle names by a number what it holds already: a list of a list twice, and so on, doubles with every
    few bytes, and what holds itself has no end.
    """
    claimed, values = 0, [content]
    for _ in range(_DEEPEST):
        claimed += sum(map(sys.getsizeof, values))
        if claimed > _SMALL:
            raise ValueError(f"its values claim more than {_SMALL} bytes")
        values = [inner for value in values for inner in _within(value)]
    if values:
        raise ValueError(f"its values lie within each other more than {_DEEPEST} deep")


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return chain(value, value.values())
    return value if isinstance(value, list | tuple) else ()


# Python's, because the memory that C's takes depends on a number in the file.
class _Claims(pickle._Unpickler):
    """Reads a checkpoint as ``torch.load`` does, but makes no tensor: it adds up what they claim."""

    stack: list[Any]

    def __init__(self, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self.sizes, self.claimed = sizes, 0

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for what tensors are made of; nothing else is in a state of training."""
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        known: dict[str, Any] = {
            "collections.OrderedDict": self.mapping,
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

    def mapping(self) -> OrderedDict[Any, Any]:
        """Return what will hold a ``state_dict``."""
        return OrderedDict()

    def load_setitem(self) -> None:
        """Set one value, by a name or a number."""
        self._check_keys(self.stack[-2:-1])
        _INSTRUCTIONS[pickle.SETITEM[0]](self)

    def load_setitems(self) -> None:
        """Set values, by names or numbers."""
        self._check_keys(self.stack[::2])
        _INSTRUCTIONS[pickle.SETITEMS[0]](self)

    def _check_keys(self, keys: list[Any]) -> None:
        # The hash of a tuple of tuples goes through all of them, as often as they are named.
        if not all(isinstance(key, str | int) for key in keys):
            raise ValueError("a key is neither a text nor a whole number")

    def load_build(self) -> None:
        """Give a ``state_dict`` its versions; whatever else would hide what mappings can do."""
        if not isinstance(self.stack[-2], OrderedDict) or list(self.stack[-1]) != ["_metadata"]:
            raise ValueError("it gives an object more than its versions")
        _INSTRUCTIONS[pickle.BUILD[0]](self)

    dispatch: ClassVar[dict[int, Any]] = {
        **_INSTRUCTIONS,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.BUILD[0]: load_build,
    }

    def persistent_load(self, pid: Any) -> tuple[int, int]:
        """Return bytes and bytes per element of a storage, which are those of its member."""
        _, itemsize, key, _, count = pid
        if not (isinstance(key, str) and isinstance(itemsize, int) and isinstance(count, int)):
            raise ValueError("a storage is not told by name and size")
        if self.sizes[key] != itemsize * count:
            raise ValueError(f"storage {key} is not of the size that it claims")
        return self.sizes[key], itemsize

    def tensor(
        self,
        storage: tuple[int, int],
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        grad: bool,
        hooks: Any,
        kind: Any = None,
        metadata: Any = None,
    ) -> None:
        """Count a tensor, which must lie within its storage."""
        stored, itemsize = storage
        itemsize = kind.itemsize if isinstance(kind, torch.dtype) else itemsize
        if len(shape) > _MOST_AXES or not all(isinstance(n, int) for n in (offset, *shape, *stride)):
            raise ValueError("a tensor is of no shape")
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if min((offset, *shape, *stride)) < 0 or (0 not in shape and (last + 1) * itemsize > stored):
            raise ValueError("a tensor lies outside its storage")
        self.claimed += math.prod(shape) * itemsize


def plain(content: Mapping[str, Any], name: str, path: Path, remedy: str) -> str:
    """Return an entry of a checkpoint that holds texts and numbers, as JSON.

    Args:
        content: of the checkpoint.
        name: of the entry.
        path: the file, for messages.
        remedy: what to do with it if the entry is no such one.

    Raises:
        BadInput: it holds something else, such as a tensor, or more than any such entry.
    """
    try:
        text = json.dumps(content[name])
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{path}: field {name} holds more than texts and numbers ({error}); {remedy}"
        ) from error
    if len(text) > _LONGEST_ENTRY:
        raise BadInput(f"{path}: its {name} is longer than {_LONGEST_ENTRY} characters; {remedy}")
    return text


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
    needed = {"spec.folder": str, "spec.parameters": dict, "state_dict": dict[str, torch.Tensor]}
    check_fields(stored, needed | {"training_hash": str | None, "status": str}, path, AGAIN)
    plain(stored, "spec", path, AGAIN)
    for name in ("folder", "parameters"):
        mine, theirs = getattr(spec, name), stored["spec"][name]
        if mine != theirs:
            raise BadInput(
                f"{path}: field {name} is {theirs}, but the spec says {mine}; "
                "give the spec it was trained with"
            )
    try:
        # Without what it may carry beside: no version of torch's modules was written.
        model.load_state_dict(dict(stored["state_dict"]))
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: field state_dict does not fit the method ({said}); {AGAIN}") from error
    return Origin(stored["training_hash"], stored["status"])
