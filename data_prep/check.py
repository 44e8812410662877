"""Tell in seconds whether a folder of published scans can be used, what is excluded, and why.

``python -m data_prep.check /data/IXI`` reads names and headers only; ``--deep`` reads every voxel, too. The
exit code is the verdict: 0 all can be used, 3 some are to be excluded (``bad_scans: exclude``), 1 none can.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from data_prep.datasets import folder as check_report
from data_prep.datasets.contract import dataset_name, datasets, further
from data_prep.datasets.folder import Finding
from data_prep.errors import BadInput, run_command


def recognise(folder: Path) -> str:
    """Return which dataset a folder holds.

    Raises:
        BadInput: there is no such folder, or it holds none, or several.
    """
    from data_prep.datasets.ixi.names import find_scans

    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the one that datasets.<name>.root names")
    places = [folder, folder / "singlecoil_train", folder / "singlecoil_val"]
    held = {
        "ixi": bool(find_scans(folder)),
        "fastmri": any(place.is_dir() and next(place.glob("file*.h5"), None) for place in places),
        **{name: bool(dataset.find(folder)) for name, (_, dataset) in further().items()},
    }
    names = [name for name in datasets() if held[name]]
    if len(names) != 1:
        what = (
            f"scans of {' and '.join(map(dataset_name, names))}"
            if names
            else f"no scans of {' or '.join(map(dataset_name, datasets()))}"
        )
        raise BadInput(f"{folder}: holds {what}; give another folder, or name one with --dataset")
    return names[0]


def check(options: argparse.Namespace) -> tuple[str, list[Finding], dict[str, str]]:
    """Check a folder as the command line asks; returns dataset, findings and summary."""
    dataset = options.dataset or recognise(options.folder)
    # Imported here, so that one dataset's check loads nothing of the other's.
    if dataset == "ixi":
        from data_prep.datasets.ixi import folder as check_ixi

        found = check_ixi.findings(options.folder, options.slices, options.deep)
        return dataset, found, check_ixi.summary(options.folder, found)
    if dataset != "fastmri":
        from data_prep.datasets import folder as check_further

        found = check_further.findings(dataset, options.folder, options.slices, options.deep)
        return dataset, found, check_further.summary(dataset, options.folder, found)
    from data_prep.datasets.fastmri import folder as check_fastmri

    found = check_fastmri.findings(options.folder, options.train_pairs, options.val_pairs, options.deep)
    return dataset, found, check_fastmri.summary(options.folder, found)


def main() -> None:
    """Print the findings and leave with the verdict as exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.check", description=__doc__)
    parser.add_argument("folder", type=Path, help="what datasets.<name>.root names")
    parser.add_argument("--dataset", choices=datasets(), help="default: by content")
    parser.add_argument(
        "--slices", type=int, default=100, help="axial slices wanted; not for fastMRI (default: %(default)s)"
    )
    for split in ("train", "val"):
        parser.add_argument(
            f"--{split}-pairs", type=Path, help="fastMRI: pair list (default: in the folder, by its name)"
        )
    parser.add_argument("--deep", action="store_true", help="read every voxel too (minutes)")
    parser.add_argument("--csv", type=Path, help="write every subject with status and reason here")
    options = parser.parse_args()
    dataset, found, summary = check(options)
    check_report.print_report(Console(), f"{dataset_name(dataset)} in {options.folder}", found, summary)
    if options.csv:
        check_report.write_csv(options.csv, dataset, found)
    sys.exit(check_report.exit_code(found))


if __name__ == "__main__":
    run_command(main)
