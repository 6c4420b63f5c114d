"""Real-time collaboration on JSON documents: see ARCHITECTURE.md."""

from gateway import speedups

speedups.choose_core()
