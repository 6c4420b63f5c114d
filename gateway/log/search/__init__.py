"""The index of searches: what feeds it, and the servers it is in."""
