r"""Reconstruct the test split with one method and score it: metrics.csv, examples.npz, run.json.

An untrained method whose spec names values to try (``tune``) chooses among them on the validation split
before. A training scores itself in the same way, in its own process; this command serves untrained
methods, and trained ones by their checkpoint:

    python -m workflow.evaluate --spec JSON --data results/X/data/brats \
        --mask results/X/masks/brats/NAME.npz [--checkpoint model.ckpt] --output FOLDER
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from data_prep.errors import run_command
from data_prep.io.files import remove_partial_files
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import write_json
from workflow.evaluate.evaluation import evaluate, write_evaluation
from workflow.evaluate.record import run_record
from workflow.run.arguments import add_run_arguments, check_checkpoint
from workflow.run.spec import RunSpec


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_run_arguments(parser)
    parser.add_argument("--checkpoint", type=Path, help="model.ckpt of a trained method")
    arguments = parser.parse_args()
    spec = RunSpec.from_json(arguments.spec)
    check_checkpoint(spec, arguments.checkpoint)
    from data_prep.undersample.acquisition import open_acquisition, open_split
    from workflow.run.device import set_up_torch
    from workflow.run.model import restore

    started = time.perf_counter()
    training = spec.training
    device = set_up_torch(training.threads, arguments.device)
    acquisition = open_acquisition(arguments.mask, spec.dataset, spec.mask, spec.noise, spec.base_seed)
    stores, tuning = {}, None
    chosen = spec
    if spec.tune:
        from workflow.evaluate.tuning import tune

        stores["val"] = open_split(arguments.data, "val", acquisition, device, training.resident_gigabytes)
        chosen, tuning = tune(spec, stores["val"], acquisition, device)
    # Opened after the parameters are chosen: the test split has no say in them.
    store = stores["test"] = open_split(
        arguments.data, "test", acquisition, device, training.resident_gigabytes
    )
    shape = (store.height, store.width)
    model, reconstruct, origin = restore(chosen, shape, arguments.checkpoint, device)
    evaluation = evaluate(reconstruct, spec, store, acquisition)
    output = arguments.output
    remove_partial_files(output)
    write_evaluation(evaluation, output)
    record = run_record(spec, model, device, stores, acquisition, evaluation, started, origin, output)
    outputs = record.outputs
    if arguments.checkpoint is not None:
        # Whichever lies in the folder: the scores are of this one.
        outputs = outputs | {"model.ckpt": file_sha256(arguments.checkpoint)}
    write_json(output / "run.json", replace(record, tuning=tuning, outputs=outputs))
    print(f"{spec.method}: {evaluation.slices} slices scored", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
