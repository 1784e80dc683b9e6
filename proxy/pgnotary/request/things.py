"""What a statement takes beside rows: relations with their sizes, what DROP takes along, whose locks it would wait for.

A `Subject` enters; questions to ask PostgreSQL leave, and what its answers say. They ask the catalog alone; no row is
read, but for `Taken.count`.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_depend",
"pg_locks"; findDependentObjects() and reportDependentObjects() for what CASCADE drops.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pgnotary.judge.naming import identifier, quoted
from pgnotary.judge.statement import Name
from pgnotary.request.locking import LockMode
from pgnotary.request.places import filled
from pgnotary.request.subject import Subject

__all__ = ["Holder", "Taken", "Things", "holders_question", "read_holders", "read_things", "things_question"]

# A child goes along unless ONLY is said; who refers to it goes along under TRUNCATE CASCADE, without its own children.
_TAKEN = """
WITH RECURSIVE weighed (oid, children) AS (
  SELECT pg_catalog.to_regclass(w.name)::pg_catalog.oid, w.children
  FROM pg_catalog.json_to_recordset(__RELATIONS__) AS w (name pg_catalog.text, children pg_catalog.bool)
  WHERE pg_catalog.to_regclass(w.name) IS NOT NULL
), taken (oid, how, children) AS (
  SELECT weighed.oid, 1, weighed.children FROM weighed
  UNION
  SELECT next.oid, next.how, next.children FROM taken CROSS JOIN LATERAL (
    SELECT i.inhrelid, 2, true FROM pg_catalog.pg_inherits AS i
    WHERE taken.children AND i.inhparent OPERATOR(pg_catalog.=) taken.oid
    UNION ALL
    SELECT k.conrelid, 3, false FROM pg_catalog.pg_constraint AS k
    WHERE __REFERRING__ AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) taken.oid
  ) AS next (oid, how, children)
)
""".strip()
_THINGS = """
__TAKEN__, start (classid, objid) AS (
  SELECT 1259::pg_catalog.oid, weighed.oid FROM weighed WHERE __DROPPED__
  UNION
  SELECT 2615::pg_catalog.oid, pg_catalog.to_regnamespace(w.name)::pg_catalog.oid
  FROM pg_catalog.json_array_elements_text(__SCHEMAS__) AS w (name)
  WHERE pg_catalog.to_regnamespace(w.name) IS NOT NULL
  UNION
  SELECT 1247::pg_catalog.oid, pg_catalog.to_regtype(w.name)::pg_catalog.oid
  FROM pg_catalog.json_array_elements_text(__TYPES__) AS w (name)
  WHERE pg_catalog.to_regtype(w.name) IS NOT NULL
), gone (classid, objid, objsubid, how) AS (
  SELECT start.classid, start.objid, 0, 's' FROM start
  UNION
  SELECT next.classid, next.objid, next.objsubid, next.how FROM gone CROSS JOIN LATERAL (
    SELECT d.classid, d.objid, d.objsubid, CASE WHEN d.deptype OPERATOR(pg_catalog.=) 'n' THEN 'n' ELSE 'a' END
    FROM pg_catalog.pg_depend AS d
    WHERE d.refclassid OPERATOR(pg_catalog.=) gone.classid AND d.refobjid OPERATOR(pg_catalog.=) gone.objid
    AND (gone.objsubid OPERATOR(pg_catalog.=) 0 OR d.refobjsubid OPERATOR(pg_catalog.=) gone.objsubid)
    AND d.deptype OPERATOR(pg_catalog.<>) ALL ('{p,x}'::pg_catalog."char"[])
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid, 'n' FROM pg_catalog.pg_depend AS d
    WHERE d.classid OPERATOR(pg_catalog.=) gone.classid AND d.objid OPERATOR(pg_catalog.=) gone.objid
    AND d.objsubid OPERATOR(pg_catalog.=) gone.objsubid AND d.deptype OPERATOR(pg_catalog.=) 'i'
    AND gone.how OPERATOR(pg_catalog.<>) 's'
  ) AS next (classid, objid, objsubid, how)
), along (classid, objid, objsubid) AS (
  SELECT gone.classid, gone.objid, gone.objsubid FROM gone GROUP BY gone.classid, gone.objid, gone.objsubid
  HAVING pg_catalog.bool_and(gone.how OPERATOR(pg_catalog.=) 'n')
), listed (oid, how) AS (
  SELECT each.oid, pg_catalog.min(each.how) FROM (
    SELECT taken.oid, taken.how FROM taken
    UNION ALL
    SELECT gone.objid, 4 FROM gone WHERE gone.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND gone.objsubid OPERATOR(pg_catalog.=) 0
  ) AS each GROUP BY each.oid
)
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
  OR n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.json_array_elements_text(__SCHEMAS__))))
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
    values: dict[str, object] = {
        "__RELATIONS__": _relations(subject),
        "__SCHEMAS__": _spelled((name,) for name in subject.schemas),
        "__TYPES__": _spelled(subject.types),
    }
    return filled(_with_switches(_THINGS, subject), values)


def holders_question(subject: Subject) -> bytes:
    """Return the question about whose locks it would wait for; empty if it locks nothing that it names."""
    if subject.locking is None or not (subject.relations or subject.schemas):
        return b""
    modes = [mode.name for mode in subject.locking.mode.conflicts]
    values = {"__RELATIONS__": _relations(subject), "__SCHEMAS__": list(subject.schemas), "__MODES__": modes}
    return filled(_with_switches(_HOLDERS, subject), values)


def _with_switches(question: str, subject: Subject) -> str:
    question = question.replace("__TAKEN__", _TAKEN)
    switches = {"__REFERRING__": subject.referring, "__DROPPED__": subject.dropped}
    for place, on in switches.items():
        question = question.replace(place, "true" if on else "false")
    return question


def _relations(subject: Subject) -> list[dict[str, object]]:
    named = zip(_spelled(subject.relations), subject.relations, strict=True)
    return [{"name": spelled, "children": name not in subject.alone} for spelled, name in named]


def _spelled(names: Iterable[Name]) -> list[str]:
    return [".".join(map(identifier, name)) for name in names]


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
        return ".".join(map(identifier, self.name))

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
    spelled = ".".join(map(identifier, (str(schema), str(name))))
    seconds = None if since is None else int(since)
    return Holder(int(pid), str(role), LockMode[str(mode)], bool(granted), spelled, seconds)
