"""The answer, from the tests of tables: which method is best where, by how much, and how sure that is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.frames import read_csv
from data_prep.masks.registry import label
from workflow.metrics.contract import STANDARD, metric_of
from workflow.plan.definitions import PHASED
from workflow.statistics.scores import ALPHA, number

LEADING = STANDARD[1]  # the metric that the answer goes by
_TEXTS = (
    *("table", "dataset", "source", "convention", "mask", "metric", "method", "label", "status", "best"),
    "verdict",
)
_NUMBERS = (
    *("mean", "low", "high", "difference", "difference_low", "difference_high", "effect", "p", "p_holm"),
    *("volumes", "tests", "least_p", "volumes_needed"),
)


def read_tests(path: Path) -> pd.DataFrame:
    """Read ``statistics/table_<number>.csv``: a row for each mask, metric and method of a table.

    Raises:
        BadInput: it is missing or damaged.
    """
    columns = dict.fromkeys(_TEXTS, "string") | dict.fromkeys(_NUMBERS, "float64")
    again = "delete it and run the workflow again"
    tests = read_csv(path, columns, "run the workflow to its end first", again)
    places = ("mask", "metric", "method")
    if tests.empty or len(tests.drop_duplicates([*places])) != tests[[*places]].nunique().prod():
        raise BadInput(f"{path}: it does not hold one row for each mask, metric and method; {again}")
    return tests


def is_ablation(tests: pd.DataFrame) -> bool:
    """Tell whether a table compares variants of one method."""
    methods = set(tests["method"])
    return len(methods) > 1 and len({name.partition("-")[0] for name in methods}) == 1


def answering(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables that say which method is best: those of variants only if there is no other."""
    return [tests for tests in tables if not is_ablation(tests)] or list(tables)


def best_methods(tables: Iterable[pd.DataFrame]) -> dict[tuple[str, str], str]:
    """Return (dataset, mask) -> the method with the best mean of the leading metric, by the first table."""
    found: dict[tuple[str, str], str] = {}
    for tests in tables:
        rows = _with_scores(tests, LEADING)
        found = dict(zip(_places(rows), rows["best"], strict=True)) | found
    return found


def _with_scores(tests: pd.DataFrame, metric: str) -> pd.DataFrame:
    return tests[(tests["metric"] == metric) & tests["mean"].notna()]


def better_variants(
    asked: Iterable[pd.DataFrame], others: Iterable[pd.DataFrame], names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Name the variants of other tables that are above every method of the tables that are asked.

    Variants are compared among themselves: that one of them is the best of all stands in no table.

    Args:
        asked: tables of methods.
        others: tables of variants, which call them by what they lack.
        names: method -> what it is called among all.

    Returns:
        The name of the table, and a sentence.
    """
    tops: dict[tuple[str, str], float] = {}
    for rows in (_with_scores(tests, LEADING) for tests in asked if not _is_phased(tests)):
        for place, mean in zip(_places(rows), rows["mean"], strict=True):
            tops[place] = max(mean, tops.get(place, mean))
    found = []
    for tests in others:
        rows = _with_scores(tests, LEADING)
        above = rows["mean"] > [tops.get(place, float("inf")) for place in _places(rows)]
        for method, count in rows[above]["method"].value_counts(sort=False).items():
            masks = _of_masks(range(count), list(dict.fromkeys(tests["mask"])))
            higher = f"has a higher {metric_of(LEADING).label} than every method above under {masks}."
            found.append((f"Table {tests['table'].iloc[0]}", f"{names[str(method)]} {higher}"))
    return found


def _places(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows["dataset"], rows["mask"], strict=True))


def _is_phased(tests: pd.DataFrame) -> bool:
    return bool(tests["method"].str.endswith(PHASED).all())


# ---- in words ----------------------------------------------------------------------------------------


def answer(tables: Sequence[pd.DataFrame]) -> Markup:
    """Return one sentence, or nothing where there is no table: a clause for each, and what is sure."""
    if not tables:
        return Markup("")
    places = [_place(tests) for tests in tables]
    clauses = []
    for place, tests in zip(places, tables, strict=True):
        # Several tables of one dataset compare other methods, or under other masks.
        which = Markup("in Table {} ").format(tests["table"].iloc[0]) if places.count(place) > 1 else Markup()
        said, rivals = _clause(tests)
        clauses.append((which + Markup("on {}, ").format(place) + said, rivals))
    sure = [_sureness(rivals) for _, rivals in clauses]
    if len(set(sure)) == 1:
        # Counted together, what is said once is true of all.
        parts = [*(said for said, _ in clauses), _sureness(pd.concat(rivals for _, rivals in clauses))]
    else:
        parts = [part for (said, _), how in zip(clauses, sure, strict=True) for part in (said, how)]
    text = Markup("; ").join(filter(None, parts))
    return text[0].upper() + text[1:] + Markup(".")


def _clause(tests: pd.DataFrame) -> tuple[Markup, pd.DataFrame]:
    """Return which method is best in a table and by how much; and the tests of its rivals, if it has any."""
    masks, rows = list(dict.fromkeys(tests["mask"])), _with_scores(tests, LEADING)
    failed = _failed(tests)
    if rows.empty:
        return Markup("no method has a score") + failed, rows
    if rows["method"].nunique() == 1:
        mean = number(rows["mean"].mean(), metric_of(LEADING).digits)
        under = f" on average under {_of_masks(list(rows['mask']), masks)}"
        said = Markup("{} alone has scores, {} dB {}").format(
            _strong(rows["label"].iloc[:1]), mean, metric_of(LEADING).label
        )
        return said + under + ", with nothing to compare them with" + failed, rows.iloc[:0]
    leaders, led = _leaders(rows)
    rivals = _rivals(rows, led)
    lead = _leads(LEADING, leaders, led, masks) + _ahead(rivals, led, masks)
    others, also = _leaders(_with_scores(tests, STANDARD[0]))
    if set(others) == set(leaders):
        under = f" under {_of_masks(also[:: len(others)], masks, brief=True)}" if len(masks) > 1 else ""
        end = Markup(f", and the highest {metric_of(STANDARD[0]).label}{under}")
    else:
        end = Markup(", but ") + _leads(STANDARD[0], others, also, masks)
    return lead + end + failed, rivals


def _leads(metric: str, leaders: pd.Series, led: Sequence[str], masks: Sequence[str]) -> Markup:
    verb = "has" if len(leaders) == 1 else "each have"
    return Markup("{} {} the highest {} under {}").format(
        _strong(leaders), verb, metric_of(metric).label, _of_masks(led[:: len(leaders)], masks)
    )


def _leaders(rows: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Return the labels of the methods that are best under most masks, and these masks."""
    best = rows[rows["method"] == rows["best"]]
    counts = best["method"].value_counts()
    leading = best[best["method"].isin(counts[counts == counts.max()].index)]
    return leading.drop_duplicates("method")["label"], list(leading["mask"])


def _rivals(rows: pd.DataFrame, led: Sequence[str]) -> pd.DataFrame:
    """Return the next best method under each mask that is led."""
    others = rows[rows["mask"].isin(led) & rows["difference"].notna()]
    order = others["difference"].abs().sort_values(kind="stable").index
    return others.loc[order].drop_duplicates("mask")


def _ahead(rivals: pd.DataFrame, led: Sequence[str], masks: Sequence[str]) -> str:
    gap = rivals["difference"].abs()
    if gap.empty:
        return ""
    metric = metric_of(LEADING)
    there, mean = "there " if len(led) < len(masks) else "", " on average" if len(gap) > 1 else ""
    # Under a mask that others decline or failed under, it is ahead of nobody.
    alone = " where there is one" if len(gap) < len(led) else ""
    return f", {there}{number(gap.mean(), metric.digits)} {metric.unit} above the next best{alone}{mean}"


def _sureness(rivals: pd.DataFrame) -> str:
    verdicts = Counter(rivals["verdict"])
    if not verdicts:
        return ""
    if verdicts["unreachable"] == len(rivals):
        volumes = int(rivals["volumes"].max())
        many = f"{volumes} test volumes are" if volumes > 1 else "1 test volume is"
        return f"{many} too few to tell any of it from chance"
    sure = verdicts["distinguishable"]
    if not sure:
        # Where ranks point to the next best as the better, p may be small.
        level = f" (p > {ALPHA})" if (rivals["p_holm"] > ALPHA).all() else ""
        return f"no lead over the next best can be told from chance{level}"
    return (
        f"{sure} of these {len(rivals)} leads {'is' if sure == 1 else 'are'} more than chance (p ≤ {ALPHA})"
    )


def _failed(tests: pd.DataFrame) -> str:
    """Say which methods failed under some mask, whose scores are missing from the comparison."""
    failed = tests[(tests["metric"] == LEADING) & ~tests["status"].isin(["ok", "missing"])]
    if failed.empty:
        return ""
    counts, masks = failed["label"].value_counts(sort=False), tests["mask"].nunique()
    named = (f"{name} under {count} of {masks}" for name, count in counts.items())
    return f" ({', '.join(named)} gave no score)"


def _place(tests: pd.DataFrame) -> str:
    """Say on what a table was scored: "IXI (embedded data)"."""
    first = tests.iloc[0]
    notes = ["embedded data"] if first["source"] == "embedded" else []
    notes += ["smooth phase"] if _is_phased(tests) else []
    return dataset_of(first["dataset"]).label + (f" ({', '.join(notes)})" if notes else "")


def _of_masks(some: Sized, masks: Sequence[str], brief: bool = False) -> str:
    if len(masks) == 1:
        return label(masks[0])
    noun = "" if brief else " masks"
    if len(some) == len(masks):
        return ("both" if len(masks) == 2 else f"all {len(masks)}") + noun
    return str(len(some)) if brief else f"{len(some)} of {len(masks)}{noun}"


def _strong(labels: Iterable[str]) -> Markup:
    return Markup(" and ").join(Markup("<strong>{}</strong>").format(name) for name in labels)


def unreachable_sentence(tables: Iterable[pd.DataFrame]) -> str:
    """Say in one sentence of which tables no test can be significant, and why; nothing if there is none."""
    tested = [tests[~tests["verdict"].isin(["", "best"])] for tests in tables]
    hopeless = [rows for rows in tested if len(rows) and (rows["verdict"] == "unreachable").all()]
    if not hopeless:
        return ""
    rows, named = pd.concat(hopeless), [str(of["table"].iloc[0]) for of in hopeless]
    listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
    tests = f"Holm's correction for the {_span(rows['tests'])} tests of a table"
    return (
        f"No difference in Table{'s' if len(named) > 1 else ''} {listed} can be told from chance: the least "
        f"p of a Wilcoxon signed-rank test over {_span(rows['volumes'])} test volumes is "
        f"{rows['least_p'].min():.3g}, and with {tests} none can be at most {ALPHA}; that takes "
        f"{_span(rows['volumes_needed'])} volumes that all differ."
    )


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
