"""The options that every command on one run has."""

import argparse
from pathlib import Path

from data_prep.errors import BadInput
from workflow.run.spec import RunSpec


def add_run_arguments(parser: argparse.ArgumentParser, output: str = "folder to write") -> None:
    """Add the options that training, evaluation and probing share."""
    parser.add_argument("--spec", required=True, help="the run as JSON; see `python -m workflow.plan`")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.h5, val.h5 and test.h5")
    parser.add_argument("--mask", required=True, type=Path, help="the mask file (.npz) that the spec names")
    parser.add_argument("--output", required=True, type=Path, help=output)
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA where there is one"
    )


def check_checkpoint(spec: RunSpec, checkpoint: Path | None) -> None:
    """Refuse a trained method without ``--checkpoint``, and an untrained one with it."""
    if spec.trainable != (checkpoint is not None):
        remedy = "give --checkpoint" if spec.trainable else "leave --checkpoint out"
        raise BadInput(
            f"--checkpoint: {spec.method} {'has' if spec.trainable else 'has no'} weights; {remedy}"
        )
