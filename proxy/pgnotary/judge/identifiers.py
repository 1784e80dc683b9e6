"""A name as SQL writes it: the name itself enters, and leaves in quotes where it could be read as anything else."""

import re
from collections.abc import Iterable

__all__ = ["identifier", "qualified", "quoted"]

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def identifier(name: str) -> str:
    """Return a name in quotes unless it is plain: it must not pass for several names, or for words of ours."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def qualified(names: Iterable[str]) -> str:
    """Return a name with its schema, or any other path of names, with dots between them."""
    return ".".join(map(identifier, names))


def quoted(name: str) -> str:
    """Return a name in quotes, as SQL reads it in any place, whatever word it is."""
    return '"' + name.replace('"', '""') + '"'
