"""Key files: making, reading, refusing and re-reading them."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.admission import TokenVerifier, create_secret, read_secret, secret_path
from gateway.config import Config
from gateway.errors import ConfigError, Refusal
from tests.admission.keys import (
    NOW_S,
    SECRET,
    config_for,
    private_key,
    public_jwk,
    public_pem,
    token,
)


def accepts(authenticator: TokenVerifier, text: str, now_s: float = NOW_S) -> bool:
    try:
        authenticator.verify(text, now_s)
    except Refusal:
        return False
    return True


def replaced(path: Path, content: str | bytes) -> None:
    """Replace a file at once, as a careful operator does."""
    aside = path.with_suffix(".new")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    aside.replace(path)


def test_a_new_secret_is_private_whole_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "jwt-secret"
    assert create_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_bytes()
    assert len(first) == 64
    assert first == first.strip()
    assert not create_secret(path)
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == ["jwt-secret"]


def test_starting_many_times_at_once_makes_one_secret(tmp_path: Path) -> None:
    path = tmp_path / "jwt-secret"
    made: list[bool] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        made.append(create_secret(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert len(path.read_bytes()) == 64
    assert os.listdir(tmp_path) == ["jwt-secret"]


def test_a_secret_that_can_not_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = f"can't create the signing secret {tmp_path}/file/jwt-secret: {tmp_path}/file is no directory; "
    with pytest.raises(ConfigError, match=re.escape(said)):
        create_secret(tmp_path / "file" / "jwt-secret")


def test_the_secret_is_in_the_data_directory_unless_a_file_is_named(tmp_path: Path) -> None:
    config = Config().with_(server={"data_dir": str(tmp_path)})
    assert secret_path(config) == tmp_path / "jwt-secret"
    assert secret_path(config.with_(auth={"secret_file": "s"})) == Path("s")
    assert secret_path(config.with_(auth={"jwks_file": "k", "secret_file": "s"})) == Path("s")
    assert secret_path(config.with_(auth={"jwks_file": "k"})) is None


def test_a_secret_may_end_with_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\n" + SECRET + b"\r\n")
    assert read_secret(path).material == SECRET


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_in_the_secret_file_is_refused(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "secret"
    for content in (public_pem(algorithm), json.dumps(public_jwk(algorithm)).encode()):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"belong into auth\.jwks_file"):
            read_secret(path)


def test_a_short_or_missing_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the HS256 secret"):
        read_secret(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"x" * 31 + b"\n")
    with pytest.raises(ConfigError, match="has 31 bytes: at least 32"):
        read_secret(tmp_path / "short")


def test_a_start_without_any_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the HS256 secret"):
        TokenVerifier(Config().with_(server={"data_dir": str(tmp_path)}))
    with pytest.raises(ConfigError, match="there is no key to verify tokens with"):
        TokenVerifier(config_for(tmp_path, [], secret=False))
    with pytest.raises(ConfigError, match="there is no key to verify tokens with"):
        TokenVerifier(config_for(tmp_path, [public_jwk("ES256")], secret=False, algorithms=["RS256"]))
    with pytest.raises(ConfigError, match="there is no key to verify tokens with"):
        TokenVerifier(config_for(tmp_path, algorithms=["RS256"]))


def small_rsa() -> Any:
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)


@pytest.mark.parametrize(
    ("jwks", "wanted"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON Web Key Set"),
        ('{"keys": {}}', "is not a JSON Web Key Set"),
        ('{"keys": [5]}', "key 0: a key must be an object"),
        ('{"keys": [{"kty": 5}]}', "kty, crv and kid must be strings"),
        ('{"keys": [{"kty": "RSA", "kid": 1}]}', "kty, crv and kid must be strings"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB"}]}', "key 0 can't be used"),
        ('{"keys": [{"kty": "RSA", "n": 5, "e": "AQAB"}]}', "key 0 can't be used"),
        ('{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}', "key 0 can't be used"),
        ('{"keys": [{"kty": "OKP", "crv": "Ed25519"}]}', "key 0 can't be used"),
        ('{"keys": [{"kty": "oct", "k": "AAAA"}]}', "HS256 secrets need at least 32"),
    ],
)
def test_a_wrong_jwks_file_is_refused_with_its_place(tmp_path: Path, jwks: str, wanted: str) -> None:
    (tmp_path / "jwks.json").write_text(jwks)
    config = Config().with_(auth={"jwks_file": str(tmp_path / "jwks.json")})
    with pytest.raises(ConfigError, match=wanted):
        TokenVerifier(config)


def test_a_weak_rsa_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 1024 bits: RSA keys need at least 2048"):
        TokenVerifier(config_for(tmp_path, [small_rsa()], secret=False))


def test_keys_that_are_not_for_verifying_are_passed_over(tmp_path: Path) -> None:
    p384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    keys = [
        public_jwk("RS256", use="enc"),
        public_jwk("RS256", alg="PS256"),
        public_jwk("RS256", key_ops=["encrypt"]),
        p384,
        {"kty": "unheard-of"},
        public_jwk("ES256", "k", use="sig", alg="ES256", key_ops=["verify"]),
    ]
    authenticator = TokenVerifier(config_for(tmp_path, keys, secret=False))
    assert accepts(authenticator, token(private_key("ES256"), "ES256"))
    assert not accepts(authenticator, token(private_key("RS256"), "RS256"))


def test_a_private_key_in_the_jwks_file_verifies_as_its_public_one(tmp_path: Path) -> None:
    entry = dict(RSAAlgorithm.to_jwk(private_key("RS256"), as_dict=True))
    entry.pop("key_ops")
    authenticator = TokenVerifier(config_for(tmp_path, [entry], secret=False))
    assert accepts(authenticator, token(private_key("RS256"), "RS256"))


def test_a_symmetric_key_in_the_jwks_file_verifies_hs256(tmp_path: Path) -> None:
    entry = {"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}
    authenticator = TokenVerifier(config_for(tmp_path, [entry], secret=False))
    assert accepts(authenticator, token(headers={"kid": "s"}))
    assert not accepts(authenticator, token(headers={"kid": "t"}))


def test_changed_keys_are_read_again_within_a_second(tmp_path: Path) -> None:
    config = config_for(tmp_path, [public_jwk("ES256", "old", "old")])
    authenticator = TokenVerifier(config)
    old = token(private_key("ES256", "old"), "ES256", {"kid": "old"})
    new = token(private_key("ES256", "new"), "ES256", {"kid": "new"})
    assert accepts(authenticator, old)
    replaced(Path(config.auth.jwks_file), json.dumps({"keys": [public_jwk("ES256", "new", "new")]}))
    assert not accepts(authenticator, new, NOW_S + 0.2)
    assert accepts(authenticator, new, NOW_S + 1)
    assert not accepts(authenticator, old, NOW_S + 1)


def test_a_changed_secret_is_read_again(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    authenticator = TokenVerifier(config)
    assert accepts(authenticator, token())
    replaced(Path(config.auth.secret_file), b"y" * 32)
    assert accepts(authenticator, token(b"y" * 32), NOW_S + 1)
    assert not accepts(authenticator, token(), NOW_S + 1)


@pytest.mark.parametrize("content", [b"short", b"{}"])
def test_a_file_that_turned_bad_is_told_once_and_the_keys_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    config = config_for(tmp_path)
    authenticator = TokenVerifier(config)
    identity = authenticator.verify(token(), NOW_S)
    with caplog.at_level(logging.WARNING):
        replaced(Path(config.auth.secret_file), content)
        assert accepts(authenticator, token(), NOW_S + 1)
        assert accepts(authenticator, token(), NOW_S + 2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert SECRET.decode() not in caplog.text
    [problem] = authenticator.problems
    assert "stay as they were" in problem
    assert authenticator.trusts(identity)
    replaced(Path(config.auth.secret_file), b"z" * 32)
    assert accepts(authenticator, token(b"z" * 32), NOW_S + 3)
    assert not authenticator.problems
    assert not authenticator.trusts(identity)


def revoke_by_deleting(path: Path) -> None:
    path.unlink()


def revoke_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def revoke_by_an_empty_set(path: Path) -> None:
    replaced(path, '{"keys": []}')


@pytest.mark.parametrize("revoke", [revoke_by_deleting, revoke_by_emptying, revoke_by_an_empty_set])
def test_keys_that_are_gone_are_revoked(tmp_path: Path, revoke: Callable[[Path], None]) -> None:
    config = config_for(tmp_path, [public_jwk("ES256")], secret=False)
    authenticator = TokenVerifier(config)
    shown = token(private_key("ES256"), "ES256")
    identity = authenticator.verify(shown, NOW_S)
    assert authenticator.trusts(identity) and authenticator.can_verify
    revision = authenticator.revision
    revoke(Path(config.auth.jwks_file))
    authenticator.refresh(NOW_S + 0.3)
    authenticator.refresh(NOW_S + 0.6)
    assert not authenticator.trusts(identity)
    assert authenticator.revision > revision
    assert not authenticator.can_verify
    assert not accepts(authenticator, shown, NOW_S + 0.6)
    replaced(Path(config.auth.jwks_file), json.dumps({"keys": [public_jwk("ES256")]}))
    assert accepts(authenticator, shown, NOW_S + 1)
    assert authenticator.trusts(identity) and not authenticator.problems


def test_the_secret_is_revoked_by_deleting_it(tmp_path: Path) -> None:
    config = config_for(tmp_path, [public_jwk("ES256")])
    authenticator = TokenVerifier(config)
    identities = [
        authenticator.verify(token(), NOW_S),
        authenticator.verify(token(private_key("ES256"), "ES256"), NOW_S),
    ]
    Path(config.auth.secret_file).unlink()
    authenticator.refresh(NOW_S + 1)
    authenticator.refresh(NOW_S + 2)
    assert [authenticator.trusts(identity) for identity in identities] == [False, True]
    assert "is gone or empty: its keys are revoked" in authenticator.problems[0]
    assert authenticator.can_verify


def test_a_file_that_is_written_in_place_is_empty_for_a_moment_only(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    authenticator = TokenVerifier(config)
    identity = authenticator.verify(token(), NOW_S)
    path = Path(config.auth.secret_file)
    path.write_bytes(b"")
    authenticator.refresh(NOW_S + 1)
    path.write_bytes(SECRET)
    authenticator.refresh(NOW_S + 2)
    assert authenticator.trusts(identity)
    assert not authenticator.problems


def test_a_secret_of_the_same_time_and_size_is_another_one(tmp_path: Path) -> None:
    """So is a file that may be read only now: no time of its content tells of that."""
    config = config_for(tmp_path)
    authenticator = TokenVerifier(config)
    path = Path(config.auth.secret_file)
    known = path.stat()
    while path.stat().st_ctime_ns == known.st_ctime_ns:  # a kernel's clock may be coarse
        path.write_bytes(SECRET[::-1])
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert not accepts(authenticator, token(), NOW_S + 1)
    assert accepts(authenticator, token(SECRET[::-1]), NOW_S + 1)


def test_a_key_that_left_the_set_is_not_trusted(tmp_path: Path) -> None:
    keys = [public_jwk("ES256", "old", "old"), public_jwk("ES256", "new", "new")]
    config = config_for(tmp_path, keys, secret=False)
    authenticator = TokenVerifier(config)
    old, new = (
        authenticator.verify(token(private_key("ES256", name), "ES256", {"kid": name}), NOW_S)
        for name in ("old", "new")
    )
    replaced(Path(config.auth.jwks_file), json.dumps({"keys": keys[1:]}))
    authenticator.refresh(NOW_S + 1)
    assert (authenticator.trusts(old), authenticator.trusts(new)) == (False, True)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS256"])
def test_a_key_whose_entry_is_written_anew_stays_trusted_while_it_may_verify(
    tmp_path: Path, algorithm: str
) -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}
    entry = secret if algorithm == "HS256" else public_jwk(algorithm)
    key = SECRET if algorithm == "HS256" else private_key(algorithm)
    other = public_jwk("ES256", "other", "other")
    config = config_for(tmp_path, [entry, other], secret=False)
    authenticator = TokenVerifier(config)
    identity = authenticator.verify(token(key, algorithm), NOW_S)
    path = Path(config.auth.jwks_file)
    replaced(path, json.dumps({"keys": [other, {"use": "sig", "kid": "k", "x5t": "t", **entry}]}))
    authenticator.refresh(NOW_S + 1)
    assert authenticator.trusts(identity)
    replaced(path, json.dumps({"keys": [other, {**entry, "alg": "PS256"}]}))
    authenticator.refresh(NOW_S + 2)
    assert not authenticator.trusts(identity)


def test_two_workers_know_a_key_by_the_same_name(tmp_path: Path) -> None:
    config = config_for(tmp_path, [public_jwk("RS256")])
    one, two = TokenVerifier(config), TokenVerifier(config)
    for shown in (token(), token(private_key("RS256"), "RS256")):
        assert two.trusts(one.verify(shown, NOW_S))


def test_a_clock_that_went_back_does_not_stop_the_looking(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    authenticator = TokenVerifier(config)
    assert accepts(authenticator, token(iat=None))
    replaced(Path(config.auth.secret_file), b"y" * 32)
    assert accepts(authenticator, token(b"y" * 32, iat=None), NOW_S - 5)
