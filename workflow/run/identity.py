"""What a training's result depends on, as one hash."""

import hashlib
from collections.abc import Mapping
from typing import Any

from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import canonical
from workflow.provenance.runs import leaves
from workflow.provenance.sources import (
    ROOT,
    drawn_mask_sources,
    folder_sources,
    module_sources,
    portable_name,
)
from workflow.run.spec import RunSpec

# Imported by the training loop, but what they say of a training stands in its spec, or changes no number.
_WITHOUT_EFFECT = {
    "workflow/provenance/sources.py",
    "workflow/run/identity.py",
    "workflow/run/job.py",
    "workflow/run/spec.py",
    "workflow/train/energy.py",
    "workflow/train/history.py",
    "workflow/train/termination.py",
}


def training_sources(folder: str, mask: str) -> list[str]:
    """Return the source files that change a training's numbers, relative to the repository's root.

    Evaluation and what only reads specs and writes files are left out: editing them repeats no training.
    """
    training = module_sources("workflow.train.start", without=_WITHOUT_EFFECT)
    return sorted({*training, *folder_sources(folder), *drawn_mask_sources(mask)} - _WITHOUT_EFFECT)


def training_identity(
    spec: RunSpec, fingerprints: Mapping[str, str], mask_sha256: str, *, compiled: bool = False
) -> dict[str, Any]:
    """Return all that the weights of one training depend on: spec, sources, data and mask.

    Args:
        spec: the run; what only evaluation reads does not count.
        fingerprints: of the splits that training reads, by name (``train`` and ``val``).
        mask_sha256: of the mask set.
        compiled: what ``training.compile`` came to.
    """
    return {
        "spec": spec.training_part(),
        "sources": {
            portable_name(path): file_sha256(ROOT / path) for path in training_sources(spec.folder, spec.mask)
        },
        "data": dict(fingerprints),
        "mask": mask_sha256,
        "compiled": compiled,
    }


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return the sha256 that stands for a ``training_identity``, the training hash."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any], most: int = 3) -> str:
    """Name what differs between two identities, such as ``spec.optimiser.lr``; at most so many by name."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    found = sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
