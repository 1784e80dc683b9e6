"""What DDL and blocks of code say by name beside relations: roles, databases, schemas; and what stands behind that.

A judged statement enters; the words leave that may be names in it, and the question what of the cluster they name. Any
word may be any name: where PostgreSQL keeps roles, databases, functions and types in a tree differs from statement to
statement, and a word too many only has something looked at that the statement does not reach. Of DO the text is cut
into words as well, literals in it too, so that what EXECUTE 'DELETE FROM t' names is found; what it puts together out
of pieces is not.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "System Catalogs",
"pg_shdepend"; `pg_query.proto` for where names stand.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.grammar import Message
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.statement import Part, Statement, StatementClass
from pgnotary.request.words import NAME_BYTES, clipped, words_in

__all__ = ["is_ddl", "read_said", "said_by", "said_question"]

_DDL = frozenset(
    {
        StatementClass.CREATE,
        StatementClass.ALTER,
        StatementClass.DROP,
        StatementClass.GRANT,
        StatementClass.MAINTENANCE,
        StatementClass.SEQUENCE,
        StatementClass.CALL,
        StatementClass.DO,
        StatementClass.UNKNOWN,
    }
)
# They take the name of a relation as a literal, as a cast to regclass and its like does.
_BY_LITERAL = frozenset({"nextval", "setval", "currval"})
# Neither names nor to be sent anywhere else: how a relation is kept, and connection strings.
_NO_NAMES = frozenset({"relpersistence", "conninfo"})
# Their options are whatever a wrapper takes, secrets among them.
_WITH_OPTIONS = frozenset(
    {
        "AlterFdwStmt",
        "AlterForeignServerStmt",
        "AlterTableStmt",
        "AlterUserMappingStmt",
        "CreateFdwStmt",
        "CreateForeignServerStmt",
        "CreateForeignTableStmt",
        "CreateUserMappingStmt",
        "ImportForeignSchemaStmt",
    }
)
# All that a role owns goes with it, or is given away.
_OF_OWNERS = frozenset({"DropOwnedStmt", "ReassignOwnedStmt"})
# They may be about all that is in a schema, and are if they say so.
_OF_SCHEMAS = frozenset(
    {"AlterPublicationStmt", "CreatePublicationStmt", "GrantStmt", "ImportForeignSchemaStmt", "ReindexStmt"}
)
_ALL_IN_SCHEMA = frozenset(
    {
        "ACL_TARGET_ALL_IN_SCHEMA",
        "PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA",
        "PUBLICATIONOBJ_TABLES_IN_SCHEMA",
        "REINDEX_OBJECT_SCHEMA",
    }
)
_ROLES = """
SELECT 'the role' AS what, r.rolname AS name, __FP_ROLE__ AS each
FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) ANY (__SAYS__)"""
_ROLE = """
SELECT pg_catalog.json_build_array(r.oid::pg_catalog.int8, r.rolsuper, r.rolinherit, r.rolbypassrls, r.rolcanlogin,
  r.rolcreaterole, r.rolcreatedb, r.rolreplication)::pg_catalog.text
UNION ALL
SELECT pg_catalog.to_jsonb(m)::pg_catalog.text FROM pg_catalog.pg_auth_members AS m
WHERE m.roleid OPERATOR(pg_catalog.=) r.oid OR m.member OPERATOR(pg_catalog.=) r.oid"""
_OWNERS = """
UNION ALL
SELECT 'what is of the role', r.rolname, __FP_OWNED__
FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) ANY (__SAYS__)"""
_OWNED = """
SELECT pg_catalog.json_build_array(s.classid::pg_catalog.int8, s.objid::pg_catalog.int8, s.objsubid,
  s.deptype)::pg_catalog.text
FROM pg_catalog.pg_shdepend AS s
WHERE s.refclassid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid AND s.refobjid OPERATOR(pg_catalog.=) r.oid
AND s.dbid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT 0::pg_catalog.oid UNION ALL SELECT b.oid
  FROM pg_catalog.pg_database AS b WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"""
_SCHEMAS = """
UNION ALL
SELECT 'what is in the schema', n.nspname, __FP_WITHIN__
FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) ANY (__SAYS__)"""
_WITHIN = """
SELECT pg_catalog.json_build_array(c.oid::pg_catalog.int8, c.relname, c.relkind)::pg_catalog.text
FROM pg_catalog.pg_class AS c WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid
AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S}'::pg_catalog."char"[])
UNION ALL
SELECT pg_catalog.json_build_array(p.oid::pg_catalog.int8, p.proname, p.prokind)::pg_catalog.text
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid"""
# What VACUUM writes into the row of a database is left out.
_OTHERS = """
UNION ALL
SELECT 'the database', b.datname, pg_catalog.concat_ws(' ', b.oid, b.datdba, b.datistemplate, b.datallowconn,
  b.datconnlimit, b.dattablespace)
FROM pg_catalog.pg_database AS b WHERE b.datname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the schema', n.nspname, pg_catalog.concat_ws(' ', n.oid, n.nspowner)
FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the tablespace', s.spcname, pg_catalog.concat_ws(' ', s.oid, s.spcowner)
FROM pg_catalog.pg_tablespace AS s WHERE s.spcname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the language', l.lanname, pg_catalog.concat_ws(' ', l.oid, l.lanowner, l.lanpltrusted, l.lanplcallfoid)
FROM pg_catalog.pg_language AS l WHERE l.lanname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the extension', e.extname, pg_catalog.concat_ws(' ', e.oid, e.extowner, e.extversion)
FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the statistics', x.stxname, pg_catalog.concat_ws(' ', x.oid, x.stxowner)
FROM pg_catalog.pg_statistic_ext AS x WHERE x.stxname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the conversion', k.conname, pg_catalog.concat_ws(' ', k.oid, k.conowner)
FROM pg_catalog.pg_conversion AS k WHERE k.conname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the subscription', k.subname, pg_catalog.concat_ws(' ', k.oid, k.subowner)
FROM pg_catalog.pg_subscription AS k WHERE k.subname OPERATOR(pg_catalog.=) ANY (__SAYS__)
UNION ALL
SELECT 'the type', y.typname, pg_catalog.concat_ws(' ', y.oid, y.typowner)
FROM pg_catalog.pg_type AS y JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) y.typnamespace
WHERE y.typname OPERATOR(pg_catalog.=) ANY (__SAYS__) AND y.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND y.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
AND (pg_catalog.pg_type_is_visible(y.oid) OR n.nspname OPERATOR(pg_catalog.=) ANY (__SAYS__))
UNION ALL
SELECT 'the publication', b.pubname, __FP_PUBLICATION__
FROM pg_catalog.pg_publication AS b WHERE b.pubname OPERATOR(pg_catalog.=) ANY (__SAYS__)"""
_PUBLICATION = """
SELECT pg_catalog.to_jsonb(b)::pg_catalog.text
UNION ALL
SELECT pg_catalog.to_jsonb(s)::pg_catalog.text FROM pg_catalog.pg_publication_rel AS s
WHERE s.prpubid OPERATOR(pg_catalog.=) b.oid"""
_LISTED = """
'said', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(x.what, x.name, x.each))
  FROM (__ROWS__) AS x (what, name, each))""".strip()


def is_ddl(part: Part) -> bool:
    """Say whether a part may name more than relations, and fire event triggers."""
    return part.kind in _DDL or bool(part.makes)


def said_by(statement: Statement) -> set[str]:
    """Return the words that may be names of something in the parts that are DDL, and in literals that name relations.

    Of a text that nobody can read these are all its words.
    """
    found: set[str] = set()
    for part in statement.parts:
        if not (is_ddl(part) or _names_by_literal(part)):
            continue
        text = statement.slice(part)
        try:
            (raw,) = grammar.parse(text)
            tree = list(grammar.messages(raw.node, raw.fields))
        except (grammar.Unreadable, ValueError):
            found |= words_in(text.decode(errors="replace"))
            continue
        for word in _strings(tree, names=is_ddl(part)):
            found |= words_in(word) if part.kind is StatementClass.DO or len(word) <= NAME_BYTES * 3 else set()
            found.add(clipped(word))
    return found


def _strings(tree: list[Message], *, names: bool) -> Iterator[str]:
    """Yield the strings of a tree that may be names, without secrets: of literals alone, or of all that it says."""
    secret = {id(each.fields["arg"]["String"]) for each in tree if _is_secret(each, tree[0].type)}
    for message in tree:
        if id(message.fields) in secret:
            continue
        if message.type == "A_Const":
            if (value := message.fields.get("sval", {}).get("sval")) is not None:
                yield str(value)
        elif names:
            texts = (value for key, value in message.fields.items() if key not in _NO_NAMES)
            yield from (value for value in texts if isinstance(value, str))


def _is_secret(message: Message, root: str) -> bool:
    if message.type != "DefElem" or "String" not in message.fields.get("arg", {}):
        return False
    return root in _WITH_OPTIONS or message.fields.get("defname") == "password"


def _names_by_literal(part: Part) -> bool:
    called = {name[-1] for name in part.names.functions if name}
    return not called.isdisjoint(_BY_LITERAL) or any(name[-1].startswith("reg") for name in part.names.types if name)


def said_question(statement: Statement, fingerprint: Callable[[str], str]) -> str:
    """Return a pair of a JSON object, over the list `said`; `fingerprint` makes an expression of a query of lines."""
    if not any(map(is_ddl, statement.parts)):
        return "'said', NULL"
    nodes = {part.node for part in statement.parts}
    within = any(_is_about_a_schema(statement, part) for part in statement.parts if part.node in _OF_SCHEMAS)
    asked = _ROLES + _OTHERS + _OWNERS * bool(nodes & _OF_OWNERS) + _SCHEMAS * within
    lines = {"ROLE": _ROLE, "OWNED": _OWNED, "WITHIN": _WITHIN, "PUBLICATION": _PUBLICATION}
    for place, query in lines.items():
        asked = asked.replace(f"__FP_{place}__", fingerprint(query))
    return _LISTED.replace("__ROWS__", asked).replace("__SAYS__", "ARRAY(SELECT said.word FROM said)")


def _is_about_a_schema(statement: Statement, part: Part) -> bool:
    """Say whether a part may be about all that is in a schema: GRANT ON a table of one is not."""
    if part.node == "ImportForeignSchemaStmt":
        return True
    try:
        (raw,) = grammar.parse(statement.slice(part))
        told = [value for each in grammar.messages(raw.node, raw.fields) for value in each.fields.values()]
    except (grammar.Unreadable, ValueError):
        return True
    return not _ALL_IN_SCHEMA.isdisjoint(value for value in told if isinstance(value, str))


def read_said(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what it is -> its fingerprint, of what the pair holds; raises KeyError, TypeError or ValueError."""
    return {f"{what} {identifier(str(name))}": str(each) for what, name, each in fields["said"] or ()}
