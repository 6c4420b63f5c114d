"""The operators' port of a node: health, metrics, the console, who is let in, acts, resources."""
