"""The columns of relations, asked of the catalog: names enter, `Columns` leave, those of the primary key first.

Of what else the same values stand in, names are told as well: tables that a table inherits from or that inherit from
it, partitions among them; what a column is generated of, what foreign keys tie it to, and the fields of its type; all
columns that a view reads, through other views too, and the functions that it calls.

The question is ours alone: it reads pg_catalog and calls nothing else, and every operator in it is spelled out, because
the client's search_path is in force. Which columns the role may read is the server's word.

Source: PostgreSQL 18, "pg_attribute"; format_type.c for what a type is called without its length.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name
from pgnotary.request.origins import CALLED, ENDS, READ, kin_of, parts_of
from pgnotary.request.places import filled

__all__ = ["Column", "Columns", "Origin", "columns_question", "read_columns"]

# An assignment of what is too long for varchar, bpchar, bit or varbit is an error, a cast cuts it: these have no length
# here, so that nothing is cut that would not be stored, and their length stands beside them, that of a domain too.
# Which of them are inside of a type is looked for in domains, arrays and composites.
_BEHIND = parts_of("""
SELECT a.attrelid, a.attnum, a.attname, a.atttypid FROM read
JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) read.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  AND (read.number IS NULL OR a.attnum OPERATOR(pg_catalog.=) read.number)
WHERE read.oid OPERATOR(pg_catalog.<>) c.oid""")
_MADE = parts_of("SELECT a.attrelid, a.attnum, a.attname, a.atttypid")
# Of a table with a thousand partitions, what all of them generate is told once.
_QUESTION = f"""
WITH {ENDS}
SELECT pg_catalog.json_agg(pg_catalog.json_build_object('place', w.place, 'schema', n.nspname, 'name', c.relname,
  'kin', kin.names,
  'view', ({READ}, {_BEHIND}
    SELECT pg_catalog.json_build_object(
      'behind', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(b_kin.names, b.columns)) FROM (
          SELECT part.relation, pg_catalog.json_agg(part.name) AS columns FROM part
          WHERE part.relation IS NOT NULL GROUP BY part.relation) AS b
        CROSS JOIN LATERAL {kin_of("b.relation")} AS b_kin),
      'calls', pg_catalog.json_build_array((SELECT pg_catalog.json_agg(call.name) FROM call), {CALLED}),
      'of_anything', (SELECT pg_catalog.bool_or(view.of_anything) FROM view))),
  'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname, 'number', a.attnum, 'key', k.place, 'generated',
        a.attgenerated OPERATOR(pg_catalog.<>) '' OR (c.relkind OPERATOR(pg_catalog.=) 'v'
          AND NOT pg_catalog.pg_column_is_updatable(c.oid::pg_catalog.regclass, a.attnum, false)),
      'readable', pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
      'type', pg_catalog.format_type(a.atttypid, CASE
        WHEN a.atttypid OPERATOR(pg_catalog.=) ANY ('{{1042,1043,1560,1562,1014,1015,1561,1563}}'::pg_catalog.oid[])
        THEN -1 ELSE a.atttypmod END),
      'limit', (WITH RECURSIVE below (type, modifier) AS (SELECT a.atttypid, a.atttypmod
          UNION ALL SELECT y.typbasetype, y.typtypmod FROM below
          JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) below.type
            AND y.typtype OPERATOR(pg_catalog.=) 'd')
        SELECT pg_catalog.json_build_array(pg_catalog.format_type(below.type, -1), below.modifier) FROM below
        WHERE below.type OPERATOR(pg_catalog.=) ANY ('{{1042,1043,1560,1562}}'::pg_catalog.oid[])
          AND below.modifier OPERATOR(pg_catalog.>=) 0),
      'limited', (WITH RECURSIVE inside (type, modifier) AS (SELECT a.atttypid, a.atttypmod
          UNION SELECT next.type, next.modifier FROM inside
          JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) inside.type
          CROSS JOIN LATERAL (
            SELECT y.typbasetype, y.typtypmod WHERE y.typtype OPERATOR(pg_catalog.=) 'd'
            UNION ALL
            SELECT y.typelem, inside.modifier WHERE y.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
              AND y.typtype OPERATOR(pg_catalog.<>) 'd'
            UNION ALL
            SELECT f.atttypid, f.atttypmod FROM pg_catalog.pg_attribute AS f
            WHERE y.typtype OPERATOR(pg_catalog.=) 'c' AND f.attrelid OPERATOR(pg_catalog.=) y.typrelid
              AND f.attnum OPERATOR(pg_catalog.>) 0 AND NOT f.attisdropped
          ) AS next (type, modifier))
        SELECT pg_catalog.bool_or(inside.modifier OPERATOR(pg_catalog.>=) 0) FROM inside
        WHERE inside.type OPERATOR(pg_catalog.=) ANY ('{{1042,1043,1560,1562}}'::pg_catalog.oid[])),
      'made', (WITH RECURSIVE {_MADE} SELECT pg_catalog.json_build_object(
          'of', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(m_kin.names, m.columns)) FROM (
              SELECT own.relation, pg_catalog.json_agg(DISTINCT part.name) AS columns FROM part
              CROSS JOIN LATERAL (SELECT CASE WHEN part.relation OPERATOR(pg_catalog.=) ANY (kin.oids) THEN c.oid
                ELSE part.relation END) AS own (relation)
              WHERE own.relation OPERATOR(pg_catalog.<>) c.oid OR part.name OPERATOR(pg_catalog.<>) a.attname
              GROUP BY own.relation) AS m
            CROSS JOIN LATERAL {kin_of("m.relation")} AS m_kin),
          'calls', {CALLED})))
      ORDER BY k.place, a.attnum)
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN (SELECT i.place, i.number FROM pg_catalog.pg_index AS x
      CROSS JOIN LATERAL pg_catalog.unnest(x.indkey::pg_catalog.int2[]) WITH ORDINALITY AS i (number, place)
      WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid AND x.indisprimary
      AND i.place OPERATOR(pg_catalog.<=) x.indnkeyatts) AS k
      ON k.number OPERATOR(pg_catalog.=) a.attnum
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped))
  ORDER BY w.place)
FROM (SELECT pg_catalog.row_number() OVER () AS place, e.name
  FROM pg_catalog.json_array_elements_text(__NAMES__) AS e (name)) AS w
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(w.name)::pg_catalog.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL {kin_of("c.oid")} AS kin
""".strip()  # noqa: S608  # of pieces of ours


Origin = tuple[tuple[Name, ...], tuple[str, ...]]
"""Columns, and all relations that they stand in under these names."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column."""

    name: str
    type: str
    """As the server spells it, without a length that a cast would cut to."""
    number: int = 0
    """Its place in the table; numbers of dropped columns are left out."""
    key: bool = False
    """It is part of the primary key."""
    readable: bool = True
    """The role may read it."""
    generated: bool = False
    """It is made of other columns, as a view's may be."""
    made: tuple[Origin, ...] = ()
    """What its values are made of: columns that it is generated of, or that foreign keys tie it to, and fields of its
    type, however deep."""
    calls: tuple[str, ...] = ()
    """Names of functions that it is generated by."""
    limit: tuple[str, int] | None = None
    """Of what has a length that a cast would cut to: the type under its domains, and its modifier."""
    limited: bool = False
    """Somewhere in its type is such a length."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a relation, those of its primary key first."""

    relation: Name
    """Its whole name."""
    columns: tuple[Column, ...]
    kin: tuple[Name, ...] = ()
    """Relations that the same rows may stand in, under the same names of columns."""
    behind: tuple[Origin, ...] = ()
    """Columns of other relations that a view reads, and what those are made of."""
    calls: tuple[str, ...] = ()
    """Names of functions that a view calls."""
    is_of_anything: bool = False
    """It is a view of what has values of any table: of PostgreSQL's statistics."""

    @property
    def as_declared(self) -> tuple[Column, ...]:
        """The columns in the order of `SELECT *`."""
        return tuple(sorted(self.columns, key=lambda column: column.number))


def columns_question(names: Iterable[Name]) -> bytes:
    """Return the question about relations, by names as they are spelled."""
    return filled(_QUESTION, {"__NAMES__": [qualified(name) for name in names]})


def read_columns(answer: str, names: Iterable[Name]) -> dict[Name, Columns]:
    """Return the columns by the names that were asked for, without those that nothing has.

    Raises ValueError if the answer has not the shape that was asked for.
    """
    asked = list(names)
    try:
        return {asked[int(each["place"]) - 1]: _columns(each) for each in json.loads(answer or "null") or ()}
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the columns have not the shape that was asked for: {error}") from error


def _columns(fields: Any) -> Columns:
    relation, view = _name(fields["schema"], fields["name"]), fields["view"]
    kin = tuple(_name(*each) for each in fields["kin"] or ())
    return Columns(
        relation,
        tuple(map(_column, fields["columns"] or ())),
        tuple(each for each in kin if each != relation),
        _origins(view["behind"]),
        tuple(str(name) for names in view["calls"] for name in names or ()),
        bool(view["of_anything"]),
    )


def _column(fields: Any) -> Column:
    return Column(
        name=str(fields["name"]),
        type=str(fields["type"]),
        number=int(fields["number"]),
        key=fields["key"] is not None,
        readable=bool(fields["readable"]),
        generated=bool(fields["generated"]),
        made=_origins(fields["made"]["of"]),
        calls=tuple(map(str, fields["made"]["calls"] or ())),
        limit=(str(fields["limit"][0]), int(fields["limit"][1])) if fields["limit"] else None,
        limited=bool(fields["limited"]),
    )


def _origins(found: Any) -> tuple[Origin, ...]:
    return tuple((tuple(_name(*name) for name in names), tuple(map(str, columns))) for names, columns in found or ())


def _name(schema: object, name: object) -> Name:
    return str(schema), str(name)
