"""The recipes for containers: linted, rendered by Helm itself, held against the schemas of who takes them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import HelmError, lint
from pydantic import ValidationError

from gateway.config.serving import ServerSettings
from tests.cli.commands import ROOT, gateway
from tests.deploy.alerts import parsed, selectors
from tests.deploy.manifests import (
    CHART,
    DEPLOY,
    EVERYTHING,
    MODELS,
    NAMESPACE,
    VARIANTS,
    check,
    of_kind,
    pod_of,
    rendered,
    settings_of,
)


def hooks_of(item: dict[str, Any]) -> set[str]:
    """When Helm makes it by itself; nothing where it is a part of the release."""
    return set(item["metadata"].get("annotations", {}).get("helm.sh/hook", "").split(",")) - {""}


def test_the_image_is_linted():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_a_user_without_rights_and_knows_its_health():
    text = (DEPLOY / "Dockerfile").read_text()
    last = text.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last and "HEALTHCHECK" in last and "gcc" not in last
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = {word for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line
              for word in line.split()[1:-1]}  # fmt: skip
    assert {f"!{name}" for name in copied} <= set(ignored)
    assert all((ROOT / name).exists() for name in copied)


def test_the_chart_is_linted():
    found = lint(CHART)
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_chart_renders_is_valid(variant):
    found = rendered(VARIANTS[variant])
    for item in found:
        check(item)
    kinds = {item["kind"] for item in found}
    assert {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget"} <= kinds
    wanted = {"hpa": {"HorizontalPodAutoscaler", "ServiceMonitor", "Ingress"}, "keda": set(MODELS)}
    assert wanted.get(variant, set()) <= kinds
    assert ("CronJob" in kinds) == ("backup" in VARIANTS[variant])
    assert ("Job" in kinds) == (variant != "without PostgreSQL")
    assert ("NetworkPolicy" in kinds) == (variant != "without PostgreSQL")


@pytest.mark.parametrize(
    ("kind", "place", "field", "value"),
    [
        ("ScaledObject", (), "cooldown", 900),
        ("ScaledObject", (), "maxReplicaCount", "6"),
        ("ScaledObject", ("triggers", 0, "metadata"), "threshold", 1),
        ("ScaledObject", ("advanced", "horizontalPodAutoscalerConfig", "behavior"), "scaleDowns", {}),
        ("ServiceMonitor", (), "selectors", {}),
        ("ServiceMonitor", ("endpoints", 0), "interval", "15 seconds"),
        ("ServiceMonitor", ("endpoints", 0), "paths", "/metrics"),
        ("PodDisruptionBudget", (), "maxUnavailible", 1),
    ],
)
def test_a_wrong_field_is_found(kind, place, field, value):
    item = of_kind(rendered(VARIANTS["keda"]), kind)
    check(item)
    part = item["spec"]
    for name in place:
        part = part[name]
    part[field] = value
    with pytest.raises((ValidationError, kubernetes_validate.ValidationError), match=field):
        check(item)


def test_it_scales_on_the_pods_of_its_own_release():
    found = rendered(VARIANTS["keda"])
    [trigger] = of_kind(found, "ScaledObject")["spec"]["triggers"]
    asked = list(selectors(parsed(trigger["metadata"]["query"])))
    assert {selector.name for selector in asked} == {"gateway_connections_left"}
    for selector in asked:
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert labels.keys() == {"namespace", "pod"}
        assert labels["namespace"] == NAMESPACE
        deployed = of_kind(found, "Deployment")["metadata"]["name"]
        assert re.fullmatch(labels["pod"], f"{deployed}-6d4cf56db6-x7k2p"), "as Kubernetes names its pods"
        assert not re.fullmatch(labels["pod"], f"{deployed}-eu-6d4cf56db6-x7k2p"), "another release's"


def test_a_prometheus_that_knows_nothing_takes_no_pods_away():
    """KEDA takes an empty answer for 0 unless it is told otherwise."""
    [trigger] = of_kind(rendered(VARIANTS["keda"]), "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"


@pytest.mark.parametrize(("kind", "replicas"), [("none", 5), ("hpa", 3), ("keda", 3)])
def test_a_release_that_begins_to_scale_keeps_its_pods(kind, replicas):
    """Without a number in an upgrade one of them would stay. Here no cluster says how many there are."""
    values = {"replicas": 5, "autoscaling": {"kind": kind, "minReplicas": 3}}
    assert of_kind(rendered(values), "Deployment")["spec"]["replicas"] == replicas


def test_the_operators_prometheus_finds_what_to_scrape_by_its_labels():
    found = rendered({"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    monitor = of_kind(found, "ServiceMonitor")
    check(monitor)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_to_restore_needs_no_memory_for_the_backup():
    """/tmp is memory, and counts against the limit of the pod."""
    pod = pod_of(of_kind(rendered(VARIANTS["hpa"]), "CronJob"))
    [container] = pod["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    [mounted] = [
        mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == given["TMPDIR"]
    ]
    assert {"name": mounted, "emptyDir": {}} in pod["volumes"]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_no_secret_is_asked_for_where_none_of_its_keys_is_used(kind):
    values = {**VARIANTS["without passwords"], "jwksConfigMap": "keys"}
    for used, wanted in (values, False), (VARIANTS["without passwords"], True), (VARIANTS["keda"], True):
        pod = pod_of(of_kind(rendered(used), kind))
        named = [volume["name"] for volume in pod["volumes"]]
        [container] = pod["containers"]
        assert ("secret" in named) == wanted
        assert ("secret" in [mount["name"] for mount in container["volumeMounts"]]) == wanted


def test_what_the_operator_scrapes_is_of_the_job_that_the_alerts_ask_for():
    jobs = set(re.findall(r'job="(\w+)"', (DEPLOY / "alerts.yml").read_text()))
    [endpoint] = of_kind(rendered(VARIANTS["keda"]), "ServiceMonitor")["spec"]["endpoints"]
    assert {rule["targetLabel"]: {rule["replacement"]} for rule in endpoint["relabelings"]} == {"job": jobs}


def test_a_rollback_brings_the_settings_back_and_a_migration_that_fails_leaves_them():
    found = rendered(VARIANTS["as it is"])
    deployment, job = of_kind(found, "Deployment"), of_kind(found, "Job")
    served, migrated = settings_of(deployment, found), settings_of(job, found)
    assert hooks_of(served) == set(), "Helm makes no hook anew at a rollback, and makes it before a migration"
    assert hooks_of(migrated) == hooks_of(job) == {"pre-install", "pre-upgrade"}
    assert int(migrated["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0, "the Job waits for it"
    assert served["data"] == migrated["data"]


@pytest.mark.parametrize("kind", ["Deployment", "Job", "CronJob"])
def test_services_of_the_namespace_set_nothing(kind):
    """A Service `gateway-redis` would be told to pods as GATEWAY_REDIS_SERVICE_HOST, which is no setting."""
    assert pod_of(of_kind(rendered(VARIANTS["hpa"]), kind))["enableServiceLinks"] is False


@pytest.mark.parametrize("kind", ["Deployment", "Job", "CronJob"])
def test_every_pod_may_fetch_the_image_and_runs_where_it_may(kind):
    """The migration before an install had no secret for the registry, and waited for its image."""
    pod = pod_of(of_kind(rendered(VARIANTS["hpa"]), kind))
    for name in ("imagePullSecrets", "nodeSelector", "tolerations"):
        assert pod[name] == EVERYTHING[name]


def test_a_server_without_a_password_needs_no_key_in_the_secret():
    """An empty one is refused: a Redis without a password couldn't be used."""
    for variant, files in ("as it is", {"redis-password", "postgres-password"}), ("without passwords", set()):
        found = rendered(VARIANTS[variant])
        settings = tomllib.loads(settings_of(of_kind(found, "Deployment"), found)["data"]["gateway.toml"])
        named = {settings[section].get("password_file") for section in ("redis", "postgres")} - {None}
        assert named == {f"/run/secrets/gateway/{name}" for name in files}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_gateway_takes_the_settings_that_it_renders(variant, tmp_path):
    found, clustered = rendered(VARIANTS[variant]), variant == "Redis Cluster"
    text = settings_of(of_kind(found, "Deployment"), found)["data"]["gateway.toml"]
    assert tomllib.loads(text)["redis"].get("urls") == (None if clustered else ["redis://redis:6379"])
    (tmp_path / "gateway.toml").write_text(text)
    shown = await gateway("config", "--config", str(tmp_path / "gateway.toml"))
    assert shown.status == 0, shown.err
    assert "server.workers = 2" in shown.out
    if "settings" in VARIANTS[variant]:
        assert "limits.operations_per_minute = 200" in shown.out
        assert 'server.proxies = ["10.0.0.0/8"]' in shown.out
        assert 'retention.days = {"*" = "3650", "event" = "365"}' in shown.out
    assert ('redis.cluster_url = "redis://cluster:6379"' in shown.out) == clustered


def test_pods_run_without_rights_and_leave_in_order():
    found = rendered({})
    deployment = of_kind(found, "Deployment")
    pod = pod_of(deployment)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    slept_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    settings = tomllib.loads(settings_of(deployment, found)["data"]["gateway.toml"])
    drained_s = settings["timeouts"]["drain_grace_s"]
    assert slept_s + drained_s + 5 < pod["terminationGracePeriodSeconds"]


def test_what_the_image_sets_can_be_set_by_the_chart():
    image = (DEPLOY / "Dockerfile").read_text()
    preset = re.findall(r"^    GATEWAY_([A-Z]+)_([A-Z_]+)=", image, re.MULTILINE)
    settings = {f"{section}.{name}".lower(): "::" for section, name in preset}
    assert "server.host" in settings
    found = rendered({"settings": settings})
    for kind in ("Deployment", "Job"):
        workload = of_kind(found, kind)
        check(workload)
        [container] = pod_of(workload)["containers"]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert given.items() >= {f"GATEWAY_{section}_{name}": "::" for section, name in preset}.items()


@pytest.mark.parametrize("wait_max_s", [None, 1, 7.5, 86_400])
def test_a_pod_that_waits_for_its_servers_ends_by_itself_before_kubernetes_ends_it(wait_max_s):
    """A node that waits for PostgreSQL and Redis ends by itself; why is in its log."""
    settings = {} if wait_max_s is None else {"server.start_wait_max_s": wait_max_s}
    [container] = pod_of(of_kind(rendered({"settings": settings}), "Deployment"))["containers"]
    probe = container["startupProbe"]
    longest_s = wait_max_s or ServerSettings().start_wait_max_s
    assert 60 <= probe["periodSeconds"] * probe["failureThreshold"] - longest_s < 65


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"redis": {"passwordKey": "../x"}},
        {"postgres": {"passwordKey": False}},
        {"redis": {"urls": []}},
        {"redis": {"clusterUrl": "cluster:6379"}},
        {"autoscaling": {"kind": "vpa"}},
        {"settings": {"x": 1}},
        {"backup": {"enabled": True}},
        {"backup": {"enabled": True, "claim": "backups", "keep": 0}},
        {"backup": {"enabled": True, "claim": "backups", "schedule": "3 o'clock"}},
        {"settings": {"retention.days": {"event": 365}}},
        {"settings": {"server.workers": 4}},
        {"settings": {"redis.urls": ["redis://elsewhere:6379"]}},
        {"settings": {"server.port": 9000}},
        {"drainGraceSeconds": 55},
        {"autoscaling": {"share": "much"}},
        {"serviceMonitor": {"labels": {"release": 1}}},
    ],
)
def test_values_that_are_wrong_are_refused(wrong):
    with pytest.raises(HelmError):
        rendered(wrong)


def test_compose_gives_each_node_a_place_for_its_data_that_its_user_can_write_to():
    """Docker makes a file system at each place that is named, and refuses what is no absolute path."""
    [user] = re.findall(r"^USER (\d+):\d+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("node1", "node2", "migrate"):
        places = dict(place.partition(":")[::2] for place in services[name]["tmpfs"])
        assert places == {"/tmp": "", "/data": f"mode=0700,uid={user},gid={user}"}


async def test_compose_gives_settings_that_the_gateway_takes(tmp_path):
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    node = compose["services"]["node1"]
    assert node["read_only"] and node["cap_drop"] == ["ALL"]
    variables = dict(node["environment"])
    for name in [name for name in variables if name.endswith("_FILE")]:
        (tmp_path / name).write_text("x" * 40)
        variables[name] = str(tmp_path / name)
    shown = await gateway("config", **variables)
    assert shown.status == 0, shown.err
    assert 'redis.durability = "fsync"' in shown.out
    assert 'server.proxies = ["172.30.0.10"]' in shown.out
    named = {name for service in compose["services"].values() for name in service.get("secrets", ())}
    assert named == set(compose["secrets"])


def test_compose_knows_its_nodes_and_its_balancer_by_addresses_that_stay():
    """Others of the network, such as who comes through the machine itself, are nobody's proxy."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services, [pool] = compose["services"], compose["networks"]["inside"]["ipam"]["config"]
    names = ("balancer", "node1", "node2")
    places = {name: services[name]["networks"]["inside"]["ipv4_address"] for name in names}
    balanced = services["balancer"]["environment"]
    assert [balanced[f"GATEWAY_NODE{number}"] for number in (1, 2)] == [
        f"{places[name]}:8787" for name in ("node1", "node2")
    ]
    assert json.loads(services["node1"]["environment"]["GATEWAY_SERVER_PROXIES"]) == [places["balancer"]]
    for place in map(ip_address, places.values()):
        assert place in ip_network(pool["subnet"]) and place not in ip_network(pool["ip_range"])


def test_one_service_of_compose_builds_the_image_and_no_other_looks_for_it_elsewhere():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    of_ours = {name: service for name, service in services.items() if service["image"] == "gateway"}
    assert set(of_ours) == {"node1", "node2", "migrate"}
    assert [name for name, service in of_ours.items() if "build" in service] == ["migrate"]
    assert {service["pull_policy"] for service in of_ours.values()} == {"never"}


def test_redis_of_compose_owns_its_data_by_being_its_user_and_not_by_rights():
    """The image gives /data to that user, and root without rights can't write there."""
    redis = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]
    assert (redis["user"], redis["cap_drop"]) == ("redis", ["ALL"])
    assert "cap_add" not in redis
