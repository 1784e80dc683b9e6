"""What was bound to a statement, without its secrets: parameters and their texts enter, the same for eyes leave.

Every display of parameters goes through here. A value is hidden where a literal would be, whatever its format, in each
execution; of a text that runs only the secrets in it are, if they have a place of their own. What is sealed and signed
is never this.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pgnotary.judge.bound_secrets import Bindings
from pgnotary.judge.secrets import HIDDEN, masked_inside
from pgnotary.request.parameters import Parameters, Value

__all__ = ["Veiled", "without_secrets"]

# The elements of an array, as the server spells them; an error quotes one of them.
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},"\s][^{},"]*)')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Veiled:
    """Parameters for eyes."""

    parameters: Parameters
    hidden: int
    """How many values are not shown, or not whole."""
    hides_code: bool
    """A text that runs is hidden with a secret in it."""
    values: frozenset[str]
    """What is hidden, as a message may quote it."""


def without_secrets(parameters: Parameters, statement: bytes | None, prepared: bytes = b"") -> Veiled:
    """Return what was bound to a statement without its secrets; of a statement that nobody knows, nothing of it."""
    bindings = None if statement is None else Bindings(statement, prepared)
    veil = _Veil(bindings)
    sets = tuple(veil.over(values) for values in parameters.sets)
    shown = replace(parameters, sets=sets) if veil.hidden else parameters
    return Veiled(shown, veil.hidden, veil.hides_code, frozenset(veil.values))


class _Veil:
    """One reading of all sets."""

    def __init__(self, bindings: Bindings | None) -> None:
        self._bindings = bindings
        self.hidden = 0
        self.hides_code = False
        self.values: set[str] = set()

    def over(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Return one set of values without its secrets."""
        sent, spelled = [_sent(value) for value in values], [_spelled(value) for value in values]
        if self._bindings is None:
            return tuple(self._hide(value) for value in values)
        readings = [self._bindings.places(said) for said in ([sent] if sent == spelled else [sent, spelled])]
        hidden = frozenset[int]().union(*(each.hidden for each in readings))
        code = frozenset[int]().union(*(each.code for each in readings))
        found = []
        for number, value in enumerate(values, 1):
            if number in hidden:
                self.hides_code |= number in code
                found.append(self._hide(value))
            else:
                found.append(self._in_code(value) if number in code else value)
        return tuple(found)

    def _hide(self, value: Value) -> Value:
        if value.raw is None:
            return value
        self.hidden += 1
        for said in (_sent(value), _spelled(value)):
            self.values.update(_quotable(said or ""))
        return _of(HIDDEN)

    def _in_code(self, value: Value) -> Value:
        """Return a text that runs without the secrets in it."""
        said = _spelled(value)
        if said is None:
            return value
        shown = masked_inside(said)
        if shown is None:
            self.hides_code = True
            return self._hide(value)
        if shown == said:
            return value
        self.hidden += 1
        return _of(shown)


def _of(text: str) -> Value:
    return Value(text.encode(), shown=text)


def _sent(value: Value) -> str | None:
    return None if value.raw is None else value.raw.decode(errors="replace")


def _spelled(value: Value) -> str | None:
    return _sent(value) if value.shown is None else value.shown


def _quotable(said: str) -> Iterator[str]:
    """Yield a value as a message may quote it: whole, or an element of it."""
    yield said
    if said[:1] == "{" and '":' not in said:
        for quoted, bare in _ELEMENT.findall(said):
            yield _ESCAPED.sub(r"\1", quoted) if quoted else bare
