"""Drills: a gateway with everything that it stands on, under load, and something breaks. See `__main__`."""
