#!/usr/bin/env python3
"""A second verifier of an exported ledger, in one file that needs Python 3.11 and nothing else.

    python3 verify.py [FOLDER] --key VKEY [--allowed-signers FILE] [--checkpoint FILE]...
                      [--archive FOLDER]... [--quiet]

An exported folder (default: the current one) and what you know by yourself enter: the proxy's key, the roster, and
checkpoints that you remember; and the archives of its first entries, if it has them no more. Each fault leaves as a
line with the place of its entry, counted from 0. Exit status:

    0   no fault
    1   tampered with: at least one fault
    2   no fault, but the evidence is incomplete: the key came with the folder itself (no --key), decisions were held
        against rosters of the ledger itself (no --allowed-signers), an outcome is unknown, values are withheld or
        were redacted, nothing was signed for longer than the proxy promised, it gave up a head that it had signed, or
        entries are in an archive that was not given (no --archive)
    3   wrong usage, or a folder or file that cannot be read

It was written from docs/ledger-format.md, shares no code with pgnotary, imports nothing of it, and writes nothing. So
a mistake in one of the two shows where they differ. It comes with each export, and who changes an export can change
it there: run one that you have from a source of your own. Memory is bounded by what is open at one time, by the
number of decisions and redactions, and by the number of opened values.
"""

import argparse
import base64
import binascii
import bisect
import errno
import hashlib
import io
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

__all__ = ["Bad", "Key", "Verification", "check_folder", "ed25519_is_good", "first_look", "main", "read_roster"]

GOOD, TAMPERED, INCOMPLETE, USAGE = range(4)


class Bad(Exception):
    """Something that is not what the format says; its text says what."""


# ---- Ed25519 (RFC 8032, section 5.1) -------------------------------------------------------------------------------
#
# What is accepted, exactly:
#   the key and R are canonical encodings (y below p, no minus zero) of points on the curve, neither of small order;
#   S is below the order of the base point; and [S]B = [k]A + R, without the cofactor, as libsodium checks it.
# The RFC allows the equation with the cofactor too. The two differ only for signatures that the owner of the private
# key has crafted with a part of small order; one that only some readers accept is not one to rely on.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def _add(a: _Point, b: _Point) -> _Point:
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    u, v = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = t - s, v - u, v + u, t + s
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(number: int, point: _Point) -> _Point:
    sum_ = _NEUTRAL
    while number:
        if number & 1:
            sum_ = _add(sum_, point)
        point = _add(point, point)
        number >>= 1
    return sum_


def _negative(point: _Point) -> _Point:
    return (-point[0] % _P, point[1], point[2], -point[3] % _P)


def _is_neutral(point: _Point) -> bool:
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0


def _point(encoded: bytes) -> _Point | None:
    """Return the point of a canonical encoding (section 5.1.3), or None."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _ROOT % _P
        if (v * x * x - u) % _P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def ed25519_is_good(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature over a message was made by the key whose public half this is."""
    if len(public) != 32 or len(signature) != 64 or _BASE is None:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L or _is_neutral(_times(8, a)) or _is_neutral(_times(8, r)):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    return _is_neutral(_add(_times(s, _BASE), _negative(_add(_times(k, a), r))))


# ---- Canonical JSON ------------------------------------------------------------------------------------------------

_MAX_ENTRY = 65_535
_MAX_INT = 2**53 - 1
_MAX_DEPTH = 16
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_HEX = re.compile(r"[0-9a-f]*")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{6})Z")


def _no_float(text: str) -> NoReturn:
    raise Bad(f"a number that is no integer: {text[:20]}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Bad("a key that stands twice")
    return found


def _in_profile(value: Any, depth: int) -> None:
    if isinstance(value, (dict, list)):
        if depth >= _MAX_DEPTH:
            raise Bad(f"nested deeper than {_MAX_DEPTH}")
        for key in value if isinstance(value, dict) else ():
            if not _KEY.fullmatch(key):
                raise Bad(f"the key {key!r:.60}")
        for each in value.values() if isinstance(value, dict) else value:
            _in_profile(each, depth + 1)
    elif value is None:
        raise Bad("null")
    elif isinstance(value, int) and not -_MAX_INT <= value <= _MAX_INT:
        raise Bad("an integer of 2^53 or more")


def _canonical(value: Any) -> bytes:
    """Return the bytes of a value that is in the profile; there this is what RFC 8785 says."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _decode(raw: bytes) -> dict[str, Any]:
    """Return the object whose only encoding these bytes are."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_pairs, parse_float=_no_float, parse_constant=_no_float)
        if not isinstance(value, dict):
            raise Bad("no object")
        _in_profile(value, 0)
        # A lone surrogate has no UTF-8: that is a ValueError too, as are digits without end.
        if _canonical(value) != raw:
            raise Bad("not in canonical form")
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {error}") from error
    return value


def _unbase64(value: Any) -> bytes:
    try:
        found = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        found = None
    if found is None or _base64(found) != value:
        raise Bad(f"not base64 in its only spelling: {value!r:.40}")
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unhex(value: Any, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
        raise Bad(f"{value!r:.80} where {2 * size} hexadecimal digits are expected")
    return bytes.fromhex(value)


def _time(value: Any) -> datetime:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        if found:
            year, month, day, hour, minute, second, micro = map(int, found.groups())
            return datetime(year, month, day, hour, minute, second, micro, UTC)
    except ValueError:
        pass
    raise Bad(f"no time: {value!r:.40}")


def _spelled(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}".rjust(27, "0")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Bad(f"{value!r:.40} where a text is expected")
    return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: Any) -> int:
    if not _is_int(value) or value < 0:
        raise Bad(f"{value!r:.40} where a number from 0 is expected")
    return int(value)


def _number(body: dict[str, Any], name: str) -> int | None:
    return body[name] if _is_int(body.get(name)) else None


# ---- The tree (RFC 6962, section 2) --------------------------------------------------------------------------------


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class _Tree:
    """Grows by leaves, tells its root, and keeps the roots at the sizes that it was told.

    It may begin behind leaves of which only the roots of the complete subtrees are known, `peaks`.
    """

    def __init__(self, sizes: Iterable[int], floor: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = self.floor = floor
        self.sizes = frozenset(sizes)
        widths = [1 << bit for bit in reversed(range(floor.bit_length())) if floor >> bit & 1]
        self._peaks = list(zip(widths, peaks, strict=True))
        self._kept = {0: _sha256(b"")}
        self._kept[floor] = self.root()

    def append(self, leaf: bytes) -> None:
        width = 1
        while self._peaks and self._peaks[-1][0] == width:
            leaf = _sha256(b"\x01" + self._peaks.pop()[1] + leaf)
            width *= 2
        self._peaks.append((width, leaf))
        self.size += 1
        if self.size in self.sizes:
            self._kept[self.size] = self.root()

    def peaks(self) -> list[bytes]:
        return [peak for _, peak in self._peaks]

    def root(self) -> bytes:
        if not self._peaks:
            return self._kept[0]
        root = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            root = _sha256(b"\x01" + peak + root)
        return root

    def at(self, size: int) -> bytes | None:
        return self.root() if size == self.size else self._kept.get(size)


# ---- Checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) --------------------------------------------------

_MAX_NOTE = 131_072
_NOTE_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class Key:
    """A name and the Ed25519 key whose signatures under that name are believed."""

    name: str
    public: bytes
    id: bytes
    text: str

    @classmethod
    def read(cls, text: str) -> "Key":
        """Read `name+id+base64`; raises Bad."""
        name, _, rest = text.partition("+")
        id_, _, encoded = rest.partition("+")
        _check_name(name)
        kind = _unbase64(encoded)
        expected = _sha256(name.encode() + b"\n" + kind)[:4]
        if kind[:1] != b"\x01" or len(kind) != 33 or id_ != expected.hex():
            raise Bad(f"not an Ed25519 verifier key with its own id: {text!r:.80}")
        return cls(name, kind[1:], expected, text)


@dataclass(frozen=True)
class Checkpoint:
    """What the proxy has signed: the root over the first `size` entries of the ledger `origin`."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def read(cls, note: str, key: Key) -> "Checkpoint":
        """Read a signed note; raises Bad unless `key` has signed it."""
        _check_characters(note)
        body, gap, tail = note.rpartition("\n\n")
        if not gap or not tail.endswith("\n"):
            raise Bad("not a signed note")
        text, ours = body + "\n", 0
        for line in tail[:-1].split("\n"):
            dash, name, encoded, *more = [*line.split(" "), "", ""]
            if dash != "\u2014" or not encoded or any(more):
                raise Bad(f"not a signature line: {line!r:.60}")
            if line.count(" ") != 2:
                raise Bad(f"not a signature line: {line!r:.60}")
            _check_name(name)
            value = _unbase64(encoded)
            if len(value) <= 4:
                raise Bad("a signature that is too short")
            if (name, value[:4]) == (key.name, key.id):
                ours += 1
                if not ed25519_is_good(key.public, text.encode(), value[4:]):
                    raise Bad(f"a wrong signature by {name!r:.60}")
        if not ours:
            raise Bad(f"not signed by {key.name!r:.60} with this key")
        return cls._of_text(text)

    @classmethod
    def _of_text(cls, text: str) -> "Checkpoint":
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise Bad("not the three lines of a checkpoint: origin, size, root")
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise Bad(f"no size: {lines[1]!r:.40}")
        size, root = int(lines[1]), _unbase64(lines[2])
        if len(root) != 32 or (size == 0 and root != _sha256(b"")):
            raise Bad("no root of that size")
        return cls(lines[0], size, root)


def _check_name(name: str) -> None:
    if not name or "+" in name or any(each.isspace() for each in name):
        raise Bad(f"not a key name: {name!r:.60}")
    _check_characters(name)


def _check_characters(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise Bad("a note that is not UTF-8") from error
    if size > _MAX_NOTE or _NOTE_CONTROL.search(text):
        raise Bad("a note with a control character, or longer than one may be")


# ---- SSH: keys, signatures (PROTOCOL.sshsig), rosters (ssh-keygen(1), "ALLOWED SIGNERS") ---------------------------

_DECISION, _REDACTION, _REQUEST = "decision@pgnotary", "redaction@pgnotary", "request@pgnotary"
_ARMOR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]{1,76}\n)+)-----END SSH SIGNATURE-----\n?")
_MAX_ARMOR = 4_096


def _ssh_strings(data: bytes, count: int) -> list[bytes]:
    """Return exactly so many strings behind their lengths (RFC 4251, section 5), with nothing after them."""
    found = []
    for _ in range(count):
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < max(4, end):
            raise Bad("cut short")
        found.append(data[4:end])
        data = data[end:]
    if data:
        raise Bad("bytes too many")
    return found


def _ssh_pack(*strings: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "big") + each for each in strings)


_PLAIN, _SK = _KINDS = (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com")
_APPLICATION = re.compile(rb"ssh:[\x21-\x7e]{0,200}")


@dataclass(frozen=True)
class _Public:
    """Whose key it is: kind, point and, of a FIDO authenticator's key, application, which are its identity together."""

    kind: bytes
    point: bytes
    application: bytes

    @classmethod
    def read(cls, blob: bytes) -> "_Public":
        kinds = [kind for kind in _KINDS if blob.startswith(_ssh_pack(kind))]
        if not kinds:
            raise Bad("neither an ssh-ed25519 nor an sk-ssh-ed25519@openssh.com key")
        _, point, *more = _ssh_strings(blob, 2 if kinds == [_PLAIN] else 3)
        if len(point) != 32 or (more and not _APPLICATION.fullmatch(more[0])):
            raise Bad("not an Ed25519 key, or one for an application of another kind than ssh:")
        return cls(kinds[0], point, b"".join(more))

    @property
    def fingerprint(self) -> str:
        application = [self.application] if self.kind == _SK else []
        return "SHA256:" + _base64(_sha256(_ssh_pack(self.kind, self.point, *application))).rstrip("=")


def _signer_of(armored: str, message: bytes, purpose: str) -> _Public:
    """Return the public key that signed these bytes in the namespace of this purpose."""
    found = _ARMOR.fullmatch(armored) if len(armored) <= _MAX_ARMOR else None
    if not found:
        raise Bad("not an armored SSH signature")
    blob = _unbase64(found[1].replace("\n", ""))
    if blob[:10] != b"SSHSIG\0\0\0\1":
        raise Bad("not an SSH signature of version 1")
    key, namespace, reserved, hashed, inner = _ssh_strings(blob[10:], 5)
    public = _Public.read(key)
    # A FIDO authenticator's signature has one byte of flags and four of a counter behind it (PROTOCOL.u2f).
    inner, flags, counter = (inner[:-5], inner[-5:-4], inner[-4:]) if public.kind == _SK else (inner, b"", b"")
    kind, signature = _ssh_strings(inner, 2)
    if (namespace, reserved, hashed, kind) != (purpose.encode(), b"", b"sha512", public.kind):
        raise Bad(f"an SSH signature for the namespace {namespace!r:.40}, hash {hashed!r:.20}, type {kind!r:.40}")
    signed = b"SSHSIG" + _ssh_pack(namespace, b"", b"sha512", hashlib.sha512(message).digest())
    if public.kind == _SK:
        if not flags or not flags[0] & 0x01 or flags[0] & 0xC0:
            raise Bad(f"a security key's signature without user presence, or with more than SSH knows: {flags.hex()}")
        signed = _sha256(public.application) + flags + counter + _sha256(signed)
    if not ed25519_is_good(public.point, signed, signature):
        raise Bad("the signature is wrong")
    return public


@dataclass(frozen=True)
class _Signer:
    person: str
    namespaces: list[str] | None
    after: datetime | None
    before: datetime | None


_Roster = dict[_Public, _Signer]
"""Public key -> whose it is, and where and when it counts."""

_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,127}")
_OPTION = re.compile(r'(namespaces|valid-after|valid-before)="([^"\\]*)"')
_SPACE = r"[A-Za-z0-9][A-Za-z0-9._@+:/-]*"
_SPACES = re.compile(f"{_SPACE}(,{_SPACE})*")
_ROSTER_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})?)?Z?")
_ROSTER_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_COMMENT_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def read_roster(text: str) -> _Roster:
    """Return who may sign, by public key; raises Bad naming the line."""
    roster: _Roster = {}
    spelled: dict[str, str] = {}
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r").strip(" \t")
        if not line or line.startswith("#"):
            continue
        try:
            public, signer = _roster_line(line)
            if any(public.point == each.point for each in roster):
                raise Bad("a key that is listed already")
            if spelled.setdefault(signer.person.lower(), signer.person) != signer.person:
                raise Bad("two names that differ only in case")
        except Bad as error:
            raise Bad(f"line {number}: {error}") from error
        roster[public] = signer
    return roster


def _roster_line(line: str) -> tuple[_Public, _Signer]:
    if _ROSTER_CONTROL.search(line):
        raise Bad("a control character")
    person, *rest = re.split(r"[ \t]+", line, maxsplit=1)
    if not _PERSON.fullmatch(person) or not rest:
        raise Bad(f"{person!r:.60} is not one person with a key")
    options: dict[str, str] = {}
    key = rest[0]
    if not key.startswith(tuple(each.decode() for each in _KINDS)):
        key = _read_options(key, options)
    key = key.strip(" \t\r\n").replace("\t", " ")
    if "PRIVATE KEY" in key:
        raise Bad("a private key")
    kind, _, key = key.partition(" ")
    encoded, _, comment = key.lstrip(" ").partition(" ")
    comment = comment.strip(" ")
    if kind.encode(errors="replace") not in _KINDS or _COMMENT_CONTROL.search(comment) or comment != comment.strip():
        raise Bad("not the line of an Ed25519 key")
    public = _Public.read(_unbase64(encoded))
    if public.kind != kind.encode():
        raise Bad("a line that says another kind of key than it has")
    names = options.get("namespaces")
    if names is not None and not _SPACES.fullmatch(names):
        raise Bad(f"no namespaces: {names!r:.60}")
    after, before = (_roster_time(options.get(name)) for name in ("valid-after", "valid-before"))
    if after and before and before <= after:
        raise Bad("valid-before is not after valid-after")
    return public, _Signer(person, None if names is None else names.split(","), after, before)


def _read_options(text: str, into: dict[str, str]) -> str:
    """Read `name="value",...` and return what follows it."""
    while found := _OPTION.match(text):
        if found[1] in into:
            raise Bad(f"{found[1]} is given twice")
        into[found[1]] = found[2]
        text = text[found.end() :]
        if not text.startswith(","):
            break
        text = text[1:]
        if not _OPTION.match(text):
            raise Bad("an option behind a comma that is none of ours")
    if not into or not text.startswith((" ", "\t")):
        raise Bad(f"neither an Ed25519 key nor options that we know: {text!r:.60}")
    return text


def _roster_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = _ROSTER_TIME.fullmatch(text)
    if not found:
        raise Bad(f"no time: {text!r:.40}")
    year, month, day, hour, minute, second = (int(each or 0) for each in found.groups())
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Bad(f"no time: {text!r:.40}") from error
    if at <= datetime(1970, 1, 1, tzinfo=UTC):
        raise Bad("a time before 1970")
    return at


def _find(roster: _Roster, public: _Public, at: datetime, purpose: str) -> str:
    """Return whose key it is, if it may sign for this purpose at that time; for redactions the roster must say so."""
    signer = roster.get(public)
    if signer is None:
        raise Bad(f"nobody on the roster has the key {public.fingerprint}")
    if purpose not in ([_DECISION] if signer.namespaces is None else signer.namespaces):
        raise Bad(f"{signer.person} may not sign {purpose} with this key")
    if (signer.after and at < signer.after) or (signer.before and at > signer.before):
        raise Bad(f"{signer.person}'s key is not valid at {at}")
    return signer.person


# ---- Entries -------------------------------------------------------------------------------------------------------

_LIFE = frozenset("preview decision withdrawn expired orphaned void intent executed ending outcome".split())
_OF_PROXY = frozenset("proxy-started proxy-stopped heartbeat ledger-full roster archived policy".split())
_TYPES = (
    _LIFE
    | _OF_PROXY
    | frozenset("session-opened session-closed forwarded request decision-rejected redacted reviewed".split())
)
# What the second format has and the first has not: types, and fields of bodies.
_LATER_TYPES = frozenset({"policy", "reviewed"})
_LATER = {
    "request": {"quorum", "break_glass"},
    "decision": {"lacks"},
    "intent": {"approvals"},
    "withdrawn": {"document", "signature"},
    "void": {"by", "person", "key", "document", "signature"},
}
_BREAKS = "break-glass"
_NEEDED = frozenset({"v", "ledger", "seq", "prev", "time", "type", "body"})
_MAY = _NEEDED | {"session", "request", "after", "seals"}


@dataclass(frozen=True)
class _Entry:
    raw: bytes
    leaf: bytes
    ledger: str
    seq: int
    prev: bytes
    time: datetime
    type: str
    body: dict[str, Any]
    session: str | None
    request: str | None
    after: bytes | None
    seals: dict[str, str]
    """Name -> commitment, base64."""


def _leaf(raw: bytes) -> bytes:
    return _sha256(b"\x00" + raw)


def _entry(raw: bytes) -> _Entry:
    fields = _decode(raw)
    if fields.get("v") not in ("pgnotary/entry/1", "pgnotary/entry/2"):
        raise Bad(f"of the format {fields.get('v')!r:.40}")
    if not _NEEDED <= fields.keys() <= _MAY:
        raise Bad(f"lacks, or should not have, {', '.join(sorted((_NEEDED - fields.keys()) | (fields.keys() - _MAY)))}")
    if fields["type"] not in (types := sorted(_TYPES)):
        raise Bad(f"of the type {fields['type']!r:.40}, none of {len(types)}")
    body, seals = fields["body"], fields.get("seals", {})
    if not isinstance(body, dict) or not isinstance(seals, dict):
        raise Bad("whose body or seals are no object")
    later = fields["type"] in _LATER_TYPES or not _LATER.get(fields["type"], set()).isdisjoint(body)
    later = later or (fields["type"] == "decision" and body.get("answer") == _BREAKS)
    if fields["v"] != f"pgnotary/entry/{2 if later else 1}":
        raise Bad(f"of the format {fields['v']!r}, but what it says is of another")
    for name, value in seals.items():
        if len(_unbase64(value)) != 32:
            raise Bad(f"whose seal {name} is not 32 bytes long")
    return _Entry(
        raw=raw,
        leaf=_leaf(raw),
        ledger=_text(fields["ledger"]),
        seq=_count(fields["seq"]),
        prev=_unhex(fields["prev"], 32),
        time=_time(fields["time"]),
        type=fields["type"],
        body=body,
        session=_text(fields["session"]) if "session" in fields else None,
        request=_text(fields["request"]) if "request" in fields else None,
        after=_unhex(fields["after"], 32) if "after" in fields else None,
        seals=seals,
    )


# ---- Forwarded statements ------------------------------------------------------------------------------------------

_COLUMNS = ("text", "alike", "at_us", "took_us")
_TOLD_TEXTS = frozenset({"kind", "verdict", "tag", "sqlstate", "would", "why", "copied_sha256"})
_TOLD_COUNTS = frozenset({"rows", "copied_bytes"})


def _forwarded(body: dict[str, Any]) -> tuple[int, int, set[str]]:
    """Return how many were forwarded, how many refused, and the names of the texts that ran."""
    if "summaries" in body:
        return _summed(body), 0, set()
    if body.keys() != {"since", "alike", "executions"}:
        raise Bad("a forwarded entry that is of neither form")
    first, alike, columns = _time(body["since"]), body["alike"], body["executions"]
    if not isinstance(alike, list) or not isinstance(columns, dict) or columns.keys() != set(_COLUMNS):
        raise Bad("a forwarded entry with other columns than one has")
    text, of, at_us, took_us = (columns[name] for name in _COLUMNS)
    for column in (text, of, at_us, took_us):
        if not isinstance(column, list) or len(column) != len(text) or not all(map(_is_int, column)):
            raise Bad("a column that is no list of as many numbers")
    if not 1 <= len(text) <= 500 or min(*text, *took_us) < 0 or set(of) != set(range(len(alike))):
        raise Bad("a forwarded entry whose numbers are out of their ranges")
    for each in alike:
        _check_alike(each)
    for after in at_us:
        try:
            first + timedelta(microseconds=after)
        except OverflowError as error:
            raise Bad("a time that is none") from error
    refused = sum(alike[place]["verdict"] == "refuse" for place in of)
    return len(of) - refused, refused, {f"t{number}" for number in text}


def _check_alike(told: Any) -> None:
    if not isinstance(told, dict) or not told.keys() <= _TOLD_TEXTS | _TOLD_COUNTS:
        raise Bad("a forwarded entry that tells something else of an execution")
    if told.get("verdict") not in ("forward", "refuse") or "kind" not in told:
        raise Bad("an execution without kind or verdict")
    for name, value in told.items():
        _text(value) if name in _TOLD_TEXTS else _count(value)


def _summed(body: dict[str, Any]) -> int:
    listed = body["summaries"]
    if len(body) != 1 or not isinstance(listed, list) or not listed:
        raise Bad("summaries that are no list, or not all that is said")
    total, before = 0, ""
    for each in listed:
        fields = {"kind", "executions", "rows", "took_us", "first", "last", "sha256"}
        if not isinstance(each, dict) or each.keys() != fields:
            raise Bad("a summary with other fields than one has")
        if _text(each["kind"]) <= before:
            raise Bad("summaries that are not sorted by kind")
        before = each["kind"]
        _unhex(each["sha256"], 32)
        _time(each["first"]), _time(each["last"])
        _count(each["rows"]), _count(each["took_us"])
        if not _count(each["executions"]):
            raise Bad("a summary of nothing")
        total += each["executions"]
    return total


# ---- Archives ------------------------------------------------------------------------------------------------------

_ARCHIVED_HASHES = ("root", "base", "entries", "opened")
_TEXT_NAME = re.compile(r"t(0|[1-9][0-9]{0,14})")

_Ranges = list[tuple[int, int]]


def _archived(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an `archived` entry, if it has the form of one."""
    if body.keys() != {"first", "kept", *_ARCHIVED_HASHES}:
        raise Bad("an archive that is told with other fields than it has")
    if _count(body["first"]) >= _count(body["kept"]):
        raise Bad(f"an archive from #{body['first']} to before #{body['kept']}")
    for name in _ARCHIVED_HASHES:
        _unhex(body[name], 32)
    return body


def _join(ranges: Iterable[tuple[int, int]]) -> _Ranges:
    """Return the same numbers in ascending ranges with gaps between them."""
    joined: _Ranges = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


@dataclass(frozen=True)
class Base:
    """What stands for the first entries of a ledger where only an archive has them."""

    fields: dict[str, Any]
    digest: str
    """SHA-256 of its bytes, hex."""

    @classmethod
    def read(cls, raw: bytes) -> "Base":
        """Read base.json; raises Bad."""
        fields = _decode(raw)
        needed = {"v", "ledger", "size", "roots", "prev", "time", "used", "sessions", "archived"}
        if fields.get("v") != "pgnotary/base/1" or fields.keys() - {"allowed_signers", "run"} != needed:
            raise Bad("a base of another format, or with other fields than one has")
        _count(fields["archived"])
        if "run" in fields:
            cls._check_run(fields["run"])
        _text(fields["ledger"]), _text(fields.get("allowed_signers", ""))
        _unhex(fields["prev"], 32), _time(fields["time"])
        used, sessions, roots = fields["used"], fields["sessions"], fields["roots"]
        if not isinstance(used, dict) or used.keys() != {"highest", "free"}:
            raise Bad("a base without the numbers that were used")
        _count(used["highest"]), cls.ranges(used["free"])
        if not isinstance(roots, list) or not isinstance(sessions, list):
            raise Bad("a base whose roots or sessions are no list")
        if not _count(fields["size"]) or len(roots) != fields["size"].bit_count():
            raise Bad("a base with more or fewer roots than its size has")
        for each in roots:
            _unhex(each, 32)
        for each in sessions:
            names = {"session", "opened", "held", "forwarded", "refused", "texts"}
            if not isinstance(each, dict) or each.keys() != names or not isinstance(each["opened"], dict):
                raise Bad("a base with a session that has other fields than one has")
            _text(each["session"]), cls.ranges(each["texts"])
            _count(each["held"]), _count(each["forwarded"]), _count(each["refused"])
        names_ = [each["session"] for each in sessions]
        if names_ != sorted(set(names_)):
            raise Bad("a base whose sessions are not sorted by name")
        return cls(fields, _sha256(raw).hex())

    @staticmethod
    def _check_run(run: Any) -> None:
        names = {"heartbeat_s", "began", "clock", "up_ms", "told_at", "full", "was_full", "silences"}
        if not isinstance(run, dict) or run.keys() != names:
            raise Bad("a base with a run that has other fields than one has")
        if not isinstance(run["full"], bool) or not isinstance(run["was_full"], bool):
            raise Bad("a base with a run that does not say yes or no to a full disk")
        if not 1 <= _count(run["heartbeat_s"]) <= 86_400:
            raise Bad("a base with a run that promised nothing")
        _count(run["began"]), _count(run["up_ms"]), _count(run["told_at"]), _time(run["clock"])
        if not isinstance(run["silences"], list):
            raise Bad("a base with silences that are no list")
        for each in run["silences"]:
            if not isinstance(each, list) or len(each) != 2:
                raise Bad("a base with a silence that is not a place and microseconds")
            _count(each[0]), _count(each[1])

    @staticmethod
    def ranges(said: Any) -> _Ranges:
        """Return numbers as a base spells them."""
        if not isinstance(said, list):
            raise Bad("a base with ranges that are no list")
        found: _Ranges = []
        for each in said:
            if not isinstance(each, list) or len(each) != 2 or _count(each[0]) > _count(each[1]):
                raise Bad("a base with a range that is not first and last")
            found.append((each[0], each[1]))
        if found != _join(found):
            raise Bad("a base with ranges that touch or are out of order")
        return found

    @property
    def size(self) -> int:
        """For how many entries it stands."""
        return int(self.fields["size"])


# ---- Decisions -----------------------------------------------------------------------------------------------------

_CEILING = ("max_rows", "max_other_rows")
_DOCUMENT = frozenset(
    "v ledger request request_leaf preview_leaf context user database kind statement decision reason approver head"
    " decided_at nonce".split()
)


def _document(entry: _Entry) -> tuple[bytes, dict[str, Any], str]:
    """Return a decision's document, as bytes and read, and its signature."""
    raw, signature = _unbase64(_text(entry.body.get("document"))), _text(entry.body.get("signature"))
    fields = _decode(raw)
    if (
        fields.get("v") not in ("pgnotary/decision/1", "pgnotary/decision/2")
        or fields.keys() - set(_CEILING) != _DOCUMENT
    ):
        raise Bad("a document of another format, or with other fields than one has")
    for name in ("ledger", "request", "user", "database", "kind", "statement", "reason", "approver"):
        if name in ("request", "reason", "approver"):
            _text(fields[name])
    for name, size in (("request_leaf", 32), ("preview_leaf", 32), ("context", 32), ("nonce", 16)):
        _unhex(fields[name], size)
    _time(fields["decided_at"])
    head = fields["head"]
    if not isinstance(head, dict) or head.keys() != {"size", "root"}:
        raise Bad("a head that is not a size and a root")
    _count(head["size"]), _unhex(head["root"], 32)
    answers = ("approve", "deny") if fields["v"] == "pgnotary/decision/1" else (_BREAKS,)
    if fields["decision"] not in answers:
        raise Bad(f"a decision that is none of {', '.join(answers)}: {fields['decision']!r:.40}")
    if fields["decision"] == _BREAKS and not fields["reason"].strip():
        raise Bad("a decision that breaks the glass without a reason")
    if "max_rows" in fields:
        _count(fields["max_rows"])
        if fields["decision"] == "deny":
            raise Bad("a denial that allows rows")
    if "max_other_rows" in fields:
        if "max_rows" not in fields:
            raise Bad("max_other_rows without max_rows")
        if fields["max_other_rows"] != "any":
            _count(fields["max_other_rows"])
    return raw, fields, signature


def first_look(raws: Iterable[bytes]) -> tuple[set[int], set[bytes]]:
    """Return the sizes of the heads that signatures name, and of what was archived; the leaves that redactions name."""
    sizes, leaves = set(), set()
    for raw in raws:
        try:
            if b'"type":"decision"' in raw:
                sizes.add(_document(_entry(raw))[1]["head"]["size"])
            elif b'"type":"reviewed"' in raw:
                sizes.add(_review(_entry(raw))[1]["head"]["size"])
            elif b'"type":"redacted"' in raw:
                redaction = _redaction(_entry(raw))[1]
                sizes.add(redaction["head"]["size"])
                leaves |= {bytes.fromhex(each["leaf"]) for each in redaction["values"]}
            elif b'"type":"archived"' in raw and (entry := _entry(raw)).type == "archived":
                sizes.add(_archived(entry.body)["kept"])
        except Bad:
            continue
    return sizes, leaves


def _context(request: _Entry, preview: _Entry) -> bytes:
    document = {
        "v": "pgnotary/context/1",
        "ledger": request.ledger,
        "request": request.request or "",
        "session": request.session or "",
        "request_leaf": request.leaf.hex(),
        "preview_leaf": preview.leaf.hex(),
        "held_at": f"{request.time:%Y-%m-%dT%H:%M:%S.%fZ}".rjust(27, "0"),
        "asked": request.body,
        "sealed": request.seals,
        "measured": preview.body,
        "measured_sealed": preview.seals,
    }
    return _sha256(b"pgnotary/context/1\n" + _canonical(document))


# ---- Redactions ----------------------------------------------------------------------------------------------------

_MAX_REDACTION = 16_384
_REDACTION_FIELDS = frozenset("v ledger values reason redactor head redacted_at nonce".split())
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NEEDED_IN = ("held", "approved", "intent", "executed", "prepared")


def _redaction(entry: _Entry) -> tuple[bytes, dict[str, Any], str]:
    """Return a redaction's document, as bytes and read, and its signature."""
    raw, signature = _unbase64(_text(entry.body.get("document"))), _text(entry.body.get("signature"))
    if len(raw) > _MAX_REDACTION:
        raise Bad("a redaction that is longer than one may be")
    fields = _decode(raw)
    if fields.get("v") != "pgnotary/redaction/1" or fields.keys() != _REDACTION_FIELDS:
        raise Bad("a redaction of another format, or with other fields than one has")
    values, reason, head = fields["values"], _text(fields["reason"]), fields["head"]
    _text(fields["ledger"]), _text(fields["redactor"]), _unhex(fields["nonce"], 16), _time(fields["redacted_at"])
    if not isinstance(head, dict) or head.keys() != {"size", "root"}:
        raise Bad("a head that is not a size and a root")
    _count(head["size"]), _unhex(head["root"], 32)
    if not 1 <= len(reason) <= 1_000 or _NO_LINE.search(reason):
        raise Bad("a reason that is not one line of 1 to 1,000 characters")
    if not isinstance(values, list) or not 1 <= len(values) <= 8:
        raise Bad("values that are not of 1 to 8 entries")
    before = -1
    for each in values:
        if not isinstance(each, dict) or each.keys() != {"seq", "leaf", "seals"}:
            raise Bad("values that are not named by seq, leaf and seals")
        names = each["seals"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise Bad("seals that are no list of names")
        if names != sorted(set(names)) or not all(map(_KEY.fullmatch, names)):
            raise Bad("seals that are not sorted, or no names")
        if _count(each["seq"]) <= before:
            raise Bad("entries that do not stand in their order, once each")
        before = each["seq"]
        _unhex(each["leaf"], 32)
    return raw, fields, signature


@dataclass(frozen=True)
class _Passed:
    """An entry that a later redaction names."""

    entry: _Entry
    person: str
    kept: frozenset[str]


# ---- Reviews -------------------------------------------------------------------------------------------------------

_REVIEW_FIELDS = frozenset("v ledger request decision words reviewer head reviewed_at nonce".split())
_REVIEW_WITHIN = timedelta(hours=24)


def _review(entry: _Entry) -> tuple[bytes, dict[str, Any], str]:
    """Return a review's document, as bytes and read, and its signature."""
    raw, signature = _unbase64(_text(entry.body.get("document"))), _text(entry.body.get("signature"))
    if len(raw) > 16_384:
        raise Bad("a review that is longer than one may be")
    fields = _decode(raw)
    if fields.get("v") != "pgnotary/review/1" or fields.keys() != _REVIEW_FIELDS:
        raise Bad("a review of another format, or with other fields than one has")
    words, head = _text(fields["words"]), fields["head"]
    _text(fields["ledger"]), _text(fields["request"]), _text(fields["reviewer"]), _time(fields["reviewed_at"])
    _unhex(fields["nonce"], 16), _unhex(fields["decision"], 32)
    if not isinstance(head, dict) or head.keys() != {"size", "root"}:
        raise Bad("a head that is not a size and a root")
    _count(head["size"]), _unhex(head["root"], 32)
    if not 1 <= len(words) <= 1_000 or not words.strip() or _NO_LINE.search(words):
        raise Bad("words that are not one line of 1 to 1,000 characters")
    return raw, fields, signature


@dataclass(frozen=True)
class _Glass:
    """A decision that broke it, and that nobody has reviewed yet."""

    entry: _Entry
    seq: int
    breaker: str
    requester: str

    def is_by(self, person: str, key: str) -> bool:
        return self.breaker.casefold() == person.casefold() or key == str(self.entry.body.get("key", ""))


# ---- Withdrawals ---------------------------------------------------------------------------------------------------

_CALL_FIELDS = frozenset("v proxy method target body called_at nonce".split())
# The minute that a call may be old, or early, and five by which a clock may have been set back.
_CALL_WITHIN = timedelta(minutes=6)


def _call(entry: _Entry) -> tuple[bytes, dict[str, Any], str]:
    """Return the call by which a request was taken back, as bytes and read, and its signature."""
    raw, signature = _unbase64(_text(entry.body.get("document"))), _text(entry.body.get("signature"))
    fields = _decode(raw)
    if fields.get("v") != "pgnotary/call/1" or fields.keys() != _CALL_FIELDS:
        raise Bad("a call of another format, or with other fields than one has")
    _text(fields["proxy"]), _text(fields["method"]), _text(fields["target"]), _time(fields["called_at"])
    _unhex(fields["body"], 32), _unhex(fields["nonce"], 16)
    return raw, fields, signature


def _caller(roster: _Roster, public: _Public, at: datetime) -> str:
    """Return whose key it is, if it may sign calls at that time: with one that decides or redacts, too."""
    refused: list[str] = []
    for purpose in (_REQUEST, _DECISION, _REDACTION):
        try:
            return _find(roster, public, at, purpose)
        except Bad as error:
            refused.append(str(error))
    raise Bad(refused[0])


# ---- The life of requests ------------------------------------------------------------------------------------------

_MOVES = {
    "held": {"approved", "denied", "expired", "withdrawn", "orphaned"},
    "approved": {"intent", "void"},
    "intent": {"executed", "failed", "rolled-back", "unknown"},
    "executed": {"committed", "rolled-back", "unknown", "prepared"},
    "prepared": {"committed", "rolled-back", "unknown", "resolved"},
    "unknown": {"resolved", "prepared"},
}
_RESULTS = frozenset({"committed", "rolled-back", "failed", "unknown", "prepared", "resolved"})
_COMMITS = frozenset({"autocommit", "commit", "batch-commit", "commit-prepared", "outside"})
_COUNTING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})


def _leads_to(entry: _Entry) -> str | None:
    """Return the state that an entry moves its request to; None if it says none that there is."""
    body = entry.body
    match entry.type:
        case "decision":
            answer = body.get("answer")
            if answer == "approve":
                return "held" if "lacks" in body else "approved"
            return "approved" if answer == _BREAKS else "denied" if answer == "deny" else None
        case "outcome":
            result, fate = body.get("result"), body.get("fate")
            if not isinstance(result, str) or result not in _RESULTS:
                return None
            fits = fate in ("committed", "rolled-back") if result == "resolved" else fate is None
            return result if fits else None
        case "ending":
            return "prepared" if body.get("action") in ("commit-prepared", "rollback-prepared") else "executed"
        case "preview":
            return "held"
        case _:
            return entry.type


def _has_committed(outcome: _Entry) -> bool:
    return "committed" in (outcome.body.get("result"), outcome.body.get("fate"))


class _Quorum:
    """What a request needs, and whose approvals it has; nothing is enough if nobody can read what it needs."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.total: int | None = None
        self.people: list[str] = []
        self.leaves: list[str] = []
        self.keys: list[str] = []
        self.broken = False
        self._groups: list[tuple[int, frozenset[str] | None]] = []
        total = body.get("needs", 1)
        if not _is_int(total) or not 1 <= total <= 16:
            raise Bad(f"needs {total!r:.60} approvals, which is no number from 1 to 16")
        if "break_glass" in body:
            self.names(body["break_glass"])
        if "quorum" in body:
            self._read(body["quorum"], total)
        else:
            self._groups.append((total, None))
        self.total = total

    @classmethod
    def unreadable(cls) -> "_Quorum":
        quorum = cls({})
        quorum.total, quorum._groups = None, []
        return quorum

    def _read(self, listed: Any, total: int) -> None:
        if not isinstance(listed, list) or not listed:
            raise Bad("a quorum that is no list")
        names: set[str] = set()
        for each in listed:
            if not isinstance(each, dict) or not {"count", "group"} <= each.keys() <= {"count", "group", "people"}:
                raise Bad("a quorum whose parts have other fields than count, group and people")
            if _count(each["count"]) < 1 or _text(each["group"]) in names:
                raise Bad("a quorum with a count of 0, or a group that stands there twice")
            names.add(each["group"])
            if ("people" in each) == (each["group"] == "anyone"):
                raise Bad("a quorum of a group without people, or of anyone with people")
            self._groups.append((each["count"], self.names(each["people"]) if "people" in each else None))
        if sum(count for count, _ in self._groups) != total:
            raise Bad("a quorum of another number than it needs")

    @staticmethod
    def names(listed: Any) -> frozenset[str]:
        if not isinstance(listed, list) or not 1 <= len(listed) <= 64 or not all(isinstance(n, str) for n in listed):
            raise Bad("people that are no list of 1 to 64 names")
        folded = frozenset(name.casefold() for name in listed)
        if len(folded) != len(listed):
            raise Bad("people of whom one stands there twice")
        return folded

    def is_of_it(self, person: str) -> bool:
        return any(people is None or person.casefold() in people for _, people in self._groups)

    def lacks(self, people: Iterable[str]) -> int:
        """Return how many are missing: a maximum flow from people to groups, a unit for each person."""
        into: list[set[str]] = [set() for _ in self._groups]

        def flow(person: str, seen: set[int]) -> bool:
            for at, (count, allowed) in enumerate(self._groups):
                if at in seen or (allowed is not None and person not in allowed):
                    continue
                seen.add(at)
                if len(into[at]) < count:
                    into[at].add(person)
                    return True
                for other in sorted(into[at]):
                    if flow(other, seen):
                        into[at].remove(other)
                        into[at].add(person)
                        return True
            return False

        for person in sorted({person.casefold() for person in people}):
            flow(person, set())
        return sum(count for count, _ in self._groups) - sum(map(len, into))

    def take(self, entry: _Entry, document: dict[str, Any]) -> Iterator[str]:
        """Take a decision in whose document this is; yield what is wrong with it beside those before it."""
        answer, person = document["decision"], document["approver"]
        expected = None
        if answer == _BREAKS:
            self.people, self.leaves, self.broken = [person], [entry.leaf.hex()], True
            self.keys = [str(entry.body.get("key"))]
        elif self.total is not None:
            before = self.lacks(self.people)
            if not self.is_of_it(person):
                yield "decided by somebody of none of the groups that it needs"
            elif answer == "approve" and self.lacks([*self.people, person]) == before:
                yield "an approval that adds nothing to those before it"
            if answer == "approve":
                self.people.append(person)
                self.leaves.append(entry.leaf.hex())
                self.keys.append(str(entry.body.get("key")))
                expected = self.lacks(self.people) or None
        said = entry.body.get("lacks")
        if said != expected or type(said) is not type(expected):
            yield f"says that it lacks {said!r:.40}, that is {expected!r}"

    def sent(self, intent: _Entry) -> Iterator[str]:
        lacks = 0 if self.broken else 1 if self.total is None else self.lacks(self.people)
        if lacks:
            yield f"sent with {len(self.people)} approvals of the {self.total} that it needs, {lacks} are missing"
        if intent.body.get("approvals") != (self.leaves if len(self.leaves) > 1 else None):
            yield "sent by other approvals than it has"

    def revoked(self, at: datetime, roster: _Roster | None) -> Iterator[str]:
        """Yield whose keys do not count any more at the time of the intent; its proxy looked a moment before."""
        for person, key in zip(self.people, self.keys, strict=True):
            for public, signer in (roster or {}).items():
                if signer.person == person and public.fingerprint == key:
                    in_time = signer.before is None or at <= signer.before + timedelta(minutes=1)
                    in_time = in_time and (signer.after is None or at >= signer.after)
                    if in_time and (signer.namespaces is None or _DECISION in signer.namespaces):
                        break
            else:
                yield f"{person}'s key {key}"


def _ran_revoked(life: "_Life") -> list[str]:
    return [f"has run, though {key} did not count any more when it was sent" for key in life.revoked]


def _least(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the ceiling of two approvals together; an empty one allows anything."""
    if not one or not other:
        return one or other
    elsewhere = [each.get("max_other_rows", 0) for each in (one, other)]
    numbers = [number for number in elsewhere if number != "any"]
    least = {"max_rows": min(one["max_rows"], other["max_rows"]), "max_other_rows": min(numbers, default="any")}
    return {name: number for name, number in least.items() if name == "max_rows" or number != 0}


@dataclass
class _Life:
    request: _Entry
    whole: bool
    quorum: _Quorum
    last: bytes
    leaves: set[bytes]
    state: str = "held"
    preview: _Entry | None = None
    ceiling: dict[str, Any] = field(default_factory=dict)
    intent: _Entry | None = None
    revoked: list[str] = field(default_factory=list)
    executed: _Entry | None = None
    gid: Any = None


@dataclass
class _Session:
    opened: dict[str, Any]
    held: int = 0
    forwarded: int = 0
    refused: int = 0
    texts: set[str] = field(default_factory=set)
    before: _Ranges = field(default_factory=list)
    """The numbers of texts that were sealed before the base."""

    def has(self, text: str) -> bool:
        if text in self.texts:
            return True
        found = _TEXT_NAME.fullmatch(text)
        return found is not None and any(first <= int(found[1]) <= last for first, last in self.before)

    def told(self, name: str) -> dict[str, Any]:
        """Return what a base says of it."""
        numbers = [int(found[1]) for found in map(_TEXT_NAME.fullmatch, self.texts) if found]
        return {
            "session": name,
            "opened": self.opened,
            "held": self.held,
            "forwarded": self.forwarded,
            "refused": self.refused,
            "texts": _join([*self.before, *((number, number) for number in numbers)]),
        }


class _Ids:
    """Which request ids were used: the highest number, and the ranges below it that were not."""

    def __init__(self, highest: int = 0, free: _Ranges | None = None) -> None:
        self._highest = highest
        self._lows = [low for low, _ in free or []]
        self._highs = [high for _, high in free or []]

    def told(self) -> dict[str, Any]:
        """Return what a base says of them."""
        return {"highest": self._highest, "free": _join(list(zip(self._lows, self._highs, strict=True)))}

    def _range_of(self, number: int) -> int | None:
        """Return which of the ranges, which are sorted, a number lies in."""
        place = bisect.bisect_right(self._lows, number) - 1
        return place if place >= 0 and number <= self._highs[place] else None

    def is_used(self, request: str) -> bool:
        found = re.fullmatch(r"R-([1-9][0-9]{0,14})", request)
        number = int(found[1]) if found else self._highest + 1
        return number <= self._highest and self._range_of(number) is None

    def use(self, request: str) -> bool:
        """Mark one; False if it is none, or used."""
        found = re.fullmatch(r"R-([1-9][0-9]{0,14})", request)
        if not found or self.is_used(request):
            return False
        number = int(found[1])
        place = self._range_of(number)
        if place is None:
            place, low, high = len(self._lows), self._highest + 1, number
            self._highest = number
        else:
            low, high = self._lows[place], self._highs[place]
        parts = [(a, b) for a, b in ((low, number - 1), (number + 1, high)) if a <= b]
        self._lows[place : place + 1] = [a for a, _ in parts]
        self._highs[place : place + 1] = [b for _, b in parts]
        return True


# ---- Row counts ----------------------------------------------------------------------------------------------------


def _of_changed(body: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what was changed in the targets, and elsewhere."""
    listed = body.get("changed", [])
    if not isinstance(listed, list):
        raise Bad("changed is no list")
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("target"), bool):
            raise Bad("changed does not say of what")
        _text(each.get("relation")), _text(each.get("root", ""))
        for name in ("inserted", "updated", "deleted"):
            _count(each.get(name, 0))
    return [each for each in listed if each["target"]], [each for each in listed if not each["target"]]


def _sum(changed: list[dict[str, Any]], *names: str) -> int:
    return sum(each.get(name, 0) for each in changed for name in names or ("inserted", "updated", "deleted"))


def _tag_rows(tags: list[str]) -> int:
    total = 0
    for tag in tags:
        last = tag.split(" ")[-1]
        if tag.split(" ")[0] in _COUNTING and last.isascii() and last.isdigit():
            total += int(last)
    return total


def _rows_of(body: dict[str, Any]) -> Iterator[str]:
    """Yield what speaks against the counts of an `executed` entry."""
    try:
        own, others = _of_changed(body)
    except Bad as error:
        yield str(error)
        return
    whole = "changed_more" not in body
    said, counted = _number(body, "other_rows") or 0, _sum(others)
    if said < counted or (whole and said != counted):
        yield f"says {said} rows in other tables, its relations count {counted}"
    rows, tags = _number(body, "rows"), body.get("tags")
    if rows is None or not isinstance(tags, list) or len(tags) >= 200 or not whole:
        return
    short = [tag for tag in tags if isinstance(tag, str) and len(tag) <= 64]
    told = _tag_rows(short)
    moved = 0
    for root in {each.get("root", "") for each in own} - {""}:
        parts = [each for each in own if each.get("root") == root]
        moved += min(_sum(parts, "inserted"), _sum(parts, "deleted"))
    moved = min(moved, max(told - _sum(own, "updated"), 0))
    counted = max(told, _sum(own) - moved)
    # A COPY of rows out of the database, beside others, has a tag that is not in the sum.
    may_be_less = len(tags) != 1 and any(tag.startswith("COPY") for tag in short)
    if rows > counted or (rows < counted and not may_be_less):
        yield f"says {rows} rows, its tags and relations count {counted}"


def _exceeds(ceiling: dict[str, Any], rows: int, others: int) -> bool:
    most = ceiling.get("max_other_rows", 0)
    return bool(rows > ceiling["max_rows"] or (most != "any" and others > most))


def _ended(outcome: _Entry, life: _Life) -> Iterator[str]:
    """Yield what speaks against an outcome."""
    body, executed = outcome.body, life.executed.body if life.executed else None
    way, result = body.get("ended"), body.get("result")
    if way is not None and (isinstance(way, str) and way in _COMMITS) is not (result == "committed"):
        yield f"{result!r:.40}, and ended by {way!r:.40}"
    sent = life.intent.body.get("xid") if life.intent else None
    if body.get("xid") is not None and sent is not None and body["xid"] != sent:
        yield f"the outcome is of the transaction {body['xid']!r:.40}, sent was {sent!r:.40}"
    rows, counted = _number(body, "rows"), None if executed is None else _number(executed, "rows")
    if executed is not None and rows is not None and rows != counted:
        yield f"the outcome says {rows} rows, executed says {counted}"
    ceiling = life.ceiling
    if "ceiling_exceeded" in body:
        yield from _excess(outcome, ceiling)
    if not ceiling or not _has_committed(outcome):
        return
    counts = [each for each in (rows, counted) if each is not None]
    if not counts:
        yield f"committed without a row count, approved for at most {ceiling['max_rows']}"
    elif max(counts) > ceiling["max_rows"]:
        yield f"committed {max(counts)} rows, approved for at most {ceiling['max_rows']}"
    others = (_number(executed, "other_rows") or 0) if executed is not None else 0
    if _exceeds(ceiling, 0, others):
        yield f"committed {others} rows in other tables, approved for at most {ceiling.get('max_other_rows', 0)} there"
    if executed is not None and "uncountable" in executed:
        yield "committed what could not be counted, under a ceiling"


def _excess(outcome: _Entry, ceiling: dict[str, Any]) -> Iterator[str]:
    told = outcome.body["ceiling_exceeded"]
    if _has_committed(outcome):
        yield "more than was signed, and committed all the same"
    if not isinstance(told, dict) or not ceiling:
        yield "more than was signed, and no number was"
        return
    if {name: told[name] for name in _CEILING if name in told} != ceiling:
        yield "more than was signed, but another number was signed"
    rows, others = told.get("rows"), told.get("other_rows", 0)
    if isinstance(rows, int) and isinstance(others, int) and not _exceeds(ceiling, rows, others):
        yield "more than was signed, but it is not more"


# ---- Silence -------------------------------------------------------------------------------------------------------

_SLACK_US = 15 * 10**6


def _microseconds(passed: timedelta) -> int:
    return passed // timedelta(microseconds=1)


def _clock(entry: _Entry) -> datetime:
    try:
        return _time(entry.body.get("clock"))
    except Bad:
        return entry.time


class _Silence:
    """Looks for gaps between the entries of a run that are longer than it promised."""

    def __init__(self) -> None:
        self.lacks: list[tuple[int, str]] = []
        """Where something is lacking, and what."""
        self._promised = self._began = 0
        self._before: datetime | None = None
        """When the entry before was appended,"""
        self._full = False
        """and whether it tells of a full disk."""
        self._known: tuple[datetime, int] | None = None
        """Wall time, and milliseconds since the start, of the last entry that tells both."""
        self._known_at = 0
        """The place of that one."""
        self._was_full = False
        """Whether a disk was full since then."""
        self._gaps: list[tuple[int, int, int]] = []
        """Between which two places, and how many microseconds it lasted beyond the promise."""

    def resume(self, before: datetime, run: dict[str, Any] | None) -> None:
        """Go on behind a base: its time, and what it says of the run."""
        self._before = before
        if run:
            self._promised, self._began, self._full = run["heartbeat_s"], run["began"], run["full"]
            self._known = (_time(run["clock"]), run["up_ms"])
            self._known_at, self._was_full = run["told_at"], run["was_full"]
            promised = self._promised * 10**6
            self._gaps = [(after, after + 1, lasted - promised) for after, lasted in run["silences"]]

    def run(self) -> dict[str, Any] | None:
        """Return what a base says of the run that goes on here; None if none that promised anything does."""
        if not self._promised or self._known is None:
            return None
        wall, up = self._known
        return {
            "heartbeat_s": self._promised,
            "began": self._began,
            "clock": _spelled(wall),
            "up_ms": up,
            "told_at": self._known_at,
            "full": self._full,
            "was_full": self._was_full,
            "silences": [[after, over + self._promised * 10**6] for after, _, over in self._gaps],
        }

    def take(self, entry: _Entry, place: int) -> str | None:
        """Look at the entry at a place; return its fault, if it has one."""
        fault = None
        if entry.type == "proxy-started":
            self.end()
            promised = _number(entry.body, "heartbeat_s") or 0
            self._promised = promised if 0 < promised <= 86_400 else 0
            self._began = place
            self._known, self._known_at, self._was_full = (_clock(entry), 0), place, False
            self._abandons(entry.body.get("abandoned"), place)
        elif entry.type == "archived":
            # Nobody appends it while a proxy runs.
            self.end()
            self._promised = 0
        else:
            self._was_full |= self._full
            self._measure(entry, place)
            up = _number(entry.body, "up_ms")
            if entry.type in ("heartbeat", "proxy-stopped") and up is not None and up >= 0:
                self._uncover(up, place)
                self._explain(_clock(entry), up)
                self._known_at, self._was_full = place, False
            elif entry.type == "heartbeat":
                fault = "a heartbeat without the time since its start"
        if entry.type == "proxy-stopped":
            self.end()
            self._promised = 0
        self._before, self._full = entry.time, entry.type == "ledger-full"
        return fault

    def _abandons(self, told: Any, place: int) -> None:
        if isinstance(told, dict) and _is_int(told.get("size")) and isinstance(told.get("root"), str):
            self.lacks.append((place, f"gave up the head {told['root'][:16]} over {told['size']} entries"))

    def _measure(self, entry: _Entry, place: int) -> None:
        if not self._promised or self._before is None or self._full:
            return
        over = _microseconds(entry.time - self._before) - self._promised * 10**6
        if over > _SLACK_US:
            self._gaps.append((place - 1, place, over))

    def _uncover(self, up: int, place: int) -> None:
        """Report a silence over which the wall clock was set back: more has passed than the entries may stand for."""
        if self._known is None or not self._promised or self._was_full:
            return
        passed = (up - self._known[1]) * 1000 - sum(gap[2] for gap in self._gaps)
        if passed > (place - self._known_at) * (self._promised * 10**6 + _SLACK_US):
            text = f"and #{place} are {up - self._known[1]} ms apart, more than the entries in between may stand for"
            self.lacks.append((self._known_at, text))

    def _explain(self, wall: datetime, up: int) -> None:
        """Take off the gaps what the wall clock went ahead by, and report the rest."""
        ahead = 0
        if self._known is not None:
            passed = (up - self._known[1]) * 1000
            ahead = _microseconds(wall - self._known[0]) - passed
            if passed < 0:
                # A clock that nobody sets does not run back: it explains nothing.
                ahead = 0
            elif passed <= self._promised * 10**6 + _SLACK_US:
                # Nothing could last longer than that.
                ahead = sum(gap[2] for gap in self._gaps)
        left = []
        for gap in self._gaps:
            if gap[2] - ahead > _SLACK_US:
                left.append(gap)
            else:
                ahead -= gap[2]
        self._gaps = left
        self.end()
        self._known = (wall, up)

    def end(self) -> None:
        """Report the gaps that nothing explains."""
        for after, before, over in self._gaps:
            promised = f"the {self._promised} s that were promised"
            text = f"nothing was signed until #{before}, {over // 10**6} s beyond {promised}"
            self.lacks.append((after, text))
        self._gaps = []


# ---- The whole -----------------------------------------------------------------------------------------------------

Report = Callable[[int | None, str], None]
"""Takes a fault: the place of its entry, or None if it is about the folder, and what it is."""

Opened = dict[str, tuple[bytes, bytes]]
"""Name -> salt and value of what is kept of an entry's sealed values."""

_SAME = ("user", "person", "database", "client", "upstream_pid", "system_identifier")


class Verification:
    """One pass over one ledger of this key's, entry by entry; faults go to `report`.

    `sizes` and the leaves `redacted` are those that `first_look` found; to the sizes come those of the checkpoints that
    are given to `finish`. If the first entries are archived, `base` stands for them.
    """

    def __init__(
        self,
        key: Key,
        sizes: Iterable[int],
        roster: _Roster | None,
        report: Report,
        redacted: Iterable[bytes] = (),
        base: Base | None = None,
    ) -> None:
        self._key = key
        self._report = report
        self.notes: list[str] = []
        """What is no fault, and worth a word."""
        self._tree = _Tree(sizes)
        self._pinned = roster
        self._recorded: _Roster | None = None
        self._recorded_text: str | None = None
        self._ledger: str | None = None
        self._prev = bytes(32)
        self._next_seq = 0
        self._last_time: datetime | None = None
        self._lives: dict[str, _Life] = {}
        self._sessions: dict[str, _Session] = {}
        self._silence = _Silence()
        self._ids = _Ids()
        self._redacted = frozenset(redacted)
        self._passed: dict[bytes, _Passed] = {}
        self._glass: dict[str, _Glass] = {}
        self._gone: set[tuple[bytes, str]] = set()
        self._bases: dict[int, str] = {}
        """At each size that somebody names the digest of the base there, where no request is open."""
        self._kept, self._told_at = 0, -1
        """What the last `archived` entry says, and where it stands."""
        self._owed = base
        """Until an `archived` entry names it."""
        self.archived_heads = 0
        """How many checkpoints lie before the base, and were compared with nothing."""
        names = "rosters requests decisions rejected executions committed forwarded refused opened withheld redacted"
        self.counts = dict.fromkeys(names.split(), 0)
        if base:
            self._stand_on(base)

    def _stand_on(self, base: Base) -> None:
        fields = base.fields
        self._tree = _Tree(self._tree.sizes, base.size, map(bytes.fromhex, fields["roots"]))
        self._ledger, self._next_seq = fields["ledger"], base.size
        self._prev, self._last_time = bytes.fromhex(fields["prev"]), _time(fields["time"])
        self._ids = _Ids(fields["used"]["highest"], Base.ranges(fields["used"]["free"]))
        for each in fields["sessions"]:
            self._sessions[each["session"]] = _Session(
                each["opened"],
                each["held"],
                each["forwarded"],
                each["refused"],
                before=Base.ranges(each["texts"]),
            )
        self._kept = fields["archived"]
        self._silence.resume(self._last_time, fields.get("run"))
        if "allowed_signers" in fields:
            self._put_in_force(fields["allowed_signers"])

    @property
    def archived(self) -> int:
        """For how many entries its base stands."""
        return self._tree.floor

    @property
    def ledger(self) -> str:
        """Its name; "" if it has no entry."""
        return self._ledger or ""

    @property
    def size(self) -> int:
        """How many entries were taken."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._tree.root()

    def standing(self, *states: str) -> list[str]:
        """Return the requests that are in one of these states and have not ended."""
        return [request for request, life in self._lives.items() if life.state in states]

    def take(self, raw: bytes, opened: Opened) -> None:
        """Check the next entry."""
        if self.size in self._tree.sizes and not self._lives and not self._glass:
            self._bases[self.size] = self._digest()
        try:
            entry = _entry(raw)
        except Bad as error:
            self._fault(f"cannot be read: {error}")
        else:
            if len(raw) > _MAX_ENTRY:
                self._fault(f"has {len(raw)} bytes, an entry has at most {_MAX_ENTRY}")
            self._place(entry)
            self._seals(entry, opened)
            self._session(entry)
            if entry.seals and entry.leaf in self._redacted:
                self._passed[entry.leaf] = _Passed(entry, self._person(entry), frozenset(opened))
            self._follow(entry)
            if fault := self._silence.take(entry, self.size):
                self._fault(fault)
        self._prev = _leaf(raw)
        self._next_seq += 1
        self._tree.append(self._prev)

    @property
    def lacks(self) -> list[str]:
        """Where nothing was signed although it was promised, and heads that were given up; complete once finished."""
        glass = [(each.seq, f"{name}: its glass was broken, nobody reviewed") for name, each in self._glass.items()]
        return [f"#{place} {text}" for place, text in sorted([*self._silence.lacks, *glass])]

    def finish(self, newest: Checkpoint | None, remembered: Iterable[Checkpoint] = ()) -> None:
        """Check the checkpoints: the newest covers all, each gives the root of what it covers."""
        self._silence.end()
        if self._owed:
            text = "is the first one here, and no entry says that those before it were archived: they were taken away"
            self._report(self._owed.size, text)
        for each in [*remembered, *([newest] if newest else [])]:
            last = max(0, min(each.size, self.size) - 1)
            if self._ledger is not None and each.origin != self._ledger:
                self._report(last, f"a checkpoint is of {each.origin!r:.80}, not of {self._ledger!r:.80}")
            elif each.size > self.size:
                self._report(
                    self.size,
                    f"and what follows is missing: a checkpoint covers {each.size} entries, here are {self.size}",
                )
            elif 0 < each.size < self._tree.floor:
                self.archived_heads += 1
            elif self._tree.at(each.size) != each.root:
                self._report(last, f"the checkpoint over {each.size} entries is not about these: one was changed")
        if newest and newest.size < self.size and newest.origin == self.ledger:
            self._report(newest.size, f"is not covered: the newest checkpoint ends at {newest.size} of {self.size}")

    def _fault(self, text: str) -> None:
        self._report(self.size, text)

    def _note(self, text: str) -> None:
        self.notes.append(f"#{self.size} {text}")

    # Archives

    def _digest(self) -> str:
        """Return what the base of this place hashes to; "" if there is none."""
        if self._ledger is None or self._last_time is None:
            return ""
        document = {
            "v": "pgnotary/base/1",
            "ledger": self._ledger,
            "size": self.size,
            "roots": [peak.hex() for peak in self._tree.peaks()],
            "prev": self._prev.hex(),
            "time": _spelled(self._last_time),
            "used": self._ids.told(),
            "archived": self._kept,
            "sessions": [session.told(name) for name, session in sorted(self._sessions.items())],
        }
        if self._recorded_text is not None:
            document["allowed_signers"] = self._recorded_text
        if run := self._silence.run():
            document["run"] = run
        return _sha256(_canonical(document)).hex()

    def _archive(self, entry: _Entry) -> None:
        try:
            told = _archived(entry.body)
        except Bad as error:
            self._fault(str(error))
            return
        kept = told["kept"]
        if told["first"] != self._kept:
            self._fault(f"archives from #{told['first']} on, those before it ended before #{self._kept}")
        if self._owed:
            if kept != self._owed.size:
                self._fault(f"says that what is before #{kept} was archived, here are entries from #{self._owed.size}")
            else:
                if told["root"] != (self._tree.at(kept) or b"").hex():
                    self._fault("archived other entries than the base of this ledger stands for")
                if told["base"] != self._owed.digest:
                    self._fault("names another base than this ledger stands on")
            self._owed = None
        elif not self._told_at < kept <= self.size:
            self._fault(f"archives what is before #{kept}, which is not between #{self._told_at} and this entry")
        else:
            if told["root"] != (self._tree.at(kept) or b"").hex():
                self._fault(f"archives {kept} entries with another root than they have")
            if told["base"] != self._bases.get(kept):
                self._fault(f"names a base at #{kept} that does not follow from the entries before it")
        self._kept, self._told_at = kept, self.size

    def _place(self, entry: _Entry) -> None:
        if entry.seq != self._next_seq:
            self._fault(f"says seq {entry.seq}, expected {self._next_seq}")
        self._next_seq = entry.seq
        if entry.prev != self._prev:
            text = f"is not what #{self.size} names before it: one was changed, or what stood between them is gone"
            self._report(max(0, self.size - 1), text)
        if self._ledger is None:
            self._ledger = entry.ledger
        elif entry.ledger != self._ledger:
            self._fault(f"is of the ledger {entry.ledger!r:.80}, the first of {self._ledger!r:.80}")
        if self._last_time is not None and entry.time < self._last_time:
            self._fault("was appended before the entry before it")
        self._last_time = entry.time

    def _seals(self, entry: _Entry, opened: Opened) -> None:
        for name, (salt, value) in opened.items():
            hashed = _sha256(b"pgnotary/seal/1\n" + name.encode() + b"\x00" + salt + value)
            if name not in entry.seals:
                self._fault(f"has no seal {name!r:.60}, but a value is kept for it")
            elif len(salt) != 32 or entry.seals[name] != _base64(hashed):
                self._fault(f"does not commit to the value that is kept for {name!r:.60}")
        self.counts["opened"] += len(opened)
        self.counts["withheld"] += len(entry.seals.keys() - opened.keys())

    # Sessions

    def _session(self, entry: _Entry) -> None:
        name = entry.session or ""
        session = self._sessions.get(name)
        match entry.type:
            case "proxy-started":
                self._sessions.clear()
            case "session-opened":
                if session:
                    self._fault(f"opens {name!r:.60}, which is open")
                self._sessions[name] = _Session(entry.body)
            case "request":
                self._asked_in(entry, session)
            case "preview" if session:
                session.held += 1
            case "session-closed" if session:
                held = _number(entry.body, "held")
                if held is not None and held > session.held:
                    self._fault(f"closes {name!r:.60} with {held} held, {session.held} are in the ledger")
                del self._sessions[name]
            case "session-closed":
                self._fault(f"closes {name!r:.60}, which is not open")
            case _:
                pass

    def _asked_in(self, request: _Entry, session: _Session | None) -> None:
        if session is None:
            self._fault(f"asks in the session {request.session!r:.60}, which is not open")
            return
        for name in _SAME:
            opened, asked = session.opened.get(name), request.body.get(name)
            if opened is not None and asked is not None and opened != asked:
                self._fault(f"asks with {name} {asked!r:.60}, its session was opened with {opened!r:.60}")

    def _person(self, entry: _Entry) -> str:
        """Return whose session it belongs to, if that is open; of a request, who it says has asked."""
        session = self._sessions.get(entry.session or "")
        told = entry.body if entry.type == "request" else session.opened if session else {}
        person = told.get("person")
        return person if isinstance(person, str) else ""

    # Requests

    def _follow(self, entry: _Entry) -> None:
        if entry.type == "request":
            self._ask(entry)
        elif entry.type in _LIFE:
            self._step(entry)
        elif entry.type == "decision-rejected":
            self._reject(entry)
        else:
            if entry.request is not None or entry.after is not None:
                self._fault(f"of the type {entry.type} belongs to no request, but names one")
            if entry.type == "roster":
                self.counts["rosters"] += 1
                self._put_in_force(entry.body.get("allowed_signers", ""))
            elif entry.type == "archived":
                self._archive(entry)
            elif entry.type == "forwarded":
                self._forward(entry)
            elif entry.type == "redacted":
                self._redact(entry)
            elif entry.type == "reviewed":
                self._look_at(entry)

    def _put_in_force(self, said: Any) -> None:
        try:
            self._recorded = read_roster(_text(said))
            self._recorded_text = said
        except Bad as error:
            self._recorded = self._recorded_text = None
            self._fault(f"is a roster that cannot be read: {error}")

    def _forward(self, entry: _Entry) -> None:
        try:
            forwarded, refused, texts = _forwarded(entry.body)
        except Bad as error:
            self._fault(str(error))
            return
        self.counts["forwarded"] += forwarded
        self.counts["refused"] += refused
        if session := self._sessions.get(entry.session or ""):
            session.forwarded += forwarded
            session.refused += refused
            session.texts |= entry.seals.keys()
            if missing := {text for text in texts if not session.has(text)}:
                self._fault(f"tells of {min(missing)}, a text that is sealed nowhere before in its session")

    def _ask(self, entry: _Entry) -> None:
        request = entry.request
        if request is None or not self._ids.use(request):
            self._fault(f"{request!r:.60} is not the id of a new request")
        if request is None:
            return
        if entry.after is not None:
            self._fault(f"{request}: begins here, but names an entry before it")
        whole = "statement" in entry.seals and all(
            isinstance(entry.body.get(name), str) for name in ("user", "person", "database", "kind")
        )
        if not whole:
            self._fault(f"{request}: lacks its user, person, database, kind or sealed statement")
        try:
            quorum = _Quorum(entry.body)
        except Bad as error:
            quorum = _Quorum.unreadable()
            self._fault(f"{request}: {error}")
        self.counts["requests"] += 1
        self._lives[request] = _Life(entry, whole, quorum, entry.leaf, {entry.leaf})

    def _step(self, entry: _Entry) -> None:
        request = entry.request or ""
        life = self._lives.get(request)
        if entry.request is None or life is None:
            self._fault(f"{request!r:.60}: {entry.type} of what is not open here")
            return
        if entry.after != life.last:
            self._fault(f"{request}: does not name the newest entry of its request")
        if entry.session is not None and entry.session != life.request.session:
            self._fault(f"{request}: in another session than it was asked in")
        to = _leads_to(entry)
        if to is None:
            self._fault(f"{request}: {entry.type} without a known answer or result")
        else:
            stays = entry.type in ("preview", "ending") or (entry.type == "decision" and to == "held")
            legal = life.state == to if stays else to in _MOVES[life.state]
            if not legal or (entry.type == "preview" and life.preview):
                self._fault(f"{request}: is {life.state}, {entry.type} ({to}) cannot follow")
        self._tell(entry, life)
        life.last = entry.leaf
        life.leaves.add(entry.leaf)
        life.state = to or life.state
        if life.state not in _MOVES:
            del self._lives[request]

    def _tell(self, entry: _Entry, life: _Life) -> None:
        faults: list[str] = []
        match entry.type:
            case "preview":
                life.preview = entry
            case "decision":
                self._decide(entry, life)
            case "withdrawn" | "void":
                faults = [*self._taken_back(entry, life.request)]
            case "intent":
                self.counts["executions"] += 1
                life.intent = entry
                faults = [*self._intend(entry, life)]
                life.revoked = [
                    *life.quorum.revoked(entry.time, self._recorded if self._pinned is None else self._pinned)
                ]
            case "executed":
                life.executed = entry
                faults = [*_rows_of(entry.body), *_ran_revoked(life)]
            case "ending":
                faults = [*self._named(entry, life)]
            case "outcome":
                faults = [*_ended(entry, life), *self._named(entry, life)]
                if _has_committed(entry):
                    self.counts["committed"] += 1
                    faults += [] if life.executed else _ran_revoked(life)
                if entry.body.get("result") == "prepared":
                    life.gid = entry.body.get("gid", "")
            case _:
                pass
        for fault in faults:
            self._fault(f"{entry.request}: {fault}")

    def _intend(self, intent: _Entry, life: _Life) -> Iterator[str]:
        yield from life.quorum.sent(intent)
        for name in ("system_identifier", "upstream_pid"):
            asked, sent = life.request.body.get(name), intent.body.get(name)
            if asked is not None and sent is not None and asked != sent:
                yield f"sent to {name} {sent!r:.60}, asked for {asked!r:.60}"

    def _named(self, entry: _Entry, life: _Life) -> Iterator[str]:
        gid = entry.body.get("gid")
        if life.gid is None:
            if entry.body.get("result") == "prepared" and not isinstance(gid, str):
                yield "prepared without a name"
        elif gid is not None and gid != life.gid:
            yield f"prepared as {life.gid!r:.60}, ended as {gid!r:.60}"

    # Decisions

    def _reject(self, entry: _Entry) -> None:
        self.counts["rejected"] += 1
        if entry.request is None:
            return
        life = self._lives.get(entry.request)
        if life is None:
            if not self._ids.is_used(entry.request):
                self._fault(f"{entry.request!r:.60}: rejects a decision about what nobody has asked for")
        elif entry.after is not None and entry.after not in life.leaves:
            self._fault(f"{entry.request}: rejects beside what is not of its life")

    def _decide(self, entry: _Entry, life: _Life) -> None:
        self.counts["decisions"] += 1
        if life.preview is None or not life.whole:
            self._fault(f"{entry.request}: decided without a request and a preview to decide about")
            return
        try:
            raw, document, signature = _document(entry)
        except Bad as error:
            self._fault(f"{entry.request}: the document cannot be read: {error}")
            return
        roster = self._recorded if self._pinned is None else self._pinned
        try:
            if roster is None:
                raise Bad("no roster is in force, so nobody could have decided")
            public = _signer_of(signature, raw, _DECISION)
            person = _find(roster, public, entry.time, _DECISION)
            _check_document(document, person, life.request, life.preview)
            if entry.body.get("key") != public.fingerprint:
                raise Bad("the entry names another key")
        except Bad as error:
            self._fault(f"{entry.request}: {error}")
        said = _ceiling_of(document) | {"approver": document["approver"], "answer": document["decision"]}
        for name in ("approver", "answer", *_CEILING):
            recorded = entry.body.get(name)
            if recorded != said.get(name) or type(recorded) is not type(said.get(name)):
                self._fault(
                    f"{entry.request}: the entry says {name} {recorded!r:.60}, signed was {said.get(name)!r:.60}"
                )
        self._check_head(entry, document["head"], life.preview)
        if life.state != "held":
            return  # Which is a fault by itself.
        first = not life.quorum.leaves or document["decision"] == _BREAKS
        for fault in life.quorum.take(entry, document):
            self._fault(f"{entry.request}: {fault}")
        if document["decision"] == _BREAKS:
            self._break(entry, str(entry.body.get("approver", "")), str(life.request.body.get("person", "")))
        if document["decision"] != "deny":
            allowed = _ceiling_of(document)
            life.ceiling = allowed if first else _least(life.ceiling, allowed)

    def _check_head(self, entry: _Entry, head: dict[str, Any], preview: _Entry) -> None:
        size = head["size"]
        if size > self.size:
            self._fault(f"{entry.request}: the approver saw {size} entries, here are {self.size} before it")
            return
        if size <= preview.seq:
            self._fault(f"{entry.request}: the approver saw {size} entries, without the preview #{preview.seq}")
        root = self._tree.at(size)
        if root is None or root.hex() != head["root"]:
            self._fault(
                f"{entry.request}: the approver saw another head over {size} entries: they were rewritten since"
            )

    # Reviews

    def _break(self, entry: _Entry, breaker: str, requester: str) -> None:
        for name, each in self._glass.items():
            late = entry.time - each.entry.time > _REVIEW_WITHIN
            if each.is_by(breaker, str(entry.body.get("key", ""))) and late:
                self._fault(f"{entry.request}: breaks the glass while {name} is still not reviewed")
        self._glass[entry.request or ""] = _Glass(entry, entry.seq, breaker, requester)

    def _look_at(self, entry: _Entry) -> None:
        try:
            raw, review, signature = _review(entry)
        except Bad as error:
            self._fault(f"the review cannot be read: {error}")
            return
        faults = [*self._reviewable(entry, raw, review, signature)]
        for fault in faults:
            self._fault(fault)
        if not faults:
            del self._glass[review["request"]]

    def _reviewable(self, entry: _Entry, raw: bytes, review: dict[str, Any], signature: str) -> Iterator[str]:
        """Yield what is wrong with a review."""
        roster = self._recorded if self._pinned is None else self._pinned
        try:
            if roster is None:
                raise Bad("no roster is in force, so nobody could have reviewed")
            public = _signer_of(signature, raw, _DECISION)
            if _find(roster, public, entry.time, _DECISION) != review["reviewer"]:
                raise Bad(f"signed by another person's key than {review['reviewer']!r:.80}'s")
            if entry.body.get("key") != public.fingerprint:
                raise Bad("the entry names another key")
        except Bad as error:
            yield str(error)
        for name in ("request", "reviewer", "words"):
            if entry.body.get(name) != review[name]:
                yield f"the entry says another {name} than was signed"
        if review["ledger"] != entry.ledger:
            yield f"a review for the ledger {review['ledger']!r:.80}"
        glass = self._glass.get(review["request"])
        if glass is None or glass.entry.leaf.hex() != review["decision"]:
            yield "a review of what was not let run by one alone, or was reviewed before"
            return
        reviewer = review["reviewer"]
        if glass.is_by(reviewer, str(entry.body.get("key"))) or reviewer.casefold() == glass.requester.casefold():
            yield "a review by who broke the glass, or by who asked"
        size = review["head"]["size"]
        if not glass.seq < size <= self.size:
            yield f"the reviewer saw {size} entries, which is not between #{glass.seq} and here"
        elif not 0 < size < self._tree.floor:
            root = self._tree.at(size)
            if root is None or root.hex() != review["head"]["root"]:
                yield f"the reviewer saw another head over {size} entries: they were rewritten since"

    # Withdrawals

    def _taken_back(self, entry: _Entry, request: _Entry) -> Iterator[str]:
        """Yield what is wrong with the call that an entry holds, by which a request was taken back."""
        body = entry.body
        if not {"document", "signature"} & body.keys():
            if body.get("by") == "requester":
                self._note(f"{entry.request}: taken back by its requester, it says, but holds nothing they signed")
            return
        roster = self._recorded if self._pinned is None else self._pinned
        try:
            raw, call, signature = _call(entry)
            if roster is None:
                raise Bad("no roster is in force, so nobody could have signed")
            called_at = _time(call["called_at"])
            public = _signer_of(signature, raw, _REQUEST)
            person = _caller(roster, public, called_at)
        except Bad as error:
            yield f"the call cannot be believed: {error}"
            return
        asked = {"proxy": self._key.text, "method": "POST", "target": f"/v1/requests/{entry.request}/withdraw"}
        yield from (
            f"signed for another {name} than this: {call[name]!r:.200}" for name in asked if call[name] != asked[name]
        )
        if max(request.time - called_at, called_at - entry.time) > _CALL_WITHIN:
            yield f"signed at {_spelled(called_at)}, which is not between its request and here"
        if person.casefold() != str(request.body.get("person")).casefold():
            yield f"signed by {person}, who has not asked for it"
        told = {"by": "requester", "person": person, "key": public.fingerprint}
        yield from (f"the entry says another {name} than was signed" for name in told if body.get(name) != told[name])
        if entry.time - called_at > _CALL_WITHIN:
            self._note(f"{entry.request}: taken back at {_spelled(called_at)} by {person}'s clock, recorded later")

    # Redactions

    def _redact(self, entry: _Entry) -> None:
        try:
            raw, redaction, signature = _redaction(entry)
        except Bad as error:
            self._fault(f"the redaction cannot be read: {error}")
            return
        faults = [*self._authority(entry, raw, redaction, signature)]
        authorised = not faults
        faults += [
            f"the entry says another {name} than was signed"
            for name in ("redactor", "values", "reason")
            if entry.body.get(name) != redaction[name]
        ]
        faults += self._head_of(redaction)
        # What was archived since then is looked at with its archive.
        here = [each for each in redaction["values"] if each["seq"] >= self._tree.floor]
        targets = [*self._targets(entry, redaction, here)]
        for fault in (*faults, *targets):
            self._fault(fault)
        for each in here if authorised and not targets else ():
            passed = self._passed[leaf := bytes.fromhex(each["leaf"])]
            for name in each["seals"]:
                self._gone.add((leaf, name))
                if name in passed.kept:
                    self._fault(f"{name!r:.60} of #{each['seq']} was redacted, but its value is still kept")
                else:
                    self.counts["withheld"] -= 1
                    self.counts["redacted"] += 1

    def _authority(self, entry: _Entry, raw: bytes, redaction: dict[str, Any], signature: str) -> Iterator[str]:
        """Yield why the signer may not redact."""
        roster = self._recorded if self._pinned is None else self._pinned
        try:
            if roster is None:
                raise Bad("no roster is in force, so nobody could have redacted")
            public = _signer_of(signature, raw, _REDACTION)
            if _find(roster, public, entry.time, _REDACTION) != redaction["redactor"]:
                raise Bad(f"signed by another person's key than {redaction['redactor']!r:.80}'s")
            if entry.body.get("key") != public.fingerprint:
                raise Bad("the entry names another key")
        except Bad as error:
            yield str(error)

    def _head_of(self, redaction: dict[str, Any]) -> Iterator[str]:
        size, last = redaction["head"]["size"], redaction["values"][-1]["seq"]
        if size > self.size:
            yield f"the redactor saw {size} entries, here are {self.size} before it"
            return
        if size <= last:
            yield f"the redactor saw {size} entries, without #{last}"
        if 0 < size < self._tree.floor:
            return
        root = self._tree.at(size)
        if root is None or root.hex() != redaction["head"]["root"]:
            yield f"the redactor saw another head over {size} entries: they were rewritten since"

    def _targets(self, entry: _Entry, redaction: dict[str, Any], here: list[dict[str, Any]]) -> Iterator[str]:
        """Yield what speaks against erasing what is named, of which these are not archived."""
        if redaction["ledger"] != entry.ledger:
            yield f"a redaction for the ledger {redaction['ledger']!r:.80}"
        for each in redaction["values"]:
            if each["seq"] < self._kept:
                yield f"#{each['seq']} was archived before, so that nothing of it could be erased here"
        for each in here:
            where, leaf = f"#{each['seq']}", bytes.fromhex(each["leaf"])
            passed = self._passed.get(leaf)
            if passed is None or passed.entry.seq != each["seq"]:
                yield f"there is no {where} with such a leaf before it"
                continue
            for name in each["seals"]:
                if name not in passed.entry.seals:
                    yield f"{where} has no seal {name!r:.60}"
                elif (leaf, name) in self._gone:
                    yield f"{name!r:.60} of {where} was redacted before"
            if passed.entry.type == "decision-rejected":
                yield f"{where} is a rejected decision, which cannot be redacted"
            if passed.person.casefold() == redaction["redactor"].casefold():
                yield f"{where} is the redactor's own"
            life = self._lives.get(passed.entry.request or "")
            if life and life.state in _NEEDED_IN:
                yield f"{passed.entry.request} is {life.state}: what it asks is still needed"
            elif passed.entry.request in self._glass:
                yield f"{passed.entry.request} is not reviewed: what it asked is still needed"


def _ceiling_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers that an entry repeats; a `max_other_rows` of 0 is left out, as if it was not said."""
    numbers = {name: document[name] for name in _CEILING if name in document}
    return {name: number for name, number in numbers.items() if name == "max_rows" or number != 0}


def _check_document(document: dict[str, Any], person: str, request: _Entry, preview: _Entry) -> None:
    if person != document["approver"]:
        raise Bad(f"signed by {person}'s key, but the document says {document['approver']!r:.60}")
    expected = {
        "ledger": request.ledger,
        "request": request.request,
        "request_leaf": request.leaf.hex(),
        "preview_leaf": preview.leaf.hex(),
        "context": _context(request, preview).hex(),
        "user": request.body["user"],
        "database": request.body["database"],
        "kind": request.body["kind"],
        "statement": request.seals["statement"],
    }
    for name, value in expected.items():
        if document[name] != value:
            raise Bad(f"{name} is {document[name]!r:.80} in the document, {value!r:.80} in the ledger")
    if document["decision"] == _BREAKS:
        if person.casefold() not in _Quorum.names(request.body.get("break_glass")):
            raise Bad(f"{person} is none of those who may break the glass")
    elif person.casefold() == request.body["person"].casefold():
        raise Bad(f"{person} asked for it: somebody else must decide")
    if "max_rows" in document and request.body.get("countable") is False:
        raise Bad("a highest row count where rows cannot be counted")


# ---- The folder ----------------------------------------------------------------------------------------------------

_MAX_LINE = 64 * 1024 * 1024


def check_folder(
    folder: Path,
    key: Key,
    roster: _Roster | None,
    remembered: list[Checkpoint],
    report: Report,
    archives: Iterable[Path] = (),
) -> Verification:
    """Verify an exported folder, behind its archives if they are given.

    OSError if the entries or the checkpoint of one of them cannot be read.
    """
    parts = sorted((_Part(each, key, report) for each in archives), key=lambda part: part.end)
    parts.append(_Part(folder, key, report))
    heads = [*remembered, *(part.newest for part in parts[:-1] if part.newest)]
    newest = parts[-1].newest
    sizes, redacted = first_look(itertools.chain.from_iterable(_lines(part.folder) for part in parts))
    sizes |= {each.size for each in (*heads, *([newest] if newest else []))}
    verification = Verification(key, sizes, roster, report, redacted, parts[0].base)
    for before, after in itertools.pairwise(parts):
        if before.end != after.first:
            report(None, f"{before.folder} ends before #{before.end}, {after.folder} begins with #{after.first}")
            return verification
    if any(part.is_unreadable for part in parts):
        return verification
    told: dict[int, dict[str, Any]] = {}
    for part in parts:
        _check_part(part, key, verification, told, report)
    verification.finish(newest, heads)
    for part in parts[:-1]:
        about = told.get(part.end)
        if about is None:
            report(None, f"{part.folder} is an archive that the ledger does not tell of")
        elif _file_sha256(part.folder / "entries.jsonl") != about["entries"]:
            report(None, f"{part.folder / 'entries.jsonl'} is not the file that was archived")
    for part in parts[1:]:
        if part.base and told.get(part.first, {}).get("base") != part.base.digest:
            report(None, f"{part.folder / 'base.json'} is not the base that the ledger tells of")
    return verification


class _Part:
    """A folder with a stretch of a ledger."""

    def __init__(self, folder: Path, key: Key, report: Report) -> None:
        self.folder = folder
        self.newest: Checkpoint | None = None
        self.base: Base | None = None
        self.is_unreadable = False
        try:
            self.newest = Checkpoint.read(_whole(folder / "checkpoint.txt").decode(), key)
        except (Bad, UnicodeDecodeError) as error:
            report(None, f"checkpoint.txt cannot be believed: {error}")
        try:
            self.base = Base.read(_whole(folder / "base.json"))
        except FileNotFoundError:
            pass
        except (Bad, OSError) as error:
            self.is_unreadable = True
            report(None, f"base.json cannot be read: {error}")

    @property
    def first(self) -> int:
        return self.base.size if self.base else 0

    @property
    def end(self) -> int:
        return self.newest.size if self.newest else 0


def _check_part(
    part: _Part, key: Key, verification: Verification, told: dict[int, dict[str, Any]], report: Report
) -> None:
    """Check the entries of a folder, and its files; what it tells of archives goes to `told`."""
    folder = part.folder
    places = _opened_places(folder, report)
    used: set[bytes] = set()
    evidence = _Evidence(folder, report, part.base)
    with _opened_file(folder) as file:
        for raw in _lines(folder):
            leaf = _leaf(raw)
            opened: Opened = {}
            for at in places.get(leaf, ()):
                file.seek(at)
                _, name, salt, value = _opened(file.readline(_MAX_LINE))
                opened[name] = (salt, value)
                used.add(leaf)
            evidence.take(raw, verification.size)
            verification.take(raw, opened)
            _note_archive(raw, told)
    for leaf in places.keys() - used:
        report(None, f"opened.jsonl has a value for the leaf {leaf.hex()[:16]}, which no entry has")
    evidence.finish()
    try:
        if _whole(folder / "proxy.vkey").removesuffix(b"\n") != key.text.encode():
            report(None, "proxy.vkey holds another key than the one that this is verified with")
    except FileNotFoundError:
        report(None, "proxy.vkey is missing")


def _note_archive(raw: bytes, told: dict[int, dict[str, Any]]) -> None:
    if b'"type":"archived"' in raw:
        try:
            entry = _entry(raw)
            if entry.type == "archived":
                told[entry.body["kept"]] = _archived(entry.body)
        except (Bad, KeyError, TypeError):
            # Told where the entry is checked.
            return


def _file(path: Path) -> io.BufferedReader:
    """Open a file that came with the folder; what a FIFO or a device holds might come later, or never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return path.open("rb")


def _whole(path: Path) -> bytes:
    with _file(path) as file:
        return file.read()


def _file_sha256(path: Path) -> str:
    with _file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(folder: Path) -> Iterator[bytes]:
    with _file(folder / "entries.jsonl") as file:
        while line := file.readline(_MAX_ENTRY + 2):
            yield line.removesuffix(b"\n")


def _opened_file(folder: Path) -> BinaryIO:
    # Without the file all values are withheld.
    path = folder / "opened.jsonl"
    return _file(path) if path.exists() else Path("/dev/null").open("rb")


def _opened(line: bytes) -> tuple[bytes, str, bytes, bytes]:
    fields = _decode(line.removesuffix(b"\n"))
    if fields.keys() != {"leaf", "name", "salt", "value"}:
        raise Bad("other fields than leaf, name, salt and value")
    return _unhex(fields["leaf"], 32), _text(fields["name"]), _unbase64(fields["salt"]), _unbase64(fields["value"])


def _opened_places(folder: Path, report: Report) -> dict[bytes, list[int]]:
    """Return where the values of each leaf stand."""
    places: dict[bytes, list[int]] = {}
    seen: set[tuple[bytes, str]] = set()
    with _opened_file(folder) as file:
        at = number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            try:
                leaf, name, _, _ = _opened(line)
                if (leaf, name) in seen:
                    raise Bad("another value of the same name and entry")
                seen.add((leaf, name))
                places.setdefault(leaf, []).append(at)
            except Bad as error:
                report(None, f"opened.jsonl line {number} cannot be used: {error}")
            at += len(line)
    return places


class _Evidence:
    """Compares the files that follow from the entries: rosters/, allowed_signers, decisions/, withdrawals/."""

    def __init__(self, folder: Path, report: Report, base: Base | None) -> None:
        self._folder = folder
        self._report = report
        self._names: set[str] = set()
        self._decided: dict[str, tuple[int, bool]] = {}
        self._taken_back: set[str] = set()
        carried = base.fields.get("allowed_signers") if base else None
        self._roster: bytes | None = None if carried is None else carried.encode()

    def take(self, raw: bytes, place: int) -> None:
        try:
            entry = _entry(raw)
            if entry.type == "roster":
                self._roster = _text(entry.body.get("allowed_signers", "")).encode()
                self._compare(f"rosters/{place}", self._roster)
            elif entry.type in ("withdrawn", "void"):
                request = entry.request or ""
                if re.fullmatch(r"R-[0-9]{1,15}", request) and request not in self._taken_back:
                    call, _, signature = _call(entry)
                    self._taken_back.add(request)
                    self._compare(f"withdrawals/{request}.json", call)
                    self._compare(f"withdrawals/{request}.json.sig", signature.encode())
            elif entry.type == "decision":
                request = entry.request or ""
                document, _, signature = _document(entry)
                count, goes_on = self._decided.get(request, (0, True))
                if re.fullmatch(r"R-[0-9]{1,15}", request) and goes_on:
                    self._decided[request] = count + 1, _leads_to(entry) == "held"
                    name = f"decisions/{request}{f'-{count + 1}' if count else ''}.json"
                    self._compare(name, document)
                    self._compare(f"{name}.sig", signature.encode())
        except Bad:
            # Told where the entry is checked.
            return

    def finish(self) -> None:
        if self._roster is not None:
            self._compare("allowed_signers", self._roster)
        for top in ("allowed_signers", "decisions", "rosters", "withdrawals"):
            path = self._folder / top
            found = [path] if top == "allowed_signers" and path.exists() else sorted(path.rglob("*"))
            for each in found:
                name = each.relative_to(self._folder).as_posix()
                if (each.is_symlink() or not each.is_dir()) and name not in self._names:
                    self._report(None, f"{name!r:.80} is in the folder, but no entry says so")

    def _compare(self, name: str, content: bytes) -> None:
        self._names.add(name)
        try:
            with _file(self._folder / name) as file:
                if file.read(len(content) + 1) != content:
                    self._report(None, f"{name} is not what its entry says")
        except OSError as error:
            self._report(None, f"{name} is missing or cannot be read: {error.strerror}")


# ---- The command ---------------------------------------------------------------------------------------------------


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _visible(text: str) -> str:
    """Return a text in which nothing can play with a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _read(path: str) -> str:
    return _whole(Path(path)).decode()


def main(words: list[str]) -> int:
    """Run the command and return its exit status."""
    parser = _Arguments(prog="verify.py", description="Verify an exported ledger.", allow_abbrev=False)
    parser.add_argument("folder", nargs="?", default=".", help="what `pgnotary export` wrote (default: .)")
    parser.add_argument("--key", help="the proxy's key, name+id+base64, or a file that holds it")
    parser.add_argument("--allowed-signers", metavar="FILE", help="hold all decisions against this roster")
    parser.add_argument("--checkpoint", metavar="FILE", action="append", default=[], help="one that you remember")
    parser.add_argument("--archive", metavar="FOLDER", action="append", default=[], help="one of its archives")
    parser.add_argument("--quiet", action="store_true", help="print faults only")
    asked = parser.parse_args(words)
    found = 0

    def report(place: int | None, text: str) -> None:
        nonlocal found
        found += 1
        print(_visible(text if place is None else f"#{place} {text}"))

    def say(text: str) -> None:
        if not asked.quiet:
            print(_visible(text))

    folder = Path(asked.folder)
    try:
        given = asked.key if asked.key is not None else str(folder / "proxy.vkey")
        key = Key.read((_read(given) if Path(given).is_file() else given).removesuffix("\n"))
        roster = None if asked.allowed_signers is None else read_roster(_read(asked.allowed_signers))
        remembered = [Checkpoint.read(_read(path), key) for path in asked.checkpoint]
        done = check_folder(folder, key, roster, remembered, report, [Path(each) for each in asked.archive])
    except (OSError, UnicodeDecodeError, Bad) as error:
        print(_visible(f"verify.py: {error}"), file=sys.stderr)
        return USAGE
    if found:
        say(f"{found} faults in {done.size} entries")
        return TAMPERED
    say(f"ok  {done.size - done.archived} entries of {done.ledger or 'an empty ledger'}, head {done.root.hex()}")
    say("ok  " + ", ".join(f"{number} {name}" for name, number in done.counts.items()))
    if waiting := [*done.standing("held", "approved", "intent", "executed", "prepared")]:
        say(f"note  not ended yet: {', '.join(waiting)}")
    for each in done.notes:
        say(f"note  {each}")
    lacking = []
    if done.archived:
        lacking.append(f"#0-#{done.archived - 1} are archived, not looked at: give --archive")
    if done.archived_heads:
        lacking.append(f"{done.archived_heads} checkpoints lie in the archive, and were compared with nothing")
    if asked.key is None:
        lacking.append("the key came with the folder: pin it with --key")
    if roster is None and done.counts["decisions"]:
        lacking.append("decisions were held against rosters of the ledger itself: pin one with --allowed-signers")
    if unknown := done.standing("unknown"):
        lacking.append(f"outcome unknown: {', '.join(unknown)}")
    lacking += done.lacks
    if withheld := done.counts["withheld"]:
        lacking.append(f"sealed values that are withheld: {withheld}")
    if redacted := done.counts["redacted"]:
        lacking.append(f"sealed values that were redacted, all by who may: {redacted}")
    for each in lacking:
        say(f"incomplete  {each}")
    return INCOMPLETE if lacking else GOOD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
