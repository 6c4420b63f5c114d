"""Flags at run time: changed by one command, in force on all nodes, and there after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.cli.commands import Finished, Server, gateway, served
from tests.clients.wire import Closed, Wire, wire
from tests.operations import replace
from tests.servers import redis_server
from tests.supervisor.node import WORKERS, admitted, metrics, until_admitted
from tests.waiting import PATIENCE_S


async def flags(server: Server, *words: str, signer: Server | None = None) -> Finished:
    """Run the command at this node, with the secret of the `signer`, or its own."""
    data = (signer or server).data
    done = await gateway("flags", *words, "--admin", server.admin, "--data", str(data))
    assert done.status == 0, done.err
    return done


async def subscribed(opened: Wire, resource_id: str, **seen: Any) -> dict[str, Any]:
    await opened.take("AUTH_ACK")
    return await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": resource_id, **seen})


async def resumes(server: Server, bearer: str, epoch: int) -> dict[str, Any]:
    """Come back as a client does: again and again, until the worker that it meets lets it in."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                async with wire(server.url, bearer) as opened:
                    return await subscribed(opened, "42", version=1, epoch=epoch)
            except* Closed:
                await trio.sleep(0.05)


async def test_a_kill_switch_closes_everybody_on_all_nodes_and_lets_them_back_in(tmp_path: Path) -> None:
    data = [tmp_path / name for name in ("one", "two")]
    with redis_server() as redis:
        shared = ("--redis", redis.url)
        async with served(data[0], *WORKERS, *shared) as one:
            secret = data[0] / "jwt-secret"
            words = (*shared, "--set", f"auth.secret_file={secret}", "--node", "n2")
            async with served(data[1], *words) as two, httpx.AsyncClient(timeout=PATIENCE_S) as client:
                bearer = one.token(grant="event:*=admin")
                headers = {"Authorization": f"Bearer {bearer}"}
                place = f"{two.http}/v1/resources/event/42"
                written = await client.put(place, json={"title": "before"}, headers=headers)
                assert written.is_success
                async with wire(one.url, bearer) as first, wire(two.url, bearer) as second:
                    seen = [await subscribed(opened, "42") for opened in (first, second)]
                    await flags(one, "kill_switch=on")
                    for opened in (first, second):
                        assert await opened.closed() == 4403
                        assert opened.close_reason == "killed"
                refused = await client.put(place, json={"title": "meanwhile"}, headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
                assert "switched off" in refused.json()["detail"]
                body = {"operations": [replace("/title", "x")], "version": 1, "client_id": "c"}
                posted = await client.post(f"{place}/operations", json=body, headers=headers)
                assert posted.status_code == 503
                assert (await client.delete(place, headers=headers)).status_code == 503
                read = (await client.get(place, headers=headers)).json()
                assert (read["version"], read["document"]["title"]) == (1, "before")
                for server in (one, two):
                    await until_admitted(server, bearer, wanted=False)
                await flags(two, "kill_switch=off", signer=one)
                for server, known in ((one, seen[0]), (two, seen[1])):
                    resumed = await resumes(server, bearer, known["epoch"])
                    assert (resumed["version"], resumed["changes"]) == (1, [])
                again = await client.put(place, json={"title": "after"}, headers=headers)
                assert again.json()["version"] == 2


async def test_flags_outlive_a_restart_and_reset_goes_by_the_settings_again(tmp_path: Path) -> None:
    async with served(tmp_path, "--set", "features.rollout_percentage=75") as server:
        await flags(server, "rollout_percentage=0", "segments=beta")
        bearer = server.token()
        assert not await admitted(server, bearer)
        assert await server.stop() == 0
    async with served(tmp_path, "--set", "features.rollout_percentage=75") as server:
        told = json.loads((await flags(server, "--json")).out)
        assert told["in_force"]["rollout_percentage"] == 0
        assert told["changed"] == {"rollout_percentage": 0.0, "segments": ["beta"]}
        assert not await admitted(server, bearer)
        await flags(server, "rollout_percentage=100", "segments=")
        await until_admitted(server, bearer)
        told = json.loads((await flags(server, "--reset", "--json")).out)
        assert (told["in_force"]["rollout_percentage"], told["changed"]) == (75, {})


async def test_a_variant_is_told_counted_and_read_by_openfeature(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        await flags(server, "ab_test_variant=realtime_v2", "ab_test_percentage=50")
        variants: dict[str, str] = {}
        etags = set()
        for number in range(12):
            bearer = server.token(f"user-{number}")
            async with wire(server.url, bearer) as opened:
                variants[f"user-{number}"] = (await opened.take("AUTH_ACK"))["variant"]
            headers = {"Authorization": f"Bearer {bearer}"}
            place = f"{server.http}/ofrep/v1/evaluate/flags"
            asked = {"context": {"targetingKey": f"user-{number}"}}
            answer = await client.post(place, json=asked, headers=headers)
            found = {flag["key"]: flag for flag in answer.json()["flags"]}
            assert found["realtime_collaboration"]["value"] is True
            assert found["realtime_variant"]["value"] == variants[f"user-{number}"]
            assert found["realtime_variant"]["reason"] == "SPLIT"
            known = {**headers, "If-None-Match": answer.headers["ETag"]}
            assert (await client.post(place, json=asked, headers=known)).status_code == 304
            etags.add(answer.headers["ETag"])
        assert set(variants.values()) == {"realtime_v2", "control"}
        assert len(etags) == 2
        counted = await metrics(server)
        for variant in ("realtime_v2", "control"):
            wanted = list(variants.values()).count(variant)
            assert counted[f"gateway_variant_sessions_total/{variant}"] == wanted
            assert counted[f"gateway_variant_errors_total/{variant}"] == 0  # told, though there was none
        one = await client.post(f"{place}/realtime_variant", json={}, headers=headers)
        assert one.json()["value"] == variants["user-11"]
        assert (await client.post(f"{place}/other", json={}, headers=headers)).status_code == 404
        other = await client.post(place, json={"context": {"targetingKey": "somebody"}}, headers=headers)
        assert (other.status_code, other.json()["errorCode"]) == (400, "INVALID_CONTEXT")
        assert (await client.post(place, json={})).status_code == 401


async def test_only_an_operator_changes_flags_and_nonsense_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        place = f"{server.admin}/v1/flags"
        editor = server.bearer()
        assert (await client.patch(place, json={"kill_switch": True}, headers=editor)).status_code == 403
        assert (await client.get(place)).status_code == 401
        admin = server.bearer("ops", "*=admin")
        for wrong in ({"rollout_percentage": 101}, {"kill_switch": "maybe"}):
            assert (await client.patch(place, json=wrong, headers=admin)).status_code == 422
        assert (await client.patch(place, json={"killswitch": True}, headers=admin)).status_code == 400
        assert (await client.get(place, headers=admin)).json()["revision"] == 0
    gone = await gateway("flags", "--admin", server.admin, "--data", str(tmp_path))
    assert gone.status == 3
