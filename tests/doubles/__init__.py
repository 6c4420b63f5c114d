"""Adapters of the ports that hold everything in memory. Nothing of the gateway uses them."""
