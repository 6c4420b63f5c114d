"""Each setting of who comes in and what he may do: tokens, the authoriser, the roll-out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.fields import tunable
from gateway.config.section import KIB, MIB, Section
from gateway.errors import ConfigError

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
LEEWAY_MAX_S = 600
# The variants of users while no test runs, who aren't let in, and beside those who get what is tested.
ON, OFF, CONTROL = "on", "off", "control"


@dataclass(frozen=True, slots=True)
class AuthSettings(Section):
    algorithms: tuple[str, ...] = tunable(ALGORITHMS, "Signatures that are accepted", choices=ALGORITHMS)
    secret_file: str = tunable(
        "", "HS256 secret; empty: DATA/jwt-secret, unless jwks_file is set; FILE.previous is accepted too"
    )
    jwks_file: str = tunable("", "JSON Web Key Set with the public keys; read again when it changes")
    issuer: str = tunable("", "Required iss; empty: not checked")
    audience: str = tunable("", "Required aud; empty: not checked")
    leeway_s: float = tunable(0.0, "Tolerated difference of clocks", unit="s", least=0, most=LEEWAY_MAX_S)
    issued_ahead_s: float = tunable(60.0, "How far iat may lie in the future", unit="s", least=0, most=3600)
    token_bytes_max: int = tunable(16 * KIB, "Largest token", unit="bytes", least=512, most=16 * MIB)
    keys_check_s: float = tunable(
        0.25, "Between looks at the key files for changes", unit="s", least=0, most=3600
    )
    revocations_max: int = tunable(
        10_000, "Revocations kept at a time; more are refused", unit="revocations", least=1, most=1_000_000
    )
    default_grants: Mapping[str, str] = tunable(
        {}, 'Grants of a token without any, e.g. {"event:*" = "viewer"}'
    )


@dataclass(frozen=True, slots=True)
class AuthoriserSettings(Section):
    url: str = tunable("", "A webhook that decides by user and resource; empty: tokens decide", secret=True)
    hook: str = tunable("", "A Python function that decides instead, as MODULE:FUNCTION")
    visible: str = tunable(
        "",
        "Tells all that a user may see of a type, for lists and searches: a URL, or MODULE:FUNCTION beside a "
        "hook; empty: what they find is asked for",
        secret=True,
    )
    password: str = tunable("", "Sent to the webhook as a bearer token; empty: none", secret=True)
    password_file: str = tunable("", "A file that holds it")
    timeout_s: float = tunable(
        2.0, "For an answer; later is none, and refused", unit="s", least=0.05, most=60
    )
    cache_s: float = tunable(
        60.0, "A decision is renewed from half of this age on, and never older", unit="s", least=1, most=3600
    )
    decisions_max: int = tunable(
        100_000,
        "Decisions kept by each worker; the oldest go",
        unit="decisions",
        least=10_000,
        most=10_000_000,
    )
    batch_max: int = tunable(100, "Questions in one request", unit="questions", least=1, most=1000)
    requests_max: int = tunable(8, "Requests of a worker under way", unit="requests", least=1, most=100)
    waiting_max: int = tunable(
        10_000, "Questions that wait; more are refused at once", unit="questions", least=1, most=1_000_000
    )

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        if self.url and self.hook:
            raise ConfigError("authoriser.url and authoriser.hook exclude each other: set one")
        if self.visible and not (self.url or self.hook):
            raise ConfigError("authoriser.visible is set: set authoriser.url or authoriser.hook too")


@dataclass(frozen=True, slots=True)
class FeaturesSettings(Section):
    enabled: bool = tunable(True, "Collaboration is offered at all", live=True)
    kill_switch: bool = tunable(False, "Emergency stop: everybody is closed with 4403", live=True)
    rollout_percentage: float = tunable(
        100.0, "Share of users who are admitted", unit="%", least=0, most=100, live=True
    )
    segments: tuple[str, ...] = tunable(
        (), "Segments (token claim) that are admitted whatever the percentage", live=True
    )
    ab_test_variant: str = tunable("", "Variant under test, told in AUTH_ACK; empty: no test runs", live=True)
    ab_test_percentage: float = tunable(
        50.0,
        "Share of the admitted users who get the variant under test",
        unit="%",
        least=0,
        most=100,
        live=True,
    )

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", self.ab_test_variant):
            raise ConfigError(
                f"features.ab_test_variant = {self.ab_test_variant[:80]!r}: must be at most 64 of "
                "A-Z a-z 0-9 _ . -"
            )
        if self.ab_test_variant in (ON, OFF, CONTROL):
            text = "is a variant of users who aren't in the test; give it another name"
            raise ConfigError(f"features.ab_test_variant = {self.ab_test_variant!r}: {text}")
