"""Trained weights that travel: one file with network, mask, and a card that says what they are.

The file is a checkpoint like ``model.ckpt`` and is read in the same way: nothing in it is run, and nothing is
believed that its size does not bear out.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.errors import BadInput
from data_prep.io.json_files import check_fields, from_json
from data_prep.masks.from_file import register_unknown
from data_prep.masks.sets import SMALLEST, MaskSet
from methods.contract import ReconstructionModel
from methods.registry import discover
from workflow.run.checkpoint import AGAIN, load_checkpoint, load_whole, plain, save_atomically
from workflow.run.finished import Finished, read_finished
from workflow.run.model import build_model
from workflow.run.spec import RunSpec

_AGAIN = "get the file again from who packed it"
_LARGEST = (
    4096  # whole number among a network's parameters: as many layers are built before sizes are compared
)


@dataclass(frozen=True)
class Card:
    """What people should know about weights before they use them.

    Attributes:
        method: id and name.
        data: what it was trained on, and how many slices of how many subjects.
        source: ``embedded`` or ``published``.
        sampling: the mask, and how many times fewer samples it takes.
        matrix: height and width of the slices.
        training: how it was trained, by name.
        scores: on the test split: metric -> mean and standard deviation over volumes.
        volumes: of the test split.
        made_by: versions of code and packages, and the device.
        licence: of the weights.
        intended_use: what they are for.
        fingerprint: of the test split.
    """

    method: str
    data: str
    source: str
    sampling: str
    matrix: int
    training: dict[str, Any]
    scores: dict[str, tuple[float, float]]
    volumes: int
    made_by: dict[str, str]
    licence: str
    intended_use: str
    fingerprint: str


def pack(run: Finished, card: Card, path: Path) -> None:
    """Write a run's weights with its spec, mask and card.

    Raises:
        BadInput: the weights are damaged, or were replaced since the run was read.
    """
    assert run.checkpoint is not None
    content = load_whole(run.checkpoint)
    run.check_kept()
    # Masks that are drawn for each subject are drawn anew; names of subjects are nobody's business.
    mask = np.zeros((0, run.side), np.uint8) if run.masks.drawn else run.masks.mask.astype(np.uint8)
    content |= {
        "spec": run.spec.content(),
        "mask": torch.from_numpy(mask),
        "card": asdict(card),
    }
    save_atomically(content, path)


def read_card(path: Path) -> tuple[Card, dict[str, Any]]:
    """Return a packed file's card, and all of its content.

    Raises:
        BadInput: the file is damaged, or holds no card.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give one that workflow.weights packed")
    try:
        content = load_whole(path)
    except BadInput as error:
        # Nobody has trained it here.
        raise BadInput(str(error).replace(AGAIN, _AGAIN)) from error
    if "card" not in content:
        raise BadInput(f"{path}: it has no card; pack the run's folder with workflow.weights first")
    card = from_json(Card, plain(content, "card", path, _AGAIN), f"{path}: card", _AGAIN)
    return card, content


def read_packed(path: Path) -> Finished:
    """Read a packed run, all but its weights.

    Raises:
        BadInput: the file is damaged, or of a method that is not here.
    """
    card, content = read_card(path)
    needed = {"spec.folder": str, "status": str, "state_dict": dict[str, torch.Tensor]}
    check_fields(content, needed, path, _AGAIN)
    if (folder := content["spec"]["folder"]) not in discover():
        raise BadInput(f"{path}: it is of methods/{folder}, which is not here; add that folder")
    text = plain(content, "spec", path, _AGAIN)
    try:
        spec = RunSpec.from_json(text)
    except BadInput as error:
        raise BadInput(f"{path}: {error} (in the file); {_AGAIN}") from error
    sizes = [value for of in spec.parameters.values() for value in (of if isinstance(of, list) else [of])]
    if any(isinstance(size, int) and abs(size) > _LARGEST for size in sizes):
        raise BadInput(
            f"{path}: its parameters hold a number above {_LARGEST}, which no network has; {_AGAIN}"
        )
    mask = content.get("mask")
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.uint8 or mask.ndim != 2:
        raise BadInput(f"{path}: field mask is no mask; {_AGAIN}")
    register_unknown([spec.mask])
    masks = MaskSet(spec.mask, mask.numpy().astype(bool))
    if masks.mask.shape[1] != card.matrix or (not masks.drawn and masks.mask.shape[0] != card.matrix):
        raise BadInput(f"{path}: field mask is not of the card's matrix, {card.matrix}; {_AGAIN}")
    if card.matrix < SMALLEST or not (masks.drawn or masks.mask.any()):
        raise BadInput(f"{path}: field mask samples nothing, or has a side below {SMALLEST}; {_AGAIN}")
    return Finished(path, spec, masks, card.source, card.fingerprint, content["status"], path)


def open_run(place: Path) -> Finished:
    """Read a finished run from its folder, or a packed one from its file.

    Raises:
        BadInput: see ``read_finished`` and ``read_packed``.
    """
    return read_packed(place) if place.is_file() else read_finished(place)


def load_model(path: Path | str, shape: tuple[int, int] | None = None) -> tuple[ReconstructionModel, Card]:
    """Return the network of a packed file, as ``methods/<id>`` builds it, on the CPU in evaluation mode.

    Args:
        path: the file.
        shape: (height, width) of the images; that of the training if not given.

    Raises:
        BadInput: the file is damaged, or the method takes no such images.
    """
    run = read_packed(Path(path))
    shape = shape or (run.side, run.side)
    run.check_size(shape)
    model = build_model(run.spec, shape)
    load_checkpoint(model, run.spec, Path(path))
    return model.eval(), read_card(Path(path))[0]
