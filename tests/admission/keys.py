"""Keys, tokens and configurations for the tests of admission; made once for each run."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from gateway.config import Config

NOW_S = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
ASYMMETRIC = ("RS256", "ES256", "EdDSA")


def private_key(algorithm: str, name: str = "first") -> Any:
    return _made(algorithm, name)


@cache
def _made(algorithm: str, name: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else ed25519.Ed25519PrivateKey.generate()
    )


def public_jwk(algorithm: str, kid: str | None = None, name: str = "first", **members: Any) -> dict[str, Any]:
    entry = dict(
        get_default_algorithms()[algorithm].to_jwk(private_key(algorithm, name).public_key(), as_dict=True)
    )
    entry.pop("key_ops", None)
    return entry | ({} if kid is None else {"kid": kid}) | members


def public_pem(algorithm: str) -> bytes:
    return (
        private_key(algorithm)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def config_for(directory: Path, jwks: list[Any] | None = None, secret: bool = True, **auth: Any) -> Config:
    """A configuration whose secret is SECRET and whose JWKS file holds these keys."""
    if secret:
        path = directory / "jwt-secret"
        path.write_bytes(SECRET)
        auth.setdefault("secret_file", str(path))
    if jwks is not None:
        path = directory / "jwks.json"
        path.write_text(json.dumps({"keys": jwks}))
        auth.setdefault("jwks_file", str(path))
    return Config().with_(server={"data_dir": str(directory)}, auth=auth)


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims with changes; None takes a claim out."""
    good = {"sub": "ann", "exp": int(NOW_S) + 600, "iat": int(NOW_S), "grants": {"event:*": "editor"}}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(
    key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any
) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def part(data: object) -> str:
    """One part of a compact token: bytes as they are, anything else as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, payload: object, secret: bytes = SECRET) -> str:
    """A token with any header and payload whose HS256 signature is right."""
    message = f"{part(header)}.{part(payload)}"
    return f"{message}.{part(get_default_algorithms()['HS256'].sign(message.encode(), secret))}"
