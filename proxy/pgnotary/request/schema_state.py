"""What the relations and functions that a statement names are made of: one catalog question, and its answer.

Names as they are spelled enter, a map leaves: what it is -> a fingerprint of how that is defined. It is asked when a
statement is held, and again before it runs, so that nobody signs a DELETE from one table and has another one emptied.
The question is ours alone: it reads pg_catalog and calls nothing else, needs no right to any relation, and spells out
every operator, because the client's search_path is in force.

Of each relation, of those under a view, of those that its rules and policies name, or that its foreign keys change or
empty, and of all their children and partitions: which one it is, its columns with their defaults, constraints (its own,
those that refer to it, those of domains), triggers with what they call, rules (the query of a view among them), row
security, the functions behind all of these and behind its indexes, what it is a partition of or has as partitions, and,
under ON CONFLICT, its unique indexes. Of each function that is called and that is none of PostgreSQL's own, and of what
is behind an operator or a cast: all that bear its name, aggregates with what they are made of. Of all these what else
the catalog knows to be behind them, as `reached` says. Of DROP, TRUNCATE and ALTER TABLE under CASCADE all that goes
along; of DDL the event triggers. Not followed is what the text of a function calls. Left out are privileges, statistics
and other indexes.

What is asked sees what the transaction sees: in a block that keeps its snapshot (REPEATABLE READ) no later change.

Source: PostgreSQL 18, "System Catalogs".
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

from pgnotary.judge.identifiers import identifier
from pgnotary.judge.statement import Name, Statement, StatementClass
from pgnotary.ledger.canonical import JSON, encode
from pgnotary.request.along import along_question, subject_along
from pgnotary.request.facts_question import OF_KEYS
from pgnotary.request.places import filled
from pgnotary.request.reached import REACHED, parts_of

__all__ = ["difference", "read_schema_state", "schema_digest", "schema_question"]

# No index leads from a table to the foreign keys that refer to it, but pg_depend has one.
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
WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid
UNION ALL SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_constraint AS k
WHERE k.confrelid OPERATOR(pg_catalog.=) c.oid AND k.conrelid OPERATOR(pg_catalog.<>) c.oid
AND k.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT d.objid FROM pg_catalog.pg_depend AS d
  WHERE d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.=) c.oid
  AND d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid))""",
    "triggers": """
SELECT pg_catalog.json_build_array(g.tgname, g.tgtype, g.tgenabled, g.tgattr::pg_catalog.text,
  g.tgqual::pg_catalog.text, g.tgargs::pg_catalog.text, g.tgdeferrable, g.tginitdeferred,
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) g.tgfoid
WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid
  AND (NOT g.tgisinternal
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
    UNION ALL SELECT 2606::pg_catalog.oid, k.oid FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_constraint AS k ON k.contypid OPERATOR(pg_catalog.=) a.atttypid
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND k.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
  ) AS own (classid, objid) ON d.classid OPERATOR(pg_catalog.=) own.classid
    AND d.objid OPERATOR(pg_catalog.=) own.objid
  WHERE d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[])))
UNION ALL
SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_constraint AS k ON k.contypid OPERATOR(pg_catalog.=) a.atttypid
WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND k.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid""",
    "unique indexes": """
SELECT pg_catalog.to_jsonb(i)::pg_catalog.text FROM pg_catalog.pg_index AS i
WHERE __ON_CONFLICT__ AND i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique""",
    "partitions": """
SELECT pg_catalog.json_build_array(i.inhrelid::pg_catalog.int8, i.inhparent::pg_catalog.int8)::pg_catalog.text
FROM pg_catalog.pg_inherits AS i
WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid OR i.inhrelid OPERATOR(pg_catalog.=) c.oid""",
}


_FIRES_EVENTS = frozenset(
    {
        StatementClass.CREATE,
        StatementClass.ALTER,
        StatementClass.DROP,
        StatementClass.GRANT,
        StatementClass.MAINTENANCE,
        StatementClass.CALL,
        StatementClass.DO,
        StatementClass.UNKNOWN,
    }
)
"""What may fire event triggers."""
# Of more the rest has one fingerprint.
_MOST_ALONG = 1_000
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
WITH RECURSIVE __REACHED__
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
    AND o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)),
'behind', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, p.proname,
    pg_catalog.oidvectortypes(p.proargtypes), __BEHIND__))
  FROM behind JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) behind.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace),
'domains', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, y.typname, __DOMAINS__))
  FROM domains JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) domains.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) y.typnamespace),
'event triggers', __EVENT_TRIGGERS__, 'casts', __CASTS__)
""".strip()


_OPERATORS = """
SELECT pg_catalog.json_build_array(pg_catalog.to_jsonb(o),
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_operator AS o LEFT JOIN pg_catalog.pg_proc AS p
  ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
WHERE o.oprname OPERATOR(pg_catalog.=) f.name::pg_catalog.name
AND o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"""
_EVENT_TRIGGERS = """
SELECT pg_catalog.json_build_array(pg_catalog.to_jsonb(e),
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_event_trigger AS e JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) e.evtfoid
WHERE __DDL__"""
_CASTS = """
SELECT pg_catalog.json_build_array(pg_catalog.to_jsonb(k),
  pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_cast AS k JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) k.castfunc
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"""


_BEHIND = """
SELECT (pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text"""
_DOMAINS = """
SELECT (pg_catalog.to_jsonb(y) OPERATOR(pg_catalog.-) 'typacl'::pg_catalog.text)::pg_catalog.text
UNION ALL SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_constraint AS k
WHERE k.contypid OPERATOR(pg_catalog.=) y.oid"""


def _fingerprint(lines: str) -> str:
    return _FINGERPRINT.replace("__LINES__", lines)


_ASKED = (
    _QUESTION.replace("__REACHED__", REACHED)
    .replace("__ASPECTS__", ", ".join(map(_fingerprint, _ASPECTS.values())))
    .replace("__BEHIND__", _fingerprint(_BEHIND))
    .replace("__DOMAINS__", _fingerprint(_DOMAINS))
    .replace("__FUNCTIONS__", _fingerprint(_FUNCTIONS))
    .replace("__OPERATORS__", _fingerprint(_OPERATORS))
    .replace("__EVENT_TRIGGERS__", _fingerprint(_EVENT_TRIGGERS))
    .replace("__CASTS__", _fingerprint(_CASTS))
    .replace("__OF_KEYS__", OF_KEYS)
    .replace("__PARTS__", parts_of("c.oid"))
)


def schema_question(statement: Statement) -> bytes:
    """Return the question about all that a statement names."""
    relations: set[Name] = set()
    called: set[str] = set()
    operators: set[str] = set()
    types: set[str] = set()
    for part in statement.parts:
        relations |= {*part.targets, *part.others, *part.resolved, *part.resolved_targets}
        for names in (part.names, *part.run):
            relations |= names.relations
            operators |= {name[-1] for name in names.operators if name}
            called |= {name[-1] for name in names.functions} | names.attributes
            types |= {name[-1] for name in names.types if name}
    named = [{"schema": name[-2] if len(name) > 1 else None, "name": name[-1]} for name in sorted(relations)]
    values = {
        "__NAMED__": named,
        "__CALLED__": sorted(called),
        "__SPELLED__": sorted(operators),
        "__TYPED__": sorted(types),
    }
    along = [subject for part in statement.parts if (subject := subject_along(part.node, statement.slice(part)))]
    switches = {
        "__REFERRING__": any(subject.referring for subject in along),
        "__ON_CONFLICT__": any(part.on_conflict for part in statement.parts),
        "__DDL__": any(part.kind in _FIRES_EVENTS for part in statement.parts),
    }
    asked = _ASKED
    for place, on in switches.items():
        asked = asked.replace(place, "true" if on else "false")
    questions = [filled(asked, values), *map(along_question, along)]
    # Names of theirs stand in each already: nothing is put into a text that is filled.
    return b"SELECT pg_catalog.json_build_array(" + b", ".join(b"(" + each + b")" for each in questions) + b")"


def read_schema_state(answer: str) -> dict[str, str]:
    """Return what it is -> its fingerprint; raises ValueError if the answer has not the shape that was asked for."""
    found: dict[str, str] = {}
    try:
        fields, *along = json.loads(answer)
        for schema, relation, which, *prints in fields["relations"] or ():
            name = _spelled(schema, relation)
            found[name] = str(which)
            aspects = zip(_ASPECTS, prints, strict=True)
            found |= {f"{aspect} of {name}": str(each) for aspect, each in aspects if each != _OF_NOTHING}
        found |= {f"the function {identifier(str(name))}": str(each) for name, each in fields["functions"] or ()}
        found |= {f"the operator {name}": str(each) for name, each in fields["operators"] or ()}
        for schema, function, taken, each in fields["behind"] or ():
            found[f"the function {_spelled(schema, function)}({taken}), called by others"] = str(each)
        found |= {f"the domain {_spelled(schema, name)}": str(each) for schema, name, each in fields["domains"] or ()}
        for what in ("event triggers", "casts"):
            if fields[what] != _OF_NOTHING:
                found[what] = str(fields[what])
        gone = sorted({(f"{kind} {identity}", str(which)) for each in along for kind, identity, which in each or ()})
        found |= {f"{name}, which goes along": which for name, which in gone[:_MOST_ALONG]}
        if rest := gone[_MOST_ALONG:]:
            found["all else that goes along"] = sha256(repr(rest).encode()).hexdigest()[:32]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the schema's state has not the shape that was asked for: {error}") from error
    return found


def _spelled(schema: object, name: object) -> str:
    return f"{identifier(str(schema))}.{identifier(str(name))}"


def schema_digest(state: Mapping[str, str]) -> str:
    """Return SHA-256, in hexadecimal, over the canonical list of its pairs, sorted."""
    pairs: list[JSON] = [[what, value] for what, value in sorted(state.items())]
    return sha256(encode(pairs)).hexdigest()


def difference(signed: Mapping[str, str], found: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield what is another now, as it was signed and as it is found; "" for what is not there."""
    for what in sorted(signed.keys() | found.keys()):
        if signed.get(what) != found.get(what):
            yield what, signed.get(what, ""), found.get(what, "")
