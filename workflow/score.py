"""Score reconstructions that another program made, as one more row beside an experiment's.

``python -m workflow.score --predictions FOLDER --experiment results/demo --name Theirs`` reads a volume for
each test subject, of the name and form that ``workflow.export`` gives it, and prints the experiment's table
under one mask with a row for them: same metrics, conventions and truth. ``--to`` writes it as CSV or JSON.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import Record
from data_prep.errors import BadInput, printable
from data_prep.io.command import command
from data_prep.io.files import below, check_place, matching, then_print, write_text
from data_prep.io.frames import csv_of, read_csv
from data_prep.io.json_files import write_json
from data_prep.masks.from_file import register_found
from data_prep.masks.registry import label
from workflow.metrics.contract import STANDARD, UNDEFINED, metric_of
from workflow.plan.definitions import Definition, Row
from workflow.provenance.files import check_outside, left_over
from workflow.run.finished import read_finished
from workflow.statistics.scores import Cell, cells_of, number, ranks

if TYPE_CHECKING:
    from data_prep.undersample.slices import SliceStore

# Factors by which a volume's intensities may differ from the scan's, by least squares: any volume's, and that
# of one whose error is mostly the factor. A badly trained network has 1.4, with most of its error elsewhere.
_OTHER_UNITS, _RESCALED, _OF_SCALE = 2.0, 1.25, 0.25
_AGAIN = "run the workflow to its end"
_TEXTS = ("dataset", "source", "convention", "mask", "method", "label", "status", "seeds")
_OWN = "prediction"  # the id of the row


def table_of(results: Path, dataset: str, mask: str) -> pd.DataFrame:
    """Return an experiment's rows under one mask, of the first table that shows it.

    Raises:
        BadInput: no table does.
    """
    left = left_over(results)
    columns = dict.fromkeys(_TEXTS, "string") | {
        f"{m}_{part}": "float64" for m in STANDARD for part in ("mean", "std")
    }
    for path in sorted(matching(results / "tables", "table_*.csv")):
        table = read_csv(path, columns, _AGAIN, f"delete it and {_AGAIN}")
        chosen = table[(table["dataset"] == dataset) & (table["mask"] == mask)]
        if len(chosen) and f"tables/{path.name}" not in left:
            return chosen.reset_index(drop=True)
    raise BadInput(f"{results}: no table shows {dataset} under {mask}; {_AGAIN}, or choose another --mask")


def matched(predictions: Path, records: dict[str, Record]) -> dict[str, Path]:
    """Return the file of each test subject.

    Raises:
        BadInput: one has none, or a volume belongs to none.
    """
    if not predictions.is_dir():
        raise BadInput(
            f"--predictions: {predictions} is no folder; give one with a volume for each test scan"
        )
    wanted = {subject: predictions / record.target_file for subject, record in records.items()}
    endings = tuple({path.suffix for path in wanted.values()} | {".nii", ".gz", ".h5"})
    strange = sorted(
        path
        for path in below(predictions)
        if path.name.endswith(endings) and not path.name.startswith(".") and path not in wanted.values()
    )
    missing = [path for path in wanted.values() if not path.is_file()]
    if strange:
        raise BadInput(
            f"{strange[0]}: no test volume has this name ({len(strange)} such files); names in {predictions} "
            f"are those of the scans, such as {next(iter(records.values())).target_file}"
        )
    if missing:
        raise BadInput(
            f"{missing[0]}: no such file ({len(missing)} of {len(wanted)} test volumes are missing); all are "
            "needed, since an average over some is another number"
        )
    return wanted


def read_prediction(path: Path, record: Record, target: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read the slices of a subject that another program reconstructed, float32 as ``target``.

    Raises:
        BadInput: the file is damaged, on another grid, or in other units than the scan.
    """
    assert record.geometry is not None  # scan_record refuses
    scan = dataset_of(record.dataset).imported(path, record.geometry)
    images = record.geometry.taken(scan, target.shape)
    products = (images * images, images * target, target * target)
    own, common, true = (float(of.sum(dtype=np.float64)) for of in products)
    # Errors as shares of the scan's power: as it is, and with the best factor.
    error, least = own - 2 * common + true, true - common * common / own if own else true
    times = own / common if common > 0 else 0.0
    off = max(times, 1 / times) if times else np.inf
    # Of a scan without signal there is no factor.
    if true and (off > _OTHER_UNITS or (off > _RESCALED and least < _OF_SCALE * error)):
        size = f"{times:.3g} times the scan's" if times else "nothing of the scan"
        raise BadInput(
            f"{path}: its intensities are {size}; write them in the units of the scan, not rescaled"
        )
    return images


def score(
    store: "SliceStore",
    files: dict[str, Path],
    records: dict[str, Record],
    names: tuple[str, ...],
    **run: Any,
) -> pd.DataFrame:
    """Return the rows of metrics.csv of all volumes, one in memory at a time."""
    import torch

    from workflow.evaluate.evaluation import score_rows
    from workflow.train.progress import say

    rows = []
    for place, (subject, positions) in enumerate(store.volumes().items(), 1):
        target = store.batch(positions)[0].abs()
        images = read_prediction(files[subject], records[subject], target.numpy())
        indices = [store.slice_indices[position] for position in positions]
        found = score_rows(target, torch.from_numpy(images), indices, names)
        rows += [{**run, "subject": subject, **row} for row in found]
        ssim, psnr = rows[-1]["ssim"], number(rows[-1]["psnr"], 2)
        say(f"{place} of {len(files)} {subject}: SSIM {ssim:.3f}, PSNR {psnr} dB")
    return pd.DataFrame(rows)


def one_of(option: str, wanted: str | None, known: list[str], where: Path) -> str:
    """Return what an option chooses; it may be left out where there is one only.

    Raises:
        BadInput: there is no such one, or several are there and none was chosen.
    """
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted in known:
        return str(wanted)
    said = "choose one" if wanted is None else f"{wanted!r} is none of them"
    raise BadInput(f"--{option}: {where} has {', '.join(known) or 'none'}; {said}")


def with_row(table: pd.DataFrame, cell: Cell, name: str, names: tuple[str, ...]) -> pd.DataFrame:
    """Return status, means, spreads and ranks of a table's rows and of one more."""
    parts = [f"{metric}_{part}" for metric in names for part in ("mean", "std")]
    first = table.iloc[0]
    row = {column: first[column] for column in ("dataset", "source", "convention", "mask")}
    row |= {"method": _OWN, "label": name, "status": cell.status, "seeds": ""}
    for metric in names:
        row[f"{metric}_mean"] = cell.mean.get(metric, np.nan)
        row[f"{metric}_std"] = cell.std.get(metric, np.nan)
    both = pd.concat([table[[*_TEXTS, *parts]], pd.DataFrame([row])], ignore_index=True)
    for metric in names:
        means = [float(value) for value in both[f"{metric}_mean"]]
        placed = ranks(means, metric_of(metric).digits, metric_of(metric).rising)
        both[f"{metric}_rank"] = pd.Series(placed, dtype="Int64")
    return both


def show(table: pd.DataFrame, names: tuple[str, ...], mask: str) -> None:
    """Print the rows; the best of a column is bold, the second best underlined."""
    grid = Table(title=label(mask), title_justify="left", box=box.SIMPLE_HEAD)
    grid.add_column("Method", no_wrap=True)
    for metric in names:
        grid.add_column(Text(metric_of(metric).header), justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        # Of a plain string rich would take what stands in brackets or between colons for its own.
        grid.add_row(Text(printable(str(row["label"]))), *(_shown(row, metric) for metric in names))
    Console(highlight=False).print(grid)


def _shown(row: dict[Any, Any], metric: str) -> Text:
    mean, rank, digits = row[f"{metric}_mean"], row[f"{metric}_rank"], metric_of(metric).digits
    if row["status"] != "ok":
        return Text(printable(row["status"]))
    text = UNDEFINED if np.isnan(mean) else number(mean, digits)
    if np.isfinite(mean):
        text += f" ± {row[f'{metric}_std']:.{digits}f}"
    style = "" if pd.isna(rank) else {1: "bold", 2: "underline"}.get(rank, "")
    # As a span: the style of a whole cell would also underline its padding.
    return Text.assemble((text, style))


@command
def main(
    predictions: Annotated[Path, "folder of the volumes, named as the scans"],
    experiment: Annotated[Path, "folder of the experiment, such as results/demo"],
    name: Annotated[str, "what the row is called"] = "prediction",
    dataset: Annotated[str | None, "whose volumes these are, if the experiment has several"] = None,
    mask: Annotated[str | None, "what they were undersampled with, if there are several"] = None,
    to: Annotated[Path | None, "file to write the table to, .csv or .json"] = None,
) -> None:
    """Score and print."""
    if to is not None:
        if to.suffix not in (".csv", ".json"):
            raise BadInput(f"--to: {to} ends in neither .csv nor .json; name it so")
        check_place("--to", to)
        check_outside("--to", to, experiment)
    data = sorted(path.parent.name for path in matching(experiment, "data/*/shared.json"))
    if not data:
        raise BadInput(f"{experiment}: it holds no test data; give the results of an experiment")
    dataset = one_of("dataset", dataset, data, experiment)
    register_found(experiment)
    masks = sorted(path.stem for path in matching(experiment, f"masks/{dataset}/*.npz"))
    mask = one_of("mask", mask, masks, experiment / "masks" / dataset)
    table = table_of(experiment, dataset, mask)
    import torch

    from workflow.evaluate.volumes import check_scored, open_test, scan_record

    store = open_test(experiment, dataset, torch.device("cpu"))
    for row in table.to_dict("records"):
        for seed in row["seeds"].split() if row["status"] != "missing" else ():
            run = experiment / "runs" / dataset / mask / row["method"] / f"seed{seed}"
            check_scored(read_finished(run), store)
    records = {subject: scan_record(experiment, dataset, subject) for subject in store.volumes()}
    files = matched(predictions, records)
    names = tuple(
        column.removesuffix("_mean")
        for column in table.columns
        if column.endswith("_mean") and not column.endswith("_paper_mean")
    )
    scores = score(store, files, records, names, dataset=dataset, mask=mask, method=_OWN, seed=0)
    definition = Definition(
        dataset=dataset,
        source=table["source"].iloc[0],
        masks=(mask,),
        planned=(),
        number=0,
        rows=(Row(_OWN, name),),
        convention=table["convention"].iloc[0],
        metrics=names,
    )
    beside = with_row(table, cells_of(scores, definition)[mask, _OWN], name, names)
    with then_print(partial(show, beside, names, mask)):
        if to is not None and to.suffix == ".csv":
            write_text(to, csv_of(beside))
        elif to is not None:
            rows = beside.to_dict("records")
            # Of a rank that there is not, pandas makes a value of its own.
            write_json(to, [{key: None if pd.isna(v) else v for key, v in row.items()} for row in rows])
