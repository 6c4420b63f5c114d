"""Which tokens a revocation is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.admission import Revocation, Revocations, TokenVerifier
from gateway.errors import Refusal
from tests.admission.keys import NOW_S, config_for, token


def test_a_users_tokens_are_revoked_up_to_the_second_in_which_that_was_said(tmp_path: Path) -> None:
    verifier = TokenVerifier(config_for(tmp_path))
    verifier.take_revocations(Revocations([Revocation("user", "ann", NOW_S)]))
    for issued_s in (NOW_S - 1, NOW_S):
        with pytest.raises(Refusal, match="revoked"):
            verifier.verify(token(iat=issued_s), NOW_S + 1)
    assert verifier.verify(token(iat=NOW_S + 1), NOW_S + 1).user_id == "ann"
    assert verifier.verify(token(sub="bob", iat=NOW_S), NOW_S + 1).user_id == "bob"


def test_a_revocation_of_a_kind_of_a_later_release_ends_nothing_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    later = Revocation.read({"kind": "device", "subject": "ann", "issued_until": NOW_S, "model": "phone"})
    assert not Revocations([later]).ends("ann", NOW_S)
    assert [record.getMessage() for record in caplog.records] == [
        "a revocation of a later release isn't in force here: device ann"
    ]
