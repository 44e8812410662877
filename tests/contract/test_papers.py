"""What every paper promises, as ``python -m workflow.check_paper`` checks it.

A new folder is tested by existing.
"""

import pytest

from data_prep.contracts.checking import problem_with
from workflow.check_paper import CHECKS
from workflow.papers.contract import PAPERS, papers


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("paper", papers())
def test_a_paper_keeps_the_contract(paper: str, name: str) -> None:
    assert problem_with(CHECKS[name], paper, PAPERS / paper) is None
