"""WebSockets: the port `gateway.ports.Transport`, its adapters, and what they share.

`outbox` bounds what waits for a slow reader, `upgrade` reads and answers the HTTP handshake; `portable`
(trio-websocket) and `fast` (compiled kernels) are the adapters. `gateway.node` chooses between them.
"""
