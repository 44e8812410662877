"""A results folder as the workflow writes it, with made-up but plausible content, for tables and figures."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage.data import shepp_logan_phantom
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import resize

from data_prep.fourier import fft2c, ifft2c
from data_prep.io.json_files import from_json
from data_prep.masks.registry import parse_mask
from data_prep.masks.sets import make_masks
from workflow.metrics.contract import with_standard
from workflow.plan.definitions import Definition
from workflow.statistics.significance import analyse, write_numbers

# Share of the zero-filled error that a method leaves over.
QUALITY = {
    "zf": 1.0,
    "unet": 0.55,
    "xiang": 0.45,
    "dudornet": 0.38,
    "manet": 0.3,
    "manet-no_kspace": 0.42,
    "manet-no_attention": 0.36,
}
LABELS = {
    "ixi": {"zf": "ZF", "unet": "UNet-T2", "xiang": "Xiang et al.", "dudornet": "DuDoRNet", "manet": "MANet"},
    "fastmri": {
        "zf": "ZF",
        "unet": "UNet-PDFS",
        "xiang": "Xiang et al.",
        "dudornet": "DuDoRNet",
        "manet": "MANet",
    },
}
# The rows of Tables III and IV.
ABLATION = {"manet-no_kspace": "w/o k-space", "manet-no_attention": "w/o T1-GA", "manet": "MANet"}
ATTENTION = {"manet-sc": "SC", "manet": "CS", "manet-sc_cs": "SC-CS"}

KINDS = {1: "modalities", 9: "heat_map"} | dict.fromkeys((5, 6, 7, 8), "comparison")  # of MANet's figures


def definition(
    number: int,
    dataset: str,
    masks: Sequence[str],
    rows: Mapping[str, str],
    metrics: Sequence[str] = (),
    **more: Any,
) -> str:
    """The JSON that the plan hands to tables and figures; ``metrics`` are those beside the paper's."""
    return json.dumps(
        {
            "number": number,
            "kind": "" if "numeral" in more else KINDS.get(number, ""),
            "paper": "manet" if more.get("numeral", "I") in ("I", "II", "III", "IV") else "",
            "dataset": dataset,
            "source": "embedded",
            "experiment": "made_up",
            "convention": "volume",
            "seeds": [0],
            "masks": list(masks),
            "rows": [{"method": method, "label": text} for method, text in rows.items()],
            "planned": planned(dataset, masks, rows, more.get("seeds", [0])),
            **more,
            "metrics": with_standard(metrics),
        }
    )


def grid_points(alphas: Sequence[float], betas: Sequence[float]) -> list[dict[str, Any]]:
    """The points of a grid of MANet's loss weights, of which its own are one."""
    return [
        {"alpha": a, "beta": b, "method": "manet" if (a, b) == (0.4, 0.6) else f"manet-a{a}-b{b}"}
        for a in alphas
        for b in betas
    ]


def loss_weights(alphas: Sequence[float], betas: Sequence[float]) -> str:
    """The definition of Fig. 9."""
    grid = grid_points(alphas, betas)
    return definition(9, "fastmri", ["equispaced_4x"], {}, alphas=alphas, betas=betas, grid=grid)


def planned(
    dataset: str, masks: Iterable[str], methods: Iterable[str], seeds: Iterable[int] = (0,)
) -> list[dict[str, Any]]:
    """What the plan hands over to compare runs with, as ``write_record`` writes them."""
    return [
        {
            "spec": {"dataset": dataset, "method": method},
            "data": sha256("data"),
            "runs": [f"{dataset}/{mask}/{method}/seed{seed}" for mask in masks for seed in seeds],
        }
        for method in methods
    ]


def write_record(root: Path, run: str, **changes: Any) -> Path:
    """Write the run.json of a run below ``runs/``, the mask's and the data's record."""
    dataset, mask, method, seed = run.split("/")
    spec = {"dataset": dataset, "mask": mask, "method": method, "seed": int(seed.removeprefix("seed"))}
    path = root / "runs" / run / "run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"spec": spec, "mask_sha256": sha256(mask), "outputs": examples_of(path.parent)}
    path.write_text(json.dumps(run_record(**{**own, **changes})))
    write_mask_json(root, dataset, [mask])
    prepared = root / "data" / dataset / "prepared.json"
    prepared.parent.mkdir(parents=True, exist_ok=True)
    prepared.write_text(json.dumps({"configuration": sha256("data"), "fingerprints": {}}))
    return path


def read_definition(text: str) -> Definition:
    """Read it as tables and figures do."""
    return from_json(Definition, text, "--definition", "give what workflow.plan prints")


def run_record(**changes: Any) -> dict[str, Any]:
    """The content of a run.json."""
    return {
        "spec": {},
        "seed": 0,
        "source": "embedded",
        "status": "finished",
        "parameter_count": 0,
        "data_fingerprints": {},
        "mask_sha256": sha256("mask"),
        "code": {"commit": None, "source_sha256": sha256("sources")},
        "packages": {},
        "device": "a CPU",
        "device_type": "cpu",
        "threads": 1,
        "tf32_convolutions": False,
        "seconds": {"reconstruction": 1.0, "metrics": 1.0, "total": 2.0},
        "peak_memory_bytes": 2e9,
        "throughput": {"evaluation_slices_per_second": 1.0},
        **changes,
    }


@cache
def phantom() -> tuple[np.ndarray, np.ndarray]:
    """Target and auxiliary magnitude (64, 64) in scanner units, of one anatomy."""
    target = resize(shepp_logan_phantom(), (64, 64), anti_aliasing=True)
    auxiliary = np.where(target > 0.02, 1.1 - target, 0.0)
    return (900 * target).astype(np.float32), (1400 * auxiliary).astype(np.float32)


def score(target: np.ndarray, image: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of a slice."""
    peak = float(target.max())
    return (
        peak_signal_noise_ratio(target, image, data_range=peak),
        structural_similarity(target, image, data_range=peak),
    )


def write_examples(
    root: Path,
    dataset: str,
    mask: str,
    method: str,
    error: float | None = None,
    subject: str = "IXI901",
) -> Path:
    """Write a run's examples.npz; the reconstruction keeps the share ``error`` of the zero-filled error."""
    target, auxiliary = phantom()
    height, width = target.shape
    sampled = make_masks(mask, height, width, 2022, [subject]).evaluation([subject])
    zero_filled = np.abs(ifft2c(fft2c(target.astype(np.complex64)) * sampled[0])).astype(np.float32)
    share = QUALITY.get(method, 0.5) if error is None else error
    left = zero_filled - target
    reconstruction = target + share * (0.5 * left + 0.5 * gaussian(left, 1) if share < 1 else left)
    psnr, ssim = score(target, reconstruction)
    zero_psnr, zero_ssim = score(target, zero_filled)
    path = root / "runs" / dataset / mask / method / "seed0" / "examples.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        subject=np.array([subject]),
        slice=np.array([11]),
        target=target[None],
        auxiliary=auxiliary[None],
        zero_filled=zero_filled[None],
        reconstruction=reconstruction[None].astype(np.float32),
        mask=sampled,
        psnr=np.array([psnr]),
        ssim=np.array([ssim]),
        zero_filled_psnr=np.array([zero_psnr]),
        zero_filled_ssim=np.array([zero_ssim]),
    )
    record = path.parent / "run.json"
    if record.is_file():
        content = json.loads(record.read_text()) | {"outputs": examples_of(path.parent)}
        record.write_text(json.dumps(content))
    return path


def examples_of(run: Path) -> dict[str, str]:
    """What a run's record says of its examples, if there are any."""
    path = run / "examples.npz"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}


def write_mask_json(root: Path, dataset: str, masks: Sequence[str]) -> Path:
    """Write the masks' json files; each realises its nominal acceleration plus 0.05, lines half in effect."""
    folder = root / "masks" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for mask in masks:
        # Lines give their mirror images for free, 2D patterns have theirs already.
        realised = parse_mask(mask)[1] + 0.05
        effective = realised / 2 if mask.startswith("1d") else realised
        record = {"name": mask, "realised_acceleration": realised, "sha256": sha256(mask)}
        record["effective_acceleration"] = effective
        (folder / f"{mask}.json").write_text(json.dumps(record))
    return folder


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_statistics(root: Path, definition: Definition, metrics: pd.DataFrame) -> None:
    """Write a table's tests and intervals, without the figure."""
    write_numbers(definition.number, analyse(definition, metrics), root / "statistics")


def write_records(root: Path, definition: Definition) -> None:
    """Write what a table's footer names: the manifest, and what each run says of its code."""
    manifest = root / "data" / definition.dataset / "manifest.csv"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text("dataset,source,subject\n")
    for run in (run for group in definition.planned for run in group.runs):
        code = {"commit": sha256("commit")[:40], "source_sha256": sha256(run.split("/")[2])}
        write_record(root, run, code=code)


def metric_rows(
    dataset: str,
    masks: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int] = (0,),
    volumes: int = 4,
    slices: int = 3,
) -> pd.DataFrame:
    """Rows of metrics.parquet, different for every run, volume and slice."""
    generator = np.random.default_rng(7)
    rows = []
    for mask in masks:
        family, acceleration = parse_mask(mask)
        for method in methods:
            for seed in seeds:
                for volume in range(volumes):
                    for index in range(-1, slices):
                        error = QUALITY.get(method, 0.5) * (1 + 0.2 * generator.standard_normal())
                        rows.append(
                            {
                                "dataset": dataset,
                                "mask": mask,
                                "pattern": family.pattern,
                                "acceleration": acceleration,
                                "method": method,
                                "seed": seed,
                                "subject": f"IXI{900 + volume}",
                                "slice": index,
                                "level": "volume" if index < 0 else "slice",
                                "blank": 0,
                                "ssim": 1 - 0.2 * error,
                                "psnr": 34 - 9 * error,
                                "nmse": 0.04 * error**2,
                            }
                        )
    return pd.DataFrame(rows)
