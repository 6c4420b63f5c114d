"""Each setting of what clients meet: addresses, limits, time-outs, presence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network

from gateway.config.fields import tunable
from gateway.config.section import KIB, MIB, Section
from gateway.config.urls import is_host
from gateway.errors import ConfigError

# As browsers send it; "null" is that of sandboxed pages and local files, which are "file://" in Electron.
_ORIGIN = re.compile(r"\*|null|file://|[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?")


@dataclass(frozen=True, slots=True)
class ServerSettings(Section):
    host: str = tunable("127.0.0.1", "Address to listen on")
    port: int = tunable(8787, "WebSocket port; 0 takes a free one", least=0, most=65535)
    admin_host: str = tunable(
        "127.0.0.1", "Address of the admin port; who reaches it reads metrics without a token"
    )
    admin_port: int = tunable(
        8788, "Port of health, metrics and history; 0 takes a free one", least=0, most=65535
    )
    data_dir: str = tunable("data", "Directory of the embedded log and the signing secret")
    node: str = tunable("", "Name of this node; empty: host name and a random suffix")
    transport: str = tunable(
        "auto", "auto takes fast where its kernels are built", choices=("auto", "fast", "portable")
    )
    log_format: str = tunable(
        "console", "Lines for people, or an object of JSON each", choices=("console", "json")
    )
    tls_cert: str = tunable("", "Certificate chain (PEM); empty: no TLS")
    tls_key: str = tunable("", "Private key of the certificate (PEM)")
    workers: int = tunable(
        1, "Processes that share the port; more than one need Redis", unit="processes", least=1, most=256
    )
    start_wait: bool = tunable(
        True, "At the start, wait for a Redis or PostgreSQL that is away; else end with status 3"
    )
    start_wait_max_s: float = tunable(
        300.0, "So long; then the start ends with status 3 as well", unit="s", least=1, most=86_400
    )
    connections_max: int = tunable(
        19_000, "Of one process; beyond it a handshake gets 503", unit="connections", least=1, most=1_000_000
    )
    http_connections_max: int = tunable(
        1000, "HTTP connections of one process beside the WebSockets; then 503", least=1, most=1_000_000
    )
    demo: str = tunable(
        "auto",
        "The demo calendar at /, with a sign-in for everybody; auto: where host is loopback, without proxies",
        choices=("auto", "on", "off"),
    )
    listen_backlog: int = tunable(4096, "Handshakes that may wait to be accepted", least=1, most=65535)
    origins: tuple[str, ...] = tunable(
        (), 'Web origins that may connect; "*" allows every one; none: no browser', live=True
    )
    proxies: tuple[str, ...] = tunable(
        (), "Load balancers, as addresses or networks, whose word on a client's address is believed"
    )
    proxy_protocol: bool = tunable(
        False,
        "Connections of `proxies` begin with the PROXY protocol (v1 or v2); else X-Forwarded-For counts",
    )
    flush_interval_max_ms: float = tunable(
        5.0, "Longest wait to join one connection's messages under load", unit="ms", least=0, most=1000
    )
    flush_slice_ms: float = tunable(
        2.0, "Longest fan-out before other tasks run", unit="ms", least=0.05, most=1000
    )
    compression: bool = tunable(True, "permessage-deflate where a client offers it (fast transport)")
    compression_bytes_min: int = tunable(
        128, "Shorter messages are sent uncompressed", unit="bytes", least=0, most=64 * MIB
    )
    hand_over: bool = tunable(
        True, "Workers hand a client over to the one that its resource is at home in (fast transport)"
    )
    socket_send_bytes: int = tunable(
        0, "SO_SNDBUF; 0 leaves the kernel's", unit="bytes", least=0, most=64 * MIB
    )
    socket_receive_bytes: int = tunable(
        0, "SO_RCVBUF; 0 leaves the kernel's", unit="bytes", least=0, most=64 * MIB
    )

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        for name, text in (("host", self.host), ("admin_host", self.admin_host)):
            if not is_host(text):
                raise ConfigError(
                    f"server.{name} = {text[:80]!r}: is no name and no address; write 127.0.0.1, ::1, NAME"
                )
        if not self.node.isprintable():  # bytes that aren't UTF-8 are none either
            raise ConfigError(f"server.node = {self.node[:80]!r}: must be printable, in UTF-8")
        for text in self.origins:
            if not _ORIGIN.fullmatch(text):
                raise ConfigError(
                    f"server.origins: {text[:80]!r} is no origin; write https://calendar.example, a scheme "
                    'and a host (and a port) without a path, or "*" for every one'
                )
        for text in self.proxies:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ConfigError(
                    f"server.proxies: {text[:80]!r} is no address or network; write 10.0.0.7 or 10.0.0.0/24"
                ) from None


@dataclass(frozen=True, slots=True)
class LimitsSettings(Section):
    message_bytes_max: int = tunable(
        256 * KIB,
        "Largest message; a larger one is answered TOO_LARGE",
        unit="bytes",
        least=256,
        most=64 * MIB,
    )
    frame_bytes_max: int = tunable(
        MIB,
        "Largest message that is read at all; a larger one closes with 1009",
        unit="bytes",
        least=256,
        most=64 * MIB,
    )
    upgrade_bytes_max: int = tunable(
        16 * KIB, "Request line and headers of a handshake", unit="bytes", least=KIB, most=MIB, live=True
    )
    handshakes_max: int = tunable(
        4096, "Handshakes of one process under way; then sockets are closed unread", least=1, most=1_000_000
    )
    handshakes_per_address_max: int = tunable(
        1024, "The same of one address, but of server.proxies", least=1, most=1_000_000
    )
    connections_per_address_max: int = tunable(
        0,
        "Connections of one address in one process, then 429; 0: no limit",
        least=0,
        most=1_000_000,
        live=True,
    )
    connections_per_user_max: int = tunable(
        0,
        "Connections of one user in one process, then 4429; 0: no limit",
        least=0,
        most=1_000_000,
        live=True,
    )
    failed_authentications_per_minute: int = tunable(
        60,
        "Refused tokens of one address in one process; then no token from there is looked at; 0: no limit",
        unit="tokens/min",
        least=0,
        most=1_000_000,
        live=True,
    )
    failed_authentications_burst: int = tunable(
        100, "Refused tokens of one address at once", unit="tokens", least=1, most=1_000_000, live=True
    )
    unauthenticated_requests_per_minute: int = tunable(
        6000,
        "HTTP requests of one address in one process without a valid token; then 429 to those; 0: no limit",
        unit="requests/min",
        least=0,
        most=1_000_000,
        live=True,
    )
    unauthenticated_requests_burst: int = tunable(
        6000, "Such requests of one address at once", unit="requests", least=1, most=1_000_000, live=True
    )
    accept_cpu_share: float = tunable(
        0.8,
        "What letting clients in may take of a core, less where others need it; who comes beyond is told "
        "when to come. 1: nobody is",
        least=0.05,
        most=1.0,
        live=True,
    )
    unknown_bytes_max: int = tunable(
        32 * KIB,
        "Largest message before AUTH; a larger one closes with 1009",
        unit="bytes",
        least=KIB,
        most=64 * MIB,
        live=True,
    )
    unknown_messages_max: int = tunable(
        32, "Messages before AUTH; more close with 1008", unit="messages", least=1, most=100_000, live=True
    )
    unfinished_bytes_max: int = tunable(
        64 * MIB,
        "Messages of a process that have begun and not ended; then 4429 to the oldest. Of requests; then 503",
        unit="bytes",
        least=KIB,
        most=64 * 1024 * MIB,
    )
    http_pending_bytes_max: int = tunable(
        64 * MIB,
        "Answers over HTTP of one process that wait to be read; then connections are cut",
        unit="bytes",
        least=KIB,
        most=64 * 1024 * MIB,
    )
    patch_operations_max: int = tunable(1000, "Operations in one patch", least=1, most=100_000)
    depth_max: int = tunable(64, "Nesting of a document", least=4, most=200)
    document_bytes_max: int = tunable(MIB, "Largest document", unit="bytes", least=64, most=256 * MIB)
    html_bytes_max: int = tunable(
        64 * KIB, "One string that a schema declares HTML", unit="bytes", least=64, most=MIB
    )
    html_tags_max: int = tunable(
        10_000, "Tags in one string that a schema declares HTML", unit="tags", least=1, most=50_000
    )
    edit_work_max: int = tunable(
        15_000_000,
        "Work that one edit may cause, a nanosecond or so each; a small message a fifth of it",
        unit="units",
        least=1_000_000,
        most=1_000_000_000,
        live=True,
    )
    subscriptions_max: int = tunable(
        1000, "Subscriptions of one connection", least=1, most=100_000, live=True
    )
    unacknowledged_max: int = tunable(
        64, "Submissions of one connection under way; then it isn't read", least=1, most=10_000, live=True
    )
    room_pending_max: int = tunable(
        1000, "Submissions to one resource under way", least=1, most=1_000_000, live=True
    )
    worker_pending_bytes_max: int = tunable(
        64 * MIB,
        "Submissions of the whole worker under way",
        unit="bytes",
        least=KIB,
        most=64 * 1024 * MIB,
        live=True,
    )
    edit_wait_max_s: float = tunable(
        0.25,
        "Edits that would wait longer for their commit are UNAVAILABLE for now; 0: they wait",
        unit="s",
        least=0.0,
        most=60.0,
    )
    operations_per_minute: int = tunable(
        100,
        "Edits of one user; 0 switches the limit off",
        unit="operations/min",
        least=0,
        most=10_000_000,
        live=True,
    )
    operations_burst: int = tunable(
        10, "Edits of one user at once", unit="operations", least=1, most=1_000_000, live=True
    )
    rate_abuse_s: float = tunable(
        60.0,
        "A client over its rate for so long is closed with 4429",
        unit="s",
        least=0.1,
        most=86_400,
        live=True,
    )
    invalid_messages_max: int = tunable(
        10, "INVALID_MESSAGE in a row before 1008", least=1, most=1_000_000, live=True
    )
    rebase_versions_max: int = tunable(
        10_000,
        "Oldest base of an edit, in versions behind head",
        unit="versions",
        least=1,
        most=10_000_000,
        live=True,
    )
    changes_default: int = tunable(
        100, "Changes in a resume before the state is sent", least=0, most=100_000, live=True
    )
    changes_max: int = tunable(1000, "Cap of a client's max_changes", least=0, most=100_000, live=True)
    changes_bytes_max: int = tunable(
        MIB, "Changes in a resume before the state is sent", unit="bytes", least=KIB, most=64 * MIB, live=True
    )
    reads_per_minute: int = tunable(
        600,
        "SUBSCRIBE, SYNC_REQUEST, turns of visibility and reads over HTTP of one user; each 64 KiB of answer "
        "is one more; 0 switches the limit off",
        unit="reads/min",
        least=0,
        most=10_000_000,
        live=True,
    )
    reads_burst: int = tunable(
        600, "Reads of one user at once", unit="reads", least=1, most=1_000_000, live=True
    )
    user_cpu_share: float = tunable(
        0.05,
        "CPU of a worker for one user's messages, over time; then they wait. 1: no limit",
        least=0.001,
        most=1,
        live=True,
    )
    user_cpu_burst_s: float = tunable(
        0.25,
        "CPU of a worker that one user's messages may take at once",
        unit="s",
        least=0.001,
        most=60,
        live=True,
    )
    undo_versions_max: int = tunable(
        1000, "Changes that one client can undo", unit="versions", least=0, most=100_000
    )
    window_versions_max: int = tunable(
        200, "Snapshots kept of an open room", unit="versions", least=1, most=100_000, live=True
    )
    window_bytes_max: int = tunable(
        256 * KIB, "Snapshots kept of an open room", unit="bytes", least=0, most=1024 * MIB, live=True
    )
    windows_bytes_max: int = tunable(
        64 * MIB,
        "Snapshots kept of all rooms of a worker",
        unit="bytes",
        least=0,
        most=64 * 1024 * MIB,
        live=True,
    )
    pasts_bytes_max: int = tunable(
        64 * MIB,
        "Changes kept of what left the windows, for edits that are far behind, of all rooms of a worker",
        unit="bytes",
        least=MIB,
        most=64 * 1024 * MIB,
    )
    outbox_bytes_max: int = tunable(
        MIB, "Queue of one slow reader before it is degraded", unit="bytes", least=KIB, most=256 * MIB
    )


@dataclass(frozen=True, slots=True)
class TimeoutsSettings(Section):
    auth_timeout_s: float = tunable(
        10.0, "From connection to AUTH, else 4401", unit="s", least=0.01, most=3600, live=True
    )
    idle_timeout_s: float = tunable(
        300.0, "Without a message from the client, else 4408", unit="s", least=0.01, most=86_400, live=True
    )
    ping_interval_s: float = tunable(30.0, "Between WebSocket pings", unit="s", least=0.01, most=3600)
    stall_timeout_s: float = tunable(
        30.0, "A reader without progress, else 4429", unit="s", least=0.01, most=3600
    )
    upgrade_timeout_s: float = tunable(
        10.0, "From connection to a whole handshake", unit="s", least=0.01, most=3600
    )
    drain_grace_s: float = tunable(
        10.0, "From GOAWAY to the end of a draining node", unit="s", least=0, most=3600, live=True
    )
    append_timeout_s: float = tunable(
        5.0, "An append, else UNAVAILABLE", unit="s", least=0.01, most=600, live=True
    )
    sanitise_timeout_s: float = tunable(
        2.0, "Making one HTML string safe, else TOO_LARGE", unit="s", least=0.01, most=60
    )
    token_expiring_s: float = tunable(
        30.0, "AUTH_EXPIRING before a token's end", unit="s", least=0, most=3600, live=True
    )
    room_idle_s: float = tunable(
        60.0, "A room without subscribers stays open", unit="s", least=0, most=86_400, live=True
    )
    reconnect_min_s: float = tunable(
        0.5,
        "Shortest delay before a client connects again (told in AUTH_ACK)",
        unit="s",
        least=0.01,
        most=600,
        live=True,
    )
    reconnect_max_s: float = tunable(
        30.0,
        "Longest delay before a client connects again (told in AUTH_ACK)",
        unit="s",
        least=0.01,
        most=3600,
        live=True,
    )
    close_timeout_s: float = tunable(5.0, "A closing handshake", unit="s", least=0.01, most=600)


@dataclass(frozen=True, slots=True)
class PresenceSettings(Section):
    members_max: int = tunable(100, "Beyond it only active members are listed", least=1, most=100_000)
    update_interval_ms: float = tunable(
        50.0, "Between updates of one client", unit="ms", least=0, most=60_000
    )
    refresh_interval_ms: float = tunable(
        1000.0, "Between refreshes beyond members_max", unit="ms", least=10, most=600_000
    )
    active_s: float = tunable(
        60.0, "An edit or a cursor keeps a member listed", unit="s", least=0.1, most=86_400
    )
    typing_s: float = tunable(
        10.0, "Without an update a client is no longer shown as typing", unit="s", least=1, most=3600
    )
    reconcile_s: float = tunable(
        30.0, "Between comparisons of each room with what other nodes hold", unit="s", least=0.1, most=3600
    )
