"""The reference of the configuration, written from its schema."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from data_prep.datasets.contract import discover as datasets
from data_prep.masks.registry import masks_of
from workflow.metrics.contract import STANDARD, metrics
from workflow.plan.config import resolve, schema


def _document(part: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, entry in part.get("properties", {}).items():
        entry = resolve(entry)
        description = " ".join(str(entry.get("description", "")).split())
        if key in part.get("required", []):
            default = "required"
        elif "default" in entry:
            shown = yaml.safe_dump(entry["default"], default_flow_style=True).splitlines()[0]
            default = f"`{shown}`"
        else:
            default = "-"
        choices = entry.get("enum")
        if choices:
            description += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
        yield f"| `{prefix}{key}` | {default} | {description} |"
        yield from _document(entry, f"{prefix}{key}.")
        if key == "methods":
            yield from _document(entry["additionalProperties"], "methods.<id>.")


def document() -> str:
    """Return config/README.md: every key, its default and its meaning, from the schema."""
    lines = [
        "# Configuration",
        "",
        "One file, in UTF-8, is one experiment. `demo.yaml` is the default, `smoke.yaml` is everything in",
        "tiny, `extended.yaml` compares more methods with the paper's,",
        "`paper.yaml` is the paper's setting on the published data, `reference.yaml` makes results to",
        "compare with on one GPU (`results/reference/README.md`), `trust.yaml` is the demo with three",
        "seeds and every control of `docs/trust.md`. Choose one with",
        "`snakemake --cores all --configfile config/paper.yaml`. An unknown key, mask, method or parameter",
        "is refused by name; `python -m workflow.plan FILE --check` checks a file without running anything.",
        "",
        "This page is printed from the schema by `python -m workflow.plan --document`.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
        *_document(schema()),
        "",
        "Masks: "
        + "; ".join(
            f"{name}: {', '.join(f'`{mask}`' for mask in masks_of(dataset.drawn_masks))}"
            for name, (_, dataset) in datasets().items()
        )
        + ". Your own: docs/adding_a_mask.md.",
        "",
        f"Metrics: {', '.join(f'`{name}`' for name in metrics() if name not in STANDARD)}. Your own: "
        "docs/adding_a_metric.md.",
    ]
    return "\n".join(lines) + "\n"
