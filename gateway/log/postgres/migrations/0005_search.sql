-- What the index of searches still lacks, for each index ("generation") that is kept up to date.
--
-- The archive notes here what it stores; an indexer takes on what is due, and another one what that one left.
-- Only while there is a generation: without a search server there is none.

CREATE TABLE gateway.search_generation (
    number integer PRIMARY KEY,
    format integer NOT NULL,
    serving boolean NOT NULL
);

-- The index has a resource up to `done_version` of `done_epoch`. `claimed_until`: a worker is at it.
CREATE TABLE gateway.search_due (
    generation integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    version bigint NOT NULL,
    done_epoch bigint NOT NULL DEFAULT 0,
    done_version bigint NOT NULL DEFAULT 0,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until timestamptz,
    PRIMARY KEY (generation, name)
);

CREATE INDEX search_due_by_age ON gateway.search_due (generation, since)
WHERE (epoch, version) <> (done_epoch, done_version);
