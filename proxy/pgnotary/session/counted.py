"""What a statement has changed, as the server counts it, against what the statement says that it changes.

Two counts and a part that policy forwarded enter; what was changed unsaid leaves, in words, or nothing. Where no wall
stands, the server is asked what this transaction has done: the rows changed in each relation, the locks that DDL and
TRUNCATE leave, the cursors that COMMIT would run. Whoever finds something unsaid must undo it: nobody has approved it.
What no count shows (another server, a sequence, a setting) is not seen.

What was changed is looked for by the transaction's locks, not in pg_class: a snapshot may be older than a relation. All
operators are spelled out, because the client's search_path is in force.

Source: PostgreSQL 18, "Statistics Functions" (pg_stat_get_xact_*), "pg_locks", "Explicit Locking".
"""

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name, Part, Qualifier, StatementClass
from pgnotary.session.inject import put
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Step

__all__ = ["QUESTIONS", "Count", "NotCounted", "Unsaid", "count", "unsaid"]

# Who makes a temporary table writes to these catalogs; of these rows, none may be about anything else.
_OF_TEMPORARY = frozenset(
    """
    pg_attrdef pg_attribute pg_class pg_constraint pg_depend pg_description pg_index pg_inherits pg_init_privs
    pg_namespace pg_partitioned_table pg_sequence pg_shdepend pg_statistic pg_statistic_ext pg_statistic_ext_data
    pg_trigger pg_type
    """.split()
)
_MAKE_TEMPORARY = frozenset({"CreateStmt", "CreateTableAsStmt", "IndexStmt", "SelectStmt"})
_END_TEMPORARY = frozenset({"DropStmt", "TruncateStmt"})
_TEMPORARY_SCHEMA = ("pg_temp_", "pg_toast_temp_")
_MOST_NAMES = 5

_COUNT = """
WITH locks AS MATERIALIZED (
  SELECT l.locktype, l.relation, l.classid, l.objid, l.transactionid,
    l.mode OPERATOR(pg_catalog.<>) 'RowExclusiveLock' AS strong
  FROM pg_catalog.pg_lock_status() AS l WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
  AND l.mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,RowShareLock,SIReadLock}'::pg_catalog.text[])
), touched AS (
  SELECT l.relation, pg_catalog.bool_or(l.strong) FROM locks AS l
  WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' GROUP BY l.relation
  UNION ALL
  SELECT c.oid, false FROM pg_catalog.pg_class AS c WHERE __OTHERS__
), changed AS MATERIALIZED (
  SELECT t.oid, t.strong, x.inserted, x.updated, x.deleted FROM touched AS t (oid, strong)
  CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(t.oid), pg_catalog.pg_stat_get_xact_tuples_updated(t.oid),
      pg_catalog.pg_stat_get_xact_tuples_deleted(t.oid) OFFSET 0
  ) AS x (inserted, updated, deleted)
  WHERE t.strong OR GREATEST(x.inserted, x.updated, x.deleted) OPERATOR(pg_catalog.>) 0
)
SELECT pg_catalog.json_build_object(
  'counting', pg_catalog.current_setting('track_counts'),
  'path', pg_catalog.current_schemas(true),
  'role', current_user,
  'cursors', (SELECT pg_catalog.json_agg(u.name) FROM pg_catalog.pg_cursors AS u
    WHERE u.is_holdable AND u.creation_time OPERATOR(pg_catalog.>=) pg_catalog.transaction_timestamp()),
  'objects', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      l.classid::pg_catalog.int8, l.objid::pg_catalog.int8))
    FROM locks AS l WHERE l.locktype OPERATOR(pg_catalog.=) 'object' AND l.strong),
  'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.oid::pg_catalog.int8,
      (SELECT pg_catalog.json_build_array(n.nspname, r.relname)
        FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
        WHERE r.oid OPERATOR(pg_catalog.=) c.oid),
      (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, r.relname))
        FROM pg_catalog.pg_partition_ancestors(c.oid) AS a (relid)
        JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) a.relid::pg_catalog.oid
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace),
      c.strong, c.inserted, c.updated, c.deleted)) FROM changed AS c)__MADE__)
""".strip()
# Asked of what may run code while it makes a temporary table: the rows of catalogs that are about anything else.
_MADE = """,
  'made', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(k.catalog, k.oid::pg_catalog.int8, k.xmin)) FROM (
      SELECT 'pg_class', c.oid, c.xmin FROM pg_catalog.pg_class AS c
      WHERE c.relpersistence OPERATOR(pg_catalog.<>) 't'
      UNION ALL
      SELECT 'pg_attribute', c.oid, a.xmin FROM pg_catalog.pg_attribute AS a
      JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
      WHERE c.relpersistence OPERATOR(pg_catalog.<>) 't'
      UNION ALL
      SELECT 'pg_type', t.oid, t.xmin FROM pg_catalog.pg_type AS t
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
      WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'
      UNION ALL
      SELECT 'pg_constraint', t.oid, t.xmin FROM pg_catalog.pg_constraint AS t
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.connamespace
      WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'
      UNION ALL
      SELECT 'pg_namespace', n.oid, n.xmin FROM pg_catalog.pg_namespace AS n
      WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'
    ) AS k (catalog, oid, xmin)
    WHERE k.xmin OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT l.transactionid FROM locks AS l
      WHERE l.locktype OPERATOR(pg_catalog.=) 'transactionid')))"""
# Rows that earlier transactions changed are counted until the server has summed them up, so all relations are asked
# about before. What has been changed since is locked, or a catalog, of which locks are not kept.
_ALL = """c.relkind OPERATOR(pg_catalog.=) ANY ('{r,t,m}'::pg_catalog."char"[])"""
_CATALOGS = "c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND c.relkind OPERATOR(pg_catalog.=) 'r'"
QUESTIONS = {
    (making, ran): _COUNT.replace("__MADE__", made).replace("__OTHERS__", others).encode()
    for making, made in ((False, ""), (True, _MADE))
    for ran, others in ((False, _ALL), (True, _CATALOGS))
}
"""What is asked, by whether it may make a temporary table, and whether it has run."""

_Rows = tuple[int, int, int]
"""Rows inserted, updated and deleted."""

_MAY_CHANGE: dict[StatementClass, tuple[bool, bool, bool]] = {
    StatementClass.INSERT: (True, False, False),
    StatementClass.COPY_IN: (True, False, False),
    # A row that moves to another partition is deleted here and inserted there.
    StatementClass.UPDATE: (True, True, True),
    StatementClass.DELETE: (False, False, True),
    StatementClass.MERGE: (True, True, True),
}


class Unsaid(StatementError):
    """It may have been the judge's miss: what was done was not approved, and must not stay."""

    sqlstate = "55000"

    def __init__(self, done: str) -> None:
        super().__init__(
            f"undone: it {done}, which nothing in its text says",
            detail="Nobody has approved that, so nothing of it stays.",
            hint="Code behind a name did it. If the catalog was changed just now, run it again; "
            "otherwise have somebody look at what its names call.",
        )


class NotCounted(StatementError):
    """The server did not say what was changed; `sqlstate` is its own."""

    def __init__(self, why: str, sqlstate: str | None, *, ran: bool) -> None:
        what = "undone: what it changed could not be counted" if ran else "what it would change cannot be counted"
        hint = "Counting needs track_counts = on, and a statement_timeout that leaves it time."
        super().__init__(f"{what}: {why}", hint=hint)
        self.sqlstate = sqlstate or "55000"


@dataclass(frozen=True, slots=True)
class _Relation:
    """One relation that the transaction has changed or locked."""

    name: Name | None
    """None if the transaction's snapshot does not know it, or it is gone."""
    ancestors: frozenset[Name]
    """What it is a partition of."""
    strong: bool
    """It is locked as only DDL, TRUNCATE and LOCK TABLE do."""
    rows: _Rows


@dataclass(frozen=True, slots=True)
class Count:
    """What a transaction has done so far."""

    path: tuple[str, ...]
    role: str
    cursors: frozenset[str]
    """The cursors WITH HOLD that it has declared."""
    objects: frozenset[tuple[int, int]]
    """What is no relation and was dropped or altered: the oids of its catalog and its own."""
    made: frozenset[tuple[str, int, str]]
    """Rows of catalogs that are about no temporary table: catalog, oid, xmin; only if they were asked for."""
    relations: dict[int, _Relation]
    """By oid; rows that earlier transactions changed are among them until the server has summed them up."""


def count(state: SessionState, part: Part, *, ran: bool) -> Generator[Step, Any, Count]:
    """Ask what the transaction has done; raises NotCounted if the server does not say, whether or not the part ran."""
    making = Qualifier.TEMP in part.qualifiers and part.node in _MAKE_TEMPORARY
    answer = yield from put(state, QUESTIONS[making, ran])
    if answer.error is not None:
        raise NotCounted(str(answer.error), answer.error.sqlstate, ran=ran)
    try:
        ((text,),) = answer.rows
        fields = json.loads(text or "")
        found = Count(
            path=tuple(map(str, fields["path"])),
            role=str(fields["role"]),
            cursors=frozenset(map(str, fields["cursors"] or ())),
            objects=frozenset((int(catalog), int(oid)) for catalog, oid in fields["objects"] or ()),
            made=frozenset((str(catalog), int(oid), str(xmin)) for catalog, oid, xmin in fields.get("made") or ()),
            relations=_relations(fields["relations"] or ()),
        )
        counting = fields["counting"] == "on"
    except (ValueError, TypeError, KeyError) as error:
        raise UpstreamProtocolError(f"the answer about what was changed cannot be read: {error}") from error
    if not counting:
        raise NotCounted("track_counts is off", None, ran=ran)
    return found


def _relations(listed: Any) -> dict[int, _Relation]:
    found: dict[int, _Relation] = {}
    for oid, name, ancestors, strong, inserted, updated, deleted in listed:
        # One that is locked and asked about for another reason stands here twice.
        found[int(oid)] = _Relation(
            name=_name(name) if name else None,
            ancestors=frozenset(map(_name, ancestors or ())),
            strong=bool(strong) or (int(oid) in found and found[int(oid)].strong),
            rows=(int(inserted), int(updated), int(deleted)),
        )
    return found


def _name(fields: Any) -> Name:
    schema, name = fields
    return str(schema), str(name)


def unsaid(part: Part, before: Count, after: Count) -> str:
    """Return what was done between two counts that the part does not say, in words that follow "it"; or ""."""
    if after.cursors - before.cursors - ({part.defines} if part.with_hold else set()):
        return "left a cursor WITH HOLD behind"
    if part.node not in _END_TEMPORARY and (after.objects - before.objects or after.made - before.made):
        return "made, changed or dropped what is no temporary table"
    found = []
    for oid, now in sorted(after.relations.items()):
        was = before.relations.get(oid)
        rows = _less(now.rows, was.rows) if was else now.rows
        locked = now.strong and not (was and was.strong)
        if (any(rows) or locked) and not _is_said(part, now, rows, locked=locked):
            found.append(f"{_spelled(oid, now)} ({_in_words(rows)})")
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return f"changed {', '.join(found[:_MOST_NAMES])}{more}" if found else ""


def _less(now: _Rows, was: _Rows) -> _Rows:
    return now[0] - was[0], now[1] - was[1], now[2] - was[2]


def _spelled(oid: int, relation: _Relation) -> str:
    return qualified(relation.name) if relation.name else f"the relation with oid {oid}"


def _in_words(rows: _Rows) -> str:
    said = [f"{number} {done}" for number, done in zip(rows, ("inserted", "updated", "deleted"), strict=True) if number]
    return ", ".join(said) or "locked"


def _is_said(part: Part, relation: _Relation, rows: _Rows, *, locked: bool) -> bool:
    if relation.name is None:
        # A table that is dropped is no more.
        return part.node in _END_TEMPORARY and Qualifier.TEMP in part.qualifiers
    schema, name = relation.name
    if schema == "pg_toast":
        return not locked  # It follows its table, which is counted, too.
    if schema.startswith(_TEMPORARY_SCHEMA):
        return schema.startswith("pg_toast") or _is_named_temporary(part, name)
    if locked:
        return False
    if schema == "pg_catalog":
        makes = part.node in _MAKE_TEMPORARY | _END_TEMPORARY
        return makes and Qualifier.TEMP in part.qualifiers and name in _OF_TEMPORARY
    return Qualifier.WRITE in part.qualifiers and _is_target(part, relation) and _may_change(part, rows)


def _is_named_temporary(part: Part, name: str) -> bool:
    """Say whether a part names that temporary relation, or makes relations, of which some have names of their own."""
    if Qualifier.TEMP in part.qualifiers and part.node in _MAKE_TEMPORARY | _END_TEMPORARY:
        return True
    return name in {each[-1] for each in (*part.resolved_targets, *part.targets)}


def _is_target(part: Part, relation: _Relation) -> bool:
    return relation.name in part.resolved_targets or not relation.ancestors.isdisjoint(part.resolved_targets)


def _may_change(part: Part, rows: _Rows) -> bool:
    inserted, updated, deleted = rows
    if min(rows) < 0:
        return False  # TRUNCATE of what was changed before in the same transaction.
    allowed = [_MAY_CHANGE[each] for each in part.classes if each in _MAY_CHANGE]
    inserts, updates, deletes = (any(each[place] for each in allowed) for place in range(3))
    # What loses against another session by ON CONFLICT is inserted, and deleted again.
    lost = part.on_conflict and deleted <= inserted
    return (inserts or not inserted) and (updates or not updated) and (deletes or lost or not deleted)
