"""A method folder with an ``environment.yml`` runs in the environment made from it, all else in another.

A stand-in takes conda's place, which would download: it makes virtual environments that see the tests'
packages, so that the script that fills them finds every locked package there.
"""

import shutil
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
from workspace import Workspace, environment

pytestmark = pytest.mark.long

CONDA = """\
#!{python}
import json, sys, venv
from pathlib import Path

line = " ".join(sys.argv[1:])
if line == "info --json":
    print(json.dumps({{"conda_prefix": {prefix!r}, "platform": "linux-64"}}))
elif line == "--version":
    print("conda 25.1.0")
elif line == "config --get channel_priority --json":
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif line.startswith("env create"):
    options = dict(zip(sys.argv, sys.argv[1:]))
    prefix = Path(options["--prefix"])
    venv.create(prefix, symlinks=True)
    (site,) = prefix.glob("lib/python*/site-packages")
    (site / "tests.pth").write_text({packages!r})
elif line != "clean -y --tarballs":
    sys.exit(f"the stand-in for conda does not know: {{line}}")
"""
PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "own-dependency"
version = "1.0"
[tool.setuptools]
py-modules = ["own_dependency"]
"""


def only_ixi(content: dict) -> None:
    content["datasets"].pop("fastmri")
    content |= {"compare": ["zf", "unet", "own"], "figures": []}


def stand_in(folder: Path, python: str) -> dict[str, str]:
    """Write a conda and return the environment in which it is found."""
    commands = folder / "conda/bin"
    commands.mkdir(parents=True)
    packages = sysconfig.get_path("purelib")
    (commands / "conda").write_text(
        CONDA.format(python=python, prefix=str(folder / "conda"), packages=packages)
    )
    (commands / "conda").chmod(0o755)
    (commands / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    return {"PATH": f"{commands}:{environment()['PATH']}"}


def test_a_method_with_an_environment_of_its_own_runs_in_it(copy: Workspace, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(PROJECT)
    (package / "own_dependency.py").write_text("WIDTH = 3\n")
    own = Path(shutil.copytree(copy.path("methods/_template"), copy.path("methods/own")))
    model, description = own / "model.py", own / "method.yaml"
    model.write_text(model.read_text().replace("import torch\n", "import own_dependency\nimport torch\n", 1))
    description.write_text(description.read_text().replace("id: template", "id: own"))
    shutil.copy(copy.path("environment.yml"), own)
    fill = copy.path("environment.post-deploy.sh").read_text()
    install = "python -m pip install --quiet --no-index --no-deps --no-build-isolation"
    (own / "environment.post-deploy.sh").write_text(f"{fill}{install} {package}\n")

    config = copy.configure(only_ixi)
    targets = [f"results/tiny/runs/ixi/1d_uniform_6x/{name}/seed0/metrics.csv" for name in ("own", "unet")]
    # Here its package is missing, and the log says which.
    without = copy.run(*targets, config=config)
    assert without.status != 0
    assert "own_dependency" in without.output

    shutil.rmtree(copy.path(targets[1]).parent)
    found = stand_in(tmp_path, sysconfig.get_path("scripts") + "/python")
    outcome = copy.complete(*targets, "--software-deployment-method", "conda", config=config, env=found)
    assert {job["method"] for job in outcome.jobs if job.rule == "train"} == {"own", "unet"}
    for target in targets:
        assert pd.read_csv(copy.path(target))["psnr"].notna().all()
    made = [path for path in copy.path(".snakemake/conda").iterdir() if path.is_dir()]
    with_package = [path for path in made if [*path.glob("lib/python*/site-packages/own_dependency.py")]]
    assert len(made) == 2
    assert len(with_package) == 1
