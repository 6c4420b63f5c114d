"""`gateway serve`: one gateway, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.markup import escape

from gateway.admission import create_secret, secret_path
from gateway.cli.options import Settings, reachable, redis_option, settings
from gateway.cli.streams import is_terminal
from gateway.config import Config
from gateway.errors import ConfigError, GatewayError, first_of
from gateway.log.sqlite.log import DATABASE, WATERMARK
from gateway.node import Addresses, Node, faces
from gateway.runtime import interpreter, logs, speedups
from gateway.runtime.clock import SteadyClock
from gateway.sessions.endpoint import PATH
from gateway.supervisor import Supervisor

logger = logging.getLogger("gateway")

DEFAULT = Config()
DEFAULT_URL = f"ws://{DEFAULT.server.host}:{DEFAULT.server.port}{PATH}"


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="WebSocket port; 0 takes a free one.  [default: 8787]")
@click.option("--admin-host", metavar="ADDRESS", help="Address of the admin HTTP.  [default: 127.0.0.1]")
@click.option("--admin-port", type=int, help="Admin HTTP port; 0 takes a free one.  [default: 8788]")
@click.option(
    "--transport",
    type=click.Choice(["auto", "fast", "portable"]),
    help="fast needs the compiled kernels.  [default: auto]",
)
@click.option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM).")
@click.option("--workers", type=int, help="Processes that share the port; needs Redis.  [default: 1]")
@redis_option("Redis that the workers of all nodes share; several are shards.")
@click.option("--redis-cluster", metavar="URL", help="A Redis Cluster instead, by any of its nodes.")
@click.option("--postgres", metavar="DSN", help="PostgreSQL for the whole history; see `gateway migrate`.")
@click.option("--new", is_flag=True, help="Begin an empty log although a secret is there.")
@click.option(
    "--demo/--no-demo", default=None, help="The demo calendar at /.  [default: on loopback, no proxies]"
)
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Wait at the start for a Redis or PostgreSQL that is away.  [default: wait]",
)
@click.option("--node", metavar="NAME", help="Name of this node.  [default: host name and a suffix]")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is logged, on standard error.",
)
@settings
def serve_command(
    host: str | None,
    port: int | None,
    admin_host: str | None,
    admin_port: int | None,
    transport: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    workers: int | None,
    redis: str | None,
    redis_cluster: str | None,
    postgres: str | None,
    new: bool,
    demo: bool | None,
    wait: bool | None,
    node: str | None,
    log_level: str,
    settings: Settings,
) -> None:
    """Start a gateway: one process, nothing else to install; with Redis a node of many.

    Prints one line when clients can connect, e.g. `ready ws=ws://127.0.0.1:8787/realtime
    admin=http://127.0.0.1:8788 pid=123`. SIGTERM or SIGINT drains it: clients are told to go elsewhere, what
    is on its way is committed. A second signal ends it at once; nothing acknowledged is lost then either.
    SIGHUP reads the settings again: several workers are replaced one by one, a lone one takes what it can
    (features, origins, rates, most limits and timeouts) and says what needs a restart.

    \b
    gateway serve
    gateway serve --data /var/lib/gateway --host 0.0.0.0 --port 80
    gateway serve --port 0 --admin-port 0 --set limits.operations_per_minute=0
    gateway serve --workers 4 --redis redis://10.0.0.5 --postgres postgresql://gateway@10.0.0.6/gateway
    """
    options = {"host": host, "port": port, "admin_port": admin_port, "transport": transport}
    options |= {"admin_host": admin_host, "start_wait": wait}
    options |= {"tls_cert": tls_cert, "tls_key": tls_key, "node": node, "workers": workers}
    options["demo"] = None if demo is None else ("on" if demo else "off")
    further = {f"server.{name}": value for name, value in options.items()}
    further |= {"redis.urls": redis, "redis.cluster_url": redis_cluster, "postgres.dsn": postgres}
    _hold_standard_streams()
    reload = partial(settings.load, further)
    config = reload()
    logs.configure(log_level.upper(), config.server.log_format)
    _refuse_vanished(config, new)
    _prepare(config)
    alone = config.server.workers == 1
    _run(Node(config) if alone else Supervisor(config, log_level.upper(), reload), reload)


def _refuse_vanished(config: Config, new: bool) -> None:
    """An embedded log that is gone, or empty, while what it leaves beside it is there isn't silently begun
    anew. Who is killed at the first start may leave a secret and an empty one."""
    data = Path(config.server.data_dir)
    database = data / DATABASE
    is_there = database.exists()
    if new or config.is_cluster or (is_there and database.stat().st_size):
        return
    secret = None if is_there or config.auth.secret_file else secret_path(config)
    for left in (secret, data / WATERMARK):
        if left is not None and left.exists():
            lacking = f"{DATABASE} is empty" if is_there else f"no {DATABASE}"
            raise ConfigError(
                f"{left} is there, but {lacking}: did the log vanish? Restore it from a backup, or begin "
                "an empty one with --new"
            )


def _prepare(config: Config) -> None:
    """What has to be there before a node: a secret, descriptors, and a word about what could be better."""
    _prepare_secret(config)
    remedies = [
        interpreter.raise_descriptors(config.server.connections_max),
        interpreter.backlog_remedy(config.server.listen_backlog),
    ]
    missing = [name for name, compiled in speedups.report().items() if not compiled]
    if missing:
        remedies.append(
            f"running without compiled kernels ({', '.join(missing)}); `gateway doctor` says more"
        )
    for remedy in filter(None, remedies):
        logger.warning("%s", remedy)


def _prepare_secret(config: Config) -> None:
    """Make the signing secret of a lone node; the nodes of a cluster have to be given the same one."""
    path = secret_path(config)
    if path is None or config.auth.secret_file or path.exists():
        return
    if config.is_cluster:
        raise ConfigError(
            f"{path} isn't there, and a node of a cluster invents no secret: other nodes would refuse its "
            "tokens. Give the same to every node: `openssl rand -base64 48 > FILE; chmod 600 FILE`, then "
            "--set auth.secret_file=FILE; or use auth.jwks_file"
        )
    if create_secret(path):
        logger.info("made the signing secret %s (readable by you only); whoever has it can sign tokens", path)


def _run(node: Node | Supervisor, reload: Callable[[], Config]) -> None:
    """Serve until drained. A lone error of the operator leaves the nurseries as itself."""
    try:
        trio.run(_serve, node, reload, clock=SteadyClock())
    except BaseExceptionGroup as group:
        errors, others = group.split(GatewayError)
        if errors is None or others is not None:
            raise
        raise first_of(errors) from None


async def _serve(node: Node | Supervisor, reload: Callable[[], Config]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            started = trio.Event()
            nursery.start_soon(_obey, node, signals, reload, started, nursery.cancel_scope)
            nursery.start_soon(_serve_until_drained, node, started, nursery.cancel_scope)


async def _serve_until_drained(node: Node | Supervisor, started: trio.Event, scope: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(node.run)
        started.set()
        _announce(node, addresses)
    logger.info("drained; nothing acknowledged is lost")
    scope.cancel()


async def _obey(
    node: Node | Supervisor,
    signals: AsyncIterator[int],
    reload: Callable[[], Config],
    started: trio.Event,
    scope: trio.CancelScope,
) -> None:
    """SIGHUP reloads. Of the others the first drains; the second ends the process, as an unhandled one would
    have. Before the node has started there is nothing to drain, nor to reload."""
    told_to_end = False
    async for number in signals:
        if not started.is_set():
            if number != signal.SIGHUP:
                logger.info("%s: ended before it served", signal.Signals(number).name)
                scope.cancel()
            continue
        if number == signal.SIGHUP:
            _reload(node, reload)
            continue
        if told_to_end:
            os._exit(128 + number)
        told_to_end = True  # a node that an operator drains over HTTP was told by no signal yet
        grace_s = node.config.timeouts.drain_grace_s
        name = signal.Signals(number).name
        logger.info("%s: draining for at most %g s; a second signal ends at once", name, grace_s)
        _notify("STOPPING=1")
        node.note("drain", signal=name)
        node.drain()


def _reload(node: Node | Supervisor, reload: Callable[[], Config]) -> None:
    if isinstance(node, Supervisor):
        logger.info("SIGHUP: replacing the workers one by one")
        node.roll()
    else:
        try:
            node.reload(reload())
        except ConfigError as error:
            logger.error("SIGHUP: the settings stay as they are: %s", error)


def _notify(state: str) -> None:
    """Tell systemd, where it started us (sd_notify(3)); nothing is given up because nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.sendto(state.encode(), address.replace("@", "\0", 1))
    except OSError as error:
        logger.warning("NOTIFY_SOCKET=%s wasn't told %s: %s", address, state, error)


def _announce(node: Node | Supervisor, addresses: Addresses) -> None:
    """The line for programs, and in a terminal how to go on for people."""
    secure = "s" if node.config.server.tls_cert else ""
    websocket = f"ws{secure}://{_authority(addresses.websocket[0])}{PATH}"
    admin = f"http://{_authority(addresses.admin[0])}"
    _tell_programs(f"ready ws={websocket} admin={admin} pid={os.getpid()}")
    _notify("READY=1")
    if faces.demo_wanted(node.config):
        page = f"http{secure}://{_authority(addresses.websocket[0])}/"
        logger.info("the demo calendar: open %s in two tabs", page)
    if is_terminal():
        directions = _directions(node.config, websocket, admin)
        Console(highlight=False, soft_wrap=True).print(directions)


def _tell_programs(line: str) -> None:
    """Where the standard output is closed, or takes nothing, the node serves without it."""
    try:
        click.echo(line)
    except OSError as error:
        logger.warning("nobody can read that the node is ready: %s", error)
        nowhere = os.open(os.devnull, os.O_WRONLY)  # else the end of the process fails to write the rest
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _hold_standard_streams() -> None:
    """A socket in the place of one that is closed would get what is written there, or be a worker's."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest that is free is the next to be opened
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _authority(address: tuple[str, int]) -> str:
    return f"{reachable(address[0])}:{address[1]}"


def _directions(config: Config, websocket: str, admin: str) -> str:
    """How to go on from here; commands are whole lines, for copying."""
    data = (
        ""
        if config.server.data_dir == DEFAULT.server.data_dir
        else f" --data {escape(config.server.data_dir)}"
    )
    url = "" if websocket == DEFAULT_URL else f" --url {websocket}"
    edit = """'{"op": "add", "path": "/title", "value": "Lunch"}'"""
    return f"""
[bold]Watch and edit, in other terminals[/]
  gateway watch event:42{data}{url}
  gateway edit event:42 --create{data}{url} {edit}

[bold]Connect from a browser[/] (allow its origin: --set server.origins=http://localhost:3000)
  gateway token --user ann --grant 'event:*=editor'{data}

  const ws = new WebSocket("{websocket}")
  const send = (type, payload) => ws.send(JSON.stringify({{type, payload}}))
  ws.onmessage = message => console.log(message.data)
  ws.onopen = () => {{
    send("AUTH", {{token, client_id: crypto.randomUUID()}})
    send("SUBSCRIBE", {{resource: "event", resource_id: "42"}})
  }}

[bold]Health, metrics, history[/]
  {admin}
"""
