"""A cluster simulated event by event, from what sweeps measured: plans of loads that nobody can run here."""
