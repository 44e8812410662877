"""The scores of a table in small blocks that any screen has room for: a few masks, all methods."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from data_prep.masks.registry import label
from workflow.metrics.contract import STANDARD, UNDEFINED, metric_of
from workflow.statistics.scores import number, ranks
from workflow.tables.page import MARKS, Block, Page, Text
from workflow.tables.words import ALIKE

SIDE_BY_SIDE = 2  # masks, as the paper prints them
FIRST = STANDARD[:2]  # metrics that are shown together, before the others
COSTS = ("parameters", "ms", "memory", "training")  # what begins the headers of the cost table that are shown
_Place = tuple[str, str, str]  # mask, metric, method


def views(tests: pd.DataFrame) -> dict[str, list[Block]]:
    """Return the means of a table as its paper lays them out, by the metrics that are shown together.

    Args:
        tests: a table of ``workflow.page.answer.read_tests``.
    """
    cells = {(row["mask"], row["metric"], row["method"]): row for row in tests.to_dict("records")}
    methods = dict(zip(tests["method"], tests["label"], strict=True))
    masks, metrics = (list(dict.fromkeys(tests[name])) for name in ("mask", "metric"))
    first = [name for name in metrics if name in FIRST]
    pairs = [masks[start : start + SIDE_BY_SIDE] for start in range(0, len(masks), SIDE_BY_SIDE)]
    texts = _texts(cells, masks, metrics, list(methods))
    return {
        " and ".join(metric_of(name).label for name in shown): [
            _block(texts, pair, shown, methods) for pair in pairs
        ]
        for shown in (first, *([name] for name in metrics if name not in first))
    }


def _texts(
    cells: Mapping[_Place, Mapping[Any, Any]],
    masks: Sequence[str],
    metrics: Sequence[str],
    methods: Sequence[str],
) -> dict[_Place, Text]:
    """Return every cell as printed, the best and second best of its column marked."""
    found = {}
    for mask in masks:
        for name in metrics:
            metric, column = metric_of(name), [cells[mask, name, method] for method in methods]
            placed = ranks([row["mean"] for row in column], metric.digits, metric.rising)
            for row, rank in zip(column, placed, strict=True):
                found[mask, name, row["method"]] = Text(_printed(row), MARKS.get(rank or 0, ""))
    return found


def _printed(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["mean"]):
        words = {"missing": "—", "ok": UNDEFINED}
        return words.get(row["status"], str(row["status"]))
    alike = f"\N{NO-BREAK SPACE}{ALIKE}" if row["verdict"] == "not distinguishable" else ""
    return number(row["mean"], metric_of(row["metric"]).digits) + alike


def _block(
    texts: Mapping[_Place, Text], masks: Sequence[str], metrics: Sequence[str], methods: Mapping[str, str]
) -> Block:
    headers = tuple(metric_of(name).header for name in metrics)
    return Block(
        stub="Method",
        groups=tuple((label(mask), headers) for mask in masks),
        rows=tuple(
            (name, tuple(texts[mask, metric, method] for mask in masks for metric in metrics))
            for method, name in methods.items()
        ),
    )


def cost_block(page: Page) -> Block:
    """Return what a reader of the scores asks of a dataset's cost table: size, time and memory."""
    (block,) = page.blocks
    ((_, headers),) = block.groups
    kept = [index for index, header in enumerate(headers) if header.startswith(COSTS)]
    return Block(
        stub=block.stub,
        groups=(("Cost", tuple(headers[index] for index in kept)),),
        rows=tuple((name, tuple(cells[index] for index in kept)) for name, cells in block.rows),
    )
