"""Checkpoints: whole or refused, with their origin."""

import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.errors import BadInput, reading
from data_prep.io.archives import DAMAGE
from data_prep.io.files import replacing
from data_prep.io.json_files import check_fields
from methods.contract import ReconstructionModel
from workflow.run.spec import RunSpec

AGAIN = "delete it and run the workflow again"


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
    absent, damage = "no such checkpoint; train the method first", (*DAMAGE, pickle.UnpicklingError)
    # Opened once: of a path, torch's own reader tells the system's faults as damage.
    with reading(path, absent, "it is not whole, or no checkpoint", AGAIN, damage), path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            # torch compares no checksums: most damage would become wrong weights.
            if archive.testzip() is not None:
                raise ValueError("a checksum does not fit")
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        return content


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
