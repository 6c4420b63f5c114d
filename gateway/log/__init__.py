"""The log: sqlite (embedded) and redis (cluster) are adapters of `OpLog`; postgres is the archive.

search has the indexes that are made from it, cluster what is done with all of a cluster's log.
"""
