"""Which differences in a table are more than chance: paired tests, intervals and effect sizes over subjects.

``python -m workflow.statistics.significance --definitions JSON --metrics results/X/metrics.parquet --output
results/X/statistics`` writes, for each table, ``table_<n>.csv`` (each method against the best of its column),
and ``pairs_<n>.csv`` (each pair of methods).
Definitions with their sources: docs/statistics.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.errors import run_command
from data_prep.io.files import write_text
from data_prep.seeds import seed_for
from workflow.metrics.contract import metric_of
from workflow.plan.arguments import show_parser
from workflow.plan.definitions import Definition
from workflow.statistics.scores import ALPHA, Cell, cells_of, read_metrics
from workflow.statistics.tests import (
    Array,
    bootstrap_weights,
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
    records: list[dict[str, Any]] = []
    for mask, metric in product(definition.masks, definition.metrics):
        for first, second in combinations(_comparable(definition, samples, mask, metric), 2):
            a, b = samples[mask, first], samples[mask, second]
            sums = subtract(a.sums[metric], b.sums[metric])
            low, high = _interval(definition, sums, a)
            records.append(
                {
                    **_place(definition, mask, metric),
                    "method_a": first,
                    "label_a": labels[first],
                    "method_b": second,
                    "label_b": labels[second],
                    "volumes": len(a.subjects),
                    "difference": float(sums.sum() / a.counts.sum()),
                    "low": low,
                    "high": high,
                    "effect": rank_biserial(sums / a.counts),
                    "p": signed_rank(sums / a.counts),
                }
            )
    pairs = pd.DataFrame.from_records(records, columns=[*_PAIR_COLUMNS])
    pairs["tests"] = len(pairs)
    pairs["p_holm"] = holm(pairs["p"].to_numpy(dtype=np.float64))
    pairs["verdict"] = [_verdict(row) for row in pairs.to_dict("records")]
    return pairs


_PAIR_COLUMNS = (
    *("table", "dataset", "source", "mask", "metric", "method_a", "label_a", "method_b", "label_b"),
    *("volumes", "difference", "low", "high", "effect", "p"),
)


def _comparable(
    definition: Definition, samples: Mapping[tuple[str, str], Sample], mask: str, metric: str
) -> list[str]:
    """Return the methods that have this metric under this mask, in the table's order."""
    methods = [row.method for row in definition.rows]
    return [m for m in methods if (mask, m) in samples and samples[mask, m].has(metric)]


def _place(definition: Definition, mask: str, metric: str) -> dict[str, str]:
    table = {"table": definition.numeral, "dataset": definition.dataset, "source": definition.source}
    return table | {"mask": mask, "metric": metric}


def _interval(definition: Definition, sums: Array, sample: Sample) -> tuple[float, float]:
    # By name, like every random number here; the same draws for all masks of a table.
    seed = seed_for(use="bootstrap", dataset=definition.dataset)
    return interval(sums, sample.counts, bootstrap_weights(len(sample.subjects), seed))


def _verdict(pair: Mapping[Any, Any]) -> str:
    if least_p(pair["volumes"]) * pair["tests"] > ALPHA:
        return "unreachable"
    # The test weighs ranks: a mean that one subject has turned round is not what it confirms.
    agreed = pair["effect"] * pair["difference"] > 0
    return "distinguishable" if pair["p_holm"] <= ALPHA and agreed else "not distinguishable"


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
                low, high = _interval(definition, sample.sums[metric], sample)
                record |= {
                    "volumes": len(sample.subjects),
                    "mean": sample.mean(metric),
                    "low": low,
                    "high": high,
                    "best": best,
                    "tests": len(pairs),
                    "least_p": least_p(len(sample.subjects)),
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
        **{name: pair[name] for name in ("p", "p_holm", "verdict")},
    }


def samples_of(cells: Mapping[tuple[str, str], Cell]) -> dict[tuple[str, str], Sample]:
    """Return (mask, method) -> its scores by subject; methods that diverged or have no run are left out."""
    return {key: Sample.of(found) for key, found in cells.items() if found.status == "ok"}


def analyse(definition: Definition, metrics: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a table's comparison with the best, and its pairs.

    Raises:
        BadInput: the runs under one mask were evaluated on different volumes.
    """
    cells = cells_of(metrics, definition)
    samples = samples_of(cells)
    pairs = compare_pairs(definition, samples)
    return compare_with_best(definition, cells, samples, pairs), pairs


def write_numbers(number: int, table: pd.DataFrame, pairs: pd.DataFrame, output: Path) -> None:
    """Write ``table_<number>.csv`` and ``pairs_<number>.csv`` into the folder ``output``."""
    for name, content in (("table", table), ("pairs", pairs)):
        text = content.to_csv(index=False, float_format="%.9g", lineterminator="\n")
        write_text(output / f"{name}_{number}.csv", text)


def main() -> None:
    """Command line entry point."""
    parser = show_parser(
        "workflow.statistics.significance",
        __doc__,
        list[Definition],
        ("--metrics", "metrics.parquet of the experiment"),
    )
    arguments = parser.parse_args()
    planned = [group for definition in arguments.definitions for group in definition.planned]
    metrics = read_metrics(arguments.metrics, planned)
    for number, definition in enumerate(arguments.definitions, 1):
        write_numbers(definition.number, *analyse(definition, metrics), arguments.output)
        print(f"table {definition.numeral} ({number} of {len(arguments.definitions)})", flush=True)


if __name__ == "__main__":
    run_command(main)
