"""Where a resource's data is in Redis: its partition and the names of its keys.

All keys of a partition carry one hash tag, so they are in one slot of a Redis Cluster and a function can
touch them together.

| key | what |
|---|---|
| `{pN}` | hash: incarnation, fence, bytes that wait for the archive, owner of the archive lease |
| `{pN}:o` | stream: what the archive hasn't got yet |
| `{pN}:i` | sorted set: when each archived resource was last written, or brought back |
| `{pN}:h:RESOURCE` | hash, the head: epoch, version, nonce; trimmed and archived versions; reservation |
| `{pN}:c:RESOURCE` | stream of batches; an entry's id is its last version |
| `{pN}:s:RESOURCE` | hash: version -> document, the snapshots |
| `{pN}:q:RESOURCE` | hash: the recent submissions of each client |
| `{pN}:w:RESOURCE` | hash: who is present |
| `{pN}:u:USER` | when a user's allowance of edits will be full again |
| `{pN}:n` | sorted set: the leases of the nodes, in the first partition of each server |
| `{p0}:flags` | hash: the flags that were changed at run time |
| `{p0}:revocations` | hash: what was revoked |
| `{p0}:secrets` | sorted set: which token secrets serve, by fingerprints; when that was told last, Unix ms |
| `{p0}:backup` | when the newest backup by the clock was begun, or the first was tried, Unix ms |
| `{pN}:b:RESOURCE` | sharded channel of the bus |
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

ROUTING_KEY = "gateway:routing"
# The flags of all nodes, in the first partition: a hash.
FLAGS_KEY = "{p0}:flags"
# The same of what was revoked. A log that is erased leaves both, and when it was backed up.
REVOCATIONS_KEY = "{p0}:revocations"
BACKUP_KEY = "{p0}:backup"
SECRETS_KEY = "{p0}:secrets"
# Among the leases: before the name of a node that left by itself.
LEFT = "left!"


class Keys(NamedTuple):
    """The names of one resource's keys, UTF-8."""

    partition: int
    meta: bytes
    outbox: bytes
    head: bytes
    changes: bytes
    snapshots: bytes
    seen: bytes
    channel: bytes


def tag(partition: int) -> str:
    """The hash tag of a partition; alone it's also the key of its own hash."""
    return f"{{p{partition}}}"


def outbox(partition: int) -> str:
    return f"{tag(partition)}:o"


def idle(partition: int) -> str:
    return f"{tag(partition)}:i"


def presence(resource: str, partitions: int) -> str:
    return f"{tag(partition_of(resource, partitions))}:w:{resource}"


def rate(user_id: str, partitions: int) -> str:
    """What a user has spent of his rate."""
    return f"{tag(partition_of(user_id, partitions))}:u:{user_id}"


def leases(partition: int) -> str:
    """The leases of the nodes on one server, under the tag of its first partition."""
    return f"{tag(partition)}:n"


def partition_of(resource: str, partitions: int) -> int:
    return crc32(resource.encode()) % partitions


def keys_of(resource: str, partitions: int) -> Keys:
    partition = partition_of(resource, partitions)
    prefix = tag(partition)
    names = (prefix, outbox(partition), *(f"{prefix}:{kind}:{resource}" for kind in "hcsqb"))
    return Keys(partition, *(name.encode() for name in names))
