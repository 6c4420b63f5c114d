"""The embedded log of a lone node, and what stands beside it in its data directory."""
