"""`redact`: sign that sealed values are deleted for good, and wait until no byte of them is left in the ledger's files.

What would be deleted is shown first, by entry and name, as the entries themselves say it; the values are not fetched:
whoever erases a text need not spread it once more. Everything that is read before the question goes to stderr.
"""

import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
from pgnotary.cli.deciding import Signer
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.keys import load_key
from pgnotary.cli.known_ledger import trust
from pgnotary.cli.target import at_digest, check_whole
from pgnotary.cli.witnessing import witnessed
from pgnotary.errors import ApiError, BadKey, NotCanonical
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.request import redaction, sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.openssh import fingerprint
from pgnotary.request.redaction import MAX_ENTRIES, Redaction, Values
from pgnotary.request.signs import Signs

__all__ = ["redact"]

_ALL = "all"
_POLL_S = 0.2
_TARGET = re.compile(r"(R-[1-9][0-9]{0,14}|#?(?:0|[1-9][0-9]{0,14}))(?:@([0-9A-Fa-f]{8,64}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Target:
    """A request or the number of an entry, and the first hex digits of its leaf if they were said."""

    of: str | int
    prefix: str

    @property
    def name(self) -> str:
        """As people say it."""
        return self.of if isinstance(self.of, str) else f"#{self.of}"


def _target(_ctx: click.Context, _param: click.Parameter, value: str) -> _Target:
    found = _TARGET.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is neither a request (R-1) nor an entry (#12), with or without @DIGEST")
    said = found[1].removeprefix("#")
    return _Target(int(said) if said.isdigit() else said, (found[2] or "").lower())


@dataclass(frozen=True, slots=True)
class _Kept:
    """An entry, and how many bytes are kept of each of its sealed values."""

    entry: Entry
    sizes: dict[str, int]

    @property
    def values(self) -> Values:
        """As a redaction names them."""
        return Values(self.entry.position.seq, self.entry.leaf, tuple(sorted(self.sizes)))


@click.command()
@click.argument("target", metavar="REQUEST|ENTRY[@DIGEST]", callback=_target)
@click.option(
    "--field",
    "fields",
    multiple=True,
    default=(_ALL,),
    metavar="NAME",
    help="statement, parameters, prepared, reason, sample, error, document, signature, t1, ...; repeatable.  "
    "[default: all that are kept]",
)
@click.option("-m", "--reason", "why", required=True, callback=why_words, help="Why; it stays in the ledger, in clear.")
@key_option
@click.option(
    "--yes", is_flag=True, help="Do not ask; needs @ and the whole digest, as this command prints it before it asks."
)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=60.0, metavar="SECONDS", help="For the erasure.  [60]"
)
@heads_option
@at_proxy
def redact(
    target: _Target,
    where: Where,
    fields: tuple[str, ...],
    why: str,
    key_path: Path | None,
    wait_s: float,
    heads_path: Path | None,
    *,
    yes: bool,
) -> None:
    """Sign that sealed values of a request, or of one entry, are deleted for good.

    The roster must give your key the namespace redaction@pgnotary. The ledger still verifies, and says who has
    redacted what and why. Exports, backups and copies that were made before are not reached.

    \b
    pgnotary redact R-17 --field statement --field parameters -m "erasure request 4711"
    pgnotary redact '#12' --field t3 -m "a card number in a report"
    """
    if yes:
        check_whole(target.prefix, f"{target.name}@", "without --yes this command prints them before it asks")
    else:
        check_terminal()
    place = where()
    key = load_key(key_path, place, sshsig.REDACTION_NAMESPACE)
    client = place.client(lambda: key)
    found = _fetched(client, target)
    chosen = _chosen(found, target, fields)
    ledger = chosen[0].entry.position.ledger
    for label, words in _page(chosen, target, found[0].entry):
        say(label, words)
    memory = memory_of(heads_path)
    trusted = trust(place.proxy_key(), memory, ledger)
    for note in trusted.notes:
        say("note", note)
    signer = _signer(client, key)
    head = witnessed(client, [each.entry for each in chosen], trusted.vkey, memory)
    drawn = _drawn_up(ledger, chosen, why, signer, Seen(head.size, head.root))
    say("why", drawn.reason)
    say("signer", signer.words)
    ask(f"Sign that {_count(chosen, at_digest(target.name, found[0].entry.leaf.hex()))} DELETED FOR GOOD?", yes=yes)
    recorded = client.redact(drawn.raw, key.sign(drawn.raw, sshsig.REDACTION_NAMESPACE))
    click.echo(f"redacted  {target.name}  ledger #{recorded.seq}")
    if recorded.copies:
        found_in = ", ".join(f"#{seq} ({name})" for seq, name in recorded.copies)
        say("note", f"the same bytes are also sealed in {found_in}: redact those as well")
    hindrance = _awaited(client, wait_s)
    if hindrance:
        raise Failed(f"redacted, but its bytes are still in the ledger's files: {hindrance}", Exit.PENDING)
    click.echo("erased    no byte of it is left in the ledger's files")


def _fetched(client: ApprovalClient, target: _Target) -> list[_Kept]:
    """Return the entries that are meant, which are what was asked for; raises Failed or ApiError."""
    found: list[_Kept] = []
    for paper in client.sealed(target.of):
        try:
            entry = parse_entry(paper.entry)
        except NotCanonical as error:
            raise Failed(f"the proxy's answer does not fit: {error}", Exit.UNTRUSTED) from error
        meant = entry.request == target.of if isinstance(target.of, str) else entry.position.seq == target.of
        if not meant or not paper.kept.keys() <= entry.seals.keys():
            raise Failed(f"asked for {target.name}, got something else: #{entry.position.seq}", Exit.UNTRUSTED)
        found.append(_Kept(entry, dict(paper.kept)))
    if not found or (isinstance(target.of, str) and found[0].entry.type is not EntryType.REQUEST):
        raise Failed(f"asked for {target.name}, got no such entry", Exit.UNTRUSTED)
    digest = found[0].entry.leaf.hex()[: len(target.prefix)]
    if digest != target.prefix:
        raise Failed(f"{target.name} is {digest}, not {target.prefix}: look again at what it is", Exit.CONFLICT)
    return found


def _chosen(found: Sequence[_Kept], target: _Target, fields: Sequence[str]) -> list[_Kept]:
    """Return what is to be deleted of them; raises Failed, or UsageError for a name that nothing has."""
    names = {name for each in found for name in each.entry.seals}
    if unknown := sorted(set(fields) - names - {_ALL}):
        raise click.UsageError(f"{target.name} has no sealed {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    chosen = [
        _Kept(each.entry, {name: size for name, size in each.sizes.items() if _ALL in fields or name in fields})
        for each in found
    ]
    chosen = [each for each in chosen if each.sizes]
    if not chosen:
        raise Failed(f"nothing of that is kept of {target.name}: it was redacted before", Exit.CONFLICT)
    if len(chosen) > MAX_ENTRIES:
        places = ", ".join(f"#{each.entry.position.seq}" for each in chosen)
        raise click.UsageError(f"{target.name} has values in more than {MAX_ENTRIES} entries: name one of {places}")
    return chosen


def _page(chosen: Iterable[_Kept], target: _Target, first: Entry) -> Iterable[tuple[str, str]]:
    """Yield what is deleted, of what."""
    yield "redact", f"{target.name}   digest {first.leaf.hex()}"
    if first.type is EntryType.REQUEST:
        body = first.body
        yield "asked by", f"{body.get('person', 'nobody known')} on {body.get('database', 'no database')}"
        yield "kind", str(body.get("kind", "unknown")).upper()
    for each in chosen:
        entry = each.entry
        belongs = ", ".join(filter(None, (entry.session, entry.request)))
        yield "entry", f"#{entry.position.seq} {entry.type} of {timestamp(entry.position.time)} ({belongs or 'alone'})"
        yield "values", ", ".join(f"{name} ({size:,} bytes)" for name, size in sorted(each.sizes.items()))
    yield "reaches", "this ledger's files; not exports, backups and copies that were made before"


def _count(chosen: Sequence[_Kept], of: str) -> str:
    number = sum(len(each.sizes) for each in chosen)
    return f"1 value of {of} is" if number == 1 else f"{number} values of {of} are"


def _signer(client: ApprovalClient, key: Signs) -> Signer:
    try:
        return Signer(client.whois(fingerprint(key.public), sshsig.REDACTION_NAMESPACE), key)
    except ApiError as error:
        if error.status == 404:
            raise BadKey(f"{error}: the roster must give it {sshsig.REDACTION_NAMESPACE}") from error
        raise


def _drawn_up(ledger: str, chosen: Iterable[_Kept], why: str, signer: Signer, seen: Seen) -> Redaction:
    """Return the redaction to sign, read back from its document."""
    raw = redaction.document(
        ledger,
        [each.values for each in chosen],
        reason=why,
        redactor=signer.person,
        seen=seen,
        redacted_at=datetime.now(UTC),
        nonce=secrets.token_bytes(16),
    )
    return redaction.read(raw)


def _awaited(client: ApprovalClient, wait_s: float) -> str:
    """Return what keeps the bytes in the files after so many seconds, or nothing."""
    deadline = time.monotonic() + wait_s
    while (hindrance := client.erasure().hindrance) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return hindrance
