import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from serendip.cli.main import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "scale.md").read_text()
FOLDER = ROOT / "deploy" / "kuberay"


def _read(name: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / name).read_text())}


CLUSTER, TRAIN = _read("cluster.yaml"), _read("train.yaml")
RAY = CLUSTER["RayCluster"]["spec"]
HEAD, (WORKERS,) = RAY["headGroupSpec"], RAY["workerGroupSpecs"]
JOB = TRAIN["Job"]["spec"]["template"]
PODS = {"head": HEAD["template"], "workers": WORKERS["template"], "train": JOB}


def test_the_cluster_asks_for_a_token_and_has_no_dashboard_for_others() -> None:
    assert RAY["authOptions"] == {"mode": "token"}
    version = tuple(map(int, RAY["rayVersion"].split(".")))
    assert version >= (2, 54)
    assert HEAD["serviceType"] == "ClusterIP"
    assert HEAD["rayStartParams"]["include-dashboard"] == "false"
    started = [*HEAD["rayStartParams"].values(), *WORKERS["rayStartParams"].values()]
    assert all(isinstance(value, str) for value in started)
    policy = CLUSTER["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    assert policy["podSelector"] in [one.get("podSelector") for one in rule["from"]]
    assert all(one.keys() <= {"podSelector", "namespaceSelector"} for one in rule["from"])
    (operator,) = (one["namespaceSelector"] for one in rule["from"] if "namespaceSelector" in one)
    (namespace,) = operator["matchLabels"].values()
    assert f"the namespace `{namespace}`" in GUIDE


@pytest.mark.parametrize("group", [HEAD, WORKERS], ids=["head", "workers"])
def test_nodes_are_probed_by_a_service_that_the_minimal_ray_has(group: dict[str, Any]) -> None:
    (container,) = group["template"]["spec"]["containers"]
    port = int(group["rayStartParams"]["node-manager-port"])
    for name in ("livenessProbe", "readinessProbe"):  # KubeRay adds its own where one is missing
        assert container[name]["grpc"] == {"port": port}
        assert container[name]["timeoutSeconds"] > 1
    assert (
        container["livenessProbe"]["failureThreshold"]
        > container["readinessProbe"]["failureThreshold"]
    )


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_rights_and_share_the_workspace(name: str) -> None:
    labels = CLUSTER["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert PODS[name]["metadata"]["labels"] == labels
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounted.keys() == {one["name"] for one in spec["volumes"]}
    assert (mounted["workspace"], mounted["tmp"]) == ("/workspace", "/tmp")
    (volume,) = (one for one in spec["volumes"] if one["name"] == "workspace")
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert claim == CLUSTER["PersistentVolumeClaim"]["metadata"]["name"]
    assert CLUSTER["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_training_has_the_token_of_the_cluster_and_options_that_exist() -> None:
    name = CLUSTER["RayCluster"]["metadata"]["name"]
    (container,) = JOB["spec"]["containers"]
    environment = {one["name"]: one for one in container["env"]}
    assert environment["RAY_AUTH_MODE"]["value"] == RAY["authOptions"]["mode"]
    secret = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": name, "key": "auth_token"}
    (script,) = container["args"]
    join, _, run = script.partition(" && exec ")
    assert join == f"ray start --address={name}-head-svc:6379 --num-cpus=0"
    program, command, *words = run.split()
    known = {word for one in get_command(app).commands[command].params for word in one.opts}
    assert program == "serendip"
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_nodes_are_started_with_options_of_ray() -> None:
    # In a process of its own: Ray reads the environment when it is imported.
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    known = {*re.findall(r"--[a-z-]+", told)}
    given = {*HEAD["rayStartParams"], *WORKERS["rayStartParams"]}
    assert {f"--{name}" for name in given} <= known
    (container,) = JOB["spec"]["containers"]
    join = container["args"][0].partition(" && ")[0].split()
    assert {word.partition("=")[0] for word in join if word.startswith("--")} <= known
