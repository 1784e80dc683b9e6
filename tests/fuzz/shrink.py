"""Makes a text that shows something as short as it can while it still shows it (delta debugging).

Tokens and a question enter, the shortest list found leaves: no single piece of it can be left out. It stops early when
its time is over, with what it has.
"""

import time
from collections.abc import Callable, Sequence

from tests.fuzz.mutations import cut

__all__ = ["shrunk"]


def shrunk(text: bytes, still_shows: Callable[[bytes], bool], *, limit_s: float = 10.0) -> bytes:
    """Return the shortest text found that still shows it; `text` itself must."""
    deadline = time.monotonic() + limit_s
    try:
        tokens = cut(text.decode())
    except UnicodeDecodeError:
        tokens = []

    def shows(pieces: Sequence[str]) -> bool:
        return time.monotonic() < deadline and still_shows("".join(pieces).encode("utf-8", "surrogatepass"))

    if not tokens or not shows(tokens):
        return text
    tokens = _without_pieces(tokens, shows)
    tokens = _with_plain_glue(tokens, shows)
    if sum(map(len, tokens)) <= 200:
        tokens = _without_pieces(list("".join(tokens)), shows)
    return "".join(tokens).encode("utf-8", "surrogatepass")


def _without_pieces(tokens: Sequence[str], shows: Callable[[Sequence[str]], bool]) -> list[str]:
    left = list(tokens)
    size = max(len(left) // 2, 1)
    while True:
        at, smaller = 0, False
        while at < len(left):
            tried = left[:at] + left[at + size :]
            if tried and shows(tried):
                left, smaller = tried, True
            else:
                at += size
        if size == 1 and not smaller:
            return left
        size = max(size // 2, 1)


def _with_plain_glue(tokens: Sequence[str], shows: Callable[[Sequence[str]], bool]) -> list[str]:
    left = list(tokens)
    for at, token in enumerate(tokens):
        if token.isspace() or token.startswith(("/*", "--")):
            tried = [*left[:at], " ", *left[at + 1 :]]
            left = tried if shows(tried) else left
    return left
