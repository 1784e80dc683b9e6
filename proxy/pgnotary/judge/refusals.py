"""What is refused under every policy: what would break a promise, or what pgnotary does not carry.

A `Statement` enters; the first objection leaves, with the name of its rule, or None. No rule of anybody's can lift one.
"""

from dataclasses import dataclass

from pgnotary.judge.gate import UNSEEN, first_word
from pgnotary.judge.settings import Ruling, keeps_utf8, ruling
from pgnotary.judge.statement import Control, Finding, Part, Qualifier, Statement, StatementClass
from pgnotary.wire.encodings import CLIENT_ENCODING

__all__ = ["MAX_GID_BYTES", "Refusal", "moves_savepoints", "prepare_behind", "refusal", "sentence", "setting_beside"]

# What may change the session or the transaction behind our back if nobody can read the rest of it.
_UNREAD_REFUSED = frozenset(
    """
    abort begin close commit deallocate declare discard end execute fetch move prepare release reset rollback savepoint
    set start
    """.split()
) | {UNSEEN}


_SAVEPOINTS = frozenset({Control.SAVEPOINT, Control.RELEASE, Control.ROLLBACK_TO})


_OURS = "pgnotary_"
# GIDSIZE in xact.h, which counts the byte that ends it.
MAX_GID_BYTES = 199


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text goes nowhere."""

    part: Part
    rule: str
    reason: str


def refusal(statement: Statement) -> Refusal | None:
    """Return why a text is refused, or None."""
    if statement.unreadable and (word := first_word(statement.text)) in _UNREAD_REFUSED:
        reason = f"it begins with {word.upper()}, whose effect must be known, and {statement.parts[0].doubt}"
        return _refuse(statement.parts[0], "unreadable-control", reason)
    for part in statement.parts:
        if len(part.gid.encode()) > MAX_GID_BYTES:
            reason = (
                f"the name of a prepared transaction has at most {MAX_GID_BYTES} bytes, not {len(part.gid.encode())}"
            )
            return _refuse(part, "gid", reason)
        if pinned := [
            finding for finding in part.findings if finding.qualifier is Qualifier.PINNED and not part.setting
        ]:
            return _refuse(part, "pinned-setting", sentence(statement, part, pinned[0]))
        if part.runs_no_query:
            reason = f"{part.runs_no_query} is no query: run it by the message that has prepared it, not by its name"
            return _refuse(part, "execute-no-query", reason)
        if names := [name for name in (part.defines, *(name for name, _ in part.prepared)) if name.startswith(_OURS)]:
            return _refuse(part, "our-name", f"names that begin with {_OURS} are pgnotary's own: {names[0]}")
        if part.savepoint.startswith(_OURS):
            reason = f"savepoints whose names begin with pgnotary_ are pgnotary's own: {part.savepoint}"
            return _refuse(part, "savepoint-name", reason)
        if part.setting and part.setting.name == CLIENT_ENCODING and ruling(part.setting) is Ruling.REFUSE:
            reason = f"client_encoding {' '.join(part.setting.values or ())} cannot be converted exactly here"
            return _refuse(part, "encoding", reason)
        if part.setting and ruling(part.setting) is Ruling.REFUSE:
            return _refuse(
                part,
                "pinned-setting",
                f"{part.setting.name} decides what a signature means; pgnotary keeps it as it is",
            )
        virtual = part.setting and ruling(part.setting) is Ruling.VIRTUAL and not keeps_utf8(part.setting)
        if len(statement.parts) > 1 and part.setting and virtual:
            return _refuse(part, "setting-mix", f"{part.setting.name} is changed in a message of its own")
        if part.node == "VariableSetStmt" and part.kind is StatementClass.SESSION and part.setting is None:
            return _refuse(part, "session-characteristics", sentence(statement, part, part.findings[0]))
        if part.wants_copy_data and len(statement.parts) > 1:
            return _refuse(part, "copy-from-stdin", "COPY FROM STDIN runs alone: send it in a message of its own")
        if part.outside_block_only and len(statement.parts) > 1:
            return _refuse(part, "outside-block", f"{part.command} runs alone, outside any transaction block")
    if (
        len(statement.parts) > 1
        and any(part.control for part in statement.parts)
        and not (_is_bracketed(statement) or moves_savepoints(statement))
    ):
        part = next(part for part in statement.parts if part.control)
        return _refuse(
            part,
            "transaction-mix",
            "transaction control may share a message with other statements only as BEGIN; ...; COMMIT",
        )
    return None


def sentence(statement: Statement, part: Part, finding: Finding) -> str:
    """Return a finding as a sentence that names the part; some findings are about the text or a reader."""
    whole = finding.reason.startswith("the ")
    if len(statement.parts) == 1:
        return finding.reason if whole else f"it {finding.reason}"
    place = f"statement {statement.parts.index(part) + 1} of {len(statement.parts)}"
    return f"in {place}, {finding.reason}" if whole else f"{place} {finding.reason}"


def _refuse(part: Part, rule: str, reason: str) -> Refusal:
    return Refusal(part, f"refuse/{rule}", reason)


def setting_beside(statement: Statement) -> Refusal | None:
    """Return why a text is refused that would be held: a setting in it changes what the rest of it means."""
    settings = [part for part in statement.parts if part.node == "VariableSetStmt" and not part.control]
    if len(statement.parts) == 1 or not settings:
        return None
    reason = "a setting changes what is held in the same message: send it before, in a message of its own"
    return _refuse(settings[0], "setting-mix", reason)


def prepare_behind(statement: Statement) -> Refusal | None:
    """Return why a text is refused that would be held: it is prepared in the same message, before anybody can look."""
    last = statement.parts[-1]
    if len(statement.parts) == 1 or last.control is not Control.PREPARE:
        return None
    reason = "what is held is prepared in the same message: send PREPARE TRANSACTION behind it, in a message of its own"
    return _refuse(last, "prepare-mix", reason)


def moves_savepoints(statement: Statement) -> bool:
    """Say whether a text is nothing but SAVEPOINT, ROLLBACK TO and RELEASE."""
    return all(part.control in _SAVEPOINTS for part in statement.parts)


def _is_bracketed(statement: Statement) -> bool:
    first, *inner, last = statement.parts
    return (
        first.control is Control.BEGIN
        and last.control in (Control.COMMIT, Control.ROLLBACK, Control.PREPARE)
        and not last.chained
        and not any(part.control for part in inner)
    )
