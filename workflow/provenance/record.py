"""``run.json``: what ran where, on what, with which result. Light: no torch here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.io.json_files import read_record

AGAIN = "delete it and run the workflow again"


@dataclass(frozen=True)
class CodeVersion:
    """Which code ran.

    Attributes:
        commit: of git; None outside a checkout. Local edits may follow it.
        source_sha256: over the source files that really ran.
    """

    commit: str | None
    source_sha256: str


@dataclass(frozen=True)
class Seconds:
    """What a run took.

    Attributes:
        reconstruction: of the test split.
        metrics: of its scores.
        total: of the process.
        training: of all epochs; None where nothing is trained.
    """

    reconstruction: float
    metrics: float
    total: float
    training: float | None = None


@dataclass(frozen=True)
class Throughput:
    """Slices per second, of evaluation and of training."""

    evaluation_slices_per_second: float
    training_slices_per_second: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """The content of ``run.json``; what has a default is not said of every run.

    Attributes:
        spec: the run, as ``RunSpec.canonical`` writes it.
        seed: of the training.
        source: of the scans: ``embedded`` or ``published``.
        status: ``finished`` or ``diverged``.
        parameter_count: weights that are learnt.
        data_fingerprints: of the splits that were read.
        mask_sha256: of the mask set.
        code: which ran.
        packages: their versions.
        device: its name.
        device_type: ``cpu`` or ``cuda``.
        threads: torch threads on the CPU.
        tf32_convolutions: whether the GPU rounded the factors of its convolutions.
        seconds: what it took.
        peak_memory_bytes: the largest of the process, or of the GPU's allocator.
        throughput: slices per second.
        training_hash: of the training that the weights are from.
        tuning: of an untrained method, how its parameters were chosen (``workflow.evaluate.tuning``).
        epochs: finished.
        best_epoch: whose weights are evaluated, from 1; None if diverged.
        converged: whether the validation loss had come to rest; None if diverged.
        diverged_step: step of the last epoch after which the loss was seen to be no number.
        environments: every version of torch and device that took part in training.
        restarts: how often the training was taken up again.
        refused_states: why states that lay in its place were not taken up.
        micro_batch: most slices computed at once on a device, where a whole batch did not fit its memory.
        notes: what was done otherwise than in a plain training on one device.
        energy_joules: of the GPUs while training; None where one does not tell.
    """

    spec: dict[str, Any]
    seed: int
    source: str
    status: str
    parameter_count: int
    data_fingerprints: dict[str, str]
    mask_sha256: str
    code: CodeVersion
    packages: dict[str, str]
    device: str
    device_type: str
    threads: int
    tf32_convolutions: bool
    seconds: Seconds
    peak_memory_bytes: float
    throughput: Throughput
    training_hash: str | None = None
    tuning: dict[str, Any] | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    converged: bool | None = None
    diverged_step: int | None = None
    environments: list[dict[str, str]] = field(default_factory=list)
    restarts: int = 0
    refused_states: list[str] = field(default_factory=list)
    micro_batch: int | None = None
    notes: list[str] = field(default_factory=list)
    energy_joules: float | None = None


def read_run(folder: Path) -> RunRecord:
    """Read the ``run.json`` of a run's folder.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return read_record(RunRecord, folder / "run.json", "finish this run first", AGAIN)
