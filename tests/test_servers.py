"""The servers that tests start: they answer, die and come back with their data."""

from __future__ import annotations

import socket

import psutil
import psycopg
import pytest

from tests import servers
from tests.servers import redis_server, shared_postgres
from tests.waiting import PATIENCE_S


def ask(port: int, command: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(command)
        return connection.recv(100)


def test_a_redis_is_started_killed_and_started_again_on_its_data() -> None:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        assert ask(server.port, b"SET a 1\r\n") == b"+OK\r\n"
        server.kill()
        assert not server.running
        server.start()
        assert ask(server.port, b"GET a\r\n") == b"$1\r\n1\r\n"


def test_a_port_stays_the_servers_while_it_is_away() -> None:
    with redis_server() as server:
        server.kill()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, b"PING\r\n")
        server.start()
        assert ask(server.port, b"PING\r\n") == b"+PONG\r\n"


def test_a_server_whose_port_is_anothers_does_not_count_as_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server() as first, redis_server(port=first.port, started=False) as second:
        monkeypatch.setattr(servers, "START_TIMEOUT_S", 1.0)
        with pytest.raises(RuntimeError, match="didn't start"):
            second.start()


def test_each_database_of_the_shared_postgres_is_empty() -> None:
    for _ in range(2):
        with shared_postgres().database() as dsn, psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE thing (a int)")


def test_a_postgres_may_leave_the_cores_to_others() -> None:
    with servers.postgres_server("fsync=off", niceness=7) as server:
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        found = [nice for one in processes if (nice := nice_of(one)) is not None]
        assert len(found) > 1
        assert set(found) == {min(19, psutil.Process().nice() + 7)}


def nice_of(process: psutil.Process) -> int | None:
    """None where it has ended, as who answered the one who asked whether the server is there."""
    try:
        return process.nice()
    except psutil.NoSuchProcess:
        return None
