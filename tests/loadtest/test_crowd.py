"""Users as good clients: what they hold back, and what they send when they may."""

from __future__ import annotations

import socket
from typing import Any

import orjson
import pytest

from loadtest.connections import MS
from loadtest.crowd import IN_FLIGHT_MAX, QUEUE_RETRY_MS, Crowd
from loadtest.engine import CLOSED, MESSAGE, REJECTED
from loadtest.engine.pure import Engine
from loadtest.judgement import Judgement
from loadtest.protocols.collab import SEQS_KEPT, Collab
from loadtest.protocols.rooms import RoomAuditor
from loadtest.replica import Replica
from loadtest.schedule import Life, LifeKind
from loadtest.users import Target, User

NOW = 1_000 * MS
TITLE = 0


def crowd_of_one(plain: bool = False) -> tuple[Crowd, User]:
    engine, target = Engine(), Target("ws://127.0.0.1:9/", b"secret", 2_000_000_000, "run", "event")
    user = User(0, engine.add_user(engine.add_document(), False), 0, target, plain)
    user.state = "live"
    return Crowd(engine, target, [user], True, Collab()), user


def in_flight(crowd: Crowd, user: User) -> list[int]:
    return sorted(number for number, _, _ in crowd.engine.in_flight(user.slot))


def write(crowd: Crowd, times: int) -> None:
    for number in range(times):
        crowd.dispatch(crowd.users[0], TITLE, number, NOW, NOW)


def test_a_user_has_no_more_unanswered_than_the_server_remembers() -> None:
    crowd, user = crowd_of_one()
    write(crowd, SEQS_KEPT + 4)
    assert in_flight(crowd, user) == list(range(1, SEQS_KEPT + 1))
    assert (len(user.queue), crowd.in_flight()) == (4, SEQS_KEPT + 4)
    crowd.engine.acknowledge(user.slot, 2, 1, NOW)
    later = NOW + int(QUEUE_RETRY_MS * MS)
    crowd.run_timers(later)
    assert len(user.queue) == 4, "the oldest is still unanswered"
    crowd.engine.acknowledge(user.slot, 1, 2, NOW)
    crowd.run_timers(later + int(QUEUE_RETRY_MS * MS))
    assert in_flight(crowd, user) == list(range(3, SEQS_KEPT + 3))
    assert len(user.queue) == 2


def test_a_queue_has_one_timer_however_often_it_is_tried() -> None:
    class Asked(Collab):
        times = 0

        def may_send(self, engine: Any, user: User) -> bool:
            self.times += 1
            return super().may_send(engine, user)

    crowd, user = crowd_of_one()
    crowd.protocol = asked = Asked()
    write(crowd, SEQS_KEPT + 4)
    for _ in range(10):
        crowd.send_queue(user, NOW)  # as each answer does where one edit flies at a time
    asked.times = 0
    for tick in range(1, 4):
        crowd.run_timers(NOW + tick * int(QUEUE_RETRY_MS * MS))
        assert asked.times == tick
    assert len(user.queue) == 4


def test_nobody_leaves_while_an_edit_waits_to_be_sent_again() -> None:
    crowd, user = crowd_of_one()
    write(crowd, 1)
    flight = crowd.engine.refuse(user.slot, 1)
    assert flight is not None
    crowd.resubmit(user, 1, flight, 500, NOW)
    crowd.live(Life(0.0, 0, "leave"), NOW, NOW)
    assert (user.state, crowd.unanswered(user)) == ("live", 1)
    crowd.run_timers(NOW + 501 * MS)
    crowd.engine.acknowledge(user.slot, 1, 1, NOW)
    crowd.run_timers(NOW + 600 * MS)
    assert user.state == "closing"


def test_who_comes_again_while_leaving_leaves_first() -> None:
    crowd, user = crowd_of_one()
    crowd.connected = 1
    write(crowd, 1)
    crowd.live(Life(0.0, 0, "leave"), NOW, NOW)
    crowd.live(Life(0.1, 0, "connect"), NOW, NOW)
    assert (user.state, crowd.counts["attempted"], crowd.connected) == ("live", 0, 1)
    crowd.engine.acknowledge(user.slot, 1, 1, NOW)
    crowd.run_timers(NOW + 100 * MS)
    assert (user.state, crowd.connected) == ("closing", 0)
    crowd.handle([(0, CLOSED, (1000, b""), NOW)])
    crowd.run_timers(NOW + 200 * MS)
    assert crowd.counts["attempted"] == 1
    crowd.end()


def test_what_waits_to_be_sent_again_counts_as_unanswered() -> None:
    crowd, user = crowd_of_one()
    write(crowd, SEQS_KEPT)
    flight = crowd.engine.refuse(user.slot, 1)
    assert flight is not None
    crowd.resubmit(user, 1, flight, 500, NOW)
    write(crowd, 1)
    assert len(user.queue) == 1
    assert crowd.in_flight() == SEQS_KEPT + 1
    crowd.run_timers(NOW + 501 * MS)
    assert in_flight(crowd, user) == list(range(1, SEQS_KEPT + 1))


def test_a_plain_client_holds_nothing_back() -> None:
    crowd, user = crowd_of_one(plain=True)
    write(crowd, SEQS_KEPT + 4)
    assert len(in_flight(crowd, user)) == SEQS_KEPT + 4
    assert not user.queue


def test_who_waits_for_too_many_answers_makes_no_more_edits() -> None:
    """They were sent all the same: what came of them was counted twice, as stalled and as acknowledged."""
    crowd, user = crowd_of_one(plain=True)
    write(crowd, IN_FLIGHT_MAX + 3)
    assert (crowd.counts["sent"], crowd.counts["stalled"]) == (IN_FLIGHT_MAX, 3)
    assert crowd.engine.number(user.slot) == len(in_flight(crowd, user)) == IN_FLIGHT_MAX


def test_who_has_a_part_of_a_change_is_waited_for() -> None:
    crowd, user = crowd_of_one(plain=True)
    user.replica = replica = Replica(user.client_id, False)
    crowd.engine.follow(user.slot, 1)
    body: dict[str, Any] = {"version": 1, "operation": {"op": "add", "path": "", "value": {}}}
    for part, ahead in (([1, 2], -1), ([2, 2], 0)):
        message = {"type": "OP_BROADCAST", "payload": {**body, "part": part}}
        replica.feed([(orjson.dumps(message), None)])
        assert crowd.protocol.ahead(crowd.engine, user, 1) == ahead
        assert crowd.protocol.ahead(crowd.engine, user, 0) == 1, "there is more than was read"


def test_after_the_end_nothing_is_sent_again() -> None:
    crowd, user = crowd_of_one()
    write(crowd, 1)
    flight = crowd.engine.refuse(user.slot, 1)
    assert flight is not None
    crowd.settle()
    crowd.resubmit(user, 1, flight, 500, NOW)
    crowd.run_timers(NOW + 501 * MS)
    assert (in_flight(crowd, user), crowd.in_flight()) == ([], 1)


def test_what_comes_due_in_a_spell_without_connection_is_due_when_the_spell_ends() -> None:
    crowd, user = crowd_of_one()
    user.state, user.offline_base = "offline", 0
    write(crowd, 3)
    assert (crowd.counts["kept_offline"], crowd.counts["resumed_offline"]) == (3, 0)
    user.state = "live"
    crowd.catch_up(user, NOW)
    assert (crowd.counts["resumed_offline"], crowd.counts["merged_offline"]) == (3, 2)
    assert in_flight(crowd, user) == [1]
    write(crowd, 1)
    assert crowd.counts["kept_offline"] == 3


def test_who_is_put_off_comes_back_when_it_was_told_and_has_not_failed() -> None:
    crowd, user = crowd_of_one()
    user.state = "connecting"
    answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nRetry-After-Ms: 2500"
    crowd.handle([(0, REJECTED, answer, NOW), (0, CLOSED, (1006, b""), NOW)])
    assert (crowd.counts["deferred"], crowd.counts["failed"]) == (1, 0)
    assert crowd.next_timer_ns() == NOW + 2500 * MS
    user.state = "connecting"
    crowd.handle([(0, REJECTED, answer, NOW), (0, CLOSED, (1006, b""), NOW)])
    assert (crowd.counts["deferred"], crowd.put_off) == (2, 1)
    crowd.joined(user, NOW)
    assert crowd.put_off == 0


def test_who_is_put_off_and_leaves_is_waited_for_no_longer() -> None:
    crowd, user = crowd_of_one()
    user.state = "connecting"
    answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After-Ms: 2500"
    crowd.handle([(0, REJECTED, answer, NOW), (0, CLOSED, (1006, b""), NOW)])
    crowd.live(Life(0.1, 0, "leave"), NOW, NOW)
    assert crowd.put_off == 0


@pytest.mark.parametrize("kind", ["storm", "leave"])
def test_a_connection_that_the_schedule_cuts_while_it_is_made_has_not_failed(kind: LifeKind) -> None:
    crowd, user = crowd_of_one()
    user.state = "idle"
    with socket.create_server(("127.0.0.1", 0)) as server:
        crowd.server = socket.AF_INET, server.getsockname()
        crowd.live(Life(0.0, 0, "connect"), NOW, NOW)
        assert crowd.is_connecting(user)
        crowd.live(Life(0.1, 0, kind), NOW, NOW)
        assert crowd.counts["attempted"] == 1 + (kind == "storm")
        assert (crowd.counts["given_up"], crowd.counts["failed"]) == (1, 0)
        crowd.end()
    assert crowd.counts["given_up"] == 1, "at the end everybody has had the time"


@pytest.mark.parametrize(
    ("came", "faults"),
    [
        ([6, 7, 8], []),
        ([6, 8], ["gaps"]),
        ([6, 7], ["gaps"]),
        ([6, 7, 7, 8], ["duplicates"]),
        ([7, 6, 8], ["reordered"]),
    ],
)
def test_who_comes_back_gets_each_change_once_and_in_order(came: list[int], faults: list[str]) -> None:
    crowd, _ = crowd_of_one()
    come_back(crowd, 5, 8, changes=[{"version": version} for version in came])
    assert list(crowd.findings.counts) == faults


def come_back(crowd: Crowd, before: int, version: int, **more: Any) -> None:
    """The answer to a user who had seen version `before`."""
    payload = {"version": version, "epoch": 1, **more}
    answer = orjson.dumps({"type": "SUBSCRIBE_ACK", "payload": payload})
    crowd.handle([(0, MESSAGE, (answer, before), NOW)])


async def test_many_faults_of_one_kind_hide_none_of_another() -> None:
    crowd, _ = crowd_of_one()
    for _ in range(50):
        come_back(crowd, 5, 8, changes=[{"version": 8}])
    come_back(crowd, 8, 7)
    found = await Judgement(crowd.target, crowd, RoomAuditor(), {}, drain_s=0).findings()
    assert found.counts == {"gaps": 50, "lost_acknowledged": 1}


def test_what_is_wrong_with_a_handshake_is_an_error_in_words() -> None:
    crowd, user = crowd_of_one()
    user.state = "connecting"
    crowd.handle([(0, REJECTED, b"no subprotocol", NOW), (0, CLOSED, (1006, b"handshake refused"), NOW)])
    assert (crowd.errors, crowd.counts["failed"]) == ({"handshake no subprotocol": 1}, 1)


def test_a_lost_connection_that_comes_back_is_counted_and_said_to_resume() -> None:
    crowd, user = crowd_of_one()
    assert b"resume" not in crowd.protocol.request(crowd.target, user)
    crowd.joined(user, NOW)
    crowd.handle([(0, CLOSED, (1006, b""), NOW)])
    assert (crowd.counts["disconnected"], crowd.counts["recovered"]) == (1, 0)
    assert crowd.protocol.request(crowd.target, user).startswith(b"GET /?resume=1 HTTP/1.1")
    crowd.joined(user, NOW)
    crowd.joined(user, NOW)
    assert crowd.counts["recovered"] == 1


def test_what_was_missed_and_comes_with_an_answer_is_counted() -> None:
    crowd, user = crowd_of_one()

    def said(kind: str, before: int, **payload: Any) -> int:
        message = orjson.dumps({"type": kind, "payload": payload})
        crowd.handle([(user.slot, MESSAGE, (message, before), NOW)])
        return crowd.counts["caught_up"]

    assert said("SUBSCRIBE_ACK", 0, version=40, epoch=1, state={}) == 0, "it is new here"
    assert said("SUBSCRIBE_ACK", 40, version=43, epoch=1, state={}) == 3
    acks = [{"id": "1", "version": 44}, {"id": "2", "version": 43}]
    assert said("SYNC_RESPONSE", 43, current_version=51, state={}, acks=acks) == 10, "but for one's own"
    assert said("SUBSCRIBE_ACK", 51, version=7, epoch=2, state={}) == 10, "of another history"
    assert said("SYNC_RESPONSE", 7, current_version=6, state={}) == 10
    assert (crowd.counts["backwards"], crowd.counts["resyncs"]) == (1, 2)
