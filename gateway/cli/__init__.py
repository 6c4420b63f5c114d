"""The command `gateway`. Exit status: 0 done; 1 refused; 2 wrong usage or settings; 3 out of reach.

Errors of the operator are one line with the way out, never a traceback.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from gateway.errors import ClientError, GatewayError, StoreAway, Unreachable, first_of
from gateway.runtime.loading import end_by_ctrl_c, loading
from gateway.runtime.speedups import SpeedupsError

# Each is `NAME_command` in the module of its name, imported when it is asked for: `token` needs no server.
COMMANDS = (
    "serve",
    "token",
    "watch",
    "edit",
    "history",
    "search",
    "config",
    "doctor",
    "migrate",
    "reindex",
    "rebalance",
    "flags",
    "revoke",
    "disconnect",
    "sessions",
    "rooms",
    "trace",
    "console",
    "rollout",
    "drain",
    "audit",
    "backup",
    "restore",
    "import",
)
# Where the module has another name.
MODULES = {
    "rooms": "sessions",
    "trace": "sessions",
    "console": "sessions",
    "restore": "backup",
    "import": "backup",
}

HELP = """Edit JSON documents together, in real time.

\b
  gateway serve                                          start a gateway
  gateway token --user ann --grant 'event:*=editor'      a token for a client
  gateway watch event:42                                 see a resource change
  gateway edit event:42 '{"op": "replace", "path": "/title", "value": "Lunch"}'

\b
Exit status:
  0  done
  1  refused by the gateway; `doctor`: something must be changed
  2  wrong usage, settings or surroundings (a port in use, a locked data directory)
  3  the gateway can't be reached, or can't answer now; `serve`: Redis or PostgreSQL can't
  130  ended by Ctrl-C; `serve`, `watch` and `trace`, once they run, end so with 0
"""


class Commands(click.Group):
    """The group of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with loading():
            module = import_module(f"gateway.cli.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # for which click has the status 1, of what is refused
            end_by_ctrl_c()


@click.group(
    cls=Commands,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="collab-gateway", prog_name="gateway")
def gateway() -> None:
    pass


def main() -> None:
    """The console script: runs the command and turns this package's errors into a line and a status."""
    try:
        gateway(prog_name="gateway")
    except ClientError as error:
        _leave(error, 1)
    except (Unreachable, StoreAway) as error:
        _leave(error, 3)
    except (GatewayError, SpeedupsError) as error:
        _leave(error, 2)
    except OSError as error:  # of a file that a command found no words of its own for
        _leave(words_of(error), 2)
    except UnicodeEncodeError as error:  # what was typed, or is to be shown
        _leave(not_in(error), 2)
    except BaseExceptionGroup as group:  # of nurseries that Ctrl-C went through
        if not isinstance(first_of(group), KeyboardInterrupt):
            raise
        end_by_ctrl_c()


def words_of(error: OSError) -> str:
    """What the system refuses, where, and the way out where that is another user."""
    where = f"{error.filename}: " if error.filename else ""
    way_out = "; run this as root, or as the gateway's user" if isinstance(error, PermissionError) else ""
    return f"{where}{error.strerror or str(error) or repr(error)}{way_out}"


def not_in(error: UnicodeEncodeError) -> str:
    """What was typed in other bytes than UTF-8's, or that a terminal can't show what is to be shown."""
    if error.reason == "surrogates not allowed":
        return f"what was typed isn't UTF-8: {error.object!r}; choose LANG=C.UTF-8 for the terminal"
    return f"this terminal doesn't speak UTF-8 ({error.reason}): choose LANG=C.UTF-8, or another one"


def _leave(said: object, status: int) -> None:
    with suppress(OSError):  # of a full disk: the status says it too
        click.echo(f"gateway: {said}", err=True)
    sys.exit(status)
