"""Trained weights as one file that can be handed on, with a card that says what they are.

``python -m workflow.weights pack results/demo/runs/<dataset>/<mask>/unet/seed0 --licence "CC BY 4.0" --to
unet.ckpt`` writes it, ``python -m workflow.weights show unet.ckpt`` prints its card. ``workflow.predict``,
``workflow.evaluate`` and ``workflow.run.weights.load_model`` take the file by its path. A file
from elsewhere is safe to open: nothing in it is run, and its sizes are checked.
"""

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import yaml

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, printable, tell
from data_prep.io.command import WrongUse, command
from data_prep.io.files import check_place, read_rows
from data_prep.io.frames import read_csv
from data_prep.masks.registry import label
from methods.registry import discover
from workflow.metrics.contract import STANDARD
from workflow.plan.definitions import PHASED, data_note
from workflow.provenance.files import check_outside
from workflow.run.finished import Finished, read_finished
from workflow.statistics.scores import accelerations, number

if TYPE_CHECKING:
    from workflow.run.weights import Card

USE = (
    "Research on image reconstruction. No medical device: not for diagnosis, treatment or any decision about "
    "a person."
)
_AGAIN = "run the workflow again"


def card_of(run: Finished, licence: str, use: str) -> "Card":
    """Return what is to be known of a run's weights.

    Raises:
        BadInput: a file of the run or its data's manifest is missing or damaged, or a volume has no score.
    """
    from workflow.run.weights import Card

    assert run.record is not None  # it has a folder
    spec, record, training = run.spec, run.record, asdict(run.spec.training)
    method = discover()[spec.folder].method(spec.method.removesuffix(PHASED))
    entry = dataset_of(spec.dataset)
    manifest = run.results / "data" / spec.dataset / "manifest.csv"
    rows = [row for row in read_rows(manifest, _AGAIN, _AGAIN) if row.get("split") == "train"]
    masks = run.results / "masks" / spec.dataset
    columns = {"level": "string", "blank": "int64", **dict.fromkeys(STANDARD, "float64")}
    table = read_csv(run.place / "metrics.csv", columns, _AGAIN, _AGAIN)
    volumes = table[(table["level"] == "volume") & (table["blank"] == 0)]
    # The volumes that are left would flatter the weights, as in tables, which print no mean of them either.
    failed = int(volumes[list(STANDARD)].isna().any(axis=1).sum())
    if failed or not len(volumes):
        what = f"{failed} of {len(volumes)} volumes failed" if failed else "no volume has signal"
        raise BadInput(
            f"{run.place / 'metrics.csv'}: {what}, so that a card has no mean to tell; give another run"
        )
    # The PSNR of perfect images is infinite and has no spread: NaN, and no warning.
    with np.errstate(invalid="ignore"):
        scores = {name: (float(volumes[name].mean()), float(volumes[name].std(ddof=0))) for name in STANDARD}
    kept = ("epochs", "batch_size", "schedule", "precision")
    return Card(
        method=f"{spec.method} ({method.label_on(spec.dataset)}), {record.parameter_count:,} parameters",
        data=(
            f"{data_note(spec.dataset, record.source)}: {sum(int(row['slices']) for row in rows)} slices of "
            f"{len(rows)} subjects; {entry.auxiliary} guides {entry.target}"
        ),
        source=record.source,
        # As in tables: of drawn masks it is that of the test files, whose scores stand beside it.
        sampling=f"{label(spec.mask)}, {accelerations(masks, spec.mask)[0]:.2f} times fewer samples",
        matrix=run.side,
        training={name: training[name] for name in kept} | {"optimiser": spec.optimiser, "seed": spec.seed},
        scores=scores,
        volumes=len(volumes),
        made_by={
            "commit": record.code.commit or "unknown",
            "torch": record.packages.get("torch", "unknown"),
            "device": record.device,
        },
        licence=licence,
        intended_use=use,
        fingerprint=run.fingerprint,
    )


def shown(card: "Card") -> str:
    """Return a card as text, a line for each of its entries, with nothing that a terminal obeys."""
    content: dict[str, Any] = asdict(card)
    content["scores"] = {name: _score(mean, std) for name, (mean, std) in card.scores.items()}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


def _score(mean: float, std: float) -> str:
    return number(mean, 4) if math.isinf(mean) else f"{mean:.4f} ± {std:.4f}"


@command
def weights(
    what: Annotated[Literal["pack", "show"], "pack a finished run, or show the card of a file"],
    place: Annotated[Path, "folder of a finished run, or a packed file"],
    /,
    to: Annotated[Path | None, "file to write, such as unet.ckpt"] = None,
    licence: Annotated[str | None, "of the weights; mind what the keepers of the data ask for"] = None,
    use: Annotated[str, "what the weights are for"] = USE,
) -> None:
    """Pack or show.

    Raises:
        BadInput: there is nothing to pack, or the file is none of these.
    """
    if what == "show":
        if to is not None or licence is not None or use != USE:
            raise WrongUse("show takes a file and no options")
        from workflow.run.weights import read_card

        sys.stdout.write(shown(read_card(place)[0]))
        return
    if to is None or not licence:
        raise WrongUse("pack needs --to and --licence")
    if to.suffix != ".ckpt":
        raise BadInput(f"--to: {to} does not end in .ckpt; name it so")
    check_place("--to", to)
    run = read_finished(place)
    if run.checkpoint is None or run.status == "diverged":
        why = "has no weights" if run.checkpoint is None else "diverged in training"
        raise BadInput(
            f"{place}: {run.spec.method} {why}, so that there is nothing to pack; give another run"
        )
    check_outside("--to", to, run.results)
    from workflow.run.weights import pack

    pack(run, card_of(run, licence, use), to)
    tell(f"wrote {to}")
