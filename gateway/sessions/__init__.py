"""One client: its session, what its messages do, who may connect."""
