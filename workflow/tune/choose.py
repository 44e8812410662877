"""Compare the trials of a tuning, and write the winners as a fragment of a configuration.

``python -m workflow.tune.choose --definitions JSON --results results/X --configuration SHA256`` writes into
``tuning/`` a table of the trials of each dataset (``trials_<dataset>.csv``, ``.json``, ``.md``, ``.tex`` and
``.html``), a figure of them (``.pdf`` and ``.png``) and ``winners.yaml``. Scores are means over the volumes
of the validation split; no file of the test split is read.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from msgspec import UNSET

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import write_text
from data_prep.io.frames import read_csv
from data_prep.masks.registry import label
from workflow.metrics.contract import KEY_COLUMNS, STANDARD
from workflow.plan.definitions import Configuration, Results, Row, Run, Setting, Trial, TuningDefinition
from workflow.provenance.footer import SHORT, footer
from workflow.provenance.record import RunRecord
from workflow.provenance.runs import TRIALS, read_runs
from workflow.statistics.scores import number, significant
from workflow.tables.formats import write_page
from workflow.tables.page import Block, Page, Text
from workflow.train.convergence import RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AGAIN = "ask for the target tuned again"


@dataclass(frozen=True)
class Outcome:
    """What became of one method with one setting, over all seeds.

    Attributes:
        row: the method.
        setting: what was tried.
        status: ``ok``, ``diverged`` (a seed did), or ``failed`` (a volume has no score).
        psnr: dB; mean over volumes, then seeds; NaN unless ``ok``.
        ssim: likewise.
        hashes: the trainings'.
    """

    row: Row
    setting: Setting
    status: str
    psnr: float
    ssim: float
    hashes: tuple[str, ...]


def trial_rows(definition: TuningDefinition, results: Path) -> pd.DataFrame:
    """Return one row per trial, in the order of methods, settings and seeds.

    Raises:
        BadInput: a trial is missing, or not the planned one, or no volume can be scored.
    """
    records = read_runs(results, definition.planned, "metrics.csv", among=TRIALS)
    rows = []
    for row, setting, seed in product(definition.rows, definition.settings, definition.seeds):
        trial = Trial(Run(definition.dataset, definition.masks[0], row.method, seed), setting.name)
        folder = results / TRIALS / trial.path
        if trial.path not in records:
            raise BadInput(f"{folder}: this trial is missing; {_AGAIN}")
        record = records[trial.path]
        scores = _scores(folder / "metrics.csv", definition.dataset)
        finished = "failed" if scores.isna().any() else "ok"
        rows.append(
            {
                "dataset": definition.dataset,
                "source": definition.source,
                "mask": trial.run.mask,
                "method": row.method,
                "label": row.label,
                "setting": setting.name,
                **{name: str(value) for name, value in setting.options.items()},
                "seed": seed,
                "status": finished if record.status == "finished" else record.status,
                "epochs": record.epochs,
                "best_epoch": record.best_epoch,
                "converged": int(record.converged is True),
                **{f"val_{name}": scores[name] for name in STANDARD},
                "training_seconds": _seconds(record),
                "training_hash": record.training_hash,
            }
        )
    return pd.DataFrame.from_records(rows)


def _scores(path: Path, dataset: str) -> "pd.Series[float]":
    columns = KEY_COLUMNS | dict.fromkeys(STANDARD, "float64")
    table = read_csv(path, columns, _AGAIN, f"delete its folder and {_AGAIN}")
    volumes = table[(table["level"] == "volume") & (table["blank"] == 0)]
    if volumes.empty:
        raise BadInput(
            f"{path}: no validation volume has signal, so there is nothing to choose by; mend the scans, or "
            f"raise datasets.{dataset}.splits.val"
        )
    return volumes[list(STANDARD)].mean(skipna=False)


def _seconds(record: RunRecord) -> float:
    return math.nan if record.seconds.training is UNSET else float(record.seconds.training)


def outcomes(definition: TuningDefinition, trials: pd.DataFrame) -> Iterator[Outcome]:
    """Yield the outcome of each method and setting; a setting of which one seed failed has failed."""
    for row, setting in product(definition.rows, definition.settings):
        chosen = trials[(trials["method"] == row.method) & (trials["setting"] == setting.name)]
        status = next((status for status in chosen["status"] if status != "ok"), "ok")
        of_seeds = chosen[["val_psnr", "val_ssim"]].mean(skipna=False)
        psnr, ssim = map(float, of_seeds) if status == "ok" else (math.nan, math.nan)
        yield Outcome(row, setting, status, psnr, ssim, tuple(chosen["training_hash"]))


def winner(tried: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome with the highest PSNR, of equals the first of the grid; None if all failed."""
    usable = [outcome for outcome in tried if outcome.status == "ok"]
    return max(usable, key=lambda outcome: outcome.psnr, default=None)


def at_edge(chosen: Setting, settings: Sequence[Setting]) -> list[str]:
    """Return the options whose chosen value is the smallest or the largest that was tried.

    Switches have no edge; lists are compared number by number.
    """
    found = []
    for name, value in chosen.options.items():
        tried = [setting.options[name] for setting in settings]
        if not isinstance(value, bool) and value in (min(tried), max(tried)):
            found.append(name)
    return found


def verdicts(definition: TuningDefinition, tried: Sequence[Outcome]) -> list[str]:
    """Say of each method what was chosen, how it compares, and what is to be known of it."""
    found = []
    for row in definition.rows:
        own = [outcome for outcome in tried if outcome.row == row]
        best = winner(own)
        lost = [f"{one.setting.text} {one.status}" for one in own if one.status != "ok"]
        if best is None:
            found.append(f"{row.label}: no winner ({'; '.join(lost)}); widen the grid.")
            continue
        next_best = winner([outcome for outcome in own if outcome is not best])
        said = f"{row.label}: {best.setting.text}, {number(best.psnr, 2)} dB"
        if next_best is not None:
            behind = number(best.psnr - next_best.psnr, 2)
            said += (
                f", {behind} dB above {next_best.setting.text}"
                if best.psnr > next_best.psnr
                else (f", as {next_best.setting.text}: of equals the first of the grid")
            )
        if edge := at_edge(best.setting, definition.settings):
            said += f"; best at the edge of the grid ({', '.join(edge)}): a better one may lie beyond"
        found.append("; ".join([said, *lost]) + ".")
    return found


def page(definition: TuningDefinition, trials: pd.DataFrame, tried: Sequence[Outcome], origin: str) -> Page:
    """Arrange the table: settings down, methods across, the winner of each method marked."""
    best = {row.method: winner([one for one in tried if one.row == row]) for row in definition.rows}
    rows = []
    for setting in definition.settings:
        cells = []
        for row in definition.rows:
            one = next(one for one in tried if (one.row, one.setting) == (row, setting))
            text = f"{number(one.psnr, 2)} / {number(one.ssim, 3)}" if one.status == "ok" else one.status
            cells.append(Text(text, "best" if one is best[row.method] else ""))
        rows.append((setting.text, tuple(cells)))
    hours = trials["training_seconds"].sum() / 3600
    tuned = ", ".join(row.label for row in definition.rows)
    notes = [
        f"Tuned, with the same budget each: {tuned}. The budget: {definition.budget}; "
        f"{len(trials)} trainings, {significant(hours, 2)} hours in all (time of the clock).",
        *verdicts(definition, tried),
    ]
    ended = trials[trials["status"] == "ok"]
    if unready := int((ended["converged"] == 0).sum()):
        notes.append(f"Not converged: {unready} of {len(ended)} trainings ({RULE}).")
    if definition.inheriting:
        notes.append(f"Not tuned, with the setting of their method: {', '.join(definition.inheriting)}.")
    if definition.untuned:
        notes.append(f"Trained, but not tuned: {', '.join(definition.untuned)}.")
    name = dataset_of(definition.dataset).label
    return Page(
        f"tuning-{definition.dataset}",
        "Tuning",
        f"Settings tried on validation data of {name} ({definition.data_note})",
        (
            "PSNR (dB) / SSIM: means over the validation volumes, then over seeds. Bold: chosen, "
            "by PSNR. The test split had no part in it.",
        ),
        (
            Block(
                "Setting",
                ((label(definition.masks[0]), tuple(row.label for row in definition.rows)),),
                tuple(rows),
            ),
        ),
        tuple(notes),
        origin,
    )


def fragment(
    shown: Sequence[tuple[TuningDefinition, Sequence[Outcome]]], configuration: str, code: Sequence[str]
) -> str:
    """Return the winners as YAML that a configuration takes, with what they are from in comments.

    Args:
        shown: each dataset's trials.
        configuration: sha256 of the configuration.
        code: of each dataset's trials, the sentence on what they were made from.
    """
    methods: dict[str, dict[str, dict[str, Any]]] = {}
    lines = [
        "Chosen by equal tuning on validation data (python -m workflow.tune). To use it:",
        "snakemake --cores N --configfile YOURS.yaml THIS.yaml",
        f"Experiment {shown[0][0].experiment}, configuration {configuration[:SHORT]}.",
    ]
    for (definition, tried), origin in zip(shown, code, strict=True):
        dataset = definition.dataset
        lines += ["", f"{dataset}, {definition.masks[0]}, {definition.data_note}: {definition.budget}."]
        lines += verdicts(definition, tried)
        for row in definition.rows:
            best = winner([outcome for outcome in tried if outcome.row == row])
            if best is None:
                continue
            hashes = ", ".join(value[:SHORT] for value in best.hashes)
            lines.append(
                f"{row.method}: {TRIALS}/{dataset}/{definition.masks[0]}/{row.method}/{best.setting.name}, "
                f"training hash {hashes}."
            )
            options = methods.setdefault(row.method, {"optimiser": {}})["optimiser"]
            for name, value in best.setting.options.items():
                # A configuration of one dataset need not say which.
                options[name] = value if len(shown) == 1 else {**options.get(name, {}), dataset: value}
        lines.append(origin)
    tuned = (
        f"Optimisers of {', '.join(methods)} by equal tuning on validation data: {len(shown[0][0].settings)} "
        f"settings each, experiment {shown[0][0].experiment}, configuration {configuration[:SHORT]}."
    )
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    content = {"tuned": tuned, "methods": methods} if methods else {"methods": {}}
    return head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)


def draw(definition: TuningDefinition, tried: Sequence[Outcome]) -> "Figure":
    """Validation PSNR against the settings, one line per method; rings: chosen, crosses: without score."""
    from matplotlib.lines import Line2D

    from workflow.figures import style
    from workflow.figures.sheet import AXIS, TITLE, plain, sheet

    looks: Mapping[str, Any] = {row.method: style.line_style(i) for i, row in enumerate(definition.rows)}
    legend = [Line2D([], [], markersize=3.5, label=row.label, **looks[row.method]) for row in definition.rows]
    notes = ["Mean over validation volumes and seeds. Ring: chosen; ×: diverged or failed.", ""]
    figure, ((axes,),) = sheet(
        legend, notes, definition.embedded_note, [1.0], [2.0], TITLE + AXIS, style.COLUMN_WIDTH + 1
    )
    names = [setting.name for setting in definition.settings]
    for row in definition.rows:
        own = [outcome for outcome in tried if outcome.row == row]
        look = looks[row.method]
        axes.plot(range(len(own)), [one.psnr for one in own], markersize=3.2, **look)
        if (best := winner(own)) is not None:
            axes.plot(own.index(best), best.psnr, "o", markersize=8, fillstyle="none", color=look["color"])
        failed = [place for place, one in enumerate(own) if one.status != "ok"]
        axes.plot(
            failed, [0.02] * len(failed), "x", color=look["color"], transform=axes.get_xaxis_transform()
        )
    (first, *others) = definition.settings[0].options
    texts = names if others else [str(setting.options[first]) for setting in definition.settings]
    axes.set_xticks(range(len(texts)), texts, rotation=0 if len(max(texts, key=len)) < 8 else 30)
    axes.margins(x=0.08, y=0.12)
    plain(axes, label(definition.masks[0]), first if not others else "setting", "validation PSNR (dB)")
    return figure


@command
def choose(
    definitions: list[TuningDefinition],
    results: Results,
    configuration: Configuration,
) -> None:
    """Write tables, figures and winners."""
    from workflow.figures import style

    folder, shown, origins = results / "tuning", [], []
    for definition in definitions:
        trials = trial_rows(definition, results)
        tried = list(outcomes(definition, trials))
        best = {
            one.row.method: one.setting.name
            for row in definition.rows
            if (one := winner([each for each in tried if each.row == row]))
        }
        trials["chosen"] = [
            int(best.get(m) == s) for m, s in zip(trials["method"], trials["setting"], strict=True)
        ]
        origin = footer(
            results,
            definition.experiment,
            definition.dataset,
            definition.masks,
            definition.planned,
            configuration,
            among=TRIALS,
        )
        stem = folder / f"trials_{definition.dataset}"
        write_page(trials, page(definition, trials, tried, origin), stem)
        with style.printed():
            style.save(draw(definition, tried), stem)
        shown.append((definition, tried))
        origins.append(origin)
    # Last: what is there was made of all the rest.
    write_text(folder / "winners.yaml", fragment(shown, configuration, origins))
