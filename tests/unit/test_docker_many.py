"""The examples for many servers in docker/, held against the code: what cannot be tried without a cluster is read.

That the proxies route as they should is tried in tests/integration/test_proxies.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.test_docker import ROOT, TOKEN, compose, filled_in, in_a_checkout, seconds, server_settings
from tolmach.processors.hosting.figures import HostFigures
from tolmach.web.app import make_app
from tolmach.web.metrics import Metrics, Places
from tolmach.web.service import Service
from tolmach.web.sessions.ids import ROUTED, new_id
from tolmach.web.settings import ServerSettings

KUBERNETES = ROOT / "docker" / "kubernetes"
PROXIES = ("many/nginx.conf", "many/Caddyfile", "kubernetes/nginx.conf")
GRACE_S = 10.0
"""How much longer than a server needs to stop it is left alive."""


def rule(name: str) -> re.Pattern[str]:
    """The regular expression by which a proxy finds the server, of nginx (PCRE) or Caddy (RE2)."""
    text = (ROOT / "docker" / name).read_text()
    (found,) = re.findall(r"^\s*\"?~(\[/=\].*?)\"? (?:\$tolmach_id;|\"\$\{1\}\")$", text, re.MULTILINE)
    return re.compile(found.replace("(?<", "(?P<"))


@pytest.mark.parametrize("name", PROXIES)
def test_the_rule_of_a_proxy_is_that_of_the_ids(name: str):
    found = rule(name)
    for server in ("a", "tolmach-12", "x" * 63):
        session = new_id(server)
        for target in (f"/api/sessions/{session}/dub.wav", f"/api/sessions?resume={session}", f"/whip/{session}"):
            assert found.search(target)[1] == re.search(ROUTED, target)[1] == server  # type: ignore[index]
    for target in ("/", "/static/app.js", f"/api/sessions/{new_id()}", "/v1/realtime/translations?model=echo"):
        assert not found.search(target)


def test_the_compose_file_starts_two_servers_that_the_proxy_knows(tmp_path: Path):
    services = compose("compose.many.yaml")["services"]
    known = (ROOT / "docker" / "many" / "nginx.conf").read_text()
    caddy = (ROOT / "docker" / "many" / "Caddyfile").read_text()
    ports: set[int] = set()
    for name in ("a", "b"):
        command = [filled_in(word, {}) for word in services[name]["command"]]
        told = server_settings(in_a_checkout(command, tmp_path), {"TOLMACH_TOKEN": TOKEN})
        assert told.server_id == name
        assert f"{name}       tolmach_{name};" in known
        assert f"server {name}:{told.port};" in known
        assert f"\t{name} {name}:{told.port}\n" in caddy
        assert told.udp_ports is not None
        low, high = told.udp_ports
        assert services[name]["ports"] == [f"${{TOLMACH_ADDRESS:-127.0.0.1}}:{low}-{high}:{low}-{high}/udp"]
        assert not ports & set(range(low, high + 1))
        ports |= set(range(low, high + 1))
        assert high - low + 1 >= 2 * told.max_sessions
        assert seconds(services[name]["stop_grace_period"]) > told.linger_s + told.drain_s + GRACE_S
    listens = re.findall(r"listen (\d+);", known)
    assert services["proxy"]["ports"] == [f"${{TOLMACH_ADDRESS:-127.0.0.1}}:8000:{listens[0]}"]


# Kubernetes -----------------------------------------------------------------------------------------------------------


def manifests() -> dict[tuple[str, str], Any]:
    """Everything in the folder, by kind and name."""
    found = {}
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in YAML(typ="safe").load_all(path.read_text()):
            found[document["kind"], document.get("metadata", {}).get("name", "")] = document
    return found


ALL = manifests()
POD = ALL["StatefulSet", "tolmach"]["spec"]["template"]["spec"]
(SERVER,) = POD["containers"]


def settings(tmp_path: Path) -> ServerSettings:
    """What a pod is told, as the server would read it."""
    given = {"POD_NAME": "tolmach-0", "NODE_ADDRESS": "192.0.2.1"}
    for entry in SERVER["env"]:
        assert "valueFrom" not in entry or entry["name"] in {*given, "TOLMACH_TOKEN"}
    arguments = [re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], word) for word in SERVER["args"]]
    return server_settings(in_a_checkout(arguments, tmp_path), {"TOLMACH_TOKEN": TOKEN})


def test_a_pod_starts_a_server_that_has_its_name(tmp_path: Path):
    told = settings(tmp_path)
    assert told.server_id == "tolmach-0"
    assert (ROOT / "config" / f"{told.default_graph}.yaml").is_file()
    assert told.advertised_addresses == ("192.0.2.1",)
    assert told.udp_ports is not None
    assert told.udp_ports[1] - told.udp_ports[0] + 1 >= 2 * told.max_sessions
    assert told.max_connections > 4 * told.max_sessions
    (port,) = SERVER["ports"]
    assert port["containerPort"] == told.port
    assert {entry["name"] for entry in SERVER["env"]} >= {"POD_NAME", "NODE_ADDRESS", "TOLMACH_TOKEN"}
    assert ALL["Secret", "tolmach"]["stringData"].keys() == {"token"}


def test_a_pod_has_the_time_that_its_sessions_need(tmp_path: Path):
    told = settings(tmp_path)
    command = SERVER["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    needed_s = float(command[1]) + told.linger_s + told.drain_s + GRACE_S
    assert POD["terminationGracePeriodSeconds"] >= needed_s


async def test_probes_ask_for_what_the_server_answers(tmp_path: Path):
    told = ServerSettings(graphs=ROOT / "config" / "echo.yaml")
    paths = {route.path for route in make_app(told, Service(told)).routes if hasattr(route, "path")}
    probes = [SERVER[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    endpoint = ALL["PodMonitor", "tolmach"]["spec"]["podMetricsEndpoints"][0]
    for asked in (*probes, endpoint):
        assert asked["path"] in paths
        assert asked["port"] in {port["name"] for port in SERVER["ports"]}
    caddy = (ROOT / "docker" / "many" / "Caddyfile").read_text()
    (uri,) = re.findall(r"health_uri (\S+)", caddy)
    assert uri == "/readyz?place=1"
    (proxy,) = ALL["Deployment", "tolmach-proxy"]["spec"]["template"]["spec"]["containers"]
    conf = (KUBERNETES / "nginx.conf").read_text()
    assert f"location = {proxy['readinessProbe']['httpGet']['path']} " in conf
    assert f"listen {proxy['ports'][0]['containerPort']};" in conf


def test_names_in_the_proxy_are_those_of_services_and_pods():
    namespace = ALL["Kustomization", ""]["namespace"]
    conf = (KUBERNETES / "nginx.conf").read_text()
    pods = ALL["StatefulSet", "tolmach"]
    labels = pods["spec"]["template"]["metadata"]["labels"]
    for name, ready_alone in ((pods["spec"]["serviceName"], False), ("tolmach-ready", True)):
        service = ALL["Service", name]["spec"]
        assert service["clusterIP"] == "None", "a name for each pod"
        assert service["selector"] == labels
        assert service.get("publishNotReadyAddresses", False) == (not ready_alone)
        assert f"{name}.{namespace}.svc.cluster.local;" in conf
    assert f'"~^(?<tolmach_pod>{pods["metadata"]["name"]}-[0-9]+)$" $tolmach_pod.{pods["spec"]["serviceName"]}.' in conf
    (port,) = {port["port"] for port in ALL["Service", "tolmach-ready"]["spec"]["ports"]}
    assert set(re.findall(r"proxy_pass http://\$tolmach_host:(\d+);", conf)) == {str(port)}


def test_an_autoscaler_asks_for_figures_that_there_are(tmp_path: Path):
    places = Places(8, 8, ready=True, draining=False)
    metrics = Metrics(tuple, hosts=lambda: [HostFigures("m")], places=lambda: places)
    text = metrics.render()[0].decode()
    spec = ALL["ScaledObject", "tolmach"]["spec"]
    kind, name = spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
    assert (kind, name) in ALL
    triggers = [trigger["metadata"] for trigger in spec["triggers"]]
    for trigger in triggers:
        for figure in re.findall(r"\btolmach_\w+", trigger["query"]):
            assert re.search(rf"^{figure}[ {{]", text, re.MULTILINE), figure
    assert 0 < float(triggers[0]["threshold"]) < settings(tmp_path).max_sessions, "places are left while one starts"


def test_pods_may_do_little():
    assert POD["securityContext"]["runAsUser"] == 10001
    assert SERVER["securityContext"]["readOnlyRootFilesystem"] is True
    assert SERVER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert SERVER["resources"]["limits"]["nvidia.com/gpu"] == 1
    mounted = {mount["name"] for mount in SERVER["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in ALL["StatefulSet", "tolmach"]["spec"]["volumeClaimTemplates"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]} | claims


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_puts_them_together():
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = list(YAML(typ="safe").load_all(done.stdout))
    kinds = {document["kind"] for document in found}
    assert kinds >= {"StatefulSet", "Deployment", "ScaledObject", "PodMonitor", "ConfigMap", "Namespace"}
    assert all(d["metadata"].get("namespace") == "tolmach" for d in found if d["kind"] != "Namespace")
