"""run.json: what ran where, on what, with which result."""

import json
import platform
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.evaluate.evaluation import Evaluation
from workflow.provenance.code import code_version, package_versions
from workflow.provenance.sources import drawn_mask_sources, folder_sources, metric_sources, module_sources
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from methods.contract import ReconstructionModel


def run_record(
    spec: RunSpec,
    model: "ReconstructionModel",
    device: "torch.device",
    stores: "dict[str, SliceStore]",
    acquisition: "Acquisition",
    evaluation: Evaluation,
) -> dict[str, Any]:
    """Return the part of run.json that every run has."""
    import torch

    on_gpu = device.type == "cuda"
    sources = {
        *module_sources("workflow.train"),
        *folder_sources(spec.folder),
        *drawn_mask_sources(spec.mask),
        *metric_sources(spec.metrics),
    }
    reconstruction = evaluation.seconds["reconstruction"]
    return {
        "spec": json.loads(spec.canonical()),
        "seed": spec.seed,
        "source": stores["test"].source,
        "status": "finished",
        "best_epoch": None,
        "training_hash": None,
        "tuning": None,
        "parameter_count": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "data_fingerprints": {name: store.fingerprint for name, store in stores.items()},
        "mask_sha256": acquisition.masks.sha256,
        "code": code_version(sources),
        "packages": package_versions(),
        "device": torch.cuda.get_device_name(device) if on_gpu else processor_name(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "tf32_convolutions": on_gpu and torch.backends.cudnn.allow_tf32,
        "seconds": dict(evaluation.seconds),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else peak_resident_bytes(),
        "throughput": {"evaluation_slices_per_second": evaluation.slices / max(reconstruction, 1e-9)},
    }


def processor_name() -> str:
    """Return the CPU's model name where Linux tells it, else its architecture."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def peak_resident_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak
