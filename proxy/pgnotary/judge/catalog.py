"""What of a database's catalog a text cannot show: names that call code without looking like a call to it.

The names of a database's functions enter, a `Catalog` leaves; a name in a text then enters, and whether it may call
what nobody has read leaves. `(x).f` and `t.f` are calls of f for PostgreSQL where x and t have no such column, whatever
their type, and `f(x)` is a call of a function outside pg_catalog where its arguments fit that better. What lies behind
operators, casts and views is left to the server's read-only wall, for now.

Source: PostgreSQL 18, "Using Composite Types in Queries", "Function Type Resolution".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pgnotary.judge.harmless_functions import HARMLESS

__all__ = ["BUILT_IN", "QUESTION", "Catalog", "read_catalog"]

# Every function that one argument is enough for, and is neither in pg_catalog (11) nor known by its language and
# volatility to change nothing; whoever made one in C was a superuser. Operators are those of pg_catalog whatever the
# search_path, since they fit exactly.
QUESTION = """
SELECT pg_catalog.json_agg(DISTINCT p.proname) FILTER (
         WHERE p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1),
       pg_catalog.json_agg(DISTINCT p.proname) FILTER (WHERE p.pronamespace <> 11::pg_catalog.oid),
       pg_catalog.current_setting('transaction_isolation')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 11::pg_catalog.oid OR p.provolatile = 'v' OR l.lanname <> ALL ('{internal,c}'::pg_catalog.name[])
"""

# Of PostgreSQL 15 and 18, and by their prefixes those of all versions: what one argument is enough for.
_PREFIXES = ("pg_", "lo_", "binary_upgrade_", "dblink")
_UNREAD = frozenset(
    """
    amvalidate brin_summarize_new_values fdw_handler_in fmgr_c_validator fmgr_internal_validator fmgr_sql_validator
    gin_clean_pending_list index_am_handler_in interval_avg language_handler_in nextval plpgsql_validator setseed
    table_am_handler_in ts_stat tsm_handler_in
    """.split()
)


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is known of a database's functions; without any knowledge, those that every database has."""

    callable: frozenset[str] = frozenset()
    """Names of functions that one argument is enough for, and that nobody has read."""
    elsewhere: frozenset[str] = frozenset()
    """Names of functions outside pg_catalog that nobody has read."""

    def may_call(self, attribute: str) -> bool:
        """Say whether `(x).attribute` may be a call of something that is not known to be harmless."""
        if attribute in self.callable or attribute in _UNREAD:
            return True
        return attribute not in HARMLESS and attribute.startswith(_PREFIXES)

    def is_ambiguous(self, function: str) -> bool:
        """Say whether `function(...)`, a harmless built-in name, may be one outside pg_catalog as well."""
        return function in self.elsewhere


BUILT_IN = Catalog()
"""What holds for every database, and all that is known without one."""


@lru_cache(maxsize=256)
def read_catalog(one_argument: str | None, elsewhere: str | None) -> Catalog:
    """Return the catalog that the answer to QUESTION tells; the same answer gives the same object.

    Raises ValueError if it is not two JSON lists of names.
    """
    outside = _names(elsewhere)
    return Catalog(frozenset(_names(one_argument) - (HARMLESS - outside)), frozenset(outside))


def _names(text: str | None) -> frozenset[str]:
    names: Sequence[object] = json.loads(text or "[]")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the catalog's answer is not a list of names")
    return frozenset(map(str, names))
