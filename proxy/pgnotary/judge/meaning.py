"""What the names in a text mean, in one database and one session.

A read `Statement`, a `Catalog` and a `Scope` enter; the same statement with more findings leaves. A finding is added,
never taken away, but for two: a change of nothing but the session's own temporary tables is `temp` instead of `write`,
and what EXECUTE or FETCH runs is known once its text is. A function is known by its name wherever a function of that
name is, so no search_path changes what a call means here; a relation is looked up as PostgreSQL does, by the schemas
that are searched.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.functions import (
    built_in,
    is_built_in_type,
    is_harmless_built_in,
    is_of_information_schema,
    qualifier_of,
)
from pgnotary.judge.identifiers import identifier, qualified
from pgnotary.judge.scope import TEMP, UNSCOPED, Scope, Temporary
from pgnotary.judge.statement import ONLY_A_NAME, Finding, Name, Names, Part, Qualifier, Statement, StatementClass

__all__ = ["weigh", "weigh_run"]

# Ways to change a relation that leave nothing else changed, if it is one of the session's own temporary tables.
_ON_TEMPORARY = frozenset(
    "InsertStmt UpdateStmt DeleteStmt MergeStmt CopyStmt TruncateStmt DropStmt IndexStmt SelectStmt".split()
)
_QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_CHANGES = frozenset({Qualifier.WRITE, Qualifier.UNCONDITIONAL})
_SETTINGS = "pg_settings"
_SPREADING = frozenset({StatementClass.UPDATE, StatementClass.DELETE, StatementClass.MERGE})
_OWN_KINDS = frozenset({"r", "p"})


def weigh(statement: Statement, catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Statement:
    """Return the statement with what its names add to it in that database and session."""
    parts = []
    for part in statement.parts:
        parts.append(_weigh(part, catalog, scope))
        scope = scope.behind(parts[-1])
    return replace(statement, parts=tuple(parts))


def _weigh(part: Part, catalog: Catalog, scope: Scope) -> Part:
    if part.control is not None or part.kind is StatementClass.UNKNOWN:
        return part
    names = _with_temporary_views(part.names, scope)
    calls = (*_calls(replace(part, names=names), catalog, scope), *_calls_of_temporary(names, catalog, scope))
    reads = tuple(_reads(names, catalog, scope))
    planned = tuple(_planned(part, catalog, scope))
    changes = tuple(_changes(part, catalog, scope))
    own = part.findings
    if _only_temporary(part, catalog, scope):
        own = (
            *(each for each in own if each.qualifier not in _CHANGES),
            Finding(Qualifier.TEMP, "changes a temporary table"),
        )
    found = dict.fromkeys((*own, *calls, *reads, *changes, *(planned if part.node == "ExplainStmt" else ())))
    if Qualifier.TEMP in part.qualifiers and catalog.event_triggers:
        found[_seen(Qualifier.CODE, "makes a relation, which fires an event trigger")] = None
    part = replace(
        part,
        findings=tuple(found),
        planning=(*part.planning, *calls, *reads, *planned),
        resolved=_resolved((*part.targets, *part.others, *sorted(part.names.relations)), catalog, scope),
        resolved_targets=_resolved(part.targets, catalog, scope),
    )
    if part.with_hold and (found or not catalog.known):
        part = replace(
            part, findings=(*part.findings, Finding(Qualifier.WITH_HOLD, "is WITH HOLD over what is not proven"))
        )
    if part.countable and not _are_tables(part.targets, catalog, scope):
        part = replace(part, countable=False)
    return part


def _are_tables(names: Iterable[Name], catalog: Catalog, scope: Scope) -> bool:
    """Say whether these are ordinary or partitioned tables, whose rows the server counts, as far as is known."""
    for name in names:
        own = scope.temporary_kind(name)
        found = catalog.find(name, scope.path)
        if own is Temporary.VIEW or (catalog.known and not found and not own):
            return False
        if not all(relation.kind in _OWN_KINDS and _is_ones_own(whole) for whole, relation in found):
            return False
    return True


def _with_temporary_views(names: Names, scope: Scope) -> Names:
    """Return the names with those that the temporary views among them stand for."""
    views, waiting = dict(scope.temporary_views), list(names.relations)
    while waiting:
        name = waiting.pop()
        view = views.pop(name[-1], None) if scope.temporary_kind(name) is Temporary.VIEW else None
        if view is not None:
            waiting += view.relations
            names = replace(
                names,
                relations=names.relations | view.relations,
                functions=names.functions | view.functions,
                operators=names.operators | view.operators,
                types=names.types | view.types,
                typed_by_text=names.typed_by_text or view.typed_by_text,
                of_any_type=names.of_any_type or view.of_any_type,
                makes_json=names.makes_json or view.makes_json,
                unifies=names.unifies or view.unifies,
            )
    return names


def weigh_run(part: Part, texts: Mapping[tuple[str, bool], Statement]) -> Part:
    """Return EXECUTE or FETCH with the findings of what its names stand for, instead of the doubt about them.

    `texts` are weighed statements, one for each of the part's names that the server knows.
    """
    found = [each for each in part.findings if each != ONLY_A_NAME]
    runs, changes, targets, on_conflict = None, part.changes, dict.fromkeys(part.resolved_targets), part.on_conflict
    run: list[Names] = []
    for key in part.prepared:
        statement = texts.get(key)
        inner = _named(statement, key[0]) if statement is not None else None
        if inner is None:
            return part
        if not _is_query(inner, *key):
            return replace(part, runs_no_query=identifier(key[0]))
        runs = runs or inner.runs or inner.kind
        changes |= inner.changes
        targets |= dict.fromkeys(inner.resolved_targets)
        on_conflict |= inner.on_conflict
        run += [inner.names, *inner.run]
        found += [Finding(each.qualifier, f"runs {identifier(key[0])}, which {each.reason}") for each in inner.findings]
    return replace(
        part,
        findings=tuple(dict.fromkeys(found)),
        runs=runs,
        changes=changes,
        resolved_targets=tuple(targets),
        on_conflict=on_conflict,
        run=tuple(run),
    )


def _is_query(part: Part, name: str, is_cursor: bool) -> bool:  # noqa: FBT001  # a key
    """Say whether PREPARE or DECLARE could have made what stands behind a name; a Parse makes it of any text."""
    if part.node == ("DeclareCursorStmt" if is_cursor else "PrepareStmt"):
        return part.defines == name
    return (part.node in _QUERIES and part.setting is None) or part.kind is StatementClass.EMPTY


def _named(statement: Statement, name: str) -> Part | None:
    """Return the part behind a name: PREPARE and DECLARE keep the whole text of their message."""
    if len(statement.parts) == 1:
        return statement.parts[0]
    found = [part for part in statement.parts if part.defines == name]
    return found[0] if len(found) == 1 else None


def _seen(qualifier: Qualifier, reason: str) -> Finding:
    return Finding(qualifier, reason, "catalog")


# --- calls ------------------------------------------------------------------------------------------------------------


def _calls(part: Part, catalog: Catalog, scope: Scope) -> Iterator[Finding]:
    """Yield what the part calls that nobody has read, or that policy has a word for."""
    names = part.names
    for name in sorted(names.functions):
        if (found := _call(name, catalog)) is not None:
            yield found
    for construct in sorted(names.constructs & catalog.elsewhere):
        yield _seen(Qualifier.FUNCTION, f"has {construct}(), and the database has a function of that name")
    for attribute in sorted(names.attributes):
        if catalog.may_call(attribute):
            yield _seen(
                Qualifier.FUNCTION, f"selects the attribute {attribute}, which may be a call of a function of that name"
            )
    for name in sorted(names.operators):
        if name and name[-1] in catalog.operators:
            yield _seen(Qualifier.FUNCTION, f"uses the operator {name[-1]}, which calls what nobody has read")
    for name in sorted(names.types):
        if name and name[-1] in catalog.types:
            yield _seen(
                Qualifier.FUNCTION,
                f"makes a value of the type {identifier(name[-1])}, which calls what nobody has read",
            )
    polymorphic = any(
        name and name[-1] in among
        for named, among in ((names.functions, catalog.polymorphic), (names.operators, catalog.unifying))
        for name in named
    )
    if catalog.types and (names.typed_by_text or (names.of_any_type and (names.makes_json or polymorphic))):
        yield _seen(Qualifier.FUNCTION, "makes a value whose type may call what nobody has read")
    # A column's type is reached by the type of its relation's rows; a function that has one is not proven.
    unifies = names.unifies or polymorphic
    for name in sorted(names.relations) if unifies or names.attributes & catalog.polymorphic else ():
        if name[-1] in catalog.types:
            yield _seen(
                Qualifier.FUNCTION,
                f"may make values of a type that {identifier(name[-1])} has, which calls what nobody has read",
            )
    if _may_hide_settings(names, catalog, scope):
        yield _seen(Qualifier.SETTING, "changes by set_config() what a relation names that may not be PostgreSQL's own")
    if catalog.anything_casts and part.kind not in (StatementClass.SHOW, StatementClass.SESSION, StatementClass.EMPTY):
        yield _seen(Qualifier.FUNCTION, "may run a cast between built-in types that calls what nobody has read")


def _may_hide_settings(names: Names, catalog: Catalog, scope: Scope) -> bool:
    """Say whether set_config() `FROM pg_settings WHERE name = 'x'` may set more than x: by a relation, or by `=`."""
    if not any(name[-1:] == ("set_config",) for name in names.functions):
        return False
    found = [name for name in names.relations if name[-1] == _SETTINGS]
    bare = any(len(name) == 1 for name in found)
    return bool(found) and (
        catalog.equals
        or (bare and not catalog.relations.get(_SETTINGS, {}).keys() <= {"pg_catalog"})
        or (bare and scope.temporary_kind((_SETTINGS,)) is not None)
    )


def _calls_of_temporary(names: Names, catalog: Catalog, scope: Scope) -> Iterator[Finding]:
    """Yield what the session's own temporary relations make of names that are harmless in the database."""
    rows = {name.lstrip("_") for name in scope.odd_temporary}
    for name in sorted(names.types | names.functions) if rows else ():
        if name and name[-1].lstrip("_") in rows:
            yield _seen(
                Qualifier.FUNCTION,
                f"may make a row of the temporary {identifier(name[-1])}, which may call what nobody has read",
            )
    temporary = scope.odd_temporary | dict(scope.temporary_views).keys()
    for name in sorted(names.functions) if temporary else ():
        if name and catalog.mentions(name[-1], temporary):
            yield _seen(
                Qualifier.FUNCTION,
                f"calls {'.'.join(name)}, and a temporary relation may stand in the place of one that it reads",
            )


def _call(name: Name, catalog: Catalog) -> Finding | None:
    spelled = ".".join(name)
    if name and name[-1] in catalog.types:
        return _seen(Qualifier.FUNCTION, f"calls {spelled}, which may be a cast to a type of that name")
    if is_of_information_schema(name) and name[-1] not in catalog.elsewhere:
        return None
    only = built_in(name)
    if only is not None:
        # A name that says pg_catalog is looked up nowhere else.
        if only in (catalog.elsewhere if len(name) == 1 else catalog.added):
            if is_harmless_built_in(only) or qualifier_of(only):
                where = "outside pg_catalog too" if len(name) == 1 else "that is not PostgreSQL's own too"
                return _seen(
                    Qualifier.FUNCTION, f"calls {spelled}, and the database has a function of that name {where}"
                )
        elif is_harmless_built_in(only) or is_built_in_type(only):
            return None
        elif (qualifier := qualifier_of(only)) is not None:
            return Finding(qualifier, f"calls {spelled}")
    if name and name[-1] in catalog.proven and not (only and catalog.is_unread_built_in(only)):
        return None
    return _seen(Qualifier.FUNCTION, f"calls {spelled}, which is not on the list of harmless built-in functions")


# --- relations --------------------------------------------------------------------------------------------------------


def _resolved(names: Iterable[Name], catalog: Catalog, scope: Scope) -> tuple[Name, ...]:
    """Return all relations that names may stand for: a temporary one may be gone, and uncover another, by then."""
    resolved = dict[Name, None]()
    for name in names:
        found = [known for known, _ in catalog.find(name, scope.path)]
        own = [(TEMP, name[-1])] if scope.temporary_kind(name) else []
        resolved |= dict.fromkeys([*own, *found] or [name])
    return tuple(resolved)


def _reads(names: Names, catalog: Catalog, scope: Scope) -> Iterator[Finding]:
    for name in sorted(names.relations):
        spelled = qualified(name)
        own = scope.temporary_kind(name)
        if own is Temporary.ODD:
            yield _seen(Qualifier.FUNCTION, f"reads {spelled}, a temporary relation that may call what nobody has read")
        found = catalog.find(name, scope.path)
        is_query = len(name) == 1 and name[0] in names.queries
        if not found and catalog.known and not own and not is_query:
            yield _seen(Qualifier.UNKNOWN_NAME, f"names {spelled}, which the catalog does not know")
        for _, relation in found:
            if relation.kind == "f":
                yield _seen(Qualifier.FOREIGN, f"reads {spelled}, which is on another server")
            elif relation.reading_calls:
                yield _seen(Qualifier.FUNCTION, f"reads {spelled}, which calls what nobody has read")


def _changes(part: Part, catalog: Catalog, scope: Scope) -> Iterator[Finding]:
    """Yield why a relation that the part changes is more than a plain table."""
    if not part.targets or Qualifier.WRITE not in part.qualifiers:
        return
    for name in part.targets:
        spelled = qualified(name)
        own = scope.temporary_kind(name)
        found = catalog.find(name, scope.path)
        if own not in (None, Temporary.PLAIN):
            yield _seen(Qualifier.CODE, f"changes {spelled}, a temporary relation that runs code of its own")
        elif not catalog.known and not (own and not found):
            yield _seen(Qualifier.CODE, f"changes {spelled}, and no catalog says whether that is a plain table")
        elif not found and not own:
            yield _seen(Qualifier.CODE, f"changes {spelled}, which is no plain table")
        if part.wants_copy_data and name[-1] in catalog.types:
            yield _seen(
                Qualifier.FUNCTION, f"makes values of a type that {spelled} has, which calls what nobody has read"
            )
        for whole, relation in found:
            if relation.kind not in _OWN_KINDS or not _is_ones_own(whole):
                yield _seen(Qualifier.CODE, f"changes {spelled}, which is no plain table")
            elif relation.spreads and part.classes & _SPREADING:
                yield _seen(Qualifier.CASCADE, f"changes {spelled}, from where it goes on to other tables")
            if relation.writing_calls:
                yield _seen(
                    Qualifier.CODE, f"changes {spelled}, which runs a trigger, a rule, a default or a check of its own"
                )


def _planned(part: Part, catalog: Catalog, scope: Scope) -> Iterator[Finding]:
    """Yield why even planning a change may run code: to plan it is to plan what rules do, and they call functions."""
    for name in part.targets:
        spelled = qualified(name)
        if scope.temporary_kind(name) not in (None, Temporary.PLAIN):
            yield _seen(Qualifier.FUNCTION, f"plans a change of {spelled}, which may have rules")
        for _, relation in catalog.find(name, scope.path):
            if relation.ruled:
                yield _seen(Qualifier.FUNCTION, f"plans a change of {spelled}, which has rules")


def _is_ones_own(name: Name) -> bool:
    return name[0] not in ("pg_catalog", "information_schema", "pg_toast")


def _only_temporary(part: Part, catalog: Catalog, scope: Scope) -> bool:
    """Say whether all that the part changes are temporary tables, whatever becomes of them before it runs.

    A temporary table that is dropped behind our back would uncover a table of the same name.
    """
    if part.node not in _ON_TEMPORARY or not part.targets or Qualifier.WRITE not in part.qualifiers:
        return False
    if Qualifier.CASCADE in part.qualifiers or catalog.event_triggers:
        return False
    return all(
        scope.temporary_kind(name) is Temporary.PLAIN
        and (len(name) > 1 or (scope.looks_there_first and name[-1] not in catalog.relations))
        for name in part.targets
    )
