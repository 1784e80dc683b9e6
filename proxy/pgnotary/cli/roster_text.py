"""Changes of a roster's text that keep everything else in it: comments, blank lines, the order, what others wrote.

The text of an `allowed_signers` file and one change enter; the new text leaves, read back by `parse_roster`, or an
error. A revoked key stays there with the time up to which it counted: what it has signed can still be checked by hand.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from pgnotary.cli.exits import Exit, Failed
from pgnotary.errors import BadRoster
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer, parse_roster

__all__ = ["counts", "with_signer", "without"]


def counts(signer: Signer, at: datetime) -> bool:
    """Say whether a key counts at a time, in some namespace."""
    return (signer.valid_after is None or at >= signer.valid_after) and (
        signer.valid_before is None or at <= signer.valid_before
    )


def with_signer(text: str, signer: Signer) -> str:
    """Return the text with one more line; raises BadRoster if the key or the name cannot stand beside the others."""
    gap = "" if not text or text.endswith("\n") else "\n"
    return _checked(f"{text}{gap}{signer.line}\n")


def without(text: str, who: str, at: datetime) -> tuple[str, list[Signer]]:
    """Return the text in which a person's keys, or the one with a fingerprint, count no longer, and which those are.

    Raises Failed if there is none that still counts.
    """
    at = at.replace(microsecond=0)
    # `valid-before` is the last second in which a key counts.
    end = at - timedelta(seconds=1)
    lines, ended = text.split("\n"), []
    meant = [each for each in parse_roster(text).signers if who in {each.person, fingerprint(each.public)}]
    if not meant:
        raise Failed(f"nobody on the roster is called {who}, or has such a key", Exit.FAILED)
    for number, line in enumerate(lines):
        signer = _signer_in(line)
        if signer is None or signer not in meant or (signer.valid_before is not None and signer.valid_before <= end):
            continue
        ended.append(signer)
        if signer.valid_after is not None and signer.valid_after >= end:
            # No roster can say that of it; it has hardly counted, or not yet.
            lines[number] = f"# revoked {at:%Y-%m-%dT%H:%M:%SZ}, before it counted: {line.strip()}"
        else:
            lines[number] = replace(signer, valid_before=end).line
    if not ended:
        raise Failed(f"{who} was revoked before: {_ends(meant)}", Exit.CONFLICT)
    return _checked("\n".join(lines)), ended


def _signer_in(line: str) -> Signer | None:
    signers: Iterable[Signer] = parse_roster(line).signers
    return next(iter(signers), None)


def _ends(signers: Iterable[Signer]) -> str:
    return ", ".join(f"{fingerprint(each.public)} counted until {each.valid_before}" for each in signers)


def _checked(text: str) -> str:
    roster: Roster = parse_roster(text)
    if parse_roster(roster.text) != roster:
        raise BadRoster("the new roster would be read otherwise than it was written")
    return text
