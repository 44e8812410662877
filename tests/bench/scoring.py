"""What scoring costs beside reconstruction."""

from collections.abc import Mapping

import numpy as np
import torch

from tests.bench.common import SEED, Setting, fastest, seconds_text, table
from workflow.metrics.volume import metrics_of


def bench_metrics(setting: Setting, per_slice: Mapping[str, float]) -> None:
    """Compare what scoring a slice takes, in both conventions, with reconstructing it."""
    generator = np.random.default_rng(SEED)
    volume = generator.random((4, setting.side, setting.side), dtype=np.float32)
    reconstruction = volume + 0.1 * generator.standard_normal(volume.shape, dtype=np.float32)

    (spent,) = fastest([lambda: metrics_of(volume, reconstruction)], torch.device("cpu"), 2.0)
    scoring = spent / len(volume)
    rows = [
        [method, seconds_text(value), seconds_text(scoring), f"{scoring / value:.3f}"]
        for method, value in per_slice.items()
    ]
    size = f"{setting.side}x{setting.side}"
    table(
        f"Metrics of one slice of {size}, slice and volume convention together",
        ["method", "reconstruction", "metrics", "metrics / reconstruction"],
        rows,
    )
