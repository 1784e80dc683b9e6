"""What the relations and functions that a statement names are made of: one catalog question, and its answer.

Names as they are spelled enter, a map leaves: what it is -> a fingerprint of how that is defined. It is asked when a
statement is held, and again before it runs, so that nobody signs a DELETE from one table and has another one emptied.
The question is ours alone: it reads pg_catalog and calls nothing else, needs no right to any relation, and spells out
every operator, because the client's search_path is in force.

Of each relation, of those under a view, of those that its rules and policies name, or that its foreign keys change or
empty, and of all their children and partitions: which one it is, whose, its columns with their defaults, constraints
(its own, those that refer to it, those of domains), triggers with what they call, rules (the query of a view among
them), row security, the functions behind all of these and behind its indexes, what it is a partition of or has as
partitions, sequences, options of views and foreign tables, and, under ON CONFLICT, its unique indexes. Of each function
that is called and that is none of PostgreSQL's own, and of what is behind an operator or a cast: all that bear its
name, aggregates with what they are made of. Of all these what else is behind them, as `reached` says, and around them,
as `around` does; of DDL the event triggers, and what it names besides, as `said` says. Of DROP, TRUNCATE and ALTER
TABLE under CASCADE all that goes along. Left out are privileges, statistics, storage options and other indexes.

What is asked sees what the transaction sees: in a block that keeps its snapshot (REPEATABLE READ) no later change.

Source: PostgreSQL 18, "System Catalogs".
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

from pgnotary.judge.identifiers import identifier
from pgnotary.judge.statement import Name, Statement
from pgnotary.ledger.canonical import JSON, encode
from pgnotary.request.along import along_question, subject_along
from pgnotary.request.around import around_question, read_around
from pgnotary.request.aspects import ASPECTS
from pgnotary.request.places import filled
from pgnotary.request.reached import TEXT_SEARCHING, reached_from
from pgnotary.request.said import is_ddl, read_said, said_by, said_question

__all__ = ["difference", "read_schema_state", "schema_digest", "schema_question"]

# With one of them a text that is searched, or how, has a type of its own.
_OF_TEXT_SEARCH = frozenset({"regconfig", "regdictionary", "tsquery", "tsvector"})
# An operator has none of them in its name.
_OF_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
_OF_ROLES = frozenset({"row_security_active", "current_setting"})
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
    pg_catalog.format('%s %s', c.relkind, c.oid), c.relowner::pg_catalog.int8, __ASPECTS__))
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
'event triggers', __EVENT_TRIGGERS__, 'casts', __CASTS__, __AROUND__, __OF_WORDS__)
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
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
  SELECT reached.objid FROM reached WHERE reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid))"""


_BEHIND = """
SELECT (pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'proacl'::pg_catalog.text)::pg_catalog.text"""
_DOMAINS = """
SELECT (pg_catalog.to_jsonb(y) OPERATOR(pg_catalog.-) 'typacl'::pg_catalog.text)::pg_catalog.text
UNION ALL SELECT pg_catalog.to_jsonb(k)::pg_catalog.text FROM pg_catalog.pg_constraint AS k
WHERE k.contypid OPERATOR(pg_catalog.=) y.oid"""


def _fingerprint(lines: str) -> str:
    return _FINGERPRINT.replace("__LINES__", lines)


_ASKED = (
    _QUESTION.replace("__AROUND__", around_question(_fingerprint))
    .replace("__ASPECTS__", ", ".join(map(_fingerprint, ASPECTS.values())))
    .replace("__BEHIND__", _fingerprint(_BEHIND))
    .replace("__DOMAINS__", _fingerprint(_DOMAINS))
    .replace("__FUNCTIONS__", _fingerprint(_FUNCTIONS))
    .replace("__OPERATORS__", _fingerprint(_OPERATORS))
    .replace("__EVENT_TRIGGERS__", _fingerprint(_EVENT_TRIGGERS))
    .replace("__CASTS__", _fingerprint(_CASTS))
)


def schema_question(statement: Statement) -> bytes:
    """Return the question about all that a statement names."""
    relations: set[Name] = set()
    called: set[str] = set()
    operators: set[str] = set()
    types: set[str] = set()
    collations: set[str] = set()
    for part in statement.parts:
        relations |= {*part.targets, *part.others, *part.resolved, *part.resolved_targets}
        for names in (part.names, *part.run):
            relations |= names.relations
            operators |= {name[-1] for name in names.operators if name}
            called |= {name[-1] for name in names.functions} | names.attributes
            types |= {name[-1] for name in names.types if name}
            collations |= {name[-1] for name in names.collations if name}
    words = said_by(statement)
    named = [{"schema": name[-2] if len(name) > 1 else None, "name": name[-1]} for name in sorted(relations)]
    values = {
        "__NAMED__": named,
        "__CALLED__": sorted(called | words),
        "__SPELLED__": sorted(operators | {word for word in words if not _OF_NAMES.intersection(word)}),
        "__TYPED__": sorted(types | words),
        "__SAID__": sorted(words),
        "__COLLATED__": sorted(collations),
    }
    ddl = any(map(is_ddl, statement.parts))
    searches = not called.isdisjoint(TEXT_SEARCHING) or not types.isdisjoint(_OF_TEXT_SEARCH)
    reached = reached_from(words=bool(words), ddl=ddl, collations=bool(collations), searches=searches)
    along = [subject for part in statement.parts if (subject := subject_along(part.node, statement.slice(part)))]
    switches = {
        "__REFERRING__": any(subject.referring for subject in along),
        "__ON_CONFLICT__": any(part.on_conflict for part in statement.parts),
        "__DDL__": ddl,
        "__ASKS__": any(name.startswith(("has_", "pg_has_")) for name in called) or not called.isdisjoint(_OF_ROLES),
        "__SEARCHES__": searches,
    }
    asked = _ASKED.replace("__REACHED__", reached).replace("__OF_WORDS__", said_question(statement, _fingerprint))
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
        for schema, relation, which, owner, *prints in fields["relations"] or ():
            name = _spelled(schema, relation)
            found |= {name: str(which), f"owner of {name}": str(owner)}
            aspects = zip(ASPECTS, prints, strict=True)
            found |= {f"{aspect} of {name}": str(each) for aspect, each in aspects if each != _OF_NOTHING}
        found |= {f"the function {identifier(str(name))}": str(each) for name, each in fields["functions"] or ()}
        found |= {f"the operator {name}": str(each) for name, each in fields["operators"] or ()}
        for schema, function, taken, each in fields["behind"] or ():
            found[f"the function {_spelled(schema, function)}({taken}), called by others"] = str(each)
        found |= {f"the domain {_spelled(schema, name)}": str(each) for schema, name, each in fields["domains"] or ()}
        for what in ("event triggers", "casts"):
            if fields[what] != _OF_NOTHING:
                found[what] = str(fields[what])
        found |= read_around(fields) | read_said(fields)
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
