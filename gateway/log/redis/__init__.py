"""The log that a cluster's nodes share, in Redis."""
