"""One part of the GPU bench in a process of its own; ``python -m tests.bench --gpu`` runs them all."""

import argparse
import gc
import json
import tempfile
from pathlib import Path

import torch

from data_prep.errors import BadInput
from tests.bench.gpu.correct import print_weights
from tests.bench.gpu.parts import PARTS
from tests.bench.gpu.place import NotRun, Place, Row
from workflow.run.device import set_up_torch


def taken(row: Row) -> dict[str, object]:
    """Return a row's values, or in one sentence why there are none."""
    try:
        return {"values": row()}
    except (NotRun, BadInput) as error:
        return {"reason": str(error)}
    # Whatever it is, the other rows are wanted.
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        return {"reason": f"failed: {type(error).__name__}: {text}", "failed": True}


def no_gpu() -> dict[str, object]:
    raise NotRun("no GPU")


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("part", choices=(*PARTS, "weights"))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rows", type=Path, help="a line of JSON for each row goes here")
    parser.add_argument("--method", help="of the part `weights`, which prints a hash")
    parser.add_argument("--folder", type=Path, help="of the part `weights`, to work in")
    arguments = parser.parse_args()
    device = set_up_torch(1, arguments.device)
    if arguments.part == "weights":
        print_weights(device, arguments.method, arguments.folder)
        return
    # Without a GPU that was not asked to be replaced, only the machine can be described.
    absent = device.type == "cpu" and arguments.device == "auto" and arguments.part != "versions"
    with tempfile.TemporaryDirectory() as folder, arguments.rows.open("a", encoding="utf-8") as file:
        rows = PARTS[arguments.part].rows(Place(device, Path(folder)))
        print(json.dumps({"rows": list(rows)}), file=file, flush=True)
        for name, row in rows.items():
            print(json.dumps({"row": name, **taken(no_gpu if absent else row)}), file=file, flush=True)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
