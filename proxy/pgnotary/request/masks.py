"""Which columns no approver is shown: patterns of names enter, yes or no leaves.

A column is masked if a pattern says so, or if its name is one that secrets have (`password`, `api_token`). What is
masked is not asked of the database, so it is nowhere: not in the ledger, not on a screen. A value that is computed is
masked, too, if what it is computed of names a masked column, takes whole rows that may hold one, or calls a function
that reads tables. So is a column that is made of a masked one: it is generated of it, or has it as a field.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pgnotary.judge import grammar
from pgnotary.judge.secret_names import is_secret_name
from pgnotary.judge.statement import Name
from pgnotary.request.columns import Column, Columns
from pgnotary.request.patterns import pattern

__all__ = ["Masks", "row_names"]

# PostgreSQL's own relations with values of any column: statistics, what was added to rows that stand (attmissingval),
# large objects, what others have typed, and with what password it connects elsewhere.
_OF_ANYTHING = frozenset(
    """
    pg_attribute pg_cursors pg_largeobject pg_prepared_statements pg_stat_activity pg_stat_statements pg_statistic
    pg_statistic_ext_data pg_stats pg_stats_ext pg_stats_ext_exprs pg_subscription pg_user_mapping pg_user_mappings
    user_mapping_options
    """.split()
)
# Functions whose text nobody reads: those that tell the statements of sessions, and those of PostgreSQL's extensions
# that run a query which they are given.
_TELLING = frozenset(
    """
    connectby crosstab crosstab2 crosstab3 crosstab4 crosstabn pg_cursor pg_prepared_statement pg_stat_get_activity
    pg_stat_get_backend_activity xpath_table
    """.split()
)


@dataclass(frozen=True, slots=True)
class Masks:
    """What is masked: by name, by a pattern, or by what it is made of."""

    patterns: tuple[str, ...] = ()
    """As `pattern` reads them."""
    reads: Callable[[str], bool] = lambda _: False
    """Whether a function of that name may read tables of its own accord."""
    known: frozenset[str] | None = None
    """The columns of all that a statement names; `t.f` of any other name may be a call that takes the whole row."""
    hidden: frozenset[str] = frozenset()
    """Those of them that are hidden, though their own names may not say so."""

    def of(self, relations: Collection[Columns]) -> Self:
        """Return the masks with what is known of all relations that a statement names."""
        known = frozenset(column.name for relation in relations for column in relation.columns)
        hidden = frozenset(
            column.name for relation in relations for column in relation.columns if self.hides(relation, column)
        )
        return replace(self, known=known, hidden=hidden)

    def hides(self, relation: Columns, column: Column) -> bool:
        """Say whether the values of a column of that relation are shown to nobody."""
        return (
            self._hides((relation.relation, *relation.kin), (column.name,))
            or any(self._hides(*each) for each in column.made)
            or any(map(self._reads, column.calls))
        )

    def hides_behind(self, relation: Columns) -> bool:
        """Say whether it gives values that are shown to nobody under names of its own: under which, none knows.

        That is a view that reads masked columns, or calls what reads tables; or PostgreSQL's statistics, and views of
        them.
        """
        return (
            relation.is_of_anything
            or relation.relation[-1] in _OF_ANYTHING
            or any(map(self._reads, relation.calls))
            or any(
                any(name[-1] in _OF_ANYTHING for name in names) or self._hides(names, columns)
                for names, columns in relation.behind
            )
        )

    def hides_computed(self, node: str, tree: Mapping[str, Any], rows: Collection[str]) -> bool:
        """Say whether what a tree computes may be made of masked values, wherever in it they are named.

        `rows` are the names under which the statement has rows. It goes by names alone, so it errs to the side of
        hiding. Raises Unreadable for what the grammar does not know.
        """
        for message in grammar.messages(node, _without_series(tree)):
            match message.type, message.fields:
                case "String", {"sval": str(name)} if self._may_name(name) or self._reads(name):
                    return True
                # All columns, or columns under other names.
                case ("A_Star", _) | ("Alias", {"colnames": _}):
                    return True
                case "ColumnRef", {"fields": [*_, {"String": {"sval": str(name)}}]} if name in rows:
                    return True
                case "ColumnRef", {"fields": [_, *_, {"String": {"sval": str(name)}}]} if (
                    self.known is not None and name not in self.known
                ):
                    return True
        return False

    def _hides(self, relations: Iterable[Name], columns: Iterable[str]) -> bool:
        """Say whether a column that stands in each of these relations is masked in one of them."""
        patterns = [pattern(text) for text in self.patterns]
        for column in columns:
            if is_secret_name(column):
                return True
            alike = [each for each in patterns if each.may_be(column)]
            if alike and any(each.is_of(relation, column) for relation in relations for each in alike):
                return True
        return False

    def _reads(self, function: str) -> bool:
        return function in _TELLING or self.reads(function)

    def _may_name(self, name: str) -> bool:
        """Say whether a name may be that of a masked column of whatever relation."""
        return name in self.hidden or is_secret_name(name) or any(pattern(text).may_be(name) for text in self.patterns)


def row_names(node: str, tree: Mapping[str, Any]) -> set[str]:
    """Return the names under which a statement has rows that may hold masked values."""
    found = set[str]()
    for message in grammar.messages(node, _without_series(tree)):
        match message.type:
            case "RangeVar":
                found.add(str(message.fields.get("relname", "")))
            case "Alias":
                found.add(str(message.fields["aliasname"]))
            case "CommonTableExpr":
                found.add(str(message.fields["ctename"]))
    return found


def _without_series(tree: Any) -> Any:
    """Return a tree in which `generate_series` has no alias: its rows are numbers or times that it counts itself."""
    match tree:
        case list():
            return list(map(_without_series, tree))
        case {"RangeFunction": {"functions": [{"List": {"items": [{"FuncCall": call}, {}]}}], **others}} if (
            call["funcname"][-1]["String"]["sval"] == "generate_series"
        ):
            return {"RangeFunction": {"functions": [{"FuncCall": call}]}} if "alias" in others else tree
        case Mapping():
            return {name: _without_series(value) for name, value in tree.items()}
    return tree
