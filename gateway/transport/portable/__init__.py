"""The portable transport: trio-websocket on Trio's sockets or TLS."""
