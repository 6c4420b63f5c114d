-- The CRC-32 of each body and document. What was archived before has none.

ALTER TABLE gateway.change ADD COLUMN checksum bigint;
ALTER TABLE gateway.snapshot ADD COLUMN checksum bigint;
