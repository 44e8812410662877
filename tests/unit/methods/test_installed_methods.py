"""A method in an installed package is a method like any other; its sources count, wherever they lie."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.errors import BadInput
from methods import registry
from methods.new import create

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/adding_a_method.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Where the guide's example package is installed, made from the template and built by pip."""
    folder = tmp_path_factory.mktemp("package")
    create("example", folder).rename(folder / "benchmark_example")
    (folder / "benchmark_example/__init__.py").touch()
    (folder / "pyproject.toml").write_text(re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[1])
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(target), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_it_keeps_the_contract_and_is_planned(site):
    checked = python(site, "-m", "methods.check", "example")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.endswith("13 of 13 checks passed\n")
    planned = python(site, "-m", "workflow.plan", "config/demo.yaml").stdout
    assert planned.count("/example/seed0") == 12
    without = python(site / "nothing", "-m", "workflow.plan", "config/demo.yaml").stdout
    assert "/example/" not in without


HASHES = """
import json
from pathlib import Path
from methods.registry import discover
from workflow.plan.plan import Plan
from workflow.plan.definitions import Run
from workflow.plan.config import read_config
from workflow.run.spec import RunSpec
from workflow.run.identity import identity_hash, training_identity
from workflow.run.identity import training_sources
from workflow.provenance.sources import folder_sources
from workflow.provenance.sources import portable_name

plan = Plan(read_config(Path("config/demo.yaml")), discover())
runs = [Run("ixi", "1d_uniform_6x", name, 0) for name in ("example", "unet")]
specs = {run.method: plan.spec(run) for run in runs}
print(json.dumps({
    "sources": folder_sources("example"),
    "names": [portable_name(path) for path in training_sources("example", "1d_uniform_6x")],
    "hashes": {name: identity_hash(training_identity(spec, {}, "")) for name, spec in specs.items()},
}))
"""


def test_its_sources_count_and_their_place_does_not(site, tmp_path):
    first = json.loads(python(site, "-c", HASHES).stdout)
    model = (site / "benchmark_example/model.py").as_posix()
    assert {model, "methods/blocks.py", "methods/contract.py"} <= set(first["sources"])
    assert "benchmark_example/model.py" in first["names"]
    assert not any(Path(name).is_absolute() for name in first["names"])
    elsewhere = tmp_path / "site"
    shutil.copytree(site, elsewhere)
    assert json.loads(python(elsewhere, "-c", HASHES).stdout)["hashes"] == first["hashes"]
    with (elsewhere / "benchmark_example/model.py").open("a") as file:
        file.write("\n# Edited.\n")
    edited = json.loads(python(elsewhere, "-c", HASHES).stdout)["hashes"]
    assert edited["example"] != first["hashes"]["example"]
    assert edited["unet"] == first["hashes"]["unet"]


class Entry:
    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("manet", "yaml")], r"entry point manet = yaml .*there is another method 'manet'"),
        ([("one", "yaml"), ("one", "json")], r"entry point one = json .*there is another method 'one'"),
        ([("one", "no_such_package")], r"there is no package no_such_package; mend or uninstall"),
        ([("one", "keyword")], r"there is no package keyword"),
        ([("one", "json.decoder.no")], r"there is no package json\.decoder\.no"),
        ([("one", "../json")], r"there is no package \.\./json"),
        ([("one", ".json")], r"there is no package \.json"),
        ([("one", "json")], r"json/method\.yaml: missing"),
    ],
)
def test_an_entry_point_that_cannot_be_is_refused_by_name(monkeypatch, entries, said):
    monkeypatch.setattr(
        registry.importlib.metadata, "entry_points", lambda group: [Entry(*entry) for entry in entries]
    )
    monkeypatch.setattr(registry, "installed_methods", registry.installed_methods.__wrapped__)
    with pytest.raises(BadInput, match=said):
        registry.discover()


def test_planning_runs_no_code_of_a_package_that_is_found_by_a_dotted_name(site, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    outer = tmp_path / "site/outer"
    outer.mkdir()
    (outer / "__init__.py").write_text("import sys\nsys.exit('the parent was imported')\n")
    (tmp_path / "site/benchmark_example").rename(outer / "example")
    (outer / "example/__init__.py").write_text("import sys\nsys.exit('the package was imported')\n")
    (entry_points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    entry_points.write_text("[manet_benchmark.methods]\nexample = outer.example\n")
    planned = python(tmp_path / "site", "-m", "workflow.plan", "config/demo.yaml")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("/example/seed0") == 12
    run = python(
        tmp_path / "site", "-c", "from methods.registry import load_builder; load_builder('example')"
    )
    assert "the parent was imported" in run.stderr
