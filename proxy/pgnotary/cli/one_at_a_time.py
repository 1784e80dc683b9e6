"""`review`: the open requests one at a time, as `git add -p` goes over changes.

Each is shown whole before its question, drawn from the bytes that a signature will bind; what was typed before the
question stood there does not count. What others decide meanwhile is told, what comes meanwhile is shown at the end.
Everything that is read goes to stderr; a line for each decision that counts goes to stdout.
"""

import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.memory import Memory
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.approver_options import Place, Where, at_proxy, heads_option, key_option, memory_of
from pgnotary.cli.asking import check_terminal, say, why_words, width
from pgnotary.cli.deciding import Case, Signer, signer_of
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.keys import load_key
from pgnotary.cli.known_ledger import Trusted, trust
from pgnotary.cli.outcomes import outcome_in_words, standing_in_words
from pgnotary.cli.paper_view import describe, time_left
from pgnotary.cli.preview_view import rows_in_words
from pgnotary.cli.safe_text import visible
from pgnotary.cli.terminal import print_broken
from pgnotary.cli.terms import ask_for_rows, limits, say_terms, unlimited
from pgnotary.errors import ApiError, BrokenSeal
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer

__all__ = ["review"]

_HELP = """\
y  approve it; you are asked why
d  deny it; you are asked why, and the engineer is told
n  leave it undecided, and go on
s  the same: skip it
q  leave it and all others undecided
?  this help
"""
# Of a decision that came to nothing, but says nothing against the next.
_PASSING = frozenset({Exit.DENIED, Exit.GONE, Exit.CONFLICT, Exit.PENDING, Exit.USAGE})
_NO_MORE = "q"


@click.command()
@key_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3_600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome of each that is approved.",
)
@secrets_option
@heads_option
@at_proxy
def review(where: Where, key_path: Path | None, heads_path: Path | None, wait_s: float, *, secrets: bool) -> None:
    """Decide over the open requests one at a time; also those that come meanwhile.

    Each is shown as `show` does, then a letter answers: y approve, d deny, n or s skip, q quit, ? help. It needs a
    terminal; scripts have `approve` and `deny`.
    """
    check_terminal("scripts have `approve` and `deny`, with ID@DIGEST and --yes")
    place = where()
    key = load_key(key_path, place)
    client = place.client(lambda: key)
    _Review(place, client, signer_of(client, key), memory_of(heads_path), wait_s, secrets).go()


@dataclass(slots=True)
class _Review:
    """One person going over what is open."""

    place: Place
    client: ApprovalClient
    signer: Signer
    memory: Memory
    wait_s: float
    secrets: bool
    met: list[str] = field(default_factory=list)
    """What was shown, or found decided, in its order."""
    told: set[str] = field(default_factory=set)
    """Notes about ledgers, each said once."""

    def go(self) -> None:
        """Show what is open until nothing is left, or the person has had enough."""
        while waiting := [name for name in self._open() if name not in self.met]:
            for at, name in enumerate(waiting):
                self.met.append(name)
                if self._one(name, f"({len(self.met)}/{len(self.met) + len(waiting) - at - 1})") == _NO_MORE:
                    return
        click.echo("nothing else is held" if self.met else "nothing is held", err=True)

    def _open(self) -> Iterator[str]:
        yield from (each.id for each in self.client.requests())

    def _one(self, name: str, place: str) -> str:
        """Show a request and have it answered; return the letter."""
        standing = self.client.request(name)
        if standing.paper is None:
            self._tell(f"was decided or has ended meanwhile: {standing_in_words(standing)}", name)
            return ""
        try:
            paper = read_paper(standing.paper, name)
        except (ApiError, BrokenSeal) as error:
            self._tell(f"is not to be believed, and is passed over: {error}", name)
            return ""
        click.echo(f"\n{place}", err=True)
        for line in describe(paper, width(), secrets=self.secrets, asks=True):
            click.echo(line, err=True)
        print_broken(time_left(paper, datetime.now(UTC)), err=True)
        if paper.context.person.casefold() == self.signer.person.casefold():
            self._tell("is your own request: somebody else must decide", name)
            return ""
        return self._ask(self._case(paper))

    def _case(self, paper: Paper) -> Case:
        trusted: Trusted = trust(self.place.proxy_key(), self.memory, paper.ledger)
        for note in trusted.notes:
            if note not in self.told:
                say("note", note)
        self.told.update(trusted.notes)
        return Case(self.client, paper, self.signer, trusted.vkey, self.memory)

    def _ask(self, case: Case) -> str:
        paper = case.paper
        bound = paper.measured.bound if paper.context.has_ceiling else None
        ceiling = None if bound is None else Ceiling(bound, paper.measured.elsewhere)
        if bound is None and paper.context.has_ceiling:
            say("rows", f"not counted ({rows_in_words(paper.measured)}): you are asked for a number")
            question = f"Approve {case.name}"
        else:
            for label, limit in limits(ceiling, counted=True):
                say(label, limit)
            question = f"Approve {case.name}{unlimited(ceiling)}"
        say("signer", self.signer.words)
        while True:
            answer = _letter(f"{question}? [y,n,d,s,q,?]")
            if answer in {"n", "s", "q"}:
                return answer
            if answer in {"y", "d"} and self._decide(case, Answer.APPROVE if answer == "y" else Answer.DENY, ceiling):
                return answer
            if answer not in {"y", "d"}:
                click.echo(_HELP, err=True, nl=False)

    def _decide(self, case: Case, answer: Answer, ceiling: Ceiling | None) -> bool:
        """Sign if a reason is given; say whether the request is done with."""
        standing = self.client.request(case.paper.id)
        if standing.paper is None:
            self._tell(f"was decided or has ended meanwhile: {standing_in_words(standing)}", case.paper.id)
            return True
        try:
            why = _why()
            if why is None:
                return False
            approves = answer is Answer.APPROVE
            if approves and ceiling is None and case.paper.context.has_ceiling:
                _forget_typed()
                rows = ask_for_rows(case.paper)
                ceiling = None if rows is None else Ceiling(rows, case.paper.measured.elsewhere)
            decision = case.draw_up(answer, why, ceiling if approves else None)
            say_terms(self.signer.words, decision, limits(decision.ceiling, counted=False) if approves else ())
            recorded = case.hand_in(decision)
        except Failed as failed:
            if failed.status not in _PASSING:
                raise
            self._tell(str(failed), "")
            return failed.status is not Exit.USAGE
        except ApiError as error:
            if error.status != 409:
                raise
            self._tell(str(error), case.paper.id)
            return True
        still = f", {visible(recorded.missing)} needed" if recorded.missing else ""
        click.echo(f"{'approved' if approves else 'denied'}  {case.paper.id}  ledger #{recorded.seq}{still}")
        if approves and self.wait_s > 0 and not recorded.missing:
            words, _ = outcome_in_words(case.paper, case.await_outcome(self.wait_s))
            print_broken(words)
        return True

    @staticmethod
    def _tell(what: str, name: str) -> None:
        print_broken(f"pgnotary: {visible(f'{name} {what}'.strip())}", err=True)


def _forget_typed() -> None:
    """Let nothing count that was typed before the question that follows."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _letter(question: str) -> str:
    """Return the answer to a question that can be read now: nothing counts that was typed before."""
    _forget_typed()
    try:
        said = click.prompt(question, default="", show_default=False, prompt_suffix=" ", err=True)
    except click.Abort as stopped:
        raise Failed("nothing more was signed", Exit.INTERRUPTED) from stopped
    return str(said).strip().lower()


def _why() -> str | None:
    """Return the reason; None if none is given. One that was pasted behind the letter is none."""
    _forget_typed()
    try:
        said = click.prompt("Why (nothing: do not sign)", default="", show_default=False, err=True)
    except click.Abort as stopped:
        raise Failed("nothing more was signed", Exit.INTERRUPTED) from stopped
    if not said.strip():
        return None
    try:
        return why_words(click.get_current_context(), click.Option(["-m"]), said)
    except click.BadParameter as error:
        raise Failed(f"{error.message}: nothing was signed", Exit.USAGE) from error
