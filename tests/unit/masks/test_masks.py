"""Masks: realised accelerations, the patterns' shapes, fastMRI's bits, and the files that freeze them."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from data_prep.errors import BadInput
from data_prep.fourier import fft2c, ifft2c
from data_prep.io.command import call
from data_prep.masks import families as families_package
from data_prep.masks.__main__ import main, save, splits_of
from data_prep.masks.registry import acs_lines, all_masks, families, label, masks_of, parse_mask
from data_prep.masks.sets import MaskSet, file_lines, frozen_mask, make_masks, mirrored

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "fastmri_masks.json").read_text())
SIDES = [64, 96, 128, 256, 320]
FROZEN, DRAWN = masks_of(drawn=False), masks_of(drawn=True)
ONE_D = [name for name in FROZEN if name.startswith("1d_")]
TWO_D = [name for name in FROZEN if name.startswith("2d_")]


def lines_of(name: str, width: int, seed: int = 2022) -> np.ndarray:
    mask = frozen_mask(name, 32, width, seed)
    assert (mask == mask[0]).all(), "1D masks sample whole columns"
    return mask[0]


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("side", SIDES)
def test_realised_acceleration_is_nominal_or_the_nearest_whole_number(name: str, side: int) -> None:
    mask = frozen_mask(name, side, side, 2022)
    assert mask.dtype == bool
    assert mask.shape == (side, side)
    nominal = parse_mask(name)[1]
    smallest_step = side if name in ONE_D else 1
    assert abs(mask.sum() - side * side / nominal) <= smallest_step / 2
    if name in TWO_D or side == 256:
        assert mask.size / mask.sum() == pytest.approx(nominal, rel=0.02)


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize(
    "shape", [(32, 32), (33, 33), (97, 97), (255, 255), (96, 128), (128, 77), (320, 33), (319, 320)]
)
def test_odd_small_and_oblong_matrices(name: str, shape: tuple[int, int]) -> None:
    height, width = shape
    mask = frozen_mask(name, height, width, 7)
    nominal = parse_mask(name)[1]
    expected = round(width / nominal) * height if name in ONE_D else round(height * width / nominal)
    assert mask.sum() == expected
    assert mask[height // 2, width // 2], "the zero frequency is always sampled"


@pytest.mark.parametrize("name", ONE_D)
@pytest.mark.parametrize("width", [*SIDES, 33, 255])
def test_lines_around_the_zero_frequency_are_complete(name: str, width: int) -> None:
    lines = lines_of(name, width)
    acs = round(0.04 * width)
    below = width // 2 - np.flatnonzero(~lines[: width // 2])[-1] - 1
    above = np.flatnonzero(~lines[width // 2 :])[0]
    assert below + above >= acs
    assert min(below, above) >= acs // 2 - 1


@pytest.mark.parametrize("name", ["1d_uniform_6x", "1d_uniform_9x"])
@pytest.mark.parametrize("width", [*SIDES, 255])
def test_uniform_lines_are_equally_spaced_and_wider_than_nominal(name: str, width: int) -> None:
    lines = lines_of(name, width)
    nominal = parse_mask(name)[1]
    acs = round(0.04 * width)
    start = (width - acs + 1) // 2
    left, right = np.flatnonzero(lines[:start]), np.flatnonzero(lines[start + acs :])
    gaps = np.concatenate([np.diff(left), np.diff(right)])
    assert gaps.max() - gaps.min() <= 1
    assert gaps.mean() > nominal
    # No hole at either edge and none beside the centre block.
    assert max(left[0], start - left[-1], right[0] + 1) <= gaps.max()
    assert width - (start + acs + right[-1]) <= gaps.max()


@pytest.mark.parametrize("name", ["1d_random_3x", "1d_random_6x"])
def test_random_lines_have_no_preference(name: str) -> None:
    width, seeds = 128, range(300)
    share = np.mean([lines_of(name, width, seed) for seed in seeds], axis=0)
    outside = np.r_[share[:58], share[70:]]
    expected = (round(width / parse_mask(name)[1]) - 5) / (width - 5)
    assert abs(outside - expected).max() < 5 * math.sqrt(expected * (1 - expected) / len(seeds))


@pytest.mark.parametrize("name", TWO_D)
@pytest.mark.parametrize("side", [96, 256])
def test_2d_patterns_are_dense_in_the_centre_and_thin_out(name: str, side: int) -> None:
    mask = frozen_mask(name, side, side, 2022)
    y, x = np.indices(mask.shape) - side // 2
    radius = np.hypot(y, x)
    density = [mask[(radius >= low) & (radius < low + side / 12)].mean() for low in np.arange(6) * side / 12]
    assert mask[radius <= 2.5].all()
    assert (np.diff(density) < 0).all()
    assert density[0] > 5 * density[-1]


@pytest.mark.parametrize("name", ["2d_radial_6x", "2d_radial_9x"])
def test_spokes_pass_through_the_centre_at_equal_angles(name: str) -> None:
    side = 256
    mask = frozen_mask(name, side, side, 2022)
    y, x = np.indices(mask.shape) - side // 2
    ring = mask & (abs(np.hypot(y, x) - 120) < 1)
    angles = np.sort(np.arctan2(y[ring], x[ring]))
    gaps = np.diff(np.r_[angles, angles[0] + 2 * np.pi])
    # Samples of one spoke in the ring lie within two grid steps; what is left are gaps between spokes.
    between = gaps[gaps > 2.5 / 120]
    assert len(between) % 2 == 0, "every spoke leaves the ring twice"
    assert abs(between - between.mean()).max() < 3 / 120
    # A spoke seen from its two ends: point symmetric but for rounding.
    turned = np.zeros_like(mask)
    turned[1:, 1:] = mask[1:, 1:][::-1, ::-1]
    assert (ndimage.binary_dilation(turned, np.ones((3, 3))) & mask)[1:, 1:].sum() > 0.98 * mask.sum()


@pytest.mark.parametrize("name", ["2d_spiral_6x", "2d_spiral_9x"])
def test_spiral_arms_are_connected_and_leave_the_corners_empty(name: str) -> None:
    side = 256
    mask = frozen_mask(name, side, side, 2022)
    y, x = np.indices(mask.shape) - side // 2
    assert not mask[np.hypot(y, x) > side / 2 + 1].any()
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    # Outside the dense centre every ray meets turns that are further and further apart.
    for ray in (mask[side // 2, side // 2 :], mask[side // 2, side // 2 :: -1], mask[side // 2 :, side // 2]):
        samples = np.flatnonzero(ray)
        turns = samples[np.r_[True, np.diff(samples) > 1]]
        gaps = np.diff(turns[turns > side / 16])
        assert len(gaps) >= 8
        assert gaps[-3:].mean() > 2 * gaps[:3].mean()


@pytest.mark.parametrize("name", ["2d_poisson_6x", "2d_poisson_9x"])
def test_points_of_a_poisson_disc_keep_a_distance_that_grows_outwards(name: str) -> None:
    side = 128
    mask = frozen_mask(name, side, side, 2022)
    points = np.argwhere(mask)
    frequency = np.hypot(*(points - side // 2).T) / (side / 2)
    gap = cKDTree(points).query(points, k=2)[0][:, 1]
    assert mask[np.hypot(*(np.indices(mask.shape) - side // 2)) <= 0.08 * side / 2].all()
    rings = [gap[(frequency >= low) & (frequency < low + 0.2)] for low in (0.2, 0.4, 0.6, 0.8)]
    assert (np.diff([ring.mean() for ring in rings]) > 0).all()
    for ring, low in zip(rings, (0.2, 0.4, 0.6, 0.8), strict=True):
        # Points thrown without regard to one another would touch somewhere in every ring.
        share = mask[
            abs(np.hypot(*(np.indices(mask.shape) - side // 2)) / (side / 2) - low - 0.1) < 0.1
        ].mean()
        assert ring.min() > 0.6 / math.sqrt(share)


@pytest.mark.parametrize("name", FROZEN)
def test_masks_follow_the_seed(name: str) -> None:
    first = frozen_mask(name, 96, 96, 1)
    np.testing.assert_array_equal(first, frozen_mask(name, 96, 96, 1))
    assert (first != frozen_mask(name, 96, 96, 2)).any()


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("1d_uniform_6x", "e065f3f5be11"),
        ("1d_random_3x", "b73296130c71"),
        ("2d_radial_9x", "6555b511cd76"),
        ("2d_spiral_6x", "6eaa6e47abe9"),
        ("2d_poisson_6x", "5c79e09b62ad"),
    ],
)
def test_masks_are_the_same_everywhere(name: str, start: str) -> None:
    """A change here changes every published number of the suite."""
    assert make_masks(name, 256, 256, 2022).sha256.startswith(start)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['pattern']}_{g['acceleration']}x_{g['width']}")
def test_fastmri_masks_are_bit_equal(golden: dict) -> None:
    name = f"{golden['pattern']}_{golden['acceleration']}x"
    lines = file_lines(name, golden["width"], golden["file_name"].removesuffix(".h5"))
    assert np.flatnonzero(lines).tolist() == golden["columns"]
    assert lines.sum() == golden["sampled"]
    assert acs_lines(name, golden["width"]) == golden["low_frequency_lines"]


def test_fastmri_training_masks_differ_by_seed_alone() -> None:
    store = make_masks("random_4x", 320, 320, 2022, ["file9000001"])
    batch = store.training([5, 6, 5 + 2**32])
    assert batch.shape == (3, 1, 320)
    np.testing.assert_array_equal(batch[0], batch[2])
    assert (batch[0] != batch[1]).any()
    np.testing.assert_array_equal(batch[1:2], store.training([6]))
    mean = np.mean([1 / store.training([seed]).mean() for seed in range(200)])
    assert mean == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("name", DRAWN)
def test_fastmri_evaluation_masks_are_the_files_own(name: str) -> None:
    stems = ["file1000323", "file9000001"]
    store = make_masks(name, 320, 320, 2022, stems)
    batch = store.evaluation(["file9000001", "file1000323", "file9000001"])
    assert batch.shape == (3, 1, 320)
    for lines, stem in zip(batch, ["file9000001", "file1000323", "file9000001"], strict=True):
        np.testing.assert_array_equal(lines[0], file_lines(name, 320, stem))
    with pytest.raises(BadInput, match="file7"):
        store.evaluation(["file1000323", "file7"])


def test_ixi_has_one_mask_for_all() -> None:
    store = make_masks("2d_spiral_9x", 64, 48, 2022)
    assert store.evaluation(["IXI900", "IXI901"]).shape == (2, 64, 48)
    assert store.training([1, 2, 3]).shape == (1, 64, 48)
    for batch in (store.evaluation(["IXI900", "IXI901"]), store.training([8])):
        assert (batch == store.mask).all()
    store.training([1])[:] = True
    assert not store.mask.all(), "a batch is a copy"


def test_names_and_labels() -> None:
    for name, pattern, acceleration in (("2d_radial_9x", "2d_radial", 9), ("equispaced_8x", "equispaced", 8)):
        family, found = parse_mask(name)
        assert (family.pattern, found) == (pattern, acceleration)
    labels = {label(name) for name in all_masks()}
    assert {"1D-Uniform-6×", "2D-Spiral-9×", "2D-Poisson-6×", "Random-4×", "Equispaced-8×"} < labels
    assert len(labels) == len(all_masks())
    with pytest.raises(BadInput, match=r"`2d_radial_5x` is unknown.*2d_radial_6x.*equispaced_8x"):
        parse_mask("2d_radial_5x")


FAMILY = "from data_prep.masks.contract import MaskFamily\nFAMILY = MaskFamily({}, make=None)\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "FAMILY is no MaskFamily"),
        ("FAMILY = 'mine'", "FAMILY is no MaskFamily"),
        (FAMILY.format("'2d_radial', (4,), order=1"), "has the pattern '2d_radial' too"),
        (FAMILY.format("'2D radial', (4,), order=1"), "pattern is '2D radial'"),
        (FAMILY.format("'mine', (4, 1.5), order=1"), r"accelerations are \(4, 1.5\)"),
        (FAMILY.format("'mine', (), order=1"), r"accelerations are \(\)"),
        (FAMILY.format("'mine', (4,), order='last'"), "FAMILY: order is 'last'; give a whole number"),
    ],
)
def test_a_broken_family_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    (tmp_path / "zz_mine.py").write_text(text)
    monkeypatch.setattr(families_package, "__path__", [*families_package.__path__, str(tmp_path)])
    families.cache_clear()
    try:
        with pytest.raises(BadInput, match=rf"zz_mine\.py: .*{reason}"):
            families()
    finally:
        families.cache_clear()
        sys.modules.pop("data_prep.masks.families.zz_mine", None)


@pytest.mark.parametrize("name", [*FROZEN, *DRAWN])
@pytest.mark.parametrize("shape", [(31, 64), (64, 31), (4, 4)])
def test_too_small_a_matrix_is_refused(name: str, shape: tuple[int, int]) -> None:
    with pytest.raises(
        BadInput, match=f"mask `{name}`: a matrix of {shape[0]} x .*; use sides of 32 or more"
    ):
        make_masks(name, *shape, 1, ["file1"])


@pytest.mark.parametrize("name", DRAWN)
def test_the_smallest_drawn_masks_sample_the_zero_frequency(name: str) -> None:
    masks = make_masks(name, 32, 32, 1, [f"file{number}" for number in range(50)]).mask
    assert masks[:, 16].all()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["masks", *arguments])
    call(main)


def test_files_of_an_ixi_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--mask", "2d_radial_6x", "--height", "64", "--width", "60", "--seed", "2022"]
    options += ["--dataset", "ixi"]
    for folder in ("one", "two"):
        run(monkeypatch, *options, "--output", str(tmp_path / folder))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["2d_radial_6x.json", "2d_radial_6x.npz", "2d_radial_6x.png"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    loaded = MaskSet.load(tmp_path / "one" / "2d_radial_6x.npz")
    record = json.loads((tmp_path / "one" / "2d_radial_6x.json").read_text())
    assert record == {
        "name": "2d_radial_6x",
        "dataset": "ixi",
        "pattern": "2d_radial",
        "acceleration": 6,
        "realised_acceleration": 6.0,
        "effective_acceleration": loaded.effective_acceleration,
        "acs": 0,
        "seed": 2022,
        "sha256": loaded.sha256,
        "shape": [64, 60],
        "sampled": 640,
    }
    assert (loaded.drawn, loaded.pattern, loaded.acceleration) == (False, "2d_radial", 6)
    assert loaded.realised_acceleration == 6.0
    np.testing.assert_array_equal(loaded.mask, frozen_mask("2d_radial_6x", 64, 60, 2022))
    with Image.open(tmp_path / "one" / "2d_radial_6x.png") as picture:
        assert min(picture.size) > 800


def test_files_of_a_fastmri_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "subject,status,split\nfile9000001,ok,test\nfile9000007,excluded,\nfile1000323,ok,train\n"
    )
    options = ["--mask", "equispaced_4x", "--height", "320", "--width", "320", "--seed", "1"]
    options += ["--dataset", "fastmri"]
    run(monkeypatch, *options, "--manifest", str(manifest), "--output", str(tmp_path))
    loaded = MaskSet.load(tmp_path / "equispaced_4x.npz")
    assert loaded.files == ("file1000323", "file9000001")
    record = json.loads((tmp_path / "equispaced_4x.json").read_text())
    assert (record["shape"], record["sampled"], record["acs"]) == ([2, 320], 160, 26)
    assert (record["realised_acceleration"], record["seed"]) == (4.0, None)
    # Its targets are complex: nothing is given for free.
    assert record["effective_acceleration"] == 4.0
    with pytest.raises(BadInput, match="--manifest"):
        run(monkeypatch, *options, "--output", str(tmp_path))


def test_checksum_knows_the_shape() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    assert MaskSet("2d_radial_6x", mask).sha256 != MaskSet("2d_radial_6x", mask.reshape(6, 4)).sha256


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"m\.npz: the mask is missing"):
        MaskSet.load(tmp_path / "m.npz")
    save(make_masks("1d_random_3x", 32, 32, 1), 32, 32, 1, "ixi", tmp_path)
    whole = (tmp_path / "1d_random_3x.npz").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "m.npz").write_bytes(content)
        with pytest.raises(BadInput, match=r"m\.npz: not a mask file"):
            MaskSet.load(tmp_path / "m.npz")
    manifest = tmp_path / "manifest.csv"
    with pytest.raises(BadInput, match=r"manifest\.csv: no such file; run the step `prepare`"):
        splits_of(manifest)
    manifest.write_text("name\nfile9000001\n")
    with pytest.raises(BadInput, match="`subject`, `status` and `split`"):
        splits_of(manifest)
    manifest.write_text("subject,status,split\nfile9000001,excluded,\n")
    with pytest.raises(BadInput, match="no `ok`"):
        splits_of(manifest)
    manifest.write_text("subject,status,split\nfile9000001,ok,train\n")
    with pytest.raises(BadInput, match="no `test`"):
        splits_of(manifest)


def test_the_acceleration_beside_scores_is_that_of_the_files_that_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"file9000001": "train", "file9000011": "test", "file9000021": "val", "file9000031": "test"}
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "subject,status,split\n" + "".join(f"{s},ok,{split}\n" for s, split in splits.items())
    )
    options = [
        "--mask",
        "random_4x",
        "--height",
        "64",
        "--width",
        "64",
        "--seed",
        "1",
        "--dataset",
        "fastmri",
    ]
    run(monkeypatch, *options, "--manifest", str(manifest), "--output", str(tmp_path))
    record = json.loads((tmp_path / "random_4x.json").read_text())
    lines = [file_lines("random_4x", 64, name).sum() for name in splits]
    scored = 2 * 64 / (lines[1] + lines[3])
    assert scored != 4 * 64 / sum(lines)
    assert record["realised_acceleration"] == record["effective_acceleration"] == pytest.approx(scored)
    # Trainings are told apart by the masks of all files.
    assert (record["shape"], record["sampled"]) == ([4, 64], sum(lines))
    assert MaskSet.load(tmp_path / "random_4x.npz").files == tuple(splits)


def test_the_physics_page_prints_the_numbers_of_its_own_tables(capsys):
    page = (Path(__file__).parents[3] / "docs" / "physics.md").read_text(encoding="utf-8")
    exec(re.search(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)[1], {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words[0] for words in printed] == [*FROZEN, *DRAWN]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.MULTILINE)
    for name, *numbers in printed:
        row = next(cells for shown, cells in rows if shown == name and re.search(r"\b(of|320)\b", cells))
        cells = row.replace(",", "").split(" | ")
        if name in FROZEN:
            samples = int(numbers[0]) // (256 if name in ONE_D else 1)
            assert cells[1].split()[0] == str(samples)
            assert cells[2:4] == [f"{float(number):.3f}" for number in numbers[1:]]
        else:
            least, mean, most, realised = numbers
            assert cells[2] == f"{least} - {float(mean):.1f} - {most}"
            assert cells[3] == f"{float(realised):.3f}"


# ---- mirror images --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "worth"),
    [
        *(("1d_uniform_6x", 3.41), ("1d_uniform_9x", 5.69), ("1d_random_3x", 1.79), ("1d_random_6x", 3.56)),
        *(("2d_radial_6x", 5.98), ("2d_radial_9x", 8.97), ("2d_spiral_6x", 6.00), ("2d_spiral_9x", 9.00)),
    ],
)
def test_what_the_papers_masks_are_worth_for_magnitudes(name: str, worth: float) -> None:
    assert round(make_masks(name, 256, 256, 2022).effective_acceleration, 2) == worth


@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (8, 5), (5, 8)])
def test_mirrored_positions_hold_the_conjugate_of_a_real_images_kspace(shape: tuple[int, int]) -> None:
    kspace = fft2c(np.random.default_rng(0).random(shape))
    for row, column in np.ndindex(shape):
        one = np.zeros(shape, dtype=bool)
        one[row, column] = True
        (other,) = np.argwhere(mirrored(one))
        assert np.isclose(kspace[tuple(other)], kspace[row, column].conj(), atol=1e-12)
        np.testing.assert_array_equal(mirrored(mirrored(one)), one)


@pytest.mark.parametrize("name", ["1d_uniform_6x", "1d_random_6x", "2d_radial_6x", "2d_poisson_6x"])
@pytest.mark.parametrize("shape", [(64, 64), (45, 50)])
def test_a_real_image_is_known_wherever_a_sample_or_its_mirror_image_is(
    name: str, shape: tuple[int, int]
) -> None:
    mask = make_masks(name, *shape, 2022).mask
    kspace = fft2c(np.random.default_rng(1).random(shape))
    rows, columns = (-np.arange(size) + 2 * (size // 2) for size in shape)
    given = (kspace * mask)[np.ix_(rows % shape[0], columns % shape[1])].conj()
    filled = np.where(mask, kspace, given)
    np.testing.assert_allclose(ifft2c(filled), ifft2c(kspace * (mask | mirrored(mask))), atol=1e-12)


def test_the_files_of_drawn_masks_are_no_frequencies() -> None:
    lines = np.zeros((3, 8), dtype=bool)
    # The last file's line is the mirror image of the first's.
    lines[[0, 1, 2], [1, 2, 7]] = True
    assert MaskSet("random_4x", lines, ("a", "b", "c")).effective_acceleration == 24 / 6
