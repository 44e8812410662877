"""Paired tests, corrections, effect sizes and intervals, against scipy and against their definitions."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_results import LABELS, definition, metric_rows, read_definition
from matplotlib import rc_context
from matplotlib.scale import SymmetricalLogTransform
from PIL import Image
from published_masks import MASKS
from scipy import stats

from data_prep.errors import BadInput
from data_prep.io.json_files import from_json
from workflow.figures import differences as differences_module
from workflow.figures import style
from workflow.plan.definitions import Definition
from workflow.statistics.scores import cells_of
from workflow.statistics.significance import ALPHA, analyse, samples_of
from workflow.statistics.tests import (
    CONFIDENCE,
    coverage,
    coverage_note,
    holm,
    interval,
    least_p,
    rank_biserial,
    signed_rank,
    subjects_needed,
)

ROOT = Path(__file__).parents[3]

METRICS = ["ssim", "psnr", "nmse"]
ONE, TWO = ["1d_uniform_6x"], ["1d_uniform_6x", "2d_radial_6x"]
FIVE = LABELS["ixi"]
differences = st.lists(st.integers(-8, 8), min_size=1, max_size=9).map(lambda v: np.array(v, dtype=float))


def rank_sums(difference):
    """Sum of the ranks of |difference| over positive and over negative ones, by counting."""
    moved = [d for d in difference if d]
    rank = [
        sum(abs(other) < abs(d) for other in moved) + (1 + sum(abs(other) == abs(d) for other in moved)) / 2
        for d in moved
    ]
    return [sum(r for r, d in zip(rank, moved, strict=True) if sign * d > 0) for sign in (1, -1)]


def results(metrics, text):
    """A table's comparison with the best and its pairs."""
    found = analyse(read_definition(text), metrics)
    return found["table"], found["pairs"]


# ---- the test -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(differences)
def test_p_is_the_share_of_all_signs_that_are_as_extreme(difference):
    """Enumerates every assignment of signs: the definition of the exact test, ties included."""
    moved = difference[difference != 0]
    if not len(moved):
        assert signed_rank(difference) == 1
        return
    observed = min(rank_sums(difference))
    extreme = [
        min(rank_sums(np.abs(moved) * signs)) <= observed
        for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    assert signed_rank(difference) == pytest.approx(np.mean(extreme), rel=1e-9)


def test_p_is_scipys_for_many_subjects():
    difference = np.random.default_rng(3).normal(0.2, 1, 115)
    assert signed_rank(difference) == stats.wilcoxon(difference).pvalue


@pytest.mark.parametrize("subjects", range(1, 14))
def test_the_least_p_without_ties_is_that_of_all_signs_alike(subjects):
    assert least_p(np.arange(1.0, subjects + 1) * [(-1) ** i for i in range(subjects)]) == pytest.approx(
        2.0 ** (1 - subjects), rel=1e-12
    )


@settings(max_examples=10, deadline=None)
@given(differences)
def test_no_signs_of_the_same_differences_give_less_than_the_least_p(difference):
    least = least_p(difference)
    signs = np.random.default_rng(1).choice([-1, 1], (5, len(difference)))
    assert all(signed_rank(difference * sign) >= least * (1 - 1e-9) for sign in signs)


def test_ties_put_significance_out_of_reach_where_the_number_of_subjects_does_not():
    """Of 16 volumes 12 do not differ: the other four give no p below 1/8, however clear they are."""
    two = {name: FIVE[name] for name in ("zf", "manet")}
    metrics = metric_rows("ixi", ONE, two, volumes=16)
    place = metrics["subject"].rank(method="dense")
    for metric in METRICS:
        metrics[metric] = 0.5 + place * 0.01 + (metrics["method"] == "manet") * (place > 12) * place
    table, pairs = results(metrics, definition(1, "ixi", ONE, two, numeral="I"))
    assert pairs["least_p"].tolist() == [0.125] * 3
    assert set(pairs["verdict"]) == {"unreachable"}
    assert table["least_p"].dropna().tolist() == [0.125] * 3  # of the test against the best
    # Beyond the reach of the exact test ties cost, too: 20 equal differences have a p of 8e-6, not of 2e-6.
    assert least_p(np.ones(20)) == stats.wilcoxon(np.ones(20)).pvalue > 2.0**-19


@given(st.integers(1, 10_000))
def test_the_subjects_needed_are_the_fewest_that_pass_the_correction(tests):
    needed = subjects_needed(tests)
    unanimous, fewer = (np.r_[2.0 ** (1 - n), np.ones(tests - 1)] for n in (needed, needed - 1))
    assert holm(unanimous)[0] <= ALPHA
    if needed > 1:
        assert holm(fewer)[0] > ALPHA


# ---- the correction -------------------------------------------------------------------------------


def test_holm_by_hand():
    # 0.01 x 4, 0.013 x 3 is less and takes over 0.04, 0.03 x 2, 0.9 x 1.
    np.testing.assert_allclose(holm(np.array([0.9, 0.01, 0.03, 0.013])), [0.9, 0.04, 0.06, 0.04])
    np.testing.assert_allclose(holm(np.array([0.4, 0.4])), [0.8, 0.8])
    np.testing.assert_allclose(holm(np.array([0.7, 0.6])), [1, 1])
    assert len(holm(np.array([]))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    waiting = dict(enumerate(p_values))
    while waiting:
        smallest = min(waiting, key=lambda index: waiting[index])
        if len(waiting) * waiting[smallest] > alpha:
            break
        rejected.add(smallest)
        del waiting[smallest]
    corrected = holm(np.array(p_values))
    # Equal p values stand or fall together, although a procedure takes one at a time.
    assert {index for index, p in enumerate(corrected) if p <= alpha} == rejected
    assert (corrected >= p_values).all()


# ---- the effect -----------------------------------------------------------------------------------


@given(differences)
def test_the_effect_is_the_difference_of_the_rank_sums(difference):
    for_it, against = rank_sums(difference)
    expected = (for_it - against) / (for_it + against) if for_it + against else 0
    assert rank_biserial(difference) == pytest.approx(expected, abs=1e-12)
    assert rank_biserial(-difference) == pytest.approx(-expected, abs=1e-12)


# ---- the interval ---------------------------------------------------------------------------------


def test_the_interval_is_students():
    values = np.array([30.0, 31.5, 33.0, 38.0])
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(interval(values, np.ones(4)), theirs, rtol=1e-12)


def test_one_subject_has_no_interval():
    assert np.isnan(interval(np.array([30.0]), np.ones(1))).all()
    assert np.isnan(interval(np.array([30.0, np.inf]), np.ones(2))).all()
    table, pairs = results(metric_rows("ixi", ONE, FIVE, volumes=1), definition(1, "ixi", ONE, FIVE))
    assert table[["low", "high"]].isna().all(axis=None)
    assert pairs[["low", "high"]].isna().all(axis=None)
    assert table["mean"].notna().all()
    assert "no interval" in coverage_note(1)


def test_slices_are_taken_with_their_subject():
    """Slices that all say the same are one observation: more of them narrow nothing."""
    values = np.array([30.0, 32.0, 35.0, 36.0, 40.0])
    one, ten = interval(values, np.ones(5)), interval(10 * values, np.full(5, 10.0))
    np.testing.assert_allclose(one, ten)


def test_the_interval_of_a_ratio_by_hand():
    # 15 in 5 slices, 3 each: the subjects are 1 - 3, 4 - 6 and 10 - 6 off; sqrt(3 / 2 x 24) / 5 is 1.2.
    half = stats.t.ppf(0.975, 2) * 1.2
    found = interval(np.array([1.0, 4.0, 10.0]), np.array([1.0, 2.0, 2.0]))
    np.testing.assert_allclose(found, (3 - half, 3 + half), rtol=1e-12)


def test_subjects_with_unequal_numbers_of_slices_are_covered_too():
    generator = np.random.default_rng(11)
    counts = np.array([3.0, 5.0, 8.0, 10.0, 4.0, 6.0, 9.0, 7.0])
    heads = generator.normal(1, 2, (4000, 8))
    slices = counts * heads + np.sqrt(counts) * generator.normal(0, 1, (4000, 8))
    low, high = interval(slices, counts)
    assert np.mean((low <= 1) & (high >= 1)) == pytest.approx(0.94, abs=0.015)


@pytest.mark.parametrize("subjects", range(2, 17))
def test_intervals_hold_the_mean_as_often_as_they_say_from_two_subjects_on(subjects):
    """By draws of its own; exactly 95 % of normal values, and of skewed ones what is printed beside it."""
    normal, skewed = coverage(subjects)
    # 20,000 draws have a spread of 0.2 %, 4,000 of 0.5 %.
    assert normal == pytest.approx(0.95, abs=0.006)
    low, high = interval(np.random.default_rng(subjects).exponential(1, (4000, subjects)), np.ones(subjects))
    assert np.mean((low <= 1) & (high >= 1)) == pytest.approx(skewed, abs=0.02)
    assert f"{subjects} subjects" in coverage_note(subjects)
    assert f"{skewed:.0%}" in coverage_note(subjects)


def test_the_documented_coverage_is_the_simulated_one():
    lines = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").splitlines()
    rows = [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and line.endswith(" % |")
    ]
    assert [int(row[0]) for row in rows] == [2, 3, 4, 6, 8, 12, 16, 24, 115]
    for subjects, *printed in rows:
        assert printed == [f"{share:.0%}".replace("%", " %") for share in coverage(int(subjects))]


# ---- a table --------------------------------------------------------------------------------------


def test_every_pair_is_tested_once_and_corrected_over_the_table():
    metrics = metric_rows("ixi", TWO, FIVE, volumes=14)
    table, pairs = results(metrics, definition(1, "ixi", TWO, FIVE, numeral="I"))
    assert len(pairs) == 2 * 3 * 10
    assert set(pairs["tests"]) == {60}
    np.testing.assert_allclose(pairs["p_holm"], holm(pairs["p"].to_numpy()))
    sure = (pairs["p_holm"] <= ALPHA) & (pairs["effect"] * pairs["difference"] > 0)
    assert ((pairs["verdict"] == "distinguishable") == sure).all()
    assert ((pairs["p"] <= ALPHA) & ~sure).any(), "the correction decides nothing: this proves nothing"
    (row,) = pairs.query(
        "mask == @TWO[1] and metric == 'nmse' and method_a == 'unet' and method_b == 'manet'"
    ).to_dict("records")
    volumes = metrics[(metrics["level"] == "volume") & (metrics["mask"] == TWO[1])]
    a, b = (
        volumes[volumes["method"] == name].sort_values("subject")["nmse"].to_numpy()
        for name in ("unet", "manet")
    )
    assert row["p"] == pytest.approx(stats.wilcoxon(a, b).pvalue, rel=1e-12)
    assert row["difference"] == pytest.approx(np.mean(a - b), rel=1e-9)
    assert row["low"] < row["difference"] < row["high"]
    assert len(table) == 2 * 3 * 5


def test_each_method_is_compared_with_the_best_of_its_column():
    metrics = metric_rows("ixi", TWO, FIVE, volumes=14)
    # The best stands among the others, so that it is the first of some pairs and the second of one.
    rows = dict(sorted(FIVE.items()))
    table, pairs = results(metrics, definition(1, "ixi", TWO, rows, numeral="I"))
    assert (table["verdict"] == "best").sum() == 6
    for row in table.to_dict("records"):
        column = table[(table["mask"] == row["mask"]) & (table["metric"] == row["metric"])]
        extreme = column["mean"].min() if row["metric"] == "nmse" else column["mean"].max()
        best = column.loc[column["mean"] == extreme, "method"].item()
        assert row["best"] == best
        if row["method"] == best:
            continue
        names = {row["method"], best}
        (pair,) = [
            p
            for p in pairs.to_dict("records")
            if {p["method_a"], p["method_b"]} == names
            and (p["mask"], p["metric"]) == (row["mask"], row["metric"])
        ]
        assert (row["p"], row["p_holm"]) == (pair["p"], pair["p_holm"])
        assert row["difference"] == pytest.approx(row["mean"] - extreme)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        # Behind the best: less SSIM and PSNR, more NMSE.
        assert (row["difference"] > 0) == (row["effect"] > 0) == (row["metric"] == "nmse")


def test_seeds_are_averaged_per_volume_before_the_test():
    metrics = metric_rows("ixi", ONE, FIVE, seeds=(0, 1), volumes=8)
    text = definition(1, "ixi", ONE, FIVE, numeral="I", seeds=[0, 1])
    table, pairs = results(metrics, text)
    keys = ["dataset", "mask", "method", "level", "subject", "slice", "blank"]
    averaged = metrics.groupby(keys, as_index=False)[METRICS].mean().assign(seed=0)
    one_table, one_pairs = results(averaged, definition(1, "ixi", ONE, FIVE, numeral="I"))
    pd.testing.assert_frame_equal(pairs, one_pairs)
    pd.testing.assert_frame_equal(table, one_table)
    assert set(pairs["volumes"]) == {8}


def test_the_slice_convention_tests_subjects_not_slices():
    metrics = metric_rows("ixi", ONE, FIVE, volumes=8, slices=5)
    _, pairs = results(metrics, definition(1, "ixi", ONE, FIVE, numeral="I", convention="slice"))
    assert set(pairs["volumes"]) == {8}
    of_slices = metrics[metrics["level"] == "slice"].groupby(["method", "subject"])["psnr"].mean()
    expected = stats.wilcoxon((of_slices["zf"] - of_slices["manet"]).to_numpy()).pvalue
    (row,) = pairs.query("metric == 'psnr' and method_a == 'zf' and method_b == 'manet'").to_dict("records")
    assert row["p"] == pytest.approx(expected, rel=1e-12)


def test_a_subject_of_more_slices_weighs_more_in_the_mean_and_not_in_the_test():
    metrics = metric_rows("ixi", ONE, FIVE, volumes=8, slices=8)
    # The first subject has one slice, the second two, and no method is better than another.
    metrics = metrics[metrics["slice"] < metrics["subject"].rank(method="dense")]
    metrics["psnr"] = np.random.default_rng(5).normal(30, 2, len(metrics))
    text = definition(1, "ixi", ONE, FIVE, numeral="I", convention="slice")
    table, pairs = results(metrics, text)
    of_slices = metrics[metrics["level"] == "slice"].set_index(["subject", "slice"])
    scores = {method: rows["psnr"] for method, rows in of_slices.groupby("method")}
    for row in table.query("metric == 'psnr'").to_dict("records"):
        assert row["mean"] == pytest.approx(scores[row["method"]].mean(), rel=1e-12)
    for row in pairs.query("metric == 'psnr'").to_dict("records"):
        difference = scores[row["method_a"]] - scores[row["method_b"]]
        of_subjects = difference.groupby("subject").mean().to_numpy()
        assert row["difference"] == pytest.approx(difference.mean(), rel=1e-9)
        assert row["p"] == pytest.approx(stats.wilcoxon(of_subjects).pvalue, rel=1e-12)
        assert row["effect"] == pytest.approx(rank_biserial(of_subjects), abs=1e-12)


@pytest.mark.parametrize("volumes", [4, 10])
def test_few_volumes_are_called_unreachable_however_clear_the_difference(volumes):
    metrics = metric_rows("ixi", ONE, FIVE, volumes=volumes)
    table, pairs = results(metrics, definition(1, "ixi", ONE, FIVE, numeral="I"))
    assert set(pairs["verdict"]) == {"unreachable"}
    assert set(table["verdict"]) == {"best", "unreachable"}
    # 30 tests of at least 2^(1 - n): 11 subjects are the fewest.
    assert set(table["volumes_needed"].dropna()) == {11}
    enough = metric_rows("ixi", ONE, FIVE, volumes=11)
    # A metric in which nothing differs puts no other out of reach.
    enough["nmse"] = 0.02
    enough["psnr"] = (
        enough["method"].map({name: 20.0 + i for i, name in enumerate(FIVE)}) + enough["ssim"] * 1e-3
    )
    assert "distinguishable" in set(
        results(enough, definition(1, "ixi", ONE, FIVE, numeral="I"))[1]["verdict"]
    )


def test_a_test_that_contradicts_the_means_does_not_confirm_them():
    two = {name: FIVE[name] for name in ("zf", "manet")}
    metrics = metric_rows("ixi", ONE, two, volumes=30)
    volumes = metrics["level"] == "volume"
    place = metrics["subject"].rank(method="dense")
    # MANet is worse on all subjects but one, on which it is so much better that its mean is higher.
    metrics["psnr"] = 20.0 + place * 0.01 + (metrics["method"] == "manet") * np.where(place == 1, 50.0, -0.1)
    _, pairs = results(metrics[volumes], definition(1, "ixi", ONE, two, numeral="I"))
    (row,) = pairs[pairs["metric"] == "psnr"].to_dict("records")
    assert row["p_holm"] < 0.05
    assert row["difference"] * row["effect"] < 0
    assert row["verdict"] == "not distinguishable"


def test_holes_are_left_out_of_the_tests():
    metrics = metric_rows("ixi", TWO, FIVE, volumes=6)
    lost = (metrics["mask"] == TWO[0]) & (metrics["method"] == "manet")
    metrics.loc[lost, METRICS] = np.nan
    metrics = metrics[~((metrics["mask"] == TWO[1]) & (metrics["method"] != "zf"))]
    table, pairs = results(metrics, definition(1, "ixi", TWO, FIVE, numeral="I"))
    assert len(pairs) == 3 * 6  # four methods under the first mask, one alone under the second
    assert set(table[table["method"] == "manet"]["status"]) == {"diverged", "missing"}
    assert table[table["method"] == "manet"][["mean", "low", "p"]].isna().all(axis=None)
    alone = table[(table["mask"] == TWO[1]) & (table["method"] == "zf")]
    assert set(alone["verdict"]) == {"best"}
    assert not results(metrics[metrics["method"] == "none"], definition(1, "ixi", TWO, FIVE))[1].size


def test_perfect_reconstructions_do_not_differ_from_each_other():
    metrics = metric_rows("ixi", ONE, FIVE, volumes=6)
    perfect = metrics["method"].isin(["dudornet", "manet"])
    metrics.loc[perfect, METRICS] = [1.0, np.inf, 0.0]
    table, pairs = results(metrics, definition(1, "ixi", ONE, FIVE, numeral="I"))
    found = pairs.set_index(["metric", "method_a", "method_b"])
    assert found.loc[("psnr", "dudornet", "manet"), "difference"] == 0
    assert found.loc[("psnr", "dudornet", "manet"), "p"] == 1
    assert found.loc[("psnr", "zf", "manet"), "difference"] == -np.inf
    assert found.loc[("psnr", "zf", "manet"), "p"] == pytest.approx(2.0**-5)
    assert np.isnan(found.loc[("psnr", "zf", "manet"), "low"])
    assert set(table[table["metric"] == "psnr"]["best"]) == {"dudornet"}


# ---- masks ----------------------------------------------------------------------------------------


def test_two_masks_are_compared_on_the_same_subjects():
    """Where subjects differ more than masks do, only their pairing shows which mask is easier."""
    masks = ["1d_uniform_6x", "1d_uniform_9x", "2d_radial_6x"]
    metrics = metric_rows("ixi", masks, FIVE, volumes=14)
    place = metrics["subject"].rank(method="dense")
    metrics["psnr"] = 20 + 3 * place + (metrics["mask"] == masks[0]) * (0.1 + 0.001 * place)
    found = analyse(read_definition(definition(1, "ixi", masks, FIVE, numeral="I")), metrics)["masks"]
    related = {(masks[0], masks[1]), (masks[0], masks[2])}  # 9x of one pattern and 6x of another are not
    assert set(zip(found["mask_a"], found["mask_b"], strict=True)) == related
    assert len(found) == 2 * 3 * 5
    assert set(found["tests"]) == {30}
    psnr = found[found["metric"] == "psnr"]
    assert psnr["p"].tolist() == pytest.approx([2.0**-13] * 10)
    assert set(psnr["verdict"]) == {"distinguishable"}
    assert (psnr["low"] > 0.09).all()
    assert (psnr["high"] < 0.13).all()
    np.testing.assert_allclose(found["p_holm"], holm(found["p"].to_numpy()))


# ---- command and figure ---------------------------------------------------------------------------


def test_the_command_writes_numbers_and_a_figure_with_nothing_cut_off(tmp_path):
    metrics = metric_rows("ixi", ONE, FIVE, volumes=5)
    metrics.loc[metrics["method"] == "xiang", METRICS] = np.nan
    metrics.loc[metrics["method"] == "manet", METRICS] = [1.0, np.inf, 0.0]
    metrics.to_parquet(tmp_path / "metrics.parquet")
    text = definition(1, "ixi", ONE, FIVE, numeral="I")
    out = tmp_path / "statistics"
    for module, source in (("statistics.significance", "--metrics"), ("figures.differences", "--results")):
        command = [sys.executable, "-m", f"workflow.{module}", "--definitions", f"[{text}]", source]
        command += [str(tmp_path / "metrics.parquet" if source == "--metrics" else tmp_path)]
        command += ["--output", str(out)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert done.stdout == "table I (1 of 1)\n"
    assert sorted(path.name for path in out.iterdir()) == [
        *("masks_1.csv", "pairs_1.csv", "table_1.csv", "table_1.pdf", "table_1.png")
    ]
    written = pd.read_csv(out / "table_1.csv")
    table, _ = results(metrics, text)
    np.testing.assert_allclose(written["low"], table["low"], rtol=1e-8)
    image = np.asarray(Image.open(out / "table_1.png").convert("L"))
    assert image.shape[1] == pytest.approx(7.16 * 300, abs=2)
    assert min(image[:6].min(), image[-6:].min(), image[:, :6].min(), image[:, -6:].min()) == 255


@given(st.sampled_from(METRICS), st.floats(1e-3, 1e4), st.floats(1e-3, 1e4))
def test_labelled_ticks_stand_apart_inside_the_axis(metric, below, above):
    limits = (-below * differences_module.LINEAR[metric], above * differences_module.LINEAR[metric])
    ticks = differences_module._ticks(metric, limits)
    assert 0 in ticks
    assert all(limits[0] <= tick <= limits[1] for tick in ticks)
    scale = SymmetricalLogTransform(10, differences_module.LINEAR[metric], differences_module.LINEAR_SHARE)
    low, high = scale.transform(np.array(limits))
    places = (scale.transform(np.array(ticks)) - low) / (high - low)
    assert all(
        b - a > differences_module.room(*two)
        for (a, b), two in zip(itertools.pairwise(places), itertools.pairwise(ticks), strict=True)
    )
    # Something beside 0 tells how far it is, whenever there is room.
    assert len(ticks) > 1 or max(below, above) < 1


def drawn(metrics, text):
    """Return the figure of differences, laid out."""
    table, _ = results(metrics, text)
    asked = read_definition(text)
    samples = samples_of(cells_of(metrics, asked))
    with style.printed(), rc_context(differences_module.PRINT):
        figure = differences_module.draw(asked, table, differences_module.differences_to_best(table, samples))
        figure.canvas.draw()
    return figure


def test_what_is_far_behind_lies_between_two_labels_that_do_not_overlap():
    text = definition(1, "ixi", ONE, FIVE, numeral="I")
    metrics = metric_rows("ixi", ONE, FIVE, volumes=5)
    # Zero filling by what it is behind in the demo: 0.45 in SSIM, 6.4 dB, 0.13 in NMSE.
    metrics.loc[metrics["method"] == "zf", METRICS] = [0.45, 20.6, 0.14]
    metrics.loc[metrics["method"] != "zf", METRICS] = [0.9, 27.0, 0.01]
    figure = drawn(metrics, text)
    for axes, behind in zip(figure.axes, (0.45, 6.4, 0.13), strict=True):
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert max(tick.get_loc() for tick in ticks) >= behind
        assert sorted(tick.get_loc() for tick in ticks)[-2] >= behind / 5
        boxes = sorted((tick.label1.get_window_extent() for tick in ticks), key=lambda box: box.x0)
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_the_figure_says_that_seeds_are_averaged_where_there_are_several():
    for seeds, said in (((0,), ""), ((0, 1, 2), "Scores are averaged over 3 seeds first.")):
        text = definition(1, "ixi", ONE, FIVE, numeral="I", seeds=seeds)
        found = " ".join(one.get_text() for one in drawn(metric_rows("ixi", ONE, FIVE, seeds), text).texts)
        assert said in found
        assert ("seeds" in found) == bool(said)


def test_neighbouring_labels_do_not_read_as_one_number():
    text = definition(1, "ixi", ONE, FIVE, numeral="I")
    metrics = metric_rows("ixi", ONE, FIVE, volumes=5)
    # Untrained networks: errors of many decades, and one that is better than the best on one subject.
    behind = metrics["method"].map({"zf": 0.0, "unet": 0.6, "xiang": 5.0, "dudornet": 0.05, "manet": 3000.0})
    lucky = (metrics["method"] == "xiang") & (metrics["subject"] == metrics["subject"].min())
    metrics["nmse"] = 0.65 + behind.mask(lucky, -0.5)
    axes = drawn(metrics, text).axes[2]
    low, high = axes.get_xlim()
    ticks = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = sorted((label.get_window_extent() for label in ticks), key=lambda box: box.x0)
    (letter,) = (label.get_window_extent().width for label in ticks if label.get_text() == "0")
    assert len(boxes) >= 6
    assert all(other.x0 - one.x1 >= letter / 2 for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize(("numeral", "lines"), [("I", 1), ("fastMRI-PDFS of Ramzi et al. 2020", 2)])
def test_no_title_is_wider_than_the_page(numeral, lines):
    text = definition(1, "fastmri", MASKS["fastmri"][:1], LABELS["fastmri"], numeral=numeral)
    metrics = metric_rows("fastmri", MASKS["fastmri"][:1], LABELS["fastmri"], volumes=5)
    figure = drawn(metrics, text)
    (title,) = (one for one in figure.texts if "differences to the best" in one.get_text().replace("\n", " "))
    box, first = title.get_window_extent(), figure.axes[0].title.get_window_extent()
    assert title.get_text().count("\n") == lines - 1
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height
    assert first.y1 < box.y0


def test_wrong_definitions_are_named():
    with pytest.raises(BadInput, match="--definitions: not JSON"):
        from_json(list[Definition], "[", "--definitions", "mend it")
    with pytest.raises(BadInput, match=r"--definitions: the whole is .*, not a list"):
        from_json(list[Definition], definition(1, "ixi", ONE, FIVE), "--definitions", "mend it")
    assert CONFIDENCE == 0.95
