"""The catalog of one database: which of its names run code that nobody has read, though no text shows a call.

A name enters, what it reaches leaves. PostgreSQL has many calls that no text shows: `t.f` is f(t), an operator and a
cast are functions, a view and a policy run what somebody else wrote. A `Catalog` never changes; `asked` makes one.

Source: PostgreSQL 18, "Using Composite Types in Queries", "Function Type Resolution".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.statement import Name

__all__ = ["BUILT_IN", "Catalog", "Relation"]

# No function reads a table without one of these words.
_READING = frozenset({"from", "table"})
_SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "pg_toast"})

# Of PostgreSQL 14 to 18, and by their prefixes those of all versions: what one argument is enough for.
_PREFIXES = ("pg_", "lo_", "binary_upgrade_", "dblink")
_UNREAD = frozenset(
    """
    amvalidate brin_summarize_new_values fdw_handler_in fmgr_c_validator fmgr_internal_validator fmgr_sql_validator
    gin_clean_pending_list index_am_handler_in interval_avg language_handler_in nextval path_center plpgsql_validator
    setseed table_am_handler_in ts_stat tsm_handler_in
    """.split()
)


@dataclass(frozen=True, slots=True)
class Relation:
    """What is known of a relation."""

    kind: str
    """pg_class.relkind: r table, p partitioned table, v view, m materialized view, f foreign table, S sequence..."""
    reading_calls: bool = False
    """Reading it runs what nobody has read."""
    writing_calls: bool = False
    """Writing to it runs a trigger, a rule or something that nobody has read."""
    spreads: bool = False
    """A change of its rows goes on to other tables: over foreign keys that cascade, or to children."""
    ruled: bool = False
    """It has rules, or is a view of what has: to plan a change of its rows is to plan what they do."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """What is known of a database; without any knowledge, what holds for every one."""

    known: bool = False
    callable: frozenset[str] = frozenset()
    """Names that `(x).name` may call: of functions that one argument is enough for, and of types; all unproven."""
    elsewhere: frozenset[str] = frozenset()
    """Names of functions of the database's own that are unproven."""
    added: frozenset[str] = frozenset()
    """Those of them that are in pg_catalog itself, where only a superuser puts a function."""
    bodies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names of functions of the database's own all of which are proven -> the words in their bodies."""
    polymorphic: frozenset[str] = frozenset()
    """Names of functions of the database's own that take or give anyelement and the like."""
    unifying: frozenset[str] = frozenset()
    """Names of operators of the database's own that take anyelement and the like."""
    equals: bool = False
    """There is an operator `=` of somebody's own between texts."""
    operators: frozenset[str] = frozenset()
    """Names of operators that reach what is unproven."""
    types: frozenset[str] = frozenset()
    """Names of types whose values cannot be made without it."""
    unread: frozenset[str] = frozenset()
    """Names of PostgreSQL's own functions that are not known to be harmless."""
    relations: Mapping[str, Mapping[str, Relation]] = field(default_factory=dict)
    """Name -> schema -> relation."""
    anything_casts: bool = False
    """A cast between two of PostgreSQL's own types is unproven, so any expression may run it."""
    event_triggers: bool = False
    """Making or dropping any relation runs code."""

    @property
    def proven(self) -> Collection[str]:
        """The names of functions of the database's own all of which are proven."""
        return self.bodies.keys()

    def mentions(self, function: str, names: Collection[str]) -> bool:
        """Say whether a proven function, or one that it calls, has one of these words in its body."""
        seen, waiting = {function}, [function]
        while waiting:
            words = self.bodies.get(waiting.pop(), frozenset())
            if not words.isdisjoint(names):
                return True
            waiting += (words & self.bodies.keys()) - seen
            seen |= words
        return False

    def reads_tables(self, function: str) -> bool:
        """Say whether a proven function, or one that it calls, may read tables of its own accord."""
        return self.mentions(function, _READING)

    def may_call(self, attribute: str) -> bool:
        """Say whether `(x).attribute` may be a call of something that is not known to be harmless."""
        if attribute in self.callable or attribute in _UNREAD:
            return True
        return attribute not in HARMLESS and attribute.startswith(_PREFIXES)

    def is_unread_built_in(self, function: str) -> bool:
        """Say whether PostgreSQL itself has a function of that name that is not known to be harmless."""
        return function in self.unread

    def find(self, name: Name, path: Collection[str] | None) -> tuple[tuple[Name, Relation], ...]:
        """Return the relations that a name may stand for, with their whole names: one, or none, if that is known.

        `path` are the schemas that are searched, in order; None if that is not known: then it may be each of that name.
        """
        *schema, only = name
        everywhere = self.relations.get(only, {})
        if schema:
            if (known := everywhere.get(schema[-1])) is not None:
                return (((schema[-1], only), known),)
            return ((name, Relation("r")),) if schema[-1] in _SYSTEM_SCHEMAS else ()
        if path is None:
            return tuple(((each, only), relation) for each, relation in sorted(everywhere.items()))
        first = next((each for each in path if each in everywhere), None)
        return () if first is None else (((first, only), everywhere[first]),)


BUILT_IN = Catalog()
"""What holds for every database, and all that is known without one."""
