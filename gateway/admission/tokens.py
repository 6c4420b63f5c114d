"""JSON Web Tokens: who a client is and until when (RFC 7519; RFC 8725 for what not to believe).

PyJWT reads the compact form and verifies the signature, and nothing of that is cached; which keys a token may
be signed with, and what its claims have to say, is decided here. Claims are read by orjson, as messages are:
what `json` lets through besides (NaN, lone surrogates) could not be sent to anybody.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

import jwt
import orjson
from jwt import PyJWS

from gateway.admission.grants import CappedGrants, Grants, at_least, parse_grants
from gateway.admission.keys import Key, KeyRing, PreparedHmac
from gateway.admission.revocations import Revocations
from gateway.config import Config
from gateway.errors import ConfigError, Refusal
from gateway.ports import Role
from gateway.ports.resources import Resource
from gateway.ports.search import Scope

# Halves of surrogates: what a command line has for bytes that aren't UTF-8.
_HALVES = r"\ud800-\udfff"
_NOT_UTF8 = re.compile(f"[{_HALVES}]")
# Those, and control characters.
_UNFIT = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_HALVES}]")
# RFC 7515 section 4.1.11: what isn't understood is refused. PyJWT would take b64 for a detached payload.
_EXTENSIONS = frozenset({"crit", "b64"})
LATEST_S = 2.0**53
WITHDRAWN = "The key that signed the token was withdrawn; get a new token and connect again."
ENDED = "The token expired meanwhile; get a new one and ask again."
USER_ID_LENGTH_MAX = 256
NAME_LENGTH_MAX = 256
AVATAR_URL_LENGTH_MAX = 2048
TOKEN_ID_LENGTH_MAX = 256


class TokenIdentity(NamedTuple):
    """Who a token speaks for. `name` is the user id where the token has none; `expires_at` is Unix s;
    `key_id` is the key that verified it; `token_id` its jti, else a digest; `issued_at` its iat, else 0."""

    user_id: str
    name: str
    avatar_url: str
    expires_at: float
    segments: tuple[str, ...]
    grants: Grants | CappedGrants
    key_id: str = ""
    token_id: str = ""
    issued_at: float = 0.0

    @property
    def scope(self) -> Scope:
        """What it may read at all."""
        return self.grants.scope

    def role(self, resource: Resource) -> Role | None:
        """The role for one resource, or None where nothing is granted."""
        return self.grants.role(resource)

    def allows(self, resource: Resource, role: Role) -> bool:
        """Whether the role for a resource is `role` or a higher one: viewer < editor < admin."""
        return at_least(self.role(resource), role)


class TokenVerifier:
    """Verifies tokens with the configured keys and claims. Raises ConfigError where it can't be set up."""

    def __init__(self, config: Config) -> None:
        self._auth = config.auth
        self._keys = KeyRing(config)
        self._issuer = config.auth.issuer
        self._audience = config.auth.audience
        self._leeway_s = config.auth.leeway_s
        self._revocations = Revocations()
        self._revocations_revision = 0
        self._jws = PyJWS()
        self._jws.unregister_algorithm("HS256")
        self._jws.register_algorithm("HS256", PreparedHmac(PreparedHmac.SHA256))
        try:
            self._default_grants = parse_grants(config.auth.default_grants)
        except ValueError as error:
            raise ConfigError(f"auth.default_grants: {error}") from None

    def verify(self, token: str, now_s: float) -> TokenIdentity:
        """The identity that a token proves at `now_s` (Unix seconds).

        Raises Refusal TOKEN_EXPIRED when it is only too old, else UNAUTHENTICATED; the message says what is
        wrong and never repeats claims or signature.
        """
        self._keys.refresh(now_s)
        key, payload = self._verified(token)
        claims = _claims_of(payload)
        expires_at = self._check_times(claims, now_s)
        if self._issuer or self._audience:
            self._check_parties(claims)
        user_id = _text_claim(claims, "sub", USER_ID_LENGTH_MAX)
        if not user_id:
            raise _refused("the claim sub (the user's id) is missing")
        name = (_text_claim(claims, "name", NAME_LENGTH_MAX) if "name" in claims else "") or user_id
        avatar = _text_claim(claims, "avatar_url", AVATAR_URL_LENGTH_MAX) if "avatar_url" in claims else ""
        segments = _segments_of(claims["segments"]) if "segments" in claims else ()
        identity = TokenIdentity(
            user_id,
            name,
            avatar,
            expires_at,
            segments,
            self._grants_of(claims.get("grants")),
            key.id,
            token_id_of(claims, token),
            _time_claim(claims, "iat") or 0.0,
        )
        return self._revocations.applied(identity) if self._revocations else identity

    @property
    def revision(self) -> int:
        """Changes whenever the keys or what is revoked did."""
        return self._keys.revision + self._revocations_revision

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the keys, for people."""
        return self._keys.problems

    @property
    def fingerprints(self) -> Sequence[str]:
        """Which HS256 secrets are in use."""
        return self._keys.fingerprints

    @property
    def can_verify(self) -> bool:
        """Whether there is any key."""
        return self._keys.any

    def refresh(self, now_s: float) -> None:
        """Look for keys that changed."""
        self._keys.refresh(now_s)

    def trusts(self, identity: TokenIdentity) -> bool:
        """Whether the key that verified this identity is still in use."""
        return self._keys.holds(identity.key_id)

    def take_revocations(self, revocations: Revocations) -> None:
        """What is revoked from now on."""
        self._revocations = revocations
        self._revocations_revision += 1

    def reviewed(self, identity: TokenIdentity, now_s: float) -> TokenIdentity:
        """The identity with what is still granted; raises Refusal where its token isn't accepted any more."""
        if not self.trusts(identity):
            raise Refusal("UNAUTHENTICATED", WITHDRAWN)
        if identity.expires_at <= now_s:
            raise Refusal("TOKEN_EXPIRED", ENDED)
        if isinstance(identity.grants, CappedGrants):
            identity = identity._replace(grants=identity.grants.granted)
        return self._revocations.applied(identity)

    def _verified(self, token: str) -> tuple[Key, bytes]:
        """The payload of a token whose signature is right, and the key that made it."""
        if not isinstance(token, str) or not token.isascii() or len(token) > self._auth.token_bytes_max:
            raise _refused(f"it must be an ASCII string of at most {self._auth.token_bytes_max} bytes")
        sole = self._keys.sole  # saves PyJWT's second reading, for a third of the time
        payload = None if sole is None else self._signed_by(sole, token)
        if sole is not None and payload is not None:
            return sole, payload
        for key in self._candidates(token):
            payload = self._signed_by(key, token)
            if payload is not None:
                return key, payload
        raise _refused("its signature is wrong: it was signed with another key, or changed since")

    def _candidates(self, token: str) -> Sequence[Key]:
        """The keys that its header names; the algorithm is one of ours."""
        try:
            header = self._jws.get_unverified_header(token)
        except jwt.DecodeError:
            raise _refused(
                "it is not a JWT: three base64url parts joined by dots, the first a JSON object"
            ) from None
        except jwt.PyJWTError:
            raise _refused(
                "its header holds a crit that is not supported, or a kid that is no string"
            ) from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._auth.algorithms:
            raise _refused(f"it must be signed with one of {', '.join(self._auth.algorithms)}")
        if not _EXTENSIONS.isdisjoint(header):
            raise _refused("its header asks for extensions (crit, b64) that are not supported")
        keys = self._keys.candidates(algorithm, kid)
        if not keys:
            named = "" if kid is None else " of its kid"
            raise _refused(f"there is no {algorithm} key{named} to verify it with")
        return keys

    def _signed_by(self, key: Key, token: str) -> bytes | None:
        """The payload, if this key made the signature. The algorithm is the key's, never the token's word."""
        try:
            decoded = self._jws.decode_complete(token, key.material, [key.algorithm])
        except jwt.PyJWTError:
            return None
        header = decoded["header"]
        if not _EXTENSIONS.isdisjoint(header) or (key.kid and header.get("kid", key.kid) != key.kid):
            return None
        payload: bytes = decoded["payload"]
        return payload

    def _check_times(self, claims: Mapping[str, Any], now_s: float) -> float:
        """Returns when the token ends, leeway included."""
        expires = _time_claim(claims, "exp")
        if expires is None:
            raise _refused("the claim exp (Unix seconds) is missing")
        not_before = _time_claim(claims, "nbf") if "nbf" in claims else None
        issued = _time_claim(claims, "iat") if "iat" in claims else None
        if not_before is not None and not_before > now_s + self._leeway_s:
            raise _refused("it is not valid yet (nbf): wait, or set the issuer's clock")
        if issued is not None and issued > now_s + self._leeway_s + self._auth.issued_ahead_s:
            raise _refused("it was issued in the future (iat): set the issuer's clock")
        if expires + self._leeway_s <= now_s:
            ago_s = round(now_s - expires)
            raise Refusal(
                "TOKEN_EXPIRED", f"The token expired {ago_s} s ago; get a new one and send AUTH with it."
            )
        return expires + self._leeway_s

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        if self._issuer and claims.get("iss") != self._issuer:
            raise _refused("it comes from another issuer (iss) than the one that is accepted here")
        if self._audience:
            audience = claims.get("aud")
            named = audience if isinstance(audience, list) else [audience]
            if self._audience not in named:
                raise _refused("it is meant for another audience (aud)")

    def _grants_of(self, claim: object) -> Grants:
        if claim is None:
            return self._default_grants
        try:
            return parse_grants(claim)
        except ValueError as error:
            raise _refused(f"its claim grants is wrong: {error}") from None


def issue(
    secret: bytes,
    user_id: str,
    grants: Mapping[str, str],
    ttl_s: float,
    now_s: float,
    *,
    name: str = "",
    avatar_url: str = "",
    segments: Sequence[str] = (),
    issuer: str = "",
    audience: str = "",
) -> str:
    """A token signed with HS256, valid from `now_s` (Unix seconds) for `ttl_s`.

    Raises ValueError for claims or grants that `TokenVerifier.verify` would refuse.
    """
    parse_grants(grants)
    for claim, text, limit in (
        ("user id", user_id, USER_ID_LENGTH_MAX),
        ("name", name, NAME_LENGTH_MAX),
        ("avatar_url", avatar_url, AVATAR_URL_LENGTH_MAX),
    ):
        if not is_claim_text(text, limit):
            raise ValueError(f"{claim} is at most {limit} characters in UTF-8, without control characters")
    for claim, texts in (("segment", segments), ("issuer", [issuer]), ("audience", [audience])):
        if any(map(_NOT_UTF8.search, texts)):
            raise ValueError(f"{claim} must be text in UTF-8")
    if not user_id:
        raise ValueError("the user id must not be empty")
    optional = {
        "name": name, "avatar_url": avatar_url, "segments": list(segments), "iss": issuer, "aud": audience
    }  # fmt: skip
    claims = {"sub": user_id, "iat": int(now_s), "exp": int(now_s + ttl_s), "grants": dict(grants)}
    claims["jti"] = secrets.token_urlsafe(9)
    claims |= {claim: value for claim, value in optional.items() if value}
    return jwt.encode(claims, secret, algorithm="HS256")


def claims_of(token: str) -> dict[str, Any]:
    """A token's claims, whoever signed it; raises Refusal UNAUTHENTICATED where it is none."""
    try:
        return _claims_of(PyJWS().decode_complete(token, options={"verify_signature": False})["payload"])
    except jwt.PyJWTError:
        raise _refused("it is not a JWT") from None


def token_id_of(claims: Mapping[str, Any], token: str) -> str:
    """What a token is revoked by: its jti, else a digest of what is signed.

    Not of the signature, which may be written in several ways.
    """
    given = claims.get("jti")
    if is_token_id(given):
        return given
    signed = token.rpartition(".")[0]
    return "blake2b:" + hashlib.blake2b(signed.encode(), digest_size=16).hexdigest()


def _refused(reason: str) -> Refusal:
    return Refusal("UNAUTHENTICATED", f"The token is not accepted: {reason}.")


def _claims_of(payload: bytes) -> dict[str, Any]:
    try:
        claims = orjson.loads(payload)
    except ValueError:
        raise _refused("its payload is not JSON") from None
    if not isinstance(claims, dict):
        raise _refused("its payload is not a JSON object")
    return claims


def _time_claim(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST_S:
        raise _refused(f"the claim {name} must be a number (Unix seconds)")
    return float(value)


def _text_claim(claims: Mapping[str, Any], name: str, length_max: int) -> str:
    """A string claim, "" where it is missing."""
    value = claims.get(name)
    if value is None:
        return ""
    if not is_claim_text(value, length_max):
        raise _refused(
            f"the claim {name} must be a string of at most {length_max} characters, none of them a control "
            "character"
        )
    return value


def is_claim_text(value: object, length_max: int) -> TypeGuard[str]:
    """Whether a user's id or a name may be so: what a token may hold can be revoked, too."""
    return isinstance(value, str) and len(value) <= length_max and not _UNFIT.search(value)


def is_token_id(value: object) -> TypeGuard[str]:
    """Whether a token with this jti is named by it: whatever its issuer took, control characters too."""
    return isinstance(value, str) and 0 < len(value) <= TOKEN_ID_LENGTH_MAX


def _segments_of(claim: object) -> tuple[str, ...]:
    if claim is None:
        return ()
    if not isinstance(claim, list) or not all(isinstance(segment, str) for segment in claim):
        raise _refused("the claim segments must be an array of strings")
    return _shared_segments(tuple(claim))


@lru_cache(maxsize=1024)
def _shared_segments(segments: tuple[str, ...]) -> tuple[str, ...]:
    return segments
