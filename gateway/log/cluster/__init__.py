"""What is done with all of a cluster's log, in Redis and the archive: backups, a check, old history."""
