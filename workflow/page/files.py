"""The files that ``index.html`` is made from; apart from the plan, on which the page does not depend."""

from collections.abc import Mapping
from typing import Any


def index_files(definition: Mapping[str, Any]) -> list[str]:
    """Return the files that the page is made from, relative to the results folder.

    Args:
        definition: as ``workflow.plan.page.index_definition`` returns it.
    """
    return [
        *(f"{file}.json" for files in definition["tables"].values() for file in files),
        *(f"statistics/table_{number}.csv" for number in definition["statistics"]),
        *(f"{picture['file']}.png" for pictures in definition["pictures"].values() for picture in pictures),
        *(f"runs/{run}/examples.npz" for shown in definition["viewer"] for run in shown["runs"]),
        *(f"claims/{name}.csv" for name in ("claims", "cells") if definition["claims"]),
    ]
