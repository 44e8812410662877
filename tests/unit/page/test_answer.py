"""The first screen: one sentence that is true of the tests, and the means in blocks."""

import html
import re

import pandas as pd
import pytest

from workflow.page.answer import (
    answer,
    answering,
    best_methods,
    better_variants,
    unreachable_sentence,
)
from workflow.page.cards import cost_block, views
from workflow.tables.page import Block, Page, Text

MASKS = ("1d_uniform_6x", "2d_radial_9x")
LABELS = {"zf": "ZF", "unet": "U-Net", "manet": "MANet", "manet-sc": "SC"}
RISING = {"ssim": True, "psnr": True, "nmse": False}


def made(scores, verdict="unreachable", table="I", dataset="ixi", **changes):
    """Tests as ``read_tests`` reads them; ``scores``: (mask, method) -> PSNR, from which the others follow.

    A string in place of a score is the status of what has none.
    """
    rows = []
    for mask in dict.fromkeys(mask for mask, _ in scores):
        known = {m: of for (where, m), of in scores.items() if where == mask and not isinstance(of, str)}
        for metric, rising in RISING.items():
            # One at which each is as good as its PSNR.
            means = {m: of if metric == "psnr" else of / 40 if rising else 1 / of for m, of in known.items()}
            best = (max if rising else min)(means, key=means.get, default="")
            for method, of in ((m, of) for (where, m), of in scores.items() if where == mask):
                row = {"table": table, "dataset": dataset, "source": "published", "mask": mask}
                row |= {"metric": metric, "method": method, "label": LABELS.get(method, method)}
                row |= {"status": of if isinstance(of, str) else "ok", "best": "", "verdict": ""}
                if method in means:
                    row |= {"mean": means[method], "best": best, "volumes": 4.0, "tests": 9.0}
                    row |= {"least_p": 0.125, "volumes_needed": 9.0, "verdict": "best"}
                    if method != best:
                        row |= {"difference": means[method] - means[best], "p_holm": 1.0, "verdict": verdict}
                rows.append(row)
    columns = ("mean", "difference", "p_holm", "volumes", "tests", "least_p", "volumes_needed")
    return (
        pd.DataFrame.from_records(rows)
        .reindex(columns=[*rows[0], *columns])
        .loc[:, lambda one: ~one.columns.duplicated()]
        .assign(**changes)
    )


def said(*tables):
    return html.unescape(re.sub("</?strong>", "", str(answer(tables))))


TWO = {
    ("1d_uniform_6x", "zf"): 20.0,
    ("1d_uniform_6x", "unet"): 25.0,
    ("1d_uniform_6x", "manet"): 26.0,
    ("2d_radial_9x", "zf"): 21.0,
    ("2d_radial_9x", "unet"): 24.0,
    ("2d_radial_9x", "manet"): 26.0,
}


def test_who_is_best_where_and_by_how_much():
    assert said(made(TWO)) == (
        "On IXI, MANet has the highest PSNR under both masks, 1.50 dB above the next best on average, "
        "and the highest SSIM under both; 4 test volumes are too few to tell any of it from chance."
    )
    assert said(made(TWO, source="embedded")).startswith("On IXI (embedded data), MANet")
    assert "<strong>MANet</strong>" in str(answer([made(TWO)]))


def test_what_is_sure_is_counted_and_nothing_more():
    assert said(made(TWO, "not distinguishable")).endswith(
        "; no lead over the next best can be told from chance (p > 0.05)."
    )
    # One that ranks contradict is told from chance, but is none of the best's.
    assert said(made(TWO, "not distinguishable", p_holm=0.01)).endswith(
        "; no lead over the next best can be told from chance."
    )
    both = made(TWO, "distinguishable")
    assert said(both).endswith("; 2 of these 2 leads are more than chance (p ≤ 0.05).")
    # Only the next best decides: to be surely above zero filling is no answer.
    rival = (both["method"] == "unet") & (both["mask"] == MASKS[1])
    both.loc[rival, "verdict"] = "not distinguishable"
    assert said(both).endswith("; 1 of these 2 leads is more than chance (p ≤ 0.05).")


def test_two_that_lead_alike_are_both_named():
    turned = TWO | {(MASKS[1], "unet"): 27.0}
    assert said(made(turned)).startswith(
        "On IXI, MANet and U-Net each have the highest PSNR under 1 of 2 masks, 1.00 dB above the next "
        "best on average, and the highest SSIM under 1;"
    )


def test_what_is_led_under_some_masks_is_ahead_there():
    turned = TWO | {(MASKS[1], "unet"): 22.0, (MASKS[1], "zf"): 29.0, (MASKS[0], "zf"): 26.5}
    turned |= {("1d_random_3x", name): of for name, of in (("zf", 20.0), ("unet", 21.0), ("manet", 23.0))}
    assert said(made(turned)).startswith(
        "On IXI, ZF has the highest PSNR under 2 of 3 masks, there 1.75 dB above the next best on average, "
        "and the highest SSIM under 2;"
    )
    one = {key: of for key, of in TWO.items() if key[0] == MASKS[0]}
    assert said(made(one)).startswith(
        "On IXI, MANet has the highest PSNR under 1D-Uniform-6×, 1.00 dB above the next best, and the "
        "highest SSIM;"
    )


def test_nobody_is_ahead_where_there_is_no_other():
    declined = {key: of for key, of in TWO.items() if key[1] != "manet"} | {(MASKS[1], "unet"): "missing"}
    assert said(made(declined)).startswith(
        "On IXI, U-Net and ZF each have the highest PSNR under 1 of 2 masks, 5.00 dB above the next best "
        "where there is one, and the highest SSIM under 1;"
    )


def test_a_metric_that_says_otherwise_is_told():
    other = made(TWO)
    ssim = other["metric"] == "ssim"
    other.loc[ssim, "best"] = "unet"
    assert ", but U-Net has the highest SSIM under both masks" in said(other)


def test_one_method_has_nothing_to_be_compared_with():
    alone = {key: of for key, of in TWO.items() if key[1] == "manet"}
    assert said(made(alone)) == (
        "On IXI, MANet alone has scores, 26.00 dB PSNR on average under both masks, with nothing to compare "
        "them with."
    )


def test_what_failed_is_named_and_nothing_is_made_up_of_it():
    lost = TWO | {(MASKS[0], "manet"): "diverged", (MASKS[1], "manet"): "3 of 16 failed"}
    assert "U-Net has the highest PSNR under both masks" in said(made(lost))
    assert "(MANet under 2 of 2 gave no score)" in said(made(lost))
    everything = dict.fromkeys(TWO, "diverged")
    assert said(made(everything)).startswith("On IXI, no method has a score (ZF under 2 of 2, U-Net")
    # What was not asked for has not failed.
    assert "gave no score" not in said(made(TWO | {(MASKS[0], "zf"): "missing"}))


def test_each_dataset_has_a_clause_and_no_table_no_answer():
    one = said(made(TWO), made(TWO, dataset="fastmri", table="II"))
    assert one.count("; ") == 2
    assert "; on fastMRI, MANet" in one
    assert one.count("too few") == 1
    mixed = said(made(TWO), made(TWO, "distinguishable", dataset="fastmri"))
    assert mixed.index("too few") < mixed.index("on fastMRI") < mixed.index("more than chance")
    assert answer([]) == ""


def test_leads_of_several_tables_that_are_told_once_are_counted_together():
    tables = made(TWO, "distinguishable"), made(TWO, "distinguishable", dataset="fastmri")
    assert said(*tables).count("; ") == 2
    assert said(*tables).endswith("; 4 of these 4 leads are more than chance (p ≤ 0.05).")
    tables[1].loc[tables[1]["method"] != "manet", "verdict"] = "not distinguishable"
    assert "; 2 of these 2 leads are more than chance (p ≤ 0.05); on fastMRI" in said(*tables)


def test_tables_of_one_dataset_are_told_apart():
    both = said(made(TWO), made(TWO, table="fastMRI of Ramzi"), made(TWO, dataset="fastmri", table="II"))
    assert both.startswith("In Table I on IXI, MANet has")
    assert "; in Table fastMRI of Ramzi on IXI, MANet has" in both
    assert "; on fastMRI, MANet has" in both


def test_tables_of_variants_answer_only_where_there_is_no_other():
    variants = made({(MASKS[0], "manet"): 26.0, (MASKS[0], "manet-sc"): 30.0}, table="IV")
    whole = made(TWO)
    assert [of["table"].iloc[0] for of in answering([whole, variants])] == ["I"]
    assert answering([variants])[0] is variants
    assert best_methods([whole]) == {("ixi", mask): "manet" for mask in MASKS}
    names = {"manet": "MANet", "manet-sc": "MANet SC"}
    assert better_variants([whole], [variants], names) == [
        ("Table IV", "MANet SC has a higher PSNR than every method above under 1D-Uniform-6×.")
    ]
    assert better_variants([made(dict.fromkeys(TWO, 99.0))], [variants], names) == []


def test_tables_without_any_reachable_test_become_one_sentence():
    assert unreachable_sentence([made(TWO, "distinguishable")]) == ""
    sentence = unreachable_sentence([made(TWO), made(TWO, table="II"), made(TWO, "distinguishable")])
    assert sentence == (
        "No difference in Tables I and II can be told from chance: the least p of a Wilcoxon signed-rank "
        "test over 4 test volumes is 0.125, and with Holm's correction for the 9 tests of a table none can "
        "be at most 0.05; that takes 9 volumes that all differ."
    )


def test_blocks_hold_two_masks_and_mark_the_best_two_of_each_column():
    found = views(made(TWO, "not distinguishable"))
    assert [*found] == ["SSIM and PSNR", "NMSE"]
    (block,) = found["SSIM and PSNR"]
    assert block.groups == (
        ("1D-Uniform-6×", ("SSIM ↑", "PSNR ↑")),
        ("2D-Radial-9×", ("SSIM ↑", "PSNR ↑")),
    )
    rows = dict(block.rows)
    assert [cell.text for cell in rows["MANet"]] == ["0.650", "26.00", "0.650", "26.00"]
    assert rows["U-Net"][1] == Text("25.00\N{NO-BREAK SPACE}≈", "second")
    assert [cell.mark for cell in rows["ZF"]] == [""] * 4
    (other,) = found["NMSE"]
    assert [cell.mark for cell in dict(other.rows)["MANet"]] == ["best"] * 2


@pytest.mark.parametrize(("status", "printed"), [("missing", "—"), ("diverged", "diverged")])
def test_a_cell_without_a_score_says_why(status, printed):
    (block,) = views(made(TWO | {(MASKS[0], "zf"): status}))["NMSE"]
    assert [cell.text for cell in dict(block.rows)["ZF"]] == [printed, "0.0476"]


def test_beside_the_scores_stands_what_a_method_costs():
    headers = ("parameters", "GFLOPs", "ms per slice", "memory (GB)", "training (s)", "PSNR ↑")
    cells = tuple(map(Text, ("7", "0.1", "2.0", "0.5", "9", "26.0")))
    page = Page("cost-ixi", "Cost", "t", (), (Block("Method", (("IXI", headers),), (("MANet", cells),)),))
    block = cost_block(page)
    assert block.groups == (("Cost", ("parameters", "ms per slice", "memory (GB)", "training (s)")),)
    assert [cell.text for cell in block.rows[0][1]] == ["7", "2.0", "0.5", "9"]
