"""Choosing the parameters of an untrained method on validation data.

A trained method chooses its weights there; compressed sensing has no weights, but its regularisation weight
decides as much. The test split is not opened before the choice is made.
"""

import math
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from data_prep.errors import BadInput
from data_prep.undersample.acquisition import Acquisition
from data_prep.undersample.slices import SliceStore
from workflow.evaluate.evaluation import evaluate
from workflow.run.model import build_model, reconstructor
from workflow.run.spec import RunSpec


def tune(
    spec: RunSpec, store: SliceStore, acquisition: Acquisition, device: torch.device
) -> tuple[RunSpec, dict[str, Any]]:
    """Reconstruct the validation split with every combination of ``spec.tune`` and take the best.

    Args:
        spec: the run.
        store: the validation split.
        acquisition: how it is undersampled.
        device: where to reconstruct.

    Returns:
        The spec with the chosen parameters, and the record for run.json: the mean PSNR (dB) over volumes of
        every trial, what was chosen (the first of equals), and the parameters whose chosen value is the
        smallest or largest tried, so that a better one may lie beyond.

    Raises:
        BadInput: no validation volume has signal, or every combination failed on one.
    """
    trials: list[dict[str, Any]] = []
    for values in product(*spec.tune.values()):
        changes = dict(zip(spec.tune, values, strict=True))
        tried = replace(spec, parameters={**spec.parameters, **changes}, examples=0)
        model = build_model(tried, (store.height, store.width)).to(device)
        rows = evaluate(reconstructor(model, spec.training.precision, device), tried, store, acquisition).rows
        scores = [row["psnr"] for row in rows if row["level"] == "volume" and not row["blank"]]
        if not scores:
            raise BadInput(
                f"{spec.method}: no validation volume has signal, so there is nothing to choose "
                f"{' and '.join(spec.tune)} by; mend the scans, or raise datasets.{spec.dataset}.splits.val"
            )
        trials.append({"parameters": changes, "psnr": sum(scores) / len(scores)})
        print(f"{spec.method}: {changes}: {trials[-1]['psnr']:.3f} dB on validation", file=sys.stderr)
    if all(math.isnan(trial["psnr"]) for trial in trials):
        raise BadInput(
            f"{spec.method}: each of the {len(trials)} combinations of `tune` gave NaN on a validation "
            f"volume, so that none can be chosen; give other values in methods/{spec.folder}/method.yaml, or "
            "mend the method"
        )
    best = max(trials, key=lambda trial: -math.inf if math.isnan(trial["psnr"]) else trial["psnr"])
    chosen = best["parameters"]
    edge = [name for name, values in spec.tune.items() if chosen[name] in (min(values), max(values))]
    record = {"split": "val", "criterion": "psnr", "trials": trials, "chosen": chosen, "at_edge": edge}
    return replace(spec, parameters={**spec.parameters, **chosen}), record
