"""What search means, whichever index answers: the texts of documents and changes, terms, and what matched.

Pure functions; the indexes are adapters in gateway/log.
"""
