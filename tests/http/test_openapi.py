"""Both ports answer as their OpenAPI descriptions say, whatever is asked."""

from __future__ import annotations

from tests.http.openapi_fuzz import fuzz


async def test_every_answer_is_as_described(tmp_path):
    found = await fuzz(tmp_path, 300, seed=16)
    assert {"200", "400", "401", "404"} <= set(found)
