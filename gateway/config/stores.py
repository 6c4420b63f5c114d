"""Each setting of what is kept, and of a server beside a node: log, Redis, PostgreSQL, search, traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.fields import tunable
from gateway.config.section import KIB, MIB, Section


@dataclass(frozen=True, slots=True)
class LogSettings(Section):
    snapshot_versions: int = tunable(
        256, "Changes between snapshots", unit="versions", least=1, most=100_000, live=True
    )
    seq_kept: int = tunable(16, "Submissions of one client that a resend can find", least=1, most=16)
    seq_kept_h: float = tunable(
        24.0, "How long a resend finds them", unit="h", least=0.01, most=8760, live=True
    )

    def submitted_since_ms(self, now_ms: int) -> int:
        """The time (Unix ms) since which submissions are found by a resend."""
        return now_ms - int(self.seq_kept_h * 3_600_000)


@dataclass(frozen=True, slots=True)
class SchemasSettings(Section):
    directory: str = tunable("", "Further resource types: TYPE.json files, which also replace shipped ones")
    strict_schema: bool = tunable(False, "Refuse members of a document's root that its schema doesn't know")


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
class TracingSettings(Section):
    endpoint: str = tunable(
        "",
        "Where traces of edits go by OTLP/HTTP, as http://HOST:4318/v1/traces; empty: nothing is traced",
        secret=True,
    )
    sample_ratio: float = tunable(0.01, "Share of the batches of edits that are traced", least=0, most=1)
    service_name: str = tunable("collab-gateway", "`service.name` of the traces")
    export_timeout_s: float = tunable(5.0, "Sending them to the collector", unit="s", least=0.1, most=60)
