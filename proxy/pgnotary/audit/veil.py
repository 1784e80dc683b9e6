"""The veil over secrets while a ledger is told: an entry and its disclosed values enter, the same leave without them.

Values are checked against their seals before; what is told afterwards is for eyes. A server's error is veiled by the
statement it is about, so the texts of requests that hold secrets, and the secrets bound to them, are kept until the
reading ends. Evidence is never
veiled: who exports a ledger withholds a value or gives it whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from pgnotary.errors import NotCanonical
from pgnotary.judge.secrets import HIDDEN, masked, told
from pgnotary.ledger.canonical import JSON, decode, encode
from pgnotary.ledger.entries import Entry
from pgnotary.request import parameters
from pgnotary.request.veiled_parameters import without_secrets
from pgnotary.verify.decisions import Opened

__all__ = ["NOTE", "Veil"]

NOTE = f"{HIDDEN} stands for a secret that is hidden: --secrets shows it"

# Signed bytes, which are no text to read.
_EVIDENCE = frozenset({"document", "signature"})
_WORDS_IN_BODY = ("why", "search_path", "application", "savepoint")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the secrets of a request, to be left out of what others say about it."""

    texts: tuple[bytes, ...] = ()
    """Those that hold secrets."""
    values: frozenset[str] = frozenset()
    """Secrets that were bound to them."""

    def and_of(self, texts: tuple[bytes, ...], values: frozenset[str]) -> "_Known":
        return _Known((*self.texts, *texts), self.values | values)

    def told(self, message: str) -> str:
        return told(message, *self.texts, values=self.values)


_NOTHING = _Known()


class Veil:
    """Hides secrets in one reading of a ledger, in order."""

    def __init__(self) -> None:
        self._hides = False
        self.was_seen = False
        """Whether something was shown in which a secret is hidden."""
        self._known: dict[str, _Known] = {}
        """By request."""

    def over(self, entry: Entry, opened: Opened) -> tuple[Entry, Opened]:
        """Return an entry and its values as they may be told."""
        veiled = self.values(entry.request, opened)
        known = self._known.get(entry.request or "", _NOTHING)
        words: dict[str, JSON] = {
            name: known.told(value) for name in _WORDS_IN_BODY if isinstance(value := entry.body.get(name), str)
        }
        return structs.replace(entry, body={**entry.body, **words}), veiled

    def notice(self, shown: str) -> None:
        """Take note of what is shown."""
        self.was_seen = self.was_seen or (self._hides and HIDDEN in shown)

    def values(self, request: str | None, opened: Opened) -> Opened:
        """Return the values of an entry as they may be told."""
        sealed = {name: value for name, (_, value) in opened.items()}
        runs = sealed.get("prepared", b"")
        veiled = {name: masked(value, runs) for name, value in sealed.items() if _is_sql(name)}
        bound = frozenset[str]()
        if "parameters" in sealed:
            veiled["parameters"], bound = _bound(sealed["parameters"], sealed.get("statement"), runs)
        secret = tuple(sealed[name] for name in veiled if _is_sql(name) and veiled[name] != sealed[name])
        known = self._known.get(request or "", _NOTHING).and_of(secret, bound)
        if request is not None and known != _NOTHING:
            self._known[request] = known
        veiled |= {
            name: _rows(value, known) if name == "sample" else _words(value, known)
            for name, value in sealed.items()
            if name not in veiled
        }
        return self._veiled(opened, veiled)

    def _veiled(self, opened: Opened, veiled: Mapping[str, bytes]) -> Opened:
        self._hides |= any(veiled[name] != value for name, (_, value) in opened.items() if name not in _EVIDENCE)
        return {name: (salt, value if name in _EVIDENCE else veiled[name]) for name, (salt, value) in opened.items()}


def _bound(raw: bytes, statement: bytes | None, runs: bytes) -> tuple[bytes, frozenset[str]]:
    """Return parameters without their secrets, and those; what cannot be read as parameters is hidden as a whole."""
    try:
        found = without_secrets(parameters.opened(raw), statement, runs)
    except NotCanonical:
        return HIDDEN.encode(), frozenset()
    return parameters.sealed(found.parameters) if found.hidden else raw, found.values


def _is_sql(name: str) -> bool:
    return name in ("statement", "prepared") or (name[:1] == "t" and name[1:].isdigit())


def _rows(value: bytes, known: _Known) -> bytes:
    """Return the rows of a sample with each value veiled by itself, so that they can be read as rows again."""
    try:
        return encode(_each(decode(value), known))
    except NotCanonical:
        return _words(value, known)


def _each(value: Any, known: _Known) -> Any:
    match value:
        case str():
            return known.told(value)
        case list():
            return [_each(item, known) for item in value]
        case dict():
            return {name: _each(item, known) for name, item in value.items()}
    return value


def _words(value: bytes, known: _Known) -> bytes:
    try:
        words = value.decode()
    except UnicodeDecodeError:
        return value
    return known.told(words).encode()
