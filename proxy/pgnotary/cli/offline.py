"""The approver without a network: `show --export` writes a request, `sign` decides over it, `submit` hands that in.

A file enters, a page and a signed file leave; then the proxy hears of it. `sign` believes its file no more than
`approve` believes a proxy: the page is recomputed from the bytes that the signature binds, and the head must be signed
by the proxy's own key, cover these entries and extend what this machine remembers. Whoever carries the file can keep
it, but change nothing in it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from pgnotary.approval.bodies import HeadProof, RequestPaper
from pgnotary.approval.client import MAX_ANSWER_BYTES, ApprovalClient
from pgnotary.approval.head import Look, size_before
from pgnotary.approval.memory import Memory
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.approver_options import (
    ProxyKey,
    Where,
    at_proxy,
    heads_option,
    key_option,
    memory_of,
    proxy_key_option,
    read_vkey,
)
from pgnotary.cli.asking import ask, check_terminal, say, why_words, width
from pgnotary.cli.deciding import Signer, check_other, check_paper, drawn_up, no_longer_open, open_paper
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.keys import client_at, load_key
from pgnotary.cli.known_ledger import trust
from pgnotary.cli.paper_view import describe, time_left
from pgnotary.cli.safe_text import visible
from pgnotary.cli.target import Target, at_digest, check_whole
from pgnotary.cli.terminal import print_broken
from pgnotary.cli.terms import Wish, limits, rows_options, say_terms, unlimited
from pgnotary.cli.witnessing import refused
from pgnotary.errors import ApiError, BadKey, BadSignature, ConfigError, DecisionRefused, HeadContradicted
from pgnotary.ledger.canonical import JSON, decode
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.remembered import remembered
from pgnotary.request import decision as decisions
from pgnotary.request import sshsig
from pgnotary.request.decision import Answer, Decision, Seen

__all__ = ["export_paper", "sign", "submit"]

PAPER_FORMAT = "pgnotary/paper/1"
SIGNED_FORMAT = "pgnotary/signed/1"

_FILE = click.Path(path_type=Path, dir_okay=False)


class _Exported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request with the proof that it stands in its ledger."""

    v: str
    paper: RequestPaper
    known: int
    """The size that the head is proven to extend; 0: none."""
    head: HeadProof


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision that was signed elsewhere."""

    v: str
    request: str
    document: bytes
    signature: str


_Read = TypeVar("_Read", _Exported, _Signed)


def export_paper(client: ApprovalClient, target: Target, path: Path, known: int) -> None:
    """Write an open request into a new file, with a head that extends the first `known` entries."""
    standing = client.request(target.id)
    paper = open_paper(standing, target)
    if standing.paper is None:
        raise no_longer_open(target.id, standing)
    head = client.prove(known, [entry.position.seq for entry in paper.entries])
    _write(path, _Exported(v=PAPER_FORMAT, paper=standing.paper, known=known, head=head))
    click.echo(f"wrote {path}: {_name(paper)}, to be decided until {paper.expires_at:%H:%M:%S} UTC", err=True)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--approve", "answer", flag_value="approve", help="It may run.")
@click.option("--deny", "answer", flag_value="deny", help="It must not run.")
@click.option("-m", "--reason", "why", required=True, callback=why_words, help="Why; the engineer is told.")
@click.option("--person", required=True, help="Your name on the roster of approvers.")
@click.option("--out", type=_FILE, required=True, help="Where to write the signed decision, for `submit`.")
@rows_options
@key_option
@click.option("--digest", metavar="HEX", default="", help="The digest that is meant: its first hex digits, or all 64.")
@click.option(
    "--yes", is_flag=True, help="Do not ask; needs --digest and the whole digest, `context` in `show ID --json`."
)
@secrets_option
@proxy_key_option
@heads_option
@click.pass_context
def sign(
    ctx: click.Context,
    /,
    file: Path,
    answer: str | None,
    why: str,
    person: str,
    out: Path,
    key_path: Path | None,
    digest: str,
    proxy_key: Path | None,
    heads_path: Path | None,
    *,
    yes: bool,
    secrets: bool,
    **rows: Any,
) -> None:
    """Sign a decision over an exported request, on a machine without a network.

    It shows and checks what `approve` does. The proxy's verifier key must be known here: --proxy-key FILE the first
    time, from then on it is remembered with the ledger's head.

    \b
    pgnotary show R-1 --export R-1.paper                              where the proxy can be reached
    pgnotary sign R-1.paper --approve -m why --person bo --out R-1.signed    anywhere
    pgnotary submit R-1.signed                                        where the proxy can be reached
    """
    if answer is None:
        raise click.UsageError("say --approve or --deny")
    if yes:
        check_whole(digest, "--digest", "`pgnotary show ID --json` prints them as context")
    else:
        check_terminal("say --digest HEX and --yes")
    wish = Wish(yes=yes, typed=ctx.obj or (), **rows)
    wish.check()
    exported = _read(file, _Exported, PAPER_FORMAT)
    paper = _believed(file, exported.paper)
    check_paper(Target(paper.id, digest.lower()), paper, yes=yes)
    for line in describe(paper, width(), secrets=secrets, asks=True):
        click.echo(line, err=True)
    print_broken(time_left(paper, datetime.now(UTC)), err=True)
    check_other(person, paper)
    signer = Signer(person, load_key(key_path, None))
    memory = memory_of(heads_path)
    named = None if proxy_key is None else ProxyKey(read_vkey(proxy_key), said=True)
    trusted = trust(named, memory, paper.ledger)
    if trusted.vkey is None:
        raise BadKey(f"the key of the proxy of {paper.ledger} is not known here: say --proxy-key FILE")
    for note in trusted.notes:
        say("note", note)
    with memory.held():
        seen = _seen(file, exported, paper, trusted.vkey, memory)
    approves = answer == Answer.APPROVE
    decision = drawn_up(paper, person, seen, Answer(answer), why, wish.ceiling(paper) if approves else None)
    counted = wish.max_rows is None
    say_terms(signer.words, decision, limits(decision.ceiling, counted=counted) if approves else ())
    what = f"approval of {_name(paper)}{unlimited(decision.ceiling)}" if approves else f"denial of {_name(paper)}"
    ask(f"Sign {what}?", yes=yes)
    armored = signer.key.sign(decision.raw, sshsig.DECISION_NAMESPACE)
    _write(out, _Signed(v=SIGNED_FORMAT, request=paper.id, document=decision.raw, signature=armored))
    click.echo(f"signed    {paper.id}  {out}")


@click.command()
@click.argument("file", type=_FILE)
@at_proxy
@key_option
def submit(file: Path, where: Where, key_path: Path | None) -> None:
    """Hand in a decision that was signed elsewhere.

    \b
    pgnotary submit R-1.signed
    """
    signed = _read(file, _Signed, SIGNED_FORMAT)
    try:
        sshsig.verify(signed.signature, signed.document, sshsig.DECISION_NAMESPACE)
        decision = decisions.read(signed.document)
    except (BadSignature, DecisionRefused) as error:
        raise Failed(f"{file}: was changed behind its signing: {error}", Exit.UNTRUSTED) from error
    if signed.request != decision.request:
        raise Failed(
            f"{file}: was changed behind its signing: it says {signed.request!r:.40}, what is signed says "
            f"{decision.request!r:.40}",
            Exit.UNTRUSTED,
        )
    client = client_at(where(), key_path)
    target = Target(decision.request)
    _check_same(open_paper(client.request(target.id), target), decision)
    recorded = client.decide(target.id, signed.document, signed.signature)
    verb = "denied" if decision.answer is Answer.DENY else "approved"
    still = f", {visible(recorded.missing)} needed" if recorded.missing else ""
    click.echo(f"{verb}  {target.id}  ledger #{recorded.seq}{still}")


def _check_same(paper: Paper, decision: Decision) -> None:
    """Raise Failed, naming what differs, unless the decision is over what is open now."""
    said: dict[str, JSON] = decode(decision.raw)
    body = paper.request.body
    expected: dict[str, JSON] = {
        "ledger": paper.ledger,
        "request_leaf": paper.request_leaf,
        "preview_leaf": paper.preview_leaf,
        "context": paper.digest,
        **{name: body[name] for name in ("user", "database", "kind")},
    }
    differing = [name for name, value in expected.items() if said[name] != value]
    if differing:
        told = "; ".join(f"{name} is {expected[name]!r:.80} here, {said[name]!r:.80} was signed" for name in differing)
        raise Failed(f"{paper.id} is another request than was signed: {told}", Exit.CONFLICT)


def _believed(file: Path, body: RequestPaper) -> Paper:
    """Return the paper in a file; raises Failed saying what in it does not fit."""
    try:
        return read_paper(body, body.id)
    except ApiError as error:
        said = str(error).removeprefix("the proxy's answer does not fit: ")
        raise Failed(f"{file}: was changed, or is damaged: {said}", Exit.UNTRUSTED) from error


def _seen(file: Path, exported: _Exported, paper: Paper, vkey: str, memory: Memory) -> Seen:
    """Return the head to name, once it is checked and remembered. Needs the lock of `memory`."""
    whose = (paper.ledger, vkey)
    known = next((each for each in memory.heads() if (each.checkpoint.origin, each.key) == whose), None)
    size, claimed = size_before(known), verify(exported.head.note, vkey)
    # That a file is older than what was seen since accuses nobody.
    if size > claimed.size or size not in {0, exported.known, claimed.size}:
        again = f"pgnotary show {paper.id} --export FILE --known {size}"
        raise Failed(
            f"{file}: this machine remembers {size} entries of {paper.ledger}, and the file proves nothing from there "
            f"to its {claimed.size}: export it again with {again}",
            Exit.CONFLICT,
        )
    now = datetime.now(UTC)
    try:
        # Of a head that is remembered already nothing is to be proven.
        proof = msgspec.structs.replace(exported.head, consistency=[]) if size == claimed.size else exported.head
        head = Look(paper.entries, vkey, known, now).checked(proof)
    except HeadContradicted as contradicted:
        raise refused(contradicted, memory) from contradicted
    memory.remember(remembered(exported.head.note, vkey, now))
    return Seen(head.size, head.root)


def _name(paper: Paper) -> str:
    return at_digest(paper.id, paper.digest)


def _read(path: Path, type_: type[_Read], expected: str) -> _Read:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_ANSWER_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if len(text) > MAX_ANSWER_BYTES:
            raise msgspec.ValidationError(f"longer than {MAX_ANSWER_BYTES} bytes")
        read = msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failed(f"{path}: is no file of format {expected}: {error}", Exit.UNTRUSTED) from error
    if read.v != expected:
        raise Failed(f"{path}: is of format {read.v!r:.60}, expected {expected!r}", Exit.UNTRUSTED)
    return read


def _write(path: Path, content: _Exported | _Signed) -> None:
    """Write a new file for its owner alone: it may hold what nobody else should read."""
    from pgnotary.setup import NewFile, write_new

    write_new(NewFile(path, msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"))
