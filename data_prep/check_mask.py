r"""Check that families of masks keep their contract: ``python -m data_prep.check_mask PATTERN``.

PATTERN is what names of masks begin with, such as ``2d_radial``; without one every family is checked. Each
acceleration is made for small even, odd and oblong matrices. A failure says what is wrong, with which matrix
and, if the family's own code stopped, in which line. The exit status is 0 only if everything holds.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np

from data_prep.contracts.checking import conclude, file_of, report, require
from data_prep.contracts.discovery import entry_named
from data_prep.datasets.contract import discover as datasets
from data_prep.io.command import NAMES, command
from data_prep.io.files import scratch
from data_prep.masks.__main__ import save
from data_prep.masks.contract import Mask, MaskFamily, centre_block
from data_prep.masks.registry import families
from data_prep.masks.sets import MaskSet, make_masks

SHAPES = ((64, 64), (33, 45), (48, 64))
# Drawn masks have their acceleration on average: over so many, of a width like fastMRI's, within 5 %.
DRAWS, DRAWN_WIDTH, DRAWN_SHARE = 200, 320, 0.05
POINTS_SHARE = 0.02  # by which a number of points may differ from the nominal one
SEEDS = range(1, 5)


def by_lines(family: MaskFamily) -> bool:
    """Tell whether a family samples whole lines."""
    return family.drawn or family.pattern.startswith("1d_")


def draw(family: MaskFamily, shape: tuple[int, int], acceleration: int, seed: int = 0) -> Mask:
    """Make one mask from a fresh generator."""
    return family.make(*shape, acceleration, np.random.RandomState(seed))


def each(family: MaskFamily) -> Iterator[tuple[int, tuple[int, int], Mask, str]]:
    """Yield acceleration, matrix, mask and words that name them; drawn masks have one row."""
    for acceleration in family.accelerations:
        for height, width in SHAPES:
            shape = (1 if family.drawn else height, width)
            place = f"{acceleration}x, {shape[0]} x {width}"
            yield acceleration, shape, draw(family, shape, acceleration), place


def form(family: MaskFamily) -> None:
    """Masks are bool (height, width), for even, odd and oblong matrices."""
    for _, shape, mask, place in each(family):
        require(isinstance(mask, np.ndarray), f"make returns {type(mask).__name__}, no array ({place})")
        require(mask.dtype == np.bool_, f"the mask is {mask.dtype}, not bool ({place})")
        require(mask.shape == shape, f"the mask is {mask.shape}, not {shape} ({place})")


def lines(family: MaskFamily) -> None:
    """Whole lines are sampled, the same columns in every row."""
    for _, _, mask, place in each(family):
        require(bool((mask == mask[0]).all()), f"rows differ ({place}); call a pattern of points 2d_...")


def acceleration(family: MaskFamily) -> None:
    """The realised acceleration is the nominal one, or the nearest possible."""
    if family.drawn:
        for nominal in family.accelerations:
            shares = [draw(family, (1, DRAWN_WIDTH), nominal, seed).mean() for seed in range(DRAWS)]
            realised = float(np.mean(1 / np.array(shares)))
            require(
                abs(realised / nominal - 1) <= DRAWN_SHARE,
                f"{nominal}x is {realised:.2f}x on average over {DRAWS} masks of {DRAWN_WIDTH} lines, "
                f"more than {100 * DRAWN_SHARE:.0f} % off",
            )
        return
    for nominal, (height, width), mask, place in each(family):
        if by_lines(family):
            found, wanted, allowed, noun = int(mask[0].sum()), width / nominal, 0.5, "lines"
        else:
            found, wanted, noun = int(mask.sum()), height * width / nominal, "samples"
            allowed = max(0.5, POINTS_SHARE * wanted)
        require(
            abs(found - wanted) <= allowed,
            f"there are {found} {noun}, but {wanted:.1f} are nominal, give or take {allowed:.1f} ({place})",
        )


def centre(family: MaskFamily) -> None:
    """The zero frequency and its neighbours are sampled, with all autocalibration lines."""
    for nominal, (height, width), mask, place in each(family):
        if by_lines(family):
            block = centre_block(width, max(1, family.acs(width, nominal)))
            require(bool(mask[:, block].all()), f"not all {block.sum()} centre lines are sampled ({place})")
        else:
            middle = mask[height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2]
            require(bool(middle.all()), f"not all 3 x 3 central positions are sampled ({place})")


def reach(family: MaskFamily) -> None:
    """High frequencies are sampled on either side of the centre along both axes."""
    for nominal, shape, mask, place in each(family):
        shown: Mask = mask.copy()
        if family.drawn:
            # One of few lines may miss an end by chance; its one row stands for all.
            for seed in SEEDS:
                shown |= draw(family, shape, nominal, seed)
        for axis, word in ((1, "columns"),) if family.drawn else ((0, "rows"), (1, "columns")):
            sampled: Mask = np.asarray(shown.any(axis=1 - axis))
            outer = shape[axis] // 4
            for end, side in ((sampled[:outer], "first"), (sampled[-outer:], "last")):
                require(bool(end.any()), f"none of the {side} {outer} {word} is sampled ({place})")


def seeds(family: MaskFamily) -> None:
    """The generator decides everything: equal seeds, equal bits; other seeds, other masks."""
    for nominal, shape, mask, place in each(family):
        # The legacy call on purpose: whoever draws from numpy's global generator gets something else now.
        np.random.seed(1)  # noqa: NPY002
        again = draw(family, shape, nominal)
        require(bool((mask == again).all()), f"the same seed gives another mask ({place}); use the generator")
        others = (draw(family, shape, nominal, seed) for seed in SEEDS)
        require(
            any((mask != other).any() for other in others),
            f"{len(SEEDS) + 1} seeds give one mask ({place}); let the generator choose something",
        )


def files(family: MaskFamily) -> None:
    """A mask is written, drawn and read back the same."""
    stems = ("file1000001", "file1000002") if family.drawn else ()
    dataset = next(name for name, (_, of) in datasets().items() if of.drawn_masks == family.drawn)
    for name in family.names:
        made = make_masks(name, 64, 64, 0, stems)
        with scratch() as folder:
            save(made, 64, 64, 0, dataset, folder)
            read = MaskSet.load(folder / f"{name}.npz")
        require(read.sha256 == made.sha256, f"{name} is not read back as it was made")


CHECKS: dict[str, Callable[[MaskFamily], None]] = {
    check.__name__: check for check in (form, lines, acceleration, centre, reach, seeds, files)
}


def checks_of(family: MaskFamily) -> list[str]:
    """Return the names of the checks that apply to a family."""
    return [name for name in CHECKS if by_lines(family) or name != "lines"]


def run(pattern: str, *, briefly: bool = False) -> tuple[int, int]:
    """Check one family, print what was found, and return the numbers of failures and of checks.

    Raises:
        BadInput: there is no such family.
    """
    family = entry_named(pattern, families(), "family")
    checks = [CHECKS[name] for name in checks_of(family)]
    heading, own = f"{pattern}: {', '.join(family.names)}", file_of(families()[pattern][0])
    return report(heading, checks, family, own, briefly=briefly)


@command
def main(patterns: Annotated[tuple[str, ...], NAMES, "family, e.g. 2d_radial; default: all"] = (), /) -> None:
    """Check families; the exit status is 1 unless all hold."""
    conclude(run(name, briefly=not patterns) for name in patterns or families())
