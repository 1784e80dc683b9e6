"""The context of a held statement: everything that decides what it means, as the `request` entry that is signed.

What the session, the server and policy know enters; one `Draft` leaves. The statement's bytes and the engineer's
words are sealed: the entry commits to them, approvers are shown them. What stands in clear quotes no secret of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import TooLarge
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Policy
from pgnotary.judge.secret_values import words_masked
from pgnotary.judge.secrets import discreet
from pgnotary.judge.statement import Part, Statement
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.parameters import Parameters, sealed
from pgnotary.request.quorum import quorum_fields

__all__ = ["MAX_PARTS", "Client", "Server", "request_draft"]

# An entry holds 65,535 bytes; a part takes about 50.
MAX_PARTS = 200


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, from where."""

    session: str
    user: str
    person: str
    application: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Server:
    """Where the statement would run, as the server said just before it was held."""

    database: str
    system_identifier: str
    pid: int
    role: str
    session_user: str
    search_path: str
    settings: Mapping[str, str]
    """Name -> value of what decides how a text is read."""
    schema: str
    """A digest of how all that the statement names is defined: see `request.schema_state`."""
    prepared: str
    """What the prepared statements or cursors that it names say; "" if it names none."""
    in_block: bool
    statements_before: int
    """How many statements have run in the open block."""


def request_draft(
    request: str,
    statement: Statement,
    verdict: Verdict,
    policy: Policy,
    client: Client,
    server: Server,
    expires_at: datetime,
    bound: Parameters | None = None,
) -> Draft:
    """Return the `request` entry for a held statement; raises TooLarge if it has more parts than a person can read.

    `bound` is what was bound to it in the extended protocol, if it came so.
    """
    relations = list(dict.fromkeys(name for part in statement.parts if part.doubt for name in part.written))
    if max(len(statement.parts), len(relations)) > MAX_PARTS:
        counts = f"{len(statement.parts)} statements over {len(relations)} relations"
        raise TooLarge(f"{counts} in one message: at most {MAX_PARTS} can be approved at once")
    body: dict[str, JSON] = {
        "user": client.user,
        "person": client.person,
        "application": words_masked(client.application),
        "client": client.address,
        "role": server.role,
        "session_user": server.session_user,
        "database": server.database,
        "system_identifier": server.system_identifier,
        "upstream_pid": server.pid,
        "search_path": words_masked(server.search_path),
        "block": "open" if server.in_block else "none",
        "statements_before": server.statements_before,
        "bytes": len(statement.text),
        "kind": verdict.kind.value,
        "settings": dict(server.settings),
        "schema": server.schema,
        "countable": statement.countable,
        "relations": [*map(words_masked, relations)],
        "parts": [_part(part) for part in statement.parts],
        "profile": policy.profile,
        "policy": policy.digest,
        "rule": verdict.rule,
        "why": discreet(verdict.reason, statement.text) if statement.unreadable else words_masked(verdict.reason),
        **quorum_fields(verdict.terms.approvals, policy),
        "expires_at": timestamp(expires_at),
    }
    if statement.runs_outside_blocks:
        body["outside"] = True
    texts = {"statement": statement.text}
    if bound is not None:
        body |= {"parameters": len(bound.types), "executions": len(bound.sets)}
        texts["parameters"] = sealed(bound)
    if client.reason:
        texts["reason"] = client.reason.encode()
    if server.prepared:
        texts["prepared"] = server.prepared.encode()
    return Draft(EntryType.REQUEST, body, session=client.session, request=request, sealed=texts)


def _part(part: Part) -> JSON:
    fields: dict[str, JSON] = {"kind": part.kind.value, "start": part.start, "end": part.end, "harmless": part.harmless}
    if part.doubt and part.written:
        fields["relations"] = [*map(words_masked, part.written)]
    return fields
