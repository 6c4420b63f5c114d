"""The adapters of the port `Bus`: local (one process), redis (sharded pub/sub)."""
