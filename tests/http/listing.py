"""Lists of documents over HTTP."""

from __future__ import annotations

LIST = "/v1/resources/event"


def july(day: int, **more: object) -> dict[str, object]:
    times = {"start_time": f"2030-07-{day:02}T09:00:00Z", "end_time": f"2030-07-{day:02}T10:00:00+00:00"}
    return {"title": f"On {day}", "calendar_id": "7", **times, **more}


async def listed(node, headers=None, **params: object) -> list[str]:
    """The ids of all pages."""
    answer = (await node.client.get(LIST, params=params, headers=headers)).json()
    items = answer["items"]
    while answer["next"]:
        assert "secret" not in answer["next"]
        answer = (await node.client.get(answer["next"], headers=headers)).json()
        items += answer["items"]
    return [item["resource_id"] for item in items]
