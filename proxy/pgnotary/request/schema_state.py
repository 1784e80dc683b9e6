"""What the relations and functions that a statement names are made of: one catalog question, and its answer.

Names as they are spelled enter, a map leaves: what it is -> a fingerprint of how that is defined. It is asked when a
statement is held, and again before it runs, so that nobody signs a DELETE from one table and has another one emptied.
The question is ours alone: it reads pg_catalog and calls nothing else, needs no right to any relation, and spells out
every operator, because the client's search_path is in force.

Of each relation, of those under a view, and of all their children and partitions: which one it is, its columns with
their defaults, constraints (its own, and those that refer to it), triggers with what they call, rules (the query of a
view among them), row security and what it is a partition of or has as partitions. Of each function that is called and
that is none of PostgreSQL's own, and of what is behind an operator: all that bear its name, aggregates with what they
are made of. Not followed are functions that functions, views or defaults call, casts, what a rule or a cascade reaches,
and what hangs on something that is dropped. Left out are privileges, statistics and indexes (a unique one decides what
ON CONFLICT does).

What is asked sees what the transaction sees: in a block that keeps its snapshot (REPEATABLE READ) no later change.

Source: PostgreSQL 18, "System Catalogs".
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

from pgnotary.judge.naming import identifier
from pgnotary.judge.statement import Name, Statement
from pgnotary.ledger.canonical import JSON, encode
from pgnotary.request.places import filled

__all__ = ["difference", "read_schema_state", "schema_digest", "schema_question"]

_ASPECTS = {
    "columns": """
SELECT pg_catalog.json_build_array(a.attnum, a.attname, a.atttypid::pg_catalog.int8, a.atttypmod, a.attnotnull,
  a.attidentity, a.attgenerated, a.attcollation::pg_catalog.int8, d.adbin::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid
  AND d.adnum OPERATOR(pg_catalog.=) a.attnum
WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped""",
    "constraints": """
SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_constraint AS k
WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid OR k.confrelid OPERATOR(pg_catalog.=) c.oid""",
    "triggers": """
SELECT pg_catalog.json_build_array(g.tgname, g.tgtype, g.tgenabled, g.tgattr::pg_catalog.text,
  g.tgqual::pg_catalog.text, g.tgargs::pg_catalog.text, g.tgdeferrable, g.tginitdeferred,
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) g.tgfoid
WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid
  AND (NOT g.tgisinternal
    OR g.tgparentid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND g.tgfoid OPERATOR(pg_catalog.<>) ALL (
      '{1250,1644,1645,1646,1647,1648,1649,1650,1651,1652,1653,1654,1655}'::pg_catalog.oid[]))""",
    "rules": """
SELECT pg_catalog.to_jsonb(w)::pg_catalog.text FROM pg_catalog.pg_rewrite AS w
WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid""",
    "row security": """
SELECT pg_catalog.to_jsonb(y)::pg_catalog.text FROM pg_catalog.pg_policy AS y
WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid
UNION ALL SELECT pg_catalog.json_build_array(c.relrowsecurity, c.relforcerowsecurity)::pg_catalog.text""",
    "partitions": """
SELECT pg_catalog.json_build_array(i.inhrelid::pg_catalog.int8, i.inhparent::pg_catalog.int8)::pg_catalog.text
FROM pg_catalog.pg_inherits AS i
WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid OR i.inhrelid OPERATOR(pg_catalog.=) c.oid""",
}


_OF_NOTHING = sha256().hexdigest()[:32]

# 32 hexadecimal digits of SHA-256 over lines of text, whatever their order. In the database's own encoding nothing is
# converted, and so nothing can fail.
_FINGERPRINT = """pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat((
  SELECT pg_catalog.string_agg(x.t, ',' ORDER BY x.t COLLATE pg_catalog."C") FROM (__LINES__) AS x (t)
)), pg_catalog.getdatabaseencoding())), 'hex'), 32)"""
_FUNCTIONS = """
SELECT pg_catalog.json_build_array(pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text,
  pg_catalog.to_jsonb(g))::pg_catalog.text
FROM pg_catalog.pg_proc AS p LEFT JOIN pg_catalog.pg_aggregate AS g
  ON g.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) p.oid
WHERE p.proname OPERATOR(pg_catalog.=) f.name::pg_catalog.name
AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"""
_QUESTION = """
WITH RECURSIVE spelled (oid) AS (
  SELECT c.oid FROM pg_catalog.json_to_recordset(__NAMED__) AS w (schema pg_catalog.text, name pg_catalog.text)
  JOIN pg_catalog.pg_class AS c ON c.relname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE CASE WHEN w.schema IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
    ELSE n.nspname OPERATOR(pg_catalog.=) w.schema::pg_catalog.name END
), tree (oid) AS (
  SELECT spelled.oid FROM spelled
  UNION
  SELECT next.oid FROM tree CROSS JOIN LATERAL (
    SELECT d.refobjid FROM pg_catalog.pg_rewrite AS w
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid
      AND d.objid OPERATOR(pg_catalog.=) w.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.<>) w.ev_class
    WHERE w.ev_class OPERATOR(pg_catalog.=) tree.oid AND w.rulename OPERATOR(pg_catalog.=) '_RETURN'
    UNION ALL
    SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent OPERATOR(pg_catalog.=) tree.oid
  ) AS next (oid)
)
SELECT pg_catalog.json_build_object(
'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname,
    pg_catalog.format('%s %s', c.relkind, c.oid), __ASPECTS__))
  FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}'::pg_catalog.name[])),
'functions', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(f.name, __FUNCTIONS__))
  FROM pg_catalog.json_array_elements_text(__CALLED__) AS f (name)
  WHERE EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE p.proname OPERATOR(pg_catalog.=) f.name::pg_catalog.name
    AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)),
'operators', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(f.name, __OPERATORS__))
  FROM pg_catalog.json_array_elements_text(__SPELLED__) AS f (name)
  WHERE EXISTS (SELECT FROM pg_catalog.pg_operator AS o WHERE o.oprname OPERATOR(pg_catalog.=) f.name::pg_catalog.name
    AND o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)))
""".strip()


_OPERATORS = """
SELECT pg_catalog.json_build_array(pg_catalog.to_jsonb(o),
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_operator AS o LEFT JOIN pg_catalog.pg_proc AS p
  ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
WHERE o.oprname OPERATOR(pg_catalog.=) f.name::pg_catalog.name
AND o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"""


def _fingerprint(lines: str) -> str:
    return _FINGERPRINT.replace("__LINES__", lines)


_ASKED = (
    _QUESTION.replace("__ASPECTS__", ", ".join(map(_fingerprint, _ASPECTS.values())))
    .replace("__FUNCTIONS__", _fingerprint(_FUNCTIONS))
    .replace("__OPERATORS__", _fingerprint(_OPERATORS))
)


def schema_question(statement: Statement) -> bytes:
    """Return the question about all that a statement names."""
    relations: set[Name] = set()
    called: set[str] = set()
    operators: set[str] = set()
    for part in statement.parts:
        # What EXECUTE runs is known by its whole names alone.
        relations |= part.names.relations | {*part.targets, *part.others, *part.resolved, *part.resolved_targets}
        operators |= {name[-1] for name in part.names.operators if name}
        called |= {name[-1] for name in part.names.functions} | part.names.attributes
    named = [{"schema": name[-2] if len(name) > 1 else None, "name": name[-1]} for name in sorted(relations)]
    values = {"__NAMED__": named, "__CALLED__": sorted(called), "__SPELLED__": sorted(operators)}
    return filled(_ASKED, values)


def read_schema_state(answer: str) -> dict[str, str]:
    """Return what it is -> its fingerprint; raises ValueError if the answer has not the shape that was asked for."""
    found: dict[str, str] = {}
    try:
        fields = json.loads(answer)
        for schema, relation, which, *prints in fields["relations"] or ():
            name = f"{identifier(str(schema))}.{identifier(str(relation))}"
            found[name] = str(which)
            aspects = zip(_ASPECTS, prints, strict=True)
            found |= {f"{aspect} of {name}": str(each) for aspect, each in aspects if each != _OF_NOTHING}
        found |= {f"the function {identifier(str(name))}": str(each) for name, each in fields["functions"] or ()}
        found |= {f"the operator {name}": str(each) for name, each in fields["operators"] or ()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"the schema's state has not the shape that was asked for: {error}") from error
    return found


def schema_digest(state: Mapping[str, str]) -> str:
    """Return SHA-256, in hexadecimal, over the canonical list of its pairs, sorted."""
    pairs: list[JSON] = [[what, value] for what, value in sorted(state.items())]
    return sha256(encode(pairs)).hexdigest()


def difference(signed: Mapping[str, str], found: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield what is another now, as it was signed and as it is found; "" for what is not there."""
    for what in sorted(signed.keys() | found.keys()):
        if signed.get(what) != found.get(what):
            yield what, signed.get(what, ""), found.get(what, "")
