"""What every family of masks promises, as ``python -m data_prep.check_mask`` checks it.

A new file is tested by existing.
"""

import pytest

from data_prep.check_mask import runs_of
from data_prep.contracts.checking import find
from data_prep.masks.registry import families

PROMISES = [
    pytest.param(pattern, name, id=f"{pattern}-{name}")
    for pattern in families()
    for name in runs_of(pattern)[0]
]


@pytest.mark.parametrize(("pattern", "name"), PROMISES)
def test_a_family_keeps_the_contract(pattern: str, name: str) -> None:
    runs, path = runs_of(pattern)
    assert find(name, runs[name], path).problem is None
