"""The veil over secrets while a ledger is told: an entry and its disclosed values enter, the same leave without them.

Values are checked against their seals before; what is told afterwards is for eyes. A server's error is veiled by the
statement it is about, so the texts of requests that hold secrets are kept until the reading ends. Evidence is never
veiled: who exports a ledger withholds a value or gives it whole.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgnotary.errors import NotCanonical
from pgnotary.judge.secrets import HIDDEN, masked, told
from pgnotary.ledger.canonical import JSON, decode, encode
from pgnotary.ledger.entries import Entry
from pgnotary.verify.decisions import Opened

__all__ = ["NOTE", "Veil"]

NOTE = f"{HIDDEN} stands for a secret that is hidden: --secrets shows it"

# Signed bytes, which are no text to read.
_EVIDENCE = frozenset({"document", "signature"})
_WORDS_IN_BODY = ("why", "search_path", "application", "savepoint")


class Veil:
    """Hides secrets in one reading of a ledger, in order."""

    def __init__(self) -> None:
        self._hides = False
        self.was_seen = False
        """Whether something was shown in which a secret is hidden."""
        self._texts: dict[str, tuple[bytes, ...]] = {}
        """By request: the texts that hold secrets."""

    def over(self, entry: Entry, opened: Opened) -> tuple[Entry, Opened]:
        """Return an entry and its values as they may be told."""
        veiled = self.values(entry.request, opened)
        texts = self._texts.get(entry.request or "", ())
        words: dict[str, JSON] = {
            name: told(value, *texts) for name in _WORDS_IN_BODY if isinstance(value := entry.body.get(name), str)
        }
        return replace(entry, body={**entry.body, **words}), veiled

    def notice(self, shown: str) -> None:
        """Take note of what is shown."""
        self.was_seen = self.was_seen or (self._hides and HIDDEN in shown)

    def values(self, request: str | None, opened: Opened) -> Opened:
        """Return the values of an entry as they may be told."""
        known = {name: value for name, (_, value) in opened.items()}
        runs = known.get("prepared", b"")
        texts = {name: masked(value, runs) for name, value in known.items() if _is_sql(name)}
        secret = tuple(known[name] for name in texts if texts[name] != known[name])
        if secret and request is not None:
            self._texts[request] = (*self._texts.get(request, ()), *secret)
        of_request = self._texts.get(request, ()) if request is not None else secret
        words = {
            name: _rows(value, of_request) if name == "sample" else _words(value, of_request)
            for name, value in known.items()
            if name not in texts
        }
        return self._veiled(opened, {**texts, **words})

    def _veiled(self, opened: Opened, veiled: Mapping[str, bytes]) -> Opened:
        self._hides |= any(veiled[name] != value for name, (_, value) in opened.items() if name not in _EVIDENCE)
        return {name: (salt, value if name in _EVIDENCE else veiled[name]) for name, (salt, value) in opened.items()}


def _is_sql(name: str) -> bool:
    return name in ("statement", "prepared") or (name[:1] == "t" and name[1:].isdigit())


def _rows(value: bytes, texts: tuple[bytes, ...]) -> bytes:
    """Return the rows of a sample with each value veiled by itself, so that they can be read as rows again."""
    try:
        return encode(_each(decode(value), texts))
    except NotCanonical:
        return _words(value, texts)


def _each(value: Any, texts: tuple[bytes, ...]) -> Any:
    match value:
        case str():
            return told(value, *texts)
        case list():
            return [_each(item, texts) for item in value]
        case dict():
            return {name: _each(item, texts) for name, item in value.items()}
    return value


def _words(value: bytes, texts: tuple[bytes, ...]) -> bytes:
    try:
        words = value.decode()
    except UnicodeDecodeError:
        return value
    return told(words, *texts).encode()
