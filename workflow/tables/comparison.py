"""Methods against each other: from scores to a laid out table."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from data_prep.masks.registry import label, parse_mask
from workflow.metrics.contract import UNDEFINED, metric_of
from workflow.papers.contract import paper_of, printed_metrics
from workflow.plan.definitions import Definition
from workflow.statistics.scores import Cell, cells_of, number, ranks
from workflow.tables.page import MARKS, Block, Page, Text
from workflow.tables.words import ALIKE, caption_of, in_print, notes_of, spread_notes, title_of


def tidy_table(
    definition: Definition,
    metrics: pd.DataFrame,
    accelerations: Mapping[str, tuple[float, float]],
    verdicts: Mapping[tuple[str, str, str], str],
) -> pd.DataFrame:
    """Return one row per mask and method: status, means, spreads, ranks, the paper's values, differences.

    Args:
        definition: the table.
        metrics: contents of ``metrics.parquet``.
        accelerations: mask -> realised acceleration, and effective one where targets are magnitudes.
        verdicts: (mask, metric, method) -> how the paired test tells it from the best of its column.
    """
    cells, paper = cells_of(metrics, definition), paper_of(definition.paper)
    published = paper.published(definition.numeral) if paper else {}
    printed = printed_metrics(paper)
    records = []
    for mask in definition.masks:
        column = [cells[mask, row.method] for row in definition.rows]
        placed = {}
        for name in definition.metrics:
            metric, means = metric_of(name), [cell.mean.get(name) for cell in column]
            placed[name] = ranks(means, metric.digits, metric.rising)
        for index, (row, cell) in enumerate(zip(definition.rows, column, strict=True)):
            records.append(
                {
                    "table": definition.numeral,
                    "dataset": definition.dataset,
                    "source": definition.source,
                    "convention": definition.convention,
                    "mask": mask,
                    "acceleration": parse_mask(mask)[1],
                    "realised_acceleration": accelerations[mask][0],
                    "effective_acceleration": accelerations[mask][1 if definition.mirrors else 0],
                    "method": row.method,
                    "label": row.label,
                    "status": cell.status,
                    "seeds": " ".join(map(str, cell.seeds)),
                    "volumes": cell.volumes,
                    "units": len(cell.scores),
                    **_numbers(cell, published.get((mask, row.method), {}), definition.metrics, printed),
                    **_between(cell, definition),
                    **{f"{name}_rank": placed[name][index] for name in definition.metrics},
                    **{f"{m}_verdict": verdicts.get((mask, m, row.method), "") for m in definition.metrics},
                }
            )
    table = pd.DataFrame.from_records(records)
    return table.astype({f"{metric}_rank": "Int64" for metric in definition.metrics})


def _numbers(
    cell: Cell, paper: Mapping[str, str], metrics: tuple[str, ...], in_paper: tuple[str, ...]
) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for metric in metrics:
        numbers[f"{metric}_mean"] = cell.mean.get(metric, np.nan)
        numbers[f"{metric}_std"] = cell.std.get(metric, np.nan)
        if metric not in in_paper:
            continue
        printed = paper.get(f"{metric}_mean", "")
        numbers[f"{metric}_paper_mean"] = printed
        numbers[f"{metric}_paper_std"] = paper.get(f"{metric}_std", "")
        numbers[f"{metric}_difference"] = numbers[f"{metric}_mean"] - float(printed) if printed else np.nan
    return numbers


def _between(cell: Cell, definition: Definition) -> dict[str, float]:
    """Return the spreads between trainings, where there are several."""
    if len(definition.seeds) == 1:
        return {}
    return {f"{metric}_seed_std": cell.between.get(metric, np.nan) for metric in definition.metrics}


def lay_out(
    definition: Definition, table: pd.DataFrame, statistics: pd.DataFrame, footer: str, narrow: bool = False
) -> Page:
    """Arrange a tidy table as the paper does: two masks side by side, or variants as columns.

    Args:
        definition: the table.
        table: what ``tidy_table`` returns.
        statistics: what ``read_statistics`` returns.
        footer: the sentence on provenance.
        narrow: one mask per sub-table and methods as rows throughout, for screens.
    """
    records = {(row["mask"], row["method"]): row for row in table.to_dict("records")}
    masks, size = definition.masks, 1 if narrow else 2
    paper = paper_of(definition.paper)
    of_paper = paper.table(definition.numeral) if paper else None
    if of_paper and of_paper.metrics:
        # The others are counted and tested, but not printed.
        definition = replace(definition, metrics=of_paper.metrics)
    if of_paper and of_paper.layout == "variants" and not narrow:
        blocks = [_variants_block(definition, mask, records) for mask in masks]
    else:
        groups = [masks[start : start + size] for start in range(0, len(masks), size)]
        blocks = [_methods_block(definition, group, records) for group in groups]
    return Page(
        number=definition.number,
        name=f"Table {definition.numeral}",
        title=title_of(definition),
        caption=caption_of(definition, table, statistics),
        blocks=tuple(blocks),
        notes=notes_of(definition, table) + spread_notes(definition, table),
        footer=footer,
    )


_Records = Mapping[tuple[str, str], dict[Any, Any]]


def _mask_title(row: dict[Any, Any]) -> str:
    return f"{label(row['mask'])} (realised {row['realised_acceleration']:.2f}×)"


def _methods_block(definition: Definition, masks: tuple[str, ...], records: _Records) -> Block:
    """One group of columns per mask, one row per method."""
    rows, printed = definition.rows, in_print(definition)
    beside = (("paper", _paper), ("Δ", _difference))
    columns = [
        (metric, header, write)
        for metric in definition.metrics
        for header, write in ((metric_of(metric).header, _ours), *(beside if metric in printed else ()))
    ]
    headers = tuple(header for _, header, _ in columns)
    return Block(
        stub="Method",
        groups=tuple((_mask_title(records[mask, rows[0].method]), headers) for mask in masks),
        rows=tuple(
            (
                row.label,
                tuple(write(records[mask, row.method], m) for mask in masks for m, _, write in columns),
            )
            for row in rows
        ),
    )


def _variants_block(definition: Definition, mask: str, records: _Records) -> Block:
    """One group of columns per variant, one row each for ours, the paper's and the difference."""
    rows, metrics = definition.rows, definition.metrics
    of_row = [records[mask, row.method] for row in rows]
    beside = (("Paper", _paper), ("Δ", _difference)) if in_print(definition) else ()
    lines = (("This run", _ours), *beside)
    return Block(
        stub=_mask_title(of_row[0]),
        groups=tuple((row.label, tuple(metric_of(metric).header for metric in metrics)) for row in rows),
        rows=tuple(
            (name, tuple(write(row, metric) for row in of_row for metric in metrics)) for name, write in lines
        ),
    )


def _ours(row: dict[Any, Any], metric: str) -> Text:
    if row["status"] != "ok":
        return Text("—" if row["status"] == "missing" else row["status"])
    mark = MARKS.get(row[f"{metric}_rank"], "")
    mean, std, digits = row[f"{metric}_mean"], row[f"{metric}_std"], metric_of(metric).digits
    if np.isnan(mean):
        return Text(UNDEFINED)
    if np.isinf(mean):
        return Text(number(mean, digits), mark)
    alike = f" {ALIKE}" if row[f"{metric}_verdict"] == "not distinguishable" else ""
    return Text(f"{number(mean, digits)} ± {std:.{digits}f}{alike}", mark)


def _paper(row: dict[Any, Any], metric: str) -> Text:
    mean, std = row.get(f"{metric}_paper_mean", ""), row.get(f"{metric}_paper_std", "")
    return Text(f"{mean} ± {std}" if std else mean, "muted")


def _difference(row: dict[Any, Any], metric: str) -> Text:
    value = row.get(f"{metric}_difference", np.nan)
    if not np.isfinite(value):
        return Text("", "muted")
    # No more digits than the paper prints.
    digits = min(metric_of(metric).digits, len(row[f"{metric}_paper_mean"].partition(".")[2]))
    return Text(number(value, digits, signed=True), "muted")
