"""Which differences in a table are more than chance: paired tests, intervals and effect sizes over subjects.

``python -m workflow.statistics.significance --definitions JSON --metrics results/X/metrics.parquet --output
results/X/statistics`` writes, for each table, ``table_<n>.csv`` (each method against the best of its column),
and ``pairs_<n>.csv`` (each pair of methods).
Definitions with their sources: docs/statistics.md.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.errors import run_command
from data_prep.io.files import replacing
from data_prep.io.json_files import from_json
from data_prep.seeds import seed_for
from workflow.metrics.contract import metric_of
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
    for mask in definition.masks:
        present = [method for method in labels if (mask, method) in samples]
        if not present:
            continue
        weights = _weights(definition, len(samples[mask, present[0]].subjects))
        for metric in definition.metrics:
            defined = [method for method in present if samples[mask, method].has(metric)]
            for first, second in combinations(defined, 2):
                a, b = samples[mask, first], samples[mask, second]
                sums = subtract(a.sums[metric], b.sums[metric])
                low, high = interval(sums, a.counts, weights)
                records.append(
                    {
                        "table": definition.numeral,
                        "dataset": definition.dataset,
                        "source": definition.source,
                        "mask": mask,
                        "metric": metric,
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


def _weights(definition: Definition, subjects: int) -> Array:
    # By name, like every random number here; the same draws for all masks of a table.
    return bootstrap_weights(subjects, seed_for(use="bootstrap", dataset=definition.dataset))


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
        (row["mask"], row["metric"], row["method_a"], row["method_b"]): row
        for row in pairs.to_dict("records")
    }
    records = []
    for mask in definition.masks:
        present = [row.method for row in definition.rows if (mask, row.method) in samples]
        for metric in definition.metrics:
            sign = 1 if metric_of(metric).rising else -1
            defined = [method for method in present if samples[mask, method].has(metric)]
            # The first of equals.
            best = max(defined, key=lambda m: sign * samples[mask, m].mean(metric), default="")
            for row in definition.rows:
                record: dict[str, Any] = {
                    "table": definition.numeral,
                    "dataset": definition.dataset,
                    "source": definition.source,
                    "convention": definition.convention,
                    "mask": mask,
                    "metric": metric,
                    "method": row.method,
                    "label": row.label,
                    "status": cells[mask, row.method].status,
                }
                if row.method in defined:
                    record |= _interval_of(definition, samples[mask, row.method], metric)
                    record |= {
                        "best": best,
                        "tests": len(pairs),
                        "volumes_needed": subjects_needed(len(pairs)),
                    }
                    record |= _against(tested, mask, metric, row.method, best)
                records.append(record)
    return pd.DataFrame.from_records(records, columns=[*_COLUMNS]).astype(
        dict.fromkeys(("volumes", "tests", "volumes_needed"), "Int64")
    )


_COLUMNS = (
    *("table", "dataset", "source", "convention", "mask", "metric", "method", "label", "status"),
    *("volumes", "mean", "low", "high", "best", "difference", "difference_low", "difference_high"),
    *("effect", "p", "p_holm", "tests", "least_p", "volumes_needed", "verdict"),
)


def _interval_of(definition: Definition, sample: Sample, metric: str) -> dict[str, Any]:
    low, high = interval(sample.sums[metric], sample.counts, _weights(definition, len(sample.subjects)))
    return {
        "volumes": len(sample.subjects),
        "mean": sample.mean(metric),
        "low": low,
        "high": high,
        "least_p": least_p(len(sample.subjects)),
    }


def _against(
    tested: Mapping[tuple[str, str, str, str], Mapping[Any, Any]],
    mask: str,
    metric: str,
    method: str,
    best: str,
) -> dict[str, Any]:
    """Return the row of (method, best), turned round where the pair is listed the other way."""
    if method == best:
        return {"verdict": "best"}
    turned = (mask, metric, best, method) in tested
    pair = tested[(mask, metric, best, method) if turned else (mask, metric, method, best)]
    sign = -1 if turned else 1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return {
        "difference": sign * pair["difference"],
        "difference_low": low,
        "difference_high": high,
        "effect": sign * pair["effect"],
        "p": pair["p"],
        "p_holm": pair["p_holm"],
        "verdict": pair["verdict"],
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
        with replacing(output / f"{name}_{number}.csv") as temporary:
            text = content.to_csv(index=False, float_format="%.9g", lineterminator="\n")
            temporary.write_text(text, encoding="utf-8")


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.statistics.significance", description=__doc__)
    parser.add_argument(
        "--definitions", required=True, help="JSON list of tables, as workflow.plan defines them"
    )
    parser.add_argument("--metrics", required=True, type=Path, help="metrics.parquet of the experiment")
    parser.add_argument("--output", required=True, type=Path, help="folder to write into")
    arguments = parser.parse_args()
    definitions = from_json(
        list[Definition], arguments.definitions, "--definitions", "give what workflow.plan prints"
    )
    metrics = read_metrics(arguments.metrics)
    for number, definition in enumerate(definitions, 1):
        write_numbers(definition.number, *analyse(definition, metrics), arguments.output)
        print(f"table {definition.numeral} ({number} of {len(definitions)})", flush=True)


if __name__ == "__main__":
    run_command(main)
