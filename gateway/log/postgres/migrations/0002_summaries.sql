-- The index of summaries: what lists by calendar and time are read from.
--
-- Workers write it a moment after they committed something. What a crash kept from being written is in
-- `summary_due`: the archive puts there what it stores and the index doesn't know yet.

CREATE TABLE gateway.summary (
    name text COLLATE "C" PRIMARY KEY,
    type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    calendar text COLLATE "C",
    start_ms bigint NOT NULL,
    end_ms bigint NOT NULL,
    long boolean NOT NULL,
    body json NOT NULL
);

CREATE INDEX summary_by_calendar ON gateway.summary (type, calendar, start_ms, id) WHERE NOT deleted;
CREATE INDEX summary_by_start ON gateway.summary (type, start_ms, id) WHERE NOT deleted;
CREATE INDEX summary_long ON gateway.summary (type, start_ms, id) WHERE long AND NOT deleted;

-- `claimed_until`: a worker is at it.
CREATE TABLE gateway.summary_due (
    name text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    version bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until timestamptz
);

CREATE INDEX summary_due_by_age ON gateway.summary_due (since);

INSERT INTO gateway.summary_due (name, epoch, version, since)
SELECT s.name, s.epoch, coalesce((SELECT max(version) FROM gateway.change WHERE resource = s.id AND NOT superseded), 0),
       clock_timestamp() - interval '1 hour'
FROM gateway.resource AS s;
