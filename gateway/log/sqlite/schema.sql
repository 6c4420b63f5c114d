-- The embedded log, version 5 (PRAGMA user_version). Of `gateway.log.sqlite`, `submissions`, `authors` and `places`
-- have one more table each.
--
-- A resource that was never written has no row, version 0 and the log's standing epoch. Its head is the version
-- of its newest change. `nonce` is that of the batch, on the batch's first change. `body` is JSON in UTF-8.
-- `checksum` is the CRC-32 of the body or document; version 1 had none, so what it wrote has NULL.
-- `placed` is the newest change that has its row in `place`.
-- `kept_ms` is when a version was being named: a while after that its snapshot stays, whoever knows of the name.

CREATE TABLE log (
    standing_epoch INTEGER NOT NULL,
    placed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE resource (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL
) STRICT;

-- Ids ascend in the order of appending.
CREATE TABLE change (
    id INTEGER PRIMARY KEY,
    resource INTEGER NOT NULL,
    version INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    seq INTEGER,
    digest TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    undoes INTEGER,
    nonce TEXT,
    body BLOB NOT NULL,
    checksum INTEGER
) STRICT;

CREATE TABLE snapshot (
    resource INTEGER NOT NULL,
    version INTEGER NOT NULL,
    document BLOB NOT NULL,
    checksum INTEGER,
    kept_ms INTEGER,
    PRIMARY KEY (resource, version)
) STRICT;
