"""Optimisers are made as their settings say; what may be said is known without torch."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from methods.optimisers import OPTIMISERS, check_optimiser, make_optimiser, merged_optimiser

VALUES: dict[str, Any] = {"lr": 0.5, "betas": [0.5, 0.9], "eps": 1e-6, "alpha": 0.7, "weight_decay": 0.1}
VALUES |= {"momentum": 0.8, "nesterov": True}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_takes_every_option_that_it_may_have(name: str) -> None:
    kind, options = OPTIMISERS[name]
    settings = {"name": name} | {option: VALUES[option] for option in options}
    if "nesterov" in options:
        settings["momentum"] = 0.8
    check_optimiser("optimiser", settings)
    made = make_optimiser([torch.nn.Parameter(torch.zeros(2))], settings)
    assert type(made) is getattr(torch.optim, kind)
    (group,) = made.param_groups
    for option in options:
        used = group[option]
        assert (list(used) if option == "betas" else used) == VALUES[option]


def test_another_name_replaces_the_options_too() -> None:
    own = {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.9]}
    assert merged_optimiser(own, {"lr": 0.1}) == own | {"lr": 0.1}
    assert merged_optimiser(own, {"name": "sgd", "lr": 0.1}) == {"name": "sgd", "lr": 0.1}


def test_checking_loads_no_torch() -> None:
    code = "import sys, methods.optimisers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
