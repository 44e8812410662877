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


def views(tests: pd.DataFrame) -> dict[str, list[Block]]:
    """Return the means of a table as its paper lays them out, by the metrics that are shown together.

    Args:
        tests: a table of ``workflow.page.answer.read_tests``.
    """
    methods = dict(zip(tests["method"], tests["label"], strict=True))
    masks, metrics = (list(dict.fromkeys(tests[name])) for name in ("mask", "metric"))
    first = [name for name in metrics if name in FIRST]
    pairs = [masks[start : start + SIDE_BY_SIDE] for start in range(0, len(masks), SIDE_BY_SIDE)]
    texts: dict[tuple[str, str, str], Text] = {}  # by mask, metric and method
    for _, column in tests.groupby(["mask", "metric"], sort=False):
        metric = metric_of(column["metric"].iloc[0])
        placed = ranks(column["mean"], metric.digits, metric.rising)
        for row, rank in zip(column.to_dict("records"), placed, strict=True):
            texts[row["mask"], row["metric"], row["method"]] = Text(_printed(row), MARKS.get(rank or 0, ""))

    def block(masks: Sequence[str], metrics: Sequence[str]) -> Block:
        places = [(mask, metric) for mask in masks for metric in metrics]
        headers = tuple(metric_of(name).header for name in metrics)
        return Block(
            stub="Method",
            groups=tuple((label(mask), headers) for mask in masks),
            rows=tuple(
                (name, tuple(texts[*place, method] for place in places)) for method, name in methods.items()
            ),
        )

    return {
        " and ".join(metric_of(name).label for name in shown): [block(pair, shown) for pair in pairs]
        for shown in (first, *([name] for name in metrics if name not in first))
    }


def _printed(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["mean"]):
        words = {"missing": "—", "ok": UNDEFINED}
        return words.get(row["status"], str(row["status"]))
    alike = f"\N{NO-BREAK SPACE}{ALIKE}" if row["verdict"] == "not distinguishable" else ""
    return number(row["mean"], metric_of(row["metric"]).digits) + alike


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
