"""HTTP beside the socket: resources, history and lists for who has no WebSocket."""
