"""The reference of the configuration, written from its schema."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from data_prep.datasets.contract import discover as datasets
from data_prep.masks.registry import masks_of
from workflow.metrics.contract import STANDARD, metrics
from workflow.papers.contract import papers
from workflow.plan.config import resolve, schema
from workflow.provenance.sources import RESOURCES


def _written(value: Any) -> str:
    """Write a value as a configuration does."""
    return f"`{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}`"


def _document(part: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, entry in part.get("properties", {}).items():
        entry = resolve(entry)
        description = " ".join(str(entry.get("description", "")).split())
        if key in part.get("required", []):
            default = "required"
        elif "default" in entry:
            default = _written(entry["default"])
        else:
            default = "-"
        if choices := entry.get("enum"):
            description += f" One of {', '.join(map(_written, choices))}."
        yield f"| `{prefix}{key}` | {default} | {description} |"
        yield from _document(entry, f"{prefix}{key}.")
        if f"{prefix}{key}" == "methods":
            yield from _document(entry["additionalProperties"], "methods.<id>.")


def document() -> str:
    """Return config/README.md: every key, its default and its meaning, from the schema."""
    from jinja2 import Template  # nothing else of the plan needs it

    source = (RESOURCES / "config.md.j2").read_text(encoding="utf-8")
    page: str = Template(source, trim_blocks=True, keep_trailing_newline=True).render(
        keys=_document(schema()),
        masks={name: masks_of(dataset.drawn_masks) for name, (_, dataset) in datasets().items()},
        metrics=[name for name in metrics() if name not in STANDARD],
        papers=papers(),
    )
    return page
