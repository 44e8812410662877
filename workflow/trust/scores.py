"""What the tables and figures of trust show, computed from ``trust/probes.parquet`` (docs/trust.md).

Scores of a volume are averaged over the training seeds first, then over the volumes. Shared by
``workflow.trust.tables`` and ``workflow.trust.figures``; it knows neither layout nor colours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, norm

from data_prep.errors import BadInput
from data_prep.io.frames import read_parquet
from workflow.metrics.contract import metric_of
from workflow.plan.definitions import GROUND_TRUTH, TrustDefinition, TrustRow
from workflow.statistics.scores import ranks
from workflow.statistics.tests import CONFIDENCE, interval
from workflow.trust.gather import check_probes
from workflow.trust.probe import COLUMNS

LARGE_LESION_MM = 3.0  # radius from which a lesion counts as large
DETECTED = 0.5  # share of its true contrast at which a lesion counts as detected
LEAST_CHANGE_DB = 0.005  # of a volume's PSNR, half of the last digit that tables print


def read_probes(path: Path, definition: TrustDefinition) -> pd.DataFrame:
    """Read the rows of a dataset from ``probes.parquet``.

    Raises:
        BadInput: the file is missing or damaged, lacks a column, holds no row of a method and mask of the
            definition, or probes of another state of a run than it has now.
    """
    probes = read_parquet(path, "workflow.trust.gather", COLUMNS)
    check_probes(probes, path.parents[1], definition.planned, str(path))
    probes = probes[probes["dataset"] == definition.dataset]
    # A volume without signal has no data range: the truth's own score tells, never a method's.
    truth = probes[(probes["method"] == GROUND_TRUTH) & (probes["probe"] == "unchanged")]
    probes = probes[~probes["subject"].isin(truth.loc[truth["value"].isna(), "subject"])]
    found = set(zip(probes["mask"], probes["method"], strict=True))
    for mask in definition.masks:
        for row in definition.rows_under(mask):
            if (mask, row.method) not in found:
                raise BadInput(f"{path}: holds nothing of {row.method} under {mask}; probe this run")
    return probes


def volumes(probes: pd.DataFrame, mask: str, method: str, metric: str, **chosen: Any) -> pd.Series:
    """Return ``by_seed``, averaged over the seeds of each volume."""
    # A diverged seed is not averaged away.
    return by_seed(probes, mask, method, metric, **chosen).groupby("subject").mean(skipna=False)


def by_seed(probes: pd.DataFrame, mask: str, method: str, metric: str, **chosen: Any) -> pd.Series:
    """Return a metric per volume and seed: index (subject, seed); empty where nothing was probed.

    Args:
        probes: of one dataset.
        mask: that the method was trained for.
        method: its id.
        metric: name of the metric.
        chosen: other columns and the values that they must have, such as ``probe`` and ``amount``.
    """
    kept = (probes["mask"] == mask) & (probes["method"] == method) & (probes["metric"] == metric)
    for column, value in chosen.items():
        kept &= probes[column] == value
    return probes[kept].set_index(["subject", "seed"])["value"]


def mean(values: pd.Series) -> float:
    """Mean over volumes; NaN if any is NaN (a diverged training), or if there are none."""
    return float(values.mean(skipna=False)) if len(values) else math.nan


def auxiliary_conditions(probes: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the conditions of the auxiliary that were probed: swaps, then shifts, then rotations."""
    probed = probes[probes["probe"] == "auxiliary"]
    found = set(zip(probed["condition"].tolist(), probed["amount"].tolist(), strict=True))
    return sorted(found, key=lambda entry: ([*_CONDITIONS].index(entry[0]), entry[1]))


def condition_name(condition: str, amount: float) -> str:
    """Return a condition as tables print it, e.g. "shift 2 px"."""
    return _CONDITIONS[condition].format(amount)


_CONDITIONS = {
    "zeroed": "zeroed",
    "other_subject": "other subject's",
    "shift": "shift {:g} px",
    "rotation": "rotation {:g}°",
}


def auxiliary_scores(probes: pd.DataFrame, definition: TrustDefinition) -> pd.DataFrame:
    """Return PSNR and SSIM per mask, method and condition, and the difference to the unchanged auxiliary.

    Columns: mask, method, label, condition, amount, volumes, psnr, ssim, psnr_difference, ssim_difference,
    volumes_worse and volumes_better (whose PSNR falls or rises by 0.005 dB or more in every seed), and
    volumes_changed (in any seed).
    """
    records = []
    for mask in definition.masks:
        for row in definition.rows_under(mask):
            own = {
                metric: by_seed(probes, mask, row.method, metric, probe="unchanged")
                for metric in ("psnr", "ssim")
            }
            conditions = auxiliary_conditions(probes) if row.auxiliary else []
            for condition, amount in [("unchanged", 0.0), *conditions]:
                asked = {"condition": condition, "amount": amount}
                changed = {metric: by_seed(probes, mask, row.method, metric, **asked) for metric in own}
                means = {metric: of.groupby("subject").mean(skipna=False) for metric, of in own.items()}
                other = {metric: of.groupby("subject").mean(skipna=False) for metric, of in changed.items()}
                # Volume by volume and seed by seed: gains and losses would cancel each other in a mean.
                moves = (changed["psnr"] - own["psnr"]).groupby("subject").agg(["min", "max"])
                worse, better = moves["max"] <= -LEAST_CHANGE_DB, moves["min"] >= LEAST_CHANGE_DB
                still = (moves["max"] < LEAST_CHANGE_DB) & (moves["min"] > -LEAST_CHANGE_DB)
                records.append(
                    {
                        "mask": mask,
                        "method": row.method,
                        "label": row.label,
                        "condition": condition,
                        "amount": amount,
                        "volumes": len(means["psnr"]),
                        "psnr": mean(other["psnr"]),
                        "ssim": mean(other["ssim"]),
                        "psnr_difference": mean(other["psnr"] - means["psnr"]),
                        "ssim_difference": mean(other["ssim"] - means["ssim"]),
                        "volumes_worse": int(worse.sum()),
                        "volumes_better": int(better.sum()),
                        "volumes_changed": int((~still).sum()),
                    }
                )
    return pd.DataFrame.from_records(records)


def is_used(scores: pd.DataFrame, mask: str, row: TrustRow) -> str:
    """Say whether a method uses the auxiliary of its subject, by another subject's (else by zeros).

    Each volume is judged by itself, because gains and losses cancel in a mean: "no" where no volume's PSNR
    changes by 0.005 dB or more in any seed, "yes" where every volume loses as much in every seed; otherwise
    the number of volumes that do.
    """
    if not row.auxiliary:
        return "reads none"
    own = scores[(scores["mask"] == mask) & (scores["method"] == row.method)]
    for condition in ("other_subject", "zeroed"):
        found = own[own["condition"] == condition]
        if len(found):
            if math.isnan(found["psnr_difference"].iloc[0]):
                return "diverged"
            names = ("volumes", "volumes_worse", "volumes_changed")
            count, worse, changed = (int(found[name].iloc[0]) for name in names)
            if not changed:
                return "no"
            return "yes" if worse == count else f"in {worse} of {count}"
    return "not probed"


def audit_scores(probes: pd.DataFrame, definition: TrustDefinition) -> pd.DataFrame:
    """Return the mean over volumes per mask, method (the truth included), convention and metric.

    Columns: mask, method, label, convention, metric, value, rank (1 is best; the truth has none), volumes.
    """
    labels = {row.method: row.label for row in definition.rows} | {GROUND_TRUTH: "ground truth"}
    audited = probes[probes["probe"] == "audit"]
    pairs = dict.fromkeys(zip(audited["condition"], audited["metric"], strict=True))
    records = []
    for mask, (convention, metric) in product(definition.masks, pairs):
        found = {method: volumes(audited, mask, method, metric, condition=convention) for method in labels}
        means = {method: (mean(scores), len(scores)) for method, scores in found.items() if len(scores)}
        methods = [method for method in means if method != GROUND_TRUTH]
        order = ranks([means[method][0] for method in methods], None, metric_of(metric).rising)
        placed = dict(zip(methods, order, strict=True))
        records += [
            (mask, method, labels[method], convention, metric, value, placed.get(method), count)
            for method, (value, count) in means.items()
        ]
    columns = ("mask", "method", "label", "convention", "metric", "value", "rank", "volumes")
    return pd.DataFrame.from_records(records, columns=[*columns]).astype({"rank": "Int64"})


def ranking_agreement(scores: pd.DataFrame, mask: str, convention: str, metric: str) -> float:
    """Kendall's tau-b between the ranking of the methods here and in the benchmark's own convention.

    HFEN, which the benchmark does not rank by, is compared with PSNR. NaN with fewer than two methods.
    """
    reference = ("volume", "psnr" if metric == "hfen" else metric)
    ranked = scores[(scores["mask"] == mask) & scores["rank"].notna()]
    columns = [
        ranked[(ranked["convention"] == c) & (ranked["metric"] == m)].set_index("method")["rank"]
        for c, m in (reference, (convention, metric))
    ]
    joined = pd.concat(columns, axis=1, keys=("own", "other")).dropna()
    if len(joined) < 2:
        return math.nan
    return float(kendalltau(joined["own"].astype(float), joined["other"].astype(float)).statistic)


@dataclass(frozen=True)
class LesionScores:
    """What a method makes of the known lesions under one mask.

    Attributes:
        lesions: per visible lesion: ``radius_mm`` and ``recovered`` (averaged over seeds; NaN if one
            diverged), sorted by radius.
        rates: share of the true contrast -> (detection rate, false bright spots per slice); empty if a seed
            diverged.
        trainings: ``lesions`` of each seed; None of one. What has a threshold or a sign is told by them, and
            averaged then: faults of trainings would cancel each other in the mean contrast.
    """

    lesions: pd.DataFrame
    rates: Mapping[float, tuple[float, float]]
    trainings: pd.DataFrame | None = None

    @property
    def _each(self) -> pd.DataFrame:
        return self.lesions if self.trainings is None else self.trainings

    @property
    def diverged(self) -> bool:
        """Whether a seed diverged: the others alone would flatter the method."""
        return bool(self.lesions["recovered"].isna().any())

    @property
    def detected(self) -> float:
        """Number of lesions with at least half of their true contrast, the mean over seeds."""
        return int((self._each["recovered"] >= DETECTED).sum()) * len(self.lesions) / len(self._each)

    @property
    def heads(self) -> int:
        """Number of subjects that the lesions are of."""
        return int(self.lesions["subject"].nunique())

    @property
    def errors(self) -> pd.Series:
        """How far each lesion's recovered contrast is from 1, the mean over seeds: index (subject, item)."""
        off = (self._each.set_index(["subject", "item"])["recovered"] - 1).abs()
        return off.groupby(level=["subject", "item"], sort=False).mean(skipna=False)

    @property
    def detection_interval(self) -> tuple[float, float]:
        """95 % interval of the detection rate; NaN where lesions are of fewer than two heads."""
        if self.heads < 2 or self.diverged:
            return math.nan, math.nan
        return rate_interval(self.detected / len(self.lesions), self.heads)


def lesion_scores(probes: pd.DataFrame, mask: str, method: str) -> LesionScores:
    """Summarise a method's lesions; the table is empty where the test split has no visible lesion."""
    own = probes[(probes["probe"] == "lesions") & (probes["mask"] == mask) & (probes["method"] == method)]
    found = own[own["condition"] == "lesion"]
    if found.empty:
        return LesionScores(pd.DataFrame({"subject": [], "item": [], "radius_mm": [], "recovered": []}), {})
    of_seeds = found.rename(columns={"amount": "radius_mm"})
    keys = ["radius_mm", "subject", "item"]
    each = of_seeds.groupby([*keys, "seed", "metric"])["value"].mean(skipna=False).unstack("metric")
    each = each[each["visible"] == 1].reset_index()
    visible = each.groupby(keys)["recovered"].mean(skipna=False).reset_index()
    if visible["recovered"].isna().any():
        # Its false spots were not counted, so that those of the other seeds would stand for it.
        return LesionScores(visible, {})
    spots = own[own["condition"] == "false_spots"].groupby("amount")["value"].mean(skipna=False)
    rates = {
        share: (float((each["recovered"] >= share).mean()), count)
        for share, count in zip(spots.index.tolist(), spots.tolist(), strict=True)
    }
    return LesionScores(visible, rates, each)


def rate_interval(rate: float, heads: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate, with as many trials as there are heads.

    Lesions of one head are no independent trials. How alike they are cannot be told from a few heads, so each
    head counts as one trial: too wide rather than too narrow.

    Args:
        rate: share of all lesions, from 0 to 1.
        heads: from 1.
    """
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    middle = (rate + z**2 / (2 * heads)) / (1 + z**2 / heads)
    half = z / (1 + z**2 / heads) * math.sqrt(rate * (1 - rate) / heads + z**2 / (4 * heads**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def compare_lesions(own: LesionScores, best: LesionScores) -> tuple[float, float, float]:
    """Return by how much a method's errors are larger than another's on the same lesions, with an interval.

    Paired by lesion; the interval takes the lesions of one head together.

    Returns:
        the mean difference of the errors, and the ends of its 95 % interval; NaN where there is none.
    """
    difference = own.errors - best.errors
    by_head = difference.groupby("subject")
    low, high = interval(by_head.sum().to_numpy(np.float64), by_head.size().to_numpy().astype(np.float64))
    return float(difference.mean(skipna=False)), float(low), float(high)


def quartiles(values: pd.Series) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; NaN without values."""
    if not len(values) or values.isna().any():
        return math.nan, math.nan, math.nan
    low, middle, high = np.percentile(values.to_numpy(dtype=np.float64), (25, 50, 75))
    return float(low), float(middle), float(high)
