"""Real-time collaboration on JSON documents: see ARCHITECTURE.md."""

from gateway.runtime import speedups

speedups.choose_core()
