"""The two questions that a catalog is made of, and how their answers are read.

A server's answers enter, a `Catalog` leaves. The first question asks for the database's own functions, of which
`bodies` proves some harmless; the second asks what depends on the others, by pg_depend and, for PostgreSQL's own
functions, which pg_depend leaves out, by the stored trees of views, defaults and checks. What is reached is unproven,
whatever stands between. Both are reads of pg_catalog that any role may ask.

Source: PostgreSQL 18, "System Catalogs"; the names of calls in stored trees: nodeFuncs.c, outfuncs.c.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pgnotary.judge.bodies import OwnFunction, unproven, words_of
from pgnotary.judge.catalog import Catalog, Relation
from pgnotary.judge.harmless_functions import HARMLESS, NAMING_TYPES, OF_ANY_TYPE, POPULATING

__all__ = [
    "FUNCTIONS_QUESTION",
    "MAKING_NAMES",
    "RETURNING_OWN_TYPE",
    "Functions",
    "grown",
    "reach_question",
    "read_catalog",
    "read_functions",
]

# --- the first question: functions ------------------------------------------------------------------------------------

_HARMLESS_NAMES = "{" + ",".join(sorted(HARMLESS)) + "}"
_ANYARRAY_NAMES = "{" + ",".join(sorted(OF_ANY_TYPE)) + "}"
MAKING_NAMES = "{" + ",".join(sorted(NAMING_TYPES | POPULATING)) + "}"
_MAX_SOURCE, _MAX_TREE = 10_000, 200_000
# any, anyelement, anyarray, anynonarray, anyenum, anyrange, anymultirange, their anycompatible twins; record, record[].
_POLYMORPHIC = "'{2276,2283,2277,2776,3500,3831,4537,5077,5078,5079,5080,4538,2249,2287}'::pg_catalog.oid[]"

# To write a tree out as a text takes locks on the relations in it, behind whoever alters one: such a body is not read.
FUNCTIONS_QUESTION = f"""
SELECT pg_catalog.json_build_object(
  'built_in', (
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.oid::pg_catalog.int8, p.proname,
             p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1))
    FROM pg_catalog.pg_proc p
    WHERE p.oid < 16384::pg_catalog.oid AND p.pronamespace = 11::pg_catalog.oid
    AND p.proname <> ALL ('{_HARMLESS_NAMES}'::pg_catalog.name[])),
  'own', (
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.oid::pg_catalog.int8, n.nspname, p.proname,
             CASE WHEN l.lanname = 'c' AND e.extname IS NOT NULL AND 2281::pg_catalog.oid = ANY (p.proargtypes)
                  THEN 'i' ELSE p.provolatile::pg_catalog.text END,
             l.lanname, p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1,
             CASE WHEN p.provolatile = 'v' OR l.lanname NOT IN ('sql', 'plpgsql', 'internal')
                    OR 1790::pg_catalog.oid = ANY (p.prorettype || coalesce(p.proallargtypes, p.proargtypes))
                    OR pg_catalog.length(p.prosrc) > {_MAX_SOURCE}
                    OR pg_catalog.length(pg_catalog.to_jsonb(p)->>'prosqlbody') > {_MAX_TREE} THEN NULL
                  WHEN l.lanname = 'internal' AND p.prokind <> 'a' THEN
                    (SELECT b.proname::pg_catalog.text FROM pg_catalog.pg_proc b
                     WHERE b.oid < 16384::pg_catalog.oid AND b.prolang = p.prolang AND b.prosrc = p.prosrc
                     ORDER BY b.proname = ANY ('{_HARMLESS_NAMES}'::pg_catalog.name[]) LIMIT 1)
                  WHEN pg_catalog.to_jsonb(p)->>'prosqlbody' IS NOT NULL THEN
                    CASE WHEN NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend t WHERE t.classid = 1255::pg_catalog.oid
                      AND t.objid = p.oid AND t.refclassid = 1259::pg_catalog.oid) THEN
                    substring(pg_catalog.pg_get_functiondef(p.oid) FROM '\\n((?:BEGIN ATOMIC|RETURN ).*)$') END
                  ELSE p.prosrc END,
             p.proconfig, e.extname,
             (p.prorettype = ANY ({_POLYMORPHIC}) OR p.proargtypes::pg_catalog.oid[] && {_POLYMORPHIC})))
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = 1255::pg_catalog.oid AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
    WHERE p.oid >= 16384::pg_catalog.oid OR l.lanname NOT IN ('internal', 'c', 'sql')),
  'making', (
    SELECT pg_catalog.json_agg(p.oid::pg_catalog.int8) FROM pg_catalog.pg_proc p
    WHERE p.oid < 16384::pg_catalog.oid AND p.proname = ANY ('{MAKING_NAMES}'::pg_catalog.name[])),
  'anyarrays', (
    SELECT pg_catalog.json_agg(c.oid::pg_catalog.int8) FROM pg_catalog.pg_class c
    WHERE c.oid < 16384::pg_catalog.oid AND c.relname = ANY ('{_ANYARRAY_NAMES}'::pg_catalog.name[])),
  'unifying', (
    SELECT pg_catalog.json_agg(DISTINCT o.oprname) FROM pg_catalog.pg_operator o
    WHERE o.oid >= 16384::pg_catalog.oid AND (o.oprleft = ANY ({_POLYMORPHIC}) OR o.oprright = ANY ({_POLYMORPHIC}))),
  'equals', EXISTS (
    SELECT 1 FROM pg_catalog.pg_operator o WHERE o.oid >= 16384::pg_catalog.oid AND o.oprname = '='
    AND o.oprleft = 25::pg_catalog.oid AND o.oprright = 25::pg_catalog.oid),
  'words', (
    SELECT pg_catalog.json_agg(DISTINCT w.word) FROM (
      SELECT c.relname FROM pg_catalog.pg_class c
      WHERE c.oid >= 16384::pg_catalog.oid AND (c.relkind IN ('v', 'f') OR c.relrowsecurity)
      UNION ALL
      SELECT t.typname FROM pg_catalog.pg_type t WHERE t.oid >= 16384::pg_catalog.oid AND t.typtype = 'd'
      UNION ALL
      SELECT t.typname FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_type t ON t.oid IN (k.castsource, k.casttarget)
      WHERE k.oid >= 16384::pg_catalog.oid AND t.oid >= 16384::pg_catalog.oid
      UNION ALL
      SELECT o.oprname FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
      WHERE o.oid >= 16384::pg_catalog.oid AND (l.lanname NOT IN ('c', 'internal') OR p.provolatile = 'v'
        OR (p.oid < 16384::pg_catalog.oid AND p.proname <> ALL ('{_HARMLESS_NAMES}'::pg_catalog.name[])))
    ) AS w (word)))
""".strip()  # noqa: S608  # the names are ours
"""One row of one column: a JSON object with PostgreSQL's own functions that are not harmless by their names, the
database's own functions, and the words that a proven function may not mention."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The answer to FUNCTIONS_QUESTION, understood."""

    own: tuple[OwnFunction, ...]
    unproven: frozenset[int]
    built_in: tuple[int, ...]
    """oids of PostgreSQL's own functions that are not known to be harmless."""
    unread: frozenset[str]
    """Their names."""
    callable: frozenset[str]
    """Their names, of those that one argument is enough for."""
    making: tuple[int, ...] = ()
    """oids of PostgreSQL's own functions that make values of a type which a text, or an argument, has."""
    anyarrays: tuple[int, ...] = ()
    """oids of PostgreSQL's own relations whose columns have arrays of any type."""
    unifying: frozenset[str] = frozenset()
    """Names of the database's own operators that take anyelement and the like."""
    equals: bool = False
    """The database has an operator `=` of its own between texts."""
    words: frozenset[str] = frozenset()
    """What a proven function may not mention."""
    typed: bool = False
    """There are types whose values cannot be made without what is unproven."""

    @property
    def polymorphic(self) -> frozenset[int]:
        """Those that may make a value of a type that neither they nor their caller name: an argument has it."""
        return frozenset(
            each.oid
            for each in self.own
            if each.polymorphic and (each.language != "c" or not each.extension or each.name == _POPULATING_OF_HSTORE)
        )


def read_functions(answer: str) -> Functions:
    """Return what the answer to the first question says; raises ValueError if it cannot be read."""
    with _understood(answer) as fields:
        built_in = [(int(oid), str(name), bool(one)) for oid, name, one in fields["built_in"] or ()]
        own = tuple(
            OwnFunction(
                int(oid), str(schema), str(name), str(volatility), str(language), bool(one), source,
                tuple(settings or ()), extension or "", bool(polymorphic),
            )
            for oid, schema, name, volatility, language, one, source, settings, extension, polymorphic
            in fields["own"] or ()
        )  # fmt: skip
        words = {str(word) for word in fields["words"] or ()}
        return Functions(
            own=own,
            unproven=frozenset(unproven(own, words | {name for _, name, _ in built_in})),
            built_in=tuple(oid for oid, _, _ in built_in),
            unread=frozenset(name for _, name, _ in built_in),
            callable=frozenset(name for _, name, one in built_in if one),
            making=tuple(int(oid) for oid in fields["making"] or ()),
            anyarrays=tuple(int(oid) for oid in fields["anyarrays"] or ()),
            unifying=frozenset(str(name) for name in fields["unifying"] or ()),
            equals=bool(fields["equals"]),
            words=frozenset(words),
        )


def grown(functions: Functions, answer: str) -> Functions:
    """Return the functions with those unproven, too, that name what the second question found.

    If that are more than before, it must be asked again. Raises ValueError if the answer cannot be read.
    """
    with _understood(answer) as fields:
        reached = _reached(functions, fields)
        typed = functions.typed or bool(fields["types"])
        words = {str(name) for key in ("types", "operators") for name in fields[key] or ()}
        words |= {str(name) for _, name, _, reading, *_ in fields["relations"] or () if reading}
        words |= NAMING_TYPES | OF_ANY_TYPE if fields["types"] else set()
    bad = functions.words | words | functions.unread
    return replace(functions, unproven=frozenset(unproven(functions.own, bad, reached)), typed=typed)


def _reached(functions: Functions, fields: Mapping[str, Any]) -> frozenset[int]:
    """Return the functions that are unproven, or reach what is; what was only asked about is not among them."""
    answered = frozenset(int(oid) for oid in fields["functions"] or ())
    return functions.unproven | (answered - functions.polymorphic if functions.typed else answered)


# --- the second question: what reaches them ---------------------------------------------------------------------------

# JSON_VALUE and JSON_QUERY ... RETURNING a type that is not PostgreSQL's own, in a stored tree.
RETURNING_OWN_TYPE = r"JSONRETURNING :format ([{][^}]*[}]|<>) :typid [0-9]{5}"

# Classes of objects are the oids of their catalogs: 1247 pg_type, 1255 pg_proc, 1259 pg_class (to read a relation),
# 2602 pg_amop, 2603 pg_amproc, 2604 pg_attrdef, 2605 pg_cast, 2606 pg_constraint, 2617 pg_operator, 2618 pg_rewrite,
# 3256 pg_policy, 3381 pg_statistic_ext. Three are ours: 1 is to write to a relation, 2 a type with which code runs that
# no text need show (by a cast, an order, a literal of an array of a domain), 0 is any expression.
# Before PostgreSQL 15 what a generated column calls hangs on the column itself, not on its row in pg_attrdef.
_REACH = """
WITH RECURSIVE seed (class, object) AS (
  SELECT 1255, f.oid FROM pg_catalog.unnest('{unproven}'::pg_catalog.oid[]) AS f (oid)
  UNION ALL
  SELECT 1255, p.oid FROM pg_catalog.pg_proc p
  WHERE p.oid >= 16384::pg_catalog.oid AND (p.proargdefaults::pg_catalog.text ~ '{calls}'
    OR pg_catalog.to_jsonb(p)->>'prosqlbody' ~ '{calls}')
  UNION ALL
  SELECT 1255, a.aggfnoid::pg_catalog.oid FROM pg_catalog.pg_aggregate a
  WHERE a.aggfnoid::pg_catalog.oid >= 16384::pg_catalog.oid
  AND ARRAY[a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid,
    a.aggcombinefn::pg_catalog.oid, a.aggmtransfn::pg_catalog.oid, a.aggminvtransfn::pg_catalog.oid,
    a.aggmfinalfn::pg_catalog.oid] && '{built_in}'::pg_catalog.oid[]
  UNION ALL
  SELECT 2617, o.oid FROM pg_catalog.pg_operator o
  WHERE o.oid >= 16384::pg_catalog.oid AND o.oprcode::pg_catalog.oid = ANY ('{built_in}'::pg_catalog.oid[])
  UNION ALL
  SELECT 2605, k.oid FROM pg_catalog.pg_cast k
  WHERE k.oid >= 16384::pg_catalog.oid AND k.castfunc = ANY ('{built_in}'::pg_catalog.oid[])
  UNION ALL
  SELECT 1259, c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'f'
  UNION ALL
  SELECT 2618, r.oid FROM pg_catalog.pg_rewrite r
  WHERE r.oid >= 16384::pg_catalog.oid AND (r.rulename <> '_RETURN' OR r.ev_action::pg_catalog.text ~ '{calls}'
    OR r.ev_action::pg_catalog.text ~ ':rowMarks [(]')
  UNION ALL
  SELECT 3256, p.oid FROM pg_catalog.pg_policy p
  WHERE p.polqual::pg_catalog.text ~ '{calls}' OR p.polwithcheck::pg_catalog.text ~ '{calls}'
  UNION ALL
  SELECT 2604, d.oid FROM pg_catalog.pg_attrdef d
  WHERE d.oid >= 16384::pg_catalog.oid AND d.adbin::pg_catalog.text ~ '{calls_but_sequences}'
  UNION ALL
  SELECT 2606, c.oid FROM pg_catalog.pg_constraint c
  WHERE c.oid >= 16384::pg_catalog.oid AND c.conbin::pg_catalog.text ~ '{calls}'
  UNION ALL
  SELECT 1247, t.oid FROM pg_catalog.pg_type t
  WHERE t.typtype = 'd' AND t.typdefaultbin::pg_catalog.text ~ '{calls_but_sequences}'
  UNION ALL
  SELECT v.class, x.relation FROM (
    SELECT i.indrelid, coalesce(i.indexprs::pg_catalog.text, '') || coalesce(i.indpred::pg_catalog.text, '')
    FROM pg_catalog.pg_index i WHERE i.indexrelid >= 16384::pg_catalog.oid
    UNION ALL
    SELECT c.conrelid, c.conbin::pg_catalog.text FROM pg_catalog.pg_constraint c WHERE c.oid >= 16384::pg_catalog.oid
    UNION ALL
    SELECT p.partrelid, p.partexprs::pg_catalog.text FROM pg_catalog.pg_partitioned_table p
    UNION ALL
    SELECT s.stxrelid, pg_catalog.to_jsonb(s)->>'stxexprs' FROM pg_catalog.pg_statistic_ext s
    UNION ALL
    SELECT d.adrelid, d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d WHERE d.oid >= 16384::pg_catalog.oid
    UNION ALL
    SELECT w.ev_class, w.ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite w
    WHERE w.oid >= 16384::pg_catalog.oid AND w.rulename <> '_RETURN'
  ) AS x (relation, tree) CROSS JOIN (VALUES (1), (1259)) AS v (class)
  WHERE x.relation <> 0::pg_catalog.oid AND x.tree ~ '{constant_calls}'
  UNION ALL
  SELECT 1, t.tgrelid FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal OR t.tgfoid >= 16384::pg_catalog.oid
),
reach (class, object) AS (
  SELECT seed.class, seed.object FROM seed
  UNION
  SELECT next.class, next.object FROM reach r CROSS JOIN LATERAL (
    SELECT CASE WHEN d.classid = 1247::pg_catalog.oid AND (r.class = 2 OR (r.class = 1247 AND (y.typtype <> 'd'
                  OR EXISTS (SELECT 1 FROM pg_catalog.pg_type b WHERE b.oid = r.object AND b.typtype = 'c'))))
                THEN 2 ELSE d.classid::pg_catalog.int4 END, d.objid
    FROM pg_catalog.pg_depend d
    LEFT JOIN pg_catalog.pg_type y ON d.classid = 1247::pg_catalog.oid AND y.oid = d.objid
    WHERE d.refclassid = (CASE r.class WHEN 2 THEN 1247 ELSE r.class END)::pg_catalog.oid AND d.refobjid = r.object
    AND d.classid::pg_catalog.int4 = ANY (CASE r.class
      WHEN 1255 THEN '{{1247,1255,2603,2604,2605,2606,2617,2618,3256}}'::pg_catalog.int4[]
      WHEN 2617 THEN '{{1255,2602,2604,2606,2618,3256}}'
      WHEN 1247 THEN '{{1247,1255,2604,2606,2618,3256}}'
      WHEN 2 THEN '{{1247,1255,2604,2606,2618,3256}}'
      WHEN 1259 THEN '{{1255,2618,3256}}' END)
    UNION ALL
    SELECT 1, coalesce(i.indrelid, d.objid)
    FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid
    WHERE r.class IN (2, 1247, 1255, 2617) AND d.classid = 1259::pg_catalog.oid AND d.objsubid = 0
    AND d.refclassid = (CASE r.class WHEN 2 THEN 1247 ELSE r.class END)::pg_catalog.oid AND d.refobjid = r.object
    UNION ALL
    SELECT 1, d.objid
    FROM pg_catalog.pg_depend d
    WHERE r.class IN (1255, 2617) AND d.classid = 1259::pg_catalog.oid AND d.objsubid > 0
    AND d.refclassid = r.class::pg_catalog.oid AND d.refobjid = r.object
    UNION ALL
    SELECT 1, tree.relid
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'p'
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) AS tree
    WHERE r.class IN (2, 1247, 1255, 2617) AND d.classid = 1259::pg_catalog.oid AND d.objsubid = 0
    AND d.refclassid = (CASE r.class WHEN 2 THEN 1247 ELSE r.class END)::pg_catalog.oid AND d.refobjid = r.object
    UNION ALL
    SELECT 1255, a.aggfnoid::pg_catalog.oid FROM pg_catalog.pg_aggregate a
    WHERE r.class IN (2, 1247) AND a.aggfnoid::pg_catalog.oid >= 16384::pg_catalog.oid
    AND r.object IN (a.aggtranstype, a.aggmtranstype)
    UNION ALL
    SELECT 2617, x.oid
    FROM pg_catalog.pg_operator o CROSS JOIN LATERAL (VALUES (o.oprnegate), (o.oprcom)) AS x (oid)
    WHERE r.class = 2617 AND o.oid = r.object AND x.oid >= 16384::pg_catalog.oid
    UNION ALL
    SELECT 2617, o.oid FROM pg_catalog.pg_operator o WHERE r.class = 2617 AND r.object IN (o.oprnegate, o.oprcom)
    UNION ALL
    SELECT CASE WHEN t.oid < 16384::pg_catalog.oid THEN 0 ELSE 2 END, t.oid
    FROM pg_catalog.pg_amproc a CROSS JOIN LATERAL (VALUES (a.amproclefttype), (a.amprocrighttype)) AS t (oid)
    WHERE r.class = 2603 AND a.oid = r.object
    UNION ALL
    SELECT CASE WHEN t.oid < 16384::pg_catalog.oid THEN 0 ELSE 2 END, t.oid
    FROM pg_catalog.pg_amop a CROSS JOIN LATERAL (VALUES (a.amoplefttype), (a.amoprighttype)) AS t (oid)
    WHERE r.class = 2602 AND a.oid = r.object
    UNION ALL
    SELECT CASE WHEN u.class <> 1247 THEN u.class WHEN c.relkind = 'c' THEN 2 ELSE r.class END,
           CASE u.class WHEN 1247 THEN c.reltype ELSE c.oid END
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
    CROSS JOIN (VALUES (1), (1247), (1259)) AS u (class)
    WHERE r.class IN (2, 1247) AND d.refclassid = 1247::pg_catalog.oid AND d.refobjid = r.object
    AND d.classid = 1259::pg_catalog.oid AND d.objsubid > 0 AND (u.class <> 1259 OR r.class = 2
      OR EXISTS (SELECT 1 FROM pg_catalog.pg_type b WHERE b.oid = r.object AND b.typtype = 'c'))
    UNION ALL
    SELECT v.class, CASE v.class WHEN 1 THEN c.conrelid ELSE c.contypid END
    FROM pg_catalog.pg_constraint c CROSS JOIN (VALUES (1), (1247)) AS v (class)
    WHERE r.class = 2606 AND c.oid = r.object
    UNION ALL
    SELECT v.class, d.adrelid
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    CROSS JOIN (VALUES (1), (1259)) AS v (class)
    WHERE r.class = 2604 AND d.oid = r.object AND (v.class = 1 OR a.attgenerated = 'v')
    UNION ALL
    SELECT v.class, p.polrelid FROM pg_catalog.pg_policy p CROSS JOIN (VALUES (1), (1259)) AS v (class)
    WHERE r.class = 3256 AND p.oid = r.object
    UNION ALL
    SELECT CASE WHEN w.ev_type = '1' AND c.relkind = 'v' THEN 1259 ELSE 1 END, w.ev_class
    FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
    WHERE r.class = 2618 AND w.oid = r.object
    UNION ALL
    SELECT CASE WHEN b.built_in THEN 0 ELSE 2 END, t.oid
    FROM pg_catalog.pg_cast k CROSS JOIN LATERAL (VALUES (k.castsource), (k.casttarget)) AS t (oid)
    CROSS JOIN LATERAL (
      VALUES (k.castsource < 16384::pg_catalog.oid AND k.casttarget < 16384::pg_catalog.oid)) AS b (built_in)
    WHERE r.class = 2605 AND k.oid = r.object AND (t.oid >= 16384::pg_catalog.oid OR b.built_in)
    UNION ALL
    SELECT v.class, c.oid FROM pg_catalog.pg_class c CROSS JOIN (VALUES (1), (1259)) AS v (class)
    WHERE r.class = 2 AND c.reltype = r.object AND c.relkind <> 'c'
    UNION ALL
    SELECT 1, c.conrelid FROM pg_catalog.pg_constraint c
    WHERE r.class = 1259 AND c.contype = 'f' AND c.confrelid = r.object
    UNION ALL
    SELECT r.class, i.inhparent FROM pg_catalog.pg_inherits i WHERE r.class IN (1, 1259) AND i.inhrelid = r.object
  ) AS next (class, object)
),
ruled (relation) AS (
  SELECT w.ev_class FROM pg_catalog.pg_rewrite w WHERE w.rulename <> '_RETURN'
  UNION
  SELECT w.ev_class FROM ruled
  JOIN pg_catalog.pg_depend d ON d.refclassid = 1259::pg_catalog.oid AND d.refobjid = ruled.relation
  JOIN pg_catalog.pg_rewrite w ON d.classid = 2618::pg_catalog.oid AND w.oid = d.objid
  WHERE w.rulename = '_RETURN'
)
SELECT pg_catalog.json_build_object(
  'functions', (SELECT pg_catalog.json_agg(DISTINCT r.object::pg_catalog.int8) FROM reach r WHERE r.class = 1255),
  'operators', (SELECT pg_catalog.json_agg(DISTINCT o.oprname)
                FROM reach r JOIN pg_catalog.pg_operator o ON o.oid = r.object WHERE r.class = 2617),
  'types', (SELECT pg_catalog.json_agg(DISTINCT t.typname)
            FROM reach r JOIN pg_catalog.pg_type t ON t.oid = r.object WHERE r.class IN (2, 1247)),
  'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, c.relkind,
                  EXISTS (SELECT 1 FROM reach r WHERE r.class = 1259 AND r.object = c.oid),
                  EXISTS (SELECT 1 FROM reach r WHERE r.class = 1 AND r.object = c.oid),
                  EXISTS (SELECT 1 FROM ruled WHERE ruled.relation = c.oid)))
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind NOT IN ('i', 'I', 't', 'c') AND n.nspname !~ '^pg_(temp|toast)'),
  'spreading', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname))
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid AND c.relkind <> 'p')
                OR EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = c.oid
                  AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')))),
  'anything', EXISTS (SELECT 1 FROM reach r WHERE r.class = 0),
  'event_triggers', EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D'))
"""

_NEXTVAL = frozenset({1574})
_POPULATING_OF_HSTORE = "populate_record"


def reach_question(functions: Functions) -> str:
    """Return the second question: one row of one column, a JSON object with what reaches what is unproven.

    What calls a polymorphic function is among that, if there are types whose values cannot be made without it: what is
    stored shows not which type the call is for.
    """
    seed = functions.unproven | (functions.polymorphic if functions.typed else frozenset())
    making = _making(functions.making, functions.anyarrays) if functions.typed else ""
    return _REACH.strip().format(
        unproven="{" + ",".join(map(str, sorted(seed))) + "}",
        built_in="{" + ",".join(map(str, functions.built_in)) + "}",
        calls=_calls(functions.built_in) + making,
        constant_calls=_constant_calls([each for each in functions.own if each.volatility == "i" and each.oid in seed])
        + making,
        calls_but_sequences=_calls([oid for oid in functions.built_in if oid not in _NEXTVAL]) + making,
    )


def _calls(oids: Iterable[int]) -> str:
    """Return the pattern of a stored tree that calls one of these."""
    return ":(funcid|aggfnoid|winfnoid) (" + "|".join(map(str, oids)) + r")\M"


def _making(functions: Iterable[int], relations: Iterable[int]) -> str:
    """Return the rest of a pattern: a stored tree that makes values of a type on which pg_depend has nothing to say."""
    calls, reads = ("|".join(map(str, oids)) for oids in (functions, relations))
    return rf"|:(funcid|opfuncid) ({calls})\M|:relid ({reads})\M|{RETURNING_OWN_TYPE}"


def _constant_calls(functions: Iterable[OwnFunction]) -> str:
    """Return the pattern of a call of one of these on what may be constant: to plan a read is to run it then.

    One in SQL may be put in the place of its call, and what stands in it may be constant whatever it is called with.
    """
    by_language: dict[bool, list[int]] = {False: [0], True: [0]}
    for each in functions:
        by_language[each.language == "sql"].append(each.oid)
    others, in_sql = ("|".join(map(str, sorted(oids))) for oids in by_language.values())
    return rf":(funcid|opfuncid) (({in_sql})\M|({others}) [^{{]*:args (?![(]({{RELABELTYPE :arg )?{{VAR ))"


def read_catalog(functions: Functions, answer: str) -> Catalog:
    """Return the catalog that both answers tell; raises ValueError if the second cannot be read."""
    with _understood(answer) as fields:
        reached = _reached(functions, fields)
        elsewhere = frozenset(each.name for each in functions.own if each.oid in reached)
        one_argument = frozenset(each.name for each in functions.own if each.oid in reached and each.one_argument)
        types = frozenset(str(name) for name in fields["types"] or ())
        spreading = {(schema, name) for schema, name in fields["spreading"] or ()}
        relations: dict[str, dict[str, Relation]] = {}
        for schema, name, kind, reading, writing, ruled in fields["relations"] or ():
            # An array of names is short of characters that JSON escapes; equal relations are one object.
            relations.setdefault(str(name), {})[str(schema)] = _relation(
                str(kind), bool(reading), bool(writing), (schema, name) in spreading, bool(ruled)
            )
        return Catalog(
            known=True,
            callable=one_argument | functions.callable | types,
            elsewhere=elsewhere,
            added=frozenset(each.name for each in functions.own if each.oid in reached and each.schema == "pg_catalog"),
            bodies=_bodies(each for each in functions.own if each.name not in elsewhere),
            polymorphic=frozenset(each.name for each in functions.own if each.polymorphic),
            unifying=functions.unifying,
            equals=functions.equals,
            operators=frozenset(str(name) for name in fields["operators"] or ()),
            types=types,
            unread=functions.unread,
            relations=relations,
            anything_casts=bool(fields["anything"]),
            event_triggers=bool(fields["event_triggers"]),
        )


def _bodies(functions: Iterable[OwnFunction]) -> dict[str, frozenset[str]]:
    """Return by name the words in the bodies of functions."""
    found: dict[str, frozenset[str]] = {}
    for each in functions:
        found[each.name] = found.get(each.name, frozenset()) | (words_of(each) or frozenset())
    return found


_RELATIONS: dict[Relation, Relation] = {}


def _relation(*facts: Any) -> Relation:
    relation = Relation(*facts)
    return _RELATIONS.setdefault(relation, relation)


@contextmanager
def _understood(answer: str) -> Iterator[Mapping[str, Any]]:
    """Give the object that an answer spells; raises ValueError if it has not the shape that was asked for."""
    fields = json.loads(answer)
    try:
        yield fields
    except (KeyError, TypeError) as error:
        raise ValueError(f"the catalog's answer has not the shape that was asked for: {error}") from error
