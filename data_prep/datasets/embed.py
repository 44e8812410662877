"""Write the scans of one made-up subject of a further dataset, in the published form.

``python -m data_prep.datasets.embed --dataset brats --donors DIR --index 3 --seed 2022 --matrix 64 --slices 20
--slice-spacing 5 --output DIR`` writes the files that ``data_prep/further_datasets/`` says.
"""

import argparse
from pathlib import Path

from data_prep.datasets.contract import Size, further_dataset
from data_prep.errors import BadInput, run_command


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.datasets.embed", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--dataset", required=True, help="a file of data_prep/further_datasets/, e.g. brats")
    parser.add_argument("--donors", type=Path, required=True, help="folder of the donors' maps")
    parser.add_argument("--index", type=int, required=True, help="number of the subject, from 0")
    parser.add_argument("--seed", type=int, required=True, help="seed of the whole data set")
    parser.add_argument("--matrix", type=int, required=True, help="pixels along both in-plane axes")
    parser.add_argument("--slices", type=int, required=True, help="axial slices")
    parser.add_argument("--slice-spacing", type=float, required=True, help="mm between slices")
    parser.add_argument("--output", type=Path, required=True, help="folder, e.g. results/mine/raw/brats")
    options = parser.parse_args()
    dataset = further_dataset(options.dataset)
    if dataset.embed is None or dataset.embedded_id is None:
        raise BadInput(f"--dataset: {dataset.id} has no embedded form; use published scans")
    if options.index < 0:
        raise BadInput(f"--index {options.index}: subjects are counted from 0; give 0 or more")
    size = Size(options.matrix, options.slices, options.slice_spacing)
    dataset.check_size(size)
    dataset.embed(options.donors, options.index, options.seed, size, options.output)
    print(f"{dataset.embedded_id(options.index, options.seed)}: {dataset.target} and {dataset.auxiliary}")


if __name__ == "__main__":
    run_command(main)
