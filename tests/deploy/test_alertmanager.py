"""The example for Alertmanager, by amtool and a real one: who hears of what, and of causes alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.debian import program
from tests.deploy.alerts import DEPLOY, RULES
from tests.servers import ServerProcess, check_http, free_port
from tests.waiting import PATIENCE_S, until_equal

FILE = DEPLOY / "alertmanager.yml"
CONFIG = yaml.safe_load(FILE.read_text())
ALERTS = {rule["alert"]: rule for rule in RULES}
RECEIVERS = {"critical": "page", "warning": "ticket"}


def amtool(*words: str) -> subprocess.CompletedProcess[str]:
    command = [program("amtool", "prometheus-alertmanager"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def named(matchers: list[str]) -> set[str]:
    """The alerts that the matchers of an inhibition name."""
    [matcher] = matchers
    found = re.fullmatch(r'alertname=~?"([A-Za-z|]+)"', matcher)
    assert found, matcher
    return set(found[1].split("|"))


@contextmanager
def alertmanager(directory: Path) -> Iterator[str]:
    """A running one with the example; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program("prometheus-alertmanager", "prometheus-alertmanager"), f"--config.file={FILE}"]
    command += [f"--storage.path={directory}", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--cluster.listen-address="]
    server = ServerProcess(command, directory, port, partial(check_http, f"{url}/-/ready"))
    server.start()
    try:
        yield url
    finally:
        server.stop()


def test_amtool_finds_nothing_wrong_with_it() -> None:
    done = amtool("check-config", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONFIG['inhibit_rules'])} inhibit rules" in done.stdout


def test_each_severity_has_a_receiver_and_each_receiver_a_severity() -> None:
    assert {rule["labels"]["severity"] for rule in RULES} == RECEIVERS.keys()
    assert {receiver["name"] for receiver in CONFIG["receivers"]} == set(RECEIVERS.values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_goes_where_its_severity_says(rule: dict[str, Any]) -> None:
    labels = {"alertname": rule["alert"], **rule["labels"]}
    words = [f"{name}={value}" for name, value in labels.items()]
    done = amtool("config", "routes", "test", f"--config.file={FILE}", *words)
    assert (done.returncode, done.stdout.strip()) == (0, RECEIVERS[rule["labels"]["severity"]])


@pytest.mark.parametrize("rule", CONFIG["inhibit_rules"])
def test_an_inhibition_names_alerts_that_exist_and_have_the_label(rule: dict[str, Any]) -> None:
    causes, symptoms = named(rule["source_matchers"]), named(rule["target_matchers"])
    assert causes | symptoms <= ALERTS.keys()
    assert not causes & symptoms
    [label] = rule["equal"]
    for name in causes | symptoms:
        kept = re.findall(r"\b(?:sum|max|min|count)(?: by \(([^)]*)\))?", ALERTS[name]["expr"])
        assert all(label in labels for labels in kept), f"{name} has no {label}"
        assert kept or label == "instance"


def test_why_a_redis_is_full_is_told_beside_it() -> None:
    """PostgreSQL is away, and Redis fills with what waits for it."""
    untold = [
        named(rule["target_matchers"])
        for rule in CONFIG["inhibit_rules"]
        if "LogUnwritable" in named(rule["source_matchers"])
    ]
    assert untold and not {"ArchiveLagging", "ArchiveBlocked"} & set().union(*untold)


async def test_what_follows_from_a_cause_is_not_told_beside_it_and_is_told_of_other_nodes(
    tmp_path: Path,
) -> None:
    told, untold, posted = set(), set(), []

    def post(name: str, label: str, value: str) -> tuple[str, str]:
        labels = {"alertname": name, label: value, **ALERTS[name]["labels"]}
        posted.append({"labels": labels})
        return name, value

    for number, rule in enumerate(CONFIG["inhibit_rules"]):
        [label] = rule["equal"]
        for cause in named(rule["source_matchers"]):
            place = f"{cause}-{number}"
            told.add(post(cause, label, place))
            for symptom in named(rule["target_matchers"]):
                untold.add(post(symptom, label, place))
                told.add(post(symptom, label, f"beside {place}"))
    with alertmanager(tmp_path) as url:
        async with httpx.AsyncClient(base_url=f"{url}/api/v2", timeout=PATIENCE_S) as client:
            (await client.post("/alerts", json=posted)).raise_for_status()
            await until_equal(partial(_inhibited, client), (untold, told), every_s=0.2)


async def _inhibited(client: httpx.AsyncClient) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The alerts that aren't told, and the others."""
    found: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for alert in (await client.get("/alerts")).json():
        labels = alert["labels"]
        place = labels.get("instance") or labels["server"]
        found[bool(alert["status"]["inhibitedBy"])].add((labels["alertname"], place))
    return found[True], found[False]
