"""The fast transport: Trio sockets and the compiled kernels."""
