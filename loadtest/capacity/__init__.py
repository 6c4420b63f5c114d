"""From measurements to a plan: find the knee (`sweep`), fit cost models (`model`), answer (`plan`)."""
