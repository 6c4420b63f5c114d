"""The archive's statements. What is stored comes in bulk: an index as JSON, and the bodies back to back."""

from __future__ import annotations

# One row a change: r resource, e epoch, v version, u user, c client, q seq, d digest, t timestamp,
# n undoes, o nonce, p offset and l length of the body (bytes, from 1), k its checksum.
_CHANGES = """
json_to_recordset(%(index)s::json) AS i(r text, e bigint, v bigint, u text, c text, q bigint, d text,
                                        t bigint, n bigint, o text, p integer, l integer, k bigint)
"""
# One row a resource or snapshot: r resource, e epoch, v version, p, l and k of the document.
_HISTORIES = """
json_to_recordset(%(index)s::json) AS i(r text, e bigint, v bigint, p integer, l integer, k bigint)
"""
_BODY = "convert_from(substr(%(bodies)b, i.p, i.l), 'UTF8')::json"

KNOWN_RESOURCES = b"SELECT name FROM gateway.resource WHERE name = ANY(%s)"
# In the order of names, so that two transfers don't wait for each other.
ADD_RESOURCES = f"""
INSERT INTO gateway.resource (name, epoch) SELECT r, min(e) FROM {_HISTORIES} GROUP BY r ORDER BY r
ON CONFLICT DO NOTHING
"""
LOCK_RESOURCES = b"""
SELECT name, id, epoch FROM gateway.resource WHERE name = ANY(%s) ORDER BY name FOR NO KEY UPDATE
"""
COPY_CHANGES = b"""
COPY gateway.change (resource, version, epoch, user_id, client_id, seq, digest, timestamp, undoes,
                     nonce, body, checksum)
FROM STDIN (FORMAT BINARY)
"""
# JSON is read as it is sent in binary: the bytes of its text.
COPIED_TYPES = (
    "int8",
    "int8",
    "int8",
    "text",
    "text",
    "int8",
    "text",
    "int8",
    "int8",
    "text",
    "bytea",
    "int8",
)
# A change of an epoch that has ended is a late repetition.
ADD_CHANGES = f"""
INSERT INTO gateway.change (resource, version, epoch, user_id, client_id, seq, digest, timestamp, undoes,
                            nonce, body, checksum)
SELECT s.id, i.v, i.e, i.u, i.c, i.q, i.d, i.t, i.n, i.o, {_BODY}, i.k
FROM {_CHANGES} JOIN gateway.resource AS s ON s.name = i.r WHERE i.e >= s.epoch
ON CONFLICT DO NOTHING
"""
# Stored under another nonce (where both are known; only a batch's first change has one).
FIND_MISMATCH = f"""
SELECT i.r, i.v, i.e, c.nonce, i.o
FROM {_CHANGES} JOIN gateway.resource AS s ON s.name = i.r
JOIN gateway.change AS c ON c.resource = s.id AND c.version = i.v AND c.epoch = i.e
WHERE c.nonce IS DISTINCT FROM i.o AND c.nonce IS DISTINCT FROM '' AND i.o IS DISTINCT FROM ''
LIMIT 1
"""
ADD_SNAPSHOTS = f"""
INSERT INTO gateway.snapshot AS o (resource, version, epoch, document, checksum)
SELECT s.id, i.v, i.e, {_BODY}, i.k
FROM {_HISTORIES} JOIN gateway.resource AS s ON s.name = i.r WHERE i.e >= s.epoch
ON CONFLICT (resource, version) DO UPDATE
SET epoch = excluded.epoch, document = excluded.document, checksum = excluded.checksum
WHERE o.epoch < excluded.epoch
"""
SUPERSEDE = (
    f"""
UPDATE gateway.change AS c SET superseded = true FROM {_HISTORIES} JOIN gateway.resource AS s ON s.name = i.r
WHERE c.resource = s.id AND c.version > i.v AND c.epoch < i.e AND NOT c.superseded
""",
    *(
        f"""
DELETE FROM gateway.{table} AS c USING {_HISTORIES} JOIN gateway.resource AS s ON s.name = i.r
WHERE c.resource = s.id AND c.version > i.v AND c.epoch < i.e
"""
        for table in ("snapshot", "submission")
    ),
)
ERASE = tuple(
    f"""
DELETE FROM gateway.{table} AS c USING {_HISTORIES} JOIN gateway.resource AS s ON s.name = i.r
WHERE c.resource = s.id AND c.epoch < i.e
"""
    for table in ("change", "snapshot", "submission")
)
RAISE_EPOCHS = f"""
UPDATE gateway.resource AS s SET epoch = h.e
FROM (SELECT r, max(e) AS e FROM {_HISTORIES} GROUP BY r) AS h
WHERE s.name = h.r AND s.epoch < h.e
"""
# Resources whose summary isn't stored yet; see `gateway.log.postgres.summaries`. All who lock several rows do
# so in the order of names by their bytes, which is the tables' own.
ADD_DUE = f"""
INSERT INTO gateway.summary_due AS d (name, epoch, version)
SELECT i.r, i.e, i.v FROM {_HISTORIES} LEFT JOIN gateway.summary AS s ON s.name = i.r
WHERE s.name IS NULL OR (s.epoch, s.version) < (i.e, i.v) ORDER BY i.r COLLATE "C"
ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, version = excluded.version
WHERE (d.epoch, d.version) < (excluded.epoch, excluded.version)
"""
# Resources that indexes of searches don't have yet; see `gateway.log.search.queue`.
ADD_SEARCH_DUE = f"""
INSERT INTO gateway.search_due AS d (generation, name, epoch, version)
SELECT g.number, i.r, i.e, i.v FROM {_HISTORIES} CROSS JOIN gateway.search_generation AS g
ORDER BY g.number, i.r COLLATE "C"
ON CONFLICT (generation, name) DO UPDATE SET epoch = excluded.epoch, version = excluded.version,
    since = CASE WHEN (d.epoch, d.version) = (d.done_epoch, d.done_version) THEN excluded.since
                 ELSE d.since END
WHERE (d.epoch, d.version) < (excluded.epoch, excluded.version)
"""

HEADS = """
SELECT name, epoch, coalesce(
    (SELECT max(version) FROM gateway.change WHERE resource = s.id AND NOT superseded), 0
) FROM gateway.resource AS s WHERE name = ANY(%s)
"""
_RECORD = "version, body::text, user_id, client_id, seq, digest, timestamp, undoes, checksum"
RECORDS = f"""
SELECT {_RECORD} FROM gateway.change
WHERE resource = (SELECT id FROM gateway.resource WHERE name = %s) AND version > %s AND NOT superseded
ORDER BY version LIMIT %s
"""
SNAPSHOT = """
SELECT version, document::text, checksum FROM gateway.snapshot
WHERE resource = (SELECT id FROM gateway.resource WHERE name = %s) AND version <= %s
ORDER BY version DESC LIMIT 1
"""
SNAPSHOTS = """
SELECT version, document::text, checksum FROM gateway.snapshot
WHERE resource = (SELECT id FROM gateway.resource WHERE name = %s) AND version < %s ORDER BY version
"""
OWN_CHANGES = """
SELECT version, undoes FROM gateway.change
WHERE resource = (SELECT id FROM gateway.resource WHERE name = %s) AND user_id = %s AND client_id = %s
AND NOT superseded ORDER BY version DESC LIMIT %s
"""
# Of a resource's changes after a version, and of those that went.
SUBMISSIONS = """
SELECT user_id, client_id, seq, version, digest, timestamp FROM (
    SELECT resource, user_id, client_id, seq, version, digest, timestamp FROM gateway.change
    WHERE version > %(after)s AND NOT superseded AND seq IS NOT NULL
    UNION ALL
    SELECT resource, user_id, client_id, seq, version, digest, timestamp FROM gateway.submission
) AS c
WHERE resource = (SELECT id FROM gateway.resource WHERE name = %(name)s) AND timestamp >= %(since)s
ORDER BY version DESC LIMIT %(limit)s
"""
