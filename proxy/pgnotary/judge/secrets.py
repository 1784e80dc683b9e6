"""Secrets in SQL: which literals of a text must not be shown, and the text without them.

The bytes of a text enter; the places of its secret literals leave, or the same bytes with each of them replaced by
`'***'`, or a message about the text without what it quotes of them. Everything else stays byte for byte. Nothing here
decides what may run, and what was signed is never this text. Who reads it must be told what it hides: a text that runs
could hide behind a secret, so a span says whether more than a value goes with it.

A literal is a secret

1. by its value: a connection string or URI with a password, a private key, a verifier, a token (`secret_values`);
2. by the name before it, behind it or above it: `password = '...'`, `'...' AS token`, OPTIONS (password '...'),
   INSERT INTO users (name, password) VALUES ('...', '...'), SET app.api_key = '...' (`secret_names`);
3. by its place in a call: crypt('...'), pgp_sym_encrypt(a, '...'), set_config('app.token', '...');
4. by what a piece of text before it ends with: 'ALTER ROLE eva PASSWORD ' || '...', format('... PASSWORD %L', '...').

A text inside a literal (the body of DO or of a function, the argument of dblink_exec) is read like the text around it.
It is read by its tokens: a text that cannot be parsed has the same secrets. In one that has no tokens, everything is
hidden from the first quote on; where in doubt, rather too much is.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile

from pgnotary.judge.bound_secrets import Bindings
from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.literals import Lexeme, Sort, code_of, literal_value
from pgnotary.judge.secret_names import is_secret_name
from pgnotary.judge.secret_places import Arguments, Places, find_places, no_arguments
from pgnotary.judge.secret_reading import Reading, cut
from pgnotary.judge.secret_values import HIDDEN, carries_secret, words_masked

__all__ = ["HIDDEN", "MARKER", "Span", "discreet", "masked", "masked_inside", "secret_spans", "told"]

MARKER = b"'***'"
"""What stands for a secret literal, however long it was."""

_COMMENT_MARKER = b"/* *** */"
_MAX_NESTING = 5
# A text changes its tokens when a name is replaced by a literal; more rounds than this find nothing in practice.
_MAX_ROUNDS = 8
# Shorter ones say too little to be worth hiding in a message, and would tear its words apart.
_LEAST = 3
_BEGINNING = 16
# In a longer text secrets are not looked for to tell a message about it: what the message quotes is hidden unseen.
_MAX_SEARCHED = 65_536

_IN_PLAIN_QUOTES = re.compile(rb"'(?:[^']|'')*+'")
_QUOTE = re.compile(r"['\"]|\$[^\W\d]?\w*\$")
# Also of a server that speaks another language.
_QUOTATION = re.compile(r"(?s)([\"\u00ab\u201e\u201c])(.+)([\"\u00bb\u201d\u201c])")
_UNSPACED = re.compile(r"[^\s\"')]*")
_WORD = re.compile(r"[^\W\d][\w$]{0,62}")
_NAME = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a secret stands, in bytes."""

    start: int
    end: int
    marker: bytes = MARKER
    """What is shown in its place; inside a literal in quotes, its own are doubled."""
    hides_code: bool = False
    """More than a value is hidden with it: a text that runs, or one that nobody could take apart."""


def masked(text: bytes, runs: bytes = b"") -> bytes:
    """Return the text with each secret replaced by the same marker; masking it again changes nothing."""
    return _replaced(text, secret_spans(text, runs))


@lru_cache(256)
def secret_spans(text: bytes, runs: bytes = b"") -> tuple[Span, ...]:
    """Return where the secrets of a text stand, in order, none inside another.

    `runs` is what the prepared statements say that it names: an EXECUTE may hand them a secret.
    """
    arguments = Bindings(b"", runs).arguments
    spans = _once(text, arguments)
    for _ in range(_MAX_ROUNDS):
        if not spans:
            return ()
        # What hiding one secret brings to light.
        shown = _replaced(text, spans)
        more = [span for span in _once(shown, arguments) if shown[span.start : span.end] != span.marker]
        if not more:
            return spans
        spans = _joined([*spans, *(_moved_back(span, spans) for span in more)])
    return (Span(0, len(text), hides_code=True),)


def masked_inside(code: str) -> str | None:
    """Return a text that runs and stands inside a value, without its secrets; None if they have no place of their own.

    It may be in another language, or in none: what only looks like SQL is not hidden for its quotes.
    """
    spans = _spans_inside(code, 0)
    return None if spans is None else _replaced(code.encode(errors="replace"), spans).decode() if spans else code


def told(message: str, *texts: bytes, values: Collection[str] = ()) -> str:
    """Return what somebody says about texts (a server, a parser), without what it quotes of their secrets.

    `values` are further ones: what was bound to the texts.
    """
    if any(len(text) > _MAX_SEARCHED for text in texts):
        message = _QUOTATION.sub(rf"\1{HIDDEN}\3", message)
    texts = tuple(text for text in texts if len(text) <= _MAX_SEARCHED)
    for text in texts:
        message = _QUOTATION.sub(lambda quoted, text=text: _quotation(quoted, text), message)  # type: ignore[misc]
    for value in sorted({value for text in texts for value in _values(text)}.union(values), key=len, reverse=True):
        if len(value) >= _LEAST:
            message = message.replace(value, HIDDEN)
            message = _without_beginning(message, value) if len(value) > _BEGINNING else message
    return words_masked(message)


def _without_beginning(message: str, value: str) -> str:
    """Return a message without the beginning of a long value: servers cut what they quote, and so do samples."""
    while (start := message.find(value[:_BEGINNING])) >= 0:
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(message[start:], value, strict=False)))
        rest = _UNSPACED.match(message, start + alike)
        message = message[:start] + HIDDEN + message[rest.end() if rest else start + alike :]
    return message


def discreet(message: str, text: bytes) -> str:
    """Return what a reader says of a text that it cannot read, without quoting what may be a secret.

    Fit for the path of a statement: the text is looked through once. A word or a mark is quoted as it is if nothing in
    the text speaks of secrets.
    """
    speaks = len(text) > _MAX_SEARCHED or _may_hold(text.decode(errors="replace"))

    def quotation(quoted: re.Match[str]) -> str:
        is_mark = not any(character.isalnum() or character in "'\"$" for character in quoted[2])
        is_word = _WORD.fullmatch(quoted[2]) is not None
        return quoted[0] if is_mark or (is_word and not speaks) else f"{quoted[1]}{HIDDEN}{quoted[3]}"

    return words_masked(_QUOTATION.sub(quotation, message))


def _quotation(quoted: re.Match[str], text: bytes) -> str:
    """Return a quotation as it is, unless a secret of the text stands, also in part, where it was taken from."""
    part = quoted[2].encode(errors="replace")
    spans, at = secret_spans(text), text.find(part)
    while at >= 0:
        if any(_is_quoted(span, at, at + len(part)) for span in spans):
            return f"{quoted[1]}{HIDDEN}{quoted[3]}"
        at = text.find(part, at + 1)
    return quoted[0]


def _is_quoted(span: Span, start: int, end: int) -> bool:
    if end - start < _LEAST:
        # A bracket or an operator stands inside many secrets and tells nothing.
        return start <= span.start and span.end <= end
    return span.start < end and start < span.end


def _values(text: bytes, depth: int = 0) -> Iterator[str]:
    """Yield each secret of a text as a message may quote it."""
    for span in secret_spans(text):
        written = text[span.start : span.end].decode(errors="replace")
        yield written
        if span.marker != _COMMENT_MARKER:
            while written.startswith("''") and span.marker.startswith(b"''") and len(written) > len("''''"):
                written = written.replace("''", "'")
            value = literal_value(written) if "'" in written or "$" in written else written
            yield value
            if depth < _MAX_NESTING:
                yield from _values(value.encode(errors="replace"), depth + 1)


def _once(text: bytes, arguments: Arguments) -> tuple[Span, ...]:
    try:
        return _joined(_found(text, arguments=arguments))
    except Unreadable:
        return _careful(text)


def _found(text: bytes, depth: int = 0, arguments: Arguments = no_arguments) -> list[Span]:
    """Return the secrets of a text, or of one inside it; raises Unreadable if it has no tokens."""
    pieces, is_inside = cut(text), depth > 0
    comments = (each for each in pieces.comments if carries_secret(each.value))
    spans = [Span(each.start, each.end, _COMMENT_MARKER) for each in comments]
    parses = Reading(text, is_inside=is_inside)
    for statement in pieces.statements:
        places = find_places(statement, parses=parses, inside=is_inside, arguments=arguments)
        spans += _spans_of(statement, places)
        for i in places.code - places.hidden:
            spans += _inside(text, statement[i], depth)
    return spans


def _spans_of(statement: Sequence[Lexeme], places: Places) -> Iterator[Span]:
    for run in filter(None, places.ranges):
        yield Span(statement[run[0]].start, statement[run[-1]].end, hides_code=True)
    for i in places.hidden:
        if statement[i].sort is Sort.STRING:
            hides_code = i in places.code or i in places.commands
            yield from (Span(start, end, hides_code=hides_code) for start, end in statement[i].places)
        elif statement[i].sort is not Sort.PARAMETER:
            yield Span(statement[i].start, statement[i].end)


def _inside(text: bytes, literal: Lexeme, depth: int) -> list[Span]:
    """Return the secrets of the text in a literal; the literal itself if they have no place of their own in it."""
    whole = [Span(start, end, hides_code=True) for start, end in literal.places]
    spans = _spans_inside(literal.value, depth)
    if not spans:
        return whole if spans is None else []
    code = literal.value.encode(errors="replace")
    if (begin := code_of(text, literal)) is not None:
        return [replace(each, start=begin + each.start, end=begin + each.end) for each in spans]
    if _IN_PLAIN_QUOTES.fullmatch(text, literal.start, literal.end) and len(literal.places) == 1:
        return [_in_quotes(each, code, literal.start + 1) for each in spans]
    return whole


def _spans_inside(value: str, depth: int) -> list[Span] | None:
    """Return the secrets of a text that a value says; None if it may hold one that has no place of its own in it."""
    with suppress(Unreadable):
        if depth < _MAX_NESTING:
            return _found(value.encode(errors="replace"), depth + 1)
    # Too deep, or not SQL, or not only: where every quote may be an apostrophe, none tells where a secret begins.
    return None if _may_hold(value) else []


def _in_quotes(span: Span, code: bytes, begin: int) -> Span:
    """Return where a span of a text stands in the literal that says the text, in which each quote is doubled."""
    start, end = (begin + at + code.count(b"'", 0, at) for at in (span.start, span.end))
    return replace(span, start=start, end=end, marker=span.marker.replace(b"'", b"''"))


def _may_hold(value: str) -> bool:
    return carries_secret(value) or any(is_secret_name(name[0]) for name in _NAME.finditer(value))


def _careful(text: bytes) -> tuple[Span, ...]:
    """Return all of a text without tokens, from its first quote or behind the first name of a secret on."""
    # One character for each byte.
    readable = text.decode("latin-1")
    named = (name.end() for name in _NAME.finditer(readable) if is_secret_name(name[0]))
    quote = _QUOTE.search(readable)
    begin = min([next(named, len(text)), quote.start() if quote else len(text)])
    if carries_secret(readable[:begin]):
        begin = 0
    return (Span(begin, len(text), hides_code=True),) if begin < len(text) else ()


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return spans in order; those that touch or overlap become one."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if joined and span.start <= joined[-1].end:
            last = joined.pop()
            marker = max(last.marker, span.marker, key=lambda marker: marker != _COMMENT_MARKER)
            either = last.hides_code or span.hides_code
            joined.append(Span(last.start, max(last.end, span.end), marker, either))
        else:
            joined.append(span)
    return tuple(joined)


def _replaced(text: bytes, spans: Sequence[Span]) -> bytes:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], span.marker]
        at = span.end
    return b"".join([*pieces, text[at:]])


def _moved_back(found: Span, spans: Sequence[Span]) -> Span:
    """Return a span of the text in which `spans` were replaced as one of the text before."""
    return replace(found, start=_before(found.start, spans, is_end=False), end=_before(found.end, spans, is_end=True))


def _before(at: int, spans: Sequence[Span], *, is_end: bool) -> int:
    grown = 0
    for span in spans:
        begin, size = span.start + grown, len(span.marker)
        if at <= begin:
            break
        if at < begin + size:
            return span.end if is_end else span.start
        grown += size - (span.end - span.start)
    return at - grown
