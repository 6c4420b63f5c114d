"""Requests made from an OpenAPI description, valid ones and broken ones: every answer must be as described.

    python -m tests.http.openapi_fuzz --requests 10000 [--seed N]

asks both ports of a real node. An answer fails when its status is 5xx (503 may be described), isn't described
for the operation, or its body isn't as its schema says.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import trio

from tests.http.node import served
from tests.waiting import PATIENCE_S

IDS = ("1", "2", "a.b~c:d@e-f_g")
TEXTS = (
    "",
    "x",
    "17",
    "-1",
    "99999999999999999999",
    "2030-07-01T09:00:00Z",
    "true",
    "*",
    '"3"',
    "é\u202e",
    "a" * 300,
)
METHODS = ("get", "put", "post", "patch", "delete")
# It ends the node, so it comes last.
DRAIN = "/v1/drain"


class Fuzzer:
    """What is asked of one port, by its own description."""

    def __init__(self, description: Mapping[str, Any], rng: random.Random) -> None:
        self._description = description
        self._rng = rng
        self._operations = [
            (path, method, item[method], item.get("parameters", []))
            for path, item in description["paths"].items()
            for method in METHODS
            if method in item and path != DRAIN
        ]
        self.statuses: Counter[str] = Counter()
        self.never_asked = {(method, path) for path, method, _, _ in self._operations}

    async def drain(self, client: httpx.AsyncClient) -> None:
        """End the node, by whoever may not and by whoever may."""
        operation = self._description["paths"][DRAIN]["post"]
        for token in ({"Authorization": "Bearer x"}, {}):
            self._check(f"post {DRAIN} {token}", operation, await client.post(DRAIN, headers=token))

    async def ask(self, client: httpx.AsyncClient) -> None:
        """One request; raises AssertionError for an answer that isn't as described."""
        path, method, operation, shared = self._rng.choice(self._operations)
        self.never_asked.discard((method, path))
        parameters = [*shared, *operation.get("parameters", [])]
        values = {parameter["name"]: self._value(parameter) for parameter in parameters}
        for parameter in parameters:
            if parameter["in"] == "path":
                path = path.replace(
                    f"{{{parameter['name']}}}", quote(str(values[parameter["name"]]), safe="")
                )
        query = self._wanted(parameters, values, "query")
        if self._rng.random() < 0.05:
            query[self._word()] = self._text()
        headers = {
            name: value.strip().encode("latin-1", "replace")
            for name, value in self._wanted(parameters, values, "header").items()
        }
        if self._rng.random() < 0.1:
            headers["Authorization"] = self._rng.choice((b"", b"Bearer x", b"Basic eA==", b"Bearer a.b.c"))
        content = self._body(operation)
        answer = await client.request(method, path, params=query, headers=headers, content=content)
        self._check(f"{method} {answer.request.url} {content!r}", operation, answer)

    # ---------------------------------------------------------------------------------------- making

    def _wanted(
        self, parameters: list[Mapping[str, Any]], values: Mapping[str, Any], place: str
    ) -> dict[str, str]:
        return {
            parameter["name"]: str(values[parameter["name"]])
            for parameter in parameters
            if parameter["in"] == place and self._rng.random() < 0.3
        }

    def _value(self, parameter: Mapping[str, Any]) -> Any:
        rng, schema = self._rng, parameter["schema"]
        if parameter["in"] == "path" and rng.random() < 0.95:
            return rng.choice(schema.get("enum", IDS))
        if rng.random() < 0.25:
            return self._text() or "x"
        if "enum" in schema or "const" in schema:
            return rng.choice(schema.get("enum", [schema.get("const")]))
        if schema.get("type") == "integer":
            least = schema.get("minimum", 0)
            most = min(schema.get("maximum", 9), 2 if parameter["name"] == "wait" else 9)
            return rng.randint(least, max(least, most))
        if schema.get("type") == "boolean":
            return rng.choice(("true", "false"))
        return rng.choice(TEXTS[2:])

    def _body(self, operation: Mapping[str, Any]) -> bytes | None:
        rng = self._rng
        if "requestBody" not in operation:
            return None
        if rng.random() < 0.1:
            return rng.choice((b"", b"{", b"null", b"\xff", b"[]", b'"x"', b"1e999", b"[" * 200, b"9" * 400))
        schema = operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "")
        made: Mapping[str, Callable[[], Any]] = {
            "Restore": self._restoring,
            "FlagsChange": self._flags,
            "EvaluationContext": self._context,
        }
        make = made.get(schema.rpartition("/")[2], rng.choice((self._edit, self._document)))
        return json.dumps(make()).encode()

    def _flags(self) -> Any:
        values = {
            "enabled": (True, None, "yes"),
            "kill_switch": (False, None, 0),
            "rollout_percentage": (0, 12.5, 100, 101, -1, None, True),
            "segments": ([], ["beta"], [1], "beta", None),
            "ab_test_variant": ("", "blue", "b\u0000", 7, None),
            "ab_test_percentage": (0, 50, 1e9, None),
            self._word(): (1,),
        }
        names = self._rng.sample(tuple(values), self._rng.choice((0, 1, 1, 1, 2)))
        return {name: self._rng.choice(values[name]) for name in names}

    def _context(self) -> Any:
        contexts = ({}, {"targetingKey": "ann"}, {"targetingKey": "bob"}, {"targetingKey": 7}, [], None)
        return self._rng.choice(({}, [], *({"context": context} for context in contexts)))

    def _restoring(self) -> Any:
        rng = self._rng
        wanted: dict[str, Any] = {"version": rng.choice((1, 2, 3, 9, 0, -1, "1", None, 2**60))}
        if rng.random() < 0.6:
            wanted["path"] = rng.choice(("", "/title", "/n", "/tags/0", "title", "/a/b/c", "/-1", 7, None))
        for name in ("client_id", "seq", "epoch", "on_conflict", "force"):
            if rng.random() < 0.15:
                wanted[name] = rng.choice((1, 2, "merge", "c", True, None))
        return wanted

    def _edit(self) -> Any:
        rng = self._rng
        operation = {
            "op": rng.choice(("add", "replace", "remove", "test", "move", "copy", "text", "inc", "nonsense")),
            "path": rng.choice(("/title", "/n", "", "/tags/0", "/tags/-", "title", "/~2", "/a/b/c")),
            "value": self._json(2),
        }
        edit: dict[str, Any] = {
            "operations": [operation] * rng.randint(0, 3),
            "version": rng.randint(0, 6),
            "client_id": rng.choice(("c", "d")),
        }
        for name in ("seq", "epoch", "force", "on_conflict", "resource_id", "operation"):
            if rng.random() < 0.15:
                edit[name] = rng.choice((1, 2, "merge", "refuse", True, operation, None, "1"))
        if rng.random() < 0.1:
            del edit[rng.choice(tuple(edit))]
        return edit

    def _document(self) -> Any:
        fields = ("title", "n", "tags", "start_time", "calendar_id", "__proto__", self._word())
        return {name: self._json(3) for name in fields if self._rng.random() < 0.5}

    def _json(self, depth: int) -> Any:
        rng = self._rng
        plain = (None, True, 0, -1.5, 2**53, 2**64, "", "x", "é", "<b>bold</b>", "2030-07-01T09:00:00Z")
        if not depth or rng.random() < 0.6:
            return rng.choice(plain)
        if rng.random() < 0.5:
            return [self._json(depth - 1) for _ in range(rng.randint(0, 3))]
        return {self._word(): self._json(depth - 1) for _ in range(rng.randint(0, 3))}

    def _word(self) -> str:
        return "".join(self._rng.choices(string.ascii_letters + "/~ é", k=self._rng.randint(1, 6)))

    def _text(self) -> str:
        return self._rng.choice((*TEXTS, self._word()))

    # --------------------------------------------------------------------------------------- judging

    def _check(self, asked: str, operation: Mapping[str, Any], answer: httpx.Response) -> None:
        status = str(answer.status_code)
        self.statuses[status] += 1
        told = f"{asked[:600]} -> {status} {answer.text[:300]}"
        described = operation["responses"].get(status)
        assert described is not None, f"not described: {told}"
        assert status < "500" or status == "503", told
        described = self._resolved(described)
        for media_type, content in described.get("content", {}).items():
            assert answer.headers["content-type"].startswith(media_type), told
            if "json" in media_type:
                schema = {**content["schema"], "components": self._description["components"]}
                jsonschema_rs.validate(schema, answer.json())
        if "content" not in described:
            assert not answer.content, told

    def _resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Any = value
        while "$ref" in found:
            reference, found = found["$ref"], self._description
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
        return found  # type: ignore[no-any-return]


async def fuzz(data: Path, requests: int, seed: int) -> Counter[str]:
    """Ask both ports of a node; the statuses that came."""
    rng = random.Random(seed)
    async with served(data, "fast") as node:
        bearer = node.client.headers["authorization"]
        admin = f"http://127.0.0.1:{node.admin_port}"
        headers = {"Authorization": bearer}
        async with httpx.AsyncClient(base_url=admin, headers=headers, timeout=PATIENCE_S) as operator:
            found: Counter[str] = Counter()
            for client in (node.client, operator):
                fuzzer = Fuzzer((await client.get("/openapi.json")).json(), rng)
                for _ in range(requests // 2):
                    await fuzzer.ask(client)
                assert not fuzzer.never_asked, fuzzer.never_asked
                if client is operator:
                    await fuzzer.drain(client)
                found += fuzzer.statuses
        assert node.node.metrics.internal_errors == 0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as data:
        found = trio.run(fuzz, Path(data), options.requests, options.seed)
    print(", ".join(f"{count} x {status}" for status, count in sorted(found.items())))


if __name__ == "__main__":
    sys.exit(main())
