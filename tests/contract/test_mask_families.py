"""What every family of masks promises, as ``python -m data_prep.check_mask`` checks it.

A new file is tested by existing.
"""

import pytest

from data_prep.check_mask import CHECKS, checks_of
from data_prep.contracts.checking import file_of, problem_with
from data_prep.masks.registry import families

PROMISES = [
    pytest.param(pattern, name, id=f"{pattern}-{name}")
    for pattern, (_, family) in families().items()
    for name in checks_of(family)
]


@pytest.mark.parametrize(("pattern", "name"), PROMISES)
def test_a_family_keeps_the_contract(pattern: str, name: str) -> None:
    module, family = families()[pattern]
    assert problem_with(CHECKS[name], family, file_of(module)) is None
