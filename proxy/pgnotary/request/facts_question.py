"""The one question about the relations that a statement changes or reads: names as they are spelled enter, SQL leaves.

The question is ours alone: it reads pg_catalog, calls nothing else, and every operator in it is spelled out, because
the client's search_path is in force. It needs no right to any relation. What its answer means is in `facts`.

Source: PostgreSQL 18, "System Catalogs"; rowsecurity.c. Before PostgreSQL 15 a partition's copy of a trigger is called
internal, like those of a foreign key or a deferred key.
"""

import re
from collections.abc import Collection, Iterable

from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name
from pgnotary.request.places import filled

__all__ = ["OF_KEYS", "POPULATING", "facts_question"]

# STABLE, and they depend on nothing but their arguments, the data and settings that cannot change while it is held.
_STEADY = """
array_to_json array_to_string concat concat_ws count date date_bin date_part date_trunc extract format generate_series
isfinite json_agg json_agg_strict json_arrayagg json_build_array json_build_object json_object json_object_agg
json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_agg jsonb_agg_strict
jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique
jsonb_object_agg_unique_strict jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz
jsonb_path_query_first_tz jsonb_path_query_tz make_timestamptz overlaps phraseto_tsquery plainto_tsquery quote_literal
quote_nullable row_to_json string_to_array text time timestamp timestamptz timetz timezone to_char to_date to_json
to_jsonb to_number to_timestamp to_tsquery to_tsvector ts_headline websearch_to_tsquery
""".split()

OF_KEYS = "'{1250,1644,1645,1646,1647,1648,1649,1650,1651,1652,1653,1654,1655}'::pg_catalog.oid[]"
"""What triggers of foreign keys and deferred keys run: PostgreSQL's own functions."""
POPULATING = frozenset(
    """
    json_populate_record json_populate_recordset json_to_record json_to_recordset
    jsonb_populate_record jsonb_populate_recordset jsonb_to_record jsonb_to_recordset
    """.split()
)
"""They make rows of a document, of any types, and `now` in it a time: as steady as the document is."""

_QUESTION = """
WITH RECURSIVE named (oid, target, children) AS (
  SELECT pg_catalog.to_regclass(w.name)::pg_catalog.oid, w.target, w.children
  FROM pg_catalog.json_to_recordset(__NAMED__) AS w
    (name pg_catalog.text, target pg_catalog.bool, children pg_catalog.bool)
), tree (oid, target, children, how) AS (
  SELECT named.oid, named.target, named.children, 'named' FROM named
  UNION
  SELECT next.oid, next.target, true, next.how FROM tree CROSS JOIN LATERAL (
    SELECT i.inhrelid, tree.target, 'child' FROM pg_catalog.pg_inherits AS i
    WHERE tree.children AND i.inhparent OPERATOR(pg_catalog.=) tree.oid
    UNION ALL
    SELECT d.refobjid, tree.target, 'base' FROM pg_catalog.pg_rewrite AS w JOIN pg_catalog.pg_depend AS d
      ON d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) w.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.<>) w.ev_class
    WHERE w.ev_class OPERATOR(pg_catalog.=) tree.oid AND w.rulename OPERATOR(pg_catalog.=) '_RETURN'
    UNION ALL
    SELECT d.refobjid, false, 'base' FROM pg_catalog.pg_policy AS y JOIN pg_catalog.pg_depend AS d
      ON d.classid OPERATOR(pg_catalog.=) 3256::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) y.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.<>) y.polrelid
    JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) y.polrelid AND r.relrowsecurity
    WHERE y.polrelid OPERATOR(pg_catalog.=) tree.oid
  ) AS next (oid, target, how)
), goal (oid) AS (
  SELECT tree.oid FROM tree WHERE tree.target
  UNION
  SELECT next.oid FROM goal CROSS JOIN LATERAL (
    SELECT a.relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors(goal.oid::pg_catalog.regclass) AS a (relid)
    UNION ALL
    SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(goal.oid::pg_catalog.regclass) AS p
    UNION ALL
    SELECT k.conrelid FROM pg_catalog.pg_constraint AS k
    WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) goal.oid
    AND (k.confdeltype OPERATOR(pg_catalog.=) ANY (__GOES_ON__)
      OR k.confupdtype OPERATOR(pg_catalog.=) ANY (__GOES_ON__))
  ) AS next (oid)
), called (relation, oid) AS (
  SELECT x.relation, (m.found)[2] FROM (
    SELECT w.ev_class, w.ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite AS w
    UNION ALL
    SELECT y.polrelid, pg_catalog.concat(y.polqual::pg_catalog.text) FROM pg_catalog.pg_policy AS y
    JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) y.polrelid AND r.relrowsecurity
  ) AS x (relation, tree)
  CROSS JOIN LATERAL pg_catalog.regexp_matches(x.tree, ':(funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS m (found)
  WHERE x.relation OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tree.oid FROM tree))
), fires (relation, oid) AS (
  SELECT g.tgrelid, g.oid FROM pg_catalog.pg_trigger AS g
  WHERE (NOT g.tgisinternal
    OR g.tgparentid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND g.tgfoid OPERATOR(pg_catalog.<>) ALL (__OF_KEYS__))
  AND g.tgenabled OPERATOR(pg_catalog.=) ANY (
    CASE WHEN pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
      THEN '{R,A}'::pg_catalog."char"[] ELSE '{O,A}'::pg_catalog."char"[] END)
)
SELECT pg_catalog.json_build_object(
'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
  'oid', c.oid::pg_catalog.int8, 'target', t.target, 'how', t.how, 'schema', n.nspname, 'name', c.relname,
  'kind', c.relkind, 'rows', c.reltuples::pg_catalog.int8,
  'twice', EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w CROSS JOIN LATERAL pg_catalog.regexp_matches(
      w.ev_action::pg_catalog.text, ':resorigtbl [1-9][0-9]* :resorigcol [1-9][0-9]*', 'g') AS m (found)
    WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND t.target AND w.rulename OPERATOR(pg_catalog.=) '_RETURN'
    GROUP BY m.found HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1),
  'renames', EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w CROSS JOIN LATERAL pg_catalog.regexp_matches(
      w.ev_action::pg_catalog.text, __RENAMED__, 'g') AS m (found)
    JOIN pg_catalog.pg_attribute AS own ON own.attrelid OPERATOR(pg_catalog.=) c.oid
      AND own.attnum OPERATOR(pg_catalog.=) (m.found)[1]::pg_catalog.int2
    JOIN pg_catalog.pg_attribute AS its ON its.attrelid OPERATOR(pg_catalog.=) (m.found)[2]::pg_catalog.oid
      AND its.attnum OPERATOR(pg_catalog.=) (m.found)[3]::pg_catalog.int2
    WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND t.target AND w.rulename OPERATOR(pg_catalog.=) '_RETURN'
    AND own.attname OPERATOR(pg_catalog.<>) its.attname),
  'parents', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits AS i
    WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid),
  'secured', CASE WHEN t.how OPERATOR(pg_catalog.=) 'base' THEN c.relrowsecurity
    ELSE pg_catalog.row_security_active(c.oid) END,
  'policies', (SELECT pg_catalog.json_agg(y.polcmd ORDER BY y.polname)
    FROM pg_catalog.pg_policy AS y WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid),
  'codes', __CODES_OF__(c.oid),
  'rules', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(w.ev_type, pg_catalog.pg_get_ruledef(w.oid))
      ORDER BY w.rulename) FROM pg_catalog.pg_rewrite AS w
    WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND w.rulename OPERATOR(pg_catalog.<>) '_RETURN'),
  'triggers', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      g.tgname, g.tgtype, pg_catalog.format('%I.%I', fn.nspname, p.proname)) ORDER BY g.tgname)
    FROM fires JOIN pg_catalog.pg_trigger AS g ON g.oid OPERATOR(pg_catalog.=) fires.oid
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) g.tgfoid
    JOIN pg_catalog.pg_namespace AS fn ON fn.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS up
      WHERE up.oid OPERATOR(pg_catalog.=) g.tgparentid
      AND up.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tree.oid FROM tree WHERE tree.target)))),
  'unsteady', EXISTS (SELECT FROM called JOIN pg_catalog.pg_proc AS p
        ON pg_catalog.format('%s', p.oid) OPERATOR(pg_catalog.=) called.oid
      WHERE called.relation OPERATOR(pg_catalog.=) c.oid
      AND (p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid OR (p.provolatile OPERATOR(pg_catalog.<>) 'i'
        AND p.proname OPERATOR(pg_catalog.<>) ALL (__STEADY__))))
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid
      AND w.ev_action::pg_catalog.text OPERATOR(pg_catalog.~) __ODD__)
    OR c.relrowsecurity AND EXISTS (SELECT FROM pg_catalog.pg_policy AS y
      WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid
      AND pg_catalog.concat(y.polqual::pg_catalog.text) OPERATOR(pg_catalog.~) __ODD__)
  ) ORDER BY t.target DESC, n.nspname, c.relname)
  FROM tree AS t JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace),
'unsteady', (SELECT pg_catalog.json_agg(DISTINCT p.proname::pg_catalog.text) FROM pg_catalog.pg_proc AS p
  WHERE p.proname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.json_array_elements_text(__CALLED__)))
  AND (p.provolatile OPERATOR(pg_catalog.=) 'v'
    OR (p.prokind OPERATOR(pg_catalog.=) 'a' AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)
    OR (p.provolatile OPERATOR(pg_catalog.=) 's'
    AND p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND p.proname OPERATOR(pg_catalog.<>) ALL (__GIVEN__))
    OR (p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prolang OPERATOR(pg_catalog.<>) ALL (
        SELECT l.oid FROM pg_catalog.pg_language AS l
        WHERE l.lanname OPERATOR(pg_catalog.=) ANY ('{c,internal,sql}'::pg_catalog.name[]))
      AND EXISTS (SELECT FROM pg_catalog.pg_type AS y
        WHERE y.oid OPERATOR(pg_catalog.=) ANY (p.prorettype OPERATOR(pg_catalog.||) p.proallargtypes)
        AND (y.typcategory OPERATOR(pg_catalog.=) ANY ('{D,R,P}'::pg_catalog."char"[])
          OR y.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
          OR y.typcategory OPERATOR(pg_catalog.=) 'A' AND EXISTS (SELECT FROM pg_catalog.pg_type AS e
            WHERE e.oid OPERATOR(pg_catalog.=) y.typelem
            AND e.typcategory OPERATOR(pg_catalog.=) ANY ('{D,R}'::pg_catalog."char"[]))))))),
'texts', EXISTS (SELECT FROM pg_catalog.json_array_elements_text(__TEXTS__) AS w (name)
  WHERE NOT EXISTS (SELECT FROM tree JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) tree.oid
    AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND NOT a.attisdropped)
  OR EXISTS (SELECT FROM tree JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) tree.oid
    AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND NOT a.attisdropped
    JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid
    LEFT JOIN pg_catalog.pg_type AS e ON e.oid OPERATOR(pg_catalog.=) y.typelem
    WHERE y.typcategory OPERATOR(pg_catalog.=) 'S' OR e.typcategory OPERATOR(pg_catalog.=) 'S'
      OR y.typtype OPERATOR(pg_catalog.=) ANY ('{c,d}'::pg_catalog."char"[]))),
'strange', EXISTS (SELECT FROM pg_catalog.json_array_elements_text(__MET__) AS w (name)
  WHERE NOT EXISTS (SELECT FROM tree JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) tree.oid
    AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.>) 0
    AND a.attgenerated OPERATOR(pg_catalog.=) '' AND NOT a.attisdropped
    WHERE tree.target AND tree.how OPERATOR(pg_catalog.=) 'named')),
'sets', EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE p.proretset AND (
  p.proname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.json_array_elements_text(__LISTED__)))
  OR p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator AS o
    WHERE o.oprname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.json_array_elements_text(__LISTED__))))))),
'operators', (SELECT pg_catalog.json_agg(DISTINCT o.oprname::pg_catalog.text) FROM pg_catalog.pg_operator AS o
  JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
  WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND o.oprname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.json_array_elements_text(__OPERATORS__)))
  AND (p.provolatile OPERATOR(pg_catalog.<>) 'i' OR p.proretset
    OR p.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[]))),
'casts', EXISTS (SELECT FROM pg_catalog.pg_cast AS k
  JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) k.castfunc
  WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND (p.provolatile OPERATOR(pg_catalog.<>) 'i'
    OR p.prolang OPERATOR(pg_catalog.<>) ALL ('{12,13}'::pg_catalog.oid[]))),
'keys', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
  'name', k.conname, 'from', k.confrelid::pg_catalog.int8, 'to', k.conrelid::pg_catalog.int8,
  'from_name', pg_catalog.json_build_array(pn.nspname, pc.relname),
  'to_name', pg_catalog.json_build_array(fn.nspname, fc.relname), 'to_kind', fc.relkind,
  'delete', k.confdeltype, 'update', k.confupdtype,
  'secured', pg_catalog.row_security_active(k.conrelid),
  'family', pg_catalog.json_build_array((SELECT pg_catalog.json_agg(p.relid::pg_catalog.oid::pg_catalog.int8)
      FROM pg_catalog.pg_partition_tree(k.conrelid::pg_catalog.regclass) AS p),
    (SELECT pg_catalog.json_agg(a.relid::pg_catalog.oid::pg_catalog.int8)
      FROM pg_catalog.pg_partition_ancestors(k.conrelid::pg_catalog.regclass) AS a (relid))),
  'acts', NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS g WHERE g.tgconstraint OPERATOR(pg_catalog.=) k.oid
      AND g.tgenabled OPERATOR(pg_catalog.<>) 'O')
    AND pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica',
  'ruled', EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class OPERATOR(pg_catalog.=) k.conrelid),
  'computed', EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) k.confrelid
    AND a.attnum OPERATOR(pg_catalog.=) ANY (k.confkey) AND a.attgenerated OPERATOR(pg_catalog.<>) ''),
  'codes', __CODES_OF__(k.conrelid),
  'keeps', EXISTS (SELECT FROM fires JOIN pg_catalog.pg_trigger AS g ON g.oid OPERATOR(pg_catalog.=) fires.oid
    WHERE (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 3) OPERATOR(pg_catalog.=) 3
    AND (fires.relation OPERATOR(pg_catalog.=) k.conrelid OR fires.relation OPERATOR(pg_catalog.=) ANY (ARRAY(
      SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(k.conrelid::pg_catalog.regclass) AS p)))),
  'triggers', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      g.tgname, g.tgtype, pg_catalog.format('%I.%I', gn.nspname, gp.proname)) ORDER BY g.tgname)
    FROM fires JOIN pg_catalog.pg_trigger AS g ON g.oid OPERATOR(pg_catalog.=) fires.oid
    JOIN pg_catalog.pg_proc AS gp ON gp.oid OPERATOR(pg_catalog.=) g.tgfoid
    JOIN pg_catalog.pg_namespace AS gn ON gn.oid OPERATOR(pg_catalog.=) gp.pronamespace
    WHERE g.tgrelid OPERATOR(pg_catalog.=) k.conrelid OR (g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
      AND g.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT p.relid::pg_catalog.oid
        FROM pg_catalog.pg_partition_tree(k.conrelid::pg_catalog.regclass) AS p)))),
  'indexed', EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid OPERATOR(pg_catalog.=) k.conrelid
    AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND i.indnkeyatts OPERATOR(pg_catalog.>=) pg_catalog.cardinality(k.conkey)
    AND (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(k.conkey) OPERATOR(pg_catalog.-) 1]
      OPERATOR(pg_catalog.@>) k.conkey),
  'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
      f.attname, p.attname, pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, o.oprname)) ORDER BY w.place)
    FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop))
      WITH ORDINALITY AS w (f, p, op, place)
    JOIN pg_catalog.pg_attribute AS f ON f.attrelid OPERATOR(pg_catalog.=) k.conrelid
      AND f.attnum OPERATOR(pg_catalog.=) w.f
    JOIN pg_catalog.pg_attribute AS p ON p.attrelid OPERATOR(pg_catalog.=) k.confrelid
      AND p.attnum OPERATOR(pg_catalog.=) w.p
    JOIN pg_catalog.pg_operator AS o ON o.oid OPERATOR(pg_catalog.=) w.op
    JOIN pg_catalog.pg_namespace AS opn ON opn.oid OPERATOR(pg_catalog.=) o.oprnamespace)
  ) ORDER BY fn.nspname, fc.relname, k.conname)
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS pc ON pc.oid OPERATOR(pg_catalog.=) k.confrelid
  JOIN pg_catalog.pg_namespace AS pn ON pn.oid OPERATOR(pg_catalog.=) pc.relnamespace
  JOIN pg_catalog.pg_class AS fc ON fc.oid OPERATOR(pg_catalog.=) k.conrelid
  JOIN pg_catalog.pg_namespace AS fn ON fn.oid OPERATOR(pg_catalog.=) fc.relnamespace
  WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
  AND coalesce(pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conenforced', 'true') OPERATOR(pg_catalog.=) 'true'
  AND k.confrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT goal.oid FROM goal))
  AND (k.confdeltype OPERATOR(pg_catalog.=) ANY (__GOES_ON__)
      OR k.confupdtype OPERATOR(pg_catalog.=) ANY (__GOES_ON__))),
'ancestors', (SELECT pg_catalog.json_agg(DISTINCT a.relid::pg_catalog.oid::pg_catalog.int8) FROM tree
  CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(tree.oid::pg_catalog.regclass) AS a (relid) WHERE tree.target))
""".strip()
# What is nobody's but PostgreSQL's own leaves no dependency; an enumeration runs no code.
_CODES = """
EXISTS (SELECT FROM (
    SELECT 1259::pg_catalog.oid, __RELATION__
    UNION ALL SELECT 1259::pg_catalog.oid, i.indexrelid FROM pg_catalog.pg_index AS i
    WHERE i.indrelid OPERATOR(pg_catalog.=) __RELATION__
    UNION ALL SELECT 2604::pg_catalog.oid, f.oid FROM pg_catalog.pg_attrdef AS f
    WHERE f.adrelid OPERATOR(pg_catalog.=) __RELATION__
    UNION ALL SELECT 2606::pg_catalog.oid, o.oid FROM pg_catalog.pg_constraint AS o
    WHERE o.conrelid OPERATOR(pg_catalog.=) __RELATION__) AS own (classid, objid)
  JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) own.classid
    AND d.objid OPERATOR(pg_catalog.=) own.objid
  WHERE d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND (d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2616,2617}'::pg_catalog.oid[])
    OR d.refclassid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND EXISTS (SELECT FROM pg_catalog.pg_type AS y
      WHERE y.oid OPERATOR(pg_catalog.=) d.refobjid AND y.typtype OPERATOR(pg_catalog.<>) 'e'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS e
        WHERE e.oid OPERATOR(pg_catalog.=) y.typelem AND e.typtype OPERATOR(pg_catalog.=) 'e'))))
""".strip()
_CODES_OF = re.compile(r"__CODES_OF__\(([a-z.]+)\)")
# A column of a view: its number, and table and number of the column that it shows. A blank in a name has a backslash.
_RENAMED = (
    r":resno ([0-9]+) :resname (?:[^ \\]|\\.)+ :ressortgroupref [0-9]+ "
    ":resorigtbl ([1-9][0-9]*) :resorigcol ([1-9][0-9]*)"
)
_GOES_ON = "'{c,n,d}'::pg_catalog.\"char\"[]"
# What a view or a policy has that may pick other rows, or ask the clock: SQLValueFunction's first nine ask it.
_ODD = (
    "{SQLVALUEFUNCTION :op [0-8] |:limit(Count|Offset) [{]|:hasDistinctOn true|:hasWindowFuncs true|{TABLESAMPLECLAUSE"
    # A text that is made a time of PostgreSQL's own, a range or an array of them, or of a type of one's own.
    "|{COERCEVIAIO.*:resulttype (1082|1083|1114|1184|1266|1182|1183|1115|1185|1270|390[89]|391[0-3]|453[3-5]|[0-9]{5,})"
    "|{(JSONEXPR|TABLEFUNC) "
)


def facts_question(
    targets: Collection[Name],
    reads: Collection[Name],
    called: Iterable[str],
    operators: Iterable[str],
    texts: Iterable[str] = (),
    *,
    listed: Iterable[str] = (),
    met: Iterable[str] = (),
    only: bool,
) -> bytes:
    """Return the question about relations, by names as they are spelled in the text, and about what a count calls.

    `texts`: columns that are made times; `listed`: functions and operators that may stand in a list of VALUES; `met`:
    the columns that a WHERE seems to read; `only`: the children of its targets are left alone.
    """
    named = [{"name": qualified(name), "target": True, "children": not only} for name in targets]
    named += [{"name": qualified(name), "target": False, "children": True} for name in reads if name not in targets]
    steady, given = (f"'{{{','.join(names)}}}'::pg_catalog.name[]" for names in (_STEADY, [*_STEADY, *POPULATING]))
    values = {
        "__NAMED__": named,
        "__CALLED__": sorted(set(called)),
        "__OPERATORS__": sorted(set(operators)),
        "__TEXTS__": sorted(set(texts)),
        "__LISTED__": sorted(set(listed)),
        "__MET__": sorted(set(met)),
    }
    text = _CODES_OF.sub(lambda of: _CODES.replace("__RELATION__", of[1]), _QUESTION)
    text = text.replace("__GOES_ON__", _GOES_ON).replace("__STEADY__", steady).replace("__ODD__", f"'{_ODD}'")
    text = text.replace("__RENAMED__", f"'{_RENAMED}'")
    text = text.replace("__OF_KEYS__", OF_KEYS).replace("__GIVEN__", given)
    return filled(text, values)
