"""Statements that make of an embedded log what an earlier gateway left, one format back each."""

from __future__ import annotations

BACK_TO_3 = """
CREATE UNIQUE INDEX change_submission ON change (resource, user_id, client_id, seq);
DROP TRIGGER author_of_change; DROP TABLE author; PRAGMA user_version = 3;
"""
BACK_TO_2 = "DROP TABLE submission; ALTER TABLE snapshot DROP COLUMN kept_ms; PRAGMA user_version = 2;"
BACK_TO_1 = """
ALTER TABLE change DROP COLUMN checksum; ALTER TABLE snapshot DROP COLUMN checksum; PRAGMA user_version = 1;
"""
