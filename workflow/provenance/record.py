"""``run.json``: what ran where, on what, with which result. Light: no torch here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import UNSET, UnsetType

from data_prep.io.json_files import read_as

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
    """What a run took; ``training`` is absent where nothing is trained."""

    reconstruction: float
    metrics: float
    total: float
    training: float | UnsetType = UNSET


@dataclass(frozen=True)
class Throughput:
    """Slices per second, of evaluation and of training; the latter is absent where nothing is trained."""

    evaluation_slices_per_second: float
    training_slices_per_second: float | UnsetType = UNSET


@dataclass(frozen=True)
class RunRecord:
    """The content of ``run.json``; results/README.md says what each field is.

    What may be unset is absent where nothing is trained.
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
    best_epoch: int | None = None
    epochs: int | UnsetType = UNSET
    converged: bool | UnsetType | None = UNSET
    diverged_step: int | UnsetType | None = UNSET
    environments: list[dict[str, str]] | UnsetType = UNSET
    restarts: int | UnsetType = UNSET
    refused_states: list[str] | UnsetType = UNSET
    micro_batch: int | UnsetType | None = UNSET
    notes: list[str] | UnsetType = UNSET
    compiled: bool | UnsetType = UNSET
    compile_seconds: float | UnsetType = UNSET
    recompute: bool | UnsetType | None = UNSET
    energy_joules: float | UnsetType | None = UNSET
    outputs: dict[str, str] = field(default_factory=dict)
    resident_splits: dict[str, bool] | UnsetType = UNSET


def read_run(folder: Path) -> RunRecord:
    """Read the ``run.json`` of a run's folder.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return read_as(RunRecord, folder / "run.json", "finish this run first", AGAIN)
