"""What a relation is made of: each thing that is told apart when it has changed, with a query of the lines that say it.

Nothing enters; SQL leaves, about the relation `c`, a row of pg_class. `schema_state` makes a fingerprint of the lines
of each, whatever their order, so nothing that the server changes by itself (statistics, sizes, frozen ids) may be among
them, and nothing that says how rows are kept and not which: not which index it is that REINDEX CONCURRENTLY makes anew.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "System Catalogs".
"""

from collections.abc import Mapping

from pgnotary.request.facts_question import OF_KEYS
from pgnotary.request.reached import parts_of

__all__ = ["ASPECTS"]

# Of the domains of its columns. By pg_depend: to the planner nearly all of pg_constraint seems to be of any domain, and
# to read that for each partition takes longer than a question may.
_CHECKS = """
ARRAY(SELECT d.objid FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
    AND d.refobjid OPERATOR(pg_catalog.=) a.atttypid AND d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)
""".strip()
# No index leads from a table to the foreign keys that refer to it, but pg_depend has one.
_ASPECTS = {
    "columns": """
SELECT pg_catalog.json_build_array(a.attnum, a.attname, a.atttypid::pg_catalog.int8, a.atttypmod, a.attnotnull,
  a.attidentity, a.attgenerated, a.attcollation::pg_catalog.int8, d.adbin::pg_catalog.text,
  a.attfdwoptions)::pg_catalog.text
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid
  AND d.adnum OPERATOR(pg_catalog.=) a.attnum
WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped""",
    "constraints": """
SELECT (pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.-) 'conindid'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_constraint AS k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid
UNION ALL
SELECT (pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.-) 'conindid'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_constraint AS k WHERE k.confrelid OPERATOR(pg_catalog.=) c.oid
AND k.conrelid OPERATOR(pg_catalog.<>) c.oid
AND k.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT d.objid FROM pg_catalog.pg_depend AS d
  WHERE d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.=) c.oid
  AND d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid))""",
    "triggers": """
SELECT pg_catalog.json_build_array(g.tgname, g.tgtype, g.tgenabled, g.tgattr::pg_catalog.text,
  g.tgqual::pg_catalog.text, g.tgargs::pg_catalog.text, g.tgdeferrable, g.tginitdeferred,
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) g.tgfoid
WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid
  AND (NOT g.tgisinternal OR g.tgenabled OPERATOR(pg_catalog.<>) 'O'
    OR g.tgparentid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
    AND g.tgfoid OPERATOR(pg_catalog.<>) ALL (__OF_KEYS__))""",
    "rules": """
SELECT pg_catalog.to_jsonb(w)::pg_catalog.text FROM pg_catalog.pg_rewrite AS w
WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid""",
    "row security": """
SELECT pg_catalog.to_jsonb(y)::pg_catalog.text FROM pg_catalog.pg_policy AS y
WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid
UNION ALL SELECT pg_catalog.json_build_array(c.relrowsecurity, c.relforcerowsecurity)::pg_catalog.text""",
    "functions": """
SELECT (pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
  SELECT CASE WHEN d.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid THEN d.refobjid
    ELSE (SELECT o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator AS o
      WHERE o.oid OPERATOR(pg_catalog.=) d.refobjid) END
  FROM pg_catalog.pg_depend AS d JOIN (
    __PARTS__
    UNION ALL SELECT 2606::pg_catalog.oid, x.oid FROM pg_catalog.unnest(__CHECKS__) AS x (oid)
  ) AS own (classid, objid) ON d.classid OPERATOR(pg_catalog.=) own.classid
    AND d.objid OPERATOR(pg_catalog.=) own.objid
  WHERE d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[])))
UNION ALL
SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_constraint AS k
WHERE k.oid OPERATOR(pg_catalog.=) ANY (__CHECKS__)""",
    "unique indexes": """
SELECT (pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.-)
  '{indexrelid,indcheckxmin,indisclustered,indisreplident}'::pg_catalog.text[])::pg_catalog.text
FROM pg_catalog.pg_index AS i WHERE __ON_CONFLICT__ AND i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique""",
    "partitions": """
SELECT pg_catalog.to_jsonb(i)::pg_catalog.text FROM pg_catalog.pg_inherits AS i
WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid
UNION ALL SELECT pg_catalog.to_jsonb(i)::pg_catalog.text FROM pg_catalog.pg_inherits AS i
WHERE c.relhassubclass AND i.inhparent OPERATOR(pg_catalog.=) c.oid
UNION ALL
SELECT pg_catalog.json_build_array(b.oid::pg_catalog.int8, b.relpartbound::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_partition_ancestors(c.oid::pg_catalog.regclass) AS i (relid)
JOIN pg_catalog.pg_class AS b ON b.oid OPERATOR(pg_catalog.=) i.relid::pg_catalog.oid""",
    "sequences": """
SELECT pg_catalog.to_jsonb(s)::pg_catalog.text FROM pg_catalog.pg_sequence AS s
WHERE s.seqrelid OPERATOR(pg_catalog.=) c.oid OR s.seqrelid OPERATOR(pg_catalog.=) ANY (ARRAY(
  SELECT d.refobjid FROM pg_catalog.pg_attrdef AS f JOIN pg_catalog.pg_depend AS d
    ON d.classid OPERATOR(pg_catalog.=) 2604::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) f.oid
  WHERE f.adrelid OPERATOR(pg_catalog.=) c.oid AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
  UNION ALL SELECT d.objid FROM pg_catalog.pg_depend AS d
  WHERE d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.=) c.oid
  AND d.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.deptype OPERATOR(pg_catalog.=) 'i'))""",
    "options": """
SELECT pg_catalog.array_to_string(c.reloptions, ',') WHERE c.relkind OPERATOR(pg_catalog.=) 'v'
  AND c.reloptions IS NOT NULL
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_foreign_table AS f
WHERE f.ftrelid OPERATOR(pg_catalog.=) c.oid""",
}
ASPECTS: Mapping[str, str] = {
    aspect: query.replace("__OF_KEYS__", OF_KEYS).replace("__PARTS__", parts_of("c.oid")).replace("__CHECKS__", _CHECKS)
    for aspect, query in _ASPECTS.items()
}
"""By its name: the query. Its place is __ON_CONFLICT__, whether what the statement inserts may meet what is there."""
