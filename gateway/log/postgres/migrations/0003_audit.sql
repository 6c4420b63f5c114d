-- The record of administrative acts and refusals: a chain, in which each record has the digest of the one before.

CREATE TABLE gateway.audit (
    number bigint PRIMARY KEY,
    previous text NOT NULL,
    digest text NOT NULL,
    stamp_ms bigint NOT NULL,
    node text NOT NULL,
    act text NOT NULL,
    actor text NOT NULL,
    subject text NOT NULL,
    result text NOT NULL,
    details text NOT NULL
);

CREATE INDEX audit_by_actor ON gateway.audit (actor, number);
CREATE INDEX audit_by_subject ON gateway.audit (subject, number);
