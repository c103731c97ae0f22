"""The database servers that come with fieldsync: found, started beside the service, ended with it.

Only development, demonstration and tests need this package. Where the user names a PostgreSQL or a Redis of
their own, nothing here starts a process.
"""
