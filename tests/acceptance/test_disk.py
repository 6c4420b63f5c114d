"""A disk that is full, and a log that vanished: both are told; nothing acknowledged is lost."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from gateway.log.sqlite.log import DATABASE, WATERMARK
from tests.cli.commands import gateway as command
from tests.clients.desk import created, op, signed_in, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Refused, Wire
from tests.operations import replace
from tests.waiting import PATIENCE_S, until

PLACE_BYTES = 8 << 20


def ended(mount: Path) -> None:
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


@contextmanager
def small_disk(mount: Path) -> Iterator[Path]:
    """A filesystem of a few megabytes; a skipped test where this user may not mount one."""
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={PLACE_BYTES}", "tmpfs", str(mount)], capture_output=True
    )
    if made.returncode:
        pytest.skip("only root may mount a small filesystem")
    try:
        yield mount
    finally:
        ended(mount)


class FullDisk:
    """A filesystem with nothing left, until it is freed."""

    def __init__(self, node: Gateway) -> None:
        self._ballast = node.data / "ballast"
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._ballast.unlink()


class FullQuota:
    """No file of the node may grow, until it may again."""

    def __init__(self, node: Gateway) -> None:
        self._pid = node.pid
        size = (node.data / f"{DATABASE}-wal").stat().st_size
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def free(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


@pytest.fixture(params=["filesystem", "quota"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[Gateway], Any]]]:
    """Where the data go, and what makes it full."""
    if request.param == "quota":
        yield tmp_path / "data", FullQuota
        return
    with small_disk(tmp_path / "disk") as mount:
        yield mount / "data", FullDisk


async def ready(client: httpx.AsyncClient) -> tuple[int, str]:
    answer = await client.get("/readyz")
    return answer.status_code, answer.text


async def metric(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await ready(client))[0] == 200


async def test_a_full_disk_is_told_everywhere_and_loses_nothing(place) -> None:
    data, fill = place
    with gateway(data) as node:
        async with (
            httpx.AsyncClient(base_url=node.admin_url, timeout=PATIENCE_S) as admin,
            signed_in(node) as ann,
        ):
            resource_name = await created(ann)
            head = (await submit(ann, resource_name, 1, replace("/title", "before")))["version"]
            assert (await ready(admin))[0] == 200
            full = fill(node)
            refused = await edited_until_refused(ann, resource_name, head)
            assert (refused.payload["code"], refused.payload["outcome"]) == ("UNAVAILABLE", "none")
            assert "could not be stored; the server's own log says why" in refused.payload["message"]
            status, said = await ready(admin)
            assert status == 503 and "can't be written" in said
            assert await metric(admin, "gateway_log_unwritable") == 1, "what the alert LogUnwritable looks at"
            await node.told("can't be written", "Edits are refused")
            async with signed_in(node, "bob") as bob:
                assert (await subscribe(bob, resource_name))["state"]["title"] == "before", "reads go on"
            full.free()
            await until(partial(is_ready, admin), "the node is ready", every_s=0.05)
            await node.told("can be written again")
            head = (await submit(ann, resource_name, refused.head, replace("/title", "after")))["version"]
        node.kill()
    with gateway(data) as again:
        async with signed_in(again) as ann:
            found = await subscribe(ann, resource_name)
            assert (found["version"], found["state"]["title"]) == (head, "after")


class Full(NamedTuple):
    """The version before the edit that was refused, and the ERROR."""

    head: int
    payload: dict[str, Any]


async def edited_until_refused(opened: Wire, resource_name: str, head: int) -> Full:
    """Edit until the disk has no place."""
    for number in range(100):
        large = replace("/description", f"{number}" + "x" * 200_000)
        ident = await opened.send("OP", op(opened, resource_name, head, large))
        try:
            head = (await opened.answer_to("OP", ident))["version"]
        except Refused as refused:
            return Full(head, refused.payload)
    raise AssertionError("it was never full")


@pytest.mark.parametrize("left", ["jwt-secret", WATERMARK])
async def test_a_log_that_vanished_is_not_begun_anew_unless_that_is_said(tmp_path: Path, left: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    secret.chmod(0o600)
    data = tmp_path / "data"
    data.mkdir()
    (data / left).write_bytes(b"s" * 40)
    words = ["serve", "--port", "0", "--admin-port", "0", "--data", str(data)]
    if left == WATERMARK:
        words += ["--set", f"auth.secret_file={secret}"]
    done = await command(*words)
    assert done.status != 0 and f"no {DATABASE}: did the log vanish?" in done.err and "--new" in done.err
    assert not (data / DATABASE).exists()


async def test_a_log_that_was_emptied_is_not_begun_anew_unless_that_is_said(tmp_path: Path) -> None:
    with gateway(tmp_path):
        pass
    (tmp_path / DATABASE).write_bytes(b"")
    done = await command("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
    assert done.status != 0 and f"{DATABASE} is empty: did the log vanish?" in done.err
    assert (tmp_path / DATABASE).stat().st_size == 0
    (tmp_path / WATERMARK).unlink()  # as a first start leaves it that was killed
    with gateway(tmp_path):
        pass


async def test_new_begins_an_empty_log(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with signed_in(node) as ann:
            resource_name = await created(ann)
    vanish(tmp_path)
    done = await command("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
    assert done.status != 0 and "did the log vanish?" in done.err
    with gateway(tmp_path, arguments=["--new"]) as node:
        async with signed_in(node) as ann:
            assert (await subscribe(ann, resource_name))["state"] is None


def vanish(data: Path) -> None:
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()
