"""The command `gateway`. Exit status: 0 done; 1 refused; 2 wrong usage or settings; 3 out of reach.

Errors of the operator are one line with the way out, never a traceback.
"""

from __future__ import annotations

import sys

import click

from gateway.cli.config import config_command
from gateway.cli.doctor import doctor_command
from gateway.cli.edit import edit_command
from gateway.cli.rebalance import rebalance_command
from gateway.cli.serve import serve_command
from gateway.cli.token import token_command
from gateway.cli.watch import watch_command
from gateway.client import ClientError, Unreachable
from gateway.errors import GatewayError
from gateway.speedups import SpeedupsError

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
  3  the gateway can't be reached
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="collab-gateway", prog_name="gateway")
def gateway() -> None:
    pass


for command in (
    serve_command,
    token_command,
    watch_command,
    edit_command,
    config_command,
    doctor_command,
    rebalance_command,
):
    gateway.add_command(command)


def main() -> None:
    """The console script: runs the command and turns this package's errors into a line and a status."""
    try:
        gateway(prog_name="gateway")
    except ClientError as error:
        _leave(error, 1)
    except Unreachable as error:
        _leave(error, 3)
    except (GatewayError, SpeedupsError) as error:
        _leave(error, 2)


def _leave(error: Exception, status: int) -> None:
    click.echo(f"gateway: {error}", err=True)
    sys.exit(status)
