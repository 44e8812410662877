"""Write the reconstructed test volumes of an experiment as files that other programs read.

``python -m workflow.export results/demo --method unet --to volumes`` writes, for each test subject of each
finished run, ``volumes/<dataset>/<mask>/<method>/seed<k>/<name of the scan>``: NIfTI on the scan's own grid,
or what the dataset's users exchange (fastMRI: HDF5 with ``reconstruction``). Values are float32 in the scan's
units, and 0 where nothing was reconstructed. No network is trained, and one volume at a time is in memory.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from data_prep.datasets.contract import dataset_of
from data_prep.errors import tell
from data_prep.io.command import NAMES, command
from data_prep.io.files import check_place
from workflow.provenance.files import check_outside

Also = Literal["truth", "zero_filled", "error"]


@command
def export(
    results: Annotated[Path, "folder of an experiment, such as results/demo"],
    /,
    to: Annotated[Path, "folder to write into"],
    dataset: Annotated[tuple[str, ...], NAMES, "those of these datasets only"] = (),
    mask: Annotated[tuple[str, ...], NAMES, "those under these masks only"] = (),
    method: Annotated[tuple[str, ...], NAMES, "those of these methods only"] = (),
    also: Annotated[
        tuple[Also, ...],
        NAMES,
        "write the truth, the zero-filled images, or |reconstruction - truth| as well",
    ] = (),
    device: Annotated[Literal["auto", "cpu", "cuda"], "default: CUDA where there is one"] = "auto",
) -> None:
    """Reconstruct and write.

    Raises:
        BadInput: there is no such run, or its data or weights are not those that it was scored with.
    """
    from workflow.run.finished import find_runs

    check_place("--to", to, folder=True)
    folders = find_runs(results, dataset=dataset, mask=mask, method=method)
    check_outside("--to", to, results)
    from workflow.evaluate.volumes import check_scored, open_test, reconstructed, scan_record
    from workflow.run.device import set_up_torch
    from workflow.run.finished import read_finished
    from workflow.train.progress import say

    written: set[Path] = set()
    for number, folder in enumerate(folders, 1):
        run = read_finished(folder)
        name = folder.relative_to(results / "runs").as_posix()
        if run.status == "diverged":
            say(f"{number} of {len(folders)} {name}: its training diverged; there is nothing to write")
            continue
        chosen = set_up_torch(run.spec.training.threads, device)
        store = open_test(results, run.spec.dataset, chosen)
        check_scored(run, store)
        entry, under = dataset_of(run.spec.dataset), to / run.spec.dataset
        # All that can be refused is, before hours of reconstruction.
        records = {subject: scan_record(results, store.dataset, subject) for subject in store.volumes()}
        floor = under / run.spec.mask / "zero_filled"
        wanted = "zero_filled" in also and not any(path.is_relative_to(floor) for path in written)
        for volume in reconstructed(run, store, chosen, zero_filled=wanted):
            record = records[volume.subject]
            assert record.geometry is not None  # scan_record refuses
            images = {to / name: volume.image}
            if "error" in also:
                images[to / f"{name}-error"] = np.abs(volume.image - volume.target)
            if volume.zero_filled is not None:
                images[floor] = volume.zero_filled
            if "truth" in also:
                images[under / "truth"] = volume.target
            for place, slices in images.items():
                # Truth is the same for all runs, zero filling for those under one mask.
                if (file := place / record.target_file) not in written:
                    entry.export(file, record.geometry.placed(slices), record.geometry)
                    written.add(file)
            say(f"{number} of {len(folders)} {name}: {volume.subject}")
        store.close()
    tell(f"{len(written)} volumes in {to}")
