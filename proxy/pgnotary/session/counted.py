"""What a statement has changed, as the server counts it, against what the statement says that it changes.

A part that policy forwards enters; its answer leaves. In a read-write transaction there is no wall, so the changed rows
of every relation are counted before and behind the part, and so are cursors WITH HOLD, which COMMIT would run. If
anything else was changed than the part says, nobody has approved that: an error is raised, and the caller must undo the
transaction. What no count shows (another server, a sequence) is not seen; nor is anything if track_counts is off,
which only a superuser can do.

Source: PostgreSQL 18, "Statistics Functions" (pg_stat_get_xact_*).
"""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.naming import identifier
from pgnotary.judge.statement import Name, Part, Qualifier, StatementClass
from pgnotary.session.manner import Manner
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Keep, Step, ask
from pgnotary.session.wall import relay_walled
from pgnotary.wire.messages import query

__all__ = ["COUNT", "relay_counted"]

# Asked with the client's search_path: no operator may be looked up by it.
COUNT = b"""
SELECT pg_catalog.json_build_object(
  'cursors', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(u.name, u.creation_time))
              FROM pg_catalog.pg_cursors AS u WHERE u.is_holdable),
  'tables', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
               c.oid::pg_catalog.int8, n.nspname, c.relname, r.nspname, r.relname, x.inserted, x.updated, x.deleted))
             FROM pg_catalog.pg_class AS c
             CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
               pg_catalog.pg_stat_get_xact_tuples_updated(c.oid), pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
             ) AS x (inserted, updated, deleted)
             JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
             LEFT JOIN LATERAL (SELECT m.nspname, p.relname FROM pg_catalog.pg_class AS p
               JOIN pg_catalog.pg_namespace AS m ON m.oid OPERATOR(pg_catalog.=) p.relnamespace
               WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid) AS r ON true
             WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,t,m}'::pg_catalog."char"[])
             AND GREATEST(x.inserted, x.updated, x.deleted) OPERATOR(pg_catalog.>) 0))
""".strip()
_TEMPORARY_SCHEMA = ("pg_temp_", "pg_toast_temp_")
# What a temporary table is made of.
_OF_TEMPORARY = frozenset(
    """
    pg_attrdef pg_attribute pg_class pg_constraint pg_depend pg_description pg_index pg_inherits pg_init_privs
    pg_namespace pg_partitioned_table pg_shdepend pg_statistic pg_type
    """.split()
)
_MOST_NAMES = 5


class _ChangedUnsaid(StatementError):
    """It may have been the judge's miss: what was changed was not approved, and must not stay."""

    sqlstate = "55000"

    def __init__(self, changed: str) -> None:
        super().__init__(
            f"rolled back: it {changed}, which nothing in its text says",
            detail="Nobody has approved that.",
            hint="Code behind a name did it: docs/policy.md says how a rule has such statements held.",
        )


@dataclass(frozen=True, slots=True)
class _Changes:
    """The rows inserted, updated and deleted since some moment in one relation; `root` is what it is a partition of."""

    name: Name
    root: Name | None
    rows: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Count:
    cursors: frozenset[tuple[str, str]]
    tables: dict[int, _Changes]


def relay_counted(
    state: SessionState, part: Part, manner: Manner, message: bytes, *, keep: Keep = Keep.NOTHING
) -> Generator[Step, Any, Answer]:
    """Relay one statement as its manner is; raises StatementError if it changed what it does not say."""
    if manner is not Manner.COUNTED:
        return (yield from relay_walled(state, manner, message, keep=keep, holds=part.with_hold))
    before = yield from _count()
    kept = Keep.COMPLETION if keep is Keep.NOTHING else keep
    answer = yield from relay_walled(state, manner, message, keep=kept)
    if answer.error is None:
        after = yield from _count()
        for changed in _unsaid(part, before, after):
            raise _ChangedUnsaid(changed)
    if keep is Keep.NOTHING:
        state.tell(answer.released())
    return answer


def _count() -> Generator[Step, Any, _Count]:
    answer = yield from ask(query(COUNT))
    if answer.error is not None:
        raise _ChangedUnsaid(f"may have changed anything, for that could not be counted ({answer.error})")
    try:
        ((text,),) = answer.rows
        fields = json.loads(text or "")
        cursors = frozenset((str(name), str(at)) for name, at in fields["cursors"] or ())
        tables = {
            int(oid): _Changes(
                (str(schema), str(name)), (str(of), str(root)) if root else None, (int(i), int(u), int(d))
            )
            for oid, schema, name, of, root, i, u, d in fields["tables"] or ()
        }
    except (ValueError, TypeError, KeyError) as error:
        raise UpstreamProtocolError(f"the answer about what was changed cannot be read: {error}") from error
    return _Count(cursors, tables)


def _unsaid(part: Part, before: _Count, after: _Count) -> Iterator[str]:
    """Yield what was changed that the part does not say."""
    if after.cursors - before.cursors:
        yield "left a cursor WITH HOLD behind"
    names = []
    for oid, changes in after.tables.items():
        was = before.tables[oid].rows if oid in before.tables else (0, 0, 0)
        rows = tuple(now - then for now, then in zip(changes.rows, was, strict=True))
        if any(rows) and not _is_said(part, changes, rows):
            names.append(".".join(map(identifier, changes.name)))
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield f"changed {', '.join(sorted(names)[:_MOST_NAMES])}{more}"


def _is_said(part: Part, changes: _Changes, rows: tuple[int, ...]) -> bool:
    schema, name = changes.name
    if schema.startswith(_TEMPORARY_SCHEMA):
        return True
    if schema == "pg_toast":
        # It follows its table, which is counted too.
        return True
    if schema == "pg_catalog":
        return Qualifier.TEMP in part.qualifiers and name in _OF_TEMPORARY
    if Qualifier.WRITE not in part.qualifiers:
        return False
    inserted, updated, deleted = rows
    merges = StatementClass.MERGE in part.classes
    return (
        _is_named(part, changes)
        and (not inserted or merges or not part.classes.isdisjoint({StatementClass.INSERT, StatementClass.UPDATE}))
        and (not updated or merges or StatementClass.UPDATE in part.classes)
        and (not deleted or merges or not part.classes.isdisjoint({StatementClass.DELETE, StatementClass.UPDATE}))
    )


def _is_named(part: Part, changes: _Changes) -> bool:
    """Say whether a part names a relation, or what it is a partition of; EXECUTE names none."""
    return not part.resolved or changes.name in part.resolved or changes.root in part.resolved
