"""What comes before the first typed message: start-up, cancel and encryption requests.

Bytes of one start-up packet enter, a value of this module leaves. Nothing here interprets a byte beyond the packet, so
what a client sends after an encryption request can never be taken for a part of it.

Source: PostgreSQL 18, "Start-up", StartupMessage, CancelRequest, SSLRequest, GSSENCRequest; MAX_STARTUP_PACKET_LENGTH
in src/include/libpq/pqcomm.h.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct

from pgnotary.errors import ClientProtocolError

__all__ = [
    "MAX_STARTUP_BYTES",
    "PROTOCOL_3_0",
    "PROTOCOL_3_2",
    "CancelRequest",
    "EncryptionRequest",
    "StartupMessage",
    "StartupPacket",
    "encode_cancel",
    "encode_startup",
    "parse_packet",
    "startup_length",
]

# PostgreSQL itself refuses longer ones: MAX_STARTUP_PACKET_LENGTH, plus the length word.
MAX_STARTUP_BYTES = 10_004
PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = PROTOCOL_3_0 + 2
"""With keys to cancel of up to 256 bytes instead of 4. There is no 3.1."""

_CANCEL = 80_877_102
_SSL = 80_877_103
_GSSENC = 80_877_104
_TWO_WORDS = Struct("!II")


@dataclass(frozen=True, slots=True)
class StartupMessage:
    """A client that wants a session."""

    minor: int
    """Minor protocol version asked for; the major one is 3."""
    parameters: Mapping[str, str]
    """As sent, the last of duplicates winning, as PostgreSQL has it."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A client that wants another session's statement cancelled."""

    pid: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """SSLRequest or GSSENCRequest."""

    kind: str
    """`ssl` or `gssenc`."""


StartupPacket = StartupMessage | CancelRequest | EncryptionRequest


def startup_length(word: bytes) -> int:
    """Return the whole length of a start-up packet from its first four bytes, the length word included."""
    length = int.from_bytes(word, "big")
    if not 8 <= length <= MAX_STARTUP_BYTES:
        raise ClientProtocolError(
            f"invalid length of startup packet: {length}, expected 8 to {MAX_STARTUP_BYTES}",
            hint="TLS is not configured here ([listen.tls]): use sslmode=disable." if word[:1] == b"\x16" else "",
        )
    return length


def parse_packet(packet: bytes) -> StartupPacket:
    """Read one whole start-up packet, its length word included."""
    if len(packet) < 8 or startup_length(packet[:4]) != len(packet):
        raise ClientProtocolError(f"start-up packet of {len(packet)} bytes does not have the length it claims")
    code = int.from_bytes(packet[4:8], "big")
    if code == _CANCEL:
        # 3.2 allows keys of up to 256 bytes: anything shorter than a pid and a key is no cancel request.
        if not 16 <= len(packet) <= 12 + 256:
            raise ClientProtocolError(f"cancel request of {len(packet)} bytes, expected 16 to 268")
        return CancelRequest(int.from_bytes(packet[8:12], "big"), packet[12:])
    if code in (_SSL, _GSSENC):
        if len(packet) != 8:
            raise ClientProtocolError(f"encryption request of {len(packet)} bytes, expected 8")
        return EncryptionRequest("ssl" if code == _SSL else "gssenc")
    if code >> 16 != 3:
        raise ClientProtocolError(f"unsupported protocol {code >> 16}.{code & 0xFFFF}: pgnotary speaks 3.0 and 3.2")
    return StartupMessage(code & 0xFFFF, _parameters(packet[8:]))


def _parameters(body: bytes) -> dict[str, str]:
    # "A zero byte is required as a terminator after the last name/value pair."
    if not body.endswith(b"\0") or (len(body) > 1 and not body.endswith(b"\0\0")):
        raise ClientProtocolError("invalid startup packet layout: expected terminator as last byte")
    fields = body[:-1].split(b"\0")[:-1] if len(body) > 1 else []
    if len(fields) % 2 or b"" in fields[::2]:
        raise ClientProtocolError("invalid startup packet layout: a parameter without a name or a value")
    try:
        texts = [field.decode() for field in fields]
    except UnicodeDecodeError as error:
        raise ClientProtocolError("a start-up parameter is not valid UTF-8") from error
    return dict(zip(texts[::2], texts[1::2], strict=True))


def encode_startup(parameters: Mapping[str, str]) -> bytes:
    """Return a StartupMessage of protocol 3.0; raises ValueError for a NUL, which would make further parameters."""
    if any("\0" in text for item in parameters.items() for text in item):
        raise ValueError("a start-up parameter holds a NUL")
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return _TWO_WORDS.pack(len(body) + 8, PROTOCOL_3_0) + body


def encode_cancel(pid: int, secret: bytes) -> bytes:
    """Return a CancelRequest for a server process."""
    return _TWO_WORDS.pack(12 + len(secret), _CANCEL) + pid.to_bytes(4, "big") + secret
