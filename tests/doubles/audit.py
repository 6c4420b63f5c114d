"""An audit in memory."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ports.audit import FIRST, AuditEntry, AuditRecord, AuditSearch, chained, retained, told_apart


class MemoryAudit:
    """The port `AuditStore`."""

    def __init__(self) -> None:
        self._records: list[AuditRecord] = []

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        """See the port."""
        found, left = told_apart(entries, tried, self._records)
        last = self._records[-1] if self._records else None
        number, previous = (last.number, last.digest) if last else (0, FIRST)
        made = chained(number, previous, left)
        self._records += made
        return [*found, *made]

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """See the port."""
        ordered = self._records if wanted.after is not None else self._records[::-1]
        return [record for record in ordered if _fits(record, wanted)][: wanted.limit]

    async def retain(self, since_ms: int, node: str, now_ms: int) -> int:
        """See the port."""
        young = (place for place, item in enumerate(self._records) if item.entry.stamp_ms >= since_ms)
        count = min(next(young, len(self._records)), len(self._records) - 1)
        if count <= 0:
            return 0
        through = self._records[count - 1]
        del self._records[:count]
        await self.append([retained(through, count, since_ms, node, now_ms)])
        return count

    async def aclose(self) -> None:
        """Nothing is open."""


def _fits(record: AuditRecord, wanted: AuditSearch) -> bool:
    entry = record.entry
    said = " ".join(map(str, (entry.act, entry.actor, entry.subject, entry.result, entry.details)))
    return (
        (wanted.before is None or record.number < wanted.before)
        and (wanted.after is None or record.number > wanted.after)
        and wanted.act in (None, entry.act)
        and wanted.actor in (None, entry.actor)
        and wanted.subject in (None, entry.subject)
        and (wanted.text is None or wanted.text.lower() in said.lower())
        and (wanted.since_ms is None or entry.stamp_ms >= wanted.since_ms)
        and (wanted.until_ms is None or entry.stamp_ms < wanted.until_ms)
    )
