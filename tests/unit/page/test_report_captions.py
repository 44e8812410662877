"""The captions of the workflow's report render for every result and name the data's source."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from published_masks import MASKS

from methods.registry import discover
from workflow.plan.chosen import caption_of
from workflow.plan.config import check_config
from workflow.plan.definitions import names_in_captions
from workflow.plan.plan import Plan
from workflow.plan.probes import FIGURES, TABLES

jinja2 = pytest.importorskip("jinja2")
docutils = pytest.importorskip("docutils.core")

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "workflow" / "report"
CASES = [
    *(("table.rst", {"number": n}, "", "fastmri" if n == "2" else "ixi") for n in "1234"),
    ("table.rst", {"number": "5"}, "", "brats"),
    *(("figure.rst", {"number": n}, "", "fastmri" if n in "79" else "ixi") for n in "156789"),
    *(("mask.rst", {"dataset": d, "mask": m}, "", "") for d, masks in MASKS.items() for m in masks[:1]),
    ("registration.rst", {"dataset": "ixi"}, "", "ixi"),
    ("registration_worst.rst", {"dataset": "ixi"}, "", "ixi"),
    ("overlay.rst", {"dataset": "ixi", "subject": "IXI900-HH-1234"}, "align", ""),
    ("overlay.rst", {"dataset": "brats", "subject": "BraTS2021_90000"}, "align", ""),
    *(("counts.rst", {"dataset": d}, "", d) for d in (*MASKS, "brats")),
    ("significance.rst", {}, "", "ixi"),
    ("claims.rst", {}, "", "ixi"),
    ("workflow.rst", {}, "", "ixi"),
    *(("training_curves.rst", {"dataset": d}, "", d) for d in (*MASKS, "brats")),
    *(("trust_figure.rst", {"figure": f, "dataset": d}, "", d) for f in FIGURES for d in (*MASKS, "brats")),
    *(("trust_table.rst", {"table": t, "dataset": d}, "", d) for t in TABLES for d in (*MASKS, "brats")),
    *(("cost.rst", {"dataset": d}, "", d) for d in (*MASKS, "brats")),
]


@cache
def plan() -> Plan:
    """A plan with tables that the paper does not have."""
    content = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    content["datasets"]["brats"] = content["datasets"]["ixi"]
    return Plan(check_config(content, discover()), discover())


def shown_by(name, number, sources):
    """What the rules hand to the captions of tables and figures."""
    if number is None:
        return {}
    made = plan()
    shown = (made.table_definitions if name == "table.rst" else made.figure_definitions)[int(number)]
    return caption_of(replace(shown, source=sources[shown.dataset]))


def render(name, wildcards, rule, sources):
    """Render as Snakemake's report does, but refuse unknown names and any warning of docutils."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    job = SimpleNamespace(
        wildcards=SimpleNamespace(**wildcards),
        rule=rule,
        config={
            "experiment": "made_up",
            "datasets": {dataset: {"source": source} for dataset, source in sources.items()},
            "named": names_in_captions(sources),
        },
        params=SimpleNamespace(caption=shown_by(name, wildcards.get("number"), sources)),
    )
    text = environment.from_string((FOLDER / name).read_text(encoding="utf-8")).render(snakemake=job)
    return docutils.publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]


@pytest.mark.parametrize(("name", "wildcards", "rule", "dataset"), CASES)
def test_captions_render_and_name_the_source(name, wildcards, rule, dataset):
    embedded = render(name, wildcards, rule, dict.fromkeys((*MASKS, "brats"), "embedded"))
    published = render(name, wildcards, rule, dict.fromkeys((*MASKS, "brats"), "published"))
    assert "mbedded" not in published
    if dataset:
        other = {"ixi": "IXI", "fastmri": "fastMRI", "brats": "BraTS"}[dataset]
        assert f"not {other}" in embedded.replace("\n", " ")
    for value in wildcards.values():
        assert name != "overlay.rst" or value in embedded
    assert 40 < len(published) < 900


def test_every_caption_is_covered():
    assert {path.name for path in FOLDER.glob("*.rst")} == {name for name, *_ in CASES}


@pytest.mark.parametrize("name", ["significance.rst", "claims.rst"])
def test_data_is_called_by_what_is_embedded_of_it(name):
    text = render(name, {}, "", {"ixi": "published", "fastmri": "embedded"})
    assert "not fastMRI." in text
    assert "not IXI" not in text
