"""Tables of trust: is the auxiliary used, do the conventions matter, what becomes of lesions.

``python -m workflow.trust.tables --table auxiliary --definition JSON --results results/X
--configuration SHA256 --output results/X/tables`` writes ``trust_<table>_<dataset>.csv``, ``.json``,
``.md``, ``.tex`` and ``.html``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd

from data_prep.io.command import Choices, command
from data_prep.masks.registry import label
from workflow.metrics.contract import metric_of
from workflow.metrics.conventions import CONVENTIONS
from workflow.plan.definitions import GROUND_TRUTH, Configuration, Folder, Results, TrustDefinition
from workflow.statistics.scores import counted, number, ranks
from workflow.statistics.tests import coverage_note
from workflow.tables.formats import made_from, write_page
from workflow.tables.page import MARKS, Block, Page, Text
from workflow.tables.words import MARKED
from workflow.trust.scores import (
    LARGE_LESION_MM,
    audit_scores,
    auxiliary_conditions,
    auxiliary_scores,
    compare_lesions,
    condition_name,
    is_used,
    lesion_scores,
    quartiles,
    ranking_agreement,
    read_probes,
)

_SHORT = {name: name.replace("_", " ") for name in CONVENTIONS}
_SHORT |= {"self_normalised": "self-norm.", "gaussian_window": "Gaussian"}


def auxiliary_table(definition: TrustDefinition, probes: pd.DataFrame) -> tuple[pd.DataFrame, Page]:
    """Is the auxiliary used? PSNR with it, and what other auxiliaries change."""
    scores = auxiliary_scores(probes, definition)
    conditions = auxiliary_conditions(probes) if any(row.auxiliary for row in definition.rows) else []
    at = scores.set_index(["mask", "method", "condition", "amount"]).to_dict("index")
    blocks = []
    for mask in definition.masks:
        rows = []
        for row in definition.rows_under(mask):
            own = Text(number(at[mask, row.method, "unchanged", 0.0]["psnr"], 2))
            changes = [
                Text(number(at[mask, row.method, *condition]["psnr_difference"], 2, signed=True))
                if row.auxiliary
                else Text("·", "muted")
                for condition in conditions
            ]
            rows.append((row.label, (own, *changes, Text(is_used(scores, mask, row)))))
        headers = ("PSNR", *(condition_name(*condition) for condition in conditions), "used?")
        blocks.append(Block(stub="Method", groups=((label(mask), headers),), rows=tuple(rows)))
    caption = (
        "PSNR (dB, volume convention) with the auxiliary as it is, and what it gains or loses when the same "
        "weights see another auxiliary; nothing is trained again.",
        "Used: every test volume loses 0.005 dB or more, in every seed, with another subject's auxiliary (of "
        "the same slice position); otherwise in how many of them; no: none changes by as much, up or down.",
        _averages(definition, int(scores["volumes"].max())),
        "A small loss under a wrong auxiliary means that the scores owe little to it.",
    )
    return scores, _page("auxiliary", "Is the auxiliary used?", definition, caption, blocks)


def audit_table(definition: TrustDefinition, probes: pd.DataFrame) -> tuple[pd.DataFrame, Page]:
    """Do the metric conventions matter? The same reconstructions under each, and whether ranks change."""
    scores = audit_scores(probes, definition)
    scores["kendall_tau"] = [
        ranking_agreement(scores, entry["mask"], entry["convention"], entry["metric"])
        for entry in scores.to_dict("records")
    ]
    scored = set(zip(scores["convention"], scores["metric"], strict=True))
    columns = [(c, m) for m in ("ssim", "psnr") for c in CONVENTIONS if (c, m) in scored]
    columns.append(("volume", "hfen"))
    at = scores.set_index(["mask", "method", "convention", "metric"])["value"].to_dict()
    named = {row.method: row.label for row in definition.rows} | {GROUND_TRUTH: "Truth"}
    blocks = []
    for mask in definition.masks:
        shown = [method for method in named if (mask, method, "volume", "ssim") in at]
        cells = [_audited({m: at[mask, m, *column] for m in shown}, column[1]) for column in columns]
        rows = [(named[method], tuple(of[method] for of in cells)) for method in shown]
        agreement = [ranking_agreement(scores, mask, *column) for column in columns]
        taus = tuple(Text("·" if math.isnan(t) else number(t, 2), "muted") for t in agreement)
        headers = tuple(
            metric_of(m).header if m == "hfen" else f"{metric_of(m).label} {_SHORT[c]}" for c, m in columns
        )
        groups = ((label(mask), headers),)
        blocks.append(Block("Method", groups, tuple(rows), foot=(("Ranking: τ", taus),)))
    caption = (
        "The same reconstructions, scored under the conventions in use; PSNR in dB. The conventions: "
        + "; ".join(f"{_SHORT[name]}: {words}" for name, words in CONVENTIONS.items())
        + ". HFEN: high-frequency error norm.",
        "τ: Kendall's rank correlation of the methods with the benchmark's own convention (HFEN: with its "
        "PSNR); 1 means the same ranking.",
        _averages(definition, int(scores["volumes"].max())),
        MARKED,
        "Values of two columns are not comparable; that is the point.",
    )
    return scores, _page("audit", "Metric conventions", definition, caption, blocks)


def _audited(values: Mapping[str, float], metric: str) -> dict[str, Text]:
    """Return a column's cells by method: best and second best are marked as printed, the truth never is."""
    known = metric_of(metric)
    scored = [method for method in values if method != GROUND_TRUTH]
    placed = ranks([values[method] for method in scored], known.digits, known.rising)
    marks = {method: MARKS.get(place or 0, "") for method, place in zip(scored, placed, strict=True)}
    return {
        method: Text(number(value, known.digits), marks.get(method, "muted"))
        for method, value in values.items()
    }


def lesion_table(definition: TrustDefinition, probes: pd.DataFrame) -> tuple[pd.DataFrame, Page]:
    """What becomes of lesions that only T2 shows: contrast, detections, false bright spots."""
    records, blocks, counts = [], [], []
    for mask in definition.masks:
        rows = []
        named = {GROUND_TRUTH: "Truth"} | {row.method: row.label for row in definition.rows}
        found = {method: lesion_scores(probes, mask, method) for method in named}
        rivals = [m for m, of in found.items() if m != GROUND_TRUTH and len(of.lesions) and not of.diverged]
        best = min(rivals, key=lambda method: found[method].errors.mean(), default="")
        for method, scores in found.items():
            lesions = scores.lesions
            if not len(lesions):
                continue
            large = lesions["radius_mm"] >= LARGE_LESION_MM
            parts = {"all": lesions, "small": lesions[~large], "large": lesions[large]}
            diverged = scores.diverged
            low, high = scores.detection_interval
            counts.append((len(lesions), int(large.sum()), scores.heads))
            compared = method in rivals and method != best
            behind = compare_lesions(scores, found[best]) if compared else (math.nan,) * 3
            record = {
                "mask": mask,
                "method": method,
                "label": named[method],
                "lesions": len(lesions),
                "heads": scores.heads,
                "detected": math.nan if diverged else _count(scores.detected),
                "detection_low": low,
                "detection_high": high,
                "error": math.nan if diverged else float(scores.errors.mean()),
                "best": best,
                **dict(zip(("difference", "difference_low", "difference_high"), behind, strict=True)),
                "false_spots_per_slice": scores.rates.get(0.5, (math.nan, math.nan))[1],
            }
            for part, chosen in parts.items():
                low, middle, high = quartiles(chosen["recovered"])
                record |= {
                    f"recovered_{part}": middle,
                    f"recovered_{part}_low": low,
                    f"recovered_{part}_high": high,
                    f"lesions_{part}": len(chosen),
                }
            records.append(record)
            rows.append((named[method], _lesion_cells(record, diverged)))
        sizes = (f"{sign} {LARGE_LESION_MM:g} mm" for sign in "<≥")
        headers = ("contrast, all", *sizes, "behind the best", "detected", "95 %", "false spots")
        blocks.append(Block(stub="Method", groups=((label(mask), headers),), rows=tuple(rows)))
    total, large_total, heads = counts[0] if counts else (0, 0, 0)
    caption = (
        "Lesions change T2 only, so the auxiliary cannot tell of them. Contrast: of the lesion to its "
        "surroundings over the same in the truth, median over lesions [quartiles]; 1 is right, 0 is gone.",
        "Behind the best: how much farther from 1 the contrast is than that of the method that "
        "comes closest, mean over the same lesions [95 % t interval over heads, not corrected for the number "
        "of methods].",
        "Detected: at least half of the true contrast; 95 %: Wilson's interval of the rate, each head one "
        "trial. False spots: places per slice, 3 x 3 pixels of tissue as it is around the lesions, that have "
        "at least half of a typical lesion's contrast and none in the truth.",
        f"Visible lesions in the test split: {total}, in {counted(heads, 'head')}; {large_total} with a "
        f"radius of {LARGE_LESION_MM:g} mm or more. {_seeds_of_lesions(definition)}",
        "Lesions of one head are alike, so heads are what intervals count. t intervals: "
        f"{coverage_note(heads)}.",
    )
    return pd.DataFrame.from_records(records), _page("lesions", "Lesions", definition, caption, blocks)


def _count(mean: float) -> float:
    """Return a whole number as such; the mean over several seeds may be none."""
    return int(mean) if mean.is_integer() else mean


def _lesion_cells(record: Mapping[str, Any], diverged: bool) -> tuple[Text, ...]:
    if diverged:
        return tuple(Text("diverged") for _ in range(7))
    cells = []
    for part in ("all", "small", "large"):
        middle, low, high = (number(record[f"recovered_{part}{end}"], 2) for end in ("", "_low", "_high"))
        cells.append(f"{middle} [{low}, {high}]" if record[f"lesions_{part}"] else "—")
    spots, rate = record["false_spots_per_slice"], (record["detection_low"], record["detection_high"])
    behind = [record[f"difference{end}"] for end in ("", "_low", "_high")]
    middle, *ends = (number(value, 2, signed=True) for value in behind)
    if math.isnan(behind[0]):
        cells.append("best" if record["method"] == record["best"] else "—")
    else:
        cells.append(middle if math.isnan(behind[1]) else f"{middle} [{', '.join(ends)}]")
    cells += [
        f"{round(record['detected'], 1):g} of {record['lesions']}",
        "—" if math.isnan(rate[0]) else "–".join(f"{100 * end:.0f}" for end in rate) + " %",
        "—" if math.isnan(spots) else number(spots, 2),
    ]
    return tuple(map(Text, cells))


def _page(
    name: str, title: str, definition: TrustDefinition, caption: tuple[str, ...], blocks: list[Block]
) -> Page:
    """Lay out a table, whose footer comes when it is written."""
    return Page(
        number=f"{name}-{definition.dataset}",
        name="Trust",
        title=f"{title} ({definition.data_note})",
        caption=(f"Data: {definition.scans}.", *caption),
        blocks=tuple(blocks),
    )


def _averages(definition: TrustDefinition, count: int) -> str:
    seeds = ", ".join(map(str, definition.seeds))
    which = f"seeds {seeds}, averaged first" if len(definition.seeds) > 1 else f"seed {seeds}"
    return f"Mean over {counted(count, 'test volume')}; {which}." if count else f"{which.capitalize()}."


def _seeds_of_lesions(definition: TrustDefinition) -> str:
    if len(definition.seeds) == 1:
        return _averages(definition, 0)
    seeds = ", ".join(map(str, definition.seeds))
    return (
        f"Seeds {seeds}: contrasts are means over them; detections, distances from 1 and false spots are "
        "told of each training by itself, then averaged."
    )


_TABLES: dict[str, Callable[[TrustDefinition, pd.DataFrame], tuple[pd.DataFrame, Page]]] = {
    "auxiliary": auxiliary_table,
    "audit": audit_table,
    "lesions": lesion_table,
}


@command
def write_table(
    table: Annotated[str, Choices(lambda: _TABLES), "which table"],
    definition: TrustDefinition,
    results: Results,
    configuration: Configuration,
    output: Folder,
) -> None:
    """Write a table in all formats."""
    probes = read_probes(results / "trust" / "probes.parquet", definition)
    scores, page = _TABLES[table](definition, probes)
    page = replace(page, footer=made_from(definition, results, configuration))
    write_page(scores, page, output / f"trust_{table}_{definition.dataset}")
