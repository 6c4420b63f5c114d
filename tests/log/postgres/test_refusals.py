"""What an operator is told where PostgreSQL refuses a gateway, or shows a certificate not to be trusted."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from gateway.config import Config
from gateway.errors import ArchiveAway, ConfigError, GatewayError
from gateway.log.postgres.archive import PostgresArchive, dsn_of, migrate
from tests.certificates import Certificate, self_signed
from tests.servers import PostgresServer, postgres_server

RULES = """
host all postgres,nobody_there 127.0.0.1/32 trust
host test_1 gateway 127.0.0.1/32 scram-sha-256
hostssl all certified 127.0.0.1/32 trust clientcert=verify-ca
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that has users, and rules for them, where whoever runs it may read them."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "pg_hba.conf"
        rules.write_text(RULES)
        rules.chmod(0o644)
        rules.parent.chmod(0o755)
        with postgres_server("fsync=off", f"hba_file={rules}") as started:
            _execute(started, "CREATE ROLE gateway LOGIN PASSWORD 'right'", "CREATE ROLE certified LOGIN")
            yield started


@pytest.fixture(scope="module")
def dsn(server: PostgresServer) -> Iterator[str]:
    """Of a database that is migrated, as its owner."""
    with server.database() as made:
        migrate(made)
        yield made


def _execute(server: PostgresServer, *statements: str | sql.Composed) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode() if isinstance(statement, str) else statement)


async def verify(dsn: str) -> None:
    """What a start does."""
    opened = PostgresArchive(dsn)
    try:
        await opened.verify()
    finally:
        await opened.aclose()


async def refusal(dsn: str) -> GatewayError:
    """What a start meets there; `gateway migrate` says the same."""
    with pytest.raises(GatewayError) as started:
        await verify(dsn)
    with pytest.raises(ConfigError) as migrated:
        migrate(dsn)
    assert str(started.value).partition(": ")[2] in str(migrated.value)
    return started.value


@pytest.mark.parametrize(
    ("changed", "reason", "way_out"),
    [
        ({"user": "gateway"}, "no password supplied", "GATEWAY_POSTGRES_PASSWORD"),
        ({"user": "gateway", "password": "wrong"}, 'user "gateway"', "GATEWAY_POSTGRES_PASSWORD"),
        ({"user": "nobody_there"}, 'role "nobody_there" does not exist', "createuser"),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist', "createdb"),
        ({"user": "gateway", "dbname": "postgres"}, "no pg_hba.conf entry", "and reload it"),
    ],
)
async def test_who_is_not_let_in_is_told_why_at_once_and_what_to_do(
    dsn: str, changed: dict[str, str], reason: str, way_out: str
) -> None:
    error = await refusal(make_conninfo(dsn, **changed))
    assert isinstance(error, ConfigError), "a start doesn't wait for it"
    assert str(error).count(reason) == 1
    assert way_out in str(error)
    assert "reached" not in str(error)


async def test_where_one_of_several_servers_is_away_the_refusal_of_another_is_waited_for(
    dsn: str, server: PostgresServer
) -> None:
    """It may be the primary that is away."""
    several = make_conninfo(dsn, host="127.0.0.1,127.0.0.1", user="nobody_there")
    for ports in (f"1,{server.port}", f"{server.port},1"):
        error = await refusal(make_conninfo(several, port=ports))
        assert isinstance(error, ArchiveAway)
        assert str(error).count("does not exist") == str(error).count("refused") == 1
    ports = f"{server.port},{server.port}"
    assert isinstance(await refusal(make_conninfo(several, port=ports)), ConfigError)


@pytest.mark.parametrize("word", ["sslrootcert", "sslcert", "sslkey"])
def test_a_file_for_tls_that_is_not_there_is_a_wrong_setting(word: str, tmp_path: Path) -> None:
    file = str(tmp_path / "there.pem")
    settings = Config().with_(postgres={"dsn": f"postgresql://127.0.0.1/nowhere?{word}={file}"}).postgres
    with pytest.raises(ConfigError, match=f"{word}, {file}: No such file"):
        dsn_of(settings)
    Path(file).touch()
    assert dsn_of(settings) == settings.dsn
    assert dsn_of(replace(settings, dsn="postgresql://127.0.0.1/nowhere?sslrootcert=system"))


def test_a_way_of_tls_that_there_is_not_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="its sslmode can't be one"):
        dsn_of(Config().with_(postgres={"dsn": "postgresql://127.0.0.1/nowhere?sslmode=bogus"}).postgres)


async def test_who_may_not_read_the_tables_is_told_at_once_what_to_do(dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"permission denied for schema gateway .*GRANT"):
        await verify(make_conninfo(dsn, user="gateway", password="right"))


# ---------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """With which it speaks TLS on 127.0.0.1, and which it trusts in others."""
    made = self_signed(tmp_path_factory.mktemp("tls"))
    with _data_folder(server) as data:
        for name, file in (("server.crt", made.certificate), ("server.key", made.key)):
            lines = sql.Literal(file.read_text().splitlines())
            write = sql.Literal(f"umask 077; cat > {data}/{name}")  # its own, and nobody else's
            _execute(server, sql.SQL("COPY (SELECT unnest({}::text[])) TO PROGRAM {}").format(lines, write))
    _execute(server, "ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_ca_file = 'server.crt'")
    server.stop(signal.SIGINT)
    server.start()
    return made


@contextmanager
def _data_folder(server: PostgresServer) -> Iterator[str]:
    with psycopg.connect(server.dsn("postgres")) as connection:
        found = connection.execute("SHOW data_directory").fetchone()
        assert found is not None
        yield found[0]


async def test_a_certificate_that_is_not_trusted_is_told_with_the_way_out_and_waited_for(
    dsn: str, certificate: Certificate, tmp_path: Path
) -> None:
    trusting = make_conninfo(dsn, sslmode="verify-full", sslrootcert=str(certificate.certificate))
    await verify(trusting)
    other = self_signed(tmp_path).certificate
    for changed, way_out in (
        ({"sslrootcert": str(other)}, "sslrootcert in postgres.dsn"),
        ({"host": "elsewhere.test", "hostaddr": "127.0.0.1"}, "name the host in postgres.dsn"),
        ({"user": "certified"}, "sslcert and sslkey in postgres.dsn"),
    ):
        error = await refusal(make_conninfo(trusting, **changed))
        assert isinstance(error, ArchiveAway), "it may be renewed"
        assert way_out in str(error)
    shown = {"sslcert": str(certificate.certificate), "sslkey": str(certificate.key)}
    certificate.key.chmod(0o600)
    with pytest.raises(ConfigError, match="permission denied"):
        await verify(make_conninfo(trusting, user="certified", **shown))
