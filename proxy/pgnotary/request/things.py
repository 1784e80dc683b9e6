"""What a statement takes beside rows: relations with their sizes, what DROP takes along, whose locks it would wait for.

A `Subject` enters; questions to ask PostgreSQL leave, and what its answers say. They ask the catalog alone; no row is
read, but for `Taken.count`. What goes along is asked as `along` says.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_locks".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgnotary.judge.identifiers import qualified, quoted
from pgnotary.judge.statement import Name
from pgnotary.request.along import about
from pgnotary.request.locking import LockMode
from pgnotary.request.subject import Subject

__all__ = ["Holder", "Taken", "Things", "holders_question", "read_holders", "read_things", "things_question"]

_THINGS = """
__GONE__
SELECT pg_catalog.json_build_object(
'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, c.relkind, listed.how,
    pg_catalog.pg_total_relation_size(c.oid::pg_catalog.regclass), c.reltuples::pg_catalog.int8,
    pg_catalog.row_security_active(c.oid)) ORDER BY listed.how,
      pg_catalog.pg_total_relation_size(c.oid::pg_catalog.regclass) DESC, n.nspname, c.relname)
  FROM listed JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) listed.oid
    AND (c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m,p,f}'::pg_catalog."char"[])
      OR listed.how OPERATOR(pg_catalog.=) 1)
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace),
'dependents', (SELECT pg_catalog.json_agg(x.described ORDER BY x.described COLLATE pg_catalog."C") FROM (
    SELECT pg_catalog.pg_describe_object(along.classid, along.objid, along.objsubid) FROM along) AS x (described)))
""".strip()
_HOLDERS = """
__TAKEN__
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(l.pid, pg_catalog.pg_get_userbyid(a.usesysid), l.mode, l.granted,
    n.nspname, c.relname, GREATEST(0, EXTRACT(epoch FROM pg_catalog.clock_timestamp()
      OPERATOR(pg_catalog.-) a.xact_start))::pg_catalog.int8)
  ORDER BY a.xact_start, l.pid, n.nspname, c.relname, l.mode)
FROM pg_catalog.pg_lock_status() AS l
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.database OPERATOR(pg_catalog.=) (
  SELECT b.oid FROM pg_catalog.pg_database AS b WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
AND (l.relation OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT taken.oid FROM taken))
  OR n.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.to_regnamespace(w.name)::pg_catalog.oid
    FROM pg_catalog.json_array_elements_text(__SCHEMAS__) AS w (name))))
AND EXISTS (SELECT FROM pg_catalog.json_array_elements_text(__MODES__) AS m (mode)
  WHERE m.mode OPERATOR(pg_catalog.=) l.mode)
""".strip()

_HOW = {1: "named", 2: "child", 3: "refers", 4: "along"}
_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "m": "materialized view",
    "f": "foreign table",
    "v": "view",
    "i": "index",
    "I": "partitioned index",
    "S": "sequence",
    "c": "composite type",
    "t": "toast table",
}


def things_question(subject: Subject) -> bytes:
    """Return the question about what it takes."""
    return about(subject, _THINGS)


def holders_question(subject: Subject) -> bytes:
    """Return the question about whose locks it would wait for; empty if it locks nothing that it names."""
    if subject.locking is None or not (subject.relations or subject.schemas):
        return b""
    return about(subject, _HOLDERS, modes=[mode.name for mode in subject.locking.mode.conflicts])


@dataclass(frozen=True, slots=True)
class Taken:
    """A relation that is taken."""

    name: Name
    kind: str
    """In PostgreSQL's words: table, partitioned table, view and so on."""
    how: str
    """named, child, refers (TRUNCATE CASCADE), or along: it depends on what is dropped."""
    size: int
    """In bytes, with indexes and TOAST."""
    rows: int | None
    """The planner's number; None if nobody has counted yet."""
    secured: bool
    """Row security hides rows of it from the role."""

    @property
    def spelled(self) -> str:
        """Its whole name."""
        return qualified(self.name)

    @property
    def keeps_rows(self) -> bool:
        """Whether rows are kept in it itself, here or elsewhere."""
        return self.kind in ("table", "materialized view", "foreign table")

    @property
    def why_uncountable(self) -> str:
        """Why its rows are not counted; empty if they may be."""
        if self.kind == "foreign table":
            return "they are on another server"
        return "row security hides some of them" if self.secured else ""

    @property
    def is_countable(self) -> bool:
        """Whether to count its rows runs nobody's code and finds them all."""
        return self.keeps_rows and not self.why_uncountable

    @property
    def count(self) -> bytes:
        """The question that counts its rows."""
        return f"SELECT pg_catalog.count(*) FROM ONLY {'.'.join(map(quoted, self.name))}".encode()  # noqa: S608  # as identifiers


@dataclass(frozen=True, slots=True)
class Things:
    """What a statement takes."""

    relations: tuple[Taken, ...] = ()
    dependents: tuple[str, ...] = ()
    """What else DROP takes along under CASCADE, and what stops it without, in the server's words."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A lock that somebody else has, or waits for."""

    pid: int
    role: str
    mode: LockMode
    granted: bool
    relation: str
    since_s: int | None
    """How long its transaction has lasted; None if the server does not say."""


def read_things(answer: str) -> Things:
    """Return what an answer tells; raises ValueError if it has not the shape that was asked for."""
    try:
        fields: Mapping[str, Any] = json.loads(answer)
        return Things(
            tuple(map(_taken, fields["relations"] or ())),
            tuple(map(str, fields["dependents"] or ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"what it takes has not the shape that was asked for: {error}") from error


def _taken(fields: Any) -> Taken:
    schema, name, kind, how, size, rows, secured = fields
    return Taken(
        name=(str(schema), str(name)),
        kind=_KINDS.get(str(kind), f"relation of kind {kind}"),
        how=_HOW[int(how)],
        size=int(size or 0),
        rows=int(rows) if int(rows) >= 0 else None,
        secured=bool(secured),
    )


def read_holders(answer: str) -> tuple[Holder, ...]:
    """Return who holds what; raises ValueError if the answer has not the shape that was asked for."""
    try:
        return tuple(map(_held, json.loads(answer or "null") or ()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"who holds its locks has not the shape that was asked for: {error}") from error


def _held(fields: Any) -> Holder:
    pid, role, mode, granted, schema, name, since = fields
    spelled = qualified((str(schema), str(name)))
    seconds = None if since is None else int(since)
    return Holder(int(pid), str(role), LockMode[str(mode)], bool(granted), spelled, seconds)
