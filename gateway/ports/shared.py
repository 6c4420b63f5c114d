"""What the core asks of where an operator's decisions are written down: the same for all nodes, there after a
restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class StoredValues(NamedTuple):
    """Values of JSON that were set at run time, by name.

    `revision` grows with each change (0: there was none). `changed_by` is a user's id, `changed_ms` Unix ms.
    """

    revision: int = 0
    values: Mapping[str, Any] = {}
    changed_by: str = ""
    changed_ms: int = 0

    def changed(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """The next revision: these values set, those that are None taken out."""
        merged = {**self.values, **values}
        kept = {name: value for name, value in merged.items() if value is not None}
        return StoredValues(self.revision + 1, kept, changed_by, changed_ms)


class ValueStore(Protocol):
    """Where values are. Methods raise LogUnavailable."""

    async def read(self, known: StoredValues) -> StoredValues:
        """What is stored; `known`, where that is it still."""
        ...

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """Set these values and leave the others; None takes one out."""
        ...

    async def put_back(self, known: StoredValues) -> StoredValues:
        """Store this, as it is, where what is stored is older: later changes were lost there. What is stored
        then."""
        ...


class SecretStore(Protocol):
    """Where nodes tell each other which token secrets they have: fingerprints, which tell nothing of them."""

    async def meet(self, own: Sequence[str], kept_s: float) -> Sequence[str]:
        """What others told within `kept_s`. `own` is told from now on, unless none of it is among that.

        Raises LogUnavailable.
        """
        ...
