"""What the pages on deploying, containers and upgrades have an operator type, typed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from helm_python import parse_set_string

from tests.cli.commands import ROOT, served
from tests.debian import program
from tests.deploy.manifests import check, of_kind, pod_of, rendered, settings_of
from tests.docs.markdown import blocks, lines
from tests.docs.programs import after, ann_on, programs, succeed
from tests.monitoring.prometheus import RULES, hurried
from tests.monitoring.rollout import watched
from tests.servers import redis_server, shared_postgres

HOW_TO = ROOT / "docs" / "how-to"
DEPLOY, CONTAINERS, UPGRADE = (HOW_TO / f"{name}.md" for name in ("deploy", "containers", "upgrade"))


@contextmanager
def cluster() -> Iterator[Any]:
    """Two Redis servers and an archive; a function that moves a command there from the page's addresses."""
    with redis_server() as one, redis_server() as two, shared_postgres().database() as dsn:

        def moved(command: str) -> str:
            command = command.replace("redis://10.0.0.5", one.url).replace("redis://10.0.0.7", two.url)
            return command.replace("postgresql://gateway@10.0.0.6/gateway", f"'{dsn}'")

        yield moved


async def test_one_node_is_started_and_the_machine_asked(tmp_path: Path) -> None:
    programs(tmp_path)
    data = tmp_path / "data"
    start, export, doctor = (
        line.replace("/var/lib/gateway", str(data)) for line in lines(DEPLOY, "One node, nothing else")
    )
    async with served(tmp_path, *after(start, "gateway", "serve")) as node:
        assert (data / "jwt-secret").exists()
        sessions = f"gateway sessions --admin {node.admin}"
        printed = await succeed(tmp_path, export, f"{doctor} --json | grep -q {data}", sessions)
        assert "NOT_AUTHORISED" not in printed


async def test_flags_let_in_and_stop(tmp_path: Path) -> None:
    programs(tmp_path)
    typed = [line for line in lines(DEPLOY, "Who may connect") if line.startswith("gateway flags")]
    async with served(tmp_path / "data") as node, ann_on(node) as ann:
        variables = {
            "GATEWAY_SERVER_ADMIN_PORT": node.admin.rpartition(":")[2],
            "GATEWAY_SERVER_DATA_DIR": str(node.data),
        }
        printed = await succeed(
            tmp_path, *typed, "gateway flags kill_switch=off", "gateway flags", **variables
        )
        assert await ann.closed() == 4403
        last = printed[printed.rindex("rollout_percentage") :]
        assert re.match(r"rollout_percentage = 25", last), last
        assert "beta_testers" in last and "realtime_v2" in last


async def test_a_rollout_takes_the_steps_of_the_page(tmp_path: Path) -> None:
    programs(tmp_path)
    [line] = [line for line in lines(DEPLOY, "Who may connect") if line.startswith("gateway rollout")]
    async with watched(tmp_path / "data", hurried(RULES.read_text())) as found:
        line = line.replace("http://prometheus:9090", found.prometheus.url).replace("3600", "1 --look 0.2")
        printed = await succeed(
            tmp_path, f"{line} --admin {found.node.admin}", GATEWAY_SERVER_DATA_DIR=str(found.node.data)
        )
        steps = [line.split(" %")[0] for line in printed.splitlines()[:-1]]
        assert steps == ["5", "25", "50", "100", "done: 100"]


async def test_proxies_are_named(tmp_path: Path) -> None:
    for line in lines(DEPLOY, "Behind load balancers"):
        async with served(tmp_path / "data", *after(line, "gateway", "serve")) as node:
            assert await node.stop() == 0


async def test_a_cluster_is_started_asked_and_given_another_redis(tmp_path: Path) -> None:
    programs(tmp_path)
    with cluster() as moved:
        *secret, migrate, start = map(moved, lines(DEPLOY, "Several workers, several nodes"))
        assert "up to date" in await succeed(tmp_path, *secret, migrate)
        [name] = re.findall(r"^export GATEWAY_AUTH_SECRET_FILE=(\S+)", secret[-1], re.MULTILINE)
        named = {"GATEWAY_AUTH_SECRET_FILE": str(tmp_path / name)}
        async with served(tmp_path / "data", *after(start, "gateway", "serve"), **named) as node:
            [ask] = lines(UPGRADE, "Several nodes")
            ask = ask.replace("http://10.0.0.7:8788", node.admin)
            [rebalance] = map(moved, lines(UPGRADE, "More or fewer Redis servers"))
            edit = """gateway edit --create event:1 '{"op": "add", "path": "/title", "value": "x"}'"""
            edit = " ".join((edit, *node.reach()))
            printed = await succeed(tmp_path, ask, rebalance, edit, **named)
            assert '"status":"ready"' in printed.replace(" ", "")
            assert "128 partitions moved" in printed and "event:1 is at version 1" in printed


async def test_alerts_are_given_the_address_of_the_site(tmp_path: Path) -> None:
    [line] = lines(DEPLOY, "Watch it")
    await succeed(tmp_path, line.replace("deploy/alerts.yml", quote(str(RULES))))
    given, made = (yaml.safe_load(path.read_text()) for path in (RULES, tmp_path / "alerts.yml"))
    paths, urls = (
        [rule["annotations"].pop("runbook_url") for group in found["groups"] for rule in group["rules"]]
        for found in (given, made)
    )
    assert urls == [f"https://docs.example/runbooks/{Path(path).stem}.html" for path in paths]
    assert made == given


# ------------------------------------------------------------------------------------- containers


def test_what_docker_is_told_is_what_the_image_has() -> None:
    build, run, *commands = (after(line, "docker") for line in lines(CONTAINERS, "An image"))
    assert build[:2] == ["build", "-f"] and build[3:] == ["-t", "gateway", "."]
    image = (ROOT / build[2]).read_text()
    assert run[0] == "run" and run[-1] == "gateway"
    given = {name: value for name, value in pairwise(run) if name.startswith("-")}
    assert f"VOLUME {given['-v'].partition(':')[2]}\n" in image
    [exposed] = re.findall(r"^EXPOSE (.*)$", image, re.MULTILINE)
    assert given["-p"].partition(":")[2] in exposed.split()
    assert f"{given['--tmpfs']} has to be a tmpfs" in image
    assert commands and all(words[:3] == ["exec", given["--name"], "gateway"] for words in commands)


def test_commands_are_run_in_a_node_of_the_compose_file() -> None:
    typed = [line for line in lines(CONTAINERS, "Compose") if line.startswith("docker")]
    up, *commands = (after(line, "docker", "compose", "-f") for line in typed)
    services = yaml.safe_load((ROOT / up[0]).read_text())["services"]
    assert up[1] == "up" and commands
    for file, word, node, command, *_ in commands:
        assert (file, word, command) == (up[0], "exec", "gateway") and services[node]["image"] == "gateway"


async def test_the_secrets_of_the_compose_file_are_made_and_compose_understands_it(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    shutil.copy(ROOT / "deploy" / "compose.yaml", folder)
    made = [line for line in lines(CONTAINERS, "Compose") if not line.startswith("docker")]
    compose = program("docker-compose", "docker-compose")
    show = f"{compose} -f deploy/compose.yaml config --format json > shown.json"
    printed = await succeed(tmp_path, *made, show)
    assert "level=" not in printed, printed
    shown = json.loads((tmp_path / "shown.json").read_text())
    for secret in shown["secrets"].values():
        assert len((folder / "secrets" / Path(secret["file"]).name).read_text().strip()) >= 32
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert {service["image"] for service in shown["services"].values()} >= {"gateway"}


async def test_the_secret_of_the_chart_is_made(tmp_path: Path) -> None:
    create, _ = lines(CONTAINERS, "Kubernetes")[2:]
    after(create, "kubectl", "create", "secret", "generic", "gateway")
    for name in re.findall(r"--from-file=(\S+)", create):
        (tmp_path / name).write_text("x" * 40)
    kubectl = program("kubectl", "kubectl")
    typed = create.replace("kubectl", kubectl, 1)
    await succeed(tmp_path, f"{typed} --dry-run=client -o yaml > secret.yaml")
    secret = yaml.safe_load((tmp_path / "secret.yaml").read_text())
    secret["metadata"].pop("creationTimestamp", None)  # null, which the server fills in
    check(secret)
    pod = pod_of(of_kind(rendered({}), "Deployment"))
    [mounted] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert mounted["secretName"] == secret["metadata"]["name"]
    found = rendered({})
    settings = settings_of(of_kind(found, "Deployment"), found)["data"]["gateway.toml"]
    read = re.findall(r'_file = "/run/secrets/gateway/([^"]+)"', settings)
    assert read and set(read) == set(secret["data"])


def test_the_chart_is_rendered_with_the_values_of_the_page() -> None:
    tag, push, _, install = lines(CONTAINERS, "Kubernetes")
    [pushed] = after(push, "docker", "push")
    assert after(tag, "docker", "tag", "gateway") == [pushed]
    name, chart, *words = after(install, "helm", "install")
    assert (name, chart) == ("gateway", "deploy/helm/gateway")
    values: dict[str, Any] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        assert option == "--set"
        for key, part in parse_set_string(value).items():
            values[key] = values.get(key, {}) | part if isinstance(part, dict) else part
    found = rendered(values)
    for item in found:
        check(item)
    assert of_kind(found, "Deployment")["spec"]["replicas"] == 3
    assert {
        container["image"]
        for item in found
        if item["kind"] in ("Deployment", "Job")
        for container in pod_of(item)["containers"]
    } == {pushed}
    settings = settings_of(of_kind(found, "Deployment"), found)["data"]["gateway.toml"]
    assert 'urls = ["redis://redis:6379"]' in settings


def test_an_upgrade_replaces_what_the_page_starts() -> None:
    typed = lines(CONTAINERS, "Upgrade")
    docker, compose, charts = typed[:3], typed[3:-2], typed[-2:]
    _, run, *_ = lines(CONTAINERS, "An image")
    assert docker == ["docker stop gateway", "docker rm gateway", run]
    up, *_ = (line for line in lines(CONTAINERS, "Compose") if line.startswith("docker"))
    file = after(up, "docker", "compose", "-f")[0]
    services = yaml.safe_load((ROOT / file).read_text())["services"]
    words = [after(line, "docker", "compose", "-f", file) for line in compose]
    assert [word[0] for word in words] == ["build", "run", "up", "exec", "up"]
    ours = [name for name, service in services.items() if service["image"] == "gateway"]
    assert sorted([words[1][-1], words[2][-1], words[4][-1]]) == sorted(ours)
    for line in charts:
        *_, value = after(
            line, "helm", "upgrade", "gateway", "deploy/helm/gateway", "--reset-then-reuse-values"
        )
        for item in rendered(parse_set_string(value)):
            check(item)


def test_every_block_of_these_pages_is_typed_in_this_folder_or_where_wheels_are_built() -> None:
    here = {
        DEPLOY: ("One node, nothing else", "Who may connect", "Behind load balancers",
                 "Several workers, several nodes", "Watch it"),
        CONTAINERS: ("An image", "Compose", "Kubernetes", "Upgrade"),
        UPGRADE: ("Install it beside the old one", "The archive", "Change over", "Several nodes", "Go back",
                  "More or fewer Redis servers"),
    }  # fmt: skip
    for page, headings in here.items():
        found = [block for heading in headings for block in blocks(page, heading) if block.language == "sh"]
        assert found == [block for block in blocks(page) if block.language == "sh"]
