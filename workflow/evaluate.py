r"""Reconstruct the test split with one method and score it: metrics.csv, examples.npz, run.json.

An untrained method whose spec names values to try (``tune``) chooses among them on the validation split
before. ``workflow.train`` calls this after training, in the same process; by itself it serves untrained
methods, and trained ones by their checkpoint:

    python -m workflow.evaluate --spec JSON --data results/X/data/ixi --mask results/X/masks/ixi/NAME.npz \
        [--checkpoint model.ckpt] --output FOLDER
"""

import argparse
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from workflow import runs
from workflow.further_metric import further_scores
from workflow.runs import RunSpec
from workflow.sources import drawn_mask_sources, folder_sources, metric_sources, module_sources

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from data_prep.slices import SliceStore
    from methods.contract import ReconstructionModel
    from workflow.acquisition import Acquisition
    from workflow.execution import Reconstruct

METRICS = ("ssim", "psnr", "nmse")
KEY_COLUMNS = (
    "dataset",
    "mask",
    "pattern",
    "acceleration",
    "method",
    "seed",
    "subject",
    "slice",
    "level",
)


@dataclass
class Evaluation:
    """Scores and example slices of one run.

    Attributes:
        metrics: names of the metrics of each row.
        rows: of metrics.csv; slice rows of a subject, then its volume row (slice -1).
        examples: of examples.npz, one dictionary per example slice, scanner units.
        slices: number of slices reconstructed.
        seconds: of reconstruction, and of metrics.
    """

    metrics: tuple[str, ...] = METRICS
    rows: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    slices: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"reconstruction": 0.0, "metrics": 0.0})


def evaluate(
    reconstruct: "Reconstruct", spec: RunSpec, store: "SliceStore", acquisition: "Acquisition"
) -> Evaluation:
    """Score a method on the test split, one volume at a time.

    Args:
        reconstruct: the method.
        spec: the run.
        store: the test split.
        acquisition: how it is undersampled.
    """
    import torch

    masks = acquisition.masks
    named = {
        "dataset": spec.dataset,
        "mask": spec.mask,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "method": spec.method,
        "seed": spec.seed,
    }
    result = Evaluation((*METRICS, *spec.metrics))
    for number, (subject, positions) in enumerate(store.volumes().items()):
        started = time.perf_counter()
        target, images = reconstruct_volume(reconstruct, spec, store, acquisition, positions)
        if images.is_cuda:  # the clock is read when the device is done, not when it has been told what to do
            torch.cuda.synchronize(images.device)
        reconstructed = time.perf_counter()
        of_slices, of_volume = _score(target, images, spec.metrics)
        result.seconds["reconstruction"] += reconstructed - started
        result.seconds["metrics"] += time.perf_counter() - reconstructed
        result.slices += len(positions)
        named["subject"] = subject
        for i, position in enumerate(positions):
            scores = {name: float(of_slices[name][i]) for name in result.metrics}
            result.rows.append({**named, "slice": store.slice_indices[position], "level": "slice", **scores})
        result.rows.append({**named, "slice": -1, "level": "volume", **of_volume})
        if number < spec.examples:
            central = len(positions) // 2
            image = images[central].cpu().numpy()
            result.examples.append(_example(store, acquisition, positions[central], image))
    return result


def _score(
    target: "Tensor", images: "Tensor", further: list[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Score a volume on the device that holds it, and with further metrics on the CPU."""
    if target.device.type == "cpu":
        from workflow.metrics import metrics_of

        slices, volume = metrics_of(target.numpy(), images.numpy())
    else:
        from workflow import device_metrics

        slices, volume = device_metrics.metrics_of(target, images)
    if further:
        more_slices, more_volume = further_scores(further, target.cpu().numpy(), images.cpu().numpy())
        slices, volume = slices | more_slices, volume | more_volume
    return slices, volume


def reconstruct_volume(
    reconstruct: "Reconstruct",
    spec: RunSpec,
    store: "SliceStore",
    acquisition: "Acquisition",
    positions: list[int],
) -> "tuple[Tensor, Tensor]":
    """Return truth and reconstruction (slice, height, width), float32, of one volume in scanner units."""
    import torch

    shape = (len(positions), store.height, store.width)
    target, images = (torch.empty(shape, device=store.device) for _ in range(2))
    for start in range(0, len(positions), spec.training.batch_size):
        batch = positions[start : start + spec.training.batch_size]
        chosen = slice(start, start + len(batch))
        measurement, _ = acquisition.fixed(store, batch)
        scale = measurement.scale[:, None, None]
        images[chosen] = reconstruct(measurement) * scale
        # As stored: dividing by the scale and back would cost the last bit.
        target[chosen] = store.batch(batch)[0].abs()
    return target, images


def _example(
    store: "SliceStore", acquisition: "Acquisition", position: int, image: NDArray[np.float32]
) -> dict[str, Any]:
    """Return what the figures show of one slice, scored in the slice convention."""
    from workflow.metrics import slice_metrics

    measurement, _ = acquisition.fixed(store, [position])
    target, auxiliary = (values.abs().cpu().numpy() for values in store.batch([position]))
    zero_filled = (measurement.zero_filled * measurement.scale[:, None, None]).cpu().numpy()
    scores, floor = slice_metrics(target, image[None]), slice_metrics(target, zero_filled)
    return {
        "subject": store.subjects[position],
        "slice": store.slice_indices[position],
        "target": target[0],
        "auxiliary": auxiliary[0],
        "zero_filled": zero_filled[0],
        "reconstruction": image,
        "mask": measurement.mask[0].cpu().numpy(),
        "ssim": scores["ssim"][0],
        "psnr": scores["psnr"][0],
        "zero_filled_ssim": floor["ssim"][0],
        "zero_filled_psnr": floor["psnr"][0],
    }


def write_evaluation(evaluation: Evaluation, output: Path) -> None:
    """Write metrics.csv (numbers read back exactly) and examples.npz; equal results give equal bytes."""
    with replacing(output / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
        columns = (*KEY_COLUMNS, *evaluation.metrics)
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(evaluation.rows)
    examples = evaluation.examples
    if examples:
        arrays: dict[str, Any] = {
            name: np.stack([example[name] for example in examples]) for name in examples[0]
        }
    else:
        arrays = {"subject": np.array([], dtype=np.str_)}
    with replacing(output / "examples.npz") as temporary:
        np.savez(temporary, **arrays)


# ---- the record ---------------------------------------------------------------------------------


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
        "code": runs.code_version(sources),
        "packages": runs.package_versions(),
        "device": torch.cuda.get_device_name(device) if on_gpu else runs.processor_name(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "tf32_convolutions": on_gpu and torch.backends.cudnn.allow_tf32,
        "seconds": dict(evaluation.seconds),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device)
        if on_gpu
        else runs.peak_resident_bytes(),
        "throughput": {"evaluation_slices_per_second": evaluation.slices / max(reconstruction, 1e-9)},
    }


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


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_run_arguments(parser)
    parser.add_argument("--checkpoint", type=Path, help="model.ckpt of a trained method")
    arguments = parser.parse_args()
    spec = RunSpec.from_json(arguments.spec)
    check_checkpoint(spec, arguments.checkpoint)
    from workflow.acquisition import open_acquisition, open_split
    from workflow.execution import restore, set_up_torch

    started = time.perf_counter()
    training = spec.training
    device = set_up_torch(training.threads, arguments.device)
    acquisition = open_acquisition(arguments.mask, spec.dataset, spec.mask, spec.noise, spec.base_seed)
    stores, tuning = {}, None
    chosen = spec
    if spec.tune:
        from workflow.tuning import tune

        stores["val"] = open_split(arguments.data, "val", acquisition, device, training.resident_gigabytes)
        chosen, tuning = tune(spec, stores["val"], acquisition, device)
    # Opened after the parameters are chosen: the test split has no say in them.
    store = stores["test"] = open_split(
        arguments.data, "test", acquisition, device, training.resident_gigabytes
    )
    shape = (store.height, store.width)
    model, reconstruct, origin = restore(chosen, shape, arguments.checkpoint, device)
    evaluation = evaluate(reconstruct, spec, store, acquisition)
    runs.remove_partial_files(arguments.output)
    write_evaluation(evaluation, arguments.output)
    record = run_record(spec, model, device, stores, acquisition, evaluation)
    record |= asdict(origin)
    record["tuning"] = tuning
    record["seconds"]["total"] = time.perf_counter() - started
    runs.write_json(arguments.output / "run.json", record)
    print(f"{spec.method}: {evaluation.slices} slices scored", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
