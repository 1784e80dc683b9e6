"""What stands around the relations that a statement reaches, as pieces of a catalog question: roles, servers and more.

Nothing enters; SQL leaves, over the lists that `reached` names. Of a server of foreign tables and its wrapper, their
options; of the user mappings there, which ones they are, and the options of one's own, which PostgreSQL shows nobody
else; of an enumeration, its labels; collations, text search configurations with their dictionaries, and classes of
operators. Where row security, a view or a function may ask who somebody is: the attributes of the role and of whoever
owns what is reached, and what they are members of. An option may be a secret: but for a fingerprint it never leaves.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "System Catalogs".
"""

from collections.abc import Callable, Mapping
from typing import Any

from pgnotary.judge.identifiers import identifier

__all__ = ["around_question", "read_around"]

_DEFINED = """
SELECT x.objid::pg_catalog.text
UNION ALL
SELECT (pg_catalog.to_jsonb(f) OPERATOR(pg_catalog.-) 'srvacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_foreign_server AS f
WHERE x.classid OPERATOR(pg_catalog.=) 1417::pg_catalog.oid AND f.oid OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT (pg_catalog.to_jsonb(f) OPERATOR(pg_catalog.-) 'fdwacl'::pg_catalog.text)::pg_catalog.text
FROM pg_catalog.pg_foreign_data_wrapper AS f
WHERE x.classid OPERATOR(pg_catalog.=) 2328::pg_catalog.oid AND f.oid OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_enum AS f
WHERE x.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND f.enumtypid OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_ts_config_map AS f
WHERE x.classid OPERATOR(pg_catalog.=) 3602::pg_catalog.oid AND f.mapcfg OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_ts_dict AS f
WHERE x.classid OPERATOR(pg_catalog.=) 3600::pg_catalog.oid AND f.oid OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_amproc AS f
WHERE x.classid OPERATOR(pg_catalog.=) 2753::pg_catalog.oid AND f.amprocfamily OPERATOR(pg_catalog.=) x.objid
UNION ALL
SELECT pg_catalog.to_jsonb(f)::pg_catalog.text FROM pg_catalog.pg_amop AS f
WHERE x.classid OPERATOR(pg_catalog.=) 2753::pg_catalog.oid AND f.amopfamily OPERATOR(pg_catalog.=) x.objid"""
_MAPPED = """
SELECT pg_catalog.json_build_array(m.umid::pg_catalog.int8, m.umuser::pg_catalog.int8, m.umoptions)::pg_catalog.text
FROM pg_catalog.pg_user_mappings AS m WHERE m.srvid OPERATOR(pg_catalog.=) f.oid"""
_ATTRIBUTES = """
SELECT pg_catalog.json_build_array(r.oid::pg_catalog.int8, r.rolsuper, r.rolinherit, r.rolbypassrls,
  r.rolcreaterole, r.rolcreatedb, r.rolreplication)::pg_catalog.text"""
# A superuser is a member of all roles, of each that somebody makes, too.
_MEMBER_OF = """
SELECT DISTINCT pg_catalog.json_build_array(m.roleid::pg_catalog.int8,
  pg_catalog.pg_has_role(r.oid, m.roleid, 'USAGE'))::pg_catalog.text
FROM pg_catalog.pg_auth_members AS m WHERE NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, m.roleid, 'MEMBER')"""
_AROUND = """
'around', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(i.type, i.identity, __DEFINED__)) FROM (
    SELECT DISTINCT reached.classid, reached.objid FROM reached
    WHERE reached.classid OPERATOR(pg_catalog.=) ANY ('{1417,2328,2616,2753,3456,3600,3602}'::pg_catalog.oid[])
    OR reached.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND EXISTS (SELECT FROM pg_catalog.pg_enum AS f
      WHERE f.enumtypid OPERATOR(pg_catalog.=) reached.objid)
  ) AS x CROSS JOIN LATERAL pg_catalog.pg_identify_object(x.classid, x.objid, 0) AS i),
'mappings', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(f.srvname, __MAPPED__))
  FROM pg_catalog.pg_foreign_server AS f WHERE f.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT reached.objid FROM reached WHERE reached.classid OPERATOR(pg_catalog.=) 1417::pg_catalog.oid))),
'roles', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(r.rolname, __ATTRIBUTES__, __MEMBER_OF__))
  FROM pg_catalog.pg_roles AS r WHERE (__ASKS__ OR EXISTS (SELECT FROM tree
      JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid
      WHERE c.relrowsecurity OR c.relkind OPERATOR(pg_catalog.=) 'v')
    OR EXISTS (SELECT FROM reached WHERE reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid))
  AND (r.rolname OPERATOR(pg_catalog.=) CURRENT_USER OR r.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT c.relowner FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid
    UNION SELECT p.proowner FROM reached JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) reached.objid
    WHERE reached.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND p.prosecdef)))),
'usual', CASE WHEN __SEARCHES__ THEN pg_catalog.current_setting('default_text_search_config') END""".strip()


def around_question(fingerprint: Callable[[str], str]) -> str:
    """Return pairs of a JSON object; `fingerprint` makes an expression of a query of lines.

    Its places: __ASKS__, whether the text itself asks who somebody is, and __SEARCHES__, whether it searches texts.
    """
    lines = {
        "__DEFINED__": _DEFINED,
        "__MAPPED__": _MAPPED,
        "__ATTRIBUTES__": _ATTRIBUTES,
        "__MEMBER_OF__": _MEMBER_OF,
    }
    asked = _AROUND
    for place, query in lines.items():
        asked = asked.replace(place, fingerprint(query))
    return asked


def read_around(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what it is -> its fingerprint, of what the pairs hold; raises KeyError, TypeError or ValueError."""
    found: dict[str, str] = {}
    for kind, identity, each in fields["around"] or ():
        found[f"the labels of {identity}" if kind == "type" else f"the {kind} {identity}"] = str(each)
    found |= {f"the user mappings of {identifier(str(name))}": str(each) for name, each in fields["mappings"] or ()}
    for name, attributes, memberships in fields["roles"] or ():
        found[f"attributes of the role {identifier(str(name))}"] = str(attributes)
        found[f"memberships of the role {identifier(str(name))}"] = str(memberships)
    if fields["usual"] is not None:
        found["default_text_search_config"] = str(fields["usual"])
    return found
