"""Every tunable of the gateway, declared once with default, unit, bounds and help.

Sections are frozen; a value that is out of bounds can't be constructed (ConfigError).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from ipaddress import ip_network
from typing import Any, cast

from gateway.config.fields import checked, of, suggestion, tunable
from gateway.errors import ConfigError

KIB = 1 << 10
MIB = 1 << 20
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


def fields_of(section: type[Section]) -> tuple[Field[Any], ...]:
    return fields(section)  # type: ignore[arg-type]  # every section is a dataclass


def names_of(section: type[Section]) -> list[str]:
    return [item.name for item in fields_of(section)]


class Section:
    """A group of tunables. Each value is checked when the section is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        section = type(self).__name__.removesuffix("Settings").lower()
        for item in fields_of(type(self)):
            value = checked(f"{section}.{item.name}", of(item), getattr(self, item.name))
            object.__setattr__(self, item.name, value)

    def take(self, name: str, value: object) -> None:
        """Change a value in place, for the owner of a running node: whoever reads it anew has it."""
        object.__setattr__(self, name, value)


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
    connections_max: int = tunable(
        19_000, "Of one process; beyond it a handshake gets 503", unit="connections", least=1, most=1_000_000
    )
    http_connections_max: int = tunable(
        1000, "HTTP connections of one process beside the WebSockets; then 503", least=1, most=1_000_000
    )
    demo: str = tunable(
        "auto",
        "The demo calendar at /, with a sign-in for everybody; auto: where host is loopback",
        choices=("auto", "on", "off"),
    )
    listen_backlog: int = tunable(4096, "Handshakes that may wait to be accepted", least=1, most=65535)
    origins: tuple[str, ...] = tunable(
        (), 'Web origins that may connect; "*" allows every one; none: no browser'
    )
    proxies: tuple[str, ...] = tunable(
        (), "Load balancers, as addresses or networks, whose word on a client's address is believed"
    )
    proxy_protocol: bool = tunable(
        False,
        "Connections of `proxies` begin with the PROXY protocol (v1 or v2); else X-Forwarded-For counts",
    )
    flush_interval_max_ms: float = tunable(
        20.0, "Longest wait to join one connection's messages under load", unit="ms", least=0, most=1000
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
        16 * KIB, "Request line and headers of a handshake", unit="bytes", least=KIB, most=MIB
    )
    handshakes_max: int = tunable(
        4096, "Handshakes of one process under way; then sockets are closed unread", least=1, most=1_000_000
    )
    handshakes_per_address_max: int = tunable(
        1024, "The same of one address, but of server.proxies", least=1, most=1_000_000
    )
    connections_per_address_max: int = tunable(
        0, "Connections of one address in one process, then 429; 0: no limit", least=0, most=1_000_000
    )
    connections_per_user_max: int = tunable(
        0, "Connections of one user in one process, then 4429; 0: no limit", least=0, most=1_000_000
    )
    failed_authentications_per_minute: int = tunable(
        60,
        "Refused tokens of one address in one process; then no token from there is looked at; 0: no limit",
        unit="tokens/min",
        least=0,
        most=1_000_000,
    )
    failed_authentications_burst: int = tunable(
        100, "Refused tokens of one address at once", unit="tokens", least=1, most=1_000_000
    )
    accept_cpu_share: float = tunable(
        0.8,
        "What letting clients in may take of a core, less where others need it; who comes beyond is told "
        "when to come. 1: nobody is",
        least=0.05,
        most=1.0,
    )
    unknown_bytes_max: int = tunable(
        32 * KIB,
        "Largest message before AUTH; a larger one closes with 1009",
        unit="bytes",
        least=KIB,
        most=64 * MIB,
    )
    unknown_messages_max: int = tunable(
        32, "Messages before AUTH; more close with 1008", unit="messages", least=1, most=100_000
    )
    unfinished_bytes_max: int = tunable(
        64 * MIB,
        "Messages of all connections of a process that have begun and not ended; then 1009",
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
    depth_max: int = tunable(64, "Nesting of a message and of a document", least=4, most=200)
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
    )
    subscriptions_max: int = tunable(1000, "Subscriptions of one connection", least=1, most=100_000)
    unacknowledged_max: int = tunable(
        64, "Submissions of one connection under way; then it isn't read", least=1, most=10_000
    )
    room_pending_max: int = tunable(1000, "Submissions to one resource under way", least=1, most=1_000_000)
    worker_pending_bytes_max: int = tunable(
        64 * MIB, "Submissions of the whole worker under way", unit="bytes", least=KIB, most=64 * 1024 * MIB
    )
    edit_wait_max_s: float = tunable(
        0.5,
        "Edits that would wait longer for their commit are UNAVAILABLE for now; 0: they wait",
        unit="s",
        least=0.0,
        most=60.0,
    )
    operations_per_minute: int = tunable(
        100, "Edits of one user; 0 switches the limit off", unit="operations/min", least=0, most=10_000_000
    )
    operations_burst: int = tunable(
        10, "Edits of one user at once", unit="operations", least=1, most=1_000_000
    )
    rate_abuse_s: float = tunable(
        60.0, "A client over its rate for so long is closed with 4429", unit="s", least=0.1, most=86_400
    )
    invalid_messages_max: int = tunable(10, "INVALID_MESSAGE in a row before 1008", least=1, most=1_000_000)
    rebase_versions_max: int = tunable(
        10_000, "Oldest base of an edit, in versions behind head", unit="versions", least=1, most=10_000_000
    )
    changes_default: int = tunable(100, "Changes in a resume before the state is sent", least=0, most=100_000)
    changes_max: int = tunable(1000, "Cap of a client's max_changes", least=0, most=100_000)
    changes_bytes_max: int = tunable(
        MIB, "Changes in a resume before the state is sent", unit="bytes", least=KIB, most=64 * MIB
    )
    reads_per_minute: int = tunable(
        600,
        "SUBSCRIBE, SYNC_REQUEST and turns of visibility of one user; each 64 KiB of answer is one more; "
        "0 switches the limit off",
        unit="reads/min",
        least=0,
        most=10_000_000,
    )
    reads_burst: int = tunable(600, "Reads of one user at once", unit="reads", least=1, most=1_000_000)
    user_cpu_share: float = tunable(
        0.05,
        "CPU of a worker for one user's messages, over time; then they wait. 1: no limit",
        least=0.001,
        most=1,
    )
    user_cpu_burst_s: float = tunable(
        0.25, "CPU of a worker that one user's messages may take at once", unit="s", least=0.001, most=60
    )
    undo_versions_max: int = tunable(
        1000, "Changes that one client can undo", unit="versions", least=0, most=100_000
    )
    window_versions_max: int = tunable(
        200, "Snapshots kept of an open room", unit="versions", least=1, most=100_000
    )
    window_bytes_max: int = tunable(
        256 * KIB, "Snapshots kept of an open room", unit="bytes", least=0, most=1024 * MIB
    )
    windows_bytes_max: int = tunable(
        64 * MIB, "Snapshots kept of all rooms of a worker", unit="bytes", least=0, most=64 * 1024 * MIB
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
        10.0, "From connection to AUTH, else 4401", unit="s", least=0.01, most=3600
    )
    idle_timeout_s: float = tunable(
        300.0, "Without a message from the client, else 4408", unit="s", least=0.01, most=86_400
    )
    ping_interval_s: float = tunable(30.0, "Between WebSocket pings", unit="s", least=0.01, most=3600)
    stall_timeout_s: float = tunable(
        30.0, "A reader without progress, else 4429", unit="s", least=0.01, most=3600
    )
    upgrade_timeout_s: float = tunable(
        10.0, "From connection to a whole handshake", unit="s", least=0.01, most=3600
    )
    drain_grace_s: float = tunable(
        10.0, "From GOAWAY to the end of a draining node", unit="s", least=0, most=3600
    )
    append_timeout_s: float = tunable(5.0, "An append, else UNAVAILABLE", unit="s", least=0.01, most=600)
    sanitise_timeout_s: float = tunable(
        2.0, "Making one HTML string safe, else TOO_LARGE", unit="s", least=0.01, most=60
    )
    token_expiring_s: float = tunable(
        30.0, "AUTH_EXPIRING before a token's end", unit="s", least=0, most=3600
    )
    room_idle_s: float = tunable(
        60.0, "A room without subscribers stays open", unit="s", least=0, most=86_400
    )
    reconnect_min_s: float = tunable(
        0.5,
        "Shortest delay before a client connects again (told in AUTH_ACK)",
        unit="s",
        least=0.01,
        most=600,
    )
    reconnect_max_s: float = tunable(
        30.0,
        "Longest delay before a client connects again (told in AUTH_ACK)",
        unit="s",
        least=0.01,
        most=3600,
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


@dataclass(frozen=True, slots=True)
class LogSettings(Section):
    snapshot_versions: int = tunable(256, "Changes between snapshots", unit="versions", least=1, most=100_000)
    seq_kept: int = tunable(16, "Submissions of one client that a resend can find", least=1, most=16)
    seq_kept_h: float = tunable(24.0, "How long a resend finds them", unit="h", least=0.01, most=8760)


@dataclass(frozen=True, slots=True)
class AuthSettings(Section):
    algorithms: tuple[str, ...] = tunable(ALGORITHMS, "Signatures that are accepted", choices=ALGORITHMS)
    secret_file: str = tunable(
        "", "HS256 secret; empty: DATA/jwt-secret, unless jwks_file is set; FILE.previous is accepted too"
    )
    jwks_file: str = tunable("", "JSON Web Key Set with the public keys; read again when it changes")
    issuer: str = tunable("", "Required iss; empty: not checked")
    audience: str = tunable("", "Required aud; empty: not checked")
    leeway_s: float = tunable(0.0, "Tolerated difference of clocks", unit="s", least=0, most=600)
    issued_ahead_s: float = tunable(60.0, "How far iat may lie in the future", unit="s", least=0, most=3600)
    token_bytes_max: int = tunable(16 * KIB, "Largest token", unit="bytes", least=512, most=16 * MIB)
    keys_check_s: float = tunable(
        0.25, "Between looks at the key files for changes", unit="s", least=0, most=3600
    )
    revocations_max: int = tunable(
        10_000, "Revocations kept at a time; more are refused", unit="revocations", least=1, most=1_000_000
    )
    default_grants: Mapping[str, str] = tunable(
        {}, 'Grants of a token without any, e.g. {"event:*" = "viewer"}'
    )


@dataclass(frozen=True, slots=True)
class AuthoriserSettings(Section):
    url: str = tunable("", "A webhook that decides by user and resource; empty: tokens decide", secret=True)
    hook: str = tunable("", "A Python function that decides instead, as MODULE:FUNCTION")
    visible: str = tunable(
        "",
        "Tells all that a user may see of a type, for lists and searches: a URL, or MODULE:FUNCTION beside a "
        "hook; empty: what they find is asked for",
        secret=True,
    )
    password: str = tunable("", "Sent to the webhook as a bearer token; empty: none", secret=True)
    password_file: str = tunable("", "A file that holds it")
    timeout_s: float = tunable(
        2.0, "For an answer; later is none, and refused", unit="s", least=0.05, most=60
    )
    cache_s: float = tunable(
        60.0, "A decision is renewed from half of this age on, and never older", unit="s", least=1, most=3600
    )
    decisions_max: int = tunable(
        100_000,
        "Decisions kept by each worker; the oldest go",
        unit="decisions",
        least=10_000,
        most=10_000_000,
    )
    batch_max: int = tunable(100, "Questions in one request", unit="questions", least=1, most=1000)
    requests_max: int = tunable(8, "Requests of a worker under way", unit="requests", least=1, most=100)
    waiting_max: int = tunable(
        10_000, "Questions that wait; more are refused at once", unit="questions", least=1, most=1_000_000
    )

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        if self.url and self.hook:
            raise ConfigError("authoriser.url and authoriser.hook exclude each other: set one")
        if self.visible and not (self.url or self.hook):
            raise ConfigError("authoriser.visible is set: set authoriser.url or authoriser.hook too")


@dataclass(frozen=True, slots=True)
class FeaturesSettings(Section):
    enabled: bool = tunable(True, "Collaboration is offered at all")
    kill_switch: bool = tunable(False, "Emergency stop: everybody is closed with 4403")
    rollout_percentage: float = tunable(100.0, "Share of users who are admitted", unit="%", least=0, most=100)
    segments: tuple[str, ...] = tunable(
        (), "Segments (token claim) that are admitted whatever the percentage"
    )
    ab_test_variant: str = tunable("", "Variant under test, told in AUTH_ACK; empty: no test runs")
    ab_test_percentage: float = tunable(
        50.0, "Share of the admitted users who get the variant under test", unit="%", least=0, most=100
    )

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", self.ab_test_variant):
            raise ConfigError(
                f"features.ab_test_variant = {self.ab_test_variant[:80]!r}: must be at most 64 of "
                "A-Z a-z 0-9 _ . -"
            )


@dataclass(frozen=True, slots=True)
class SchemasSettings(Section):
    directory: str = tunable("", "Further resource types: TYPE.json files, which also replace shipped ones")
    strict_schema: bool = tunable(False, "Refuse members that a schema doesn't know")


@dataclass(frozen=True, slots=True)
class RedisSettings(Section):
    urls: tuple[str, ...] = tunable((), "Independent Redis servers, as shards", secret=True)
    cluster_url: str = tunable("", "A Redis Cluster, by any of its nodes", secret=True)
    password: str = tunable("", "Of servers whose URL has none; as it is, not escaped", secret=True)
    password_file: str = tunable("", "A file that holds the password")
    durability: str = tunable(
        "memory", "What an acknowledged change survives", choices=("memory", "fsync", "replicated")
    )
    partitions: int = tunable(256, "Parts of the key space; fixed once there is data", least=1, most=16_384)
    connect_timeout_s: float = tunable(
        2.0, "TCP, TLS and login of one connection", unit="s", least=0.05, most=60
    )
    command_timeout_s: float = tunable(
        5.0, "A command other than an append, else LogUnavailable", unit="s", least=0.05, most=600
    )
    reconnect_delay_min_ms: float = tunable(
        20.0, "First pause before connecting again", unit="ms", least=1, most=60_000
    )
    reconnect_delay_max_ms: float = tunable(
        1000.0, "Longest pause before connecting again", unit="ms", least=1, most=600_000
    )
    link_commands_max: int = tunable(
        20_000, "Commands of one connection under way", unit="commands", least=1024, most=10_000_000
    )
    link_bytes_max: int = tunable(
        64 * MIB, "Commands of one connection waiting to be sent", unit="bytes", least=KIB, most=4096 * MIB
    )
    write_bytes_max: int = tunable(
        256 * KIB, "Commands joined into one write", unit="bytes", least=KIB, most=64 * MIB
    )
    publish_bytes_max: int = tunable(
        16 * MIB,
        "Bus messages waiting to be sent; beyond it they are lost",
        unit="bytes",
        least=KIB,
        most=1024 * MIB,
    )
    replicas_min: int = tunable(
        1, "Replicas that hold a change before its ACK (replicated)", unit="replicas", least=1, most=16
    )
    replicas_wait_ms: int = tunable(
        100, "One WAIT for the replicas; it is repeated", unit="ms", least=1, most=60_000
    )
    reservation_stales: int = tunable(
        3, "STALE answers in a row after which the head is reserved", least=1, most=1000
    )
    reservation_ms: int = tunable(20, "Reservation of a head for one node", unit="ms", least=1, most=10_000)
    history_versions: int = tunable(
        2000, "Changes of a resource that Redis keeps at least", unit="versions", least=1, most=10_000_000
    )
    archive_backlog_bytes_max: int = tunable(
        64 * MIB,
        "Changes of one partition that wait for the archive; beyond it UNAVAILABLE",
        unit="bytes",
        least=64 * KIB,
        most=1024 * 1024 * MIB,
    )
    archive_lease_s: float = tunable(
        10.0,
        "A worker that vanished holds its part of the archive's work so long",
        unit="s",
        least=1,
        most=3600,
    )
    evict_idle_h: float = tunable(
        48.0,
        "An archived resource leaves Redis so long after its last change",
        unit="h",
        least=0,
        most=87_600,
    )
    evict_memory_percent: float = tunable(
        85.0,
        "Of a server's maxmemory; above it archived resources leave Redis sooner, the oldest first",
        unit="%",
        least=10,
        most=100,
    )
    head_compare_s: float = tunable(
        10.0, "Between comparisons of the open rooms with the log", unit="s", least=0.1, most=3600
    )
    node_lease_s: float = tunable(
        9.0, "A node without a heartbeat for so long is lost", unit="s", least=0.1, most=3600
    )
    node_heartbeat_s: float = tunable(3.0, "Between a node's heartbeats", unit="s", least=0.02, most=1200)
    node_check_s: float = tunable(2.0, "Between looks for lost nodes", unit="s", least=0.02, most=1200)


@dataclass(frozen=True, slots=True)
class PostgresSettings(Section):
    dsn: str = tunable("", "Archive of the changes; empty: none", secret=True)
    password: str = tunable("", "Of a DSN that has none; as it is, not escaped", secret=True)
    password_file: str = tunable("", "A file that holds the password")


@dataclass(frozen=True, slots=True)
class TracingSettings(Section):
    endpoint: str = tunable(
        "", "Where traces of edits go by OTLP/HTTP, as http://HOST:4318/v1/traces; empty: nothing is traced"
    )
    sample_ratio: float = tunable(0.01, "Share of the batches of edits that are traced", least=0, most=1)
    service_name: str = tunable("collab-gateway", "`service.name` of the traces")
    export_timeout_s: float = tunable(5.0, "Sending them to the collector", unit="s", least=0.1, most=60)


@dataclass(frozen=True, slots=True)
class RetentionSettings(Section):
    days: Mapping[str, str] = tunable(
        {}, 'Days that history is kept, by type or * for the others, e.g. {"event" = "365"}; none: for good'
    )
    changes: Mapping[str, str] = tunable(
        {}, 'Changes of a resource that are kept, likewise, e.g. {"*" = "10000"}; named versions always are'
    )


@dataclass(frozen=True, slots=True)
class SearchSettings(Section):
    enabled: bool = tunable(True, "Documents and changes can be searched")
    url: str = tunable(
        "", "OpenSearch or Elasticsearch of a cluster, such as https://HOST:9200; empty: none", secret=True
    )
    user: str = tunable("", "Who logs in there; empty: nobody has to")
    password: str = tunable("", "Of that user", secret=True)
    password_file: str = tunable("", "A file that holds the password")
    index: str = tunable("gateway", "The alias of its index there")
    timeout_s: float = tunable(5.0, "For an answer of the search server", unit="s", least=0.1, most=60)
    answer_step_ms: float = tunable(
        50.0,
        "Answers leave at multiples of this: their time tells little of what may not be seen; 0: at once",
        unit="ms",
        least=0,
        most=1000,
    )


@dataclass(frozen=True, slots=True)
class AuditSettings(Section):
    kept_days: float = tunable(
        400.0,
        "How long records of administrative acts and refusals are kept",
        unit="days",
        least=1,
        most=36_500,
    )
    refusals_max: int = tunable(
        100, "Different refusals in ten seconds that get records of their own", least=1, most=10_000
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All sections. `sources` maps "section.name" to where its value came from, unless it is the default."""

    server: ServerSettings = ServerSettings()
    limits: LimitsSettings = LimitsSettings()
    timeouts: TimeoutsSettings = TimeoutsSettings()
    presence: PresenceSettings = PresenceSettings()
    log: LogSettings = LogSettings()
    auth: AuthSettings = AuthSettings()
    authoriser: AuthoriserSettings = AuthoriserSettings()
    features: FeaturesSettings = FeaturesSettings()
    schemas: SchemasSettings = SchemasSettings()
    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings = PostgresSettings()
    tracing: TracingSettings = TracingSettings()
    retention: RetentionSettings = RetentionSettings()
    search: SearchSettings = SearchSettings()
    audit: AuditSettings = AuditSettings()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.server.tls_cert) != bool(self.server.tls_key):
            raise ConfigError("server.tls_cert and server.tls_key go together: set both, or neither")
        if self.limits.frame_bytes_max < self.limits.message_bytes_max:
            raise ConfigError(
                f"limits.frame_bytes_max = {self.limits.frame_bytes_max}: must not be below "
                f"limits.message_bytes_max = {self.limits.message_bytes_max}"
            )
        if self.limits.changes_default > self.limits.changes_max:
            raise ConfigError(
                f"limits.changes_default = {self.limits.changes_default}: must not exceed "
                f"limits.changes_max = {self.limits.changes_max}"
            )
        if self.timeouts.reconnect_max_s < self.timeouts.reconnect_min_s:
            raise ConfigError(
                f"timeouts.reconnect_max_s = {self.timeouts.reconnect_max_s:g}: must not be below "
                f"timeouts.reconnect_min_s = {self.timeouts.reconnect_min_s:g}"
            )
        if self.redis.urls and self.redis.cluster_url:
            raise ConfigError("redis.urls and redis.cluster_url exclude each other: set one")

    def copied(self) -> Config:
        """The same with sections of its own, which nobody else sees change."""
        return replace(self, **{name: replace(getattr(self, name)) for name in SECTIONS})

    def with_(self, **sections: Mapping[str, Any]) -> Config:
        """A copy with some values changed: `config.with_(limits={"operations_per_minute": 0})`."""
        paths = [path_of(name, key, "code") for name, values in sections.items() for key in values]
        changed = {name: replace(getattr(self, name), **values) for name, values in sections.items()}
        return replace(self, **changed, sources={**self.sources, **dict.fromkeys(paths, "code")})


SECTIONS: Mapping[str, type[Section]] = {
    item.name: cast("type[Section]", type(item.default)) for item in fields(Config) if item.name != "sources"
}


def path_of(section: str, key: str, source: str) -> str:
    """`section.key`; raises ConfigError when there is no such setting."""
    if section not in SECTIONS:
        raise ConfigError(f"{source}: unknown section {section!r}{suggestion(section, SECTIONS)}")
    names = names_of(SECTIONS[section])
    if key not in names:
        raise ConfigError(f"{source}: unknown setting {section}.{key}{suggestion(key, names)}")
    return f"{section}.{key}"
