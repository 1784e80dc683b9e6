"""The roster: who may sign decisions, with which keys, from when to when.

The text of an OpenSSH `allowed_signers` file enters (ssh-keygen(1), "ALLOWED SIGNERS"), a `Roster` leaves; then a
public key and a time enter `Roster.find`, a `Signer` leaves or BadSignature says why not. One line is one person
and one Ed25519 key, plain or of a FIDO authenticator. Whatever ssh-keygen would read differently from us, or a
reader could overlook, is refused with its line number: patterns, certificates, several names on a line, a key given
to two people, two names that differ only in case. Quorum counts people, so nobody may be two of them.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from pgnotary.errors import BadKey, BadRoster, BadSignature
from pgnotary.request.openssh import fingerprint, public_line, read_public_line
from pgnotary.request.ssh_encoding import Public, SecurityKey
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = ["Roster", "Signer", "common", "parse_roster"]

# No white space, quotes or commas, none of OpenSSH's pattern characters (* ? !), nothing outside ASCII: two
# names that look the same are the same.
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,127}")
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:/-]*")
_OPTIONS = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OPTION = re.compile(r'([a-z-]+)="([^"\\]*)"')
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})?)?Z?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OPTION_NAMES = ("namespaces", "valid-after", "valid-before")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Signer:
    """One key of one person, and where and when it counts."""

    person: str
    public: Public
    namespaces: tuple[str, ...] | None = None
    """The namespaces that the key may sign in; None allows every one."""
    valid_after: datetime | None = None
    """Aware UTC, whole seconds; the key counts from this instant on."""
    valid_before: datetime | None = None
    """Aware UTC, whole seconds; the key counts up to and at this instant, as ssh-keygen reads it."""

    def ends_by(self, at: datetime) -> str:
        """Say that the key does not count any more at that time; empty if it still may."""
        if self.valid_before is None or at <= self.valid_before:
            return ""
        return f"the key {fingerprint(self.public)} of {self.person} ends at {self.valid_before}, too soon to record it"

    @property
    def line(self) -> str:
        """The signer as a line of `allowed_signers`; times are written in UTC, so every reader agrees on them."""
        options = []
        if self.namespaces is not None:
            options.append(f'namespaces="{",".join(self.namespaces)}"')
        if self.valid_after is not None:
            options.append(f'valid-after="{_time_text(self.valid_after)}"')
        if self.valid_before is not None:
            options.append(f'valid-before="{_time_text(self.valid_before)}"')
        return " ".join([self.person, *([",".join(options)] if options else []), public_line(self.public)])


@dataclass(frozen=True, slots=True)
class Roster:
    """All signers, in the order of their lines. Made by `parse_roster`, which checks them against each other."""

    signers: tuple[Signer, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody who is listed, once each, sorted."""
        return tuple(sorted({signer.person for signer in self.signers}))

    @property
    def deciders(self) -> tuple[str, ...]:
        """Everybody with a key that may sign decisions, once each, sorted; others may only call, or redact."""
        may = {each.person for each in self.signers if each.namespaces is None or DECISION_NAMESPACE in each.namespaces}
        return tuple(sorted(may))

    @property
    def text(self) -> str:
        """The roster as a file that ssh-keygen and `parse_roster` read alike; comments are not kept."""
        return "".join(f"{signer.line}\n" for signer in self.signers)

    def find(self, public: Public, at: datetime, namespace: str = DECISION_NAMESPACE) -> Signer:
        """The signer whose key this is, if it may sign in `namespace` at the aware time `at`.

        Raises BadSignature saying whether the key is unknown, not for this namespace, or not valid then.
        """
        name = fingerprint(public)
        signer = next((each for each in self.signers if each.public == public), None)
        if signer is None:
            raise BadSignature(f"nobody on the roster has the key {name}")
        whose = f"the key {name} of {signer.person}"
        if signer.namespaces is not None and namespace not in signer.namespaces:
            raise BadSignature(f"{whose} may sign {', '.join(signer.namespaces)}, not {namespace}")
        if signer.valid_after is not None and at < signer.valid_after:
            raise BadSignature(f"{whose} is valid from {signer.valid_after}, not yet at {at}")
        if signer.valid_before is not None and at > signer.valid_before:
            raise BadSignature(f"{whose} was valid until {signer.valid_before}, no longer at {at}")
        return signer


def common(one: Roster, other: Roster) -> Roster:
    """What two rosters agree upon: the keys that both give to the same person, where and when both let them count."""
    return Roster(
        tuple(
            _narrowed(mine, theirs)
            for mine in one.signers
            for theirs in other.signers
            if mine.public == theirs.public and mine.person == theirs.person
        )
    )


def _narrowed(one: Signer, other: Signer) -> Signer:
    """One key of one person, within the limits of both."""
    namespaces = other.namespaces if one.namespaces is None else one.namespaces
    if namespaces is not None and other.namespaces is not None:
        namespaces = tuple(name for name in namespaces if name in other.namespaces)
    after = [each for each in (one.valid_after, other.valid_after) if each is not None]
    before = [each for each in (one.valid_before, other.valid_before) if each is not None]
    return Signer(one.person, one.public, namespaces, max(after, default=None), min(before, default=None))


def parse_roster(text: str) -> Roster:
    """The roster in the text of an `allowed_signers` file; raises BadRoster naming the line.

    Times without a final Z are read as UTC. ssh-keygen reads those in the local time zone, so write the Z.
    """
    signers: list[Signer] = []
    keys: dict[bytes, tuple[int, str]] = {}
    spellings: dict[str, str] = {}
    # Not splitlines(): ssh-keygen ends a line at a newline only, and must see the same lines.
    for number, whole in enumerate(text.split("\n"), start=1):
        line = whole.removesuffix("\r").strip(" \t")
        if not line or line.startswith("#"):
            continue
        try:
            signer = _signer(line)
        except (BadKey, BadRoster) as error:
            raise BadRoster(f"line {number}: {error}") from error
        # One point is one key, of whatever kind: what an authenticator keeps is nowhere else.
        point = signer.public.public if isinstance(signer.public, SecurityKey) else signer.public
        if found := keys.get(point):
            raise BadRoster(
                f"line {number}: the key of {signer.person} is already listed for {found[1]} on line {found[0]}"
            )
        spelling = spellings.setdefault(signer.person.lower(), signer.person)
        if spelling != signer.person:
            raise BadRoster(f"line {number}: {signer.person} and {spelling} differ only in case")
        keys[point] = (number, signer.person)
        signers.append(signer)
    return Roster(tuple(signers))


def _signer(line: str) -> Signer:
    """One line that is neither blank nor a comment."""
    if _CONTROL.search(line):
        raise BadRoster("a control character")
    person, rest = _word(line)
    if not _PERSON.fullmatch(person):
        raise BadRoster(
            f"{person!r:.80} is not one person's name: "
            "patterns, lists and quotes are not supported; use letters, digits and . _ @ + : / -"
        )
    options = _OPTIONS.match(rest)
    if not options:
        raise BadRoster(f"expected a key after {person}")
    if "=" not in options[0] and options[0] != "cert-authority":
        return Signer(person, read_public_line(rest).public)
    values = _options(options[0])
    namespaces, after, before = (values.get(name) for name in _OPTION_NAMES)
    signer = Signer(
        person,
        read_public_line(rest[options.end() :]).public,
        None if namespaces is None else _namespaces(namespaces),
        None if after is None else _time(after),
        None if before is None else _time(before),
    )
    if signer.valid_after and signer.valid_before and signer.valid_before <= signer.valid_after:
        raise BadRoster(f"valid-before {before} is not after valid-after {after}")
    return signer


def _options(text: str) -> dict[str, str]:
    """The values of `name="value",name="value"`."""
    values: dict[str, str] = {}
    at = 0
    while option := _OPTION.match(text, at):
        name, value = option.groups()
        if name not in _OPTION_NAMES:
            raise BadRoster(f"the option {name} is not supported, only {', '.join(_OPTION_NAMES)}")
        if name in values:
            raise BadRoster(f"{name} is given twice")
        values[name] = value
        at = option.end()
        if at == len(text):
            return values
        if text[at] != ",":
            break
        at += 1
    raise BadRoster(f'cannot honour the options {text[at:]!r:.60}: expected name="value" and commas between')


def _namespaces(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise BadRoster(f"{name!r:.60} is not a namespace: patterns and spaces are not supported")
    return names


def _time(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if not found:
        raise BadRoster(f"{text!r:.40} is not a time of the form YYYYMMDD[HHMM[SS]][Z]")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise BadRoster(f"there is no time {text}: {error}") from error
    # OpenSSH counts in seconds since then and takes zero for "not given".
    if at <= _EPOCH:
        raise BadRoster(f"the time {text} is before 1970")
    return at


def _time_text(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%SZ")


def _word(text: str) -> tuple[str, str]:
    """The first word of a line, and what follows the white space after it."""
    word, *rest = re.split(r"[ \t]+", text, maxsplit=1)
    return word, "".join(rest)
