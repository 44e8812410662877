"""The locks: every file has a hash, torch has none, and what runs is apart from what develops."""

import os
import re
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "requirements"
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    found = PIN.findall((LOCKS / name).read_text(encoding="utf-8"))
    return {package.lower().replace("_", "-"): version for package, version in found}


@pytest.mark.parametrize("name", ["build", "run", "develop", "slurm"])
def test_every_named_package_is_locked_with_hashes_and_has_a_reason(name: str) -> None:
    listed = (LOCKS / f"{name}.in").read_text(encoding="utf-8").splitlines()
    named = [line for line in listed if line and not line.startswith(("#", "-"))]
    locked = pins(f"{name}.txt")
    assert pins(f"{name}.in").items() <= locked.items(), "run make lock"
    assert name == "build" or all(re.search(r"==\S+  # \w", line) for line in named)
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    packages = [part for part in re.split(r"\n(?=\S)", text) if not part.startswith("#")]
    assert len(packages) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)


def test_torch_and_what_its_builds_bring_are_in_no_lock() -> None:
    locked = {package for name in ("build", "run", "develop", "slurm") for package in pins(f"{name}.txt")}
    assert not [name for name in locked if re.match("torch$|triton|cuda-|nvidia-(?!ml-py)", name)]
    assert list(pins("torch.txt")) == ["torch"]


def test_the_product_brings_neither_a_browser_driver_nor_a_fuzzer() -> None:
    run, develop = pins("run.txt"), pins("develop.txt")
    assert {"playwright", "axe-playwright-python", "hypothesis", "pytest", "mypy", "ruff"} <= set(develop)
    assert not set(run) & set(develop)
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"install\.sh \S+ *(.*)", recipe) == ["slurm"]


def test_the_container_has_a_fixed_base_and_an_ordinary_user() -> None:
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM \S+@sha256:[0-9a-f]{64}$", recipe, re.MULTILINE) == re.findall(
        r"^FROM .*", recipe, re.MULTILINE
    )
    assert re.findall(r"^USER (\w+)", recipe, re.MULTILINE)[-1] not in ("root", "0")
    assert "safe.directory" not in recipe


def test_conda_takes_the_same_locks() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"] == ["python=3.11", "pip"]
    assert "requirements/install.sh" in (ROOT / "environment.post-deploy.sh").read_text(encoding="utf-8")


def wheel(index: Path, name: str, version: str) -> None:
    """Write an empty package that imports as its name."""
    described = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}")
        for file, text in {"METADATA": described, "WHEEL": kind, "RECORD": ""}.items():
            archive.writestr(f"{name}-{version}.dist-info/{file}", text)


@pytest.mark.long
def test_with_cuda_torch_is_the_build_of_pypi_itself(tmp_path: Path) -> None:
    locks, index = tmp_path / "requirements", tmp_path / "index"
    index.mkdir()
    (version,) = pins("torch.txt").values()
    for build in (version, f"{version}+cpu"):
        wheel(index, "torch", build)
    locks.mkdir()
    for name in ("install.sh", "torch.txt"):
        (locks / name).write_text((LOCKS / name).read_text())
    for name in ("build.txt", "run.txt", "develop.txt"):
        (locks / name).touch()
    environment = os.environ | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": os.devnull,
    }
    found = []
    for number, options in enumerate(([], ["--cuda", "develop"])):
        venv.create(tmp_path / str(number), with_pip=True)
        python = tmp_path / str(number) / "bin/python"
        subprocess.run(["bash", locks / "install.sh", python, *options], env=environment, check=True)
        answer = [python, "-c", "import torch; print(torch.version)"]
        found.append(subprocess.run(answer, capture_output=True, text=True, check=True).stdout.strip())
    assert found == [f"{version}+cpu", version]


def test_a_file_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    locks, index = tmp_path / "requirements", tmp_path / "index"
    index.mkdir()
    wheel(index, "tiny", "1.0")
    locks.mkdir()
    (locks / "install.sh").write_text((LOCKS / "install.sh").read_text())
    (locks / "build.txt").touch()
    (locks / "torch.txt").touch()
    (locks / "run.txt").write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    outcome = subprocess.run(
        ["bash", locks / "install.sh", python],
        env=os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode != 0
    assert "DO NOT MATCH THE HASHES" in outcome.stderr
    assert subprocess.run([python, "-c", "import tiny"], capture_output=True, check=False).returncode != 0
