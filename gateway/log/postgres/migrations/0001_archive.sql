-- The archive: what was changed, when and by whom, for good.
--
-- A resource's present epoch is in `resource`. `superseded` marks changes of an older epoch that lie beyond
-- the version at which a later one began; the others are the history, one for each version.

CREATE TABLE gateway.resource (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    epoch bigint NOT NULL
);

-- `nonce` is that of the batch, on its first change; empty where it isn't known. `body` is kept byte for byte.
CREATE TABLE gateway.change (
    resource bigint NOT NULL,
    version bigint NOT NULL,
    epoch bigint NOT NULL,
    user_id text NOT NULL,
    client_id text NOT NULL,
    seq bigint,
    digest text NOT NULL,
    timestamp bigint NOT NULL,
    undoes bigint,
    nonce text,
    superseded boolean NOT NULL DEFAULT false,
    body json NOT NULL,
    PRIMARY KEY (resource, version, epoch)
);

CREATE INDEX change_by_user ON gateway.change (user_id, timestamp);
CREATE INDEX change_by_time ON gateway.change USING brin (timestamp);

CREATE TABLE gateway.snapshot (
    resource bigint NOT NULL,
    version bigint NOT NULL,
    epoch bigint NOT NULL,
    document json NOT NULL,
    PRIMARY KEY (resource, version)
);
