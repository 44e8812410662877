"""A finished experiment in small, made up, and the definition of its ``index.html``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from made_up_results import (
    LABELS,
    definition,
    metric_rows,
    read_definition,
    sha256,
    write_examples,
    write_mask_json,
    write_records,
    write_statistics,
)
from PIL import Image

from data_prep.io.json_files import converted
from workflow.claims.__main__ import write_claims
from workflow.plan.definitions import PageDefinition
from workflow.tables.__main__ import write_table

MASKS = ("1d_uniform_6x", "2d_radial_9x")
# Pictures of a mask and of the registration, with their sizes.
SHEETS = (("masks/ixi/1d_uniform_6x", (64, 64)), ("data/ixi/registration", (400, 300)))
CONFIGURATION = sha256("configuration")


def write_results(
    root: Path,
    masks: Sequence[str] = MASKS,
    methods: Mapping[str, str] = LABELS["ixi"],
    number: int = 1,
    better: str = "",
    **more: Any,
) -> PageDefinition:
    """Write a table with tests and claims, pictures and the slices; return the page's definition.

    ``better``: a method that is better than all others. Table 1 is the paper's; another one is beside it, and
    no claim is judged.
    """
    in_paper = number == 1
    text = definition(number, "ixi", masks, methods, numeral="I" if in_paper else str(number), **more)
    table = read_definition(text)
    metrics = metric_rows("ixi", masks, list(methods), volumes=6, slices=1)
    metrics = metrics.assign(**dict.fromkeys(table.metrics[3:], 2 * metrics["nmse"] ** 0.5))
    metrics.loc[metrics["method"] == better, ["ssim", "psnr", "nmse"]] = (0.99, 60.0, 1e-5)
    metrics.to_parquet(root / "metrics.parquet")
    write_mask_json(root, "ixi", masks)
    write_records(root, table)
    write_statistics(root, table, metrics)
    write_table(table, root, CONFIGURATION, root / "tables")
    if in_paper:
        write_claims([table], root, root / "claims", papers=("manet",))
    for mask in masks:
        for method in methods:
            write_examples(root, "ixi", mask, method)
    for file, size in (
        ("figures/figure_5", (2148, 900)),
        (f"statistics/table_{number}", (600, 800)),
        *SHEETS,
    ):
        path = root / f"{file}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.radial_gradient("L").resize(size).save(path)
    return page_definition(json.loads(text))


def page_definition(table: Mapping[str, Any]) -> PageDefinition:
    """Return what ``workflow.plan.page`` would hand over for an experiment with this one table."""
    content = {
        "experiment": table["experiment"],
        "configuration": CONFIGURATION,
        "sources": {"ixi": table["source"]},
        "viewer": [table | {"number": 0}],
        "tables": {"tables": [f"tables/table_{table['number']}"], "trust": [], "cost": []},
        "statistics": [table["number"]],
        "claims": [{"paper": "manet", "name": "MANet", "folder": "claims"}] if table["number"] == 1 else [],
        "pictures": {
            "figures": [
                {
                    "file": "figures/figure_5",
                    "caption": "figure",
                    "wildcards": {"number": "5"},
                    "shown": {
                        "subject": "Fig. 5: reconstructions under 1D masks",
                        "embedded": "IXI" if table["source"] == "embedded" else "",
                        "kind": "comparison",
                        "remarks": "",
                    },
                }
            ],
            "significance": [
                {
                    "file": f"statistics/table_{table['number']}",
                    "caption": "significance",
                    "wildcards": {"number": str(table["number"])},
                }
            ],
            "trust": [],
            "cost": [],
            "training": [],
            "masks": [
                {
                    "file": SHEETS[0][0],
                    "caption": "mask",
                    "wildcards": {"dataset": "ixi", "mask": "1d_uniform_6x"},
                }
            ],
            "registration": [
                {"file": SHEETS[1][0], "caption": "registration", "wildcards": {"dataset": "ixi"}}
            ],
        },
    }
    return converted(PageDefinition, content, "--definition", "mend it")
