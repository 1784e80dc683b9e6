"""The page of a request that has ended, drawn again from a ledger: what whoever decided over it was shown.

A ledger's reader and a request's id enter; its paper leaves, believed as if it had come from the proxy, and who decided
over it. A decision that names another context than the ledger has is an error: nobody was shown what would be printed.
"""

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.audit.redactions import Redactions
from pgnotary.cli.exits import Exit, Failed
from pgnotary.errors import BrokenSeal, DecisionRefused, NotCanonical
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.request.decision import Decision
from pgnotary.store import LedgerReader
from pgnotary.verify.signed import signed

__all__ = ["past_page"]


def past_page(reader: LedgerReader, name: str) -> tuple[Paper, Decision | None]:
    """Return a request's paper and its decision, if there is one; raises Failed, BrokenSeal or ApiError."""
    papers: dict[EntryType, EntryPaper] = {}
    decided: Entry | None = None
    redactions = Redactions.of(reader.entries())
    for stored in reader.entries():
        try:
            entry = parse_entry(stored.raw)
        except NotCanonical as error:
            raise Failed(f"the ledger cannot be read: {error}", Exit.FAILED) from error
        if entry.request != name:
            continue
        if entry.type in (EntryType.REQUEST, EntryType.PREVIEW):
            if gone := redactions.told(entry):
                told = "; ".join(f"{what} of {name} was {words}" for what, words in gone.items())
                raise Failed(f"{told}. A page is whole or none", Exit.FAILED)
            if withheld := entry.seals.keys() - stored.opened.keys():
                raise Failed(
                    f"{', '.join(sorted(withheld))} of {name} is withheld here, and a page is whole or none: "
                    "draw it from the ledger, or from an export that was made with --secrets",
                    Exit.FAILED,
                )
            papers.setdefault(entry.type, EntryPaper(entry=stored.raw, opened=dict(stored.opened)))
        elif entry.type is EntryType.DECISION:
            decided = decided or entry
    if papers.keys() != {EntryType.REQUEST, EntryType.PREVIEW}:
        raise Failed(f"the ledger has no request {name} with a preview: nobody was shown a page of it", Exit.FAILED)
    body = RequestPaper(id=name, request=papers[EntryType.REQUEST], preview=papers[EntryType.PREVIEW])
    paper = read_paper(body, name)
    return paper, None if decided is None else _about(paper, decided)


def _about(paper: Paper, decided: Entry) -> Decision:
    try:
        decision, _ = signed(decided)
    except DecisionRefused as error:
        raise Failed(f"the decision #{decided.position.seq} cannot be read: {error}", Exit.FAILED) from error
    if decision.context.hex() != paper.digest:
        raise BrokenSeal(
            f"#{decided.position.seq}: the decision is about the context {decision.context.hex()}, "
            f"the ledger has {paper.digest}"
        )
    return decision
