"""What the catalog knows to be reached from what a statement names: one recursion, as pieces of a question.

Nothing enters but what the question says of the names in a statement; lists leave: `tree`, the relations; `behind`, the
functions that no relation and no statement names itself; `domains`; and `reached`, all of it. It goes on from views,
rules and policies to what they read, over foreign keys that change rows, from defaults, checks, indexes and triggers to
what they call, from a function, an operator or a type to what pg_depend says that it is made of (the body of a function
BEGIN ATOMIC, the defaults of its arguments, the checks of a domain, the columns of a composite type), and to what
stands around them: servers of foreign tables, collations, text search, classes of operators, and casts between types of
PostgreSQL's own, or of one that is reached, a whole row's too. A body that is a text is cut into words, in literals
too, and each that is the name of a relation, function, type or text search configuration leads there, if it is seen
from the session's schemas, or is in one that the body names, or the function's own. What a body puts together out of
pieces is not followed.

It ends on cycles: each thing is reached once, or twice if a relation leads there too. Each step looks into an index, or
into pg_cast, which is small.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_depend".
"""

from collections.abc import Iterable

from pgnotary.request.words import words_in_sql

__all__ = ["TEXT_SEARCHING", "parts_of", "reached_from"]

TEXT_SEARCHING = frozenset(
    """
    get_current_ts_config json_to_tsvector jsonb_to_tsvector phraseto_tsquery plainto_tsquery to_tsquery to_tsvector
    ts_debug ts_headline ts_lexize ts_token_type tsvector_update_trigger tsvector_update_trigger_column
    websearch_to_tsquery
    """.split()
)
"""What reads a text by a text search configuration or dictionary, or tells of one."""

_PARTS = """
SELECT 2618::pg_catalog.oid, w.oid FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class OPERATOR(pg_catalog.=) __OID__
UNION ALL SELECT 2604::pg_catalog.oid, f.oid FROM pg_catalog.pg_attrdef AS f
WHERE f.adrelid OPERATOR(pg_catalog.=) __OID__
UNION ALL SELECT 3256::pg_catalog.oid, y.oid FROM pg_catalog.pg_policy AS y
WHERE y.polrelid OPERATOR(pg_catalog.=) __OID__
UNION ALL SELECT 1259::pg_catalog.oid, __OID__
UNION ALL SELECT 1259::pg_catalog.oid, i.indexrelid FROM pg_catalog.pg_index AS i
WHERE i.indrelid OPERATOR(pg_catalog.=) __OID__
UNION ALL SELECT 2620::pg_catalog.oid, g.oid FROM pg_catalog.pg_trigger AS g
WHERE g.tgrelid OPERATOR(pg_catalog.=) __OID__ AND NOT g.tgisinternal
UNION ALL SELECT 2606::pg_catalog.oid, k.oid FROM pg_catalog.pg_constraint AS k
WHERE k.conrelid OPERATOR(pg_catalog.=) __OID__
""".strip()


def parts_of(relation: str) -> str:
    """Return a query of [class, oid] of a relation and of what is a part of it; `relation` is an expression."""
    return _PARTS.replace("__OID__", relation)


# Any word may be the name of any of these.
_OF_WORDS = """
  UNION ALL
  SELECT 1259::pg_catalog.oid, c.oid FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relname OPERATOR(pg_catalog.=) ANY (__SAYS__) AND c.relkind OPERATOR(pg_catalog.=) ANY (__KINDS__)
  AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND (pg_catalog.pg_table_is_visible(c.oid) OR n.nspname OPERATOR(pg_catalog.=) ANY (__SAYS__))
  UNION ALL
  SELECT 1417::pg_catalog.oid, f.oid FROM pg_catalog.pg_foreign_server AS f
  WHERE f.srvname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 2328::pg_catalog.oid, f.oid FROM pg_catalog.pg_foreign_data_wrapper AS f
  WHERE f.fdwname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 2616::pg_catalog.oid, f.oid FROM pg_catalog.pg_opclass AS f
  WHERE f.opcname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 2753::pg_catalog.oid, f.oid FROM pg_catalog.pg_opfamily AS f
  WHERE f.opfname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 3456::pg_catalog.oid, f.oid FROM pg_catalog.pg_collation AS f
  WHERE f.collname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 3602::pg_catalog.oid, f.oid FROM pg_catalog.pg_ts_config AS f
  WHERE f.cfgname OPERATOR(pg_catalog.=) ANY (__SAYS__)
  UNION ALL
  SELECT 3600::pg_catalog.oid, f.oid FROM pg_catalog.pg_ts_dict AS f
  WHERE f.dictname OPERATOR(pg_catalog.=) ANY (__SAYS__)
"""
_OF_DDL = """
  UNION ALL
  SELECT 1255::pg_catalog.oid, e.evtfoid FROM pg_catalog.pg_event_trigger AS e
"""
_OF_COLLATIONS = """
  UNION ALL
  SELECT 3456::pg_catalog.oid, f.oid FROM pg_catalog.pg_collation AS f
  WHERE f.collname OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT w.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__COLLATED__) AS w (name)))
"""
_OF_TEXT_SEARCH = """
  UNION ALL
  SELECT 3602::pg_catalog.oid, f.oid FROM pg_catalog.pg_ts_config AS f
"""
_SAID = """said (word) AS MATERIALIZED (
  SELECT w.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__SAID__) AS w (name)
), """
# 1255 is pg_proc, 2617 pg_operator, 1247 pg_type, 1259 pg_class, 2606 pg_constraint, 2618 pg_rewrite, 3256 pg_policy,
# 1417 pg_foreign_server, 2328 pg_foreign_data_wrapper, 2616 pg_opclass, 2753 pg_opfamily, 3456 pg_collation,
# 3600 pg_ts_dict, 3602 pg_ts_config; 0 is the body of a function, which is cut once, in whatever way that is reached;
# 12 and 13 are the languages internal and c.
# A foreign key depends on what it refers to, and a function on the row types of its arguments: neither leads there.
_REACHED = """
spelled (oid) AS (
  SELECT c.oid FROM pg_catalog.json_to_recordset(__NAMED__) AS w (schema pg_catalog.text, name pg_catalog.text)
  JOIN pg_catalog.pg_class AS c ON c.relname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE CASE WHEN w.schema IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
    ELSE n.nspname OPERATOR(pg_catalog.=) w.schema::pg_catalog.name END
), __SAID_HERE__named (classid, objid) AS (
  SELECT 1259::pg_catalog.oid, spelled.oid FROM spelled
  UNION ALL
  SELECT 1255::pg_catalog.oid, p.oid FROM pg_catalog.pg_proc AS p WHERE p.proname OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT f.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__CALLED__) AS f (name)))
  UNION ALL
  SELECT 2617::pg_catalog.oid, o.oid FROM pg_catalog.pg_operator AS o
  WHERE o.oprname OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT f.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__SPELLED__) AS f (name)))
  UNION ALL
  SELECT 1247::pg_catalog.oid, y.oid FROM pg_catalog.pg_type AS y WHERE y.typname OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT f.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__TYPED__) AS f (name)))
  UNION ALL
  SELECT 1255::pg_catalog.oid, k.castfunc FROM pg_catalog.pg_cast AS k
  WHERE k.castsource OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
  AND k.casttarget OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
  __FURTHER__
), reached (classid, objid, deep) AS (
  SELECT named.classid, named.objid, false FROM named
  WHERE named.classid OPERATOR(pg_catalog.=) ANY ('{1259,3456,3600,3602}'::pg_catalog.oid[])
    OR named.objid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION
  SELECT next.classid, next.objid, next.deep FROM reached CROSS JOIN LATERAL (
    SELECT 1259::pg_catalog.oid, k.conrelid, false FROM pg_catalog.pg_depend AS d
    JOIN pg_catalog.pg_constraint AS k ON k.oid OPERATOR(pg_catalog.=) d.objid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.=) reached.objid
    AND d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid
    AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) reached.objid
    AND (__REFERRING__ OR k.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[])
      OR k.confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[]))
    UNION ALL
    SELECT 1259::pg_catalog.oid, i.inhrelid, false FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) c.oid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND c.oid OPERATOR(pg_catalog.=) reached.objid AND c.relhassubclass
    UNION ALL
    SELECT d.refclassid, d.refobjid, false
    FROM (__PARTS__) AS own (classid, objid)
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) own.classid
      AND d.objid OPERATOR(pg_catalog.=) own.objid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND (d.refclassid OPERATOR(pg_catalog.=) ANY (__OBJECTS__)
        AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      OR d.refclassid OPERATOR(pg_catalog.=) ANY ('{3600,3602}'::pg_catalog.oid[])
      OR d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
        AND d.classid OPERATOR(pg_catalog.=) ANY ('{2618,3256}'::pg_catalog.oid[])
        AND d.refobjid OPERATOR(pg_catalog.<>) reached.objid)
    UNION ALL
    SELECT d.refclassid, d.refobjid, true FROM pg_catalog.pg_depend AS d
    WHERE reached.classid OPERATOR(pg_catalog.=) ANY (__OBJECTS__)
    AND d.classid OPERATOR(pg_catalog.=) reached.classid AND d.objid OPERATOR(pg_catalog.=) reached.objid
    AND (d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      OR d.refclassid OPERATOR(pg_catalog.=) ANY ('{3600,3602}'::pg_catalog.oid[]))
    AND (d.refclassid OPERATOR(pg_catalog.=) ANY (__OBJECTS__)
      OR d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
        AND reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid)
    UNION ALL
    SELECT 1259::pg_catalog.oid, c.oid, false FROM pg_catalog.pg_type AS y
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) y.typrelid
      AND c.relkind OPERATOR(pg_catalog.=) 'c'
    WHERE reached.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND y.oid OPERATOR(pg_catalog.=) reached.objid
    UNION ALL
    SELECT d.refclassid, d.refobjid, true FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid
      AND d.objid OPERATOR(pg_catalog.=) k.oid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
    AND k.contypid OPERATOR(pg_catalog.=) reached.objid AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND d.refclassid OPERATOR(pg_catalog.=) ANY (__OBJECTS__)
    UNION ALL
    SELECT 1255::pg_catalog.oid, k.castfunc, false FROM pg_catalog.pg_cast AS k
    WHERE reached.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
    AND (k.castsource OPERATOR(pg_catalog.=) reached.objid OR k.casttarget OPERATOR(pg_catalog.=) reached.objid)
    AND k.castfunc OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 1255::pg_catalog.oid, k.castfunc, false FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_cast AS k
      ON k.castsource OPERATOR(pg_catalog.=) c.reltype OR k.casttarget OPERATOR(pg_catalog.=) c.reltype
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND c.oid OPERATOR(pg_catalog.=) reached.objid
    AND k.castfunc OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 1255::pg_catalog.oid, m.amproc::pg_catalog.oid, true FROM pg_catalog.pg_amproc AS m
    WHERE reached.classid OPERATOR(pg_catalog.=) 2753::pg_catalog.oid
    AND m.amprocfamily OPERATOR(pg_catalog.=) reached.objid
    AND m.amproc::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 2617::pg_catalog.oid, m.amopopr, true FROM pg_catalog.pg_amop AS m
    WHERE reached.classid OPERATOR(pg_catalog.=) 2753::pg_catalog.oid
    AND m.amopfamily OPERATOR(pg_catalog.=) reached.objid
    AND m.amopopr OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 3602::pg_catalog.oid, f.oid, true FROM pg_catalog.pg_trigger AS g CROSS JOIN pg_catalog.pg_ts_config AS f
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND g.tgrelid OPERATOR(pg_catalog.=) reached.objid
    AND g.tgfoid OPERATOR(pg_catalog.=) ANY ('{3752,3753}'::pg_catalog.oid[])
    UNION ALL
    SELECT 0::pg_catalog.oid, reached.objid, true WHERE reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid
    UNION ALL
    SELECT found.classid, found.objid, true FROM pg_catalog.pg_proc AS p
    CROSS JOIN LATERAL (SELECT __WORDS__ OFFSET 0) AS body (words) CROSS JOIN LATERAL (
      SELECT CASE WHEN y.typtype OPERATOR(pg_catalog.=) 'c' THEN 1259::pg_catalog.oid ELSE 1247::pg_catalog.oid END,
        CASE WHEN y.typtype OPERATOR(pg_catalog.=) 'c' THEN y.typrelid ELSE y.oid END
      FROM pg_catalog.pg_type AS y WHERE y.typname OPERATOR(pg_catalog.=) ANY (body.words)
      AND y.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND y.typtype OPERATOR(pg_catalog.=) ANY ('{c,d,e}'::pg_catalog."char"[])
      AND (y.typnamespace OPERATOR(pg_catalog.=) p.pronamespace
        OR pg_catalog.pg_type_is_visible(y.oid) OR pg_catalog.pg_table_is_visible(y.typrelid)
        OR y.typnamespace OPERATOR(pg_catalog.=) ANY (__SCHEMAS_SAID__))
      UNION ALL
      SELECT 1255::pg_catalog.oid, o.oid FROM pg_catalog.pg_proc AS o
      WHERE o.proname OPERATOR(pg_catalog.=) ANY (body.words) AND o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND (o.pronamespace OPERATOR(pg_catalog.=) p.pronamespace OR pg_catalog.pg_function_is_visible(o.oid)
        OR o.pronamespace OPERATOR(pg_catalog.=) ANY (__SCHEMAS_SAID__))
      UNION ALL
      SELECT 3602::pg_catalog.oid, f.oid FROM pg_catalog.pg_ts_config AS f
      WHERE f.cfgname OPERATOR(pg_catalog.=) ANY (body.words)
        OR body.words OPERATOR(pg_catalog.&&) __SEARCHING__
    ) AS found (classid, objid)
    WHERE reached.classid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) reached.objid
    AND p.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[])
  ) AS next (classid, objid, deep)
), tree (oid) AS (
  SELECT DISTINCT reached.objid FROM reached WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
), behind (oid) AS (
  SELECT reached.objid FROM reached WHERE reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND reached.deep
), domains (oid) AS (
  SELECT DISTINCT reached.objid FROM reached JOIN pg_catalog.pg_type AS y
    ON y.oid OPERATOR(pg_catalog.=) reached.objid AND y.typtype OPERATOR(pg_catalog.=) 'd'
  WHERE reached.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
)
""".strip()
_FILLED = (
    _REACHED.replace("__PARTS__", parts_of("reached.objid"))
    .replace(
        "__WORDS__",
        words_in_sql("pg_catalog.concat_ws(' ', p.prosrc, p.proconfig::pg_catalog.text)"),
    )
    .replace(
        "__SCHEMAS_SAID__",
        "ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) ANY (body.words))",
    )
    .replace("__OBJECTS__", "'{1255,2617,1247,1417,2328,2616,2753,3456,3600,3602}'::pg_catalog.oid[]")
    .replace("__SEARCHING__", f"'{{{','.join(sorted(TEXT_SEARCHING))}}}'::pg_catalog.name[]")
)


def reached_from(*, words: bool, ddl: bool, collations: bool, searches: bool) -> str:
    """Return the queries `spelled`, `reached`, `tree`, `behind` and `domains`, without what a statement cannot need.

    `words`: it says names that may be of anything; `ddl`: it fires event triggers; `collations`: it names some;
    `searches`: it searches texts. Its places: __NAMED__, __CALLED__, __SPELLED__, __TYPED__, __SAID__ and __COLLATED__,
    what a statement names; __REFERRING__, whether what refers to a relation goes with it in any case (TRUNCATE
    CASCADE).
    """
    pieces: Iterable[tuple[bool, str]] = (
        (words, _OF_WORDS),
        (ddl, _OF_DDL),
        (collations, _OF_COLLATIONS),
        (searches, _OF_TEXT_SEARCH),
    )
    further = "".join(piece for needed, piece in pieces if needed)
    asked = _FILLED.replace("__SAID_HERE__", _SAID if words else "").replace("__FURTHER__", further)
    asked = asked.replace("__SAYS__", "ARRAY(SELECT said.word FROM said)")
    return asked.replace("__KINDS__", "'{r,p,v,m,f,S}'::pg_catalog.\"char\"[]")
