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
