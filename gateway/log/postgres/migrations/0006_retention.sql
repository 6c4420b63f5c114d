-- Old history goes from the archive, too: who looks next, and resources by name in the order of their bytes.

CREATE TABLE gateway.retention (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    taken_until timestamptz NOT NULL
);

CREATE INDEX resource_by_name ON gateway.resource (name COLLATE "C");
