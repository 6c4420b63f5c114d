"""The operator's side of a node, over HTTP: health, metrics, and the history of every resource."""
