"""What a server keeps of a password: a SCRAM-SHA-256 verifier, in the form that PostgreSQL writes it.

Its text enters, a `Verifier` leaves or ConfigError, which never repeats the text: whoever has it can try passwords, and
pose as the server. The exchange itself is pgnotary.serve.scram.

Sources: RFC 5803; PostgreSQL 18, src/backend/libpq/auth-scram.c.
"""

import re
from dataclasses import dataclass, field

from pgnotary.errors import ConfigError, NotCanonical
from pgnotary.ledger.canonical import b64, unb64

__all__ = ["MAX_ITERATIONS", "MECHANISM", "Verifier", "check_iterations", "parse_verifier"]

MECHANISM = "SCRAM-SHA-256"

# RFC 7677, 4: "the hash iteration-count SHOULD be such that [...] a minimum of 4096".
_MIN_ITERATIONS = 4_096
# A server that asks for more wants our processor, not our password: this is about a second of it.
MAX_ITERATIONS = 1_000_000

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>[1-9][0-9]{0,9}):(?P<salt>[^$:]+)\$(?P<stored>[^$:]+):(?P<server>[^$:]+)"
)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password: enough to check it, not enough to log in with it."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        """Return PostgreSQL's own form, as in `pg_authid.rolpassword`."""
        return f"{MECHANISM}${self.iterations}:{b64(self.salt)}${b64(self.stored_key)}:{b64(self.server_key)}"


def parse_verifier(text: str) -> Verifier:
    """Read PostgreSQL's form of a verifier; ConfigError, which never repeats the text, if it is none."""
    match = _VERIFIER.fullmatch(text)
    if match is None:
        raise ConfigError(
            "not a SCRAM verifier: expected SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, "
            "as in pg_authid.rolpassword"
        )
    iterations = int(match["iterations"])
    check_iterations(iterations)
    salt, stored, server = (_part(name, match[name]) for name in ("salt", "stored", "server"))
    for name, key in (("StoredKey", stored), ("ServerKey", server)):
        if len(key) != 32:
            raise ConfigError(f"SCRAM verifier: {name} has {len(key)} bytes, expected 32")
    return Verifier(iterations, salt, stored, server)


def check_iterations(iterations: int) -> None:
    """Raise ConfigError for a count that protects too little, or costs too much."""
    if not _MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ConfigError(f"SCRAM verifier: {iterations} iterations, expected {_MIN_ITERATIONS} to {MAX_ITERATIONS}")


def _part(name: str, text: str) -> bytes:
    try:
        return unb64(text)
    except NotCanonical as error:
        raise ConfigError(f"SCRAM verifier: the part {name!r} is not base64") from error
