"""A small experiment from scans to table: oblique brains, and knees in fastMRI's form, two runs of each."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pandas as pd
from knee_phantom import HEADER
from numpy.typing import NDArray
from scipy import ndimage
from tiny_runs import spec_content

from data_prep.datasets.align import align
from data_prep.datasets.contract import Scans, Wanted, dataset_of
from data_prep.fourier import fft2c
from data_prep.io.frames import csv_of
from data_prep.io.json_files import write_json
from data_prep.masks.__main__ import save
from data_prep.masks.sets import make_masks
from data_prep.prepare.__main__ import prepare
from data_prep.prepare.places import Places, keep, shared_folder
from workflow.evaluate.__main__ import main as evaluate
from workflow.plan.definitions import Definition, Row
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.statistics.gather import gather
from workflow.statistics.scores import accelerations
from workflow.tables.comparison import tidy_table
from workflow.train.__main__ import train
from workflow.train.termination import Termination

SIDE = 32
SPLITS = {"train": 1, "val": 1, "test": 2}
MASKS = {"brats": "1d_uniform_6x", "fastmri": "equispaced_4x"}
BRAINS, KNEES = (f"{dataset}/{mask}/unet/seed0" for dataset, mask in MASKS.items())
# Of brains as they are stored: slices along the first axis, from above; then left-right, then back-front.
SHAPE, VOXEL = (7, 40, 34), (5.5, 2.4, 3.1)  # voxels, mm
ROWS = 48  # of knees' k-space; images have 40 x 40
COLUMNS = 44


def oblique_affine() -> NDArray[np.float64]:
    """Voxel to RAS+ mm of the brains' scans: turned about all axes, in an unusual order of storage."""
    x, y, z = np.deg2rad((9.0, -12.0, 17.0))
    turns = [
        [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]],
        [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]],
        [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]],
    ]
    stored = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]])  # axes run to inferior, left, anterior
    affine = np.eye(4)
    affine[:3, :3] = turns[0] @ np.array(turns[1]) @ turns[2] @ stored * VOXEL
    affine[:3, 3] = (31.5, -44.25, 60.0)
    return affine


def brain(number: int, contrast: int) -> NDArray[np.int16]:
    """A head with texture that both contrasts share in part."""
    generator = np.random.default_rng([7, number])
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij"))
    head = (grid[0] / 1.3) ** 2 + (grid[1] / 0.8) ** 2 + (grid[2] / 0.85) ** 2 < 1
    texture = ndimage.gaussian_filter(generator.standard_normal((2, *SHAPE)), (0, 0.5, 1, 1))
    return np.asarray(head * (400 + 900 * np.abs(texture[0] + 0.4 * contrast * texture[1])), dtype=np.int16)


def write_brain(path: Path, number: int, contrast: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(brain(number, contrast), oblique_affine())
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def knee(number: int, contrast: int, slices: int = 3) -> NDArray[np.complex64]:
    """Complex images of all rows and columns that are measured."""
    generator = np.random.default_rng([11, number])
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    leg = ((x / 0.6) ** 2 + (y / 0.55) ** 2 < 1) * 1.0
    texture = ndimage.gaussian_filter(generator.standard_normal((2, slices, ROWS, COLUMNS)), (0, 0, 1, 1))
    image = leg * (1 + np.abs(texture[0] + 0.3 * contrast * texture[1]))
    return np.asarray(image * np.exp(1j * (x + y * y)), dtype=np.complex64)


def header() -> str:
    """The header of scans of these sizes, a millimetre a pixel."""
    whole, images = f"<x>{ROWS}</x><y>{COLUMNS}</y>", "<x>40</x><y>40</y>"
    encoded = f"<maximum>{COLUMNS - 1}</maximum><center>{COLUMNS // 2}</center>"
    text = HEADER.replace("<maximum>16</maximum><center>8</center>", encoded)
    for old, new in (("24", whole), ("240", whole), ("12", images), ("120", images)):
        text = re.sub(rf"<x>{old}</x><y>\d+</y>", new, text)
    return text


def write_knee(path: Path, number: int, contrast: int, mask: NDArray[np.bool_] | None = None) -> Path:
    """Write a scan as published; with a mask as in the test set, undersampled and without its images."""
    images = knee(number, contrast)
    kspace = fft2c(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        if mask is None:
            top, left = (ROWS - 40) // 2, (COLUMNS - 40) // 2
            file["kspace"] = kspace.astype(np.complex64)
            file["reconstruction_esc"] = np.abs(images[:, top : top + 40, left : left + 40])
        else:
            file["kspace"], file["mask"] = (kspace * mask).astype(np.complex64), mask
        file["ismrmrd_header"] = header()
        file.attrs["acquisition"] = ("CORPDFS_FBK", "CORPD_FBK")[contrast]
        file.attrs["patient_id"] = f"patient {number}"
    return path


def scans_of(root: Path, dataset: str) -> dict[str, Scans]:
    """Write the scans of all subjects and return where they lie."""
    found = {}
    for number in range(sum(SPLITS.values())):
        if dataset == "brats":
            name = f"BraTS2021_9000{number}"
            files = [
                write_brain(root / name / f"{name}_{kind}.nii.gz", number, contrast)
                for contrast, kind in enumerate(("t2", "t1"))
            ]
            pool = ""
        else:
            name, pool = f"file900000{number}1", "train" if number < 2 else "val"
            files = [
                write_knee(
                    root / f"singlecoil_{pool}" / f"file900000{number}{1 - contrast}.h5", number, contrast
                )
                for contrast in (0, 1)
            ]
        found[name] = Scans(str(files[0]), str(files[1]), pool)
    return found


def spec_of(dataset: str, method: str) -> RunSpec:
    changes: dict[str, Any] = {"dataset": dataset, "mask": MASKS[dataset], "training__epochs": 1}
    changes["noise"] = 0.1 if dataset == "brats" else 0.0
    if method == "zf":
        changes |= {"method": "zf", "folder": "zf", "trainable": False, "parameters": {}, "optimiser": {}}
    return RunSpec.from_json(json.dumps(spec_content(**changes)))


def make_experiment(folder: Path) -> Path:
    """Make everything below ``folder`` and return the folder of the results; scans lie in ``scans``."""
    results = folder / "results" / "small"
    for number, dataset in enumerate(MASKS, 5):
        entry = dataset_of(dataset)
        scans = scans_of(folder / "scans" / dataset, dataset)
        places = Places(f"raw/{dataset}", f"aligned/{dataset}", f"data/{dataset}")
        aligned = shared_folder(results) / places.aligned
        aligned.mkdir(parents=True)
        for subject, of in scans.items():
            options = {"register": False} if dataset == "fastmri" else {}
            wanted = Wanted(entry, Path(of.target), Path(of.auxiliary), SIDE, None)
            done = align(wanted, subject, "embedded", of.split_hint, options)
            with h5py.File(aligned / f"{subject}.h5", "w") as file:
                file["target"], file["auxiliary"] = done.target, done.auxiliary
            write_json(aligned / f"{subject}.json", asdict(done.record))
        data, mask = shared_folder(results) / places.data, MASKS[dataset]
        prepare(dataset, aligned, list(scans), SPLITS, 2022, data)
        keep(data, places, results / "data" / dataset)
        files = sorted(scans) if entry.drawn_masks else []
        masks = make_masks(mask, SIDE, SIDE, 2022, files)
        save(masks, SIDE, SIDE, 2022, dataset, results / "masks" / dataset, subjects(results, dataset))
        place = results / "runs" / dataset / mask
        for method, run in (("zf", evaluate), ("unet", lambda job: train(job, Termination()))):
            spec = spec_of(dataset, method)
            run(Job(spec, data, results / "masks" / dataset / f"{mask}.npz", place / method / "seed0", "cpu"))
        write_table(results, dataset, number)
    return results


def write_table(results: Path, dataset: str, number: int) -> None:
    """Write the metrics of the runs and the table of them, as the workflow does."""
    mask = MASKS[dataset]
    paths = [results / "runs" / dataset / mask / method / "seed0/metrics.csv" for method in ("zf", "unet")]
    rows = (Row("zf", "ZF"), Row("unet", "UNet"))
    shown = Definition(
        dataset=dataset,
        source="embedded",
        masks=(mask,),
        planned=(),
        number=number,
        rows=rows,
        numeral=str(number),
    )
    metrics: pd.DataFrame = gather(paths)
    of_masks = {mask: accelerations(results / "masks" / dataset, mask)}
    path = results / "tables" / f"table_{number}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(csv_of(tidy_table(shown, metrics, of_masks, {})), encoding="utf-8")


def subjects(experiment: Path, dataset: str) -> list[str]:
    """Ids of the test split."""
    manifest = pd.read_csv(experiment / "data" / dataset / "manifest.csv")
    return sorted(manifest["subject"][manifest["split"] == "test"])


def copy_of(experiment: Path, folder: Path) -> Path:
    """Copy an experiment with what it shares, and return the copy's results."""
    return Path(shutil.copytree(experiment.parent, folder / "results")) / experiment.name
