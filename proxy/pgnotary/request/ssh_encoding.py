"""The binary fields of SSH: what keys and signatures are made of.

Bytes enter, fields leave, or BadKey; and the other way round. Follows RFC 4251 section 5, and RFC 8709 for Ed25519 in
SSH. Nothing here knows of files, armor, or who may sign.
"""

from pgnotary.errors import BadKey

__all__ = ["KEY_TYPE", "PUBLIC_BYTES", "Fields", "check_type", "pack", "public_blob", "read_public_blob"]

KEY_TYPE = "ssh-ed25519"
PUBLIC_BYTES = 32


class Fields:
    """Reads the binary fields of RFC 4251 one after another; raises BadKey where they end too soon."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise BadKey(f"cut short: {count} bytes expected, {len(taken)} left")
        self._at += count
        return taken

    def uint32(self) -> int:
        """The next four bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """The next bytes that carry their own length."""
        return self.take(self.uint32())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raise BadKey if anything is left."""
        if left := self.rest():
            raise BadKey(f"{len(left)} bytes too many")


def pack(*strings: bytes) -> bytes:
    """Each string behind its length, as RFC 4251 writes them."""
    return b"".join(len(each).to_bytes(4, "big") + each for each in strings)


def public_blob(public: bytes) -> bytes:
    """A 32-byte public key as SSH writes it on the wire (RFC 8709 section 4)."""
    if len(public) != PUBLIC_BYTES:
        raise BadKey(f"an Ed25519 public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return pack(KEY_TYPE.encode(), public)


def read_public_blob(blob: bytes) -> bytes:
    """The 32-byte public key in a blob; raises BadKey for another type of key."""
    fields = Fields(blob)
    check_type(fields.string())
    public = fields.string()
    fields.end()
    if len(public) != PUBLIC_BYTES:
        raise BadKey(f"an Ed25519 public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return public


def check_type(kind: bytes) -> None:
    """Raise BadKey for a type of key that is not ours."""
    if kind != KEY_TYPE.encode():
        raise BadKey(f"a key of type {kind.decode(errors='replace')!r:.60}; only {KEY_TYPE} is supported")
