"""Draw methods beside each other on any slice of a test scan, under any masks of a finished experiment.

``python -m workflow.draw results/demo --mask 2d_radial_9x --method zf manet --slice 3 --to figure.pdf`` draws
what figures of papers show of the slices that runs keep: mask, reconstructions, error maps, ground truth. The
slice is reconstructed again, as it was scored; no network is trained, and the experiment stays as it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from data_prep.errors import BadInput, tell
from data_prep.io.command import NAMES, command
from data_prep.io.files import check_place
from data_prep.masks.registry import label
from methods.registry import discover
from workflow.plan.definitions import PHASED, Definition, Row
from workflow.provenance.files import check_outside

if TYPE_CHECKING:
    from data_prep.undersample.slices import SliceStore
    from workflow.run.finished import Finished

Kind = Literal["comparison", "modalities"]
_LISTED = 8  # subjects that a message names


def chosen_runs(
    results: Path, dataset: str | None, masks: Sequence[str], methods: Sequence[str], seed: int | None
) -> dict[str, dict[str, Path]]:
    """Return the folders of the runs that are shown, in the order of the figure: mask -> method -> folder.

    Raises:
        BadInput: there is no such run, or a choice is to be made.
    """
    from workflow.run.finished import find_runs

    found = find_runs(results, dataset=() if dataset is None else (dataset,), mask=tuple(masks))
    for option, level, given in (("dataset", 2, dataset), ("mask", 1, masks)):
        known = sorted({path.parents[level].name for path in found})
        if not given and len(known) > 1:
            raise BadInput(f"--{option}: {results} has {', '.join(known)}; choose one")
    seeds = sorted({path.name.removeprefix("seed") for path in found}, key=lambda name: (len(name), name))
    chosen = seeds[0] if seed is None else str(seed)
    if chosen not in seeds:
        raise BadInput(
            f"--seed: no finished run of seed {seed} in {results}, which has {', '.join(seeds)}; choose one"
        )
    there: dict[str, dict[str, Path]] = {mask: {} for mask in masks or [found[0].parents[1].name]}
    for path in found:
        if path.name == f"seed{chosen}":
            there[path.parents[1].name][path.parent.name] = path
    named = list(dict.fromkeys(methods)) or _common_methods(there)
    for mask, runs in there.items():
        for method in named:
            if method not in runs:
                place = found[0].parents[2] / mask / method / f"seed{chosen}"
                others = f"choose among {', '.join(runs)}" if runs else "choose other masks"
                raise BadInput(f"{place}: no finished run; run the workflow to its end, or {others}")
    return {mask: {method: runs[method] for method in named} for mask, runs in there.items()}


def _common_methods(there: Mapping[str, Mapping[str, Path]]) -> list[str]:
    """Return methods and variants that ran under all of these masks, as in tables; say what is left out.

    Points of sweeps are: they are many, and differ by little.
    """
    from workflow.train.progress import say

    known = [
        method
        for name, folder in discover().items()
        for method in (name, *(f"{name}-{variant}" for variant in folder.variants))
    ]
    known += [f"{method}{PHASED}" for method in known]
    shown = [method for method in known if all(method in runs for runs in there.values())]
    if not shown:
        raise BadInput(f"--mask: no method ran under all of {', '.join(there)}; choose fewer masks")
    if left := sorted({method for runs in there.values() for method in runs} - {*shown}):
        say(f"left out, as points of a sweep or not under every mask: {', '.join(left)}")
    return shown


def rows_of(methods: Sequence[str], dataset: str) -> tuple[Row, ...]:
    """Return methods with their labels; an ablation's follows its method's, unless others are not shown."""
    folders, rows = discover(), []
    several = len({method.split("-")[0] for method in methods}) > 1
    for method in methods:
        folder, bare = folders[method.split("-")[0]], method.removesuffix(PHASED)
        text = folder.method(bare).label_on(dataset)
        if several and bare not in folder.compared:
            text = f"{folder.default.label_on(dataset)} {text}"
        rows.append(Row(method, text if bare == method else f"{text}, smooth phase"))
    return tuple(rows)


def position_of(store: "SliceStore", subject: str | None, number: int | None) -> int:
    """Return where a slice stands in the test split.

    Args:
        store: the split.
        subject: whose slice it is; None: the first one's.
        number: of the slice in its volume, from 1, as figures print it; None: the central one's.

    Raises:
        BadInput: there is no such slice, or nothing in it.
    """
    volumes = store.volumes()
    subject = next(iter(volumes)) if subject is None else subject
    if subject not in volumes:
        names = ", ".join([*volumes][:_LISTED])
        more = f" and {len(volumes) - _LISTED} more" if len(volumes) > _LISTED else ""
        raise BadInput(
            f"--subject: {subject!r} is no test subject of {store.dataset}; choose one of {names}{more}"
        )
    numbers = {store.slice_indices[position] + 1: position for position in volumes[subject]}
    number = list(numbers)[len(numbers) // 2] if number is None else number
    if number not in numbers:
        raise BadInput(
            f"--slice: {subject} has slices {min(numbers)} to {max(numbers)}, not {number}; choose one"
        )
    if not store.batch([numbers[number]])[0].abs().max() > 0:
        raise BadInput(f"--slice: slice {number} of {subject} has no signal to compare; choose another")
    return numbers[number]


def definition_of(runs: Mapping[str, Mapping[str, "Finished"]], kind: Kind) -> Definition:
    """Return what a figure of these runs shows; mask -> method -> run."""
    every = [run for of_mask in runs.values() for run in of_mask.values()]
    spec, methods = every[0].spec, next(iter(runs.values()))
    beside = (path.name.removeprefix("seed") for path in every[0].place.parent.glob("seed*"))
    others = {int(seed) for seed in beside if seed.isdecimal()} - {spec.seed}
    return Definition(
        number=0,
        dataset=spec.dataset,
        source="embedded" if every[0].source == "embedded" else "published",
        masks=tuple(runs),
        planned=(),
        rows=rows_of(list(methods), spec.dataset),
        seeds=(spec.seed, *sorted(others)),
        kind=kind,
        phase="smooth" if all(run.spec.phase == "smooth" for run in every) else "none",
    )


def check_room(definition: Definition, shape: tuple[int, int]) -> None:
    """Refuse more methods and masks than a page has room for, with slices (height, width).

    Raises:
        BadInput: the panels would be too small to read.
    """
    from workflow.figures.slices import SMALLEST_PANEL, laid_out

    _, _, grid = laid_out(definition, shape)
    if grid.panel < SMALLEST_PANEL:
        asked = f"{len(definition.rows)} methods under {len(definition.masks)} masks"
        raise BadInput(f"--method: {asked} do not fit a page legibly; choose fewer methods or masks")


@command
def draw(
    results: Annotated[Path, "folder of an experiment, such as results/demo"],
    /,
    to: Annotated[tuple[Path, ...], "files to write, .pdf or .png"],
    dataset: Annotated[str | None, "whose scan, if the experiment has several"] = None,
    mask: Annotated[tuple[str, ...], NAMES, "masks, one block each; may be left out if there is one"] = (),
    method: Annotated[
        tuple[str, ...], NAMES, "methods, variants, points of sweeps (default: all but points)"
    ] = (),
    subject: Annotated[str | None, "whose scan of the test split (default: the first)"] = None,
    slice: Annotated[int | None, "its slice, from 1 as figures print it (default: the central one)"] = None,
    seed: Annotated[int | None, "of the trainings (default: the first)"] = None,
    kind: Annotated[Kind, "methods, or auxiliary beside target and zero filling"] = "comparison",
    device: Annotated[Literal["auto", "cpu", "cuda"], "default: CUDA where there is one"] = "auto",
) -> None:
    """Reconstruct, draw and write.

    Raises:
        BadInput: there is no such run or slice, or its data or weights are not those that it was scored with.
    """
    for path in to:
        if path.suffix not in (".pdf", ".png"):
            raise BadInput(f"--to: {path} ends in neither .pdf nor .png; name it so")
        check_place("--to", path)
        check_outside("--to", path, results)
    folders = chosen_runs(results, dataset, mask, method, seed)
    if kind == "modalities":
        if len(folders) > 1:
            raise BadInput(f"--mask: modalities are shown under one mask, not {len(folders)}; choose one")
        # One zero-filled image is shown, the same whatever the method.
        folders = {name: dict([*runs.items()][:1]) for name, runs in folders.items()}
    from workflow.evaluate.examples import Block
    from workflow.evaluate.volumes import check_scored, example_slice, open_test
    from workflow.figures import style
    from workflow.figures.slices import OF_SLICES
    from workflow.run.device import set_up_torch
    from workflow.run.finished import read_finished
    from workflow.train.progress import say

    runs = {name: {m: read_finished(place) for m, place in of.items()} for name, of in folders.items()}
    definition, every = definition_of(runs, kind), [run for of in runs.values() for run in of.values()]
    chosen = set_up_torch(every[0].spec.training.threads, device)
    store = open_test(results, definition.dataset, chosen)
    for run in every:
        check_scored(run, store)
    position = position_of(store, subject, slice)
    check_room(definition, (store.height, store.width))
    blocks = []
    for name, of in runs.items():
        columns = []
        for row in definition.rows:
            say(f"reconstructing: {label(name)}, {row.label}")
            set_up_torch(of[row.method].spec.training.threads, chosen.type)
            columns.append((row, example_slice(of[row.method], store, chosen, position)))
        blocks.append(Block(name, columns[0][1], tuple(columns)))
    store.close()
    with style.printed():
        figure = OF_SLICES[kind](definition, blocks)
        for path in to:
            style.save_as(figure, path.with_suffix(""), path.suffix[1:])
    shown = blocks[0].reference
    tell(f"{shown.subject}, slice {shown.slice + 1}, under {', '.join(map(label, definition.masks))}")
    tell(", ".join(row.label for row in definition.rows))
    for path in to:
        tell(f"wrote {path}")
