"""Everything that can go wrong, as one short tree; names say what failed or whose fault it is.

    PgnotaryError
    +-- StatementError            the answer a client gets; carries an SQLSTATE
    |   +-- ClientProtocolError   08P01  the client broke the protocol
    |   +-- NotSupported          0A000  legal PostgreSQL that pgnotary does not carry yet
    |   +-- InvalidText           22021  the text is not valid UTF-8
    |   +-- TooLarge              54000  longer than we read
    |   +-- NotAuthenticated      28P01  who the client is could not be proven
    |   +-- NotAdmitted           28000  who the client is may be known, but not by this way or certificate
    |   +-- LedgerUnavailable     58030  what we cannot record we do not forward
    |   |   +-- LedgerFull          58030  because its disk is full
    |   +-- UpstreamRefused       08006  PostgreSQL could not be reached, or is not fit to stand behind us
    |   +-- ShuttingDown          57P01  the proxy is stopping
    +-- UpstreamProtocolError     PostgreSQL, or what poses as it, broke the protocol
    +-- RequestMoved              the request is not where a step expected it: somebody else won
    +-- DecisionRefused           a decision that must not count, and why
    +-- RedactionRefused          a redaction that must not count, and why
    +-- ConfigError               a configuration that cannot be used
    +-- HeadContradicted          a ledger's head is not one ledger with a head that was seen before
    +-- NotExtended               a ledger does not extend the head that was kept of it elsewhere
    +-- NotRemembered             a head cannot be remembered here, so nothing is signed
    +-- ApiError                  the proxy's approval API said no, or could not be reached
    +-- LedgerBroken              verification found faults; all are listed
    +-- NotCanonical, BrokenSeal, BadProof, BadCheckpoint, BadSignature, BadKey (KeyLocked), BadRoster

Every message is one line: what was found, what was expected, what to do.
"""

from collections.abc import Sequence

__all__ = [
    "ApiError",
    "BadCheckpoint",
    "BadKey",
    "BadProof",
    "BadRoster",
    "BadSignature",
    "BrokenSeal",
    "CallRefused",
    "ClientProtocolError",
    "ConfigError",
    "DecisionRefused",
    "HeadContradicted",
    "InvalidText",
    "KeyLocked",
    "LedgerBroken",
    "LedgerFull",
    "LedgerUnavailable",
    "NotAdmitted",
    "NotAuthenticated",
    "NotCanonical",
    "NotExtended",
    "NotRemembered",
    "NotSupported",
    "PgnotaryError",
    "RedactionRefused",
    "RequestMoved",
    "ShuttingDown",
    "StatementError",
    "TooLarge",
    "UpstreamProtocolError",
    "UpstreamRefused",
]


class PgnotaryError(Exception):
    """The root of all errors that pgnotary raises on purpose."""


class StatementError(PgnotaryError):
    """An error that a client is told, in PostgreSQL's own terms."""

    sqlstate = "XX000"

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint


class ClientProtocolError(StatementError):
    """The client sent bytes that are not the protocol; the connection ends."""

    sqlstate = "08P01"


class NotSupported(StatementError):
    """Something PostgreSQL could do and pgnotary does not carry yet."""

    sqlstate = "0A000"


class InvalidText(StatementError):
    """A text that is not valid UTF-8, the only encoding we read."""

    sqlstate = "22021"


class TooLarge(StatementError):
    """A message longer than its limit."""

    sqlstate = "54000"


class NotAuthenticated(StatementError):
    """The password exchange failed; says nothing about which part was wrong."""

    sqlstate = "28P01"


class NotAdmitted(StatementError):
    """The connection is in plain text and must not be, or shows no certificate of the user's."""

    sqlstate = "28000"


class LedgerUnavailable(StatementError):
    """The ledger cannot be written now; whether the last write happened is not known."""

    sqlstate = "58030"


class LedgerFull(LedgerUnavailable):
    """There is no room for the ledger on its disk."""


class UpstreamRefused(StatementError):
    """PostgreSQL is unreachable, refused us, or is not fit to stand behind pgnotary."""

    sqlstate = "08006"


class ShuttingDown(StatementError):
    """The proxy is stopping."""

    sqlstate = "57P01"


class UpstreamProtocolError(PgnotaryError):
    """The server's bytes are not the protocol; both connections end."""


class RequestMoved(PgnotaryError):
    """A request is no longer in the state that a step expected, or has an entry that the step does not follow.

    `state` is the one it was found in, or None if there is no such request.
    """

    def __init__(self, request: str, state: str | None) -> None:
        super().__init__(f"{request} is {state or 'unknown'}")
        self.request = request
        self.state = state


class DecisionRefused(PgnotaryError):
    """A decision that does not count; the message tells the approver why."""


class AlreadyDecided(DecisionRefused):
    """A decision that would add nothing to those that are there; somebody, or its own signer, was faster."""


class CallRefused(PgnotaryError):
    """A call of the approval API whose signature does not count; the message tells the caller why."""


class ReviewRefused(PgnotaryError):
    """A review that does not count; the message tells its signer why."""


class RedactionRefused(PgnotaryError):
    """A redaction that does not count; the message tells its signer why."""


class HeadContradicted(PgnotaryError):
    """The head that was shown and one that was seen before cannot be of one ledger that only grows.

    `evidence` is the document to keep (`pgnotary.verify.misbehaviour`), `notes` are the two heads in it.
    """

    def __init__(self, message: str, evidence: bytes, notes: tuple[str, str]) -> None:
        super().__init__(message)
        self.evidence = evidence
        self.notes = notes


class NotExtended(PgnotaryError):
    """The ledger does not extend its high-water mark, or nobody can tell: it was cut, or restored from a copy."""


class NotRemembered(PgnotaryError):
    """What an approver's machine cannot remember it does not sign."""


class ConfigError(PgnotaryError):
    """A configuration that cannot be used: names file, key, value and expectation."""


class ApiError(PgnotaryError):
    """The approval API refused a call; `status` is its HTTP status, 0 if it was not reached."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class LedgerBroken(PgnotaryError):
    """Verification failed. `faults` lists every fault found, each with its position."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"{len(faults)} fault{'s' * (len(faults) != 1)}: {faults[0]}")
        self.faults = tuple(faults)


class InArchive(PgnotaryError):
    """What is asked about lies before the first entry that is kept, `kept`: only an archive can tell."""

    def __init__(self, message: str, kept: int) -> None:
        super().__init__(message)
        self.kept = kept


class NotCanonical(PgnotaryError):
    """A value outside the canonical profile, or bytes that are not its canonical form."""


class BrokenSeal(PgnotaryError):
    """An opened value does not match the commitment in its entry."""


class BadProof(PgnotaryError):
    """A Merkle proof does not prove what it claims."""


class BadCheckpoint(PgnotaryError):
    """A checkpoint is malformed or not signed by the expected key."""


class BadSignature(PgnotaryError):
    """A signature is malformed, wrong, or not by a key that may sign this."""


class BadKey(PgnotaryError):
    """A key that cannot be read or is not of the expected kind."""


class KeyLocked(BadKey):
    """A private key is protected by a passphrase; `public` is its other half, as SSH writes it on the wire."""

    def __init__(self, message: str, public: bytes) -> None:
        super().__init__(message)
        self.public = public


class BadRoster(PgnotaryError):
    """A roster of approvers that cannot be honoured to the letter."""
