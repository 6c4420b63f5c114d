"""The rules of a node's resources, and of those that the gateway keeps beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.errors import Refusal
from gateway.ports import Rules

# The types of what the gateway keeps for itself; no client can name them.
INDEX = "children"
NAMES = "names"
HIDDEN = frozenset({INDEX, NAMES})


class IndexRules:
    """`rules`, and none for what is hidden: the gateway alone writes it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def types(self) -> Collection[str]:
        """The types that clients may name."""
        return self._rules.types

    def strategies(self, resource_type: str) -> Any:
        """See the port."""
        return None if resource_type in HIDDEN else self._rules.strategies(resource_type)

    def check(self, resource_type: str, document: Any, touched: Collection[str] | None) -> None:
        """See the port."""
        if resource_type not in HIDDEN:
            self._rules.check(resource_type, document, touched)

    def check_operations(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> None:
        """See the port."""
        if resource_type not in HIDDEN:
            self._rules.check_operations(resource_type, operations)

    def may_hide_html(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> bool:
        """See the port."""
        return resource_type not in HIDDEN and self._rules.may_hide_html(resource_type, operations)

    def sanitise(
        self, resource_type: str, document: Any, touched: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """See the port."""
        return [] if resource_type in HIDDEN else self._rules.sanitise(resource_type, document, touched)

    def cleaned(self, text: str) -> str | Refusal:
        """See the port."""
        return self._rules.cleaned(text)

    def keep(self, outcomes: Mapping[str, str | Refusal]) -> None:
        """See the port."""
        self._rules.keep(outcomes)
