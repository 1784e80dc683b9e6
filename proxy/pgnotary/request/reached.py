"""What the catalog knows to be reached from what a statement names: one recursion, as pieces of a question.

Nothing enters but what the question says of the names in a statement; three lists leave: `tree`, the relations;
`behind`, the functions that no relation and no statement names itself; `domains`. It goes on from views, rules and
policies to what they read, over foreign keys that change rows, from defaults, checks, indexes and triggers to what they
call, and from a function, an operator or a type to what pg_depend says that it is made of: the body of a function
BEGIN ATOMIC, the defaults of its arguments, the checks of a domain, the columns of a composite type. A body that is a
text is not looked into.

It ends on cycles: each thing is reached once, or twice if a relation leads there too. Each step looks into an index.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_depend".
"""

__all__ = ["REACHED", "parts_of"]

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


# 1255 is pg_proc, 2617 pg_operator, 1247 pg_type, 1259 pg_class, 2606 pg_constraint, 2618 pg_rewrite, 3256 pg_policy.
# A foreign key depends on what it refers to, and a function on the row types of its arguments: neither leads there.
REACHED = """
spelled (oid) AS (
  SELECT c.oid FROM pg_catalog.json_to_recordset(__NAMED__) AS w (schema pg_catalog.text, name pg_catalog.text)
  JOIN pg_catalog.pg_class AS c ON c.relname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE CASE WHEN w.schema IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
    ELSE n.nspname OPERATOR(pg_catalog.=) w.schema::pg_catalog.name END
), named (classid, objid) AS (
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
), reached (classid, objid, deep) AS (
  SELECT named.classid, named.objid, false FROM named
  WHERE named.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
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
    SELECT 1259::pg_catalog.oid, i.inhrelid, false FROM pg_catalog.pg_inherits AS i
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND i.inhparent OPERATOR(pg_catalog.=) reached.objid
    UNION ALL
    SELECT d.refclassid, d.refobjid, false
    FROM (__PARTS__) AS own (classid, objid)
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) own.classid
      AND d.objid OPERATOR(pg_catalog.=) own.objid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND (d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617,1247}'::pg_catalog.oid[])
        AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      OR d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
        AND d.classid OPERATOR(pg_catalog.=) ANY ('{2618,3256}'::pg_catalog.oid[])
        AND d.refobjid OPERATOR(pg_catalog.<>) reached.objid)
    UNION ALL
    SELECT d.refclassid, d.refobjid, true FROM pg_catalog.pg_depend AS d
    WHERE reached.classid OPERATOR(pg_catalog.=) ANY ('{1255,2617,1247}'::pg_catalog.oid[])
    AND d.classid OPERATOR(pg_catalog.=) reached.classid AND d.objid OPERATOR(pg_catalog.=) reached.objid
    AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND (d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617,1247}'::pg_catalog.oid[])
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
    AND d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617,1247}'::pg_catalog.oid[])
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
""".strip().replace("__PARTS__", parts_of("reached.objid"))
"""The queries `spelled`, `tree`, `behind` and `domains`.

Its places: __NAMED__, __CALLED__, __SPELLED__ and __TYPED__, what a statement names; __REFERRING__, whether what
refers to a relation goes with it in any case (TRUNCATE CASCADE).
"""
