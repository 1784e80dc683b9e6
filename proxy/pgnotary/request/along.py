"""What goes along with what is dropped or emptied: a `Subject` enters, pieces of catalog questions leave.

TRUNCATE takes children and, under CASCADE, the tables that refer to it; DROP takes what is recorded as depending on it,
and so does ALTER TABLE under CASCADE on a column or a constraint. Not looked for is what goes along with an operator, a
cast, a collation, or all that a role owns (DROP OWNED).
Nothing here asks for a size or reads a row, so nothing waits for a lock.

Operators are spelled out, because the client's search_path is in force. Source: PostgreSQL 18, "pg_depend";
findDependentObjects() and reportDependentObjects() for what CASCADE drops.
"""

from collections.abc import Iterable

from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name
from pgnotary.request.places import filled
from pgnotary.request.subject import Subject, dropped_in, subject_of

__all__ = ["about", "along_question", "subject_along"]

# A child goes along unless ONLY is said; who refers to it goes along under TRUNCATE CASCADE, without its own children.
_TAKEN = """
WITH RECURSIVE weighed (oid, children) AS (
  SELECT pg_catalog.to_regclass(w.name)::pg_catalog.oid, w.children
  FROM pg_catalog.json_to_recordset(__RELATIONS__) AS w (name pg_catalog.text, children pg_catalog.bool)
  WHERE pg_catalog.to_regclass(w.name) IS NOT NULL
), taken (oid, how, children) AS (
  SELECT weighed.oid, 1, weighed.children FROM weighed
  UNION
  SELECT next.oid, next.how, next.children FROM taken CROSS JOIN LATERAL (
    SELECT i.inhrelid, 2, true FROM pg_catalog.pg_inherits AS i
    WHERE taken.children AND i.inhparent OPERATOR(pg_catalog.=) taken.oid
    UNION ALL
    SELECT k.conrelid, 3, false FROM pg_catalog.pg_constraint AS k
    WHERE __REFERRING__ AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) taken.oid
  ) AS next (oid, how, children)
)
""".strip()
_GONE = """
__TAKEN__, start (classid, objid, objsubid) AS (
  SELECT 1259::pg_catalog.oid, weighed.oid, 0 FROM weighed WHERE __DROPPED__
  UNION
  SELECT 2615::pg_catalog.oid, pg_catalog.to_regnamespace(w.name)::pg_catalog.oid, 0
  FROM pg_catalog.json_array_elements_text(__SCHEMAS__) AS w (name)
  WHERE pg_catalog.to_regnamespace(w.name) IS NOT NULL
  UNION
  SELECT 1247::pg_catalog.oid, pg_catalog.to_regtype(w.name)::pg_catalog.oid, 0
  FROM pg_catalog.json_array_elements_text(__TYPES__) AS w (name)
  WHERE pg_catalog.to_regtype(w.name) IS NOT NULL
  UNION
  SELECT 1255::pg_catalog.oid, p.oid, 0 FROM pg_catalog.pg_proc AS p
  WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.proname OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT w.name::pg_catalog.name FROM pg_catalog.json_array_elements_text(__ROUTINES__) AS w (name)))
  UNION
  SELECT 3079::pg_catalog.oid, e.oid, 0 FROM pg_catalog.json_array_elements_text(__EXTENSIONS__) AS w (name)
  JOIN pg_catalog.pg_extension AS e ON e.extname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
  UNION
  SELECT 1417::pg_catalog.oid, f.oid, 0 FROM pg_catalog.json_array_elements_text(__SERVERS__) AS w (name)
  JOIN pg_catalog.pg_foreign_server AS f ON f.srvname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
  UNION
  SELECT 1259::pg_catalog.oid, a.attrelid, a.attnum::pg_catalog.int4
  FROM pg_catalog.json_array_elements_text(__COLUMNS__) AS w (name) CROSS JOIN taken
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) taken.oid
    AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.>) 0
  UNION
  SELECT 2606::pg_catalog.oid, k.oid, 0
  FROM pg_catalog.json_array_elements_text(__CONSTRAINTS__) AS w (name) CROSS JOIN taken
  JOIN pg_catalog.pg_constraint AS k ON k.conrelid OPERATOR(pg_catalog.=) taken.oid
    AND k.conname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
), gone (classid, objid, objsubid, how) AS (
  SELECT start.classid, start.objid, start.objsubid, 's' FROM start
  UNION
  SELECT next.classid, next.objid, next.objsubid, next.how FROM gone CROSS JOIN LATERAL (
    SELECT d.classid, d.objid, d.objsubid, CASE WHEN d.deptype OPERATOR(pg_catalog.=) 'n' THEN 'n' ELSE 'a' END
    FROM pg_catalog.pg_depend AS d
    WHERE d.refclassid OPERATOR(pg_catalog.=) gone.classid AND d.refobjid OPERATOR(pg_catalog.=) gone.objid
    AND (gone.objsubid OPERATOR(pg_catalog.=) 0 OR d.refobjsubid OPERATOR(pg_catalog.=) gone.objsubid)
    AND d.deptype OPERATOR(pg_catalog.<>) ALL ('{p,x}'::pg_catalog."char"[])
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid, 'n' FROM pg_catalog.pg_depend AS d
    WHERE d.classid OPERATOR(pg_catalog.=) gone.classid AND d.objid OPERATOR(pg_catalog.=) gone.objid
    AND d.objsubid OPERATOR(pg_catalog.=) gone.objsubid AND d.deptype OPERATOR(pg_catalog.=) 'i'
    AND gone.how OPERATOR(pg_catalog.<>) 's'
  ) AS next (classid, objid, objsubid, how)
), along (classid, objid, objsubid) AS (
  SELECT gone.classid, gone.objid, gone.objsubid FROM gone GROUP BY gone.classid, gone.objid, gone.objsubid
  HAVING pg_catalog.bool_and(gone.how OPERATOR(pg_catalog.=) 'n')
), listed (oid, how) AS (
  SELECT each.oid, pg_catalog.min(each.how) FROM (
    SELECT taken.oid, taken.how FROM taken
    UNION ALL
    SELECT gone.objid, 4 FROM gone WHERE gone.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND gone.objsubid OPERATOR(pg_catalog.=) 0
  ) AS each GROUP BY each.oid
)
""".strip()
# Which ones they are, and not only what they are called.
_ALONG = """
__GONE__
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(x.type, x.identity, x.which)) FROM (
  SELECT i.type, i.identity, pg_catalog.format('%s %s %s', each.classid, each.objid, each.objsubid)
  FROM (
    SELECT along.classid, along.objid, along.objsubid FROM along
    UNION
    SELECT 1259::pg_catalog.oid, listed.oid, 0 FROM listed JOIN pg_catalog.pg_class AS c
      ON c.oid OPERATOR(pg_catalog.=) listed.oid
      AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m,p,f}'::pg_catalog."char"[])
  ) AS each
  CROSS JOIN LATERAL pg_catalog.pg_identify_object(each.classid, each.objid, each.objsubid) AS i
) AS x (type, identity, which)
""".strip()


def subject_along(node: str, text: bytes) -> Subject | None:
    """Return what one statement with this root is about, if what hangs on that may go with it."""
    if node not in ("DropStmt", "TruncateStmt", "AlterTableStmt"):
        return None
    subject = subject_of(text) or dropped_in(text)
    if subject is None:
        return None
    of_a_relation = subject.columns or subject.constraints
    return subject if subject.dropped or subject.emptied or subject.referring or of_a_relation else None


def along_question(subject: Subject) -> bytes:
    """Return the question what goes along: a list of [type, identity, which one]."""
    return about(subject, _ALONG)


def about(subject: Subject, question: str, **others: object) -> bytes:
    """Return a question with its places filled by what a subject is; `others` are further places, without underscores.

    __TAKEN__ stands for the queries of what is emptied, __GONE__ for those and of what is dropped.
    """
    question = question.replace("__GONE__", _GONE).replace("__TAKEN__", _TAKEN)
    for place, on in (("__REFERRING__", subject.referring), ("__DROPPED__", subject.dropped)):
        question = question.replace(place, "true" if on else "false")
    values: dict[str, object] = {
        "__RELATIONS__": _relations(subject),
        "__SCHEMAS__": _spelled((name,) for name in subject.schemas),
        "__TYPES__": _spelled(subject.types),
        "__ROUTINES__": subject.routines,
        "__EXTENSIONS__": subject.extensions,
        "__SERVERS__": subject.servers,
        "__COLUMNS__": subject.columns,
        "__CONSTRAINTS__": subject.constraints,
    }
    values |= {f"__{name.upper()}__": value for name, value in others.items()}
    return filled(question, {place: value for place, value in values.items() if place in question})


def _relations(subject: Subject) -> list[dict[str, object]]:
    named = zip(_spelled(subject.relations), subject.relations, strict=True)
    return [{"name": spelled, "children": name not in subject.alone} for spelled, name in named]


def _spelled(names: Iterable[Name]) -> list[str]:
    return [qualified(name) for name in names]
