"""What every metric promises, as ``python -m workflow.check_metric`` checks it.

A new file is tested by existing.
"""

import pytest

from data_prep.contracts.checking import find
from workflow.check_metric import CHECKS, runs_of
from workflow.metrics.contract import metrics


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("metric", metrics())
def test_a_metric_keeps_the_contract(metric: str, name: str) -> None:
    runs, path = runs_of(metric)
    assert find(name, runs[name], path).problem is None
