"""From an approver's word to a recorded decision: fetch and believe, draw up, sign, hand in, wait for what came of it.

A client, a request's id and a key enter; a document leaves that was read back from its own bytes, then the place of its
entry. What is signed is what was fetched and checked, byte for byte.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from pgnotary.approval.bodies import Recorded, Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.memory import Memory
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.outcomes import state_of
from pgnotary.cli.target import Target, at_digest
from pgnotary.cli.witnessing import witnessed
from pgnotary.errors import ApiError, BadKey, DecisionRefused
from pgnotary.request import decision as decisions
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Decision, Seen
from pgnotary.request.life import FINAL, State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.signs import Signs

__all__ = [
    "Case",
    "Signer",
    "check_digest",
    "check_other",
    "check_paper",
    "drawn_up",
    "identify",
    "no_longer_open",
    "open_paper",
    "signer_of",
]

# Most run at once; what takes longer is not asked about ten times a second, each time with a call of its own.
_FIRST_POLL_S = 0.05
_LAST_POLL_S = 1.0
_GONE = frozenset({State.EXPIRED, State.WITHDRAWN, State.ORPHANED})
_SETTLED = FINAL | {State.UNKNOWN, State.PREPARED}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and with what."""

    person: str
    key: Signs

    @property
    def words(self) -> str:
        """Person and fingerprint."""
        return f"{self.person} ({fingerprint(self.key.public)})"


def open_paper(standing: Standing, target: Target, *, yes: bool = False) -> Paper:
    """Return an open request's paper if it can be believed and is the one that is meant, as `check_paper` checks."""
    if standing.paper is None:
        raise no_longer_open(target.id, standing)
    paper = read_paper(standing.paper, target.id)
    check_paper(target, paper, yes=yes)
    return paper


def check_paper(target: Target, paper: Paper, *, yes: bool = False) -> None:
    """Raise Failed unless a paper is the one whose digest was said, if one was said.

    With `--yes` nobody reads the page: the digest must be of all that is signed, preview included. UsageError if it is
    the request's own: its preview may be another one than was judged.
    """
    if not yes:
        check_digest(target, paper.digest, paper.request_leaf)
    elif target.prefix == paper.request_leaf:
        raise click.UsageError(
            f"--yes needs the digest of {paper.id} and its preview, found request_leaf, which is of the request alone: "
            f"`pgnotary show {paper.id} --json` prints the other one as context"
        )
    else:
        check_digest(target, paper.digest)


def check_digest(target: Target, *digests: str) -> None:
    """Raise Failed unless what was said, if anything was, begins one of the digests that a request goes by."""
    if not any(digest.startswith(target.prefix) for digest in digests):
        found = digests[0][: len(target.prefix)]
        raise Failed(f"{target.id} is {found}, not {target.prefix}: look again at what it asks", Exit.CONFLICT)


def no_longer_open(name: str, standing: Standing) -> Failed:
    """Return the failure that tells where a request stands instead."""
    state = state_of(standing)
    if state is State.HELD:
        return Failed(f"{name} is held, but not ready to be decided", Exit.PENDING)
    where = f" (#{standing.seq})" if standing.seq is not None else ""
    status = Exit.GONE if state in _GONE else Exit.DENIED if state is State.DENIED else Exit.CONFLICT
    return Failed(f"{name} is not open: it is {state}{where}", status)


def signer_of(client: ApprovalClient, key: Signs) -> Signer:
    """Return whose key it is; raises BadKey if nobody's."""
    try:
        return Signer(client.whois(fingerprint(key.public)), key)
    except ApiError as error:
        if error.status == 404:
            raise BadKey(f"{error}: your key must be on the proxy's roster") from error
        raise


def identify(client: ApprovalClient, key: Signs, paper: Paper, *, alone: bool = False) -> Signer:
    """Return whose key it is; raises BadKey if nobody's, DecisionRefused if it is the requester's own.

    `alone`: the glass is to be broken, by one of those who may, for their own, too.
    """
    signer = signer_of(client, key)
    if not alone:
        check_other(signer.person, paper)
    elif signer.person.casefold() not in map(str.casefold, paper.context.break_glass):
        who = ", ".join(paper.context.break_glass) or "nobody"
        raise DecisionRefused(f"{signer.person} may not break the glass for {paper.id}: {who} may (policy.break_glass)")
    return signer


def check_other(person: str, paper: Paper) -> None:
    """Raise DecisionRefused if it is the person's own request."""
    if person.casefold() == paper.context.person.casefold():
        raise DecisionRefused(f"{person} asked for {paper.id}: somebody else must decide")


def drawn_up(paper: Paper, person: str, seen: Seen, answer: Answer, why: str, ceiling: Ceiling | None) -> Decision:
    """Return the decision to sign, read back from its document."""
    raw = decisions.document(
        paper.request,
        paper.preview,
        answer,
        approver=person,
        reason=why,
        ceiling=ceiling,
        seen=seen,
        decided_at=datetime.now(UTC),
        nonce=secrets.token_bytes(16),
    )
    return decisions.read(raw)


@dataclass(frozen=True, slots=True)
class Case:
    """A request that somebody is about to decide."""

    client: ApprovalClient
    paper: Paper
    signer: Signer
    vkey: str | None
    """The proxy's verifier key, if it is known."""
    memory: Memory
    """The heads that this machine has seen."""

    @property
    def name(self) -> str:
        """The request as a question names it."""
        return at_digest(self.paper.id, self.paper.digest)

    def draw_up(self, answer: Answer, why: str, ceiling: Ceiling | None) -> Decision:
        """Return the decision to sign, read back from its document; it names the ledger's newest head.

        That head extends the one that was seen here before, and is remembered when this returns.
        """
        head = witnessed(self.client, self.paper.entries, self.vkey, self.memory)
        return drawn_up(self.paper, self.signer.person, Seen(head.size, head.root), answer, why, ceiling)

    def hand_in(self, decision: Decision) -> Recorded:
        """Sign exactly the bytes of a decision and hand it in."""
        signature = self.signer.key.sign(decision.raw, sshsig.DECISION_NAMESPACE)
        name = self.paper.id
        try:
            return self.client.decide(name, decision.raw, signature)
        except ApiError as error:
            if error.status == 0:
                raise ApiError(f"{error}; whether the decision counts is not known: pgnotary show {name}") from error
            if error.status == 409:
                standing = self.client.request(name)
                if state_of(standing) is not State.HELD:
                    raise no_longer_open(name, standing) from error
            raise

    def await_outcome(self, wait_s: float) -> Standing:
        """Return where the approved request stands once it has settled, or after `wait_s` seconds.

        In the engineer's own transaction block nobody knows when it settles: it is enough that it has run.
        """
        enough = _SETTLED | ({State.EXECUTED} if self.paper.context.block != "none" else frozenset())
        deadline, pause_s = time.monotonic() + wait_s, _FIRST_POLL_S
        while state_of(standing := self.client.request(self.paper.id)) not in enough:
            if (left_s := deadline - time.monotonic()) <= 0:
                break
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LAST_POLL_S)
        return standing
