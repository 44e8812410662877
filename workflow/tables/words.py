"""Captions and notes of tables."""

from collections.abc import Mapping, Sequence

import pandas as pd

from data_prep.datasets.contract import dataset_of
from data_prep.masks.registry import label
from workflow.metrics.contract import STANDARD, metric_of
from workflow.papers.contract import COMPARISON, paper_of
from workflow.plan.definitions import Definition
from workflow.statistics.scores import ALPHA, counted, number
from workflow.train.convergence import RULE

MARKED = "Best value of a column bold, second best underlined (as printed; equal values share the mark)."
ALIKE = "≈"  # beside a value that the test does not tell from the best of its column


def in_print(definition: Definition) -> tuple[str, ...]:
    """Return the metrics of which the paper prints values in this table."""
    paper = paper_of(definition.paper)
    return tuple(paper.printed) if paper and not paper.table(definition.numeral).silent else ()


def title_of(definition: Definition) -> str:
    """Say what a table compares, on which data."""
    dataset = dataset_of(definition.dataset)
    paper = paper_of(definition.paper)
    subject = paper.table(definition.numeral).subject if paper else COMPARISON
    return f"{subject}, {dataset.target} guided by {dataset.auxiliary} ({definition.data_note})"


def caption_of(definition: Definition, table: pd.DataFrame, statistics: pd.DataFrame) -> tuple[str, ...]:
    """Return the sentences below a table: its data, conventions, marks and masks.

    Args:
        definition: the table.
        table: what ``tidy_table`` returns.
        statistics: what ``read_statistics`` returns.
    """
    dataset, paper = dataset_of(definition.dataset), paper_of(definition.paper)
    done = table[table["status"] == "ok"]
    volumes = int(done["volumes"].max()) if len(done) else 0
    units = int(done["units"].max()) if len(done) else 0
    data, difference = f"Data: {definition.scans}.", "Δ: this run minus the paper."
    if definition.source == "embedded":
        data = (
            f"Data: {definition.scans}: {dataset.descent}, so a split by subject does not separate anatomies."
        )
        difference = (
            f"Δ: this run minus the paper, whose data is the real {dataset.label}: for orientation only."
        )
    count = counted(volumes, "test volume")
    if definition.convention == "slice":
        count = f"{counted(units, 'slice')} of {count}"
    seeds = ", ".join(map(str, definition.seeds))
    if len(definition.seeds) > 1:
        seeds = f"seeds {seeds}; the scores of a {definition.convention} are averaged over seeds first"
    else:
        seeds = f"seed {seeds}"
    return (
        data,
        _CONVENTIONS[definition.convention],
        *(f"{metric_of(m).label}: {metric_of(m).meaning}." for m in definition.metrics if m not in STANDARD),
        f"Mean ± population standard deviation over {count}; {seeds}.",
        MARKED,
        *significance_sentence(statistics),
        *((difference,) if in_print(definition) else ()),
        *(paper.remarks(paper.table(definition.numeral), definition.methods) if paper else ()),
        f"Realised acceleration, ACS included: {listed_accelerations(table, 'realised')}.",
        *_mirror_sentence(definition, table),
    )


def listed_accelerations(table: pd.DataFrame, kind: str) -> str:
    """List the masks of a tidy table with their ``realised`` or ``effective`` acceleration."""
    values = dict(zip(table["mask"], table[f"{kind}_acceleration"], strict=True))
    return ", ".join(f"{label(mask)} {value:.2f}" for mask, value in values.items())


def _mirror_sentence(definition: Definition, table: pd.DataFrame) -> tuple[str, ...]:
    """Say what a mask is worth where a sample gives its mirror image for free, or that none does."""
    if definition.mirrors:
        return (
            "Effective acceleration, counting mirror images of samples, which conjugate symmetric k-space of "
            f"magnitudes gives for free: {listed_accelerations(table, 'effective')}.",
        )
    if definition.phase == "none":
        return ()
    return (f"Targets are given a {definition.phase} phase: no sample gives its mirror image for free.",)


_CONVENTIONS = {
    "volume": (
        "Volume convention: the data range is the maximum of the ground-truth volume; PSNR (dB) and "
        "NMSE are taken over the volume, SSIM is the mean over its slices."
    ),
    "slice": "Slice convention: every slice by itself, its ground truth's maximum as data range; PSNR in dB.",
}


def significance_sentence(statistics: pd.DataFrame) -> tuple[str, ...]:
    """Say what the mark of undistinguished values means, or that no test of the table can be significant."""
    tested = statistics[statistics["verdict"].isin([*_VERDICTS])]
    if tested.empty:
        return ()
    first = tested.iloc[0]
    tests, volumes, least = int(first["tests"]), int(tested["volumes"].max()), float(tested["least_p"].min())
    test = f"Wilcoxon signed-rank test over volumes, Holm-corrected for the table's {counted(tests, 'test')}"
    if (tested["verdict"] == "unreachable").all():
        return (
            f"Significance is out of reach with {counted(volumes, 'test volume')}: the least p of a {test}, "
            f"is {least:.3g} before and {min(1.0, tests * least):.3g} after correction; it takes "
            f"{int(first['volumes_needed'])} volumes that all differ. No difference in this table is shown "
            "to be more than chance.",
        )
    alike = f"{ALIKE}: not distinguishable from the best of the column ({test}, p > {ALPHA}"
    against = tested[(tested["verdict"] == _VERDICTS[1]) & (tested["p_holm"] <= ALPHA)]
    # The mean is turned round by few subjects, and the test confirms what the others say.
    return (alike + (", or ranks that point to the other one as the better)." if len(against) else ")."),)


_VERDICTS = ("distinguishable", "not distinguishable", "unreachable")


def _seeds(seeds: Sequence[int | str]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def notes_of(definition: Definition, table: pd.DataFrame) -> tuple[str, ...]:
    """Name what a tidy table has no scores of, and why."""
    notes = []
    declines = {row.method: row.declines for row in definition.rows}
    for row in table[table["status"] != "ok"].to_dict("records"):
        which = _seeds(row["seeds"].split())
        where = f"{row['label']} under {label(row['mask'])}"
        if row["status"] != "missing":
            what = row["status"].replace(" failed", " volumes failed: no number in the reconstruction")
            notes.append(f"{where}: {what} ({which} of {len(definition.seeds)}); nothing is averaged.")
        elif row["mask"] in declines[row["method"]]:
            notes.append(f"{where}: the method declines this mask ({declines[row['method']][row['mask']]}).")
        else:
            notes.append(f"{where}: no run ({which}), shown as —.")
    return tuple(notes)


def spread_notes(definition: Definition, table: pd.DataFrame) -> tuple[str, ...]:
    """Say how far the trainings of one method are apart, where a tidy table has several of each."""
    if len(definition.seeds) == 1:
        return ()
    said = []
    for metric in map(metric_of, definition.metrics):
        of_rows = []
        for row in definition.rows:
            found = table.loc[table["method"] == row.method, f"{metric.id}_seed_std"].dropna()
            # What is not trained is the same with every seed.
            if found.any():
                least, most = (number(end, metric.digits) for end in (found.min(), found.max()))
                of_rows.append(f"{row.label} {least}" + (f" to {most}" if most != least else ""))
        if of_rows:
            said.append(f"{metric.axis}: {'; '.join(of_rows)}")
    if not said:
        return ()
    masks = ", from the least to the most of the masks" if len(definition.masks) > 1 else ""
    return (
        f"Between trainings: standard deviation over {len(definition.seeds)} seeds (division by n - 1) of "
        f"the mean over all {definition.convention}s{masks}; ± and the tests tell nothing of it. "
        f"{'. '.join(said)}.",
    )


def convergence_notes(
    definition: Definition, unfinished: Mapping[tuple[str, str], Sequence[int]]
) -> tuple[str, ...]:
    """Name the trainings behind the table that had not converged: (mask, method) -> their seeds."""
    found: dict[str, list[str]] = {}
    for row in definition.rows:
        for mask in definition.masks:
            if seeds := unfinished.get((mask, row.method)):
                some = "" if len(seeds) == len(definition.seeds) else f" ({_seeds(seeds)})"
                found.setdefault(row.label, []).append(label(mask) + some)
    if not found:
        return ()
    every = [label(mask) for mask in definition.masks]
    named = [
        f"{name} under {'every mask' if masks == every and len(every) > 1 else ', '.join(masks)}"
        for name, masks in found.items()
    ]
    return (f"Not converged: {'; '.join(named)}. There, {RULE}: longer training would change the scores.",)
