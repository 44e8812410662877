"""Which differences in a table are more than chance: paired tests, intervals and effect sizes over subjects.

``python -m workflow.statistics.significance --definitions JSON --metrics results/X/metrics.parquet --output
results/X/statistics`` writes, for each table, ``table_<n>.csv`` (each method against the best of its column),
``pairs_<n>.csv`` (each pair of methods) and ``masks_<n>.csv`` (each method under two masks).
Definitions with their sources: docs/statistics.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd

from data_prep.io.command import command
from data_prep.io.files import write_text
from data_prep.io.frames import csv_of
from data_prep.masks.registry import parse_mask
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import Definition, Folder
from workflow.statistics.scores import ALPHA, Cell, cells_of, read_metrics
from workflow.statistics.tests import (
    Array,
    holm,
    interval,
    least_p,
    rank_biserial,
    signed_rank,
    subjects_needed,
)


@dataclass(frozen=True)
class Sample:
    """One method's scores under one mask, by subject.

    Attributes:
        subjects: ids in order.
        counts: units per subject, (subjects,); 1 in the volume convention.
        sums: metric -> sum of each subject's units, (subjects,); NaN where the metric is undefined.
    """

    subjects: tuple[str, ...]
    counts: Array
    sums: Mapping[str, Array]

    @classmethod
    def of(cls, cell: Cell) -> "Sample":
        """Sum units within subjects: slices of one subject are no independent observations."""
        by_subject = cell.scores.groupby(level="subject", sort=True)
        sums = by_subject.sum(skipna=False)
        return cls(
            tuple(map(str, sums.index)),
            by_subject.size().to_numpy().astype(np.float64),
            {str(metric): of.to_numpy(dtype=np.float64) for metric, of in sums.items()},
        )

    def mean(self, metric: str) -> float:
        """Return the mean over units, as the table prints it."""
        return float(self.sums[metric].sum() / self.counts.sum())

    def has(self, metric: str) -> bool:
        """Tell whether the metric is defined for every unit: only then it can be compared."""
        return not bool(np.isnan(self.sums[metric]).any())


def subtract(first: Array, second: Array) -> Array:
    """Subtract, where two perfect reconstructions (PSNR inf) do not differ."""
    equal = first == second
    return np.where(equal, 0.0, np.where(equal, 0.0, first) - np.where(equal, 0.0, second))


def compare_pairs(definition: Definition, samples: Mapping[tuple[str, str], Sample]) -> pd.DataFrame:
    """Return one row per mask, metric and pair of methods, tested and corrected over the whole table.

    Args:
        definition: the table.
        samples: (mask, method) -> its scores; methods that diverged or have no run are absent.
    """
    labels = {row.method: row.label for row in definition.rows}
    records = []
    for mask, metric in product(definition.masks, definition.metrics):
        for first, second in combinations(_comparable(definition, samples, mask, metric), 2):
            names = {
                "method_a": first,
                "label_a": labels[first],
                "method_b": second,
                "label_b": labels[second],
            }
            place = _place(definition, mask, metric) | names
            records.append(place | compared(samples[mask, first], samples[mask, second], metric))
    methods = ("method_a", "label_a", "method_b", "label_b")
    return corrected(pd.DataFrame.from_records(records, columns=[*_PLACE, *methods, *COMPARED]))


def compare_masks(definition: Definition, samples: Mapping[tuple[str, str], Sample]) -> pd.DataFrame:
    """Return one row per method, metric and pair of related masks, which were tested on the same subjects.

    Masks are related where their pattern or their acceleration is the same; others differ in too much. The
    correction is over all of these rows.

    Args:
        definition: the table.
        samples: as for ``compare_pairs``.
    """
    related = [
        pair
        for pair in combinations(definition.masks, 2)
        if any(one == other for one, other in zip(*map(parse_mask, pair), strict=True))
    ]
    records = []
    for (first, second), row, metric in product(related, definition.rows, definition.metrics):
        a, b = (samples.get((mask, row.method)) for mask in (first, second))
        if a and b and a.has(metric) and b.has(metric):
            names = {"mask_b": second, "method": row.method, "label": row.label}
            place = _place(definition, first, metric) | names
            records.append(place | compared(a, b, metric))
    masks = pd.DataFrame.from_records(records, columns=[*_PLACE, "mask_b", "method", "label", *COMPARED])
    return corrected(masks.rename(columns={"mask": "mask_a"}))


_PLACE = ("table", "dataset", "source", "mask", "metric")
COMPARED = ("volumes", "difference", "low", "high", "effect", "p", "least_p")


def compared(a: Sample, b: Sample, metric: str) -> dict[str, Any]:
    """Return what paired subjects say of two samples of the same units, first minus second."""
    sums = subtract(a.sums[metric], b.sums[metric])
    low, high = interval(sums, a.counts)
    return {
        "volumes": len(a.subjects),
        "difference": float(sums.sum() / a.counts.sum()),
        "low": low,
        "high": high,
        "effect": rank_biserial(sums / a.counts),
        "p": signed_rank(sums / a.counts),
        "least_p": least_p(sums / a.counts),
    }


def corrected(pairs: pd.DataFrame) -> pd.DataFrame:
    """Add what holds for the rows together: their number, the corrected p, the verdicts."""
    pairs["tests"] = len(pairs)
    pairs["p_holm"] = holm(pairs["p"].to_numpy(dtype=np.float64))
    # Whatever the signs, no test can pass if the one with the least p cannot.
    reachable = bool((pairs["least_p"] * len(pairs) <= ALPHA).any())
    pairs["verdict"] = [_verdict(row) if reachable else "unreachable" for row in pairs.to_dict("records")]
    return pairs


def _verdict(pair: Mapping[Any, Any]) -> str:
    # The test weighs ranks: a mean that one subject has turned round is not what it confirms.
    agreed = pair["effect"] * pair["difference"] > 0
    return "distinguishable" if pair["p_holm"] <= ALPHA and agreed else "not distinguishable"


def _comparable(
    definition: Definition, samples: Mapping[tuple[str, str], Sample], mask: str, metric: str
) -> list[str]:
    """Return the methods that have this metric under this mask, in the table's order."""
    methods = [row.method for row in definition.rows]
    return [m for m in methods if (mask, m) in samples and samples[mask, m].has(metric)]


def _place(definition: Definition, mask: str, metric: str) -> dict[str, str]:
    table = {"table": definition.numeral, "dataset": definition.dataset, "source": definition.source}
    return table | {"mask": mask, "metric": metric}


def compare_with_best(
    definition: Definition,
    cells: Mapping[tuple[str, str], Cell],
    samples: Mapping[tuple[str, str], Sample],
    pairs: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per mask, metric and method: its interval, and how it differs from the column's best."""
    tested = {
        (pair["mask"], pair["metric"], frozenset((pair["method_a"], pair["method_b"]))): pair
        for pair in pairs.to_dict("records")
    }
    records = []
    for mask, metric in product(definition.masks, definition.metrics):
        sign = 1 if metric_of(metric).rising else -1
        means = {
            method: sign * samples[mask, method].mean(metric)
            for method in _comparable(definition, samples, mask, metric)
        }
        # The first of equals.
        best = max(means, key=lambda method: means[method], default="")
        for row in definition.rows:
            record: dict[str, Any] = {
                **_place(definition, mask, metric),
                "convention": definition.convention,
                "method": row.method,
                "label": row.label,
                "status": cells[mask, row.method].status,
            }
            if row.method in means:
                sample = samples[mask, row.method]
                low, high = interval(sample.sums[metric], sample.counts)
                record |= {
                    "volumes": len(sample.subjects),
                    "mean": sample.mean(metric),
                    "low": low,
                    "high": high,
                    "best": best,
                    "tests": len(pairs),
                    "volumes_needed": subjects_needed(len(pairs)),
                    "verdict": "best",
                }
                if row.method != best:
                    record |= _against(tested[mask, metric, frozenset((row.method, best))], row.method)
            records.append(record)
    return pd.DataFrame.from_records(records, columns=[*_COLUMNS]).astype(
        dict.fromkeys(("volumes", "tests", "volumes_needed"), "Int64")
    )


_COLUMNS = (
    *("table", "dataset", "source", "convention", "mask", "metric", "method", "label", "status"),
    *("volumes", "mean", "low", "high", "best", "difference", "difference_low", "difference_high"),
    *("effect", "p", "p_holm", "tests", "least_p", "volumes_needed", "verdict"),
)


def _against(pair: Mapping[Any, Any], method: str) -> dict[str, Any]:
    """Return what a pair says of one of its methods against the other."""
    sign = 1 if pair["method_a"] == method else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return {
        "difference": sign * pair["difference"],
        "difference_low": low,
        "difference_high": high,
        "effect": sign * pair["effect"],
        **{name: pair[name] for name in ("p", "p_holm", "least_p", "verdict")},
    }


def samples_of(cells: Mapping[tuple[str, str], Cell]) -> dict[tuple[str, str], Sample]:
    """Return (mask, method) -> its scores by subject; methods that diverged or have no run are left out."""
    return {key: Sample.of(found) for key, found in cells.items() if found.status == "ok"}


def analyse(definition: Definition, metrics: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a table's comparison with the best (``table``), its ``pairs`` of methods, and of ``masks``.

    Raises:
        BadInput: the runs under one mask were evaluated on different volumes.
    """
    cells = cells_of(metrics, definition)
    samples = samples_of(cells)
    pairs = compare_pairs(definition, samples)
    return {
        "table": compare_with_best(definition, cells, samples, pairs),
        "pairs": pairs,
        "masks": compare_masks(definition, samples),
    }


def write_numbers(number: int | str, found: Mapping[str, pd.DataFrame], output: Path) -> None:
    """Write what ``analyse`` returns as ``<name>_<number>.csv`` into the folder ``output``."""
    for name, content in found.items():
        write_text(output / f"{name}_{number}.csv", csv_of(content))


@command
def write_all(
    definitions: list[Definition],
    metrics: Annotated[Path, "metrics.parquet of the experiment"],
    output: Folder,
) -> None:
    """Write the statistics of tables."""
    scores = read_metrics(metrics, [group for definition in definitions for group in definition.planned])
    for number, definition in enumerate(definitions, 1):
        write_numbers(definition.number, analyse(definition, scores), output)
        print(f"table {definition.numeral} ({number} of {len(definitions)})", flush=True)
