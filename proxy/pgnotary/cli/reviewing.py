"""`reviewed`: sign that one has looked at a statement that somebody else has let run alone.

What was done is shown first, as the entries themselves say it; the text is in the ledger, for `show` and `replay` to
print. Whoever asked for it, or broke the glass, cannot review it.
"""

import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.approval.client import ApprovalClient
from pgnotary.cli.approver_options import (
    Where,
    at_proxy,
    heads_option,
    key_option,
    memory_of,
)
from pgnotary.cli.asking import ask, check_terminal, say, why_words
from pgnotary.cli.deciding import Signer, check_digest
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.keys import load_key
from pgnotary.cli.known_ledger import trust
from pgnotary.cli.target import Target, at_digest, check_said, read_target
from pgnotary.cli.witnessing import witnessed
from pgnotary.errors import ApiError, BadKey, DecisionRefused, NotCanonical, ReviewRefused
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import BREAK_GLASS, Entry, EntryType, parse_entry
from pgnotary.request import review, sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.openssh import fingerprint
from pgnotary.request.review import Broken
from pgnotary.request.signs import Signs
from pgnotary.verify.signed import signed

__all__ = ["reviewed"]


@click.command()
@click.argument("target", metavar="ID[@DIGEST]", callback=read_target)
@click.option("-m", "--words", required=True, callback=why_words, help="What you say to it; it stays in the ledger.")
@key_option
@click.option(
    "--yes", is_flag=True, help="Do not ask; needs ID@ and the whole digest, `request_leaf` in `show ID --json`."
)
@heads_option
@at_proxy
def reviewed(
    target: Target,
    where: Where,
    words: str,
    key_path: Path | None,
    heads_path: Path | None,
    *,
    yes: bool,
) -> None:
    """Sign that you have looked at a statement that somebody else has let run alone.

    That was `approve --break-glass`. Neither who asked for it nor who broke the glass can review it. Until somebody
    has, `verify` says so.

    \b
    pgnotary reviewed R-7 -m "the disk was full, ticket 815; the rows are in the backup"
    """
    if yes:
        check_said(target, "request_leaf")
    else:
        check_terminal()
    place = where()
    key = load_key(key_path, place)
    client = place.client(lambda: key)
    request, decision = _fetched(client, target)
    for label, told in _page(request, decision):
        say(label, told)
    memory = memory_of(heads_path)
    trusted = trust(place.proxy_key(), memory, request.position.ledger)
    for note in trusted.notes:
        say("note", note)
    signer = _signer(client, key)
    broken = Broken.of(decision, str(request.body.get("person", "")))
    if why := broken.may_not_review(signer.person, fingerprint(key.public)):
        raise DecisionRefused(why)
    head = witnessed(client, (request, decision), trusted.vkey, memory)
    raw = review.document(
        request.position.ledger,
        decision,
        words=words,
        reviewer=signer.person,
        seen=Seen(head.size, head.root),
        reviewed_at=datetime.now(UTC),
        nonce=secrets.token_bytes(16),
    )
    try:
        drawn = review.read(raw)
    except ReviewRefused as refused:
        raise click.UsageError(str(refused)) from refused
    say("words", drawn.words)
    say("signer", signer.words)
    ask(f"Sign that you have looked at {at_digest(target.id, request.leaf.hex())}?", yes=yes)
    recorded = client.review(drawn.raw, key.sign(drawn.raw, sshsig.DECISION_NAMESPACE))
    click.echo(f"reviewed  {target.id}  ledger #{recorded.seq}")


def _fetched(client: ApprovalClient, target: Target) -> tuple[Entry, Entry]:
    """Return the entries of the request and of the decision that broke the glass; raises Failed."""
    for paper in client.reviews():
        try:
            request, decision = parse_entry(paper.request), parse_entry(paper.decision)
        except NotCanonical as error:
            raise Failed(f"the proxy's answer does not fit: {error}", Exit.UNTRUSTED) from error
        if request.request != target.id:
            continue
        fits = (request.type, decision.type) == (EntryType.REQUEST, EntryType.DECISION)
        if not fits or decision.request != target.id or decision.body.get("answer") != BREAK_GLASS:
            raise Failed(f"asked for {target.id}, got something else", Exit.UNTRUSTED)
        check_digest(target, request.leaf.hex())
        return request, decision
    raise Failed(f"{target.id} waits for no review: its glass was not broken, or it had one", Exit.CONFLICT)


def _page(request: Entry, decision: Entry) -> list[tuple[str, str]]:
    """Return what was done, in our labels and their words."""
    body = request.body
    try:
        said = signed(decision)[0]
    except DecisionRefused as error:
        raise Failed(f"the decision over {request.request} cannot be read: {error}", Exit.UNTRUSTED) from error
    if said.request_leaf != request.leaf:
        why = f"what is shown as {request.request} is not the request that {said.approver} has broken the glass for"
        raise Failed(why, Exit.UNTRUSTED)
    rows = "any number of rows" if said.ceiling is None else f"at most {said.ceiling.max_rows:,} rows"
    listed = body.get("relations")
    relations = ", ".join(map(str, listed)) if isinstance(listed, list) else ""
    return [
        ("review", f"{request.request}   digest {request.leaf.hex()}"),
        ("asked by", f"{body.get('person', 'nobody known')} on {body.get('database', 'no database')}"),
        ("what", f"{str(body.get('kind', 'unknown')).upper()} {relations}".strip()),
        ("broken by", f"{said.approver}, {timestamp(decision.position.time)} (#{decision.position.seq}), for {rows}"),
        ("because", said.reason),
        ("text", f"pgnotary replay {request.request} prints it, and what came of it"),
    ]


def _signer(client: ApprovalClient, key: Signs) -> Signer:
    try:
        return Signer(client.whois(fingerprint(key.public)), key)
    except ApiError as error:
        if error.status == 404:
            raise BadKey(f"{error}: your key must be on the proxy's roster") from error
        raise
