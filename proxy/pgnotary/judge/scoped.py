"""The two questions that a scope is made of, and how their answers are read.

A server's answers about one of its sessions enter, a `Scope` leaves. The first is asked with the session's own
search_path, which it is about, and has no operators in it; the second with pg_catalog alone, and only of a session that
may have temporary relations.
"""

import json
from collections.abc import Sequence
from typing import Any

from pgnotary.judge.asked import MAKING_NAMES, RETURNING_OWN_TYPE
from pgnotary.judge.harmless_functions import OF_ANY_TYPE
from pgnotary.judge.naming import types_by_text
from pgnotary.judge.scope import TEMP, Scope
from pgnotary.judge.statement import Names, frozen

__all__ = ["SCOPE_QUESTIONS", "may_have_temporary", "read_scope"]

SCOPE_QUESTIONS = (
    """
SELECT pg_catalog.to_json(pg_catalog.current_schemas(true)), current_user,
  pg_catalog.current_setting('pgnotary.default_transaction_read_only', true)
""".strip(),
    """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(o.name, o.reads_plainly, o.reads_plainly
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = o.oid)
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w WHERE w.ev_class = o.oid)
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = o.oid), (
    SELECT pg_catalog.json_build_array(
      (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
         CASE WHEN r.relnamespace = pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END, r.relname))
       FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class r ON r.oid = d.refobjid
       JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
       WHERE d.classid = 2618::pg_catalog.oid AND d.objid = w.oid AND d.refclassid = 1259::pg_catalog.oid
       AND r.oid <> o.oid),
      (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, p.proname)) FROM (
         SELECT called.oid[1]::pg_catalog.oid
         FROM pg_catalog.regexp_matches(w.ev_action::pg_catalog.text,
           ':(?:funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS called (oid)
         UNION
         SELECT d.refobjid FROM pg_catalog.pg_depend d
         WHERE d.classid = 2618::pg_catalog.oid AND d.objid = w.oid AND d.refclassid = 1255::pg_catalog.oid
       ) AS f (oid)
       JOIN pg_catalog.pg_proc p ON p.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace),
      (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(x.oprname))
       FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator x ON x.oid = d.refobjid
       WHERE d.classid = 2618::pg_catalog.oid AND d.objid = w.oid AND d.refclassid = 2617::pg_catalog.oid),
      (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(y.typname)) FROM (
         SELECT d.refobjid FROM pg_catalog.pg_depend d
         WHERE d.classid = 2618::pg_catalog.oid AND d.objid = w.oid AND d.refclassid = 1247::pg_catalog.oid
         UNION
         SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = o.oid
       ) AS u (oid) JOIN pg_catalog.pg_type y ON y.oid = u.oid AND y.oid >= 16384::pg_catalog.oid))
    FROM pg_catalog.pg_rewrite w
    WHERE o.kind = 'v' AND w.ev_class = o.oid AND w.rulename = '_RETURN'
    AND w.ev_action::pg_catalog.text !~ ':rowMarks [(]|__RETURNING__')))
FROM (
  SELECT c.oid, c.relname, c.relkind, c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
       WHERE a.attrelid = c.oid AND y.oid >= 16384::pg_catalog.oid
         AND (y.typtype <> 'e' OR EXISTS (SELECT 1 FROM pg_catalog.pg_opclass x WHERE x.opcintype = y.oid)
           OR EXISTS (SELECT 1 FROM pg_catalog.pg_cast k
             WHERE k.oid >= 16384::pg_catalog.oid AND y.oid IN (k.castsource, k.casttarget))))
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indclass) AS o (oid)
       WHERE i.indrelid = c.oid AND o.oid >= 16384::pg_catalog.oid)
     AND NOT EXISTS (
       SELECT 1 FROM (
         SELECT d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid
         UNION ALL SELECT k.conbin::pg_catalog.text FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid
         UNION ALL SELECT i.indexprs::pg_catalog.text FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid
         UNION ALL SELECT i.indpred::pg_catalog.text FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid
       ) AS e (tree)
       LEFT JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':(?:funcid|opfuncid) ([0-9]+)', 'g') AS called (oid) ON true
       LEFT JOIN pg_catalog.pg_proc p ON p.oid = called.oid[1]::pg_catalog.oid
       WHERE e.tree ~ '__RETURNING__' OR p.proname = ANY ('__MAKING__'::pg_catalog.name[])
       OR p.oid >= 16384::pg_catalog.oid OR (p.provolatile = 'v' AND p.proname NOT IN
         ('clock_timestamp', 'gen_random_uuid', 'nextval', 'random', 'timeofday')))
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind NOT IN ('i', 'I', 't', 'c', 'S')
) AS o (oid, name, kind, reads_plainly)
""".strip()
    .replace("__RETURNING__", RETURNING_OWN_TYPE)
    .replace("__MAKING__", MAKING_NAMES),
)
"""One row each: the schemas that are searched as JSON, the role, the client's default_transaction_read_only; and the
session's temporary relations as JSON, each with whether reading it, and whether writing to it, runs nobody's code, and
what a view is of: the names of its relations, functions, operators and types."""


def may_have_temporary(path: str) -> bool:
    """Say whether a session may have temporary relations, by the answer to the first question; ValueError for nonsense.

    Once it has a schema for them, that is searched, said or unsaid: recomputeNamespacePath() in namespace.c.
    """
    return any(str(schema).startswith(TEMP) for schema in json.loads(path))


def read_scope(path: str, role: str, relations: str | None) -> Scope:
    """Return the scope that the answers tell; raises ValueError or TypeError if they cannot be read."""
    listed: Sequence[tuple[str, bool, bool, Sequence[Any] | None]] = json.loads(relations or "[]")
    return Scope(
        path=tuple(map(str, json.loads(path))),
        role=role,
        temporary=frozen(str(name) for name, _, writes_plainly, _ in listed if writes_plainly),
        busy_temporary=frozen(str(name) for name, reads, writes, _ in listed if reads and not writes),
        odd_temporary=frozen(str(name) for name, reads, _, view in listed if not reads and view is None),
        temporary_views=frozen((str(name), _of_view(*view)) for name, _, _, view in listed if view is not None),
    )


def _of_view(*listed: Sequence[Sequence[str]] | None) -> Names:
    relations, functions, operators, types = (frozen(map(tuple, each or ())) for each in listed)
    return Names(
        relations=relations,
        functions=functions,
        operators=operators,
        types=types,
        typed_by_text=types_by_text(functions),
        makes_json=True,
        of_any_type=any(name[-1] in OF_ANY_TYPE | {"pg_attribute"} for name in relations),
        # Its tree does not say what became of a literal in it, nor its columns what will become of one beside them.
        unifies=True,
    )
