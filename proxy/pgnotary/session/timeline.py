"""Which transaction, in which history of a cluster: what tells one from every other.

Questions to the server leave. A promoted standby, or a copy that was restored to an earlier time, gives the ids of
transactions anew; its timeline says so.

Source: PostgreSQL 18, "Backup Control Functions" (the first eight digits of a WAL file's name are its timeline).
"""

__all__ = ["TIMELINE", "XID_AND_TIMELINE"]

TIMELINE = (
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE "
    "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END"
)
"""Eight hexadecimal digits; nothing on a hot standby."""

XID_AND_TIMELINE = f"SELECT pg_catalog.pg_current_xact_id(), {TIMELINE}".encode()
"""Gives the transaction an id if it has none; the server's decimal text."""
