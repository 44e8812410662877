"""The manifests are what Kubernetes accepts, and promise to the workflow what they ask of the cluster."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "profiles" / "kubernetes"
# The first in which a job may say which ends of a pod count, and the newest known here.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def container() -> Any:
    (only,) = manifest("job.yaml")["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["volume.yaml", "job.yaml"])
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    job = manifest("job.yaml")
    job["spec"]["template"]["spec"]["containers"][0]["resources"]["limit"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def test_the_workflow_is_given_what_the_pod_gets() -> None:
    arguments = container()["args"]
    resources = container()["resources"]
    gpus = resources["limits"]["nvidia.com/gpu"]
    assert gpus == resources["requests"]["nvidia.com/gpu"]
    assert arguments[arguments.index("--resources") + 1] == f"gpu={gpus}"
    assert arguments[arguments.index("--cores") + 1] == resources["requests"]["cpu"]


def test_the_clone_lies_on_the_claimed_volume() -> None:
    pod = manifest("job.yaml")["spec"]["template"]["spec"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    folder = Path(container()["workingDir"])
    (found,) = (
        claims[name] for path, name in mounts.items() if name in claims and folder.is_relative_to(path)
    )
    assert found == manifest("volume.yaml")["metadata"]["name"]


def test_the_pod_has_no_privilege_and_no_token() -> None:
    pod = manifest("job.yaml")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
