"""What every dataset with an embedded form promises, as ``data_prep.check_dataset`` checks it.

A new folder is tested by existing.
"""

import pytest

from data_prep.check_dataset import run
from data_prep.datasets.contract import discover

# What needs donors takes a quarter of a minute.
MADE_UP = [
    pytest.param(name, marks=pytest.mark.long if dataset.maps else ())
    for name, (_, dataset) in discover().items()
    if dataset.embed
]


@pytest.mark.parametrize("name", MADE_UP)
def test_a_dataset_keeps_the_contract(name: str, capsys) -> None:
    failures, checks = run(name, None, None)
    assert failures == 0, capsys.readouterr().out
    assert checks == 6
