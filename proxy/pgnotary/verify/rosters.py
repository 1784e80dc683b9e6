"""What has changed between two rosters, key by key: rosters enter, a sentence for each change leaves.

Who holds the proxy's key can put another key in force; no signature forbids it. It must at least be seen.
"""

from collections.abc import Iterator

from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer

__all__ = ["changes"]


def changes(before: Roster, after: Roster) -> Iterator[str]:
    """Yield who was added, removed or given another key, each key by its fingerprint."""
    gone = [each for each in before.signers if each not in after.signers]
    come = [each for each in after.signers if each not in before.signers]
    for person in sorted({each.person for each in (*gone, *come)}):
        old = [each for each in gone if each.person == person]
        new = [each for each in come if each.person == person]
        if {each.public for each in old} == {each.public for each in new}:
            yield f"{person}: {_keys(new)} may sign otherwise than before: {'; '.join(each.line for each in new)}"
        elif old and new:
            yield f"{person}: {_keys(old)} replaced by {_keys(new)}"
        elif new:
            yield f"{person}: {_keys(new)} added"
        else:
            yield f"{person}: {_keys(old)} removed"


def _keys(signers: list[Signer]) -> str:
    return ", ".join(fingerprint(each.public) for each in signers)
