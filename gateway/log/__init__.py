"""The log: sqlite (embedded) and redis (cluster) are adapters of `OpLog`; postgres is the archive."""
