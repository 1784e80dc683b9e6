"""Which key signs: one from a file, or one that an ssh-agent holds.

What the approver has said enters, a `Signs` leaves, or BadKey says what to do. In this order: the file that was named
(a public key there means that an agent holds the other half); the file that the list of ledgers names; the usual files;
the one key of the agent that the roster knows. A private key that others can read is refused, as ssh refuses it. A
passphrase is asked for in a terminal only, and by OpenSSH (`pgnotary.cli.unlocking`).
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.ssh_agent import AgentKey, agent_at_hand
from pgnotary.cli.approver_options import DEFAULT_KEY, SSH_KEY, Place
from pgnotary.cli.known_places import at_home
from pgnotary.cli.unlocking import unlocked
from pgnotary.errors import ApiError, BadKey, KeyLocked
from pgnotary.request.openssh import fingerprint, read_private_key, read_public_line
from pgnotary.request.signs import Signs
from pgnotary.request.ssh_encoding import Public, public_blob, read_public_blob
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = ["AtHand", "at_hand", "client_at", "key_in", "load_key"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_CHARS = 65_536
_PUBLIC = ("ssh-", "ecdsa-", "sk-")
_NOT_THEIRS = frozenset({401, 403, 404})


def load_key(
    path: Path | None, place: Place | None, namespace: str = DECISION_NAMESPACE, *, may_ask: bool = True
) -> Signs:
    """Return the key to sign with, at a place if there is one; raises BadKey if there is none, or no saying which."""
    path = path or (place and place.own_key) or next((each for each in _usual_files() if each.exists()), None)
    return _of_agent(place, namespace) if path is None else key_in(path, may_ask=may_ask)


def client_at(place: Place, path: Path | None) -> ApprovalClient:
    """Return a client for looking; only over HTTPS it needs the caller's key."""
    return place.client(lambda: load_key(path, place))


def key_in(path: Path, *, may_ask: bool = True) -> Signs:
    """Return the key in a file, or the one whose public half is there; raises BadKey."""
    path = at_home(path)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_MAX_CHARS)
    except OSError as error:
        raise BadKey(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if text.startswith(_PUBLIC):
            return _held(read_public_line(text).public)
        if mode & _OTHERS:
            raise BadKey(f"others can read this private key (mode {mode:04o}): chmod 600 it")
        return read_private_key(text)
    except KeyLocked as locked:
        return _locked(path, read_public_blob(locked.public), may_ask=may_ask)
    except BadKey as error:
        raise BadKey(f"{path}: {error}") from error


def _locked(path: Path, public: Public, *, may_ask: bool) -> Signs:
    """Return the key of a protected file: as an agent holds it already, or after its passphrase was asked for."""
    try:
        return _held(public)
    except BadKey:
        pass  # The file itself is there.
    if not may_ask or not _has_terminal():
        raise KeyLocked(
            f"{path}: has a passphrase, and this is no terminal to ask for it: give it to an ssh-agent with ssh-add, "
            "or make another key with `pgnotary key new`",
            public_blob(public),
        )
    found = unlocked(path)
    if found.public != public:
        raise BadKey(f"{path}: ssh-add has unlocked another key than its head names: the file is damaged")
    return found


def _has_terminal() -> bool:
    """Say whether somebody can be asked: not merely whether there is a terminal somewhere."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _held(public: Public) -> AgentKey:
    """Return the key of the agent with this public half."""
    agent = agent_at_hand()
    if agent is None:
        raise BadKey("is a public key, and there is no ssh-agent (SSH_AUTH_SOCK) that could hold the private half")
    found = _find(agent.keys(), public)
    if found is None:
        raise BadKey(
            f"the ssh-agent at {agent} does not hold {fingerprint(public)}: ssh-add it, or name the private key"
        )
    return found


def _of_agent(place: Place | None, namespace: str) -> Signs:
    """Return the one key of the agent that the roster knows."""
    agent = agent_at_hand()
    held = agent.keys() if agent else []
    if not held:
        there = f"the ssh-agent at {agent} holds no Ed25519 key" if agent else "no ssh-agent is there"
        raise BadKey(f"you have no key yet, and {there}: make one with `pgnotary key new`, or say --key FILE")
    if len(held) == 1:
        return held[0]
    known = [key for key in held if place is None or _is_known(place, key, namespace)]
    if len(known) != 1:
        of = ", ".join(fingerprint(each.public) for each in known or held)
        which = "several of them may be" if known else "none of them is"
        raise BadKey(f"your ssh-agent holds {len(held)} keys, and {which} on the roster: say --key FILE.pub ({of})")
    return known[0]


def _is_known(place: Place, key: Signs, namespace: str) -> bool:
    try:
        place.client(lambda: key).whois(fingerprint(key.public), namespace)
    except ApiError as error:
        if error.status in _NOT_THEIRS:
            return False
        raise
    return True


@dataclass(frozen=True, slots=True)
class AtHand:
    """A key, or a file that should hold one."""

    where: str
    public: Public | None
    comment: str = ""
    trouble: str = ""
    """Why it cannot be used; empty if it can."""


def at_hand() -> Iterator[AtHand]:
    """Yield the keys in the usual files, then those that an agent holds; none of them is unlocked."""
    for path in _usual_files():
        if path.exists():
            yield _in_file(path)
    agent = agent_at_hand()
    if agent is not None:
        try:
            held = agent.keys()
            yield from (AtHand(f"ssh-agent {agent}", each.public, each.comment) for each in held)
        except BadKey as error:
            yield AtHand(f"ssh-agent {agent}", None, trouble=str(error))


def _in_file(path: Path) -> AtHand:
    try:
        key = key_in(path, may_ask=False)
    except KeyLocked as locked:
        return AtHand(str(path), read_public_blob(locked.public), trouble="its passphrase is asked for when it signs")
    except BadKey as error:
        return AtHand(str(path), None, trouble=str(error).removeprefix(f"{path}: "))
    return AtHand(str(path), key.public, getattr(key, "comment", ""))


def _usual_files() -> list[Path]:
    return [at_home(each) for each in (DEFAULT_KEY, SSH_KEY)]


def _find(keys: list[AgentKey], public: Public) -> AgentKey | None:
    return next((each for each in keys if each.public == public), None)
