"""Which key a ledger's heads are checked with: the one at hand, held against those that this machine has seen before.

The key that was found and the memory enter; the key to use, and what the approver should be told, leave. Who runs the
proxy puts the key beside the socket, so another one there for a ledger that is known here is refused, as ssh refuses a
host: a rewritten ledger could come with a key of its own. A key that the approver names is theirs to trust, for the
ledger that it names: a proxy that passes on what another one holds would have a decision signed that counts there.
"""

from dataclasses import dataclass

from pgnotary.approval.memory import Memory
from pgnotary.cli.approver_options import ProxyKey
from pgnotary.errors import BadKey
from pgnotary.ledger.checkpoint import parse_vkey

__all__ = ["Trusted", "trust"]


@dataclass(frozen=True, slots=True)
class Trusted:
    """A key to check with, if there is one."""

    vkey: str | None
    notes: tuple[str, ...] = ()


def trust(found: ProxyKey | None, memory: Memory, ledger: str) -> Trusted:
    """Return the key for this ledger; raises BadKey if it is another one's, or lies about and is not the known one."""
    known = [each for each in memory.heads() if each.checkpoint.origin == ledger]
    if found is None:
        if known:
            return Trusted(known[-1].key, ("the proxy's key is the one that is remembered here",))
        why = "the proxy's key is not known here: its head goes unchecked, and is not remembered (--proxy-key)"
        return Trusted(None, (why,))
    if (of := parse_vkey(found.text).name) != ledger:
        raise BadKey(
            f"the request is of the ledger {ledger}, and the proxy's key is that of {of}: the proxy passes on what "
            "another one holds, and what you sign would count there. Nothing was signed"
        )
    if any(each.key == found.text for each in known):
        return Trusted(found.text)
    if not known:
        return Trusted(found.text, (f"the first head of {ledger} seen here: it is remembered from now on",))
    other = known[-1]
    if not found.said:
        raise BadKey(
            f"the ledger {ledger} comes with another key than on {other.seen_at:%Y-%m-%d}: who runs the proxy has "
            f"begun it anew, or replaced it. Nothing was signed; ask, and if that is right say --proxy-key FILE "
            f"(heads are remembered in {memory.path})"
        )
    return Trusted(
        found.text, (f"the ledger {ledger} had another key on {other.seen_at:%Y-%m-%d}: you name a new one",)
    )
