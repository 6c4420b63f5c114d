"""Statements that make of an embedded log what an earlier gateway left, one format back each."""

from __future__ import annotations

BACK_TO_4 = """
CREATE UNIQUE INDEX change_version ON change (resource, version);
CREATE TRIGGER author_of_change AFTER INSERT ON change BEGIN
    INSERT OR IGNORE INTO author
    VALUES (NEW.resource, NEW.user_id, NEW.client_id, NEW.seq IS NOT NULL, (NEW.version - 1) / 32);
END;
INSERT OR IGNORE INTO author
SELECT resource, user_id, client_id, seq IS NOT NULL, (version - 1) / 32 FROM change;
DROP TABLE place; ALTER TABLE log DROP COLUMN placed; PRAGMA user_version = 4;
"""
BACK_TO_3 = """
CREATE UNIQUE INDEX change_submission ON change (resource, user_id, client_id, seq);
DROP TRIGGER author_of_change; DROP TABLE author; PRAGMA user_version = 3;
"""
BACK_TO_2 = "DROP TABLE submission; ALTER TABLE snapshot DROP COLUMN kept_ms; PRAGMA user_version = 2;"
BACK_TO_1 = """
ALTER TABLE change DROP COLUMN checksum; ALTER TABLE snapshot DROP COLUMN checksum; PRAGMA user_version = 1;
"""
