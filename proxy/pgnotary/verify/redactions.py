"""Whether values are missing because somebody who may had them erased: entries enter in order, faults and counts leave.

A redaction names entries before it, so a first look over the ledger collects which; what is kept of their values is
remembered when they pass, and held against the redaction when it comes. A redaction is behind in the ledger what it
names, so that may be archived where the redaction is not. Memory is bounded by the number of redactions.
The numbers are those of the checklist.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pgnotary.errors import RedactionRefused
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry
from pgnotary.request.life import State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.redaction import NEEDED_IN, Redaction, Target, Values, check, misfits, redaction_in
from pgnotary.request.roster import Roster
from pgnotary.verify.archives import Archives
from pgnotary.verify.decisions import CLOCKS_AGREE, Opened
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Redactions"]


@dataclass(frozen=True, slots=True)
class _Passed:
    """An entry that a later redaction names."""

    target: Target
    kept: frozenset[str]
    """The names of the values that are kept of it all the same."""


class Redactions:
    """Follows the redactions of a ledger; `leaves` are those of the entries that they name."""

    def __init__(self, heads: Heads, findings: Findings, archives: Archives, leaves: Collection[bytes]) -> None:
        self._heads = heads
        self._findings = findings
        self._archives = archives
        self._leaves = leaves
        self._passed: dict[bytes, _Passed] = {}
        self._gone: set[tuple[bytes, str]] = set()
        self.count = 0
        self.values = 0
        """How many values are missing and were redacted by somebody who may."""

    def names(self, entry: Entry) -> bool:
        """Say whether a redaction names an entry: then it is to be passed by."""
        return bool(self._leaves and entry.seals and entry.leaf in self._leaves)

    def pass_by(self, entry: Entry, opened: Opened, person: str) -> None:
        """Take note of such an entry, of what is kept of it, and of the person whose session it belongs to."""
        self._passed[entry.leaf] = _Passed(Target.of(entry, person), frozenset(opened))

    def examine(
        self,
        entry: Entry,
        roster: Roster | None,
        standing: Callable[[str], State | None],
        unreviewed: Collection[str] = (),
    ) -> None:
        """Report everything that is wrong with a redaction.

        `roster` is the one in force at the entry, `standing` tells where a request stands that has not ended,
        `unreviewed` are those that somebody else has still to look at.
        """
        self.count += 1
        # (20) the document reads, and is signed by who may redact; the entry repeats it
        try:
            redaction, signature = redaction_in(entry)
        except RedactionRefused as error:
            self._fault(str(error))
            return
        authorised = self._is_authorised(entry, redaction, signature, roster)
        for name, said in _repeated(redaction).items():
            if entry.body.get(name) != said:
                self._fault(f"the entry says {name} {entry.body.get(name)!r:.60}, what was signed gives {said!r:.60}")
        self._check_head(redaction)
        at = entry.position.time
        if abs(at - redaction.redacted_at) > CLOCKS_AGREE:
            said = f"redacted at {redaction.redacted_at} by {redaction.redactor}'s clock, recorded at {at}"
            self._findings.note(self._heads.size, said)
        # (21) it names values of earlier entries that nobody needs, once, and not the signer's own; what was archived
        # since then is looked at with its archive
        here = [each for each in redaction.values if each.seq >= self._heads.floor]
        passed = [self._passed.get(each.leaf) for each in here]
        faults = misfits(redaction.redactor, here, [each.target if each else None for each in passed], self._gone)
        faults += [
            f"#{each.seq} was archived before: what it names is in the archive, and was not erased here"
            for each in redaction.values
            if each.seq < self._archives.kept
        ]
        if redaction.ledger != entry.position.ledger:
            faults.append(f"the redaction is of the ledger {redaction.ledger!r:.80}")
        for each in passed:
            request = each.target.request if each else None
            if request is not None and (state := standing(request)) in NEEDED_IN:
                faults.append(f"{request} is {state}: what it asks is still needed")
            elif request in unreviewed:
                faults.append(f"{request} is not reviewed: what it asked is still needed")
        for fault in faults:
            self._fault(fault)
        if authorised and not faults:
            self._erase(here, passed)

    def _is_authorised(self, entry: Entry, redaction: Redaction, signature: str, roster: Roster | None) -> bool:
        if roster is None:
            self._fault("no roster is in force, so nobody could have redacted")
            return False
        try:
            signer = check(redaction, signature, roster, entry.position.time)
        except RedactionRefused as error:
            self._fault(str(error))
            return False
        if (key := entry.body.get("key")) != fingerprint(signer.public):
            self._fault(f"the entry names the key {key!r:.60}, it was signed with {fingerprint(signer.public)}")
        return True

    def _check_head(self, redaction: Redaction) -> None:
        seen, last = redaction.seen, max(each.seq for each in redaction.values)
        if seen.size > self._heads.size:
            self._fault(
                f"{redaction.redactor} saw a ledger of {seen.size} entries, here are {self._heads.size} before it"
            )
            return
        if seen.size <= last:
            self._fault(f"{redaction.redactor} saw a ledger of {seen.size} entries, without #{last}")
        if self._heads.is_archived(seen.size):
            return
        root = self._heads.root_at(seen.size)
        if root != seen.root:
            self._fault(
                f"{redaction.redactor} saw head {seen.root.hex()[:8]} over {seen.size} entries, they now give "
                f"{(root or b'').hex()[:8]}: the ledger before #{seen.size} was rewritten afterwards"
            )

    def _erase(self, redacted: Sequence[Values], passed: Sequence[_Passed | None]) -> None:
        for values, each in zip(redacted, passed, strict=True):
            for name in values.seals:
                self._gone.add((values.leaf, name))
                # (22) what is redacted is not kept any more
                if each is None or name in each.kept:
                    self._fault(f"{name} of #{values.seq} was redacted, but its value is still kept")
                else:
                    self.values += 1

    def _fault(self, text: str) -> None:
        self._findings.fault(self._heads.size, text)


def _repeated(redaction: Redaction) -> Mapping[str, JSON]:
    return {
        "redactor": redaction.redactor,
        "values": [each.fields for each in redaction.values],
        "reason": redaction.reason,
    }
