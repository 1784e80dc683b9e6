"""What values are made of, as the catalog tells it: names in a query of ours enter, pieces of its SQL leave.

A value is made of what its column is generated of, of the fields of its type (through domains, arrays and ranges), and
of all that a view reads. The columns at the two ends of a foreign key have the same values, so each is made of the
other. Every operator in the pieces is spelled out, because the client's search_path is in force.
Each recursion is over a set of what the catalog has, so it ends. OFFSET 0 keeps the planner at one look into an index
for each row: it would read all of pg_attribute instead.

Source: PostgreSQL 18, "pg_depend", "pg_rewrite"; outfuncs.c for what a stored tree looks like.
"""

__all__ = ["CALLED", "ENDS", "READ", "kin_of", "parts_of"]


def kin_of(oid: str) -> str:
    """Return the oids and JSON names of relations that the rows of one may stand in under the same columns: it itself,
    what inherits from it, and all that those inherit from.
    """
    return f"""(
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(k.nspname, k.relname)) AS names,
  pg_catalog.array_agg(s.oid) AS oids FROM (
    WITH RECURSIVE below (oid) AS (SELECT {oid} UNION SELECT i.inhrelid FROM below CROSS JOIN LATERAL (
      SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
      WHERE i.inhparent OPERATOR(pg_catalog.=) below.oid OFFSET 0) AS i),
    above (oid) AS (SELECT below.oid FROM below UNION SELECT i.inhparent FROM above CROSS JOIN LATERAL (
      SELECT i.inhparent FROM pg_catalog.pg_inherits AS i
      WHERE i.inhrelid OPERATOR(pg_catalog.=) above.oid OFFSET 0) AS i)
    TABLE above) AS s
CROSS JOIN LATERAL (SELECT kn.nspname, k.relname FROM pg_catalog.pg_class AS k
  JOIN pg_catalog.pg_namespace AS kn ON kn.oid OPERATOR(pg_catalog.=) k.relnamespace
  WHERE k.oid OPERATOR(pg_catalog.=) s.oid OFFSET 0) AS k)"""  # noqa: S608  # an alias of ours


# What a generated column is made of hangs on its row in pg_attrdef, before PostgreSQL 15 on the column itself.
_GENERATED = """
pg_catalog.pg_attribute AS g
CROSS JOIN LATERAL (
  SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid, ad.oid, 0 FROM pg_catalog.pg_attrdef AS ad
  WHERE ad.adrelid OPERATOR(pg_catalog.=) g.attrelid AND ad.adnum OPERATOR(pg_catalog.=) g.attnum
  UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, g.attrelid, g.attnum::pg_catalog.int4
) AS gx (class, object, number)
JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) gx.class
  AND d.objid OPERATOR(pg_catalog.=) gx.object AND d.objsubid OPERATOR(pg_catalog.=) gx.number
"""
_OF_PART = """
g.attrelid OPERATOR(pg_catalog.=) part.relation AND g.attnum OPERATOR(pg_catalog.=) part.number
AND g.attgenerated OPERATOR(pg_catalog.<>) ''
"""
# The rows of a table may stand in its partitions, children and parents, whose foreign keys say of them what its own do.
_SAME_KIN = f"""
CASE WHEN key_end.relation OPERATOR(pg_catalog.=) part.relation THEN true
  WHEN key_end.has_kin THEN key_end.relation OPERATOR(pg_catalog.=)
    ANY ((SELECT p_kin.oids FROM {kin_of("part.relation")} AS p_kin)::pg_catalog.oid[]) END"""  # noqa: S608
ENDS = """key_end (relation, name, has_kin, other, other_number) AS (
SELECT e.relation, a.attname, i.has_kin, e.other, e.other_number FROM (
    SELECT k.conrelid, x.own, k.confrelid, x.other FROM pg_catalog.pg_constraint AS k
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS x (own, other)
    WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    UNION ALL
    SELECT k.confrelid, x.other, k.conrelid, x.own FROM pg_catalog.pg_constraint AS k
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS x (own, other)
    WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
  ) AS e (relation, number, other, other_number)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) e.relation
  AND a.attnum OPERATOR(pg_catalog.=) e.number
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits AS h
  WHERE h.inhrelid OPERATOR(pg_catalog.=) e.relation
    OR h.inhparent OPERATOR(pg_catalog.=) e.relation)) AS i (has_kin)),
key_name (names) AS (SELECT pg_catalog.array_agg(DISTINCT key_end.name) FROM key_end)"""
"""Queries in WITH: the columns of all foreign keys, each with the column at its other end, in both directions.

And what they are called: of a table with a thousand columns hardly any is one.
"""

_STEP = f"""
SELECT o.attrelid, o.attnum, o.attname, o.atttypid FROM {_GENERATED}
JOIN pg_catalog.pg_attribute AS o ON o.attrelid OPERATOR(pg_catalog.=) g.attrelid
  AND o.attnum OPERATOR(pg_catalog.=) d.refobjsubid
WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refobjid OPERATOR(pg_catalog.=) g.attrelid AND d.refobjsubid OPERATOR(pg_catalog.>) 0 AND {_OF_PART}
UNION ALL
SELECT o.attrelid, o.attnum, o.attname, o.atttypid FROM pg_catalog.pg_attribute AS g
JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) g.attrelid
JOIN pg_catalog.pg_attribute AS o ON o.attrelid OPERATOR(pg_catalog.=) i.inhrelid
  AND o.attname OPERATOR(pg_catalog.=) g.attname AND o.attgenerated OPERATOR(pg_catalog.<>) ''
WHERE {_OF_PART}
UNION ALL
SELECT NULL, NULL, NULL, x.type FROM pg_catalog.pg_type AS t
CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS x (type)
WHERE t.oid OPERATOR(pg_catalog.=) part.type AND x.type OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
UNION ALL
SELECT NULL, NULL, NULL, r.rngsubtype FROM pg_catalog.pg_range AS r
WHERE r.rngtypid OPERATOR(pg_catalog.=) part.type OR r.rngmultitypid OPERATOR(pg_catalog.=) part.type
UNION ALL
SELECT f.attrelid, f.attnum, f.attname, f.atttypid FROM pg_catalog.pg_type AS t
JOIN pg_catalog.pg_attribute AS f ON f.attrelid OPERATOR(pg_catalog.=) t.typrelid
WHERE t.oid OPERATOR(pg_catalog.=) part.type AND f.attnum OPERATOR(pg_catalog.>) 0 AND NOT f.attisdropped
UNION ALL
SELECT o.attrelid, o.attnum, o.attname, o.atttypid FROM key_end
JOIN pg_catalog.pg_attribute AS o ON o.attrelid OPERATOR(pg_catalog.=) key_end.other
  AND o.attnum OPERATOR(pg_catalog.=) key_end.other_number
WHERE part.name OPERATOR(pg_catalog.=) ANY ((SELECT key_name.names FROM key_name)::pg_catalog.name[])
  AND key_end.name OPERATOR(pg_catalog.=) part.name AND {_SAME_KIN}
"""  # noqa: S608  # of pieces of ours
# An operator is known by the function behind it.
_FUNCTION = """
JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) CASE
  WHEN d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid
  WHEN d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass THEN
    (SELECT op.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator AS op
     WHERE op.oid OPERATOR(pg_catalog.=) d.refobjid) END
"""

CALLED = f"""(
SELECT pg_catalog.json_agg(DISTINCT called.proname) FROM part
CROSS JOIN LATERAL (SELECT p.proname FROM {_GENERATED} {_FUNCTION} WHERE {_OF_PART} OFFSET 0) AS called)"""  # noqa: S608  # of pieces of ours
"""The names of the functions that generate what is in `part`, as JSON."""

# A view is recorded as depending on each column that it names. Whole rows in it are not: its tree tells them. Nor are
# tables and functions that PostgreSQL starts with: of those with values of other tables the tree tells, too. They are
# pg_statistic (2619), pg_statistic_ext_data (3429), pg_largeobject (2613), pg_attribute (1249), pg_user_mapping
# (1418), pg_subscription (6100), and what tells the statements of sessions: pg_stat_get_activity (2022),
# pg_stat_get_backend_activity (1940), pg_prepared_statement (2510) and pg_cursor (2511). PostgreSQL's own views that
# reach one of these are known by name.
READ = f"""
WITH RECURSIVE read (oid, number) AS (
  SELECT c.oid, NULL::pg_catalog.int4
  UNION SELECT d.refobjid, CASE WHEN d.refobjsubid OPERATOR(pg_catalog.>) 0
    AND pg_catalog.strpos(r.ev_action::pg_catalog.text, ':varattno 0 ') OPERATOR(pg_catalog.=) 0 THEN d.refobjsubid END
  FROM read
  JOIN pg_catalog.pg_rewrite AS r ON r.ev_class OPERATOR(pg_catalog.=) read.oid
    AND r.ev_type OPERATOR(pg_catalog.=) '1'
  JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) r.oid
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class),
view (rule, of_anything) AS (
  SELECT r.oid, r.ev_class OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~)
      ':(relid (2619|3429|2613|1249|1418|6100)|funcid (2022|1940|2510|2511)) '
  FROM pg_catalog.pg_rewrite AS r
  WHERE r.ev_type OPERATOR(pg_catalog.=) '1'
    AND r.ev_class OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT read.oid FROM read))),
call (name) AS (
  SELECT DISTINCT p.proname FROM view
  JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) view.rule {_FUNCTION})
"""  # noqa: S608  # of pieces of ours
"""WITH what the view `c` reads: columns (all of them if `number` is NULL), views' rules, names of called functions."""


def parts_of(start: str) -> str:
    """Return a query in WITH, `part (relation, number, name, type)`: columns, and what they are made of."""
    return f"""part (relation, number, name, type) AS (
{start} UNION SELECT step.* FROM part CROSS JOIN LATERAL ({_STEP}) AS step (relation, number, name, type))"""  # noqa: S608
