"""The load harness: many users of a server, and a verdict on what they saw."""
