"""Golden vectors: what every implementation of the editing semantics must give. See README.md beside this."""
