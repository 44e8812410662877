"""Which scores are nothing but chance, and which are odd in their dataset."""

import numpy as np
import pytest

from data_prep.registration.score import chance, mutual_information, outliers


def named(*scores: float | None) -> dict[str, float | None]:
    return {f"IXI{number:03d}": score for number, score in enumerate(scores)}


@pytest.mark.parametrize(
    ("scores", "odd"),
    [
        # One sform turned by 90 degrees among equal heads, and a T1 that is a copy of the T2.
        ((1.64, 1.65, 0.21, 1.63, 1.64), ["IXI002"]),
        ((0.9, 0.88, 4.9, 0.91, 0.86), ["IXI002"]),
        # Several cannot hide each other: neither median nor MAD follows them.
        ((0.9, 0.2, 0.88, 0.3, 0.91, 0.25, 0.93, 0.89, 0.9), ["IXI001", "IXI003", "IXI005"]),
        ((0.9, 0.88, 0.3), ["IXI002"]),
        # Nearly equal scores have no spread to speak of; two tell nothing of each other.
        ((0.9, 0.9, 0.9, 0.86, 0.9, 1.0), []),
        ((0.9, 0.2), []),
        # Excluded subjects have no score.
        ((0.9, None, 0.88, 0.2, 0.91), ["IXI003"]),
        ((None, None), []),
        ((0.7,), []),
        ((), []),
    ],
)
def test_what_lies_far_from_the_others_is_odd(scores: tuple[float | None, ...], odd: list[str]) -> None:
    found = outliers(named(*scores))
    assert list(found) == odd
    for subject, remark in found.items():
        assert f"score {named(*scores)[subject]:.3f} is an outlier" in remark


def test_scores_that_scatter_are_not_odd() -> None:
    scatter = np.random.default_rng(0).normal(0.9, 0.1, 577)
    found = outliers(named(*map(float, scatter), 0.3))
    assert "IXI577" in found
    assert len(found) <= 3


@pytest.mark.parametrize("count", [500, 5_000, 50_000])
def test_chance_is_what_unrelated_lists_score(count: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.rayleigh(size=(2, count)).astype(np.float32)
    assert mutual_information(a, b) == pytest.approx(chance(a, b), rel=0.1)
    # It does not depend on what the lists share.
    assert chance(a, a) == pytest.approx(chance(a, b), rel=0.1)
