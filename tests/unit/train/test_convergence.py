"""What counts as converged is a rule on validation losses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.train.convergence import LARGEST_FALL, RULE, converged

LOSSES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        # Eight epochs: the last two against the six before.
        ([1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.10], False),
        ([1.0, 0.5, 0.3, 0.2, 0.15, 0.100, 0.099, 0.0985], True),
        # The best epoch is behind: longer training would not have helped.
        ([1.0, 0.5, 0.3, 0.2, 0.25, 0.3, 0.35, 0.4], True),
        # The last is better than its neighbour, but no better than long before.
        ([1.0, 0.1, 0.3, 0.2, 0.25, 0.3, 0.2, 0.1], True),
        # The best of the last quarter counts, not the last of it.
        ([1.0, 0.5, 0.3, 0.2, 0.15, 0.100, 0.090, 0.12], False),
        ([1.0] * 4, True),
        ([1.0, 1.0, 1.0, 0.98], True),
        ([1.0, 1.0, 1.0, 0.97], False),
        # A quarter of five epochs is two.
        ([1.0, 1.0, 1.0, 0.97, 0.97], False),
        # Too short to judge by.
        ([1.0] * 3, False),
        ([1.0], False),
        ([math.nan, 1.0, 1.0, math.nan], True),
        ([math.nan, math.nan, math.nan, 1.0], False),
        ([math.nan] * 4, False),
    ],
)
def test_losses_that_still_fall_have_not_converged(losses, expected):
    assert converged(losses) is expected


@given(LOSSES, st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_does_not_matter(losses, unit):
    # Away from the very edge, where rounding decides.
    last = math.ceil(len(losses) / 4)
    before = min(losses[:-last], default=math.inf)
    edge = abs(min(losses[-last:]) / before - (1 - LARGEST_FALL)) < 1e-9
    assert edge or converged([loss * unit for loss in losses]) == converged(losses)


@given(LOSSES)
def test_a_training_that_rests_at_its_best_has_converged(losses):
    assert converged([*losses, *[min(losses)] * 3 * (len(losses) + 1)])


def test_the_rule_is_told_in_words():
    assert "more than 2 % over the last quarter" in RULE
