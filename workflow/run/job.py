"""What the commands on one run are given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from data_prep.errors import BadInput
from workflow.run.spec import RunSpec

Checkpoint = Annotated[Path | None, "model.ckpt of a trained method"]


@dataclass(frozen=True)
class Job:
    """What training, evaluation and probing start from; every process of a training gets it.

    Attributes:
        spec: the run as JSON; see `python -m workflow.plan`.
        data: folder with train.h5, val.h5 and test.h5.
        mask: the mask file (.npz) that the spec names.
        output: folder to write; of a probe the CSV file.
        device: default: CUDA where there is one.
    """

    spec: Annotated[RunSpec, RunSpec.from_json]
    data: Path
    mask: Path
    output: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"


def check_checkpoint(spec: RunSpec, checkpoint: Path | None) -> None:
    """Refuse a trained method without ``--checkpoint``, and an untrained one with it."""
    if spec.trainable != (checkpoint is not None):
        remedy = "give --checkpoint" if spec.trainable else "leave --checkpoint out"
        raise BadInput(
            f"--checkpoint: {spec.method} {'has' if spec.trainable else 'has no'} weights; {remedy}"
        )
