"""Finished runs under a mask from a file: what takes them up again knows the mask by itself."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from small_experiment import MASKS, SIDE, copy_of, spec_of, write_brain, write_table

from data_prep.errors import BadInput
from data_prep.masks.__main__ import save
from data_prep.masks.from_file import VARIABLE, register
from data_prep.masks.registry import families
from data_prep.masks.sets import MaskSet
from data_prep.prepare.places import folder_of
from workflow.draw import draw
from workflow.evaluate.__main__ import main as evaluate
from workflow.export import export
from workflow.predict import predict
from workflow.run.job import Job
from workflow.run.spec import RunSpec
from workflow.score import main as score
from workflow.train.__main__ import train
from workflow.train.termination import Termination
from workflow.weights import weights

NAME, SHOWN = "my_mask_4x", "My-Mask-4×"
RUN = f"runs/brats/{NAME}/unet/seed0"


@pytest.fixture(scope="module")
def made(experiment, tmp_path_factory):
    """An experiment whose brains are sampled by a mask of its user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "")
        patch.setitem(MASKS, "brats", NAME)
        register([NAME])
        results = copy_of(experiment, tmp_path_factory.mktemp("file_masks"))
        lines = np.arange(SIDE) % 4 == 0
        folder, data = results / "masks" / "brats", folder_of(results, "brats", "data")
        save(MaskSet(NAME, np.tile(lines, (SIDE, 1))), SIDE, SIDE, None, "brats", folder)
        for method, run in (("zf", evaluate), ("unet", lambda job: train(job, Termination()))):
            spec = RunSpec.from_json(json.dumps(spec_of("brats", method).content()))
            place = results / "runs" / "brats" / NAME / method / "seed0"
            run(Job(spec, data, folder / f"{NAME}.npz", place, "cpu"))
        write_table(results, "brats", 5)
    families.cache_clear()
    return results


@pytest.fixture(autouse=True)
def forget(made, monkeypatch) -> Iterator[Callable[[], None]]:
    """Let nothing but the results tell of the mask, as in a process of its own."""

    def do() -> None:
        monkeypatch.setenv(VARIABLE, "")
        families.cache_clear()

    do()
    yield do
    families.cache_clear()


def test_its_volumes_are_exported_and_scored(made, tmp_path, said, forget):
    export(made, tmp_path, mask=(NAME,), device="cpu")
    forget()
    words = ("--predictions", tmp_path / RUN.removeprefix("runs/"), "--experiment", made, "--mask", NAME)
    assert SHOWN in said(score, *words, "--dataset", "brats", "--name", "Theirs")


def test_it_is_drawn_under_its_own_name(made, tmp_path, said):
    words = ("--mask", NAME, "--slice", 2, "--device", "cpu", "--to", tmp_path / "figure.pdf")
    assert f"slice 2, under {SHOWN}\nZF, UNet\n" in said(draw, made, *words)


@pytest.mark.parametrize("packed", [False, True])
def test_a_scan_is_reconstructed_by_the_run_and_by_its_packed_weights(made, tmp_path, said, forget, packed):
    run = made / RUN
    if packed:
        weights("pack", run, tmp_path / "unet.ckpt", "CC BY 4.0")
        run = tmp_path / "unet.ckpt"
        forget()
        assert f"sampling: {SHOWN}, 4.00 times fewer" in said(weights, "show", run)
    scans = [write_brain(tmp_path / f"T{2 - i}.nii.gz", 5, i) for i in (0, 1)]
    words = ("--run", run, "--target", scans[0], "--auxiliary", scans[1], "--to", tmp_path / "out.nii.gz")
    assert f"by simulation: {SHOWN}, 4.00" in said(predict, *words, "--device", "cpu", "--matrix", SIDE)
    refused = rf"unet.*: its mask {SHOWN} is from a file and for {SIDE} x {SIDE} only; give --matrix {SIDE}, "
    with pytest.raises(BadInput, match=refused):
        predict(run, tmp_path / "o.nii.gz", scans[0], auxiliary=scans[1], matrix=64)
