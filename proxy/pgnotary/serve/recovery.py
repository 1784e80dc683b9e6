"""What a start finds unfinished, and settles before the first client is let in.

The open requests of a ledger enter; entries leave. A session does not survive its proxy, so nothing that was held can
run any more: held requests are orphaned, approved ones void. What was sent without an outcome is recorded as
`unknown`. What is prepared waits on the server all the same, and is recalled, since its end may pass through here.
"""

from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import Move, State
from pgnotary.serve.resolver import known, sent_of
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.store import Append, Store
from pgnotary.store.appender import Appender

__all__ = ["recall", "recover"]

_STOPPED = "the proxy stopped"


async def recover(store: Store, appender: Appender) -> int:
    """Settle what an earlier run left open and return how many requests that were."""
    found = await store.open_requests()
    settled = 0
    for request, state, leaf in found:
        match state:
            case State.HELD:
                draft = Draft(EntryType.ORPHANED, {"why": _STOPPED}, request=request, after=leaf)
                move = Move(request, State.HELD, State.ORPHANED)
            case State.APPROVED:
                draft = Draft(EntryType.VOID, {"why": _STOPPED}, request=request, after=leaf)
                move = Move(request, State.APPROVED, State.VOID)
            case State.INTENT | State.EXECUTED:
                body = {"result": State.UNKNOWN.value, "why": f"{_STOPPED} before the outcome was recorded"}
                draft = Draft(EntryType.OUTCOME, body, request=request, after=leaf)
                move = Move(request, state, State.UNKNOWN)
            case _:
                continue
        await appender.append(Append(draft, move))
        settled += 1
    return settled


async def recall(store: Store, prepared: PreparedTransactions, policy: str) -> None:
    """Learn which transactions wait prepared with something signed in them; `policy`: the digest of that in force."""
    for request, state, _ in await store.open_requests():
        if state is State.PREPARED:
            prepared.learn(known(sent_of(await store.entries_of(request)), policy))
