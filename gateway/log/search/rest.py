"""Requests to a search server by httpx, which runs under Trio: bounded in time, and errors of one kind."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import orjson

from gateway.config import SearchSettings
from gateway.config.passwords import password_of
from gateway.config.urls import http_url
from gateway.errors import LogUnavailable
from gateway.log.search.opensearch import Answer

# Too busy, or on its way up or down: ask again later.
BUSY = frozenset({408, 429, 502, 503, 504})
CONNECTIONS_MAX = 10


class HttpRest:
    """The port `Rest` over the server that the settings name. Raises ConfigError for a wrong one."""

    def __init__(self, settings: SearchSettings) -> None:
        password = password_of(settings, "search")
        self._client = httpx.AsyncClient(
            base_url=http_url("search.url", settings.url, "https://HOST:9200", httpx.URL),
            auth=(settings.user, password) if settings.user else None,
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """See the port."""
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            answer = await self._client.request(method, path, content=content, headers=sent)
            found = orjson.loads(answer.content) if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            said = str(error) or type(error).__name__
            raise LogUnavailable(f"the search server doesn't answer: {said}", "unknown") from error
        if answer.status_code in BUSY:
            raise LogUnavailable(f"the search server is busy: {answer.status_code}", "unknown")
        return Answer(answer.status_code, found)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
