"""The rooms of a worker: opened, kept up to date, appended, evicted."""
