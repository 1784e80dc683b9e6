"""The bodies of a database's own functions: which of them are proven to change nothing, by reading their words.

Own functions enter as the catalog has them; the oids of those that nobody may trust leave. A function written in C is
known by its volatility if it belongs to an extension, since only a superuser can have made it. Of one in SQL or
PL/pgSQL that says it is not VOLATILE, each word is looked at: a word that writes, that builds SQL from text, or that
names anything not proven (a function, a view, a foreign table) makes it unproven. A name is compared as a word wherever
it stands, so no search_path can make it mean something else; what is unproven can only grow by that.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from pgnotary.judge.grammar import Unreadable, scan
from pgnotary.judge.harmless_functions import HARMLESS, NAMING_TYPES, POPULATING

__all__ = ["OwnFunction", "unproven", "words_of"]

# refcursor and fetch: a cursor of the caller's gives rows of types that nobody names.
_WRITE_WORDS = frozenset(
    """
    alter analyze call checkpoint cluster comment commit copy create deallocate delete discard do drop execute grant
    import insert listen load lock merge notify prepare reassign refcursor refresh reindex release reset revoke
    rollback savepoint security set share truncate unlisten update vacuum
    """.split()
)
# In SQL, FETCH FIRST is a limit; in PL/pgSQL it may give rows of a cursor of the caller's.
_WRITE_WORDS_OF_PLPGSQL = _WRITE_WORDS | {"fetch"}
_READ_LANGUAGES = frozenset({"sql", "plpgsql"})
_MADE_BY_THE_SERVER = frozenset(
    """
    aggregate_dummy multirange_constructor0 multirange_constructor1 multirange_constructor2 range_constructor2
    range_constructor3
    """.split()
)
# What a text or an argument names the type of is judged by the name that it has in pg_catalog.
_HARMLESS_ALIASED = (HARMLESS - NAMING_TYPES - POPULATING) | {"textrecv"}
_TRUSTED_SETTING = "search_path="
_LITERALS = frozenset({"SCONST", "BCONST", "XCONST", "ICONST", "FCONST", "PARAM"})
# They say that they are STABLE, and run the text that they are given.
_RUN_TEXT = frozenset({"connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4", "xpath_table"})


_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
# Operators that a body calls without writing them, by the words that call them.
_UNSAID: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset({"!="}), frozenset({"<>"})),
    (
        frozenset(
            """
            all any between by case cycle distinct except greatest in intersect join least nullif some union using
            window
            """.split()
        ),
        _COMPARISONS,
    ),
    (frozenset({"like"}), frozenset({"~~", "!~~"})),
    (frozenset({"ilike"}), frozenset({"~~*", "!~~*"})),
    (frozenset({"similar"}), frozenset({"~", "!~"})),
)
_NAME_BYTES = 63
"""PostgreSQL cuts longer names: NAMEDATALEN - 1."""


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """A function that is not PostgreSQL's own."""

    oid: int
    schema: str
    name: str
    volatility: str
    """i, s or v."""
    language: str
    one_argument: bool
    """One argument is enough to call it."""
    source: str | None
    """Its body, or the name in pg_catalog of what an internal one is; None if that is too long, or need not be read."""
    settings: tuple[str, ...] = ()
    """What it sets while it runs, as name=value."""
    extension: str = ""
    """The extension that it belongs to."""
    polymorphic: bool = False
    """It takes or gives anyelement and the like."""


# Of what volatile functions of PostgreSQL's own extensions do, these were read, and change nothing.
_HARMLESS_OF_EXTENSIONS = {
    "pg_stat_statements": {"pg_stat_statements", "pg_stat_statements_info"},
    "pg_buffercache": {"pg_buffercache_pages", "pg_buffercache_summary", "pg_buffercache_usage_counts"},
    "pg_freespacemap": {"pg_freespace"},
    "pgcrypto": {"gen_random_bytes", "gen_random_uuid", "gen_salt", "pgp_sym_encrypt", "pgp_sym_encrypt_bytea",
                 "pgp_pub_encrypt", "pgp_pub_encrypt_bytea"},
    "pgrowlocks": {"pgrowlocks"},
    "pgstattuple": {"pg_relpages", "pgstatginindex", "pgstathashindex", "pgstatindex", "pgstattuple",
                    "pgstattuple_approx"},
    "tablefunc": {"normal_rand"},
    "uuid-ossp": {"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4"},
}  # fmt: skip


def unproven(
    functions: Iterable[OwnFunction], words: Collection[str], known: Collection[int] = frozenset()
) -> set[int]:
    """Return the oids of the functions that may change something.

    `words` name what a body must not mention: views, foreign tables, PostgreSQL's own functions that are not on the
    list of harmless ones; `known` are oids of what is unproven for other reasons.
    """
    candidates: dict[int, tuple[OwnFunction, frozenset[str]]] = {}
    found: set[int] = set()
    bad_names: set[str] = set(words)
    for function in functions:
        if function.oid not in known and _is_known(function):
            continue
        body = words_of(function) if function.oid not in known else None
        if body is None:
            found.add(function.oid)
            bad_names.add(function.name)
        else:
            candidates[function.oid] = (function, body)
    # Until nothing more is found: a function that calls an unproven one is unproven.
    while bad := [oid for oid, (_, body) in candidates.items() if not bad_names.isdisjoint(body)]:
        for oid in bad:
            function, _ = candidates.pop(oid)
            found.add(oid)
            bad_names.add(function.name)
    return found


def _is_known(function: OwnFunction) -> bool:
    if function.language == "c" and function.name in _HARMLESS_OF_EXTENSIONS.get(function.extension, ()):
        return True
    if function.volatility == "v":
        return False
    if function.language == "internal":
        # Another name for a function of PostgreSQL's own; an aggregate is known by what it is made of.
        return function.source in _HARMLESS_ALIASED or function.source in _MADE_BY_THE_SERVER
    return function.language == "c" and bool(function.extension) and function.name not in _RUN_TEXT


# A body has at most 10,000 characters: 20 MB at the worst.
@lru_cache(maxsize=2_000)
def words_of(function: OwnFunction) -> frozenset[str] | None:
    """Return the names that a body may call, or None if it cannot be trusted whatever they mean."""
    if function.volatility == "v" or function.language not in _READ_LANGUAGES or function.source is None:
        return None
    if not all(setting.lower().startswith(_TRUSTED_SETTING) for setting in function.settings):
        return None
    source = function.source.encode()
    try:
        tokens = [token for token in scan(source) if token.name not in ("C_COMMENT", "SQL_COMMENT")]
    except Unreadable:
        return None
    found = set()
    for token in tokens:
        if token.name in ("UIDENT", "USCONST"):
            return None
        word = source[token.start : token.end]
        if word.startswith(b'"'):
            found.add(_clipped(word[1:-1].replace(b'""', b'"')))
        elif token.name not in _LITERALS:
            # bytes.lower() folds ASCII alone, as PostgreSQL does where a character has several bytes.
            found.add(_clipped(word.lower()))
    for said, unsaid in _UNSAID:
        if not said.isdisjoint(found):
            found |= unsaid
    bad = _WRITE_WORDS_OF_PLPGSQL if function.language == "plpgsql" else _WRITE_WORDS
    return None if not bad.isdisjoint(found) else frozenset(found)


def _clipped(word: bytes) -> str:
    """Return a word as long as a name may be, cut where a character ends."""
    return word[:_NAME_BYTES].decode(errors="ignore")
