"""Write the scans of one made-up subject of a dataset, in the published form.

``python -m data_prep.datasets.embed --dataset brats --donors DIR --index 3 --seed 2022 --matrix 64
--slices 20 --slice-spacing 5 --output DIR`` writes the files that the dataset's ``dataset.py`` says. With
``--lists`` the lists of subjects are written instead, of datasets that are published with some.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from data_prep.datasets.contract import DatasetId, Size, dataset_of, read_options
from data_prep.datasets.record import parse_splits
from data_prep.errors import BadInput
from data_prep.io.command import WrongUse, command


@command
def main(
    dataset: Annotated[DatasetId, "whose form they have"],
    output: Annotated[Path, "folder, e.g. results/shared/raw/brats-0123456789"],
    donors: Annotated[Path | None, "folder of the donors' maps"] = None,
    index: Annotated[int | None, "number of the subject, from 0"] = None,
    seed: Annotated[int | None, "seed of the whole data set"] = None,
    matrix: Annotated[int | None, "pixels along both in-plane axes"] = None,
    slices: Annotated[int | None, "axial slices"] = None,
    slice_spacing: Annotated[float | None, "mm between slices (default: the dataset's own)"] = None,
    options: Annotated[str, "the dataset's own options, as JSON"] = "{}",
    lists: Annotated[str | None, "number of subjects by split, as JSON: write the lists instead"] = None,
) -> None:
    """Make up a subject, or the lists of subjects, and write it."""
    entry = dataset_of(dataset)
    if entry.embed is None or entry.embedded_id is None:
        raise BadInput(f"--dataset: {entry.id} has no embedded form; use published scans")
    if lists is not None:
        if entry.list_embedded is None:
            raise BadInput(f"--lists: {entry.label} is published without any; leave it out")
        entry.list_embedded(parse_splits("--lists", lists), output)
        print(f"wrote {' and '.join(entry.embedded_lists)}")
        return
    if donors is None or index is None or seed is None or matrix is None or slices is None:
        given = {"--donors": donors, "--index": index, "--seed": seed, "--matrix": matrix, "--slices": slices}
        raise WrongUse(
            f"{' and '.join(name for name, value in given.items() if value is None)} must be given"
        )
    if index < 0:
        raise BadInput(f"--index {index}: subjects are counted from 0; give 0 or more")
    own = read_options(entry, "embed", options)
    size = Size(matrix, slices, slice_spacing)
    entry.check_size(size)
    entry.embed(donors, index, seed, size, output, **asdict(own))
    print(f"{entry.embedded_id(index, seed)}: {entry.target} and {entry.auxiliary}")
