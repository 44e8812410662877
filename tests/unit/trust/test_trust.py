"""What trust's tables and figures show, from scores whose answers are known; the plan; the cost."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up_results import metric_rows, planned, run_record, sha256, write_record
from published_masks import MASKS

from data_prep.errors import BadInput
from data_prep.io.json_files import converted, from_json, read_json, to_json
from methods.registry import discover
from workflow.cost.measured import cost_page, cost_scores, draw_costs, read_records
from workflow.figures import style
from workflow.figures.sheet import looks
from workflow.plan.config import check_config, read_config
from workflow.plan.definitions import CostDefinition, Run, TrustDefinition, TrustRow
from workflow.plan.plan import Plan
from workflow.plan.probes import FIGURES, TABLES, TrustPlan
from workflow.provenance.runs import Planned, read_runs, run_identity
from workflow.statistics.tests import interval
from workflow.tables.formats import printed, write_page
from workflow.tables.page import Page
from workflow.trust.figures import (
    draw_audit,
    draw_lesions,
    draw_misalignment,
    draw_noise,
    draw_transfer,
    transfer_matrix,
)
from workflow.trust.gather import COLUMNS
from workflow.trust.scores import (
    LesionScores,
    audit_scores,
    auxiliary_scores,
    compare_lesions,
    is_used,
    lesion_scores,
    ranking_agreement,
    rate_interval,
    read_probes,
)
from workflow.trust.tables import audit_table, auxiliary_table, lesion_table

ROOT = Path(__file__).parents[3]
METHODS = discover()
MASK, OTHER = "1d_uniform_6x", "2d_radial_6x"
SUBJECTS = ("a", "b", "c")
LABELS = {"zf": "ZF", "unet": "UNet-T2", "xiang": "Xiang et al.", "manet": "MANet"}
READS = {"xiang", "manet"}


def definition(**changes):
    content = {
        "dataset": "ixi",
        "source": "embedded",
        "experiment": "made_up",
        "seeds": [0],
        "masks": [MASK],
        "all_masks": [MASK, OTHER],
        "noise": 0.1,
        "planned": [],
        "rows": [
            {"method": name, "label": label, "auxiliary": name in READS, "trained": name != "zf"}
            for name, label in LABELS.items()
        ],
    }
    kind = CostDefinition if "matrix" in changes else TrustDefinition
    return converted(kind, content | changes, "--definition", "mend it")


def rows(probe, condition, amount, metric, by_method, item=0, seed=0):
    """Rows of every subject; a subject's value is the method's plus 0.1 for each subject before it."""
    return [
        ("ixi", MASK, method, seed, probe, condition, amount, subject, item, metric, value + 0.1 * i, "")
        for method, value in by_method.items()
        for i, subject in enumerate(SUBJECTS)
    ]


PSNR = {"zf": 20.0, "unet": 24.0, "xiang": 25.0, "manet": 27.0}


@pytest.fixture(scope="module")
def probes() -> pd.DataFrame:
    """MANet leans on the auxiliary, Xiang et al. ignore it; U-Net and ZF read none."""
    made = rows("unchanged", "unchanged", 0.0, "psnr", PSNR)
    made += rows("unchanged", "unchanged", 0.0, "ssim", {m: v / 40 for m, v in PSNR.items()})
    for condition, amount, loss in (
        ("zeroed", 0.0, 6.0),
        ("other_subject", 0.0, 4.0),
        ("shift", 1.0, 0.5),
        ("shift", 4.0, 2.0),
        ("rotation", 5.0, 1.5),
    ):
        changed = {"manet": PSNR["manet"] - loss, "xiang": PSNR["xiang"]}
        made += rows("auxiliary", condition, amount, "psnr", changed)
        made += rows("auxiliary", condition, amount, "ssim", {m: v / 40 for m, v in changed.items()})
    for level in (0.0, 0.2):
        made += rows("noise", "noise", level, "psnr", {m: v - 20 * level for m, v in PSNR.items()})
    for mask, loss in ((MASK, 0.0), (OTHER, 3.0)):
        made += rows("mask", mask, 0.0, "psnr", {m: v - loss for m, v in PSNR.items() if m != "zf"})
    order = {"volume": 1, "slice": 1, "body": 1, "peak_to_peak": 1, "self_normalised": -1}
    everyone = {**PSNR, "ground_truth": 60.0}
    for convention, sign in order.items():
        made += rows("audit", convention, 0.0, "psnr", {m: sign * v for m, v in everyone.items()})
        made += rows("audit", convention, 0.0, "ssim", {m: v / 60 for m, v in everyone.items()})
    made += rows("audit", "gaussian_window", 0.0, "ssim", {m: v / 60 for m, v in everyone.items()})
    made += rows("audit", "volume", 0.0, "hfen", {m: 1 - v / 60 for m, v in everyone.items()})
    for item, (radius, visible) in enumerate(((2.0, 1.0), (4.0, 1.0), (2.5, 0.0)), start=1):
        kept = {"ground_truth": 0.9, "manet": 0.6, "unet": 0.4, "xiang": 0.3, "zf": 0.1}
        made += rows("lesions", "lesion", radius, "recovered", kept, item)
        made += rows("lesions", "lesion", radius, "true_contrast", dict.fromkeys(kept, 50.0), item)
        made += [
            (*row[:-2], visible, "")
            for row in rows("lesions", "lesion", radius, "visible", dict.fromkeys(kept, visible), item)
        ]
    for share in (0.25, 0.5, 0.75):
        made += rows("lesions", "false_spots", share, "per_slice", dict.fromkeys(kept, 2 - 2 * share))
    return pd.DataFrame(made, columns=list(COLUMNS)).astype(COLUMNS)


# ---- numbers --------------------------------------------------------------------------------------


def test_the_verdict_on_the_auxiliary(probes):
    scores = auxiliary_scores(probes, definition())
    verdicts = {row.method: is_used(scores, MASK, row) for row in definition().rows}
    assert verdicts == {"zf": "reads none", "unet": "reads none", "xiang": "no", "manet": "yes"}
    manet = scores[(scores["method"] == "manet") & (scores["condition"] == "shift")]
    assert manet["psnr_difference"].tolist() == pytest.approx([-0.5, -2.0])
    assert manet["ssim_difference"].tolist() == pytest.approx([-0.5 / 40, -2.0 / 40])
    assert manet["volumes_worse"].tolist() == [3, 3]


def test_one_volume_that_gains_makes_the_verdict_a_count(probes):
    mixed = probes.copy()
    gains = (mixed["method"] == "manet") & (mixed["condition"] == "other_subject") & (mixed["subject"] == "a")
    mixed.loc[gains & (mixed["metric"] == "psnr"), "value"] = 40.0
    row = TrustRow("manet", "MANet", True, True)
    assert is_used(auxiliary_scores(mixed, definition()), MASK, row) == "in 2 of 3"


def other_subject(psnr):
    """Probes of MANet and its verdict, where volumes change by these PSNRs, one list per seed."""
    made = [
        ("ixi", MASK, "manet", seed, *condition, 0.0, f"s{place}", 0, metric, 30.0 + change, "")
        for seed, changes in enumerate(psnr)
        for place, other in enumerate(changes)
        for condition, change in ((("unchanged", "unchanged"), 0.0), (("auxiliary", "other_subject"), other))
        for metric in ("psnr", "ssim")
    ]
    row = TrustRow("manet", "MANet", True, True)
    frame = pd.DataFrame(made, columns=list(COLUMNS)).astype(COLUMNS)
    asked = definition(rows=[{"method": "manet", "label": "MANet", "auxiliary": True, "trained": True}])
    return is_used(auxiliary_scores(frame, asked), MASK, row)


@pytest.mark.parametrize(
    ("psnr", "verdict"),
    [
        ([[2, -2, 1, -1]], "in 2 of 4"),
        ([[0.004, -0.004, 0, 0]], "no"),
        ([[0.02, -0.02, 0, 0]], "in 1 of 4"),
        ([[-0.001, -2, -1]], "in 2 of 3"),
        ([[-0.006, -2, -1]], "yes"),
        ([[1, 2]], "in 0 of 2"),
        ([[2, -1], [-2, -1]], "in 1 of 2"),
        ([[0.001, 0.001], [-0.001, 0.002]], "no"),
    ],
)
def test_gains_and_losses_of_volumes_do_not_cancel(psnr, verdict):
    assert other_subject(psnr) == verdict


def test_a_diverged_seed_is_not_averaged_away(probes):
    second = probes[probes["method"] == "manet"].assign(seed=1)
    # What is known of the truth stands in the rows of a diverged run, too.
    second.loc[~second["metric"].isin(["true_contrast", "visible"]), "value"] = np.nan
    both = pd.concat([probes, second], ignore_index=True)
    scores = auxiliary_scores(both, definition(seeds=[0, 1]))
    assert scores[scores["method"] == "manet"]["psnr"].isna().all()
    assert is_used(scores, MASK, TrustRow("manet", "MANet", True, True)) == "diverged"
    audited = audit_scores(both, definition(seeds=[0, 1]))
    assert audited.loc[audited["method"] == "manet", ["value", "rank"]].isna().all(axis=None)
    assert np.isnan(transfer_matrix(definition(seeds=[0, 1]), both, "manet")).all()
    # No false spots are counted in what diverged; those of the other seed must not stand for both.
    both = both[~((both["seed"] == 1) & (both["condition"] == "false_spots"))]
    table, page = lesion_table(definition(seeds=[0, 1]), both)
    assert "diverged" in printed("md", page)
    numbers = ["detected", "detection_low", "detection_high", "recovered_all", "false_spots_per_slice"]
    assert table.loc[table["method"] == "manet", numbers].isna().all(axis=None)
    assert table.loc[table["method"] == "unet", numbers].notna().all(axis=None)
    with style.printed():
        strip, rates = draw_lesions(definition(seeds=[0, 1]), both).axes
    assert [text.get_text() for text in strip.texts] == ["diverged"]
    # Of the others a curve and a ring each, and the truth's corner.
    assert len(rates.lines) == 2 * 3 + 1


def test_a_volume_without_signal_is_left_out_and_one_that_a_method_fails_on_is_not(probes, tmp_path):
    truth = rows("unchanged", "unchanged", 0.0, "ssim", {"ground_truth": 1.0})
    truth = pd.DataFrame.from_records(truth, columns=[*COLUMNS])
    made = pd.concat([probes, truth], ignore_index=True).astype(COLUMNS)
    made.loc[(made["subject"] == "b") & (made["method"] == "manet"), "value"] = np.nan
    made.to_parquet(tmp_path / "probes.parquet")
    scores = auxiliary_scores(read_probes(tmp_path / "probes.parquet", definition()), definition())
    assert scores.loc[scores["method"] == "manet", "psnr"].isna().all()
    assert scores.loc[scores["method"] == "unet", "psnr"].notna().all()
    made.loc[made["subject"] == "b", "value"] = np.nan
    made.to_parquet(tmp_path / "probes.parquet")
    scores = auxiliary_scores(read_probes(tmp_path / "probes.parquet", definition()), definition())
    assert scores["psnr"].notna().all()
    assert set(scores["volumes"]) == {2}


def test_rankings_agree_or_are_reversed(probes):
    scores = audit_scores(probes, definition())
    assert ranking_agreement(scores, MASK, "slice", "psnr") == pytest.approx(1)
    assert ranking_agreement(scores, MASK, "self_normalised", "psnr") == pytest.approx(-1)
    assert ranking_agreement(scores, MASK, "volume", "hfen") == pytest.approx(1)
    # HFEN is compared with PSNR, whatever SSIM says.
    turned = probes.assign(value=probes["value"].where(probes["metric"] != "ssim", -probes["value"]))
    turned = audit_scores(turned, definition())
    assert ranking_agreement(turned, MASK, "volume", "hfen") == pytest.approx(1)
    best = scores[(scores["rank"] == 1) & (scores["convention"] == "volume")]
    assert set(best["method"]) == {"manet"}  # the truth is no competitor


def test_lesions_that_the_truth_does_not_show_do_not_count(probes):
    found = lesion_scores(probes, MASK, "manet")
    assert len(found.lesions) == 6  # two visible of three, in three subjects
    assert found.lesions["radius_mm"].tolist() == [2.0] * 3 + [4.0] * 3
    assert found.detected == 6
    assert LesionScores(found.lesions.assign(recovered=0.5), {}).detected == 6  # half of the contrast will do
    assert lesion_scores(probes, MASK, "zf").detected == 0
    assert found.rates[0.5] == pytest.approx((1.0, 1.1))


def test_a_lesion_is_detected_in_each_training_and_not_in_the_mean_of_all(probes):
    made = []
    for seed, of_true in enumerate((1.4, 0.4, 0.8)):
        again = probes[probes["method"] == "unet"].assign(seed=seed)
        again.loc[again["metric"] == "recovered", "value"] = of_true
        made.append(again)
    made = pd.concat([probes[probes["method"] != "unet"], *made], ignore_index=True)
    of_three = lesion_scores(made, MASK, "unet")
    assert of_three.lesions["recovered"].tolist() == pytest.approx([2.6 / 3] * 6)
    assert of_three.detected == 4
    assert of_three.rates[0.5][0] == pytest.approx(2 / 3)
    assert of_three.errors.tolist() == pytest.approx([(0.4 + 0.6 + 0.2) / 3] * 6)
    _, page = lesion_table(definition(seeds=[0, 1, 2]), made)
    text = printed("md", page)
    assert "4 of 6" in text
    assert "told of each training by itself" in text


def test_the_interval_of_a_rate_is_wilsons():
    # 8 of 10: the textbook value (0.490, 0.943).
    assert rate_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert rate_interval(0.0, 4)[0] == 0.0
    assert rate_interval(1.0, 4)[1] == 1.0


def test_more_lesions_of_the_same_heads_narrow_no_rate(probes):
    """Lesions of one head that are all alike are one observation."""
    more = [probes]
    for copy in (10, 20, 30):
        lesions = probes[probes["condition"] == "lesion"]
        more.append(lesions.assign(item=lesions["item"] + copy))
    few, many = (lesion_scores(found, MASK, "unet") for found in (probes, pd.concat(more, ignore_index=True)))
    assert (few.heads, len(few.lesions), many.heads, len(many.lesions)) == (3, 6, 3, 24)
    assert few.detection_interval == many.detection_interval
    assert many.detection_interval == rate_interval(many.detected / 24, 3)


def test_rates_that_vary_between_heads_are_covered():
    """Simulated: the rate of each head is its own; six lesions of each of eight heads."""
    generator = np.random.default_rng(2)
    found = generator.binomial(6, generator.beta(1, 1, (2000, 8))).sum(axis=1) / 48
    covered = [low <= 0.5 <= high for low, high in (rate_interval(rate, 8) for rate in found)]
    assert np.mean(covered) > 0.95
    independent = [low <= 0.5 <= high for low, high in (rate_interval(rate, 48) for rate in found)]
    assert np.mean(independent) < 0.8


def test_lesions_are_compared_one_by_one_and_head_by_head(probes):
    own = {"a": [0.5, 0.7, 0.6], "b": [0.2], "c": [0.8, 0.9]}
    best = {"a": [0.6, 0.9, 0.6], "b": [0.4], "c": [1.2, 1.0]}

    def scores(recovered):
        rows = [(s, item, 3.0, value) for s, values in recovered.items() for item, value in enumerate(values)]
        return LesionScores(pd.DataFrame(rows, columns=["subject", "item", "radius_mm", "recovered"]), {})

    middle, low, high = compare_lesions(scores(own), scores(best))
    # By lesion: 0.1, 0.2, 0; 0.2; 0 (0.2 too little against 0.2 too much) and 0.1.
    assert middle == pytest.approx(0.6 / 6)
    assert (low, high) == pytest.approx(interval(np.array([0.3, 0.2, 0.1]), np.array([3.0, 1.0, 2.0])))
    table, page = lesion_table(definition(), probes)
    row = table.set_index("method").loc["unet"]
    assert (row["best"], row["heads"]) == ("manet", 3)
    # Every lesion has 0.2 less of its contrast, but where both have too much.
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    line = next(line for line in printed("md", page).splitlines() if line.startswith("| MANet"))
    assert "best" in line
    alone, page = lesion_table(definition(), probes[probes["subject"] == "a"])
    assert alone[["detection_low", "difference_low"]].isna().all(axis=None)
    assert "no interval" in printed("md", page)


def test_the_transfer_matrix_has_the_runs_own_score_where_the_masks_agree(probes):
    grid = transfer_matrix(definition(), probes, "manet")
    assert grid.tolist() == [pytest.approx([27.1, 24.1])]


def test_a_run_that_was_not_probed_is_named(probes, tmp_path):
    path = tmp_path / "probes.parquet"
    probes[probes["method"] != "xiang"].to_parquet(path)
    with pytest.raises(BadInput, match=f"nothing of xiang under {MASK}; probe this run"):
        read_probes(path, definition())


@pytest.mark.parametrize("column", ["dataset", "mask", "method", "metric", "value"])
def test_probes_that_lack_a_column_are_named(probes, tmp_path, column):
    path = tmp_path / "probes.parquet"
    probes.drop(columns=column).to_parquet(path)
    with pytest.raises(BadInput, match=rf"probes\.parquet: column {column} is missing; delete it"):
        read_probes(path, definition())


def test_a_method_is_not_asked_for_under_a_mask_that_it_declines(probes, tmp_path):
    """Where a run can never be, neither tables nor figures may wait for it or call it diverged."""
    under_other = probes[probes["method"] != "manet"].assign(mask=OTHER)
    both = pd.concat([probes, under_other], ignore_index=True)
    rows = [vars(row) for row in definition().rows]
    asked = [row | ({"without": [OTHER]} if row["method"] == "manet" else {}) for row in rows]
    both.to_parquet(tmp_path / "probes.parquet")
    wanted = definition(rows=asked, masks=[MASK, OTHER])
    found = read_probes(tmp_path / "probes.parquet", wanted)
    with pytest.raises(BadInput, match=f"nothing of manet under {OTHER}"):
        read_probes(tmp_path / "probes.parquet", definition(masks=[MASK, OTHER]))
    for table in (auxiliary_table, audit_table, lesion_table):
        text = printed("md", table(wanted, found)[1])
        assert text.count("| MANet") == 1
        assert text.count("| UNet-T2") == 2
        assert "diverged" not in text
    with style.printed():
        for draw in (draw_misalignment, draw_noise, draw_transfer, draw_audit, draw_lesions):
            figure = draw(wanted, found)
            texts = [text.get_text() for axes in figure.axes for text in axes.texts]
            assert not {"diverged", "no lesion"} & set(texts)


def test_a_run_is_not_tested_under_a_mask_that_its_method_declines():
    folder = METHODS["unet"]
    shy = replace(folder, default=replace(folder.default, declines={"2d_spiral_6x": "needs lines"}))
    trust = TrustPlan(Plan(read_config(ROOT / "config" / "trust.yaml"), METHODS | {"unet": shy}))
    tested = trust.other_masks(Run("ixi", MASK, "unet", 0))
    assert len(tested) == 7
    assert not [path for path in tested if "2d_spiral_6x" in path]
    (row,) = [row for row in trust.definition("ixi").rows if row.without]
    assert (row.method, row.without) == ("unet", ("2d_spiral_6x",))


def changed_trust(**changes):
    content = yaml.safe_load((ROOT / "config" / "trust.yaml").read_text(encoding="utf-8"))
    return TrustPlan(Plan(check_config(content | changes, METHODS), METHODS))


def test_what_no_probed_run_tells_of_is_not_asked_for():
    names = {name for name, _ in changed_trust(compare=["zf", "unet"]).wanted(FIGURES | TABLES)}
    assert names == {"noise", "transfer", "audit", "lesions"}
    names = {name for name, _ in changed_trust(compare=["zf"]).wanted(FIGURES | TABLES)}
    assert names == {"noise", "audit", "lesions"}
    assert {dataset for _, dataset in changed_trust(tables=[1], figures=[5]).wanted(TABLES)} == {"ixi"}


def test_only_methods_that_are_run_are_probed_and_the_first_of_them_with_the_truth():
    trust = changed_trust(tables=[3], figures=[])
    shown = trust.definition("ixi")
    assert [row.method for row in shown.rows] == ["manet"]
    assert list(shown.masks) == [mask for mask in MASKS["ixi"] if Run("ixi", mask, "manet", 0) in trust.runs]
    assert "--ceiling" in trust.options(Run("ixi", shown.masks[0], "manet", 0))
    assert "--ceiling" not in changed_trust().options(Run("ixi", shown.masks[0], "manet", 0))


def test_a_run_outside_the_chosen_masks_can_be_probed_by_name():
    # As the rule does it for `snakemake results/trust/trust/runs/...csv`.
    trust = changed_trust(compare=["zf", "manet"], trust={"masks": {"ixi": ["1d_uniform_6x"]}, "audit": True})
    assert trust.options(Run("ixi", "2d_radial_9x", "zf", 0)) == ["--audit", "--ceiling"]
    assert trust.options(Run("ixi", "2d_radial_9x", "manet", 0)) == ["--audit"]
    probing = {"masks": {"ixi": ["1d_uniform_6x"]}, "audit": True}
    trust = changed_trust(compare=["unet"], tables=[3], figures=[], trust=probing)
    assert trust.options(Run("ixi", "2d_radial_9x", "manet", 0)) == ["--audit"]


# ---- pages and pictures ---------------------------------------------------------------------------


@pytest.mark.parametrize("table", [auxiliary_table, audit_table, lesion_table])
def test_a_table_names_every_method_and_the_source_in_every_format(probes, table, tmp_path):
    scores, page = table(definition(), probes)
    for form in ("md", "tex", "html"):
        text = printed(form, page)
        assert all(label in text for label in LABELS.values())
        assert "embedded" in text
    assert printed("tex", page).isascii()
    write_page(scores, page, tmp_path / "table")
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(scores)
    assert converted(Page, read_json(tmp_path / "table.json"), "table.json", "") == page


def test_the_auxiliary_table_prints_the_losses(probes):
    text = printed("md", auxiliary_table(definition(), probes)[1])
    line = next(line for line in text.splitlines() if line.startswith("| MANet"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["MANet", "27.10", "−6.00", "−4.00", "−0.50", "−2.00", "−1.50", "yes"]


def test_the_audit_table_ends_with_the_agreement_of_each_column(probes):
    page = audit_table(definition(), probes)[1]
    (block,) = page.blocks
    ((name, cells),) = block.foot
    taus = {header: cell.text for header, cell in zip(block.groups[0][1], cells, strict=True)}
    assert name == "Ranking: τ"
    assert {header: tau for header, tau in taus.items() if tau != "1.00"} == {"PSNR self-norm.": "−1.00"}
    for form, tau in (("md", "−1.00"), ("tex", "$-$1.00"), ("html", "−1.00")):
        assert printed(form, page).count(tau) == 1


def test_values_that_the_audit_prints_alike_share_their_mark_which_is_explained(probes):
    own = probes["probe"].eq("audit") & probes["condition"].eq("slice") & probes["metric"].eq("ssim")
    scores = {"zf": 0.4, "unet": 0.9079, "xiang": 0.9081, "manet": 0.95, "ground_truth": 1.0}
    alike = probes.assign(value=probes["value"].mask(own, probes["method"].map(scores)))
    table, page = audit_table(definition(), alike)
    (block,) = page.blocks
    column = block.groups[0][1].index("SSIM slice")
    marks = {name: (cells[column].text, cells[column].mark) for name, cells in block.rows}
    assert marks == {
        "ZF": ("0.400", ""),
        "UNet-T2": ("0.908", "second"),
        "Xiang et al.": ("0.908", "second"),
        "MANet": ("0.950", "best"),
        "Truth": ("1.000", "muted"),
    }
    assert "equal values share the mark" in printed("html", page)
    assert "second best in italics" in printed("md", page)
    # A ranking is compared by all digits: in print they tie.
    chosen = table[(table["convention"] == "slice") & (table["metric"] == "ssim")].set_index("method")
    assert chosen["rank"].dropna().to_dict() == {"zf": 4, "unet": 3, "xiang": 2, "manet": 1}


def test_one_head_is_not_several(probes):
    alone = probes[probes["subject"] == SUBJECTS[0]]
    with style.printed():
        drawn = [draw(definition(), alone) for draw in (draw_misalignment, draw_lesions)]
    said = [text.get_text() for figure in drawn for text in figure.texts]
    said += [" ".join(table(definition(), alone)[1].caption) for table in (auxiliary_table, lesion_table)]
    for words in (
        "Mean over 1 test volume;",
        "Lesions: 2 in 1 head,",
        "over 1 test volume;",
        "2, in 1 head;",
    ):
        assert any(words in one for one in said), words


@pytest.mark.parametrize("draw", [draw_misalignment, draw_noise, draw_transfer, draw_audit, draw_lesions])
def test_a_figure_is_drawn_and_names_every_method(probes, draw):
    with style.printed():
        figure = draw(definition(), probes)
        figure.canvas.draw()
    texts = [text.get_text() for axes in figure.axes for text in [axes.title, *axes.get_xticklabels()]]
    texts += [axes.get_title(loc="left") for axes in figure.axes]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    texts += [text.get_text() for text in figure.texts]
    shown = " ".join(texts).replace("\n", " ")
    assert "embedded data, not IXI" in shown
    for row in definition().rows:
        assert row.label in shown or (draw is draw_transfer and not row.trained)


@pytest.mark.parametrize("draw", [draw_misalignment, draw_noise, draw_transfer, draw_audit, draw_lesions])
def test_a_figure_of_every_mask_is_one_page_on_which_no_text_hides_another(probes, draw):
    masks = MASKS["ixi"]
    everywhere = pd.concat([probes.assign(mask=mask) for mask in masks])
    with style.printed():
        figure = draw(definition(masks=masks, all_masks=[MASK, OTHER]), everywhere)
        figure.canvas.draw()
    width, height = figure.get_size_inches()
    assert width <= style.PAGE_WIDTH
    assert height <= style.PAGE_HEIGHT + 1e-6
    boxes = [
        (text.get_text(), text.get_window_extent())
        for axes in figure.axes
        for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)
        if text.get_text()
    ]
    for (one, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.overlaps(second), (one, other)


@pytest.mark.parametrize("draw", [draw_misalignment, draw_audit, draw_lesions])
def test_a_column_of_panels_has_one_horizontal_scale_named_once(probes, draw):
    masks = [MASK, OTHER]
    both = pd.concat([probes.assign(mask=mask) for mask in masks])
    with style.printed():
        figure = draw(definition(masks=masks), both)
    half = len(figure.axes) // 2
    for upper, lower in zip(figure.axes[:half], figure.axes[half:], strict=True):
        assert upper.get_xlim() == lower.get_xlim()
        assert upper.get_xlabel() == ""
        assert not any(tick.label1.get_visible() for tick in upper.xaxis.get_major_ticks())
        assert all(tick.label1.get_visible() for tick in lower.xaxis.get_major_ticks())


def test_no_line_joins_what_has_no_order(probes):
    with style.printed():
        misaligned, audited = draw_misalignment(definition(), probes), draw_audit(definition(), probes)
    swaps = misaligned.axes[2]
    marks = [line for line in swaps.lines if line.get_marker() not in ("", "None")]
    assert len(marks) == len(READS)
    for line in [*marks, *(line for axes in audited.axes for line in axes.lines)]:
        assert line.get_linestyle() == "None" or line.get_marker() in ("", "None")
    # Side by side, so that none hides another.
    assert len({line.get_xdata()[0] for line in marks}) == len(READS)
    # The legend shows what the panels do: no mark for those that read no auxiliary.
    (legend,) = misaligned.legends
    entries = {
        text.get_text(): line.get_marker()
        for text, line in zip(legend.texts, legend.get_lines(), strict=True)
    }
    for name, label in LABELS.items():
        assert (entries[label] in ("", "None")) == (name not in READS)


def test_lesions_are_drawn_against_false_spots_with_the_truth_in_the_corner(probes):
    with style.printed():
        strip, curve = draw_lesions(definition(), probes).axes
    low, high = strip.get_ylim()
    ticks = [tick for tick in strip.get_yticks() if low <= tick <= high]
    assert {0.0, 0.5, 1.0} <= set(ticks)
    assert curve.get_xlim()[0] == 0
    assert any(tuple(line.get_xydata()[0]) == (0, 1) for line in curve.lines if len(line.get_xdata()) == 1)
    assert "false bright spots" in curve.get_xlabel()
    notes = " ".join(text.get_text() for text in reversed(strip.figure.texts))
    assert "dashed: half, from where a lesion counts as detected" in notes


def test_lesions_are_counted_where_the_first_method_declines_the_first_mask(probes):
    rows = [vars(row) | ({"without": [MASK]} if row.method == "zf" else {}) for row in definition().rows]
    with style.printed():
        figure = draw_lesions(definition(rows=rows), probes[probes["method"] != "zf"])
    assert any(text.get_text().startswith("Lesions: 6 in 3 heads") for text in figure.texts)


@pytest.mark.parametrize("draw", [draw_misalignment, draw_audit])
def test_the_names_of_vertical_scales_stand_below_each_other(probes, draw):
    large = probes.assign(mask=OTHER, value=1000 * probes["value"])
    with style.printed():
        figure = draw(definition(masks=[MASK, OTHER]), pd.concat([probes, large]))
        figure.canvas.draw()
    half = len(figure.axes) // 2
    for upper, lower in zip(figure.axes[:half], figure.axes[half:], strict=True):
        one, other = upper.yaxis.label, lower.yaxis.label
        assert one.get_text() == other.get_text()
        assert one.get_window_extent().x1 == pytest.approx(other.get_window_extent().x1, abs=1)
        numbers = [tick.label1.get_window_extent() for tick in lower.yaxis.get_major_ticks()]
        assert all(box.x0 > other.get_window_extent().x1 for box in numbers if other.get_text())


def test_a_method_has_one_look_in_controls_and_training_curves():
    for name in ("demo", "trust", "extended"):
        plan = Plan(read_config(ROOT / "config" / f"{name}.yaml"), METHODS)
        for dataset in ("ixi", "fastmri"):
            wanted = TrustPlan(plan).definition(dataset)
            trained = {row.method for row in wanted.rows if row.trained}
            controls = [method for method in looks(wanted.rows) if method in trained]
            curves = list(dict.fromkeys(curve.method for curve in plan.curves(dataset)))
            assert curves[: len(controls)] == controls


def test_only_zero_filling_is_drawn_as_the_floor():
    rows = [
        TrustRow("zf", "ZF", False, False),
        TrustRow("cs", "CS", False, False),
        TrustRow("unet", "U-Net", False, True),
    ]
    styles = looks(rows)
    assert styles["zf"]["marker"] == ""
    assert styles["cs"]["marker"]
    assert styles["cs"] != styles["unet"]


# ---- the plan -------------------------------------------------------------------------------------


def test_the_paper_probes_nothing_and_the_demo_one_mask_per_dataset():
    paper, demo, full = (
        TrustPlan(Plan(read_config(ROOT / "config" / f"{name}.yaml"), METHODS))
        for name in ("paper", "demo", "trust")
    )
    assert paper.runs == []
    assert paper.wanted(TABLES) == paper.wanted(FIGURES) == []
    assert {(run.dataset, run.mask) for run in demo.runs} == {
        ("ixi", "1d_uniform_6x"),
        ("fastmri", "equispaced_4x"),
    }
    assert len(demo.runs) == 2 * len(demo.plan.compared)
    assert len(full.runs) == 12 * 3 * len(full.plan.compared)
    assert {name for name, _ in full.wanted(FIGURES)} == set(FIGURES)
    assert ("lesions", "fastmri") not in full.wanted(TABLES)


def test_a_run_is_probed_as_far_as_it_applies():
    trust = TrustPlan(Plan(read_config(ROOT / "config" / "trust.yaml"), METHODS))
    manet, unet, zf = (Run("ixi", MASK, method, 0) for method in ("manet", "unet", "zf"))
    assert "--shifts 1 2 4" in " ".join(trust.options(manet))
    assert "--shifts" not in trust.options(unet)
    assert "--ceiling" in trust.options(zf)
    assert trust.checkpoint(zf) == []
    assert trust.other_masks(zf) == []
    assert len(trust.other_masks(unet)) == 8
    knee = Run("fastmri", "equispaced_4x", "manet", 0)
    assert "--noise" not in trust.options(knee)
    assert trust.lesion_file(knee) == []
    assert trust.lesion_file(manet) == ["results/trust/trust/lesions.h5"]
    # One mask is no other: the study's controls have two on brains and one on knees.
    trust = TrustPlan(Plan(read_config(ROOT / "config" / "reference_controls.yaml"), METHODS))
    assert [dataset for name, dataset in trust.wanted(FIGURES) if name == "transfer"] == ["ixi"]
    assert [len(trust.other_masks(run)) for run in (manet, knee)] == [2, 0]


def small_config(**trust):
    dataset = {
        "source": "embedded",
        "matrix": 64,
        "slices": 4,
        "splits": {"train": 2, "val": 1, "test": 1},
        "masks": [MASK],
    }
    training = {"epochs": 1, "batch_size": 2}
    return {"experiment": "t", "datasets": {"ixi": dataset}, "training": training, "trust": trust}


@pytest.mark.parametrize(
    ("trust", "said"),
    [
        ({"masks": {"ixi": [OTHER]}}, "trust.masks.ixi: '2d_radial_6x' does not stand in datasets.ixi.masks"),
        ({"masks": {"fastmri": ["random_4x"]}}, "there is no datasets.fastmri"),
        ({"masks": {"ixi": [MASK]}, "swaps": ["other_subject"]}, "needs two test subjects"),
        ({"shift": [1]}, "'shift' was unexpected"),
    ],
)
def test_what_cannot_be_probed_is_refused(trust, said):
    with pytest.raises(BadInput, match=said):
        check_config(small_config(**trust), METHODS)


@pytest.mark.parametrize("switch", [{"audit": True}, {"transfer": True}, {"shifts": [1]}, {"noise": [0.2]}])
def test_switches_without_a_mask_are_refused(switch):
    (name,) = switch
    with pytest.raises(BadInput, match=rf"trust\.masks: names no mask, so trust\.{name} would do nothing"):
        changed_trust(trust=switch)


def test_published_scans_have_no_known_lesions():
    config = small_config(lesions=True)
    config["datasets"]["ixi"] |= {"source": "published", "root": "somewhere"}
    with pytest.raises(BadInput, match="only embedded brains have known lesions"):
        check_config(config, METHODS)


# ---- cost -----------------------------------------------------------------------------------------


def test_operations_of_fourier_transforms_and_convolutions():
    import torch

    from methods.registry import load_builder
    from workflow.cost.flops import count

    assert count("zf", {}, (64, 64)) == 5 * 64 * 64 * 12  # one transform of 2^12 points
    parameters = {**METHODS["unet"].default.parameters, "channels": 2, "pools": 2}
    model, found = load_builder("unet")(parameters, (32, 32)), []

    def convolution(module, inputs, output):
        kernel = module.weight.shape[2] * module.weight.shape[3]
        # A transposed convolution multiplies each input pixel, a plain one makes each output pixel.
        pixels = (inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output).shape[-2:].numel()
        found.append(2 * kernel * module.in_channels * module.out_channels * pixels)

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(convolution)
    from data_prep.measurement import measure

    image = torch.rand((1, 32, 32))
    with torch.no_grad():
        model.eval()(measure(image, image, torch.ones(1, 1, 32, dtype=torch.bool))[0])
    transforms = 5 * 32 * 32 * 10
    assert count("unet", parameters, (32, 32)) == sum(found) + transforms


@pytest.mark.parametrize(
    ("slices_per_second", "median"), [((100.0, 200.0, 1000.0), 5.0), ((100.0, 1000.0), 5.5)]
)
def test_the_cost_table_takes_medians_and_counts(tmp_path, slices_per_second, median):
    plan = Plan(check_config(small_config(), METHODS), METHODS)
    rates = {f"ixi/{MASK}/zf/seed{seed}": rate for seed, rate in enumerate(slices_per_second)}
    for seed, (path, rate) in enumerate(rates.items()):
        spec = plan.spec(Run("ixi", MASK, "zf", seed)).content()
        write_record(tmp_path, path, spec=spec, throughput={"evaluation_slices_per_second": rate})
    metrics = metric_rows("ixi", [MASK], ["zf"], volumes=2)
    metrics.loc[metrics["level"] == "volume", "psnr"] = [20.0, 22.0]
    metrics.to_parquet(tmp_path / "metrics.parquet")
    shared = {key: value for key, value in spec.items() if key not in ("mask", "seed")}
    asked = definition(
        matrix=64,
        planned=[{"spec": shared, "data": sha256("data"), "runs": list(rates)}],
        rows=[{"method": "zf", "label": "ZF", "auxiliary": False, "trained": False}],
    )
    costs = cost_scores(asked, tmp_path)
    row = costs.iloc[0]
    assert (row["latency_ms"], row["memory_gb"], row["psnr"]) == (median, 2.0, 21.0)
    assert row["runs"] == len(slices_per_second)
    assert row["gflops"] == pytest.approx(5 * 64 * 64 * 12 / 1e9)
    assert "| ZF " in printed("md", cost_page(asked, costs))
    with style.printed():
        draw_costs(asked, costs).canvas.draw()


@pytest.mark.parametrize(
    ("of_zf", "psnr", "said"),
    [
        ([MASK], [20.0, 30.0], "under 1D-Uniform-6×, where every method has runs."),
        ([MASK, OTHER], [25.0, 35.0], "then over masks and seeds."),
        ([], ["—", "—"], "under no mask, where every method has runs."),
    ],
)
def test_methods_are_compared_under_masks_that_all_of_them_take(tmp_path, of_zf, psnr, said):
    plan = Plan(check_config(small_config(), METHODS), METHODS)
    taken = {"zf": of_zf or [OTHER], "cs": [MASK, OTHER] if of_zf else [MASK]}
    groups, tables = [], []
    for method, masks in taken.items():
        paths = [f"ixi/{mask}/{method}/seed0" for mask in masks]
        for mask, path in zip(masks, paths, strict=True):
            spec = plan.spec(Run("ixi", mask, method, 0)).content()
            write_record(tmp_path, path, spec=spec)
        shared = {key: value for key, value in spec.items() if key not in ("mask", "seed")}
        groups.append({"spec": shared, "data": sha256("data"), "runs": paths})
        table = metric_rows("ixi", masks, [method], volumes=2)
        table["psnr"] = (20.0 if method == "zf" else 30.0) + 10 * (table["mask"] == OTHER)
        tables.append(table)
    pd.concat(tables).to_parquet(tmp_path / "metrics.parquet")
    rows = [{"method": name, "label": name, "auxiliary": False, "trained": False} for name in taken]
    asked = definition(matrix=64, planned=groups, rows=rows)
    costs = cost_scores(asked, tmp_path)
    page = cost_page(asked, costs)
    found = [cells[-1].text for _, cells in page.blocks[0].rows]
    assert found == [value if isinstance(value, str) else f"{value:.2f}" for value in psnr]
    assert page.caption[-1].endswith(said)
    with style.printed():
        draw_costs(asked, costs)


def test_the_cost_table_writes_three_digits_and_no_powers_of_ten():
    numbers = {"parameters": 1234567, "latency_ms": 1.0, "memory_gb": 1.0, "psnr": 30.0, "devices": "a CPU"}
    costs = pd.DataFrame(
        [
            {"label": label, "gflops": gflops, "training_hours": seconds / 3600, **numbers}
            for label, gflops, seconds in (("A", 0.01702, 13.0), ("B", 340.1, 999.4), ("C", 1234.5, 18000.0))
        ]
    )
    (block,) = cost_page(definition(matrix=64), costs).blocks
    ((_, headers),) = block.groups
    of = {name: dict(zip(headers, (cell.text for cell in cells), strict=True)) for name, cells in block.rows}
    assert [of[name]["GFLOPs"] for name in "ABC"] == ["0.0170", "340", "1 234"]
    assert [of[name]["training (s)"] for name in "ABC"] == ["13.0", "999", "18 000"]
    assert of["A"]["parameters"] == "1 234 567"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"throughput": {}}, "field throughput.evaluation_slices_per_second is missing"),
        ({"throughput": None}, "field throughput is None, not an object"),
        ({"peak_memory_bytes": "much"}, "field peak_memory_bytes is 'much', not a number"),
        ({"seconds": run_record()["seconds"]}, "field seconds.training is missing"),
    ],
)
def test_a_record_that_the_cost_table_cannot_use_is_named(tmp_path, changes, message):
    seconds = run_record()["seconds"] | {"training": 1}
    run, row = f"ixi/{MASK}/unet/seed0", TrustRow("unet", "UNet-T2", False, True)
    asked = definition(matrix=64, planned=planned("ixi", [MASK], ["unet"]))
    write_record(tmp_path, run, seconds=seconds)
    (read,) = read_records(tmp_path, asked, row).values()
    assert read.seconds.training == 1
    write_record(tmp_path, run, **{"seconds": seconds, **changes})
    with pytest.raises(BadInput, match=rf"run\.json: {message}; delete it and run the workflow again"):
        read_records(tmp_path, asked, row)


def test_probes_of_another_training_are_refused_by_name(probes, tmp_path):
    """Also of an untrained method, whose mask or test split was made anew."""
    run = f"ixi/{MASK}/manet/seed0"
    write_record(tmp_path, run, training_hash="second")
    (group,) = (converted(Planned, one, "", "") for one in planned("ixi", [MASK], ["manet"]))
    asked = definition(planned=planned("ixi", [MASK], ["manet"]))
    (record,) = read_runs(tmp_path, [group]).values()
    path = tmp_path / "trust" / "probes.parquet"
    path.parent.mkdir()
    probes.assign(run=run_identity(record)).to_parquet(path)
    assert len(read_probes(path, asked))
    for changes in ({"training_hash": "first"}, {"data_fingerprints": {}, "training_hash": None}):
        write_record(tmp_path, run, **changes)
        said = rf"probes\.parquet: holds probes of another state of runs/{run} than now; delete it"
        with pytest.raises(BadInput, match=said):
            read_probes(path, asked)


@pytest.mark.parametrize("orders", [0.5, 1.5, 3, 6])
def test_the_ticks_of_costs_do_not_overlap(orders):
    rows = [
        {"method": name, "label": name, "auxiliary": False, "trained": name != "zf"}
        for name in ("zf", "unet", "manet")
    ]
    least = {"gflops": 0.03, "latency_ms": 2.0, "parameters": 3000, "training_hours": 0.02, "memory_gb": 0.4}
    costs = pd.DataFrame(
        [
            {"method": row["method"], "psnr": 20.0 + i}
            | {name: value * 10 ** (orders * max(i - 1, 0)) for name, value in least.items()}
            for i, row in enumerate(rows)
        ]
    )
    with style.printed():
        figure = draw_costs(definition(matrix=64, rows=rows), costs)
        figure.canvas.draw()
        *used, spare = figure.axes
        assert not spare.axison
        for axes in used:
            labels = [
                label for label in axes.get_xticklabels() if axes.bbox.x0 <= _left(label) <= axes.bbox.x1
            ]
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert len(boxes) >= 2 or orders < 1
            assert all(one.x1 + 1 < other.x0 for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("hours", "header", "cells"),
    [
        ((0.00491, 0.0273), "training (s)", ("17.7", "98.3")),
        ((0.05, 0.5), "training (min)", ("3.00", "30.0")),
        ((1.5, 20.0), "training (h)", ("1.50", "20.0")),
    ],
)
def test_one_unit_tells_the_time_of_all_trainings(hours, header, cells):
    names = ("zf", "unet", "manet")
    rows = [{"method": n, "label": n, "auxiliary": False, "trained": n != "zf"} for n in names]
    shared = {
        "parameters": 1000,
        "gflops": 0.1,
        "latency_ms": 2.0,
        "memory_gb": 0.4,
        "psnr": 20.0,
        "devices": "cpu",
    }
    costs = pd.DataFrame([{"method": n, "label": n, **shared} for n in names])
    costs["training_hours"] = [math.nan, *hours]
    asked = definition(matrix=64, rows=rows)
    (block,) = cost_page(asked, costs).blocks
    headers = block.groups[0][1]
    assert header in headers
    column = [row[1][headers.index(header)].text for row in block.rows]
    assert column == ["—", *cells]
    with style.printed():
        figure = draw_costs(asked, costs)
    names_of_scales = [axes.get_xlabel() for axes in figure.axes if axes.axison]
    assert f"one {header}" in names_of_scales
    assert "largest memory (GB)" in names_of_scales
    drawn = figure.axes[names_of_scales.index(f"one {header}")].lines[1:]
    assert [line.get_xdata()[0] for line in drawn] == pytest.approx([float(cell) for cell in cells], rel=0.01)


def _left(label):
    return label.get_transform().transform(label.get_position())[0]


def test_the_cost_definition_names_the_runs_of_every_compared_method():
    trust = TrustPlan(Plan(read_config(ROOT / "config" / "demo.yaml"), METHODS))
    text = to_json(trust.cost_definition("fastmri"))
    parsed = from_json(CostDefinition, text, "--definition", "mend it")
    assert parsed.matrix == 64
    assert {len(group.runs) for group in parsed.planned} == {4}
    assert {group.spec["method"] for group in parsed.planned} == set(trust.plan.compared)
