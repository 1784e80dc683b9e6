"""The guards that stop evasions which only a catalog shows, and how to take each of them down.

The name of a guard enters, as a family gives it behind the word `catalog`; what leaves is a judge that asks a database
one thing less, or makes less of an answer, for the time of one test. Most of a family passes then, and nothing of it
passes before: the database is asked anew both times.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pgnotary.judge import asked, bodies, meaning, naming
from pgnotary.judge.asked import Functions
from pgnotary.judge.bodies import OwnFunction
from pgnotary.judge.catalog import Catalog, Relation
from pgnotary.judge.scope import Scope, Temporary
from pgnotary.judge.statement import Name

__all__ = ["CATALOG_GUARDS", "take_down"]

Takedown = Callable[[pytest.MonkeyPatch], None]


def take_down(patch: pytest.MonkeyPatch, guard: str) -> None:
    """Put a judge without that guard in the place of the judge."""
    CATALOG_GUARDS[guard.removeprefix("catalog ")](patch)


# --- what is asked


def _unasked(*changes: tuple[str, str]) -> Takedown:
    """Change words of the second question; each must be there, or the guard has another place now."""

    def down(patch: pytest.MonkeyPatch) -> None:
        question = asked._REACH
        for asks, asks_no_more in changes:
            assert asks in question, f"the question has no {asks!r} any more"
            question = question.replace(asks, asks_no_more)
        patch.setattr(asked, "_REACH", question)

    return down


def _arm(condition: str) -> Takedown:
    """Leave out the arm of the question that is under a condition."""
    return _unasked((f"WHERE {condition}", "WHERE false"))


def _objects(of: str, kind: str) -> Takedown:
    """Leave out the objects of one kind that depend on those of another."""
    listed = re.search(rf"WHEN {of} THEN '(\S+?)'", asked._REACH)
    assert listed is not None
    fewer = re.sub(rf"\b{kind},|,{kind}\b", "", listed[1])
    assert fewer != listed[1]
    return _unasked((listed[0], listed[0].replace(listed[1], fewer)))


def _bodies(patch: pytest.MonkeyPatch) -> None:
    """Take a function at its word if it says IMMUTABLE or STABLE."""
    honest = bodies._is_known

    def is_known(function: OwnFunction) -> bool:
        return function.volatility != "v" or honest(function)

    patch.setattr(bodies, "_is_known", is_known)


def _built_in_functions(patch: pytest.MonkeyPatch) -> None:
    """Look for calls of the database's own functions alone."""

    def functions(**answers: Any) -> Functions:
        return Functions(**{**answers, "built_in": (0,)})

    patch.setattr(asked, "Functions", functions)


# --- what is made of the answers


def _forgotten(field: str) -> Takedown:
    """Keep nothing in one field of the catalog."""

    def down(patch: pytest.MonkeyPatch) -> None:
        def catalog(**known: Any) -> Catalog:
            assert field in known
            return Catalog(**{**known, field: frozenset()})

        patch.setattr(asked, "Catalog", catalog)

    return down


def _foreign_tables(patch: pytest.MonkeyPatch) -> None:
    """Take a foreign table for one of this server."""
    honest = asked._relation

    def relation(kind: str, *calls: bool) -> Relation:
        return honest("r" if kind == "f" else kind, *calls)

    patch.setattr(asked, "_relation", relation)
    _arm("c.relkind = 'f'")(patch)


def _temporary_relations(patch: pytest.MonkeyPatch) -> None:
    honest = Scope.temporary_kind

    def temporary_kind(scope: Scope, name: Name) -> Temporary | None:
        return honest(replace(scope, odd_temporary=frozenset(), temporary_views=frozenset()), name)

    patch.setattr(Scope, "temporary_kind", temporary_kind)


def _search_path(patch: pytest.MonkeyPatch) -> None:
    """Look for relations where they usually are."""
    honest = Catalog.find

    def find(catalog: Catalog, name: Name, path: object) -> tuple[tuple[Name, Relation], ...]:
        return honest(catalog, name, ("pg_catalog", "public"))

    patch.setattr(Catalog, "find", find)


def _plain_tables(patch: pytest.MonkeyPatch) -> None:
    """Take a view for a table to write to."""
    patch.setattr(meaning, "_OWN_KINDS", meaning._OWN_KINDS | {"v"})


def _types_named_in_strings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(naming, "NAMING_TYPES", frozenset())


def _constructs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(naming, "_CONSTRUCTS", {})
    patch.setattr(naming, "_QUERY_CONSTRUCTS", dict.fromkeys(naming._QUERY_CONSTRUCTS, ""))


CATALOG_GUARDS: Mapping[str, Takedown] = {
    "bodies": _bodies,
    "built-in functions": _built_in_functions,
    "columns of types": _unasked(("AND d.objsubid > 0", "AND false")),
    "constraints": _arm("r.class = 2606"),
    "constructs": _constructs,
    "expressions of tables": _unasked(
        ("WHERE r.class = 2606", "WHERE false"),
        ("WHERE r.class = 2604", "WHERE false"),
        ("d.classid = 1259::pg_catalog.oid AND d.objsubid = 0", "false"),
    ),
    "foreign tables": _foreign_tables,
    "functions of functions": _objects("1255", "1255"),
    "functions of one argument": _forgotten("callable"),
    "namesakes of built-in functions": _forgotten("elsewhere"),
    "operator classes": _unasked(("WHERE r.class = 2602", "WHERE false"), ("WHERE r.class = 2603", "WHERE false")),
    "operators": _forgotten("operators"),
    "operators of functions": _objects("1255", "2617"),
    "plain tables": _plain_tables,
    "policies": _arm("r.class = 3256"),
    "rules": _arm("r.class = 2618"),
    "rules of writes": _unasked(("r.rulename <> '_RETURN' OR", "false OR")),
    "search_path": _search_path,
    "temporary relations": _temporary_relations,
    "triggers": _arm("NOT t.tgisinternal OR t.tgfoid >= 16384::pg_catalog.oid"),
    "types": _forgotten("types"),
    "types named in strings": _types_named_in_strings,
    "types of casts": _arm("r.class = 2605"),
    "views over relations": _objects("1259", "2618"),
}
"""Named for what is known by them."""
