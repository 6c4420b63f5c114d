"""Looked at before a run, so that nobody waits for minutes to read that a name was wrong.

The server's address, a token that it takes, its admin HTTP, and the files that the report goes to.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import trio

from gateway.config.urls import is_address
from loadtest.client import ClientError, connect
from loadtest.errors import words
from loadtest.users import token

TIMEOUT_S = 10.0
TOKEN_LIFE_S = 600


class PreflightError(Exception):
    """A run can't take place as it was asked for; the message says what to change."""


def check_files(paths: Iterable[Path | None], read: Iterable[Path] = ()) -> None:
    """Raises PreflightError where a report can't be written, or would go over another, or what is read."""
    taken = {path.resolve() for path in read if os.path.isfile(path)}  # else the name of what is shipped
    for path in paths:
        if path is None:
            continue
        _check_file(path)
        place = path.resolve()
        if place in taken and (place.is_file() or not place.exists()):
            raise PreflightError(f"{path} is named twice: what is written there needs a file of its own")
        taken.add(place)


def _check_file(path: Path) -> None:
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            raise PreflightError(f"{path}: there is no folder {folder}; make it first")
        if not path.exists():
            _try_out(path.resolve())
        elif not os.access(path, os.W_OK):
            raise PreflightError(f"{path} can't be written here")
    except OSError as error:  # of another user's folder, or of one where nothing can be made
        raise PreflightError(f"{path} can't be written here: {error.strerror}") from None


def _try_out(path: Path) -> None:
    """Make a file, and take it away: permissions don't tell it all, in /proc say."""
    path.touch(exist_ok=False)
    path.unlink()


def check_addresses(url: str, admin_url: str | None) -> None:
    """Raises PreflightError where the address of a server, or of its admin HTTP, isn't one."""
    if is_address(url, "wss"):
        raise PreflightError(f"{url}: the generator speaks ws:// only; test the gateway before its TLS proxy")
    if not is_address(url, "ws"):
        raise PreflightError(f"{url}: a server's address looks like ws://HOST:8787/realtime")
    if admin_url is not None and not is_address(admin_url, "http"):
        raise PreflightError(f"{admin_url}: an admin address looks like http://HOST:8788")


async def check_server(url: str, secret: bytes, now_s: float, resource_type: str) -> None:
    """Connect and authenticate once; raises PreflightError with the server's reason."""
    user_id = "preflight"
    bearer = token(secret, user_id, "editor", int(now_s) + TOKEN_LIFE_S)
    problem = ""
    try:
        with trio.fail_after(TIMEOUT_S):
            async with connect(url, bearer, user_id, resource_type):
                return
    except trio.TooSlowError:
        problem = f"{url} didn't answer in {TIMEOUT_S:.0f} s"
    except ClientError as error:
        problem = str(error)
    if "UNAUTHENTICATED" in problem:
        problem += " (is --token-secret-file that of this server, DATA/jwt-secret?)"
    raise PreflightError(f"no user can connect: {problem}")


async def check_admin(admin_url: str) -> None:
    """Ask the admin HTTP whether it is alive; raises PreflightError."""
    await trio.to_thread.run_sync(_ask_admin, admin_url)


def _ask_admin(admin_url: str) -> None:
    parts = urlsplit(admin_url)
    host = parts.hostname or "127.0.0.1"
    with closing(http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)) as connection:
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise PreflightError(f"{admin_url}: the admin HTTP doesn't answer: {words(error)}") from None
    if status != 200:
        raise PreflightError(f"{admin_url}/healthz answers {status}: is this the gateway's admin address?")
