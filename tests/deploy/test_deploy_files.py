import json
import os
import re
import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import read_ready_port, wait_until
from prometheus_client.parser import text_string_to_metric_families
from small_shop import add_settings
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.engine.workspace import Workspace
from serendip.jobs.experiments import start

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
UNIT = (DEPLOY / "serendip.service").read_text()
FOREIGN = {"up": {"job", "instance"}}
"""Metrics that Prometheus makes itself."""


def _yaml(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


COMPOSE = _yaml("compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
ALERTS = [rule for group in _yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "serendip.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
QUERIES = {
    **{rule["alert"]: [rule["expr"]] for rule in ALERTS},
    **{title: [one["expr"] for one in panel["targets"]] for title, panel in PANELS.items()},
}


@pytest.fixture(scope="module")
def metrics(trained_stand: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Name of each sample of a service that has answered -> its labels."""
    folder = shutil.copytree(trained_stand, tmp_path_factory.mktemp("measured") / "stand")
    add_settings(folder, "\n[experiments.same]\n[experiments.same.arms]\nfirst = {}\nsecond = {}\n")
    start(Workspace.open(folder), "same")
    command = [sys.executable, "-m", "serendip", "serve", "-w", os.fspath(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        connection = HTTPConnection("127.0.0.1", read_ready_port(process), timeout=30)

        def read(path: str) -> str:
            connection.request("GET", path)
            return connection.getresponse().read().decode()

        for path in ("/v1/search?q=tale", "/v1/recommend?user_id=u1", "/health/ready"):
            read(path)
        wait_until(lambda: "serendip_last_training{" in read("/metrics"), "the last training")
        text = read("/metrics")
        connection.close()
        process.send_signal(signal.SIGTERM)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        kind = "_total" if family.type == "counter" else ""
        found.setdefault(f"{family.name}{kind}", set())  # also without a sample so far
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _named(query: str) -> dict[str, set[str]]:
    """Metrics of a query and the labels that it asks of each."""
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    labels = {label.strip() for group in grouped for label in group.split(",")}
    bare = re.sub(r"\bby \([^)]*\)|\[[^]]*\]", "", query)
    found = {}
    for name, selected in re.findall(
        r"\b([a-z_]+)\b(?!\()(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', bare)
    ):
        if name.startswith("serendip_") or name in FOREIGN:
            found[name] = labels | set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selected))
    return found


@pytest.mark.parametrize("name", QUERIES)
def test_every_metric_and_label_of_alerts_and_dashboard_exists(
    name: str, metrics: dict[str, set[str]]
) -> None:
    for query in QUERIES[name]:
        named = _named(query)
        assert named, query
        for metric, labels in named.items():
            if metric in FOREIGN:
                continue
            assert metric in metrics, f"{metric} of {query!r} is not in /metrics"
            known = metrics[metric]
            assert not known or labels <= known, f"{labels - known} of {query!r}"


def test_every_metric_of_the_service_is_watched(metrics: dict[str, set[str]]) -> None:
    asked = {metric for queries in QUERIES.values() for one in queries for metric in _named(one)}
    asked |= {re.sub(r"_(bucket|count)$", "", metric) for metric in asked}
    left_out = re.compile(r"_created$|_sum$")
    ours = {name for name in metrics if name.startswith("serendip_") and not left_out.search(name)}
    assert {name for name in ours if re.sub(r"_(bucket|count)$", "", name) not in asked} == set()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_accepts_its_files(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics-key", os.devnull))
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", tmp_path)
    command = ["promtool", "check", "config", os.fspath(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_names_files_that_are_there_or_made_at_the_first_start() -> None:
    secrets = ("metrics-key", "grafana-password", "database-password")
    made = {"./data", *(f"./secrets/{name}" for name in secrets)}
    named = {volume.split(":")[0] for one in SERVICES.values() for volume in one["volumes"]}
    named |= {secret["file"] for secret in COMPOSE["secrets"].values()}
    volumes = {name for name in named if not name.startswith(".")}
    assert volumes == COMPOSE["volumes"].keys()
    assert [name for name in named - volumes - made if not (DEPLOY / name).exists()] == []
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/secrets/", "/deploy/data/", "/deploy/.env"} <= set(ignored)
    for one in SERVICES.values():
        if "build" in one:
            assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
            assert f" AS {one['build']['target']}\n" in CONTAINERFILE


def test_compose_gives_away_nothing() -> None:
    for name, one in SERVICES.items():
        assert one["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in one["security_opt"]
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
        values = {key: value for key, value in one.get("environment", {}).items()}
        assert not [key for key in values if "PASSWORD" in key and not key.endswith("_FILE")]
    for name in ("serendip", "train", "trainer"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["tmpfs"] == ["/tmp"]


def test_the_trainer_runs_a_command_that_is_there_and_sees_what_trainings_see() -> None:
    trainer, train = SERVICES["trainer"], SERVICES["train"]
    shell, option, loop = trainer["entrypoint"]
    assert (shell, option) == ("sh", "-c")
    command = re.findall(r"serendip ([^;]+);", loop)[0].split()
    done = CliRunner().invoke(app, [command[0], "--help"])
    assert done.exit_code == 0
    assert command[1] in done.output
    assert subprocess.run(["sh", "-n", "-c", loop]).returncode == 0
    assert trainer["image"] == train["image"]
    assert set(trainer["volumes"]) == set(train["volumes"]) - {"backups:/backups"}
    assert trainer["environment"] == train["environment"]


def test_images_run_without_rights_on_locked_packages() -> None:
    stages = re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)[1:]
    last = {re.search(r" AS (\S+)", stage).group(1): stage for stage in stages}  # type: ignore[union-attr]
    for name in ("serve", "train"):
        assert re.findall(r"^USER (.*)", last[name], re.MULTILINE) == ["10001:10001"]
        assert "VOLUME /workspace" in last[name]
    assert last.keys() == {"base", "build", "build-train", "train", "serve"}
    installs = re.findall(r"uv pip install ([^\\\n]*)", CONTAINERFILE)
    assert len(installs) == 6
    for words in installs:
        locked = "-c locks/all.txt" in words or "--require-hashes -r locks/" in words
        assert locked or "--no-deps" in words or words == "${TORCH} "
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE):
        for name in words.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in (ROOT / ".containerignore").read_text().splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    unit = tmp_path / "serendip.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "serve --port 8080" in UNIT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_the_block_for_postgresql_keeps_what_is_there(tmp_path: Path) -> None:
    """Run twice beside an ``.env``: no line and no password is lost, and others read neither."""
    page = (ROOT / "docs" / "guide" / "containers.md").read_text()
    block = next(one for one in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "END" in one)
    script = block.partition("docker compose")[0]
    (tmp_path / ".env").write_text("ORDER=1\n")
    passwords = []
    for _ in range(2):
        subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, timeout=30)
        passwords.append((tmp_path / "secrets" / "database-password").read_text().strip())
    assert passwords[0] == passwords[1] != ""
    address = f"postgresql+psycopg://serendip:{passwords[0]}@postgres/serendip"
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines == ["ORDER=1", "EXTRAS=postgres", f"SERENDIP_STORE__URL={address}"]
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in (".env", "secrets")]
    assert modes == [0o600, 0o700]
