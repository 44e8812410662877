"""The contract check of mask families: each fault that it is there for is found, by name and place."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from data_prep import check_mask
from data_prep.contracts.checking import problem_with
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.masks.contract import MaskFamily
from data_prep.masks.registry import families


def points(height, width, acceleration, generator):
    """A sound family of points: a centre, and random ones."""
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2] = True
    wanted = round(height * width / acceleration) - int(mask.sum())
    mask.ravel()[generator.choice(np.flatnonzero(~mask), wanted, replace=False)] = True
    return mask


SOUND = MaskFamily("2d_points", (4,), order=1, make=points)
LINES = families()["1d_random"][1]
DRAWN = families()["random"][1]


def changed(family, change):
    """The family with something done to each of its masks."""
    return replace(family, make=lambda *arguments: change(family.make(*arguments), *arguments))


def without_centre(mask, height, width, *_):
    mask[height // 2, width // 2] = False
    return mask


def doubled(mask, height, width, *_):
    mask[: height // 2] = True
    return mask


def one_sided(mask, height, width, *_):
    moved = mask.copy()
    moved[:, : width // 3] = False
    # As many samples as before, elsewhere.
    free = np.flatnonzero(~moved & (np.arange(width) >= width // 3))
    moved.ravel()[free[: int(mask.sum() - moved.sum())]] = True
    return moved


def careless(height, width, acceleration, generator):
    return points(height, width, acceleration, np.random)


def fixed(height, width, acceleration, generator):
    return points(height, width, acceleration, np.random.RandomState(7))


FAULTS = [
    ("form", changed(SOUND, lambda mask, *_: mask.astype(float)), "float64, not bool"),
    ("form", changed(SOUND, lambda mask, *_: mask[:-1]), r"not \(64, 64\)"),
    ("form", changed(SOUND, lambda mask, *_: mask.tolist()), "list, no array"),
    ("lines", changed(LINES, without_centre), "rows differ"),
    ("acceleration", changed(SOUND, doubled), "1024.0 are nominal"),
    ("acceleration", replace(SOUND, accelerations=(4, 5), make=lambda h, w, a, g: points(h, w, 4, g)), "5x"),
    ("acceleration", changed(DRAWN, lambda mask, *_: mask | ~mask), "1.00x on average"),
    ("centre", changed(SOUND, without_centre), "3 x 3"),
    ("centre", replace(LINES, acs=lambda width, _: width // 2), "centre lines"),
    ("reach", changed(SOUND, one_sided), "none of the first 16 columns"),
    ("seeds", replace(SOUND, make=careless), "the same seed gives another mask"),
    ("seeds", replace(SOUND, make=fixed), "5 seeds give one mask"),
    ("form", replace(SOUND, make=lambda *_: 1 / 0), "ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("name", "family", "problem"), FAULTS)
def test_a_fault_is_found(name, family, problem, tmp_path):
    found = problem_with(check_mask.CHECKS[name], family, tmp_path)
    assert found is not None
    assert problem.replace("\\", "") in found


def test_a_sound_family_passes(tmp_path):
    for name in check_mask.checks_of(SOUND):
        if name != "files":  # it goes by the names of discovered families
            assert problem_with(check_mask.CHECKS[name], SOUND, tmp_path) is None


def test_an_error_names_the_line_of_the_familys_file(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def make(subject):\n    raise ValueError('no')\n")
    scope: dict = {}
    exec(compile(source.read_text(), str(source), "exec"), scope)
    assert problem_with(scope["make"], None, source).endswith("mine.py, line 2, in make)")


def test_the_command_ends_with_status_1_where_a_check_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_mask", "1d_random"])
    call(check_mask.main)
    assert "7 of 7 checks passed" in capsys.readouterr().out
    monkeypatch.setitem(
        families(), "1d_random", ("data_prep.masks.families.random_lines", changed(LINES, without_centre))
    )
    with pytest.raises(SystemExit) as end:
        call(check_mask.main)
    assert end.value.code == 1
    assert "FAIL  Whole lines are sampled" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check_mask", "2d_nothing"])
    with pytest.raises(BadInput, match="family '2d_nothing' is unknown; known: 1d_uniform"):
        call(check_mask.main)
