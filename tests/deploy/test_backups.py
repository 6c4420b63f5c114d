"""Backups by the clock: what systemd's timer and Kubernetes' CronJob start is run, and can be restored."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from tests.cli.commands import done, gateway, served
from tests.deploy.manifests import VARIANTS, check, of_kind, rendered, settings_of
from tests.deploy.units import DEPLOY, SETTINGS, UNIT, complaints, systemd_analyze
from tests.servers import redis_server

SERVICE, TIMER = DEPLOY / "gateway-backup.service", DEPLOY / "gateway-backup.timer"
# Of a service that listens, or is there all the time.
NOT_OF_A_BACKUP = {"AmbientCapabilities", "CapabilityBoundingSet", "StateDirectory"}
EDIT = '{"op": "add", "path": "/title", "value": "Monday"}'


def section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return dict(parser[name])


def moved(words: list[str], places: dict[str, Path]) -> list[str]:
    """A command's words, with this test's places for those of a machine."""
    return [str(places.get(word, word)) for word in words]


async def restored(folder: Path, data: Path) -> None:
    """The only backup of a folder is restored, and has the edit."""
    [name] = os.listdir(folder)
    said = await done("restore", str(folder / name), "--data", str(data))
    assert "1 change of 1 resource restored" in said


async def test_the_service_makes_a_backup_that_can_be_restored(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    backups.mkdir()
    program, *words = section(SERVICE, "Service")["ExecStart"].split()
    assert program == section(UNIT, "Service")["ExecStart"].split()[0]
    places = {
        "/var/lib/gateway-backups": backups,
        "/var/lib/gateway": data,
        "/etc/gateway/gateway.toml": SETTINGS,
    }
    assert places.keys() <= set(words)
    async with served(data) as node:
        await done("edit", "event:1", "--create", EDIT, *node.reach())
        await done(*moved(words, places))
    await restored(backups, tmp_path / "restored")


async def test_a_service_that_fails_ends_with_a_status_and_the_way_out(tmp_path: Path) -> None:
    """Which is what systemd shows as failed."""
    service = section(SERVICE, "Service")
    assert service["Type"] == "oneshot" and not service["ExecStart"].startswith("-")
    _, *words = service["ExecStart"].split()
    places = {"/etc/gateway/gateway.toml": SETTINGS, "/var/lib/gateway": tmp_path / "data"}
    failed = await gateway(*moved(words, {**places, "/var/lib/gateway-backups": tmp_path}))
    assert failed.status == 2 and "there is no log in" in failed.err
    assert not os.listdir(tmp_path)


def test_the_service_may_do_no_more_than_the_gateway_and_writes_where_it_has_to() -> None:
    service, gateways = section(SERVICE, "Service"), section(UNIT, "Service")
    sandbox = ("User", "Group", "State", "Capab", "Ambient", "NoNew", "Pr", "Restrict", "Lock")
    hardened = {name for name in gateways if name.startswith(sandbox)} - NOT_OF_A_BACKUP
    assert len(hardened) > 8
    assert {name: service.get(name) for name in hardened} == {name: gateways[name] for name in hardened}
    assert service["CapabilityBoundingSet"] == ""
    assert service["StateDirectory"].split() == [gateways["StateDirectory"], "gateway-backups"]


def test_the_timer_starts_the_service_each_night_and_makes_up_for_one_that_was_missed() -> None:
    assert TIMER.stem == SERVICE.stem, "a timer starts the service of its name"
    timer = section(TIMER, "Timer")
    assert timer["Persistent"] == "true"
    assert section(TIMER, "Install")["WantedBy"] == "timers.target"


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    assert not complaints(SERVICE, TIMER, directory=tmp_path)
    assert systemd_analyze("calendar", section(TIMER, "Timer")["OnCalendar"]).returncode == 0


async def test_the_cron_job_makes_a_backup_that_can_be_restored(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    found = rendered(VARIANTS["hpa"])
    job = of_kind(found, "CronJob")
    check(job)
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert "/backups" in mounts and container["args"][1:4] == ["/backups", "--keep", "30"]
    text = settings_of(job, found)["data"]["gateway.toml"]
    lone = [line for line in text.splitlines() if not line.startswith(("postgres.", "redis.", "retention."))]
    with redis_server() as server:
        file = tmp_path / "gateway.toml"
        file.write_text("\n".join([*lone, f'redis.urls = ["{server.url}"]\n']))
        words = moved(container["args"], {"/backups": backups, "/etc/gateway/gateway.toml": file})
        async with served(tmp_path / "data", "--redis", server.url) as node:
            await done("edit", "event:1", "--create", EDIT, *node.reach())
            await done(*words)
    await restored(backups, tmp_path / "restored")


def test_its_pod_has_no_more_rights_than_a_nodes_and_is_not_taken_for_one() -> None:
    found = rendered(VARIANTS["hpa"])
    job = of_kind(found, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    node = of_kind(found, "Deployment")["spec"]["template"]
    assert job["spec"]["securityContext"] == node["spec"]["securityContext"]
    assert job["spec"]["containers"][0]["securityContext"] == node["spec"]["containers"][0]["securityContext"]
    [service] = {str(item["spec"]["selector"]) for item in found if item["kind"] == "Service"}
    assert str(job["metadata"]["labels"]) != service
    [volume] = [volume for volume in job["spec"]["volumes"] if volume["name"] == "backups"]
    assert volume["persistentVolumeClaim"] == {"claimName": "backups"}


def test_its_name_fits_whatever_the_release_is_called() -> None:
    """Kubernetes adds 11 characters for a Job: 52 are left of a label's 63. A release may have 53."""
    for release in ("r" * 53, f"{'r' * 44}-{'s' * 8}"):
        name = of_kind(rendered(VARIANTS["hpa"], release), "CronJob")["metadata"]["name"]
        assert len(name) <= 52
        assert name.endswith("r-backup")


def test_without_the_switch_there_is_no_cron_job() -> None:
    assert not [item for item in rendered({}) if item["kind"] == "CronJob"]
