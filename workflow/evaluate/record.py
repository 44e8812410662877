"""What a run says of itself when it ends: the content of run.json."""

import platform
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.io.hashes import file_sha256
from workflow.evaluate.evaluation import Evaluation
from workflow.provenance.code import code_version, package_versions
from workflow.provenance.record import RunRecord, Seconds, Throughput
from workflow.provenance.sources import drawn_mask_sources, folder_sources, metric_sources, module_sources
from workflow.run.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from data_prep.undersample.acquisition import Acquisition
    from data_prep.undersample.slices import SliceStore
    from methods.contract import ReconstructionModel
    from workflow.run.checkpoint import Origin


# What lies beside run.json.
_OUTPUTS = ("model.ckpt", "history.csv", "metrics.csv", "examples.npz")


def run_sources(spec: RunSpec) -> set[str]:
    """Return the source files that take part in a run, training, tuning and evaluation alike."""
    return {
        *module_sources("workflow.train"),
        *module_sources("workflow.evaluate"),
        *folder_sources(spec.folder),
        *drawn_mask_sources(spec.mask),
        *metric_sources(spec.metrics),
    }


def run_record(
    spec: RunSpec,
    model: "ReconstructionModel",
    device: "torch.device",
    stores: "dict[str, SliceStore]",
    acquisition: "Acquisition",
    evaluation: Evaluation,
    started: float,
    origin: "Origin",
    output: Path,
) -> RunRecord:
    """Return run.json as far as every run has it, when all else is written into the folder ``output``.

    ``started`` is of ``time.perf_counter``.
    """
    import torch

    on_gpu = device.type == "cuda"
    reconstruction = evaluation.seconds["reconstruction"]
    return RunRecord(
        spec=spec.content(),
        seed=spec.seed,
        source=stores[spec.scored].source,
        status=origin.status,
        parameter_count=sum(p.numel() for p in model.parameters() if p.requires_grad),
        data_fingerprints={name: store.fingerprint for name, store in stores.items()},
        mask_sha256=acquisition.masks.sha256,
        code=code_version(run_sources(spec)),
        packages=package_versions(),
        device=torch.cuda.get_device_name(device) if on_gpu else processor_name(),
        device_type=device.type,
        threads=torch.get_num_threads(),
        tf32_convolutions=on_gpu and torch.backends.cudnn.allow_tf32,
        seconds=Seconds(**evaluation.seconds, total=time.perf_counter() - started),
        peak_memory_bytes=torch.cuda.max_memory_allocated(device) if on_gpu else peak_resident_bytes(),
        throughput=Throughput(evaluation.slices / max(reconstruction, 1e-9)),
        outputs={name: file_sha256(output / name) for name in _OUTPUTS if (output / name).is_file()},
        training_hash=origin.training_hash,
        resident_splits={name: store.resident for name, store in stores.items()},
    )


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
