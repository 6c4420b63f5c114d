-- Submissions whose changes went by a rule of retention: what still recognises a resend, for as long as one may come.

CREATE TABLE gateway.submission (
    resource bigint NOT NULL,
    user_id text NOT NULL,
    client_id text NOT NULL,
    seq bigint NOT NULL,
    version bigint NOT NULL,
    epoch bigint NOT NULL,
    digest text NOT NULL,
    timestamp bigint NOT NULL,
    PRIMARY KEY (resource, user_id, client_id, seq)
);

CREATE INDEX submission_by_time ON gateway.submission (timestamp);

-- When a version was being named: a while after that its snapshot stays, whoever knows of the name.
ALTER TABLE gateway.snapshot ADD COLUMN kept_at timestamptz;
