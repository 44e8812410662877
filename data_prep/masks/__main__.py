"""The masks of one setting, made, frozen in a file, hashed and drawn."""

import argparse
import csv
from pathlib import Path

import numpy as np

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, run_command
from data_prep.io.files import replacing
from data_prep.io.json_files import write_json
from data_prep.masks.registry import acs_lines, label, parse_mask
from data_prep.masks.sets import MaskSet, make_masks


def files_of(manifest: Path) -> list[str]:
    """Return the usable subjects of a manifest, sorted.

    Raises:
        BadInput: the manifest is missing, is no manifest, or lists no usable subject.
    """
    if not manifest.is_file():
        raise BadInput(f"{manifest}: the manifest is missing; run the step `prepare`")
    with manifest.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if not {"subject", "status"} <= set(rows.fieldnames or ()):
            raise BadInput(
                f"{manifest}: columns `subject` and `status` are missing; run the step `prepare` again"
            )
        files = sorted(row["subject"] for row in rows if row["status"] == "ok")
    if not files:
        raise BadInput(f"{manifest}: column `status` has no `ok`; see its column `reason`")
    return files


def save(masks: MaskSet, height: int, width: int, seed: int, dataset: str, folder: Path) -> None:
    """Write <name>.npz, .json and .png into ``folder``; the same masks give the same bytes."""
    record = {
        "name": masks.name,
        "dataset": dataset,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "realised_acceleration": masks.realised_acceleration,
        # Complex targets, which are measured, mirror nothing.
        "effective_acceleration": (
            masks.realised_acceleration if dataset_of(dataset).measured else masks.effective_acceleration
        ),
        "acs": acs_lines(masks.name, width),
        # Drawn masks are seeded by the names of the files.
        "seed": None if masks.drawn else seed,
        "sha256": masks.sha256,
        "shape": list(masks.mask.shape),
        "sampled": int(masks.mask.sum()),
    }
    with replacing(folder / f"{masks.name}.npz") as path:
        np.savez(path, name=np.array(masks.name), mask=masks.mask, files=np.array(masks.files, dtype=np.str_))
    write_json(folder / f"{masks.name}.json", record)
    with replacing(folder / f"{masks.name}.png") as path:
        _draw(masks, height, width, path, measured=dataset_of(dataset).measured)


def _draw(masks: MaskSet, height: int, width: int, path: Path, measured: bool) -> None:
    from matplotlib.figure import Figure

    if masks.files:
        picture = np.repeat(masks.mask[:1], height, axis=0)
        detail = masks.files[0]
    else:
        picture = masks.mask
        detail = f"{height} × {width}"
    acs = acs_lines(masks.name, width)
    if acs:
        detail += f", {int(picture[0].sum())} of {width} lines, ACS {acs}"
    else:
        detail += f", {int(picture.sum()):,} samples"
    figure = Figure(figsize=(3.3, 3.3 * height / width + 0.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(picture, cmap="gray", interpolation="nearest", vmin=0, vmax=1)
    realised = picture.size / picture.sum()
    effective = "" if measured else f", effective {masks.effective_acceleration:.2f}×"
    axes.set_title(f"{label(masks.name)}, realised {realised:.2f}×{effective}\n{detail}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.savefig(path, dpi=300, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    """Make, freeze and draw the masks of one setting."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.masks", description=main.__doc__)
    parser.add_argument("--mask", required=True, help="name of the setting, e.g. 2d_radial_9x or random_4x")
    parser.add_argument("--height", type=int, required=True, help="rows of the matrix")
    parser.add_argument("--width", type=int, required=True, help="columns of the matrix")
    parser.add_argument("--dataset", required=True, help="dataset that is measured; for the record")
    parser.add_argument("--seed", type=int, required=True, help="base seed; drawn masks do not use it")
    parser.add_argument("--manifest", type=Path, help="manifest.csv of the prepared slices; drawn masks only")
    parser.add_argument("--output", type=Path, required=True, help="folder for <mask>.npz, .json and .png")
    arguments = parser.parse_args()
    files: list[str] = []
    if parse_mask(arguments.mask)[0].drawn:
        if arguments.manifest is None:
            raise BadInput(f"mask `{arguments.mask}` differs from file to file; name them with --manifest")
        files = files_of(arguments.manifest)
    masks = make_masks(arguments.mask, arguments.height, arguments.width, arguments.seed, files)
    save(masks, arguments.height, arguments.width, arguments.seed, arguments.dataset, arguments.output)


if __name__ == "__main__":
    run_command(main)
