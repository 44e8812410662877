"""Seeds depend on names and values, on nothing else."""

import subprocess
import sys

from data_prep.seeds import seed_for


def test_order_of_the_axes_does_not_matter_but_names_and_values_do() -> None:
    seed = seed_for(use="noise", subject="IXI900", slice=3)
    assert seed_for(slice=3, subject="IXI900", use="noise") == seed
    others = [
        seed_for(use="noise", subject="IXI900", slice=4),
        seed_for(use="noise", subject="IXI901", slice=3),
        seed_for(use="noise", subject="IXI900", slice="3"),
        seed_for(use="noise", file="IXI900", slice=3),
        seed_for(use="noise", subject="IXI900"),
        seed_for(use="noiseIXI900", subject="", slice=3),
    ]
    assert len({seed, *others}) == 7


def test_fits_every_generator_and_spreads() -> None:
    seeds = [seed_for(use="mask", seed=i) for i in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 900 < sum(seed % 2 for seed in seeds) < 1100
    assert 900 < sum(seed >> 62 for seed in seeds) < 1100


def test_is_the_same_in_every_process() -> None:
    code = "from data_prep.seeds import seed_for; print(seed_for(use='split', group='IXI900', seed=2022))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said) == seed_for(use="split", group="IXI900", seed=2022) == 7163352497311391059
