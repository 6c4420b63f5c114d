"""The server's side: metrics, processes, sockets, slabs; and where a run took place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from loadtest.environment import environment
from loadtest.observe import (
    Observer,
    Pids,
    appends,
    cores,
    increase,
    memory_of_a_connection,
    parse_metrics,
    scrape,
    slab_socket_bytes,
    socket_memory,
    steps_ms,
)

METRICS = """# HELP x y
# TYPE websocket_connections_total gauge
websocket_connections_total 12
gateway_step_seconds_bucket{le="0.001",step="commit"} 90
gateway_step_seconds_bucket{le="0.002",step="commit"} 99
gateway_step_seconds_bucket{le="+Inf",step="commit"} 100
gateway_step_seconds_sum{step="commit"} 0.05
gateway_step_seconds_count{step="commit"} 1e2
"""
SLABS = """slabinfo - version: 2.1
# name <active_objs> <num_objs> <objsize> <objperslab>
TCP 20 24 2432 13 8
sock_inode_cache 40 40 832 19 4
filp 900 900 256 16 1
something 1 1 9999 1 1
"""


def test_metrics_are_read() -> None:
    found = parse_metrics(METRICS)
    assert found["websocket_connections_total"] == 12
    assert found['gateway_step_seconds_count{step="commit"}'] == 100


def test_a_step_has_the_time_between_two_scrapes() -> None:
    found = steps_ms({}, parse_metrics(METRICS))
    assert found == {"commit": {"mean": 0.5, "p95": 2.0}}
    assert steps_ms(parse_metrics(METRICS), parse_metrics(METRICS)) == {}


def test_a_counter_that_began_again_counts_from_nothing() -> None:
    assert increase({"x": 50}, {"x": 7}, "x") == 7


def test_cores_are_what_was_used_between_two_samples_that_know_it() -> None:
    samples = [{"at_s": at_s, "cpu_s": cpu_s} for at_s, cpu_s in ((1.0, 4.0), (3.0, 5.0), (4.0, None))]
    assert cores(*samples[:2]) == 0.5
    assert cores(*samples[1:]) is None


def test_the_slabs_of_a_socket_add_up() -> None:
    assert slab_socket_bytes(SLABS) == 2432 + 832 + 256
    assert slab_socket_bytes("nothing") is None


def test_memory_needs_samples_with_different_numbers_of_sockets() -> None:
    one = {"pss_bytes": 1000, "sockets": 10, "kernel_socket_bytes": 5, "slab_socket_bytes": 3}
    assert memory_of_a_connection([one, one]) is None


def test_the_sockets_of_a_port_are_counted_on_the_servers_side_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as ours, listener.accept()[0] as theirs:
            ours.sendall(b"x" * 30_000)
            theirs.recv(30_000, socket.MSG_PEEK | socket.MSG_WAITALL)  # a busy kernel may deliver them later
            found = socket_memory(port)
            theirs.recv(1)
    assert found is not None
    sockets, size_bytes = found
    assert sockets == 1
    assert size_bytes >= 30_000


def test_a_process_is_sampled() -> None:
    sample = Observer("ws://127.0.0.1:9/realtime", None, lambda: Pids((os.getpid(),))).sample(2.5, full=True)
    assert sample["at_s"] == 2.5
    assert sample["cpu_s"] > 0
    assert sample["rss_bytes"] > sample["pss_bytes"] > 1 << 20


SUPERVISOR = """
import subprocess, sys
workers = [subprocess.Popen(["sleep", "60"]) for _ in range(int(sys.argv[1]))]
print("ready", flush=True)
sys.stdin.read()
for one in workers:
    one.kill()
"""


def test_workers_are_those_below_a_supervisor_or_the_process_itself() -> None:
    found = []
    for below in (0, 3):
        command = [sys.executable, "-c", SUPERVISOR, str(below)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            watched = Observer("ws://127.0.0.1:9/", None, partial(Pids, (process.pid,)))
            found.append(watched.sample(0.0, full=True)["workers"])
            process.stdin.close()
    assert found == [1, 3]


def test_a_server_that_cannot_be_scraped_has_no_metrics() -> None:
    sample = Observer("ws://127.0.0.1:9/realtime", "http://127.0.0.1:9", Pids).sample(0.0, full=False)
    assert sample["metrics"] == {}
    assert sample["cpu_s"] is None


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nup 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup \xff\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nup yes\n",
    ],
)
def test_what_are_no_metrics_are_none(answering: Callable[[bytes], str], words: bytes) -> None:
    assert scrape(answering(words)) == {}


def test_the_environment_names_the_machine_and_its_limits() -> None:
    found = environment()
    assert found["cores"] >= 1
    assert found["descriptors"]["soft"] > 0
    assert "net/ipv4/ip_local_port_range" in found["kernel"]
    assert "trio" in found["packages"]


def test_appends_and_their_batches_are_counted_a_second() -> None:
    before = {"gateway_commit_seconds_count": 10.0}
    after = {"gateway_commit_seconds_count": 110.0, "gateway_batches_total": 400.0}
    assert appends(before, after, 2.0) == {"appends_per_s": 50.0, "batches_per_s": 200.0}
    assert appends(before, before, 2.0) == {"appends_per_s": 0.0, "batches_per_s": 0.0}
    assert set(appends({}, {}, 2.0).values()) == {None}
