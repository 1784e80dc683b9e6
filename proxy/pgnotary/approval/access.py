"""Who may call what: one table of the approval API's calls and of the roles that may make each.

A key of the roster enters, the roles of who has it leave; a call that is not in the table is made by nobody. `local` is
whoever may open the Unix socket: there the file system decides, as long as nothing but what is signed by itself takes
effect. All others sign each call, with a key that the roster gives the namespace of requests, or one that weighs more:
who may sign a decision may ask for it to be shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pgnotary.request.call import Call
from pgnotary.request.roster import Signer
from pgnotary.request.sshsig import DECISION_NAMESPACE, REDACTION_NAMESPACE, REQUEST_NAMESPACE

__all__ = ["LOCAL", "MAY_CALL", "Caller", "Role", "roles_of"]


class Role(StrEnum):
    """What somebody is to the approval API."""

    LOCAL = "local"
    """They came by the Unix socket."""
    ENGINEER = "engineer"
    """They see what they themselves have asked for, and may take it back."""
    APPROVER = "approver"
    """They see all requests and hand in decisions."""
    REDACTOR = "redactor"
    """They see how much is kept of sealed values, never these, and hand in redactions."""


_ALL = frozenset(Role)
_SIGNED = _ALL - {Role.LOCAL}
_WITNESSES = frozenset({Role.LOCAL, Role.APPROVER, Role.REDACTOR})
_REDACTORS = frozenset({Role.LOCAL, Role.REDACTOR})
_APPROVERS = frozenset({Role.LOCAL, Role.APPROVER})

MAY_CALL: Mapping[tuple[str, str], frozenset[Role]] = {
    ("GET", "/v1/requests"): _ALL,
    ("GET", "/v1/requests/{id}"): _ALL,
    ("POST", "/v1/requests/{id}/decisions"): _APPROVERS,
    ("POST", "/v1/requests/{id}/withdraw"): _SIGNED,
    ("GET", "/v1/events"): _ALL,
    ("GET", "/v1/whois"): _ALL,
    ("GET", "/v1/head"): _WITNESSES,
    ("GET", "/v1/proof"): _WITNESSES,
    ("GET", "/v1/sealed"): _REDACTORS,
    ("POST", "/v1/redactions"): _REDACTORS,
    ("GET", "/v1/erasure"): _REDACTORS,
    ("GET", "/v1/reviews"): _APPROVERS,
    ("POST", "/v1/reviews"): _APPROVERS,
}
"""By method and path. Who is not an approver, nor local, sees only their own requests, whatever the call."""

_ROLES = {DECISION_NAMESPACE: Role.APPROVER, REDACTION_NAMESPACE: Role.REDACTOR, REQUEST_NAMESPACE: Role.ENGINEER}


def roles_of(signer: Signer) -> frozenset[Role]:
    """Return the roles that a key has; none if it may sign nothing of ours.

    A line without namespaces is one for decisions: nobody who wrote it meant erasing (docs/adr/0017).
    """
    named = (DECISION_NAMESPACE,) if signer.namespaces is None else signer.namespaces
    may = {role for name, role in _ROLES.items() if name in named}
    return frozenset(may | {Role.ENGINEER}) if may else frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call."""

    roles: frozenset[Role]
    person: str = ""
    """As on the roster; empty if the call is not signed."""
    key: str = ""
    """The fingerprint of the key that signed it."""
    call: Call | None = None
    """What was signed; None if nothing was."""

    def may_call(self, method: str, path: str) -> bool:
        """Say whether one of the roles may make this call."""
        return bool(self.roles & MAY_CALL.get((method, path), frozenset()))

    def is_of(self, person: str) -> bool:
        """Say whether the call is signed by this person."""
        return bool(self.person) and self.person.casefold() == person.casefold()

    def may_see(self, person: str) -> bool:
        """Say whether a request of this person is shown to the caller."""
        return bool(self.roles & {Role.LOCAL, Role.APPROVER}) or self.is_of(person)


LOCAL = Caller(frozenset({Role.LOCAL}))
