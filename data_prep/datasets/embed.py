"""Write the scans of one made-up subject of a dataset, in the published form.

``python -m data_prep.datasets.embed --dataset brats --donors DIR --index 3 --seed 2022 --matrix 64
--slices 20 --slice-spacing 5 --output DIR`` writes the files that the dataset's ``dataset.py`` says. With
``--lists`` the lists of subjects are written instead, of datasets that are published with some.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from data_prep.datasets.contract import Size, dataset_of, datasets
from data_prep.datasets.record import parse_splits
from data_prep.errors import BadInput, run_command
from data_prep.io.json_files import from_json


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.datasets.embed", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--dataset", required=True, choices=datasets(), help="whose form they have")
    parser.add_argument("--donors", type=Path, help="folder of the donors' maps")
    parser.add_argument("--index", type=int, help="number of the subject, from 0")
    parser.add_argument("--seed", type=int, help="seed of the whole data set")
    parser.add_argument("--matrix", type=int, help="pixels along both in-plane axes")
    parser.add_argument("--slices", type=int, help="axial slices")
    parser.add_argument("--slice-spacing", type=float, help="mm between slices (default: the dataset's own)")
    parser.add_argument("--options", default="{}", help="the dataset's own options, as JSON")
    parser.add_argument("--lists", help="number of subjects by split, as JSON: write the lists instead")
    parser.add_argument("--output", type=Path, required=True, help="folder, e.g. results/mine/raw/brats")
    options = parser.parse_args()
    dataset = dataset_of(options.dataset)
    if dataset.embed is None or dataset.embedded_id is None:
        raise BadInput(f"--dataset: {dataset.id} has no embedded form; use published scans")
    if options.lists is not None:
        if dataset.list_embedded is None:
            raise BadInput(f"--lists: {dataset.label} is published without any; leave it out")
        dataset.list_embedded(parse_splits("--lists", options.lists), options.output)
        print(f"wrote {' and '.join(dataset.embedded_lists)}")
        return
    needed = ("donors", "index", "seed", "matrix", "slices")
    missing = [f"--{name}" for name in needed if getattr(options, name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} must be given")
    if options.index < 0:
        raise BadInput(f"--index {options.index}: subjects are counted from 0; give 0 or more")
    remedy = f"see embed_options of data_prep/datasets/{dataset.id}/dataset.py"
    own = from_json(dataset.embed_options, options.options, "--options", remedy)
    size = Size(options.matrix, options.slices, options.slice_spacing)
    dataset.check_size(size)
    dataset.embed(options.donors, options.index, options.seed, size, options.output, **asdict(own))
    print(f"{dataset.embedded_id(options.index, options.seed)}: {dataset.target} and {dataset.auxiliary}")


if __name__ == "__main__":
    run_command(main)
