"""The command says what is tried, and becomes Snakemake; a wrong configuration is refused before."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from data_prep.errors import BadInput
from workflow.tune.__main__ import tune

ROOT = Path(__file__).parents[3]


@pytest.fixture
def became(monkeypatch) -> list[list[str]]:
    """The programs that this process would have become."""
    found: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: found.append(words))
    return found


def written(folder: Path, **tuning: object) -> Path:
    content = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    masks = {"ixi": "1d_uniform_6x", "fastmri": "equispaced_4x"}
    content["tuning"] = {"masks": masks, "grid": {"lr": [0.001, 0.002]}, **tuning}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_says_what_is_tried_and_hands_the_rest_to_snakemake(tmp_path, became, capsys):
    path = written(tmp_path)
    tune(path)
    tune(path, "--cores=2", "--keep-going")
    said = capsys.readouterr().out
    assert "ixi under 1d_uniform_6x: unet, xiang, dudornet, manet; 2 settings (lr 0.001; lr 0.002)" in said
    assert "16 trainings; winners: results/smoke/tuning/winners.yaml" in said
    start = [sys.executable, "-m", "snakemake", "tuned", "--configfile", str(path)]
    assert became == [[*start, "--cores", "all"], [*start, "--cores=2", "--keep-going"]]


def test_a_wrong_configuration_is_refused_with_its_name_and_nothing_runs(tmp_path, became):
    path = written(tmp_path, grid={"momentum": [0.1, 0.9]})
    with pytest.raises(BadInput, match=r"mine\.yaml: tuning\.grid \(for unet\)\.momentum: no option of adam"):
        tune(path)
    with pytest.raises(BadInput, match=r"smoke\.yaml: there is no section tuning; add one such as"):
        tune(ROOT / "config/smoke.yaml")
    assert became == []
