"""What every metric promises, as ``python -m workflow.check_metric`` checks it.

A new file is tested by existing.
"""

import pytest

from data_prep.contracts.checking import file_of, problem_with
from workflow.check_metric import CHECKS
from workflow.metrics.contract import metrics


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("metric", metrics())
def test_a_metric_keeps_the_contract(metric: str, name: str) -> None:
    module, found = metrics()[metric]
    assert problem_with(CHECKS[name], found, file_of(module)) is None
