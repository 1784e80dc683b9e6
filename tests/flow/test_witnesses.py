"""Approvers as witnesses of a running proxy: who runs it has its key, its file and its time, and is found out.

Every head here was shown by a real proxy to a real `approve`, and every attack ends in front of one, or of `verify`.
"""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.flow.forked import Forked
from tests.flow.served import PATIENCE_S, Served, until

from pgnotary.approval.papers import read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.ledger.canonical import decode, encode, unb64
from pgnotary.ledger.checkpoint import Checkpoint, sign
from pgnotary.ledger.checkpoint import vkey as spelled
from pgnotary.ledger.entries import FIRST_PREV
from pgnotary.ledger.remembered import read_heads
from pgnotary.ledger.signing_key import parse_skey
from pgnotary.ledger.tree import Tree, leaf_hash
from pgnotary.verify.misbehaviour import examine

UPDATE = "UPDATE orders SET total = total + 1 WHERE id = 1"


@dataclass
class Machine:
    """Where an approver works: what their commands remember there."""

    folder: Path

    @property
    def heads(self) -> Path:
        return self.folder / "heads"

    @property
    def size(self) -> int:
        [head] = read_heads(self.heads.read_bytes())
        return head.checkpoint.size

    @property
    def proofs(self) -> list[Path]:
        return sorted(self.folder.glob("*.misbehaviour-*.json"))

    def start(self, served: Served, name: str, digest: str, verb: str = "approve") -> tuple[Forked, Path]:
        """Start to decide over a request; where its stderr goes."""
        errors = self.folder / f"errors-{name}-{digest}"
        words = [verb, f"{name}@{digest}", "-m", "it is right", "--yes", "--key", str(served.key)]
        more = ["--heads", str(self.heads), "--config", str(served.config)]
        return Forked([*words, *more], self.folder / "out", errors), errors

    def decide(self, served: Served, verb: str = "approve") -> tuple[int, str]:
        """Decide over the open request; status and stderr."""
        paper = served.held()
        running, errors = self.start(served, paper.id, paper.digest, verb)
        return running.wait(PATIENCE_S), errors.read_text()


@pytest.fixture
def bo(tmp_path: Path) -> Machine:
    (tmp_path / "bo").mkdir()
    return Machine(tmp_path / "bo")


@pytest.fixture
def ana(tmp_path: Path) -> Machine:
    (tmp_path / "ana").mkdir()
    return Machine(tmp_path / "ana")


@contextmanager
def held(served: Served, database: str, sql: str = UPDATE) -> Iterator["subprocess.Popen[str]"]:
    with served.open_psql(database, "-c", sql) as psql:
        served.held()
        yield psql
    # Nobody shall take it for the next one.
    until(lambda: not served.api.requests(), "the proxy to notice that it has ended")


def approved(served: Served, database: str, machine: Machine) -> None:
    """Let a statement run that is approved there."""
    with held(served, database) as psql:
        status, said = machine.decide(served)
        assert status == 0, said
        assert psql.wait(PATIENCE_S) == 0


def refused(served: Served, database: str, machine: Machine) -> str:
    """Let a statement wait over which nothing is signed there; what is said."""
    before = machine.heads.read_bytes()
    decided = _decisions(served)
    with held(served, database):
        status, said = machine.decide(served)
    assert (status, _decisions(served)) == (5, decided), said
    assert "Nothing was signed" in said
    assert machine.heads.read_bytes() == before
    return said


def _decisions(served: Served) -> int:
    return sum(entry["type"].startswith("decision") for entry in served.entries())


def keep(served: Served, place: Path) -> Path:
    """Copy the ledger of a stopped proxy."""
    return Path(shutil.copy(served.ledger, place))


def put_back(served: Served, copy: Path) -> None:
    """Put another file in the ledger's place, while the proxy is stopped."""
    for path in served.folder.glob("ledger.db*"):
        path.unlink()
    shutil.copy(copy, served.ledger)


def verify(served: Served, *machines: Machine, expected: int, ledger: Path | None = None) -> str:
    heads = [word for machine in machines for word in ("--heads", str(machine.heads))]
    return served.pgnotary("verify", *(("--ledger", str(ledger)) if ledger else ()), *heads, expected=expected)


def test_an_honest_proxy_is_signed_over_again_and_again_and_its_unwitnessed_tail_is_told(
    own_proxy: Served, database: str, bo: Machine
) -> None:
    sizes = []
    for _ in range(3):
        approved(own_proxy, database, bo)
        sizes.append(bo.size)
    own_proxy.stop()
    own_proxy.start()
    approved(own_proxy, database, bo)
    assert sorted({*sizes, bo.size}) == [*sizes, bo.size]
    seen = [entry["seq"] for entry in own_proxy.entries() if entry["type"] == "preview"]
    assert bo.size > seen[-1]
    said = verify(own_proxy, bo, expected=2)
    assert f"ok  {bo.size} entries (#0-#{bo.size - 1}) under a head that somebody remembers" in said
    assert f"since #{bo.size} are under no remembered head" in said
    assert bo.proofs == []


def test_a_ledger_restored_from_an_older_copy_is_not_signed_over(
    own_proxy: Served, database: str, bo: Machine, tmp_path: Path
) -> None:
    approved(own_proxy, database, bo)
    own_proxy.stop()
    copy = keep(own_proxy, tmp_path / "older.db")
    own_proxy.start()
    for _ in range(3):
        approved(own_proxy, database, bo)
    own_proxy.stop()
    put_back(own_proxy, copy)
    own_proxy.start()
    assert "restored from an older copy, cut, or begun anew" in refused(own_proxy, database, bo)
    assert "and what follows is missing" in verify(own_proxy, bo, expected=1)
    [evidence] = bo.proofs
    assert not examine(evidence.read_bytes()).proven
    # Once it has grown further than what was seen, the proxy itself proves that it is another one.
    while len(own_proxy.entries()) <= bo.size:
        with held(own_proxy, database):
            pass
    assert "does not begin with the" in refused(own_proxy, database, bo)
    [proof] = {path for path in bo.proofs if examine(path.read_bytes()).proven}
    key = ("--key", str(own_proxy.folder / "proxy.vkey"))
    done = Forked(["verify", "--misbehaviour", str(proof), *key], tmp_path / "said")
    assert done.wait(PATIENCE_S) == 1
    assert (tmp_path / "said").read_text().startswith("FAIL  two histories of tests.localhost/flow, both signed")
    assert "rewritten, or there are two" in verify(own_proxy, bo, expected=1)


def test_a_fork_under_the_same_key_is_proven_by_the_heads_of_both_machines(
    own_proxy: Served, postgres: EmbeddedPostgres, database: str, bo: Machine, ana: Machine, tmp_path: Path
) -> None:
    approved(own_proxy, database, bo)
    approved(own_proxy, database, ana)
    own_proxy.stop()
    other = Served(postgres, tmp_path / "fork", hold_s=60)
    for name in ("ledger.db", "proxy.key", "proxy.vkey", "allowed_signers"):
        shutil.copy(own_proxy.folder / name, other.folder / name)
    shutil.copytree(own_proxy.folder / "approvers", other.folder / "approvers", dirs_exist_ok=True)
    own_proxy.start()
    with other:
        # Each machine sees one of the two, and each is whole by itself.
        approved(own_proxy, database, bo)
        for _ in range(3):
            approved(other, database, ana)
        for served, own, strange in ((own_proxy, bo, ana), (other, ana, bo)):
            verify(served, own, expected=2)
            verify(served, own, strange, expected=1)
        [proof] = bo.proofs
        assert examine(proof.read_bytes(), (other.folder / "proxy.vkey").read_text().strip()).proven
        # And who is shown the other one signs nothing.
        assert "shown otherwise to others" in refused(other, database, bo)


def test_a_ledger_begun_anew_with_the_proxys_key_is_not_signed_over(
    own_proxy: Served, database: str, bo: Machine
) -> None:
    approved(own_proxy, database, bo)
    own_proxy.stop()
    for path in own_proxy.folder.glob("ledger.db*"):
        path.unlink()
    own_proxy.start()
    while len(own_proxy.entries()) <= bo.size:
        with held(own_proxy, database):
            pass
    assert "was rewritten, or is shown otherwise to others" in refused(own_proxy, database, bo)
    [proof] = bo.proofs
    assert examine(proof.read_bytes()).proven
    own_proxy.pgnotary("verify")
    verify(own_proxy, bo, expected=1)


def rewrite(served: Served) -> None:
    """Change the first entry of a stopped proxy's ledger; make all links, states and checkpoints anew with its key."""
    key = parse_skey((served.folder / "proxy.key").read_text().strip())
    with sqlite3.connect(served.ledger) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f'DROP TRIGGER "{name}"')
        tree, prev = Tree(), FIRST_PREV
        new: dict[bytes, bytes] = {}
        sizes = {size for (size,) in db.execute("SELECT size FROM checkpoint")}
        for seq, old, before in db.execute("SELECT seq, leaf, raw FROM entry ORDER BY seq").fetchall():
            fields = json.loads(before)
            if seq == 0:
                fields["body"]["version"] = "another"
            fields["prev"] = prev.hex()
            if "after" in fields:
                fields["after"] = new[bytes.fromhex(fields["after"])].hex()
            raw = encode(fields)
            new[old] = prev = leaf_hash(raw)
            tree.append(prev)
            db.execute("UPDATE entry SET leaf = ?, raw = ? WHERE seq = ?", (prev, raw, seq))
            db.execute("UPDATE sealed SET leaf = ? WHERE leaf = ?", (prev, old))
            db.execute("UPDATE request_state SET leaf = ? WHERE leaf = ?", (prev, old))
            if tree.size in sizes:
                note = sign(Checkpoint(key.name, tree.size, tree.root()), key.name, key.seed)
                db.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (note, tree.size))
        for _, sql in triggers:
            db.execute(sql)
    db.close()


def test_a_ledger_rewritten_and_signed_again_by_who_has_the_key_is_not_signed_over(
    own_proxy: Served, database: str, bo: Machine
) -> None:
    approved(own_proxy, database, bo)
    own_proxy.stop()
    rewrite(own_proxy)
    own_proxy.start()
    assert own_proxy.entries()[0]["body"]["version"] == "another"
    assert "was rewritten, or is shown otherwise to others" in refused(own_proxy, database, bo)
    [proof] = bo.proofs
    assert examine(proof.read_bytes(), (own_proxy.folder / "proxy.vkey").read_text().strip()).proven
    assert "rewritten, or there are two" in verify(own_proxy, bo, expected=1)


def test_a_tail_that_is_cut_off_is_missing_to_who_remembers_it(
    own_proxy: Served, database: str, bo: Machine, tmp_path: Path
) -> None:
    for _ in range(2):
        approved(own_proxy, database, bo)
    own_proxy.stop()
    copy = keep(own_proxy, tmp_path / "cut.db")
    with sqlite3.connect(copy) as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        [(last,)] = db.execute("SELECT max(size) FROM checkpoint WHERE size < ?", (bo.size,))
        db.execute("DELETE FROM sealed WHERE leaf IN (SELECT leaf FROM entry WHERE seq >= ?)", (last,))
        db.execute("DELETE FROM checkpoint WHERE size > ?", (last,))
        db.execute("DELETE FROM entry WHERE seq >= ?", (last,))
    db.close()
    said = verify(own_proxy, bo, expected=1, ledger=copy)
    assert f"FAIL  #{last} and what follows is missing: a remembered head covers {bo.size} entries" in said


def test_another_key_beside_the_socket_is_not_signed_under(own_proxy: Served, database: str, bo: Machine) -> None:
    approved(own_proxy, database, bo)
    before = bo.heads.read_bytes()
    vkey = own_proxy.folder / "proxy.vkey"
    name = vkey.read_text().partition("+")[0]
    vkey.write_text(spelled(name, bytes(32)) + "\n")
    with held(own_proxy, database):
        status, said = bo.decide(own_proxy)
    assert (status, bo.heads.read_bytes()) == (5, before)
    assert "comes with another key than on" in said


def test_commands_of_one_approver_at_once_lose_no_head(own_proxy: Served, database: str, bo: Machine) -> None:
    statements = [f"UPDATE orders SET total = 0 WHERE id = {n}" for n in (1, 2, 3, 4)]
    engineers = [own_proxy.open_psql(database, "-c", sql) for sql in statements]
    for each in engineers:
        each.__enter__()
    try:
        while len(papers := own_proxy.api.requests()) < len(statements):
            pass
        running = [bo.start(own_proxy, each.id, read_paper(each, each.id).digest) for each in papers]
        for command, errors in running:
            assert command.wait(PATIENCE_S) == 0, errors.read_text()
    finally:
        for each in engineers:
            each.__exit__(None, None, None)
    signed = [
        decode(unb64(entry["body"]["document"]))["head"] for entry in own_proxy.entries() if entry["type"] == "decision"
    ]
    sizes = [int(str(head["size"])) for head in signed if isinstance(head, dict)]
    assert (len(sizes), bo.size) == (4, max(sizes))
    verify(own_proxy, bo, expected=2)
