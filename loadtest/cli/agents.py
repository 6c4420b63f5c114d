"""The command that lends a machine to runs, and the options of those that use such machines."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click
import trio

from loadtest.agents.address import PORT, Address, AgentError, Agents, address_of, addresses_of, read_secret
from loadtest.agents.serve import Agent, listen
from loadtest.cli.errors import no_run
from loadtest.cli.options import FILE, console, together


@click.command("agent")
@click.option(
    "--listen",
    default=f"127.0.0.1:{PORT}",
    show_default=True,
    metavar="HOST[:PORT]",
    help="Where coordinators come; port 0 is a free one.",
)
@click.option(
    "--secret-file", type=FILE, required=True, help="What only coordinators have: openssl rand -hex 32 > FILE"
)
def agent_command(listen: str, secret_file: Path) -> None:
    """Lend this machine to runs: `run --agents` has it play a share of the users.

    It takes connections from who has the same secret, and nothing is readable on the way. Each connection is
    one generator process, which ends with it. Ctrl-C ends the agent.

    \b
    python -m loadtest agent --listen 0.0.0.0 --secret-file agents.secret
    """
    try:
        address, secret = address_of(listen), read_secret(secret_file)
    except AgentError as error:
        raise click.UsageError(str(error)) from None
    with no_run():
        trio.run(_serve, address, Agent(secret, console.print))


async def _serve(address: Address, agent: Agent) -> None:
    """Until a signal ends it, with the generators that run for somebody."""
    bound, listeners = await listen(address)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            nursery.start_soon(agent.serve, listeners)
            console.print(f"agent: listens on {bound}")
            await anext(aiter(signals))
        nursery.cancel_scope.cancel()


# See `taken_agents`.
agents_options = together(
    click.option(
        "--agents",
        "agent_hosts",
        metavar="HOST[:PORT],...",
        help="Machines where `python -m loadtest agent` runs: they play the users, in equal shares.",
    ),
    click.option("--agents-secret-file", type=FILE, help="The agents' --secret-file."),
)


def taken_agents(options: dict[str, Any]) -> Agents | None:
    """What the options ask for, taken out of them; raises UsageError."""
    hosts, secret_file = options.pop("agent_hosts"), options.pop("agents_secret_file")
    if hosts is None:
        if secret_file is not None:
            raise click.UsageError("--agents-secret-file goes with --agents: name the machines")
        return None
    if secret_file is None:
        raise click.UsageError("--agents needs --agents-secret-file, the same as the agents' --secret-file")
    try:
        return Agents(addresses_of(hosts), read_secret(secret_file))
    except AgentError as error:
        raise click.UsageError(str(error)) from None
