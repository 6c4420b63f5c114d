"""What may be read, as a token's grants say."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.ports.search import Scope

TEXTS = st.text("ab:", max_size=4)
SETS = st.frozensets(TEXTS, max_size=3)
SCOPES = st.builds(Scope, SETS, SETS, SETS, SETS)


@given(SCOPES, TEXTS, TEXTS)
@example(Scope(prefixes=frozenset({"a:"}), without_prefixes=frozenset({"a:b"})), "a:", "b")
def test_of_names_that_begin_alike_the_same_may_be_read(scope: Scope, beginning: str, rest: str) -> None:
    assert scope.within(beginning).covers(beginning + rest) == scope.covers(beginning + rest)


def test_where_all_of_them_are_granted_nothing_is_looked_up() -> None:
    assert Scope(prefixes=frozenset({"event:"})).within("event:").everything
    assert Scope(prefixes=frozenset({""})).within("event:").everything
    assert not Scope(prefixes=frozenset({"event:a"})).within("event:").everything
