"""Which of the values that are bound to a text are secrets: a text and values enter, the numbers of secret ones leave.

A value is put where its `$1` stands, and is a secret if a literal there would be one: the same walk says so. What it
says counts as well: it may be a secret by its own form, name another one (set_config($1, $2, false)) or be a text that
runs. Of an EXECUTE the same is asked of what runs, with its arguments. Where nobody can take a text apart, all that is
bound to it is a secret. Nothing here decides what may run.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace

from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.literals import Lexeme, Sort
from pgnotary.judge.secret_places import Places, find_places
from pgnotary.judge.secret_reading import Cut, Reading, cut

__all__ = ["Bindings", "BoundPlaces"]


@dataclass(frozen=True, slots=True)
class BoundPlaces:
    """Numbers of parameters, from 1."""

    hidden: frozenset[int] = frozenset()
    """Whose values are secrets."""
    code: frozenset[int] = frozenset()
    """Whose values are texts that run: such a one may hold a secret in it, or be one."""


class Bindings:
    """One text, cut once, for any number of sets of values."""

    def __init__(self, text: bytes, runs: bytes = b"") -> None:
        """`runs` is what the prepared statements say that it names: an EXECUTE may hand them a secret."""
        self._cut: Cut | None = None
        self._parses = Reading(text, is_inside=False)
        self._runs = Bindings(runs) if runs else None
        with suppress(Unreadable):
            self._cut = cut(text)

    def places(self, values: Sequence[str | None]) -> BoundPlaces:
        """Return which of these values are secrets; None is NULL, which is none, or what nobody knows."""
        return self._found({number: value for number, value in enumerate(values, 1) if value is not None}, len(values))

    def arguments(self, values: Sequence[str | None]) -> AbstractSet[int]:
        """Return which arguments of an EXECUTE what runs takes for secrets; None is one that is no plain value."""
        return self._runs.places(values).hidden if self._runs else frozenset()

    def parameters(self) -> frozenset[int]:
        """Return which parameters stand where a secret would: `SET password = $1`, whatever is bound; of no EXECUTE."""
        return self._found({}, 0).hidden

    def _found(self, values: dict[int, str], count: int) -> BoundPlaces:
        if self._cut is None:
            return BoundPlaces(frozenset(range(1, count + 1)))
        hidden, code = set[int](), set[int]()
        for statement in self._cut.statements:
            numbers = {
                place: int(each.value[1:]) for place, each in enumerate(statement) if each.sort is Sort.PARAMETER
            }
            if not numbers:
                continue
            bound = [
                _with(each, values.get(numbers[place])) if place in numbers else each
                for place, each in enumerate(statement)
            ]
            places = find_places(bound, parses=self._parses, inside=False, arguments=self.arguments)
            hidden |= {numbers[place] for place in _hidden(places) if place in numbers}
            code |= {numbers[place] for place in places.code | places.commands if place in numbers}
        return BoundPlaces(frozenset(hidden), frozenset(code))


def _with(parameter: Lexeme, value: str | None) -> Lexeme:
    """Return a literal that says the value, in the parameter's place; the parameter itself if no value is known."""
    if value is None:
        return parameter
    return replace(parameter, sort=Sort.STRING, value=value, places=((parameter.start, parameter.end),))


def _hidden(places: Places) -> set[int]:
    return places.hidden.union(*places.ranges)
