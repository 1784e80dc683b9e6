"""Decisions that must not count, handed in to a running proxy: each is refused and kept, and the hold goes on.

A table says how each is forged and what its refusal says. Of an approver's own words (`reason`, `max_rows`, the time,
the nonce) another value signed with their key is another decision of theirs; a value that no decision has is in the
table. The cases are spread over several proxies, since only twenty refused decisions are taken at once.
"""

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from nacl.signing import SigningKey
from tests.flow.served import Served, until

from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.ledger.canonical import unb64
from pgnotary.request import sshsig
from pgnotary.request.decision import Answer
from pgnotary.request.openssh import public_line, read_private_key
from pgnotary.request.sshsig import DECISION_NAMESPACE

DELETE = "DELETE FROM orders WHERE status = 'stale'"
Signed: TypeAlias = tuple[bytes, str]


@dataclass
class Office:
    """A proxy with one statement of eva on hold, and everybody who might sign."""

    served: Served
    paper: Paper
    psql: "subprocess.Popen[str]"
    seeds: dict[str, bytes]
    used: Signed = (b"", "")
    """A decision that has counted."""

    def signed(self, by: str = "bo", namespace: str = DECISION_NAMESPACE, approver: str = "") -> Signed:
        """Return an approval of the statement."""
        raw, _ = self.served.signed(
            self.paper, Answer.APPROVE, max_rows=25, others=25, approver=approver or _person(by)
        )
        return raw, sshsig.sign(raw, self.seeds[by], namespace)

    def resigned(self, raw: bytes) -> Signed:
        """Return altered bytes with a genuine signature by bo."""
        return raw, sshsig.sign(raw, self.seeds["bo"], DECISION_NAMESPACE)

    @property
    def evidence(self) -> list[dict[str, object]]:
        """The rejected decisions in the ledger."""
        return [entry for entry in self.served.entries() if entry["type"] == "decision-rejected"]


def _person(key: str) -> str:
    """Return whose key it is: `bo's old key` is bo's."""
    return key.partition("'")[0]


@dataclass(frozen=True)
class Case:
    """One forgery."""

    forge: Callable[[Office], Signed]
    says: str
    over: str = "R-1"
    """The request that it is handed in for."""
    status: int = 403


# --- who signs --------------------------------------------------------------------------------------------------------


def _damaged(office: Office) -> Signed:
    raw, signature = office.signed()
    return raw, signature[:200] + ("A" if signature[200] != "A" else "B") + signature[201:]


PEOPLE: Mapping[str, Case] = {
    "by the requester": Case(lambda office: office.signed("eva"), "eva asked for it: somebody else must decide"),
    "by an unknown key": Case(lambda office: office.signed("mallory"), "nobody on the roster has the key"),
    "by an unknown key in a known name": Case(
        lambda office: office.signed("mallory", approver="bo"), "nobody on the roster has the key"
    ),
    "by a revoked key": Case(lambda office: office.signed("bo's old key"), "nobody on the roster has the key"),
    "by an expired key": Case(lambda office: office.signed("bo's expired key"), "was valid until"),
    "by a key of next century": Case(lambda office: office.signed("bo's future key"), "not yet at"),
    "by a key for something else": Case(lambda office: office.signed("bo's git key"), "may sign git, not decision@"),
    "by somebody else's key": Case(lambda office: office.signed("ana", approver="bo"), "signed by ana's key"),
    "in another namespace": Case(lambda office: office.signed(namespace="git"), "namespace"),
    "with a damaged signature": Case(_damaged, "signature"),
    "without a signature": Case(lambda office: (office.signed()[0], ""), "signature"),
    "without a document": Case(lambda office: office.resigned(b""), "cannot be read"),
}

# --- one byte of the document -----------------------------------------------------------------------------------------

FIELDS = (
    "v ledger request request_leaf preview_leaf user database kind statement decision max_rows max_other_rows "
    "reason approver "
    "size root decided_at nonce"
).split()


def _altered(raw: bytes, name: str, place: int, byte: bytes) -> bytes:
    """Put another byte at a place of a field's value, counted as in a slice."""
    found = re.search(rb'"%b":("(?:[^"\\]|\\.)*"|[0-9]+)' % name.encode(), raw)
    assert found, f"no {name} in {raw!r}"
    start, end = found.span(1)
    if raw[start:end].startswith(b'"'):
        start, end = start + 1, end - 1
    at = range(start, end)[place]
    assert raw[at : at + 1] != byte
    return raw[:at] + byte + raw[at + 1 :]


def _unsigned(name: str) -> Callable[[Office], Signed]:
    def forge(office: Office) -> Signed:
        raw, signature = office.signed()
        last = _altered(raw, name, -1, b"~")
        return last.replace(b"~", b"1" if raw[last.index(b"~")] != ord("1") else b"2"), signature

    return forge


def _signed_anew(name: str, place: int, byte: bytes) -> Callable[[Office], Signed]:
    return lambda office: office.resigned(_altered(office.signed()[0], name, place, byte))


UNSIGNED: Mapping[str, Case] = {
    f"another {name}": Case(
        _unsigned(name),
        {
            "v": "format",
            "request": "the document is about R-2, not R-1",
            "decision": "cannot be read",
            "decided_at": "cannot be read",
        }.get(name, "signature"),
    )
    for name in FIELDS
}

SIGNED_ANEW: Mapping[str, Case] = {
    "v": Case(_signed_anew("v", -1, b"2"), "document of format 'pgnotary/decision/2'"),
    "ledger": Case(_signed_anew("ledger", 0, b"T"), "ledger is"),
    "request": Case(_signed_anew("request", -1, b"2"), "request_leaf is", over="R-2"),
    "request_leaf": Case(_signed_anew("request_leaf", 0, b"x"), "request_leaf"),
    "preview_leaf": Case(
        lambda office: office.resigned(_flipped(office.signed()[0], "preview_leaf")), "preview_leaf is"
    ),
    "user": Case(_signed_anew("user", -1, b"0"), "user is 'ev0'"),
    "database": Case(_signed_anew("database", 0, b"T"), "database is"),
    "kind": Case(_signed_anew("kind", -1, b"0"), "kind is 'delet0'"),
    "statement": Case(lambda office: office.resigned(_flipped(office.signed()[0], "statement")), "statement is"),
    "decision": Case(_signed_anew("decision", -1, b"d"), "'approvd' is not a valid Answer"),
    "max_rows": Case(_signed_anew("max_rows", 0, b"-"), "max_rows -5"),
    "max_other_rows": Case(_signed_anew("max_other_rows", 0, b"-"), "max_other_rows -5"),
    "reason": Case(_signed_anew("reason", 0, b"\xff"), "cannot be read"),
    "approver": Case(_signed_anew("approver", -1, b"0"), "signed by bo's key, but the document says b0"),
    "size": Case(_signed_anew("size", 0, b"9"), "is not one of this ledger"),
    "root": Case(lambda office: office.resigned(_flipped(office.signed()[0], "root")), "is not one of this ledger"),
    "decided_at": Case(_signed_anew("decided_at", 0, b"3"), "set the clock"),
    "nonce": Case(_signed_anew("nonce", 0, b"g"), "nonce"),
}


def _flipped(raw: bytes, name: str) -> bytes:
    """Change the first digit of a field to another one that it may have."""
    other = _altered(raw, name, 0, b"~")
    return other.replace(b"~", b"0" if raw[other.index(b"~")] != ord("0") else b"1")


def test_the_table_names_every_field_of_a_document() -> None:
    raw = b'{"head":{"root":"00","size":1},"max_rows":2}'
    assert _altered(raw, "size", 0, b"3") == raw.replace(b":1}", b":3}")
    assert set(SIGNED_ANEW) == set(FIELDS) == {name.removeprefix("another ") for name in UNSIGNED}


@pytest.fixture
def office(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Office]:
    """Two statements of eva are held; of bo's keys one was revoked, and others count elsewhere or at another time."""
    served = Served(postgres, tmp_path / "pgnotary", hold_s=120)
    seeds = {"bo": read_private_key(served.key.read_text()).seed}
    options = {
        "eva": "",
        "ana": "",
        "bo's old key": "",
        "bo's expired key": 'valid-before="20200101Z" ',
        "bo's future key": 'valid-after="21000101Z" ',
        "bo's git key": 'namespaces="git" ',
    }
    seeds |= {name: secrets.token_bytes(32) for name in [*options, "mallory"]}
    lines = {
        name: f"{_person(name)} {option}{public_line(bytes(SigningKey(seeds[name]).verify_key))}\n"
        for name, option in options.items()
    }
    bo = served.roster.read_text()
    served.roster.write_text(bo + "".join(lines.values()))
    with served, ExitStack() as open_now:
        served.reload(bo + "".join(line for name, line in lines.items() if name != "bo's old key"))
        psql = open_now.enter_context(served.open_psql(database, "-c", DELETE))
        paper = served.held()
        open_now.enter_context(served.open_psql(database, "-c", "DELETE FROM items"))
        until(lambda: len(served.api.requests()) == 2, "both requests")
        yield Office(served, paper, psql, seeds)
        served.pgnotary("verify")


def _count(office: Office) -> object:
    with office.served.behind(office.paper.context.database) as connection:
        return connection.execute("SELECT count(*) FROM orders").fetchone()


def _refuse(office: Office, name: str, case: Case) -> None:
    """Hand in a forgery: it is refused for the right reason, and that is all that happens but for the evidence."""
    before = office.evidence
    raw, signature = case.forge(office)
    with pytest.raises(ApiError) as refused:
        office.served.api.decide(case.over, raw, signature)
    assert case.says in str(refused.value), f"{name}: {refused.value}"
    assert refused.value.status == case.status, name
    evidence = office.evidence[len(before) :]
    assert [case.says in str(entry["body"]) for entry in evidence] == [True], name
    assert "decision" not in {entry["type"] for entry in office.served.life("R-2")}, name


@pytest.mark.parametrize("table", [PEOPLE, UNSIGNED, SIGNED_ANEW], ids=["people", "unsigned", "signed anew"])
def test_a_decision_that_is_not_right_in_everything_is_refused_and_the_hold_goes_on(
    office: Office, table: Mapping[str, Case]
) -> None:
    for name, case in table.items():
        _refuse(office, name, case)
        assert [body.id for body in office.served.api.requests()] == ["R-1", "R-2"], name
        assert office.psql.poll() is None, name
    assert _count(office) == (100,)
    assert len(office.evidence) == len(table)
    # What is right in everything counts all the same, and once.
    office.served.api.decide("R-1", *office.signed())
    assert office.psql.communicate(timeout=30)[0].rstrip().endswith("DELETE 25")
    assert _count(office) == (75,)


# --- too late, or for something else ----------------------------------------------------------------------------------

ENDED: Mapping[str, Case] = {
    "replayed": Case(lambda office: office.used, "R-1 is not open", status=409),
    "replayed over another request": Case(lambda office: office.used, "the document is about R-1, not R-2", over="R-2"),
    "rewritten for another request": Case(
        lambda office: office.resigned(office.used[0].replace(b'"request":"R-1"', b'"request":"R-2"')),
        "request_leaf is",
        over="R-2",
    ),
    "for a request already decided": Case(lambda office: office.signed("ana"), "R-1 is not open", status=409),
}


def test_a_decision_counts_once_and_over_one_request(office: Office) -> None:
    office.used = office.signed()
    office.served.api.decide("R-1", *office.used)
    assert office.psql.communicate(timeout=30)[0].rstrip().endswith("DELETE 25")
    for name, case in ENDED.items():
        _refuse(office, name, case)
    assert len(office.evidence) == len(ENDED)
    with office.served.behind(office.paper.context.database) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (75,)
    [decision] = [entry for entry in office.served.entries() if entry["type"] == "decision"]
    assert unb64(decision["body"]["document"]) == office.used[0]


@pytest.mark.parametrize("how", ["denied", "withdrawn", "expired"])
def test_a_decision_over_a_hold_that_has_ended_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, how: str
) -> None:
    with Served(postgres, tmp_path / "pgnotary", hold_s=3 if how == "expired" else 60) as served:
        with served.open_psql(database, "-c", DELETE) as psql:
            paper = served.held()
            office = Office(served, paper, psql, {"bo": read_private_key(served.key.read_text()).seed})
            late = office.signed()
            if how == "denied":
                served.decide(paper, Answer.DENY)
            elif how == "withdrawn":
                psql.kill()
            psql.communicate(timeout=30)
        until(lambda: not served.api.requests(), "the end of the hold")
        _refuse(office, how, Case(lambda _: late, "R-1 is not open", status=409))
        assert _count(office) == (100,)
        assert "intent" not in {entry["type"] for entry in served.life("R-1")}
        served.pgnotary("verify")
