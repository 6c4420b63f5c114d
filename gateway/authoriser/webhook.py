"""A webhook as authoriser: a POST with many questions, by httpx, which runs under Trio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from gateway.config import AuthoriserSettings
from gateway.config.passwords import password_of
from gateway.config.urls import http_url
from gateway.errors import AuthoriserError, ConfigError
from gateway.ports import Question

# More of an answer isn't read.
ANSWER_BYTES_MAX = 256 * 1024
VISIBLE_BYTES_MAX = 4 * 1024 * 1024


class WebhookAuthoriser:
    """What the settings name. Raises ConfigError for a wrong one."""

    def __init__(self, settings: AuthoriserSettings) -> None:
        self._url = _checked("url", settings.url)
        self._visible_url = settings.visible and _checked("visible", settings.visible)
        password = password_of(settings, "authoriser")
        if not (password.isascii() and password.isprintable()):
            raise ConfigError("authoriser.password can't be sent: a header takes printable ASCII only")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {password}"} if password else {},
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=settings.requests_max),
            trust_env=False,
        )

    async def decide(self, questions: Sequence[Question]) -> Sequence[object]:
        """See the port."""
        asked = {"questions": [question._asdict() for question in questions]}
        roles = (await self._answer(self._url, asked, ANSWER_BYTES_MAX)).get("roles")
        if not isinstance(roles, list):
            raise AuthoriserError("malformed", 'it is not {"roles": [...]}')
        return roles

    async def visible(self, user_id: str, resource_type: str) -> object:
        """See the port."""
        if not self._visible_url:
            return None
        asked = {"user_id": user_id, "resource_type": resource_type}
        answer = await self._answer(self._visible_url, asked, VISIBLE_BYTES_MAX)
        if "resource_ids" not in answer:
            raise AuthoriserError("malformed", 'it is not {"resource_ids": [...]}')
        return answer["resource_ids"]

    async def aclose(self) -> None:
        """See the port."""
        await self._client.aclose()

    async def _answer(self, url: str, asked: object, bytes_max: int) -> dict[str, Any]:
        """The object that is answered; raises AuthoriserError."""
        headers = {"Content-Type": "application/json"}
        try:
            async with self._client.stream(
                "POST", url, content=orjson.dumps(asked), headers=headers
            ) as answer:
                text = await _text_of(answer, bytes_max)
        except httpx.TimeoutException as error:
            raise AuthoriserError("timeout", "none in time") from error
        except (httpx.HTTPError, OSError) as error:
            raise AuthoriserError("unreachable", str(error) or type(error).__name__) from error
        if answer.status_code != 200:
            raise AuthoriserError("malformed", f"its status is {answer.status_code}, not 200")
        return _object(text)


def _checked(setting: str, url: str) -> str:
    return http_url(f"authoriser.{setting}", url, "https://HOST/PATH", httpx.URL)


async def _text_of(answer: httpx.Response, bytes_max: int) -> bytes:
    found = bytearray()
    async for chunk in answer.aiter_bytes():
        found += chunk
        if len(found) > bytes_max:
            raise AuthoriserError("malformed", f"it is longer than {bytes_max} bytes")
    return bytes(found)


def _object(text: bytes) -> dict[str, Any]:
    try:
        answer: Any = orjson.loads(text)
    except ValueError:
        raise AuthoriserError("malformed", "it is not JSON") from None
    if not isinstance(answer, dict):
        raise AuthoriserError("malformed", "it is no object")
    return answer
