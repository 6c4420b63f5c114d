"""The archive of a cluster, and what stands beside it in PostgreSQL."""
