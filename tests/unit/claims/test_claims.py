"""The paper against ours: verdicts on values and claims, of the paper's own tables and of made-up results."""

import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from made_up_results import (
    ABLATION,
    ATTENTION,
    LABELS,
    definition,
    loss_weights,
    metric_rows,
    read_definition,
    sha256,
    write_mask_json,
    write_records,
    write_statistics,
)
from published_masks import MASKS
from scipy import stats

from data_prep.errors import BadInput
from methods.registry import discover
from workflow.claims.__main__ import write_claims
from workflow.claims.agreement import (
    compare_cells,
    order_agreement,
    our_scores,
    own_parts,
    paper_scores,
    printed_parts,
)
from workflow.claims.claims import Comparison, compare
from workflow.claims.judge import judge, judge_claims
from workflow.claims.mirrors import beside, mirror_notes, phased_parts
from workflow.claims.page import rank_texts
from workflow.metrics.contract import STANDARD, metric_of
from workflow.papers import contract as papers
from workflow.papers.claim import claims_of
from workflow.papers.contract import read_paper
from workflow.plan.definitions import PHASED
from workflow.tables import __main__ as tables

MANET, CLAIMED = read_paper("manet"), claims_of("manet")
DIGITS = {name: metric_of(name).digits for name in STANDARD}
CLAIMS = [claim for claim in claims_of("manet") if claim.section]
QUESTIONS = [claim for claim in claims_of("manet") if not claim.section]
GRID = [(0.2, 0.4), (0.2, 0.6), (0.4, 0.4), (0.4, 0.6)]


def definitions(source="embedded"):
    """All four tables."""
    made = [
        definition(1, "ixi", MASKS["ixi"], LABELS["ixi"], numeral="I", source=source),
        definition(2, "fastmri", MASKS["fastmri"], LABELS["fastmri"], numeral="II", source=source),
        definition(3, "ixi", MASKS["ixi"], ABLATION, numeral="III", source=source),
        definition(4, "ixi", MASKS["ixi"][:1], ATTENTION, numeral="IV", source=source),
    ]
    return [read_definition(text) for text in made]


def figure_nine():
    return read_definition(loss_weights((0.2, 0.4), (0.4, 0.6)))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with all four tables and the grid of Fig. 9, from made-up metrics."""
    root = tmp_path_factory.mktemp("results")
    methods = [*LABELS["ixi"], *ABLATION, *ATTENTION]
    ixi = metric_rows("ixi", MASKS["ixi"], list(dict.fromkeys(methods)), volumes=16, slices=0)
    points = [method for method in figure_nine().methods if method != "manet"]
    fastmri = metric_rows("fastmri", MASKS["fastmri"], [*LABELS["fastmri"], *points], volumes=16, slices=0)
    metrics = pd.concat([ixi, fastmri], ignore_index=True)
    metrics.to_parquet(root / "metrics.parquet")
    for wanted in definitions():
        write_mask_json(root, wanted.dataset, wanted.masks)
        write_records(root, wanted)
        write_statistics(root, wanted, metrics)
        tables.write_table(wanted, root, sha256("configuration"), root / "tables")
    return root


def test_comparisons_between_masks_are_tested_on_the_same_subjects(results):
    ours = our_scores(results, definitions(), figure_nine(), MANET)
    claim = next(claim for claim in claims_of("manet") if claim.name == "planes_easier")
    found = list(compare(claim.form, ours))
    assert len(found) == 60
    written = pd.read_csv(results / "statistics" / f"masks_{1 if claim.masks.table == 'I' else 2}.csv")
    verdicts = {
        (row["metric"], row["method"], frozenset((row["mask_a"], row["mask_b"]))): row["verdict"]
        for row in written.to_dict("records")
    }
    assert {comparison.tested for comparison in found} <= set(verdicts.values())
    assert all(comparison.tested for comparison in found)
    pair = frozenset(("1d_uniform_6x", "2d_radial_6x"))
    places = frozenset((mask, "manet") for mask in pair)
    assert ours.tested["I", "psnr", places] == verdicts["psnr", "manet", pair]


@pytest.mark.parametrize(("section", "place"), [("V-D", "section V-D"), ("abstract", "abstract")])
def test_a_part_of_a_paper_that_has_a_name_is_no_section(section, place):
    paper = paper_scores(MANET)
    (row,) = judge_claims([replace(CLAIMED[0], section=section)], paper, paper).to_dict("records")
    assert row["section"] == place


def test_masks_and_tables_that_the_paper_does_not_print_are_left_out():
    text = definition(1, "ixi", [*MASKS["ixi"][:2], "2d_poisson_6x"], LABELS["ixi"], numeral="I")
    other = definition(5, "ixi", MASKS["ixi"], LABELS["ixi"], numeral="5")
    (kept,) = printed_parts(own_parts([read_definition(text), read_definition(other)], MANET), MANET)
    assert kept.masks == MASKS["ixi"][:2]


def with_values(scores, changes):
    """One side's scores with some means replaced: {(numeral, mask, method): {metric: value}}."""
    means = {key: dict(value) for key, value in scores.means.items()}
    for key, values in changes.items():
        means[key] |= values
    return replace(scores, means=means)


def judged(side, name):
    """One claim's row, with ``side`` as ours."""
    table = judge_claims(CLAIMED, paper_scores(MANET), side).set_index("claim")
    return table.loc[name]


# ---- the paper's own tables -----------------------------------------------------------------------


def test_the_papers_tables_bear_out_its_claims_but_where_they_do_not():
    """Answers and counts read off the printed tables by hand."""
    table = judge_claims(CLAIMED, paper_scores(MANET), paper_scores(MANET)).set_index("claim")
    found = {
        name: (row["paper"], row["paper_held"], row["paper_comparisons"]) for name, row in table.iterrows()
    }
    assert found == {
        "manet_best": ("mostly", 22, 24),
        "manet_lowest_nmse": ("not judged", 0, 0),
        "auxiliary_helps": ("mostly", 70, 72),
        "concatenation_weakest": ("mostly", 30, 32),
        "planes_easier": ("in part", 36, 60),
        "lines_best_for_manet": ("in part", 3, 12),
        "harder_with_acceleration": ("mostly", 36, 40),
        "kspace_helps": ("holds", 16, 16),
        "attention_helps": ("holds", 16, 16),
        "cs_best": ("holds", 4, 4),
        "sc_worst": ("holds", 4, 4),
        "loss_weights": ("not judged", 0, 0),
        "low_weights_worse": ("not judged", 0, 0),
    }


def test_the_two_settings_that_manet_does_not_win_in_the_paper_are_named():
    row = judged(paper_scores(MANET), "manet_best")
    assert row["paper_evidence"] == (
        "22 of 24 comparisons. Against: 1D-Uniform-9×, SSIM: MANet 0.947, Xiang et al. 0.955; "
        "2D-Spiral-9×, PSNR: MANet 33.0, DuDoRNet 33.1."
    )
    assert "prints no numbers" in judged(paper_scores(MANET), "loss_weights")["paper_evidence"]


def test_claims_name_tables_and_methods_that_there_are():
    """A name that nothing has would leave its comparisons out without a word."""
    folders = discover()
    for claim in claims_of("manet"):
        (form,) = filter(None, (claim.methods, claim.masks, claim.weights))
        named = {*getattr(form, "tables", ()), getattr(form, "table", "I")}
        assert named <= {table.numeral for table in MANET.tables.values()}
        methods = form.better + form.than if claim.methods else form.methods if claim.masks else ()
        for method in methods:
            folders[method.partition("-")[0]].method(method)


def test_a_resource_of_another_form_is_refused_by_field(tmp_path, monkeypatch):
    shutil.copytree(MANET.folder, tmp_path / "manet")
    monkeypatch.setattr(papers, "PAPERS", tmp_path)
    for text, said in (
        ("- {name: a, text: b}", r"field \[0\].judged_by is missing"),
        (
            "- {name: a, text: b, judged_by: c, methods: {tables: I}}",
            r"field \[0\].methods.tables is 'I', not",
        ),
        ("- {name: a, text: b, judged_by: c, sectoin: V}", r"field \[0\].sectoin is unknown"),
    ):
        (tmp_path / "manet" / "claims.yaml").write_text(text)
        with pytest.raises(BadInput, match=rf"claims\.yaml: {said}"):
            claims_of.__wrapped__("manet")


def test_the_tolerance_is_half_the_median_distance_of_neighbours():
    for metric in ("ssim", "psnr"):
        distances = []
        for numeral in ("I", "II"):
            printed = MANET.published(numeral)
            for mask in {mask for mask, _ in printed}:
                column = [
                    float(value[f"{metric}_mean"])
                    for (of, method), value in printed.items()
                    if of == mask and method != "zf"
                ]
                distances += list(np.diff(sorted(column)))
        printed = MANET.printed[metric]
        assert round(np.median(distances) / 2, printed.digits) == printed.tolerance


# ---- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", [claim.name for claim in CLAIMS])
def test_every_claim_can_hold_and_can_fail(claim):
    """Scores that bear out a claim, and the same turned upside down."""
    order = ["zf", "unet", "xiang", "manet-sc", "manet-no_kspace", "manet-no_attention", "manet-sc_cs"]
    order += ["dudornet", "manet"]
    paper = paper_scores(MANET)

    def side(sign):
        means = {}
        for numeral, mask, method in paper.means:
            hardness = int(mask.rsplit("_", 1)[1].removesuffix("x"))
            easy = {"1d": 0.0, "2d": 0.3}.get(mask[:2], 0.0) * (-1 if claim == "lines_best_for_manet" else 1)
            value = sign * (order.index(method) + easy - 0.05 * hardness)
            means[numeral, mask, method] = {"ssim": value, "psnr": value, "nmse": -value}
        grid = {(a, b): {"ssim": sign * (2 * a + b), "psnr": sign * (2 * a + b)} for a, b in GRID}
        return replace(paper, means=means, digits=DIGITS, grid=grid)

    assert judged(side(1), claim)["here"] == "holds"
    assert judged(side(-1), claim)["here"] == "does not hold"


@pytest.mark.parametrize("claim", [claim.name for claim in QUESTIONS])
def test_a_question_is_answered_where_its_runs_are_there_and_else_left_out(claim):
    paper, order = paper_scores(MANET), ["unet", "mcvarnet", "varnet", "unet2", "manet"]
    of_phase = {  # 1D before 2D
        (beside("I"), mask, f"manet{PHASED}"): place
        for place, mask in enumerate(("1d_uniform_6x", "2d_radial_6x"))
    }

    def side(sign):
        means = {
            ("I", "2d_radial_6x", method): {"ssim": sign * place, "psnr": sign * place}
            for place, method in enumerate(order)
        } | {key: {"ssim": sign * place, "psnr": sign * place} for key, place in of_phase.items()}
        labels = {**paper.labels, "unet2": "U-Net 2", "varnet": "VarNet", "mcvarnet": "MC-VarNet"}
        return replace(paper, means=means, labels=labels, digits=DIGITS)

    better = judged(side(1), claim)
    assert (better["paper"], better["here"]) == ("not judged", "holds")
    assert judged(side(-1), claim)["here"] == "does not hold"
    assert claim not in set(judge_claims(CLAIMED, paper, paper)["claim"])


def test_one_contrary_comparison_makes_a_claim_hold_mostly():
    turned = with_values(paper_scores(MANET), {("III", "2d_radial_9x", "manet"): {"psnr": 20.0}})
    row = judged(turned, "kspace_helps")
    assert (row["here"], row["here_held"], row["here_comparisons"]) == ("mostly", 15, 16)
    assert "2D-Radial-9×, PSNR: MANet 20.0, w/o k-space 30.8" in row["here_evidence"]


@pytest.mark.parametrize(
    ("held", "of", "answer"),
    [
        *((24, 24, "holds"), (23, 24, "mostly"), (18, 24, "mostly"), (17, 24, "in part"), (6, 24, "in part")),
        *(
            (5, 24, "hardly"),
            (1, 24, "hardly"),
            (0, 24, "does not hold"),
            (1, 1, "holds"),
            (0, 0, "not judged"),
        ),
    ],
)
def test_the_word_for_a_claim_is_the_share_of_comparisons_that_speak_for_it(held, of, answer):
    made = [Comparison(str(number), number < held, "1, 2") for number in range(of)]
    found = judge(made, "no run")
    assert (found.answer, found.held, found.of) == (answer, held, of)


def test_a_tie_does_not_show_that_something_helps():
    same = with_values(paper_scores(MANET), {("IV", "1d_uniform_6x", "manet"): {"ssim": 0.936}})
    assert judged(same, "cs_best")["here_held"] == 3


def test_what_was_not_run_is_not_judged():
    row = judged(replace(paper_scores(MANET), means={}), "kspace_helps")
    assert (row["here"], row["here_comparisons"]) == ("not judged", 0)
    assert "none of the runs" in row["here_evidence"]


def test_a_method_that_diverged_is_not_better_than_one_that_did_not():
    """Without its worst setting, a claim would hold for the method that failed there."""
    paper = paper_scores(MANET)
    lost = ("III", "2d_radial_9x", "manet")
    means = {key: value for key, value in paper.means.items() if key != lost}
    row = judged(replace(paper, means=means, diverged=frozenset({lost})), "kspace_helps")
    assert (row["here"], row["here_held"], row["here_comparisons"]) == ("mostly", 14, 16)
    assert "2D-Radial-9×, PSNR: MANet diverged, w/o k-space 30.8" in row["here_evidence"]
    # Nor does it show anything to be better than what diverged.
    other = ("III", "2d_radial_9x", "manet-no_kspace")
    means = {key: value for key, value in paper.means.items() if key != other}
    row = judged(replace(paper, means=means, diverged=frozenset({other})), "kspace_helps")
    assert (row["here"], row["here_comparisons"]) == ("holds", 14)


def test_a_mask_under_which_a_method_diverged_is_not_the_easier():
    paper = paper_scores(MANET)
    lost = ("I", "2d_radial_6x", "manet")
    means = {key: value for key, value in paper.means.items() if key != lost}
    whole = judged(paper, "planes_easier")
    row = judged(replace(paper, means=means, diverged=frozenset({lost})), "planes_easier")
    assert row["here_comparisons"] == whole["here_comparisons"] == 60
    assert (whole["here_held"], row["here_held"]) == (36, 33)


def test_manet_is_not_best_where_it_diverged_under_every_mask():
    paper = paper_scores(MANET)
    lost = frozenset(key for key in paper.means if key[0] in ("I", "II") and key[2] == "manet")
    means = {key: value for key, value in paper.means.items() if key not in lost}
    row = judged(replace(paper, means=means, diverged=lost), "manet_best")
    assert (row["here"], row["here_held"], row["here_comparisons"]) == ("does not hold", 0, 24)
    # What diverged is nobody's best rival: the others are.
    lost = frozenset((numeral, mask, "zf") for numeral, mask, method in lost)
    means = {key: value for key, value in paper.means.items() if key not in lost}
    row = judged(replace(paper, means=means, diverged=lost), "manet_best")
    assert row.equals(judged(paper, "manet_best"))


def test_a_point_of_the_grid_that_diverged_is_not_the_best():
    grid = {point: {"ssim": sum(point), "psnr": sum(point)} for point in GRID} | {(0.4, 0.6): {}}
    row = judged(replace(paper_scores(MANET), grid=grid), "loss_weights")
    assert (row["here"], row["here_comparisons"]) == ("does not hold", 6)
    assert "diverged at α 0.4, β 0.6" in row["here_evidence"]


def test_ours_that_diverged_are_told_from_those_that_were_not_run(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    metrics = pd.read_parquet(results / "metrics.parquet")
    of_mask = (metrics["dataset"] == "fastmri") & (metrics["mask"] == "equispaced_4x")
    metrics.loc[of_mask & (metrics["method"] == "manet"), ["ssim", "psnr", "nmse"]] = np.nan
    metrics = metrics[~(of_mask & (metrics["method"] == "manet-a0.2-b0.4"))]
    metrics.to_parquet(tmp_path / "copy" / "metrics.parquet")
    wanted = definitions()[1]
    write_statistics(tmp_path / "copy", wanted, metrics)
    tables.write_table(wanted, tmp_path / "copy", sha256("configuration"), tmp_path / "copy" / "tables")
    found = our_scores(tmp_path / "copy", definitions(), figure_nine(), MANET)
    assert found.diverged == {("II", "equispaced_4x", "manet")}
    assert sorted(found.grid) == GRID[1:]
    assert found.grid[0.4, 0.6] == {}


def test_evidence_says_how_much_is_beyond_chance():
    def evidence(*tested):
        return judge([Comparison("here", True, "a b", verdict) for verdict in tested], "").evidence

    assert "Beyond chance: 1 of these 3." in evidence(
        "distinguishable", "not distinguishable", "not distinguishable"
    )
    assert "Too few test volumes" in evidence("unreachable", "unreachable")
    assert evidence("", "") == "2 of 2 comparisons."
    # A contrary comparison is no evidence for the claim, however sure.
    only = judge([Comparison("a", False, "", "distinguishable"), Comparison("b", True, "")], "")
    assert "chance" not in only.evidence


def test_long_lists_of_contrary_comparisons_are_cut():
    failed = [Comparison(f"place {number}", False, "x") for number in range(9)]
    assert judge(failed, "").evidence.endswith("place 3: x; and 5 more.")


# ---- values ---------------------------------------------------------------------------------------


def test_the_paper_reproduces_itself_on_published_data_and_ranks_alike_on_embedded():
    paper = paper_scores(MANET)
    published = compare_cells(MANET, paper, definitions("published"))
    assert len(published) == 2 * (40 + 16 + 24 + 3)
    assert set(published["verdict"]) == {"reproduced"}
    assert set(compare_cells(MANET, paper, definitions())["verdict"]) == {"same rank"}


@pytest.mark.parametrize(
    ("psnr", "published", "embedded"),
    [
        (32.5, "reproduced", "other rank"),  # 0.4 below 32.9, below DuDoRNet's 32.6
        (33.3, "reproduced", "same rank"),
        (33.31, "same rank", "same rank"),
        (32.49, "not reproduced", "other rank"),
        (np.nan, "no value", "no value"),
    ],
)
def test_a_value_is_judged_by_tolerance_then_by_rank(psnr, published, embedded):
    ours = with_values(paper_scores(MANET), {("I", "1d_uniform_6x", "manet"): {"psnr": psnr}})
    for source, expected in (("published", published), ("embedded", embedded)):
        cells = compare_cells(MANET, ours, definitions(source)[:1])
        (row,) = cells.query("mask == '1d_uniform_6x' and metric == 'psnr' and method == 'manet'").to_dict(
            "records"
        )
        assert row["verdict"] == expected
        assert row["difference"] == pytest.approx(psnr - 32.9, nan_ok=True)


def test_a_hole_of_ours_moves_no_other_rank():
    ours = with_values(paper_scores(MANET), {("I", "1d_uniform_6x", "manet"): {"psnr": np.nan}})
    cells = compare_cells(MANET, ours, definitions()[:1])
    column = cells.query("mask == '1d_uniform_6x' and metric == 'psnr'").set_index("method")
    assert column.loc["dudornet", "rank"] == column.loc["dudornet", "paper_rank"] == 1
    assert (column.drop(index="manet")["verdict"] == "same rank").all()


def test_a_method_alone_in_its_column_has_no_rank_to_share():
    alone = {
        ("I", "1d_uniform_6x", method): {"psnr": np.nan} for method in ("zf", "unet", "xiang", "dudornet")
    }
    for psnr, source, expected in (
        (30.0, "embedded", "no rank"),
        (30.0, "published", "no rank"),
        (32.9, "published", "reproduced"),
    ):
        ours = with_values(paper_scores(MANET), alone | {("I", "1d_uniform_6x", "manet"): {"psnr": psnr}})
        cells = compare_cells(MANET, ours, definitions(source)[:1])
        column = cells.query("mask == '1d_uniform_6x' and metric == 'psnr'").set_index("method")
        assert column.loc["manet", "verdict"] == expected
        assert set(column.drop(index="manet")["verdict"]) == {"no value"}


def tied_column(no_kspace, no_attention, manet, source="embedded", metric="ssim"):
    """Table III under 1D-Uniform-9×, whose SSIM is 0.934, 0.934, 0.947 in print, with these as ours."""
    values = dict(zip(ABLATION, (no_kspace, no_attention, manet), strict=True))
    changes = {("III", "1d_uniform_9x", method): {metric: value} for method, value in values.items()}
    cells = compare_cells(MANET, with_values(paper_scores(MANET), changes), definitions(source)[2:3])
    return cells.query(f"mask == '1d_uniform_9x' and metric == '{metric}'")


@pytest.mark.parametrize(
    ("ours", "texts", "verdicts", "same_order"),
    [
        ((0.835, 0.834, 0.9), ["2–3 → 2", "2–3 → 3", "1 → 1"], ["same rank"] * 3, 1),
        ((0.834, 0.835, 0.9), ["2–3 → 3", "2–3 → 2", "1 → 1"], ["same rank"] * 3, 1),
        ((0.834, 0.834, 0.9), ["2–3 → 2", "2–3 → 2", "1 → 1"], ["same rank"] * 3, 1),
        ((0.99, 0.834, 0.9), ["2–3 → 1", "2–3 → 3", "1 → 2"], ["other rank", "same rank", "other rank"], 0),
        # A hole of ours leaves no tie.
        ((np.nan, 0.834, 0.9), ["", "2 → 2", "1 → 1"], ["no value", "same rank", "same rank"], 1),
    ],
)
def test_values_that_the_paper_prints_alike_share_their_ranks(ours, texts, verdicts, same_order):
    column = tied_column(*ours)
    assert rank_texts(column) == texts
    assert list(column["verdict"]) == verdicts
    (row,) = order_agreement(column).to_dict("records")
    assert (row["columns"], row["same_order"]) == (1, same_order)
    published = [verdict.replace("other rank", "not reproduced") for verdict in verdicts]
    assert list(tied_column(*ours, source="published")["verdict"]) == published


def test_ours_are_ranked_by_all_their_digits_where_the_paper_has_no_tie():
    # 31.5, 31.8 and 32.4 in print; to the paper's one digit, two of ours would be alike.
    column = tied_column(30.02, 30.01, 33.0, metric="psnr")
    assert rank_texts(column) == ["3 → 2", "2 → 3", "1 → 1"]
    assert list(column["verdict"]) == ["other rank", "other rank", "same rank"]
    # Nor does a tie of ours move those behind it.
    assert rank_texts(tied_column(30.0, 33.0, 33.0, metric="psnr")) == ["3 → 3", "2 → 1", "1 → 1"]


def test_a_paper_of_more_digits_is_not_rounded():
    paper = replace(MANET, printed={name: replace(of, digits=5) for name, of in MANET.printed.items()})
    changes = {("I", "1d_uniform_6x", "manet"): {"ssim": 0.93701}}
    ours = with_values(paper_scores(paper), changes)
    cells = compare_cells(paper, ours, definitions()[:1])
    own = cells.query("mask == '1d_uniform_6x' and metric == 'ssim'").set_index("method")
    assert (own.loc["manet", "rank"], own.loc["dudornet", "rank"]) == (1, 2)


def test_agreement_of_orders_is_kendalls():
    paper = paper_scores(MANET)
    swapped = with_values(
        paper,
        {("I", "1d_uniform_6x", "manet"): {"ssim": 0.8}, ("I", "1d_uniform_6x", "zf"): {"ssim": 0.95}},
    )
    cells = compare_cells(MANET, swapped, definitions()[:1])
    (row,) = order_agreement(cells).query("metric == 'ssim'").to_dict("records")
    tau = stats.kendalltau([0.756, 0.897, 0.935, 0.937, 0.944], [0.95, 0.897, 0.935, 0.937, 0.8]).statistic
    assert (row["columns"], row["same_order"]) == (8, 7)
    assert row["tau"] == pytest.approx((7 + tau) / 8)


# ---- files ----------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "col", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_every_claim_and_value_and_needs_no_network(results, tmp_path):
    write_claims(definitions(), results, tmp_path, [figure_nine()], papers=("manet",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("cells.csv", "claims.csv", "claims.html", "claims.md")
    ]
    html = (tmp_path / "claims.html").read_text(encoding="utf-8")
    page, text = Page(html), (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert page.open == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "http" not in html
    assert "questions beyond it" not in page.text
    for claim in CLAIMS:
        assert claim.text in page.text
        assert claim.text in text
    cells, judgements = pd.read_csv(tmp_path / "cells.csv"), pd.read_csv(tmp_path / "claims.csv")
    assert len(cells) == 2 * 83
    assert set(cells["verdict"]) <= {"same rank", "other rank"}
    # Under two masks the paper's Table III has a tie.
    assert "such as 2–3; any of them is the same rank" in page.text
    assert sum(text.startswith("2–3 → ") for text in rank_texts(cells)) == 4
    assert page.text.count("2–3 → ") == text.count("2–3 → ") == 4
    assert len(judgements) == len(CLAIMS)
    assert "judged by rank alone" in page.text
    # 16 volumes are enough here: the made-up MANet leaves less error than the made-up variant.
    row = judgements.set_index("claim").loc["kspace_helps"]
    assert row["here"] == "holds"
    assert "Beyond chance: " in row["here_evidence"]
    assert judgements.set_index("claim").loc["loss_weights", "here"] != "not judged"


def test_ours_are_the_tables_values(results):
    found = our_scores(results, definitions(), figure_nine(), MANET)
    table = pd.read_csv(results / "tables" / "table_1.csv").set_index(["mask", "method"])
    for (mask, method), row in table.iterrows():
        for metric in ("ssim", "psnr", "nmse"):
            assert found.get("I", mask, method, metric) == row[f"{metric}_mean"]
    metrics = pd.read_parquet(results / "metrics.parquet")
    own = metrics.query("dataset == 'fastmri' and mask == 'equispaced_4x' and method == 'manet-a0.2-b0.4'")
    assert found.grid[0.2, 0.4]["psnr"] == pytest.approx(own["psnr"].mean())


def test_published_data_is_judged_by_values_and_says_how(results, tmp_path):
    write_claims(definitions("published"), results, tmp_path, papers=("manet",))
    text = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "0.4 dB (PSNR) or 0.007 (SSIM)" in text
    assert "embedded" not in text
    assert pd.read_csv(tmp_path / "claims.csv").set_index("claim").loc["loss_weights", "here"] == "not judged"


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"table_1\.csv: no such file"):
        write_claims(definitions(), tmp_path, tmp_path, papers=("manet",))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "table_1.csv").write_text("mask,method\n")
    with pytest.raises(BadInput, match=r"table_1\.csv: column status is missing"):
        our_scores(tmp_path, definitions()[:1], None, MANET)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3\n", b"\xff\xfe\x00"])
def test_a_damaged_table_is_named(tmp_path, content):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "table_1.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"table_1\.csv: not a table \(.*\); delete it and run the workflow"):
        our_scores(tmp_path, definitions()[:1], None, MANET)


# ---- mirror images --------------------------------------------------------------------------------


def test_where_masks_are_compared_the_page_says_what_they_are_worth(results, tmp_path):
    """Only there, and only of the datasets whose targets are magnitudes."""
    write_claims(definitions(), results, tmp_path, [figure_nine()], papers=("manet",))
    rows = pd.read_csv(tmp_path / "claims.csv").set_index("claim")
    said = "Counting mirror images of samples, which magnitudes give for free: 1D-Uniform-6× 3.02"
    assert said in rows.loc["planes_easier", "here_evidence"]
    assert "2D-Radial-6× 6.05" in rows.loc["harder_with_acceleration", "here_evidence"]
    assert said in (tmp_path / "claims.md").read_text()
    assert not rows.loc["manet_best", "here_evidence"].count("mirror")
    assert not rows["paper_evidence"].str.contains("mirror").any()
    assert set(mirror_notes(results, definitions())) == {"I", "III", "IV"}


def test_of_targets_with_a_phase_nothing_is_said_of_mirror_images():
    means = {(beside("I"), mask, f"zf{PHASED}"): {"ssim": 0.5, "psnr": 20.0} for mask in MASKS["ixi"]}
    ours = replace(paper_scores(MANET), means=means, digits=DIGITS)
    rows = judge_claims(CLAIMED, paper_scores(MANET), ours, {"I": "Of magnitudes."}).set_index("claim")
    assert rows.loc["planes_easier_with_phase", "here"] != "not judged"
    assert not rows["here_evidence"].str.contains("magnitudes").any()
    assert (
        "magnitudes"
        in judge_claims(
            CLAIMED, paper_scores(MANET), paper_scores(MANET), {"I": "Of magnitudes."}
        ).to_string()
    )


def test_tables_of_targets_with_a_phase_stand_beside_the_papers():
    phased = replace(
        read_definition(definition(5, "ixi", MASKS["ixi"], LABELS["ixi"], numeral="5")), phase="smooth"
    )
    assert [one.numeral for one in phased_parts([*definitions(), phased], MANET)] == [beside("I")]
    # Table I itself may be of such targets: then it is the table that claims are judged by.
    assert phased_parts([replace(definitions()[0], phase="smooth")], MANET) == []


def test_tables_that_the_paper_does_not_have_get_no_section(results, tmp_path):
    beyond = replace(definitions()[0], number=5, numeral="5", paper="")
    write_claims([*definitions(), beyond], results, tmp_path, [figure_nine()], papers=("manet",))
    for name in ("claims.md", "claims.html"):
        text = (tmp_path / name).read_text()
        assert "No values" not in text
        assert "Table 5" not in text
