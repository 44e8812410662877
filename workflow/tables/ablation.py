"""Where what is left of a method without a part is better than the whole: found in the scores of a table."""

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from data_prep.masks.registry import label
from methods.registry import MethodFolder, discover
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import PHASED, Shown
from workflow.provenance.runs import read_runs

Places = Container[tuple[str, str]]  # mask, method
# (mask, method) -> metric -> score, turned so that the larger is the better.
_Scores = Mapping[tuple[str, str], Mapping[str, float]]


def whole_of(method: str) -> str:
    """Return the id of the method that a variant is of; of a method its own."""
    return method.partition("-")[0] + (PHASED if method.endswith(PHASED) else "")


def unconverged(shown: Shown, results: Path) -> dict[tuple[str, str], list[int]]:
    """Return (mask, method) -> seeds of trainings whose run.json says that they had not converged."""
    found: dict[tuple[str, str], list[int]] = {}
    for name, record in read_runs(results, shown.planned).items():
        # Methods without training have none to converge.
        if record.converged is False:
            _, mask, method, seed = name.split("/")
            found.setdefault((mask, method), []).append(int(seed.removeprefix("seed")))
    return found


def beaten(table: pd.DataFrame, unfinished: Places) -> tuple[str, ...]:
    """Say of each method whose variants beat it how often they do, and why if that is known.

    Args:
        table: what ``tidy_table`` returns; the metrics beside which a paper's values have a column count.
        unfinished: masks and methods whose training had not converged.
    """
    labels = dict(zip(table["method"], table["label"], strict=True))
    metrics = [name.removesuffix("_paper_mean") for name in table.columns if name.endswith("_paper_mean")]
    scores = {
        (row["mask"], row["method"]): {
            name: row[f"{name}_mean"] * (1 if metric_of(name).rising else -1) for name in metrics
        }
        for row in table.to_dict("records")
        if row["status"] == "ok"
    }
    folders = discover()
    # A variant that stands beside all methods is one of them.
    compared = {name for folder in folders.values() for name in folder.compared}
    variants = [one for one in labels if whole_of(one) != one and one.removesuffix(PHASED) not in compared]
    labels |= {one: _named(one, text, folders) for one, text in labels.items() if whole_of(one) == one}
    return tuple(
        sentence
        for whole in labels
        for sentence in _beaten(whole, variants, labels, scores, metrics, unfinished)
    )


def _named(whole: str, text: str, folders: Mapping[str, MethodFolder]) -> str:
    """Return what a method is called where a table calls it by what it has and its variants lack, "CS"."""
    folder = folders.get(whole.partition("-")[0])
    if folder is None or any(name in text for name in folder.default.label.values()):
        return text
    return f"{folder.default.label_on('other')} ({text})"


def _beaten(
    whole: str,
    variants: Sequence[str],
    labels: Mapping[str, str],
    scores: _Scores,
    metrics: Sequence[str],
    unfinished: Places,
) -> Iterator[str]:
    """Yield the sentences about one method: none, if no variant of it has a better score."""
    won: list[str] = []
    lost: dict[str, None] = {}
    for variant in (one for one in variants if whole_of(one) == whole):
        masks = [mask for mask, method in scores if method == variant and (mask, whole) in scores]
        better = [
            mask
            for mask in masks
            for name in metrics
            if scores[mask, variant][name] > scores[mask, whole][name]
        ]
        if better:
            won.append(f"{labels[variant]} in {len(better)} of {len(masks) * len(metrics)}")
            lost |= dict.fromkeys(better)
    if not won:
        return
    named = " and ".join(metric_of(name).label for name in metrics)
    counted = f"{', '.join(won)} comparisons ({named} under each mask)"
    yield f"{labels[whole]} is beaten by its own variants: {counted}."
    short = [mask for mask in lost if (mask, whole) in unfinished]
    if short:
        where = "any of these masks" if len(short) == len(lost) > 1 else " and ".join(map(label, short))
        reason = f"by the test of convergence, {labels[whole]} was not trained to its end under {where}"
        yield f"A reason is known: {reason}."
