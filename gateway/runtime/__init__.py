"""What the process runs on: compiled or pure modules, its counters, the interpreter's settings, slices of time."""
