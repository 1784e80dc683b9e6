"""The functions of triggers that may wait for COMMIT: what they were when a signed statement had run, and are now.

The answer to `WAITING` enters twice, right behind a statement and before its block ends; what another transaction has
replaced meanwhile leaves, by name. A trigger itself cannot be made or changed behind a statement's back, since that
waits for the statement's lock on the table; its function can, and COMMIT would run what nobody has signed. What the
block itself has replaced was judged by itself; it is known by its transaction's ids. If that was in a savepoint which
was released, its id is not told any more, and the block is undone.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_trigger",
"pg_locks", "Explicit Locking" (CREATE TRIGGER takes SHARE ROW EXCLUSIVE).
"""

import json
from collections.abc import Mapping

from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.identifiers import identifier

__all__ = ["WAITING", "Waiting", "replaced", "waiting_in"]

Waiting = Mapping[int, tuple[str, str]]
"""By a function's oid: its name, and a fingerprint of it; "" if this transaction has made it what it is."""

# RI_FKey_* and their like are PostgreSQL's own. A partition's copy of a trigger is internal on PostgreSQL 14.
WAITING = b"""
WITH locks AS MATERIALIZED (
  SELECT l.locktype, l.relation, l.transactionid FROM pg_catalog.pg_lock_status() AS l
  WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
  AND l.mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,RowShareLock,SIReadLock}'::pg_catalog.text[])
)
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.oid::pg_catalog.int8, n.nspname, p.proname,
  CASE WHEN p.xmin OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT k.transactionid FROM locks AS k
      WHERE k.locktype OPERATOR(pg_catalog.=) 'transactionid')) THEN ''
    ELSE pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to((
      pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text,
      pg_catalog.getdatabaseencoding())), 'hex') END))
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
  SELECT g.tgfoid FROM pg_catalog.pg_trigger AS g JOIN locks AS k ON k.relation OPERATOR(pg_catalog.=) g.tgrelid
  WHERE k.locktype OPERATOR(pg_catalog.=) 'relation' AND g.tgdeferrable))
""".strip()
"""Asks for the functions behind deferrable triggers of all tables that this transaction has changed."""


def waiting_in(answer: str | None) -> Waiting:
    """Return what an answer says; raises UpstreamProtocolError if it has not the shape that was asked for."""
    try:
        return {
            int(oid): (f"{identifier(str(schema))}.{identifier(str(name))}", str(what))
            for oid, schema, name, what in json.loads(answer or "null") or ()
        }
    except (ValueError, TypeError) as error:
        raise UpstreamProtocolError(f"what waits for COMMIT has not the shape that was asked for: {error}") from error


def replaced(was: Waiting, now: Waiting) -> list[str]:
    """Return the names of the functions that another transaction has made something else of."""
    return sorted(
        name for oid, (name, what) in was.items() if what and oid in now and now[oid][1] and now[oid][1] != what
    )
