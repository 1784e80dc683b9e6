"""What a signed statement has changed, relation by relation, as the server counts it.

Two answers of the server enter, before the statement and behind it; the rows that were inserted, updated and deleted in
each relation leave, or why they cannot be told. What no count shows is no number here: a relation that was emptied or
made anew, or that is on another server, makes the whole uncountable. Rows of savepoints that were rolled back inside of
it may be counted: too many, never too few.

Relations that were changed are looked for by the transaction's locks, not in pg_class: a snapshot may be older than one
of them. All operators are spelled out, because the client's search_path is in force.

Source: PostgreSQL 18, "Statistics Functions" (pg_stat_get_xact_*), "pg_locks", "Table Inheritance", TRUNCATE.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.identifiers import qualified
from pgnotary.judge.scope import TEMP
from pgnotary.judge.secret_values import words_masked
from pgnotary.judge.statement import Name, Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.request.ceiling import Changed, other_rows

__all__ = [
    "BEFORE",
    "BEHIND",
    "NOTHING",
    "Changes",
    "Counters",
    "NotCounted",
    "changes",
    "counters_in",
    "targets_of",
]

# An entry holds 65,535 bytes; a relation takes about 100, and its name at most 252 more.
_MAX_LISTED = 100
_MOST_NAMES = 5
_FIRST_OF_USERS = 16_384
"""Below are the oids of PostgreSQL's own catalogs."""

_COUNT = """
WITH RECURSIVE locks (oid, emptied) AS MATERIALIZED (
  SELECT l.relation, pg_catalog.bool_or(l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock')
  FROM pg_catalog.pg_lock_status() AS l
  WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.locktype OPERATOR(pg_catalog.=) 'relation'
  AND l.mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,RowShareLock,SIReadLock}'::pg_catalog.text[])
  GROUP BY l.relation
), touched (oid, emptied) AS (
  SELECT k.oid, k.emptied FROM locks AS k
  UNION ALL
  SELECT c.oid, false FROM pg_catalog.pg_class AS c WHERE __OTHERS__
), changed AS MATERIALIZED (
  SELECT t.oid, t.emptied, r.relkind, r.relname, r.relnamespace, x.inserted, x.updated, x.deleted
  FROM touched AS t LEFT JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) t.oid
  CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(t.oid), pg_catalog.pg_stat_get_xact_tuples_updated(t.oid),
      pg_catalog.pg_stat_get_xact_tuples_deleted(t.oid) OFFSET 0
  ) AS x (inserted, updated, deleted)
  WHERE t.emptied OR r.relkind OPERATOR(pg_catalog.=) 'f'
  OR GREATEST(x.inserted, x.updated, x.deleted) OPERATOR(pg_catalog.<>) 0
), above (oid, ancestor) AS (
  SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits AS i
  WHERE i.inhrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT c.oid FROM changed AS c))
  UNION
  SELECT a.oid, i.inhparent FROM above AS a
  JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) a.ancestor
)
SELECT pg_catalog.json_build_object(
  'track_counts', pg_catalog.current_setting('track_counts'),
  'cursors', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(u.name, u.creation_time))
    FROM pg_catalog.pg_cursors AS u WHERE u.is_holdable),
  'changed', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', c.oid::pg_catalog.int8, 'kind', c.relkind,
    'name', (SELECT pg_catalog.json_build_array(n.nspname, c.relname) FROM pg_catalog.pg_namespace AS n
      WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace),
    'root', (SELECT pg_catalog.json_build_array(n.nspname, r.relname) FROM pg_catalog.pg_class AS r
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
      WHERE r.oid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid),
    'above', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, r.relname)) FROM above AS a
      JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) a.ancestor
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
      WHERE a.oid OPERATOR(pg_catalog.=) c.oid),
    'emptied', c.emptied, 'file', pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.int8,
    'rows', pg_catalog.json_build_array(c.inserted, c.updated, c.deleted))) FROM changed AS c))
""".strip()
# Rows that earlier transactions changed are counted until the server has summed them up, so all relations are asked
# about before. What has been changed since is locked, or a catalog, of which locks are not kept.
BEFORE = _COUNT.replace(
    "__OTHERS__", """c.relkind OPERATOR(pg_catalog.=) ANY ('{r,t,m}'::pg_catalog."char"[])"""
).encode()
"""Asks for the counters before a statement."""
BEHIND = _COUNT.replace(
    "__OTHERS__", "c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND c.relkind OPERATOR(pg_catalog.=) 'r'"
).encode()
"""Asks for them behind it."""

_Rows = tuple[int, int, int]
"""Rows inserted, updated and deleted."""
_NONE: _Rows = (0, 0, 0)


class NotCounted(StatementError):
    """The server did not say what was changed; `sqlstate` is its own, if it has one."""

    sqlstate = "55000"


@dataclass(frozen=True, slots=True)
class _Counter:
    """One relation that the transaction has changed, or has locked as only DDL and TRUNCATE do."""

    oid: int
    kind: str
    """pg_class.relkind; "" if the transaction's snapshot does not know it, or it is gone."""
    name: Name
    root: Name
    """Of a partition: the partitioned table on top; else empty."""
    above: frozenset[Name]
    """What it is a partition or an inheritance child of, at any distance."""
    emptied: bool
    """It may have been: it is locked ACCESS EXCLUSIVE."""
    file: int | None
    rows: _Rows

    @property
    def is_temporary(self) -> bool:
        return self.name[:1] != () and self.name[0].startswith("pg_temp_")

    @property
    def is_of_nobody(self) -> bool:
        """Whether it is a catalog, or follows its table: a row there is none that anybody has asked for."""
        schema = self.name[0] if self.name else ""
        if schema.startswith("pg_toast"):
            return True
        # Large objects are data.
        return schema == "pg_catalog" and self.oid < _FIRST_OF_USERS and self.name[1:] != ("pg_largeobject",)

    def is_among(self, targets: Collection[Name]) -> bool:
        own = {self.name, (TEMP, *self.name[1:])} if self.is_temporary else {self.name}
        return not (own | self.above).isdisjoint(targets)


@dataclass(frozen=True, slots=True)
class Counters:
    """What a transaction has changed so far; rows that earlier ones changed may be among them."""

    are_kept: bool
    """track_counts is on."""
    cursors: frozenset[tuple[str, str]]
    """Name and time of each cursor WITH HOLD: COMMIT runs the queries of new ones."""
    relations: dict[int, _Counter]


NOTHING = Counters(are_kept=True, cursors=frozenset(), relations={})
"""Of what runs outside any transaction."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed between two looks."""

    changed: tuple[Changed, ...] = ()
    """The statement's targets first, then by rows."""
    uncountable: str = ""
    """Why that is not all, or not known to be; follows on "it"."""

    @property
    def other_rows(self) -> int:
        """How many rows were changed in what is no target."""
        return other_rows(self.changed)

    @property
    def in_words(self) -> str:
        """Which rows these are, for people."""
        more = f"; and {len(self.changed) - _MOST_NAMES} more" if len(self.changed) > _MOST_NAMES else ""
        return "; ".join(each.in_words for each in self.changed[:_MOST_NAMES]) + more

    @property
    def fields(self) -> dict[str, JSON]:
        """The fields of an `executed` entry that tell it; nothing if nothing is known."""
        if self.uncountable:
            return {"uncountable": self.uncountable}
        fields: dict[str, JSON] = {"changed": [each.fields for each in self.changed[:_MAX_LISTED]]}
        if len(self.changed) > _MAX_LISTED:
            fields["changed_more"] = len(self.changed) - _MAX_LISTED
        return fields | ({"other_rows": self.other_rows} if self.other_rows else {})


def counters_in(rows: list[tuple[str | None, ...]]) -> Counters:
    """Read the one row that a question was answered with; raises UpstreamProtocolError."""
    try:
        ((text,),) = rows
        fields = json.loads(text or "")
        found: dict[int, _Counter] = {}
        for each in map(_counter, fields["changed"] or ()):
            # One that is locked and asked about for another reason stands here twice.
            if each.oid not in found or each.emptied:
                found[each.oid] = each
        cursors = frozenset((str(name), str(at)) for name, at in fields["cursors"] or ())
        return Counters(fields["track_counts"] == "on", cursors, found)
    except (ValueError, TypeError, KeyError) as error:
        raise UpstreamProtocolError(f"the answer about what was changed cannot be read: {error}") from error


def _counter(fields: Any) -> _Counter:
    inserted, updated, deleted = map(int, fields["rows"])
    file = fields["file"]
    return _Counter(
        oid=int(fields["oid"]),
        kind=str(fields["kind"] or ""),
        name=_name(fields["name"]),
        root=_name(fields["root"]),
        above=frozenset(map(_name, fields["above"] or ())),
        emptied=bool(fields["emptied"]),
        file=None if file is None else int(file),
        rows=(inserted, updated, deleted),
    )


def _name(fields: Any) -> Name:
    return tuple(map(str, fields or ()))


def targets_of(statement: Statement) -> frozenset[Name]:
    """Return the relations whose rows the parts that were signed say that they change."""
    return frozenset(name for part in statement.parts if not part.harmless for name in part.resolved_targets)


def changes(before: Counters, behind: Counters, targets: Collection[Name]) -> Changes:
    """Return what was changed between two looks, by a statement with these targets."""
    if not (before.are_kept and behind.are_kept):
        return Changes(uncountable="cannot be counted while track_counts is off")
    if behind.cursors - before.cursors:
        return Changes(uncountable="left a cursor WITH HOLD behind, which COMMIT would run")
    found: list[Changed] = []
    for now in behind.relations.values():
        was = before.relations.get(now.oid)
        rows = _less(now.rows, was.rows if was else _NONE)
        if now.is_temporary:
            rows = max(rows[0], 0), max(rows[1], 0), max(rows[2], 0)  # Emptied: those are the session's own.
        if now.is_of_nobody:
            continue
        if why := _unseen(now, was, rows):
            return Changes(uncountable=why)
        if any(rows):
            root = _spelled(now.root) if now.root != now.name else ""
            found.append(Changed(_said(now), now.is_among(targets), root, *rows))
    return Changes(tuple(sorted(found, key=lambda each: (not each.target, -each.rows, each.relation))))


def _less(now: _Rows, was: _Rows) -> _Rows:
    return now[0] - was[0], now[1] - was[1], now[2] - was[2]


def _unseen(now: _Counter, was: _Counter | None, rows: _Rows) -> str:
    """Say what was done to a relation that its counters do not show, in words that follow on "it"; or ""."""
    if now.kind == "f":
        return f"may have changed {_said(now)}, which is on another server"
    if min(rows) < 0:
        return f"emptied {_said(now)}"
    anew = now.emptied and not (was and was.emptied and was.file == now.file)
    if anew and not now.is_temporary and now.kind in ("", "r", "p", "m"):
        return f"emptied, made anew or dropped {_said(now)}"
    return ""


def _said(relation: _Counter) -> str:
    return _spelled(relation.name) or f"the relation with oid {relation.oid}"


def _spelled(name: Iterable[str]) -> str:
    return words_masked(qualified(name))
