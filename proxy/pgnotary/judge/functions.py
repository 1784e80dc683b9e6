"""Built-in functions with effects that policy knows by name.

A function's name enters, a `Qualifier` leaves; None for all others. That a name is one of these says nothing about what
else the database has under that name: `meaning` asks its catalog.
"""

from collections.abc import Mapping

from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.statement import Name, Qualifier

__all__ = ["built_in", "is_built_in_type", "is_harmless_built_in", "is_of_information_schema", "qualifier_of"]

_KNOWN: Mapping[str, Qualifier] = {
    "nextval": Qualifier.SEQUENCE,
    "pg_notify": Qualifier.NOTIFY,
    **dict.fromkeys(
        (
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_advisory_unlock",
            "pg_advisory_unlock_all",
            "pg_advisory_unlock_shared",
            "pg_advisory_xact_lock",
            "pg_advisory_xact_lock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
            "pg_try_advisory_xact_lock",
            "pg_try_advisory_xact_lock_shared",
        ),
        Qualifier.ADVISORY_LOCK,
    ),
}
# Functions in SQL that say IMMUTABLE; who may replace them owns the whole cluster.
_OF_INFORMATION_SCHEMA = frozenset(
    """
    _pg_char_max_length _pg_char_octet_length _pg_datetime_precision _pg_expandarray _pg_index_position
    _pg_interval_type _pg_numeric_precision _pg_numeric_precision_radix _pg_numeric_scale _pg_truetypid _pg_truetypmod
    """.split()
)
_TYPES = frozenset(
    """
    aclitem bit bool box bpchar bytea cid cidr circle date datemultirange daterange float4 float8 inet int2 int4
    int4multirange int4range int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8 money
    name numeric nummultirange numrange oid path pg_lsn point polygon regclass regcollation regconfig regdictionary
    regnamespace regoper regoperator regproc regprocedure regrole regtype text tid time timestamp timestamptz timetz
    tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector uuid varbit varchar xid xid8 xml
    """.split()
)
_BY_STRUCTURE = "set_config"
"""Judged with its arguments, in `harmless`."""


def built_in(name: Name) -> str | None:
    """Return the name under which pg_catalog may have the function, or None if it cannot be one of pg_catalog's."""
    match name:
        case (only,) | ("pg_catalog", only):
            return only
        case _:
            return None


def is_of_information_schema(name: Name) -> bool:
    """Say whether a name is that of a function of PostgreSQL's own in the schema information_schema."""
    return len(name) == 2 and name[0] == "information_schema" and name[1] in _OF_INFORMATION_SCHEMA


def is_harmless_built_in(name: str) -> bool:
    """Say whether a function of pg_catalog is known to change nothing, or is judged elsewhere."""
    return name in HARMLESS or name == _BY_STRUCTURE


def is_built_in_type(name: str) -> bool:
    """Say whether `name(x)` is a cast to one of PostgreSQL's own types, where it is no call of a function."""
    return name in _TYPES


def qualifier_of(name: str) -> Qualifier | None:
    """Return what a function of pg_catalog does, if policy has a word for it."""
    return _KNOWN.get(name)
