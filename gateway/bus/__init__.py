"""The adapters of the port `Bus`: lone (no other nodes), redis (sharded pub/sub)."""
