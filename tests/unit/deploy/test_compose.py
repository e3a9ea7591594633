"""The files that start a server with its monitoring. Nothing here runs a container: what can be judged without is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.health import health
from deploy.grafana.page import DOCS, as_json
from tests.support.dashboards.board import DASHBOARDS

DEPLOY = Path(__file__).parents[3] / "deploy"
ROOT = DEPLOY.parent
# Keys of the Compose Specification that are used here; one that is misspelt is none of them.
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "expose", "healthcheck", "image", "logging"),
    *("ports", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes"),
}
HEALTH_KEYS = {"test", "interval", "timeout", "start_period", "retries"}
DURATION = r"(\d+h)?(\d+m)?(\d+s)?"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


COMPOSE = read(DEPLOY / "compose.yaml")
EACH = [pytest.param(service, id=name) for name, service in COMPOSE["services"].items()]


def mounts(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Source, target, and how: `ro`, or nothing."""
    return [(*volume.split(":"), "")[:3] for volume in service.get("volumes", [])]


def test_the_file_has_the_words_of_the_specification() -> None:
    """At its top, and in each service."""
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes"}
    assert set(COMPOSE["services"]) == {"server", "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("service", EACH)
def test_a_service_is_written_as_the_specification_says(service: dict[str, Any]) -> None:
    """Known keys, texts where texts belong, a health check with times."""
    assert set(service) <= SERVICE_KEYS
    for key in ("command", "ports", "expose", "volumes", "tmpfs", "cap_drop", "security_opt"):
        assert all(isinstance(word, str) for word in service.get(key, [])), key
    assert all(isinstance(value, str) for value in service.get("environment", {}).values())
    check = service["healthcheck"]
    assert set(check) <= HEALTH_KEYS
    assert check["test"][0] == "CMD"
    for key in HEALTH_KEYS - {"test", "retries"}:
        assert re.fullmatch(DURATION, check[key]), key
    for other, how in service.get("depends_on", {}).items():
        assert "healthcheck" in COMPOSE["services"][other]
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", EACH)
def test_a_service_reaches_nobody_but_this_machine_and_changes_nothing(service: dict[str, Any]) -> None:
    """Ports on loopback, a version of its own, no rights, and read-only files."""
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
    assert re.fullmatch(r"[\w./-]+:(v?\d+\.\d+\.\d+|local)", service["image"])
    assert (service["image"].endswith(":local")) == ("build" in service)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    for source, _, how in mounts(service):
        assert how == ("ro" if source.startswith(".") else ""), source


@pytest.mark.parametrize("service", EACH)
def test_what_is_mounted_is_there(service: dict[str, Any]) -> None:
    """Of this tree, or a volume that the file declares. Docker would make an empty folder of what is not."""
    for source, _, _ in mounts(service):
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), source
    if "build" in service:
        build = service["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    """Where the files of provisioning say, which the file for compose mounts; a link to a page leads to a page."""
    grafana = COMPOSE["services"]["grafana"]
    inside = {target: source for source, target, _ in mounts(grafana)}
    (provider,) = read(DEPLOY / "grafana/provisioning/dashboards/reidstream.yaml")["providers"]
    assert (DEPLOY / inside[provider["options"]["path"]]).resolve() == DASHBOARDS.resolve()
    assert (DEPLOY / inside["/etc/grafana/provisioning"]) == DEPLOY / "grafana/provisioning"
    (source,) = read(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert inside[f"/usr/share/grafana{DOCS}"] == "../docs"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARDS / Path(home).name).read_text(encoding="utf-8") == as_json(health())


def test_prometheus_finds_its_rules_and_every_service() -> None:
    """What its configuration names is mounted beside it; targets are services of the file, at ports that they have."""
    inside = {target: DEPLOY / source for source, target, _ in mounts(COMPOSE["services"]["prometheus"])}
    config = read(inside["/etc/prometheus/prometheus.yml"])
    assert {f"/etc/prometheus/{name}" for name in config["rule_files"]} <= set(inside)
    discoveries = [config["alerting"]["alertmanagers"][0], config["scrape_configs"][0]]
    for (discovery,) in (found["file_sd_configs"] for found in discoveries):
        for name in discovery["files"]:
            folder, file = name.split("/")
            for group in read(inside[f"/etc/prometheus/{folder}"] / file):
                for target in group["targets"]:
                    service, port = target.split(":")
                    found = COMPOSE["services"][service]
                    assert port in [*found.get("expose", []), *(p.split(":")[-1] for p in found["ports"])]


def test_nobody_has_a_password() -> None:
    """None is written down, and none that everybody knows is left."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"PASSWORD|SECRET|TOKEN", text)
    environment = COMPOSE["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_the_image_is_made_of_what_is_in_the_tree() -> None:
    """What it copies is there and is not ignored; it runs as nobody in particular."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert copied == ["constraints.txt", "proto", "engines", "server"]
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}\n" in kept
    assert "USER 10001:10001" in lines
    assert [line for line in lines if line.startswith("FROM ")] == [
        "FROM python:3.11-slim AS build",
        "FROM python:3.11-slim",
    ]
