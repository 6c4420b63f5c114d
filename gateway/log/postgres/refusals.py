"""What keeps us from PostgreSQL, in its own words and with the way out.

libpq gives no code for a login that fails: the text is all that there is. One that isn't known (such as in
another language) is told as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg

_PASSWORD = "GATEWAY_POSTGRES_PASSWORD or postgres.password_file hold the password"
# A connection over TLS. What is refused may be accepted later without our doing: a certificate is renewed.
_TLS: Mapping[str, str] = {
    "certificate verify failed": (
        "sslrootcert in postgres.dsn names the file of the authority that signed the server's certificate; "
        "or that has ended"
    ),
    "does not match host name": "name the host in postgres.dsn as its certificate does",
    "requires a valid client certificate": "sslcert and sslkey in postgres.dsn name the files of one",
    "certificate authentication failed": "sslcert in postgres.dsn has to be of the user that it names",
}
# What stays refused until somebody does something.
_RIGHTS: Mapping[str, str] = {
    "no password supplied": _PASSWORD,
    "password authentication failed": f"{_PASSWORD}; or there is no such user",
    'role "[^"]*" does not exist': "make the user with `createuser`, or name another in postgres.dsn",
    'database "[^"]*" does not exist': (
        "make it with `createdb --encoding UTF8 --template template0`, or name another in postgres.dsn"
    ),
    "permission denied for": "GRANT it to the user of postgres.dsn, or name the database's owner there",
    "is not permitted to log in": "ALTER ROLE ... LOGIN, or name another user in postgres.dsn",
    "no pg_hba.conf entry": "let the server's pg_hba.conf have one for it, and reload it",
}
_WAYS_OUT = {**_TLS, **_RIGHTS}
# What psycopg puts between the last failure and all of them, where it has tried several addresses.
_SEVERAL = "Multiple connection attempts failed. All failures were:\n- "


def told(error: psycopg.Error) -> str:
    """What it says, each thing once and on one line, with the way out where PostgreSQL has none."""
    reasons = (one.rpartition("connection failed: ")[2] for one in _attempts(error))
    lines = "\n".join(reasons).splitlines()
    text = " ".join(" ".join(dict.fromkeys(lines)).split())
    way_out = _first(_WAYS_OUT, text)
    return f"{text} ({way_out})" if way_out else text


def is_refusal(error: BaseException | None) -> bool:
    """Whether each server answers, and doesn't let us do what the archive needs."""
    return all(_first(_RIGHTS, one) is not None for one in _attempts(error))


def _attempts(error: BaseException | None) -> list[str]:
    last, _, several = str(error).partition(_SEVERAL)
    return several.split("\n- ") if several else [last]


def _first(ways_out: Mapping[str, str], text: str) -> str | None:
    return next((way_out for said, way_out in ways_out.items() if re.search(said, text)), None)
