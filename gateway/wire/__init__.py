"""The messages of the wire, and what an append announces to other workers."""
