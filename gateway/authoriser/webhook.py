"""A webhook as authoriser: a POST with many questions, by httpx, which runs under Trio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from gateway.config import AuthoriserSettings
from gateway.config.passwords import password_of
from gateway.errors import AuthoriserError, ConfigError
from gateway.ports import Question

# More of an answer isn't read.
ANSWER_BYTES_MAX = 256 * 1024


class WebhookAuthoriser:
    """What the settings name. Raises ConfigError for a wrong one."""

    def __init__(self, settings: AuthoriserSettings) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("authoriser.url must be like https://HOST/PATH")
        password = password_of(settings, "authoriser")
        self._url = settings.url
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {password}"} if password else {},
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=settings.requests_max),
            trust_env=False,
        )

    async def decide(self, questions: Sequence[Question]) -> Sequence[object]:
        """See the port."""
        body = orjson.dumps({"questions": [question._asdict() for question in questions]})
        headers = {"Content-Type": "application/json"}
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                text = await _text_of(answer)
        except httpx.TimeoutException as error:
            raise AuthoriserError("timeout", "none in time") from error
        except (httpx.HTTPError, OSError) as error:
            raise AuthoriserError("unreachable", str(error) or type(error).__name__) from error
        if answer.status_code != 200:
            raise AuthoriserError("malformed", f"its status is {answer.status_code}, not 200")
        return _roles(text)


async def _text_of(answer: httpx.Response) -> bytes:
    found = bytearray()
    async for chunk in answer.aiter_bytes():
        found += chunk
        if len(found) > ANSWER_BYTES_MAX:
            raise AuthoriserError("malformed", f"it is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(found)


def _roles(text: bytes) -> Sequence[object]:
    try:
        answer: Any = orjson.loads(text)
    except ValueError:
        raise AuthoriserError("malformed", "it is not JSON") from None
    roles = answer.get("roles") if isinstance(answer, dict) else None
    if not isinstance(roles, list):
        raise AuthoriserError("malformed", 'it is not {"roles": [...]}')
    return roles
