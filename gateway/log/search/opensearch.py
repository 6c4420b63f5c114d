"""The index of a cluster: OpenSearch or Elasticsearch, by the part of their REST API that both have.

Trigrams are the terms of the folded text. A term of three or more characters must have all its trigrams one
after the other; a shorter one is the beginning of a trigram, and each text ends so that every character
begins one. What may be read is a filter of the query, so hits and counts know of nothing else.

What was erased leaves a mark under its resource's name. `store` looks for it before and after it writes, and
`erase` writes it before it deletes, so whichever comes late sees the other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
import trio

from gateway.errors import LogUnavailable
from gateway.ports.search import Erasure, FoundEntry, IndexEntry, Wanted
from gateway.runtime.timeslice import Slices, turns
from gateway.search.terms import fragments, matches
from gateway.search.texts import Folding, fold_in_slices

logger = logging.getLogger(__name__)

# Another one is made beside the old one and takes its place: see `gateway reindex`.
FORMAT_VERSION = 1
TRIGRAM = 3
END = "\n\n"
BULK_BYTES_MAX = 4 << 20
# A server takes 1,024 clauses in a query, nested ones counted (`indices.query.bool.max_clause_count`). One
# erasure makes seven; a phrase says all of a term, its trigrams make it fast.
ERASURES_A_REQUEST = 100
TRIGRAMS_A_TERM = 32
# Read again, where some hits have the trigrams of a term and not the term.
ROUNDS_MAX = 5
NDJSON = {"Content-Type": "application/x-ndjson"}
# Of a document's version in the index, so that a later epoch is a later version.
VERSION_BITS = 22
_KEYWORDS = ("ident", "kind", "type", "id", "name", "user_id")
_LONGS = ("epoch", "version", "timestamp", "upto")

MAPPING: Mapping[str, Any] = {
    "settings": {
        # The order of `find`, which asks for no total: so a server ends at the page, not at all that matches.
        "index": {"sort.field": ["timestamp", "ident"], "sort.order": ["desc", "asc"]},
        "analysis": {
            "tokenizer": {"trigram": {"type": "ngram", "min_gram": TRIGRAM, "max_gram": TRIGRAM}},
            "analyzer": {"trigram": {"type": "custom", "tokenizer": "trigram"}},
        },
    },
    "mappings": {
        "dynamic": "strict",
        "_meta": {"format": FORMAT_VERSION},
        "properties": {
            **{name: {"type": "keyword"} for name in _KEYWORDS},
            **{name: {"type": "long"} for name in _LONGS},
            "folded": {"type": "text", "analyzer": "trigram"},
            "text": {"type": "keyword", "index": False, "doc_values": False},
        },
    },
}


class Answer(NamedTuple):
    """What the server said: its status, and the body's JSON."""

    status: int
    body: Any


class Rest(Protocol):
    """The server. Raises LogUnavailable where it doesn't answer in time, or says that it can't."""

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; `body` is JSON, or bytes as they are."""
        ...

    async def aclose(self) -> None: ...


class OpenSearchIndex:
    """The port `SearchIndex` over the index (or its alias) `name`."""

    def __init__(self, rest: Rest, name: str) -> None:
        self._rest = rest
        self._name = name
        self.refused = 0

    async def make(self, alias: str = "") -> None:
        """Make the index where there is none; with an alias it is named by that from its first moment on."""
        named: Mapping[str, Any] = {"aliases": {alias: {}}} if alias else {}
        answer = await self._rest.ask("PUT", f"/{self._name}", {**MAPPING, **named})
        if answer.status >= 400 and "resource_already_exists" not in str(answer.body):
            raise LogUnavailable(f"the index {self._name} can't be made: {answer.body}", "none")

    async def is_there(self) -> bool:
        """Whether the server has it."""
        answer = await self._rest.ask("HEAD", f"/{self._name}")
        if answer.status >= 400 and answer.status != 404:
            raise LogUnavailable(f"the index {self._name} can't be looked for: {answer.status}", "none")
        return answer.status < 400

    async def drop(self) -> None:
        """Remove the index, if it is there."""
        answer = await self._rest.ask("DELETE", f"/{self._name}")
        if answer.status >= 400 and answer.status != 404:
            raise LogUnavailable(f"the index {self._name} can't be removed: {answer.body}", "none")

    async def refresh(self) -> None:
        """Have found what was stored."""
        await self._post("_refresh", None)

    async def store(self, entries: Sequence[IndexEntry]) -> None:
        """See the port."""
        names = list(dict.fromkeys(entry.name for entry in entries))
        erased = await self._erased(names)
        sound = [entry for entry in entries if not _is_erased(entry, erased.get(entry.name))]
        await self._write(sound)
        later = {name: mark for name, mark in (await self._erased(names)).items() if mark != erased.get(name)}
        if later:
            await self._delete(later.values())

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """See the port."""
        await self._erased([erasure.name for erasure in erasures])
        await self._bulk(b"".join(map(_mark, erasures)))
        await self._delete(erasures)

    async def find(self, wanted: Wanted) -> Sequence[FoundEntry]:
        """See the port."""
        found: list[FoundEntry] = []
        shown = _Shown(wanted.terms)
        after = None if wanted.after is None else list(wanted.after)
        for _ in range(ROUNDS_MAX):
            query = {"size": wanted.limit, "query": _query(wanted), "track_total_hits": False}
            query["sort"] = [{"timestamp": "desc"}, {"ident": "asc"}]
            query["_source"] = [*_SHOWN, "text"]
            if after is not None:
                query["search_after"] = after
            hits = (await self._post("_search", query))["hits"]["hits"]
            found += [entry for hit in hits if (entry := await shown.entry(hit["_source"])) is not None]
            if len(found) >= wanted.limit or len(hits) < wanted.limit:
                break
            after = hits[-1]["sort"]
        return found[: wanted.limit]

    async def count(self, wanted: Wanted, most: int) -> int:
        """See the port."""
        query = {"size": 0, "query": _query(wanted), "track_total_hits": most}
        return min(most, int((await self._post("_search", query))["hits"]["total"]["value"]))

    async def aclose(self) -> None:
        """The connection is its maker's."""

    # ------------------------------------------------------------------------------------- requests

    async def _post(self, verb: str, body: object) -> Any:
        return _good(await self._rest.ask("POST", f"/{self._name}/{verb}", body), verb)

    async def _write(self, entries: Sequence[IndexEntry]) -> None:
        """Write in requests of BULK_BYTES_MAX, or of one entry."""
        slices = Slices(trio.current_time)
        body: list[bytes] = []
        size = 0
        for entry in entries:
            lines = await _lines(entry, slices)
            if body and size + len(lines) > BULK_BYTES_MAX:
                await self._bulk(b"".join(body))
                body, size = [], 0
            body.append(lines)
            size += len(lines)
        await self._bulk(b"".join(body))

    async def _bulk(self, body: bytes) -> None:
        """Write; raises LogUnavailable where a part of it was put off."""
        if not body:
            return
        answer = _good(await self._rest.ask("POST", f"/{self._name}/_bulk", body, NDJSON), "_bulk")
        if not answer["errors"]:
            return
        for item in answer["items"]:
            [done] = item.values()
            status = done["status"]
            if status == 429 or status >= 500:
                raise LogUnavailable(f"the index put off a part of a bulk: {done.get('error')}", "unknown")
            if status >= 400 and status not in (404, 409):  # 409: what is there is newer
                self.refused += 1
                logger.error("the index refuses %s: %s", done.get("_id"), done.get("error"))

    async def _erased(self, names: Sequence[str]) -> dict[str, Erasure]:
        """The marks of these resources. Raises LogUnavailable where the index is gone: by writing to it, a
        server would make another one, which finds nothing by its texts."""
        if not names:
            return {}
        found = await self._post("_mget", {"ids": [f"e:{name}" for name in names]})
        if any("error" in item for item in found["docs"]):
            raise LogUnavailable(f"the index {self._name} is gone", "none")
        sources = [item["_source"] for item in found["docs"] if item.get("found")]
        return {source["name"]: _erasure(source) for source in sources}

    async def _delete(self, erasures: Iterable[Erasure]) -> None:
        left = list(erasures)
        await self.refresh()
        while left:
            some, left = left[:ERASURES_A_REQUEST], left[ERASURES_A_REQUEST:]
            verb = "_delete_by_query?refresh=true&conflicts=proceed"
            done = await self._post(verb, {"query": _any_of([_gone(erasure) for erasure in some])})
            if done.get("failures"):
                raise LogUnavailable(f"the index erased only a part: {done['failures'][:1]}", "unknown")


_SHOWN = ("kind", "type", "id", "version", "user_id", "timestamp")


def _good(answer: Answer, verb: str) -> Any:
    """What was answered; raises LogUnavailable where that is less than was asked for."""
    if answer.status >= 400 or not isinstance(answer.body, dict):
        raise LogUnavailable(f"the index refuses {verb}: {answer.status} {str(answer.body)[:300]}", "unknown")
    shards = answer.body.get("_shards")
    failed = shards.get("failed", 0) if isinstance(shards, dict) else 0
    if failed or answer.body.get("timed_out"):
        raise LogUnavailable(f"the index did only a part of {verb}: {failed} shards failed", "unknown")
    return answer.body


def _action(name: str, ident: str, version: int) -> bytes:
    action = {name: {"_id": ident, "version": version, "version_type": "external_gte"}}
    return orjson.dumps(action) + b"\n"


def _version(entry: IndexEntry) -> int:
    return (entry.epoch << VERSION_BITS) + min(entry.version, (1 << VERSION_BITS) - 1)


async def _lines(entry: IndexEntry, slices: Slices) -> bytes:
    if entry.text is None:
        return _action("delete", entry.ident, _version(entry))
    fields = {**entry._asdict(), "ident": entry.ident, "name": entry.name}
    fields["folded"] = (await fold_in_slices(entry.text, slices)).replace("\n", END) + END
    return _action("index", entry.ident, _version(entry)) + orjson.dumps(fields) + b"\n"


def _mark(erasure: Erasure) -> bytes:
    ident = f"e:{erasure.name}"
    version = (erasure.epoch << VERSION_BITS) + min(erasure.upto, (1 << VERSION_BITS) - 1)
    fields = {"ident": ident, "kind": "erased", **erasure._asdict()}
    return _action("index", ident, version) + orjson.dumps(fields) + b"\n"


def _erasure(source: Mapping[str, Any]) -> Erasure:
    return Erasure(source["name"], source["epoch"], source["upto"])


def _is_erased(entry: IndexEntry, mark: Erasure | None) -> bool:
    if mark is None:
        return False
    is_old = entry.kind == "change" and entry.epoch == mark.epoch and entry.version <= mark.upto
    return entry.epoch < mark.epoch or is_old


def _gone(erasure: Erasure) -> dict[str, Any]:
    older = {"range": {"epoch": {"lt": erasure.epoch}}}
    changes = [
        {"term": {"kind": "change"}},
        {"range": {"epoch": {"lte": erasure.epoch}}},
        {"range": {"version": {"lte": erasure.upto}}},
    ]
    either = {"should": [older, {"bool": {"filter": changes}}], "minimum_should_match": 1}
    mine = [{"term": {"name": erasure.name}}, {"terms": {"kind": ["document", "change"]}}, {"bool": either}]
    return {"bool": {"filter": mine}}


# ----------------------------------------------------------------------------------------- searching


def _query(wanted: Wanted) -> dict[str, Any]:
    kinds = ["document", "change"] if wanted.kind is None else [wanted.kind]
    filters: list[dict[str, Any]] = [{"terms": {"kind": kinds}}]
    without: list[dict[str, Any]] = []
    scope = wanted.scope
    if scope.nothing:
        filters.append({"match_none": {}})
    elif not scope.everything:
        filters.append(_any_of(_named(scope.names, scope.prefixes)))
        without = _named(scope.without, scope.without_prefixes)
    if wanted.types is not None:
        filters.append({"terms": {"type": list(wanted.types)}})
    if wanted.user_id is not None:
        filters.append({"term": {"user_id": wanted.user_id}})
    bounds = {"gte": wanted.since_ms, "lt": wanted.until_ms}
    given = {name: value for name, value in bounds.items() if value is not None}
    if given:
        filters.append({"range": {"timestamp": given}})
    for term in wanted.terms:
        filters += _of_term(term.replace("\n", END))
    return {"bool": {"filter": filters, "must_not": without}}


def _named(names: Iterable[str], prefixes: Iterable[str]) -> list[dict[str, Any]]:
    """Conditions, any of which is met by what is named so."""
    found: list[dict[str, Any]] = [{"terms": {"name": sorted(names)}}] if names else []
    return found + [
        {"prefix": {"name": prefix}} if prefix else {"match_all": {}} for prefix in sorted(prefixes)
    ]


def _any_of(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"bool": {"should": list(conditions), "minimum_should_match": 1}}


def _of_term(term: str) -> list[dict[str, Any]]:
    if len(term) < TRIGRAM:
        return [{"prefix": {"folded": term}}]
    trigrams = sorted({term[at : at + TRIGRAM] for at in range(len(term) - TRIGRAM + 1)})[:TRIGRAMS_A_TERM]
    together = [{"match_phrase": {"folded": term}}] if len(trigrams) > 1 else []
    return [*({"term": {"folded": trigram}} for trigram in trigrams), *together]


class _Shown:
    """Makes a page's entries of hits, in slices."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = terms
        self._folding = Folding()
        self._slices = Slices(trio.current_time, turns())

    async def entry(self, source: Mapping[str, Any]) -> FoundEntry | None:
        """What a hit shows; None where it doesn't have the terms: a server may be loose about the order of
        trigrams. Where the page was too much to be looked at, it is taken at its word."""
        entry = FoundEntry(**{name: source[name] for name in _SHOWN}, fragments=[])
        folded = await self._folding.fold_in_slices(source["text"], self._slices) if self._terms else None
        if folded is None:
            return entry
        if not matches(folded.folded, self._terms):
            return None
        return entry._replace(fragments=fragments(folded, self._terms))
