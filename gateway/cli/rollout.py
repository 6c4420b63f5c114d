"""`gateway rollout`: let more and more users in while the alerts that would set it back stay silent."""

from __future__ import annotations

import json
import math
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import urlencode

import click

from gateway.admission.tokens import claims_of
from gateway.cli.operate import TIMEOUT_S, UNREADABLE, AdminPort, opener, operating, understanding
from gateway.cli.options import http_url
from gateway.errors import ClientError, GatewayError, Refusal, Unreachable

Read = TypeVar("Read")
FLAG = "rollout_percentage"
TRIGGERS = 'ALERTS{rollback="true"}'
# Whoever sees nothing for so long sets the rollout back.
BLIND_S = 60.0
# The first attempt to set it back may meet the fault itself.
BACK_TIMEOUT_S = 300.0
RETRY_S = 1.0
SECONDS_MAX = 7 * 86_400


class SetBack(ClientError):
    """The rollout was set back, or couldn't be; the message says why."""


class Overtaken(ClientError):
    """Somebody else changed the flag."""


class Flags(NamedTuple):
    """What the gateway says of the flag, and which change of its flags it has seen."""

    percentage: float
    revision: int


class Triggers:
    """The alerts of a Prometheus that are labelled `rollback`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def check(self) -> None:
        """Raise ClientError unless it has such rules: silence would say nothing."""
        if not self._ask("/api/v1/rules", _rollback_rules, type="alert"):
            raise ClientError(
                f"{self._url} has no alert with the label rollback, so nothing would set the rollout back: "
                "load deploy/alerts.yml there"
            )

    def states(self) -> dict[str, str]:
        """The name of each that isn't silent, and whether it is `pending` or `firing`."""
        return self._ask("/api/v1/query", _states, query=TRIGGERS)

    def _ask(self, path: str, read: Callable[[Any], Read], **parameters: str) -> Read:
        """What is read of an answer's data; raises Unreachable where there is none, or in another form."""
        address = f"{self._url}{path}?{urlencode(parameters)}"
        try:
            with opener().open(urllib.request.Request(address), timeout=TIMEOUT_S) as answer:
                return read(json.load(answer)["data"])
        except (*UNREADABLE, LookupError, TypeError, AttributeError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"no Prometheus answers at {self._url}: {reason}") from None


def _rollback_rules(data: Any) -> list[Any]:
    rules = [rule for group in data["groups"] for rule in group["rules"]]
    return [rule for rule in rules if rule["labels"].get("rollback") == "true"]


def _states(data: Any) -> dict[str, str]:
    ordered = sorted(data["result"], key=lambda one: one["metric"]["alertstate"] == "firing")
    return {one["metric"]["alertname"]: one["metric"]["alertstate"] for one in ordered}


class Rollout:
    """One under way."""

    def __init__(self, port: AdminPort, triggers: Triggers, hold_s: float, look_s: float) -> None:
        self._port = port
        self._triggers = triggers
        self._hold_s = hold_s
        self._look_s = look_s
        self._revision = 0  # of the flags, by the newest step
        self._stands_at = 0.0

    def run(self, steps: Sequence[float]) -> None:
        """Take the steps; raises SetBack where a trigger fired on the way, or where nobody could say so."""
        self._triggers.check()
        before = self._stands_at = self._flags().percentage
        for percentage in steps:
            with suppress(OSError):  # whoever reads it may be gone: it is watched, and set back, all the same
                click.echo(f"{percentage:g} % of the users, for {self._hold_s:g} s")
            reason = self._taken(percentage)
            if reason:
                self._set_back(before, reason)

    def _taken(self, percentage: float) -> str:
        """Take a step. Why it has to be set back; "" when its time is over and all is silent."""
        try:
            self._set(percentage, BLIND_S)
        except Unreachable as error:
            return f"nobody confirmed the step to {percentage:g} % ({error})"
        except GatewayError as error:
            raise ClientError(f"it stays at {self._stands_at:g} %, and nobody watches it: {error}") from None
        return self._watched(percentage)

    def _set_back(self, before: float, reason: str) -> NoReturn:
        try:
            self._set(before, BACK_TIMEOUT_S)
        except GatewayError as error:
            raise SetBack(f"{reason}; it could NOT be set back to {before:g} %: {error}") from None
        raise SetBack(f"set back to {before:g} %: {reason}")

    def _watched(self, percentage: float) -> str:
        """Why it has to be set back; "" when the step's time is over and all is silent."""
        seen_s = time.monotonic()
        until_s = seen_s + self._hold_s
        states: dict[str, str] = {}
        while seen_s < until_s or states:  # what is pending goes, or fires
            refused = ""
            try:
                states = self._triggers.states()
                seen_s = time.monotonic()
                self._check_nobody_else(percentage)
            except Unreachable as error:
                if time.monotonic() - seen_s > BLIND_S:
                    return f"nothing was to be seen for {BLIND_S:g} s at {percentage:g} % ({error})"
            except Overtaken:
                raise
            except GatewayError as error:
                refused = f"the gateway says nothing any more at {percentage:g} % ({error})"
            firing = [name for name, state in states.items() if state == "firing"]
            if firing:
                return f"{', '.join(firing)} fired at {percentage:g} %"
            if refused:
                return refused
            time.sleep(self._look_s)
        return ""

    def _check_nobody_else(self, percentage: float) -> None:
        found = self._flags()
        if found.percentage != percentage and found.revision >= self._revision:  # else the step is news to it
            raise Overtaken(
                f"somebody else set {FLAG} to {found.percentage:g}: the rollout ends here, as it is"
            )

    def _flags(self) -> Flags:
        """What is in force; raises as `AdminPort.ask`."""
        with understanding():
            found = self._port.ask("GET", "/v1/flags")
            return Flags(float(found["in_force"][FLAG]), int(found["revision"]))

    def _set(self, percentage: float, patience_s: float) -> None:
        """Again and again while nobody answers: what made a trigger fire may be in the way."""
        until_s = time.monotonic() + patience_s
        while True:
            try:
                with understanding():  # of its answer no more is needed: the step is taken
                    self._revision = int(self._port.ask("PATCH", "/v1/flags", {FLAG: percentage})["revision"])
                self._stands_at = percentage
                return
            except Unreachable:
                if time.monotonic() > until_s:
                    raise
            time.sleep(RETRY_S)


def seconds(text: str) -> float:
    """More than none, and at most a week."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= SECONDS_MAX:
        raise click.BadParameter(f"must be a number of seconds above 0, at most {SECONDS_MAX:,}")
    return found


def _check_lasts(token: str | None, for_s: float) -> None:
    """Raise ClientError for a token that ends while the steps are taken: nobody could set them back then."""
    if token is None:
        return  # one is signed for each request
    try:
        ends_s = claims_of(token).get("exp")
    except Refusal:
        return  # the gateway says what is wrong with it
    if isinstance(ends_s, int | float) and ends_s < time.time() + for_s:
        raise ClientError(
            f"the token ends while the steps are taken, for {for_s:g} s: nobody could set them back then. "
            "Give one that lasts, or none where the secret of the gateway is at hand"
        )


@click.command("rollout", short_help="Let more and more users in, and set it back when an alert fires.")
@click.argument("steps", nargs=-1, required=True, type=click.FloatRange(0, 100), metavar="PERCENTAGE...")
@click.option(
    "--prometheus",
    "url",
    type=http_url,
    required=True,
    metavar="URL",
    help="Where the alerts are evaluated.",
)
@click.option(
    "--hold",
    "hold_s",
    type=seconds,
    metavar="SECONDS",
    default="900",
    show_default=True,
    help="Of each step, without a trigger.",
)
@click.option(
    "--look",
    "look_s",
    type=seconds,
    metavar="SECONDS",
    default="5",
    show_default=True,
    help="Between two looks.",
)
@operating
def rollout_command(
    steps: tuple[float, ...], url: str, hold_s: float, look_s: float, port: AdminPort
) -> None:
    """Set rollout_percentage step by step, on all nodes. Before each next step, and after the last, the
    alerts labelled `rollback` (deploy/alerts.yml) have to stay silent for --hold seconds.

    When one fires, or Prometheus can't be reached for a minute, the percentage goes back to what it was
    before the first step, and the exit status is 1. Ctrl-C leaves it at the step that was reached. A token
    that is given has to last for all steps.

    \b
    gateway rollout 5 25 50 100 --prometheus http://prometheus:9090
    gateway rollout 100 --prometheus http://prometheus:9090 --hold 3600
    """
    _check_lasts(port.token, len(steps) * hold_s)
    Rollout(port, Triggers(url), hold_s, look_s).run(steps)
    click.echo(f"done: {steps[-1]:g} % of the users")
