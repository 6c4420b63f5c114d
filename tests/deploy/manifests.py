"""The Helm chart's manifests, rendered and checked."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import kubernetes_validate
import yaml
from helm_python import Chart

from tests.deploy.alerts import DEPLOY

CHART = DEPLOY / "helm" / "gateway"
NAMESPACE = "calendars"
# Of operators that a cluster may have: no schema of Kubernetes knows them. To load a module takes seconds.
MODELS = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
}
EVERYTHING: dict[str, Any] = {
    "serviceMonitor": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "proxies": ["10.0.0.0/8"],
    "settings": {
        "limits.operations_per_minute": 200,
        "server.origins": ["https://calendar.example"],
        "retention.days": {"event": "365", "*": "3650"},
        "retention.changes": {},
    },
    "imagePullSecrets": [{"name": "registry"}],
    "networkPolicy": {
        "clients": [{"namespaceSelector": {}}],
        "operators": [{"podSelector": {"matchLabels": {"a": "b"}}}],
    },
    "nodeSelector": {"disk": "ssd"},
    "backup": {"enabled": True, "claim": "backups", "keep": 30},
    "tolerations": [{"key": "k", "operator": "Exists"}],
}
VARIANTS = {
    "as it is": {},
    "hpa": {**EVERYTHING, "autoscaling": {"kind": "hpa"}},
    "keda": {**EVERYTHING, "autoscaling": {"kind": "keda"}, "jwksConfigMap": "keys"},
    "without PostgreSQL": {"postgres": {"dsn": ""}, "networkPolicy": {"enabled": False}},
    "Redis Cluster": {"redis": {"clusterUrl": "redis://cluster:6379"}},
    "without passwords": {"redis": {"passwordKey": ""}, "postgres": {"passwordKey": ""}},
}


def rendered(values: dict[str, Any], release: str = "demo") -> list[dict[str, Any]]:
    with Chart.load(CHART) as chart:
        texts = chart.render(values=values, name=release, namespace=NAMESPACE)
    return [found for text in texts.values() for found in yaml.safe_load_all(text) if found]


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [one] = [item for item in found if item["kind"] == kind]
    return one


def settings_of(workload: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """The ConfigMap that the pods of a Deployment or a Job read."""
    volumes = pod_of(workload)["volumes"]
    [name] = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "settings"]
    [one] = [item for item in found if item["kind"] == "ConfigMap" and item["metadata"]["name"] == name]
    return one


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """What its pods are to be."""
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def check(item: dict[str, Any]) -> None:
    """Raises ValidationError where a cluster wouldn't take it, or would overlook a field."""
    module = MODELS.get(item["kind"])
    if module is None:
        kubernetes_validate.validate(item, "1.37", strict=True)
    else:
        model = getattr(import_module(module), item["kind"])
        model.model_validate(item, strict=True, extra="forbid")
