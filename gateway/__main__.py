"""`python -m gateway`, and `gateway`: the command line."""

from __future__ import annotations

from gateway.runtime.loading import loading

with loading():
    from gateway.cli import main

if __name__ == "__main__":
    main()
