"""Reading the golden values: weights and inputs by formula, and the outputs that they must give."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "golden"


def cases(name: str) -> dict[str, dict[str, Any]]:
    """The cases of one golden file, by name."""
    content: dict[str, dict[str, Any]] = json.loads((FOLDER / name).read_text())["cases"]
    return content


def fill(tensors: Sequence[Tensor | list[int]], case: dict[str, Any]) -> None:
    """Give every tensor the value of the formula, in the file's order.

    A list of sides stands for a tensor that the published network has and ours leaves out, since nothing
    depends on it.
    """
    shapes = [list(tensor.shape) if isinstance(tensor, Tensor) else tensor for tensor in tensors]
    assert shapes == [entry["shape"] for entry in case["parameters"]]
    for tensor, entry in zip(tensors, case["parameters"], strict=True):
        if isinstance(tensor, Tensor):
            fan_in = np.prod(entry["shape"][1:])
            scale = case["weight_scale"] / np.sqrt(fan_in) if entry["kind"] == "weight" else 0.1
            values = scale * np.sin(0.7 * np.arange(tensor.numel()) + entry["index"])
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))


def inputs_of(case: dict[str, Any]) -> list[Tensor]:
    """The inputs of a case."""
    return [
        torch.from_numpy(
            np.cos(0.11 * np.arange(np.prod(entry["shape"])) + position).astype(np.float32)
        ).reshape(entry["shape"])
        for position, entry in enumerate(case["inputs"])
    ]


def assert_outputs(outputs: Sequence[Tensor], case: dict[str, Any]) -> None:
    """Compare shapes, means, root mean squares and the listed values."""
    assert len(outputs) == len(case["outputs"])
    for output, expected in zip(outputs, case["outputs"], strict=True):
        tolerance = 1e-4 * expected["rms"]
        assert list(output.shape) == expected["shape"]
        assert output.mean().item() == pytest.approx(expected["mean"], abs=tolerance)
        assert output.square().mean().sqrt().item() == pytest.approx(expected["rms"], abs=tolerance)
        np.testing.assert_allclose(
            output.flatten()[expected["indices"]].numpy(), expected["values"], rtol=0, atol=tolerance
        )
