"""What every method folder promises, variants included, as ``python -m methods.check`` checks it.

A new folder is tested by existing.
"""

import pytest

from methods.check import check, checks_of, methods_of
from methods.registry import Method, discover

PROMISES = [
    pytest.param(method, name, id=f"{method.id}-{name}")
    for folder in discover()
    for method in methods_of(folder)
    for name in checks_of(method)
]


@pytest.mark.parametrize(("method", "name"), PROMISES)
def test_a_method_keeps_the_contract(method: Method, name: str) -> None:
    assert check(method, name) is None
