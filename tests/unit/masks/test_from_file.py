"""Masks from files: taken as they are, named, and refused in one sentence where they cannot be used."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_prep.errors import BadInput
from data_prep.masks.from_file import (
    VARIABLE,
    full_name,
    read_mask,
    register,
    register_found,
    register_unknown,
)
from data_prep.masks.registry import all_masks, families, label, parse_mask
from data_prep.masks.sets import MaskSet
from methods.registry import discover
from workflow.plan.config import check_config
from workflow.plan.page import own_files
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.provenance.footer import config_sha256, data_sha256
from workflow.provenance.sources import mask_sources

ROOT = Path(__file__).parents[3]
SIDE = 64


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """No test knows of another's masks."""
    monkeypatch.setenv(VARIABLE, "")
    families.cache_clear()
    yield
    families.cache_clear()


def lines(step=6):
    mask = np.zeros(SIDE, bool)
    mask[SIDE // 2 % step :: step] = True
    return mask


def disc():
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return x**2 + y**2 < 200


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.npy"
    np.save(path, lines())
    return path


def configured(file, masks=("1d_uniform_6x", "my_mask"), **further):
    content = yaml.safe_load((ROOT / "tests/e2e/tiny.yaml").read_text())
    del content["datasets"]["fastmri"]
    content["datasets"]["ixi"] |= {"masks": list(masks), "mask_files": {"my_mask": str(file)}}
    content |= {"figures": [], "tables": [1], "compare": ["zf", "unet"]} | further
    return check_config(content, discover())


def test_whole_lines_and_points_are_read_as_they_are(tmp_path, file):
    assert (read_mask(file, SIDE, SIDE) == lines()[None]).all()
    np.save(tmp_path / "points.npy", disc())
    assert (read_mask(tmp_path / "points.npy", SIDE, SIDE) == disc()).all()


def array(value):
    return lambda path: np.save(path, value, allow_pickle=True)


REFUSED = {
    "absent": (lambda path: None, r"no such file; correct the path"),
    "numbers": (array(lines().astype(float)), r"its values are float64, not bool; save it with numpy\.save"),
    "bytes": (array(lines().astype(np.uint8)), r"its values are uint8, not bool"),
    "objects": (
        array(np.array([True, None] * 32)),
        r"not a NumPy array of numbers \(\.npy\).*; save it with",
    ),
    "text": (lambda path: path.write_text("1, 0, 1"), r"not a NumPy array of numbers"),
    "empty": (lambda path: path.write_bytes(b""), r"not a NumPy array of numbers"),
    "archive": (lambda path: np.savez(path.open("wb"), mask=lines()), r"an archive, not one array"),
    "cut": (lambda path: (np.save(path, disc()), path.write_bytes(path.read_bytes()[:900])), r"not a NumPy"),
    "size": (
        array(np.ones((SIDE, SIDE // 2), bool)),
        r"has the shape 64 x 32, but .* are 64 x 64, or 64 whole",
    ),
    "volume": (array(np.ones((2, SIDE, SIDE), bool)), r"has the shape 2 x 64 x 64"),
    "value": (array(np.array(True)), r"has the shape a single value"),
    "nothing": (array(np.zeros(SIDE, bool)), r"samples nothing; set sampled positions to True"),
    "corner": (array(np.fft.ifftshift(disc())), r"does not sample the zero frequency.*\[32, 32\]; apply"),
    "everything": (
        array(np.ones(SIDE, bool)),
        r"samples 100% of all positions, .* sample at most two thirds",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mask_is_refused_in_one_sentence(tmp_path, kind):
    write, message = REFUSED[kind]
    path = tmp_path / "mine.npy"
    write(path)
    with pytest.raises(BadInput, match=rf"mask_files\.my_mask: {path}: .*{message}") as caught:
        configured(path)
    assert "\n" not in str(caught.value)


class Trap:
    """An object that would leave a trace if it were loaded."""

    def __reduce__(self):
        return (Path.touch, (Path(self.trace),))


def test_objects_in_a_file_are_not_run(tmp_path):
    trap = Trap()
    trap.trace = str(tmp_path / "trace")
    np.save(tmp_path / "mine.npy", np.array([trap], object), allow_pickle=True)
    with pytest.raises(BadInput, match="not a NumPy array"):
        read_mask(tmp_path / "mine.npy", SIDE, SIDE)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1d_uniform_6x", "1d_uniform_6x is of a family of masks; give the file another name"),
        ("2d_radial", "2d_radial is of a family of masks"),
        ("mine_4x", r"mine_4x tells of 4x, but the mask samples one position in 5\.82; call it mine_6x"),
        ("My-Mask", "'My-Mask' cannot be a name; use up to 60 of a-z, 0-9, and _ between words"),
        ("a/b", "cannot be a name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name, message):
    with pytest.raises(BadInput, match=message):
        full_name(name, np.broadcast_to(lines(), (SIDE, SIDE)), "here")


def test_a_file_that_nothing_uses_is_refused(file):
    with pytest.raises(BadInput, match=r"my_mask: neither datasets\.ixi\.masks nor trust\.transfer uses it"):
        configured(file, masks=["1d_uniform_6x"])


def test_a_mask_under_both_of_its_names_is_refused(file):
    both = ["my_mask", "my_mask_6x"]
    with pytest.raises(BadInput, match=r"datasets\.ixi\.masks: my_mask_6x is there twice, by both names"):
        configured(file, masks=both)
    with pytest.raises(BadInput, match=r"trust\.masks\.ixi: my_mask_6x is there twice"):
        configured(file, trust={"masks": {"ixi": both}})


def test_another_dataset_has_no_mask_of_a_file_that_it_does_not_name(file):
    own = configured(file)["datasets"]["ixi"]
    other = {"source": "embedded", "matrix": SIDE, "slices": 4, "splits": own["splits"]}
    with pytest.raises(BadInput, match=r"datasets\.brats\.masks: unknown mask 'my_mask_6x'"):
        configured(file, datasets={"ixi": own, "brats": other | {"masks": ["my_mask_6x"]}})


def test_a_mask_from_a_file_is_one_like_all_others(file):
    config = configured(file)
    assert config["datasets"]["ixi"]["masks"] == ["1d_uniform_6x", "my_mask_6x"]
    assert config["datasets"]["ixi"]["mask_files"] == {"my_mask_6x": str(file)}
    assert label("my_mask_6x") == "My-Mask-6×"
    assert all_masks()[-1] == "my_mask_6x"
    plan = Plan(config, discover())
    assert [run.path for run in plan.runs if run.mask == "my_mask_6x"] == [
        "ixi/my_mask_6x/unet/seed0",
        "ixi/my_mask_6x/zf/seed0",
    ]
    assert plan.table_definitions[1].masks == ("1d_uniform_6x", "my_mask_6x")
    assert "data_prep/masks/families/from_file.py" in mask_sources("my_mask_6x")
    # What is checked once is as it would be checked again.
    assert check_config(config, discover()) == config


def test_neither_where_the_file_lies_nor_the_mask_belongs_to_the_data(file, tmp_path):
    elsewhere = file.rename(tmp_path / "moved.npy")
    with_file, moved = (configured(path) for path in (np_copy(elsewhere, file), elsewhere))
    tested = {"masks": {"ixi": ["1d_uniform_6x"]}, "transfer": True}
    without = configured(elsewhere, trust=tested, masks=["1d_uniform_6x"])
    assert config_sha256(with_file) == config_sha256(moved)
    assert len({data_sha256(config, "ixi") for config in (with_file, moved, without)}) == 1
    assert Plan(with_file, discover()).subjects.places == Plan(without, discover()).subjects.places


def np_copy(source, target):
    target.write_bytes(source.read_bytes())
    return target


def test_a_mask_can_be_for_testing_alone(file):
    trust = {"masks": {"ixi": ["1d_uniform_6x"]}, "transfer": True}
    plan = Plan(configured(file, masks=["1d_uniform_6x"], trust=trust), discover())
    assert {run.mask for run in plan.runs} == {"1d_uniform_6x"}
    probed = TrustPlan(plan)
    (run,) = (run for run in probed.runs if run.method == "unet")
    assert [Path(path).stem for path in probed.other_masks(run)] == ["1d_uniform_6x", "my_mask_6x"]
    assert probed.definition("ixi").all_masks == ("1d_uniform_6x", "my_mask_6x")
    assert "masks/ixi/my_mask_6x.*" in own_files(probed)


def test_the_probed_masks_are_named_as_the_user_does(file):
    trust = {"masks": {"ixi": ["my_mask"]}, "phase": {"ixi": ["my_mask"]}, "transfer": True}
    assert configured(file, trust=trust)["trust"]["masks"] == {"ixi": ["my_mask_6x"]}


def test_the_command_freezes_hashes_and_draws_it(file, tmp_path):
    words = ["--mask", "my_mask_6x", "--height", "64", "--width", "64", "--dataset", "ixi", "--seed", "1"]
    command = [
        sys.executable,
        "-m",
        "data_prep.masks",
        *words,
        "--file",
        str(file),
        "--output",
        str(tmp_path),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    record = json.loads((tmp_path / "my_mask_6x.json").read_text())
    register(["my_mask_6x"])
    loaded = MaskSet.load(tmp_path / "my_mask_6x.npz")
    assert (loaded.mask == lines()[None]).all()
    assert not loaded.drawn
    assert record["sha256"] == loaded.sha256
    assert record["realised_acceleration"] == pytest.approx(64 / 11)
    # Neither is known of it.
    assert (record["acceleration"], record["seed"], record["acs"]) == (6, None, None)
    assert (tmp_path / "my_mask_6x.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_experiments_masks_are_known_by_its_records(tmp_path):
    with pytest.raises(BadInput, match="unknown"):
        parse_mask("my_mask_6x")
    (tmp_path / "masks" / "ixi").mkdir(parents=True)
    (tmp_path / "masks" / "ixi" / "my_mask_6x.json").touch()
    register_found(tmp_path)
    assert parse_mask("my_mask_6x")[1] == 6


def test_names_that_no_mask_from_a_file_has_are_not_taken_from_results():
    before = all_masks()
    register_unknown(
        ["1d_uniform_7x", "__4x", "mine_04x", "mine_\u0664x", "mine_", "Mine_4x", "1d_uniform_6x"]
    )
    assert all_masks() == before
    for name in ("mine_4x", "mine_6x"):
        register_unknown([name])
    assert all_masks() == (*before, "mine_4x", "mine_6x")
