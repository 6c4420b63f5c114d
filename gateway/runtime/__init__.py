"""What the process runs on: compiled or pure modules, counters, the interpreter, slices of time."""
