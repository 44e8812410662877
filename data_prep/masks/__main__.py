"""The masks of one setting, made, frozen in a file, hashed and drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import read_rows, replacing
from data_prep.io.json_files import write_json
from data_prep.masks.from_file import full_name, read_mask, register, registered
from data_prep.masks.registry import acs_lines, label, parse_mask
from data_prep.masks.sets import MaskSet, make_masks


def splits_of(manifest: Path) -> dict[str, str]:
    """Return the split of each usable subject of a manifest, sorted by subject.

    Raises:
        BadInput: the manifest is missing, is no manifest, or lists no usable subject, or none to test.
    """
    rows = read_rows(manifest, "run the step `prepare`", "run the step `prepare` again")
    if not all({"subject", "status", "split"} <= set(row) for row in rows):
        raise BadInput(
            f"{manifest}: columns `subject`, `status` and `split` are missing; run the step `prepare` again"
        )
    splits = {row["subject"]: row["split"] for row in rows if row["status"] == "ok"}
    if not splits:
        raise BadInput(f"{manifest}: column `status` has no `ok`; see its column `reason`")
    if "test" not in splits.values():
        raise BadInput(f"{manifest}: column `split` has no `test`; run the step `prepare` again")
    return dict(sorted(splits.items()))


def save(
    masks: MaskSet,
    height: int,
    width: int,
    seed: int | None,
    dataset: str,
    folder: Path,
    scored: Sequence[str] | None = None,
) -> None:
    """Write <name>.npz, .json and .png into ``folder``; the same masks give the same bytes.

    Args:
        masks: of the whole setting.
        height: rows of the matrix.
        width: columns of the matrix.
        seed: that a frozen mask was made with.
        dataset: id.
        folder: exists or is made.
        scored: test files, of drawn masks, whose acceleration is recorded: it stands beside scores, which are
            theirs; None: all.
    """
    tested = masks
    if masks.drawn and scored is not None:
        tested = MaskSet(masks.name, masks.evaluation(scored)[:, 0], tuple(scored))
    record = {
        "name": masks.name,
        "dataset": dataset,
        "pattern": masks.pattern,
        "acceleration": masks.acceleration,
        "realised_acceleration": tested.realised_acceleration,
        # Complex targets, which are measured, mirror nothing.
        "effective_acceleration": (
            tested.realised_acceleration if dataset_of(dataset).measured else tested.effective_acceleration
        ),
        # Nobody tells it of a mask from a file.
        "acs": None if masks.name in registered() else acs_lines(masks.name, width),
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


@command
def main(
    mask: Annotated[str, "name of the setting, e.g. 2d_radial_9x or random_4x"],
    height: Annotated[int, "rows of the matrix"],
    width: Annotated[int, "columns of the matrix"],
    dataset: Annotated[str, "dataset that is measured; for the record"],
    seed: Annotated[int, "base seed; drawn masks do not use it"],
    output: Annotated[Path, "folder for <mask>.npz, .json and .png"],
    manifest: Annotated[Path | None, "manifest.csv of the prepared slices; drawn masks only"] = None,
    file: Annotated[Path | None, "array (.npy) of a mask of one's own"] = None,
) -> None:
    """Make, freeze and draw the masks of one setting."""
    if file is not None:
        own = read_mask(file, height, width)
        full = full_name(mask, own, "--mask")
        register([full])
        save(MaskSet(full, own), height, width, None, dataset, output)
        return
    splits: dict[str, str] = {}
    if parse_mask(mask)[0].drawn:
        if manifest is None:
            raise BadInput(f"mask `{mask}` differs from file to file; name them with --manifest")
        splits = splits_of(manifest)
    masks = make_masks(mask, height, width, seed, list(splits))
    scored = [subject for subject, split in splits.items() if split == "test"]
    save(masks, height, width, seed, dataset, output, scored)
