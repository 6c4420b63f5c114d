"""Which tokens are accepted, as whom, and why others are not: hostile ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import TokenVerifier, issue
from gateway.admission.tokens import TokenIdentity
from gateway.errors import ConfigError, Refusal
from gateway.ports.resources import Resource
from tests.admission.keys import (
    ASYMMETRIC,
    NOW_S,
    SECRET,
    claims,
    config_for,
    part,
    private_key,
    public_jwk,
    public_pem,
    signed,
    token,
)

HEADER = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture
def authenticator(tmp_path: Path) -> TokenVerifier:
    return TokenVerifier(config_for(tmp_path))


def refusal(authenticator: TokenVerifier, text: Any, now_s: float = NOW_S) -> Refusal:
    with pytest.raises(Refusal) as caught:
        authenticator.verify(text, now_s)
    return caught.value


# ------------------------------------------------------------------------------------------- accepted


def test_a_good_token_gives_its_identity(authenticator: TokenVerifier) -> None:
    identity = authenticator.verify(
        token(name="Ann Ono", avatar_url="https://a.example/ann.png", segments=["beta"]), NOW_S
    )
    assert identity[:5] == ("ann", "Ann Ono", "https://a.example/ann.png", NOW_S + 600, ("beta",))
    assert identity.role(Resource("event", "42")) == "editor"
    assert identity.allows(Resource("event", "42"), "viewer")
    assert not identity.allows(Resource("event", "42"), "admin")
    assert not identity.allows(Resource("calendar", "42"), "viewer")


def test_a_token_without_a_name_shows_the_user_id(authenticator: TokenVerifier) -> None:
    identity = authenticator.verify(token(), NOW_S)
    assert (identity.name, identity.avatar_url, identity.segments) == ("ann", "", ())


def test_any_unicode_user_id_and_name_is_kept(authenticator: TokenVerifier) -> None:
    identity = authenticator.verify(token(sub="уж\u200d👩‍💻", name="山田 太郎"), NOW_S)
    assert (identity.user_id, identity.name) == ("уж\u200d👩‍💻", "山田 太郎")


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_an_asymmetric_token_is_verified_with_the_jwks_file(tmp_path: Path, algorithm: str) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, [public_jwk(algorithm, "k1")], secret=False))
    for headers in ({"kid": "k1"}, None):
        good = token(private_key(algorithm), algorithm, headers)
        assert authenticator.verify(good, NOW_S).user_id == "ann"
    forged = token(private_key(algorithm, "other"), algorithm, {"kid": "k1"})
    assert "signature" in refusal(authenticator, forged).message


def test_the_kid_chooses_between_keys(tmp_path: Path) -> None:
    keys = [public_jwk("ES256", "old", "old"), public_jwk("ES256", "new", "new"), public_jwk("RS256", "rsa")]
    authenticator = TokenVerifier(config_for(tmp_path, keys, secret=False))
    assert authenticator.verify(token(private_key("ES256", "old"), "ES256", {"kid": "old"}), NOW_S)
    assert authenticator.verify(token(private_key("ES256", "new"), "ES256", {"kid": "new"}), NOW_S)
    assert authenticator.verify(token(private_key("ES256", "new"), "ES256"), NOW_S)
    swapped = token(private_key("ES256", "new"), "ES256", {"kid": "old"})
    assert "signature" in refusal(authenticator, swapped).message
    unknown = token(private_key("ES256", "new"), "ES256", {"kid": "newer"})
    assert "no ES256 key of its kid" in refusal(authenticator, unknown).message
    of_other_type = token(private_key("ES256", "new"), "ES256", {"kid": "rsa"})
    assert "no ES256 key of its kid" in refusal(authenticator, of_other_type).message


def test_the_only_key_does_not_serve_a_token_of_another_kid(tmp_path: Path) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, [public_jwk("ES256", "k1")], secret=False))
    other = token(private_key("ES256"), "ES256", {"kid": "k2"})
    assert "no ES256 key of its kid" in refusal(authenticator, other).message


def test_the_secret_has_no_kid_and_serves_any(authenticator: TokenVerifier) -> None:
    assert authenticator.verify(token(headers={"kid": "whatever"}), NOW_S).user_id == "ann"


def test_a_token_without_grants_gets_the_default_ones(tmp_path: Path) -> None:
    default = {"event:*": "viewer"}
    authenticator = TokenVerifier(config_for(tmp_path, default_grants=default))
    assert authenticator.verify(token(grants=None), NOW_S).role(Resource("event", "1")) == "viewer"
    assert (
        authenticator.verify(signed(HEADER, claims() | {"grants": None}), NOW_S).role(Resource("event", "1"))
        == "viewer"
    )
    assert authenticator.verify(token(grants={}), NOW_S).role(Resource("event", "1")) is None


def test_without_default_grants_nothing_is_granted(authenticator: TokenVerifier) -> None:
    assert authenticator.verify(token(grants=None), NOW_S).role(Resource("event", "1")) is None


def test_equal_grants_of_different_tokens_are_one_object(authenticator: TokenVerifier) -> None:
    one, two = (authenticator.verify(token(sub=user), NOW_S) for user in ("ann", "bob"))
    assert one.grants is two.grants


def test_an_identity_can_not_be_changed(authenticator: TokenVerifier) -> None:
    identity = authenticator.verify(token(), NOW_S)
    assert isinstance(identity, TokenIdentity)
    with pytest.raises(AttributeError):
        identity.user_id = "eve"  # type: ignore[misc]


# ------------------------------------------------------------------------------------------- times


def test_a_token_is_good_until_exp_and_not_at_it(authenticator: TokenVerifier) -> None:
    assert authenticator.verify(token(), NOW_S + 599.9)
    expired = refusal(authenticator, token(), NOW_S + 600)
    assert expired.code == "TOKEN_EXPIRED"
    assert "get a new one" in expired.message


def test_leeway_moves_the_end(tmp_path: Path) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, leeway_s=30))
    assert authenticator.verify(token(), NOW_S + 629).expires_at == NOW_S + 630
    assert refusal(authenticator, token(), NOW_S + 630).code == "TOKEN_EXPIRED"
    assert authenticator.verify(token(nbf=NOW_S + 30), NOW_S)
    assert "nbf" in refusal(authenticator, token(nbf=NOW_S + 31), NOW_S).message


def test_an_expired_token_with_a_wrong_signature_is_not_called_expired(authenticator: TokenVerifier) -> None:
    forged = token(b"x" * 32, exp=int(NOW_S) - 10)
    assert refusal(authenticator, forged).code == "UNAUTHENTICATED"


def test_a_token_is_refused_before_nbf_and_when_issued_far_in_the_future(
    authenticator: TokenVerifier,
) -> None:
    assert authenticator.verify(token(nbf=NOW_S), NOW_S)
    assert "not valid yet" in refusal(authenticator, token(nbf=NOW_S + 1)).message
    assert authenticator.verify(token(iat=NOW_S + 59), NOW_S)
    assert "issued in the future" in refusal(authenticator, token(iat=NOW_S + 61)).message


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        '"1900000000"',
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1",
        "true",
        "[]",
        "{}",
        "1e17",
        "9" * 400,
        '""',
    ],
)
def test_a_time_that_is_no_time_is_refused(authenticator: TokenVerifier, claim: str, value: str) -> None:
    payload = json.dumps(claims(nbf=1) | {claim: "@"}).replace('"@"', value)
    assert refusal(authenticator, signed(HEADER, payload.encode())).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("payload", [claims(exp=None), claims() | {"exp": None}])
def test_exp_is_required(authenticator: TokenVerifier, payload: dict[str, Any]) -> None:
    assert "exp (Unix seconds) is missing" in refusal(authenticator, signed(HEADER, payload)).message


# ------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    "value",
    [None, "", 5, True, ["ann"], {"id": "ann"}, "x" * 257, "a\x00b", "a\nb", "\x7f", "\x85", "\u2028"],
)
def test_sub_must_be_a_short_string_without_control_characters(
    authenticator: TokenVerifier, value: Any
) -> None:
    refused = refusal(authenticator, signed(HEADER, claims() | {"sub": value}))
    assert refused.code == "UNAUTHENTICATED"
    assert "claim sub" in refused.message


def test_a_lone_surrogate_in_a_claim_is_refused(authenticator: TokenVerifier) -> None:
    payload = json.dumps(claims()).replace("ann", "\\ud800").encode()
    assert "not JSON" in refusal(authenticator, signed(HEADER, payload)).message


@pytest.mark.parametrize("claim", ["name", "avatar_url"])
@pytest.mark.parametrize("value", [5, [], {}, False, "x" * 2049, "\x1b[31m"])
def test_an_unfit_name_or_avatar_is_refused(authenticator: TokenVerifier, claim: str, value: Any) -> None:
    assert f"claim {claim}" in refusal(authenticator, token(**{claim: value})).message


@pytest.mark.parametrize(
    "grants",
    [
        *([], "event:*", 5, True, {"event:*": "owner"}, {"event:*": None}, {"event:*": ["editor"]}),
        *({"event": "viewer"}, {"": "viewer"}, {"**": "viewer"}, {"event:a*b": "viewer"}, {"*:1": "viewer"}),
        *(
            {"event:a b": "viewer"},
            {"event:" + "x" * 129: "viewer"},
            {"event:é": "viewer"},
            {"event:1\n": "viewer"},
        ),
        {"event:*": "editor", "event:secret": "veiwer"},
    ],
)
def test_grants_of_a_wrong_shape_refuse_the_token(authenticator: TokenVerifier, grants: Any) -> None:
    refused = refusal(authenticator, signed(HEADER, claims() | {"grants": grants}))
    assert refused.code == "UNAUTHENTICATED"
    assert "claim grants is wrong" in refused.message


@pytest.mark.parametrize("segments", ["beta", 5, {}, [1], ["a", None]])
def test_segments_must_be_strings(authenticator: TokenVerifier, segments: Any) -> None:
    assert "claim segments" in refusal(authenticator, token(segments=segments)).message


def test_the_issuer_is_checked_where_it_is_configured(tmp_path: Path, authenticator: TokenVerifier) -> None:
    strict = TokenVerifier(config_for(tmp_path, issuer="https://id.example"))
    assert strict.verify(token(iss="https://id.example"), NOW_S)
    for iss in (None, "https://evil.example", "https://id.example/"):
        assert "issuer (iss)" in refusal(strict, token(iss=iss)).message
    assert (
        "issuer (iss)" in refusal(strict, signed(HEADER, claims() | {"iss": ["https://id.example"]})).message
    )
    assert authenticator.verify(token(iss="https://anyone.example"), NOW_S)


def test_the_audience_is_checked_where_it_is_configured(tmp_path: Path, authenticator: TokenVerifier) -> None:
    strict = TokenVerifier(config_for(tmp_path, audience="gateway"))
    for aud in ("gateway", ["other", "gateway"]):
        assert strict.verify(token(aud=aud), NOW_S)
    for wrong in (None, "gate", [], ["gatewayx"], {"gateway": 1}, 5, [["gateway"]]):
        assert "audience (aud)" in refusal(strict, signed(HEADER, claims() | {"aud": wrong})).message
    assert authenticator.verify(token(aud="anything"), NOW_S)


# ------------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, 5, ["HS256"], "HS384", "HS512", "PS256"]
)
@pytest.mark.parametrize("signature", ["", part(b""), part(b"x" * 32)])
def test_unsigned_and_foreign_algorithms_are_never_accepted(
    authenticator: TokenVerifier, alg: Any, signature: str
) -> None:
    text = f"{part({'alg': alg})}.{part(claims())}.{signature}"
    assert refusal(authenticator, text).code == "UNAUTHENTICATED"


def test_a_header_without_alg_is_refused(authenticator: TokenVerifier) -> None:
    assert "signed with one of" in refusal(authenticator, signed({"typ": "JWT"}, claims())).message


@pytest.mark.parametrize("with_secret", [True, False])
def test_a_public_key_is_no_hmac_secret(tmp_path: Path, with_secret: bool) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, [public_jwk("RS256", "k1")], secret=with_secret))
    pem = public_pem("RS256")
    for secret in (pem, pem.strip(), json.dumps(public_jwk("RS256", "k1")).encode()):
        for header in (HEADER, HEADER | {"kid": "k1"}):
            assert refusal(authenticator, signed(header, claims(), secret)).code == "UNAUTHENTICATED"


def test_an_asymmetric_signature_under_another_algorithms_name_is_refused(tmp_path: Path) -> None:
    keys = [public_jwk(algorithm, "k1") for algorithm in ASYMMETRIC]
    authenticator = TokenVerifier(config_for(tmp_path, keys))
    for algorithm in ASYMMETRIC:
        signature = token(private_key(algorithm), algorithm).rsplit(".", 1)[1]
        for claimed in {*ASYMMETRIC, "HS256"} - {algorithm}:
            text = f"{part({'alg': claimed, 'kid': 'k1'})}.{part(claims())}.{signature}"
            assert "signature is wrong" in refusal(authenticator, text).message


def test_an_algorithm_that_is_switched_off_is_refused(tmp_path: Path) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, [public_jwk("RS256")], algorithms=["RS256"]))
    assert authenticator.verify(token(private_key("RS256"), "RS256"), NOW_S)
    assert "signed with one of RS256" in refusal(authenticator, token()).message


@pytest.mark.parametrize(
    "extra", [{"crit": ["exp"], "exp": 1}, {"b64": False}, {"crit": []}, {"kid": 5}, {"kid": {}}]
)
def test_header_extensions_are_refused(authenticator: TokenVerifier, extra: dict[str, Any]) -> None:
    assert refusal(authenticator, signed(HEADER | extra, claims())).code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "...", "a.b", "a.b.c.d", "a.b.c.d.e", "Bearer x.y.z", " a.b.c", "a.b.c\n", "a..c"),
        *("é.b.c", "\ud800.b.c", "a.b.c", "=.=.=", "AAAA.AAAA.AAAA", "\x00.\x00.\x00"),
        *(None, 5, b"a.b.c", ["a.b.c"], {"token": "a.b.c"}),
    ],
)
def test_what_is_no_jwt_is_refused(authenticator: TokenVerifier, text: Any) -> None:
    assert refusal(authenticator, text).code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"5", b'"ann"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000, b"{}" * 2],
)
def test_a_payload_that_is_no_object_is_refused(tmp_path: Path, payload: bytes) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, token_bytes_max=1 << 20))
    for text in (signed(HEADER, payload), f"{part(payload)}.{part(claims())}.{part(b'x')}"):
        assert refusal(authenticator, text).code == "UNAUTHENTICATED"


def test_a_huge_token_is_refused_unread(tmp_path: Path) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, token_bytes_max=1000))
    assert "at most 1000 bytes" in refusal(authenticator, token(padding="x" * 1000)).message
    assert "at most 1000 bytes" in refusal(authenticator, "a" * 10_000_000).message


def test_every_changed_character_is_noticed(authenticator: TokenVerifier) -> None:
    good = token()
    assert authenticator.verify(good, NOW_S)
    for index, character in enumerate(good):
        for other in ("A", "B", "_", ".", "="):
            if other != character:
                assert (
                    refusal(authenticator, good[:index] + other + good[index + 1 :]).code == "UNAUTHENTICATED"
                )


def test_every_cut_is_noticed(authenticator: TokenVerifier) -> None:
    good = token()
    for index in range(len(good)):
        assert refusal(authenticator, good[:index]).code == "UNAUTHENTICATED"


def test_a_refusal_repeats_neither_secret_nor_claims(authenticator: TokenVerifier) -> None:
    private = "c0nfidential"
    for text in (
        token(b"x" * 32, sub=private),
        token(sub=private, exp=5),
        token(sub=private, iss=private, name="\x00" + private),
        signed(HEADER | {"kid": [private]}, claims()),
        f"{part({'alg': private})}.{part(claims())}.{part(b'x')}",
        private,
    ):
        message = refusal(authenticator, text).message
        assert private not in message
        assert SECRET.decode() not in message


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_pyjwt_agrees_on_mutated_tokens(data: st.DataObject, shared_authenticator: TokenVerifier) -> None:
    good = token()
    text = list(good)
    for _ in range(data.draw(st.integers(0, 2))):
        index = data.draw(st.integers(0, len(text) - 1))
        text[index] = data.draw(st.sampled_from("ABab09-_."))
    mutated = "".join(text)
    try:
        expected = jwt.decode(mutated, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})
    except jwt.PyJWTError:
        assert refusal(shared_authenticator, mutated).code == "UNAUTHENTICATED"
    else:
        assert shared_authenticator.verify(mutated, NOW_S).user_id == expected["sub"]


@given(
    text=st.one_of(
        st.text(), st.text("ab.-_=", max_size=40), st.binary().map(lambda raw: f"{part(raw)}.{part(raw)}.a")
    )
)
@settings(max_examples=300, deadline=None)
def test_no_text_does_more_than_be_refused(text: str, shared_authenticator: TokenVerifier) -> None:
    assert refusal(shared_authenticator, text).code == "UNAUTHENTICATED"


CLAIM_NAMES = st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "grants", "name", "segments"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(CLAIM_NAMES, inner),
)


@given(changed=st.dictionaries(CLAIM_NAMES, JSON_VALUES))
@settings(max_examples=100, deadline=None)
def test_no_claims_do_more_than_be_refused(
    changed: dict[str, Any], shared_authenticator: TokenVerifier
) -> None:
    text = signed(HEADER, claims() | changed)
    try:
        code = shared_authenticator.verify(text, NOW_S) and "accepted"
    except Refusal as refused:
        code = refused.code
    assert code in ("accepted", "UNAUTHENTICATED", "TOKEN_EXPIRED")


@pytest.fixture(scope="module")
def shared_authenticator(tmp_path_factory: pytest.TempPathFactory) -> TokenVerifier:
    return TokenVerifier(config_for(tmp_path_factory.mktemp("keys")))


# ------------------------------------------------------------------------------------------- issuing


def test_an_issued_token_is_accepted(tmp_path: Path) -> None:
    authenticator = TokenVerifier(config_for(tmp_path, issuer="me", audience="gateway"))
    text = issue(
        SECRET,
        "ann",
        {"event:7": "admin"},
        60,
        NOW_S,
        name="Ann",
        segments=["beta"],
        issuer="me",
        audience="gateway",
    )
    identity = authenticator.verify(text, NOW_S)
    assert identity[:5] == ("ann", "Ann", "", NOW_S + 60, ("beta",))
    assert identity.role(Resource("event", "7")) == "admin"


@pytest.mark.parametrize(
    ("user_id", "grants", "name"),
    [
        ("", {}, ""),
        ("x" * 257, {}, ""),
        ("a\n", {}, ""),
        ("ann", {}, "x" * 257),
        ("ann", {"event": "editor"}, ""),
    ],
)
def test_nothing_is_issued_that_would_be_refused(user_id: str, grants: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError):
        issue(SECRET, user_id, grants, 60, NOW_S, name=name)


@pytest.mark.parametrize("segment", ["x" * 257, "two\nlines"])
def test_what_segment_is_accepted_is_issued(authenticator: TokenVerifier, segment: str) -> None:
    issued = issue(SECRET, "ann", {}, 60, NOW_S, segments=[segment])
    assert authenticator.verify(issued, NOW_S).segments == (segment,)


@pytest.mark.parametrize("claim", ["issuer", "audience", "segments"])
def test_no_half_of_a_surrogate_is_issued(claim: str) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        issue(SECRET, "ann", {}, 60, NOW_S, **{claim: ["\udcfc"] if claim == "segments" else "\udcfc"})


def test_wrong_default_grants_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.default_grants: 'event' is no grant"):
        TokenVerifier(config_for(tmp_path, default_grants={"event": "viewer"}))
