"""Salted commitments: what an entry says of a value that is kept beside it, to be opened or erased later.

A name, 32 random bytes and the value enter, a SHA-256 leaves. The entry holds only the commitment, so a value
can be redacted (value and salt deleted) or disclosed alone without touching the chain. Without its salt a
commitment says nothing about the value: a bare hash of a statement could be searched for every card number.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256

from pgnotary.errors import BrokenSeal

__all__ = ["SALT_BYTES", "Seal", "check_opened", "commitment"]

SALT_BYTES = 32

# The version is inside the hashed bytes, and no leaf, node or note begins with this text.
_DOMAIN = b"pgnotary/seal/1\n"

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def commitment(name: str, salt: bytes, value: bytes) -> bytes:
    """SHA-256 over the domain line, `name`, a zero byte, the 32 bytes of `salt`, and `value`.

    `name` is a key of the canonical profile, so it cannot hold the zero byte that ends it; with the fixed
    length of the salt no two triples hash the same bytes. A ValueError for any other name or salt.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a seal's name has the form [a-z][a-z0-9_]*, not {name!r:.60}")
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a seal's salt has {SALT_BYTES} bytes, not {len(salt)}")
    return sha256(_DOMAIN + name.encode() + b"\0" + salt + value).digest()


@dataclass(frozen=True, slots=True)
class Seal:
    """A value to be kept beside its entry, with the salt that hides it there."""

    name: str
    salt: bytes = field(repr=False)
    value: bytes = field(repr=False)

    @property
    def commitment(self) -> bytes:
        """What the entry holds in place of the value."""
        return commitment(self.name, self.salt, self.value)


def check_opened(name: str, salt: bytes, value: bytes, committed: bytes) -> None:
    """Raise BrokenSeal unless `committed`, taken from an entry, is the commitment to exactly this value."""
    try:
        opened = commitment(name, salt, value)
    except ValueError as error:
        raise BrokenSeal(str(error)) from error
    if opened != committed:
        raise BrokenSeal(f"the opened {name} is not what its entry commits to: value or salt was changed")
