"""The way to Redis: pipelined links, routing of partitions, start-time checks. Log and bus stand on it."""
