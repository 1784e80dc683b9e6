"""Which columns no approver is shown: patterns of names enter, yes or no leaves.

A column is masked if a pattern says so, or if its name is one that secrets have (`password`, `api_token`). What is
masked is not asked of the database, so it is nowhere: not in the ledger, not on a screen. A value that is computed is
masked, too, if what it is computed of names a masked column, takes whole rows that may hold one, or calls a function
that reads tables.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.secret_names import is_secret_name
from pgnotary.judge.statement import Name
from pgnotary.request.columns import Columns

__all__ = ["Masks", "row_names"]


@dataclass(frozen=True, slots=True)
class Masks:
    """Patterns: `column` of any relation, or `schema.relation.column`; * and ? stand for others, as in a shell."""

    patterns: tuple[str, ...] = ()
    reads: Callable[[str], bool] = lambda _: False
    """Whether a function of that name may read tables of its own accord."""
    known: frozenset[str] | None = None
    """The columns of all that a statement names; `t.f` of any other name may be a call that takes the whole row."""

    def hides(self, relation: Columns, column: str) -> bool:
        """Say whether the values of a column of that relation are shown to nobody."""
        return any(self._hides(name, column) for name in (relation.relation, *relation.kin))

    def hides_behind(self, relation: Columns) -> bool:
        """Say whether that is a view that reads values that are shown to nobody: under which name, none knows."""
        return any(self._hides(name, column) for name, column in relation.behind)

    def hides_computed(self, node: str, tree: Mapping[str, Any], rows: Collection[str]) -> bool:
        """Say whether what a tree computes may be made of masked values, wherever in it they are named.

        `rows` are the names under which the statement has rows. It goes by names alone, so it errs to the side of
        hiding. Raises Unreadable for what the grammar does not know.
        """
        for message in grammar.messages(node, _without_series(tree)):
            match message.type, message.fields:
                case "String", {"sval": str(name)} if self._may_name(name) or self.reads(name):
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

    def _hides(self, relation: Name, column: str) -> bool:
        whole = ".".join(map(identifier, (*relation, column)))
        return self._names_secret(column) or any(fnmatchcase(whole, pattern) for pattern in self.patterns)

    def _may_name(self, name: str) -> bool:
        """Say whether a name may be that of a masked column of whatever relation."""
        return self._names_secret(name) or any(
            fnmatchcase(identifier(name), _column_of(pattern)) for pattern in self.patterns
        )

    def _names_secret(self, column: str) -> bool:
        return is_secret_name(column) or any(
            fnmatchcase(identifier(column), pattern) for pattern in self.patterns if _column_of(pattern) == pattern
        )


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


def _column_of(pattern: str) -> str:
    """Return the part of a pattern that stands for the column: all of it, if it names no relation."""
    inside, start = False, 0
    for place, character in enumerate(pattern):
        if character == '"':
            inside = not inside
        elif character == "." and not inside:
            start = place + 1
    return pattern[start:]
