"""Values that are secrets whatever they are called: connection strings, keys, tokens, verifiers.

A text enters; whether a secret stands in it leaves, or the text with each of them replaced. Nothing is decoded here: a
literal's value enters as PostgreSQL would see it.
"""

import re
from collections.abc import Callable

from pgnotary.judge.secret_names import is_secret_name

__all__ = ["HIDDEN", "carries_secret", "command_carries_secret", "connects_with_secret", "opens_secret", "words_masked"]

HIDDEN = "***"
"""What stands for a secret inside a text of any kind."""

# Each pattern's groups are kept, all else of it is the secret.
_SHAPES = tuple(
    re.compile(pattern)
    for pattern in (
        # scheme://user:secret@host; the secret may hold every mark that people forget to encode.
        r"([A-Za-z][A-Za-z0-9+.\-]{0,30}://[^\s'\"<>/?#@:]{0,200}:)[^\s'\"<>]{1,1000}(@)",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]*?-----END [A-Z0-9 ]{0,40}-----|[\s\S]*)",
        # What PostgreSQL keeps in pg_authid, and what crypt() makes.
        r"(SCRAM-SHA-[0-9]{1,3}(?:-PLUS)?\$)[^\s'\"]+",
        r"(?<![0-9A-Za-z])md5[0-9a-f]{32}(?![0-9a-f])",
        r"\$(?:2[abxy]?|1|5|6|y|gy|7|argon2i?d?)\$[^\s'\"]{8,}",
        # JSON Web Tokens, then keys that tell their maker.
        r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w\-]{16,}|xox[abeprs]-[\w\-]{10,}"
        r"|[sr]k_(?:live|test)_\w{10,}|AIza[\w\-]{30,}|npm_\w{30,}|sk-[\w\-]{20,})",
        r"((?i:authorization)[\"']?\s{0,9}[:=]\s{0,9})[^\s'\",]+(?:\s[^\s'\",]+)?",
        r"((?i:\bbearer)\s{1,9})(?=[^\s'\",]*[0-9])[^\s'\",]{12,}",
        # A line of .pgpass, on the ports that servers and poolers listen on.
        r"(?m)^([^:\s]{1,255}:(?:5432|6432|6543|\*):[^:\s]{1,63}:[^:\s]{1,63}:)\S+$",
    )
)
_VALUE = r"'(?:[^'\\]|\\.|'')*'?|\"(?:[^\"\\]|\\.)*\"?|[^\s&;,)}\]'\"]+"
_PAIR = re.compile(rf"(?<![\w.\-])([^\W\d][\w.\-]{{0,63}})(\s{{0,9}}(?::=|=>|=|:(?![:/]))\s{{0,9}})({_VALUE})")
_HSTORE = re.compile(r"(\"([^\"\\]{1,64})\"\s{0,9}(?::|=>)\s{0,9})(\"(?:[^\"\\]|\\.)*\"?|[0-9][0-9.]*|\[[^\]]*\]?)")
_SQL_PASSWORD = re.compile(rf"(?i)(\bpassword\s{{1,9}})({_VALUE})")
_QUOTED = re.compile(r"['\"]")
_COMMAND = re.compile(
    r"(?i)(?:^|\s)--?(?:password|passwd|pass|pwd|token|secret|api[-_]?key)[=\s]\s*\S|(?:^|\s)-u\s*\S*:\S|\bsshpass\b"
)
_CONNECTS = re.compile(r"(?i)pass|pwd|://\S{0,1000}@")
_COMMENTS = re.compile(r"--[^\r\n]*|/\*(?:[^*]|\*(?!/))*+\*/")
_OPENS = re.compile(
    r"(?is)(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key)"
    r"(?:['\"\s=:>*/]{0,20}%[0-9$\-]{0,9}[LsI]|(?=['\"\s=:*])['\"\s=:>*/]{1,20}(?:E?'|\$\w{0,63}\$)?\Z)|://[^\s/@]{0,200}:\Z"
)


def carries_secret(value: str) -> bool:
    """Whether a secret stands in a value: by its shape, or as `name=...` or `"name": ...` under a secret name."""
    return (
        any(shape.search(value) for shape in _SHAPES)
        or any(is_secret_name(pair[1]) for pair in _PAIR.finditer(value))
        or any(is_secret_name(pair[2]) for pair in _HSTORE.finditer(value))
    )


def command_carries_secret(command: str) -> bool:
    """Whether a shell's command carries a secret among its words."""
    return carries_secret(command) or _COMMAND.search(command) is not None


def connects_with_secret(conninfo: str) -> bool:
    """Whether a connection string, of whatever spelling, may hold a password."""
    return carries_secret(conninfo) or _CONNECTS.search(conninfo) is not None


def opens_secret(value: str) -> bool:
    """Whether a piece of a text ends, or has a place, where a secret follows: `... PASSWORD `, `PASSWORD %L`."""
    return _OPENS.search(_COMMENTS.sub(" ", value)) is not None


def words_masked(text: str) -> str:
    """Return a text of any kind (a message, a name, somebody's words) with the secrets in it replaced by `***`."""
    for shape in _SHAPES:
        text = shape.sub(_hidden, text)
    text = _PAIR.sub(_named(1, lambda pair: f"{pair[1]}{pair[2]}"), text)
    text = _HSTORE.sub(_named(2, lambda pair: pair[1]), text)
    return _SQL_PASSWORD.sub(lambda found: f"{found[1]}{HIDDEN}" if _QUOTED.match(found[2]) else found[0], text)


def _hidden(found: re.Match[str]) -> str:
    kept = found.groups()
    return f"{kept[0] if kept else ''}{HIDDEN}{kept[1] if len(kept) > 1 else ''}"


def _named(group: int, kept: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    return lambda pair: f"{kept(pair)}{HIDDEN}" if is_secret_name(pair[group]) else pair[0]
