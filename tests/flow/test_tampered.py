"""The tamper matrix over what a real proxy has recorded: sessions, approvals, a kill -9, an outcome that nobody knows.

The ledger of a stopped proxy is attacked; the heads are those that real `approve` commands remember on two machines.
"""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from nacl.signing import SigningKey
from tests.check import check_ledger
from tests.flow.fragile import Fragile, Nursery
from tests.flow.served import PATIENCE_S, Served, until
from tests.flow.test_witnesses import Machine, approved, held
from tests.flow.untouched import untouched
from tests.tamper.attacks import ATTACKS, Attack
from tests.tamper.ground import Ground
from tests.tamper.matrix import attacked
from tests.tamper.page import by_hand, needs_the_tools, put_beside

from pgnotary.audit import standalone
from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import shipped_verifier
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.ledger.remembered import Remembered, read_heads
from pgnotary.ledger.signing_key import parse_skey
from pgnotary.request.openssh import public_line
from pgnotary.store.reader import SqliteReader

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, total numeric NOT NULL DEFAULT 0);
INSERT INTO orders SELECT generate_series(1, 100);
"""
# With --long all of them; the others are tried over a ledger that is built.
ALWAYS = {
    "an entry is edited",
    "an entry is edited and all behind it hashed again",
    "a middle entry is deleted with the key",
    "the end is cut off with its checkpoints",
    "two people are shown two ledgers",
    "everything is written anew with new keys for the approvers",
    "an approval is given to another request",
    "an approval is given to another statement",
    "the proxy goes on with an older copy",
}
CASES = [
    pytest.param(each, id=f"{each.row}: {each.name}", marks=[] if each.name in ALWAYS else pytest.mark.long)
    for each in ATTACKS
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tampered")


@pytest.fixture(scope="module")
def ground(nursery: Nursery, postgres: EmbeddedPostgres, folder: Path) -> Iterator[Ground]:
    """A proxy's life, in which bo approves early on one machine and later on another, and once where nobody looks."""
    machines = {name: Machine(folder / name) for name in ("bo", "ana")}
    for machine in machines.values():
        machine.folder.mkdir()
    with (
        Fragile(nursery, postgres, folder / "pgnotary", hold_s=600) as proxy,
        untouched(postgres, "tampered_shop", SCHEMA, "nobody_tampered") as database,
    ):
        proxy.run_psql(database, "-c", "SELECT 1", "-c", "SELECT 1/0")
        approved(proxy, database, machines["bo"])
        _export(proxy, folder)
        _denied(proxy, database)
        _run(proxy, database, "DELETE FROM orders WHERE id = 2")
        _killed(proxy, database)
        approved(proxy, database, machines["ana"])
        _run(proxy, database, "DELETE FROM orders WHERE id = 3")
        proxy.stop()
        seed = parse_skey((proxy.folder / "proxy.key").read_text().strip()).seed
        bo, ana = (_remembered(machine) for machine in machines.values())
        yield Ground(proxy.ledger, seed, bo, ana, proxy.roster.read_text())


def _remembered(machine: Machine) -> Remembered:
    [head] = read_heads(machine.heads.read_bytes())
    return head


def _run(proxy: Served, database: str, text: str) -> None:
    with proxy.open_psql(database, "-c", text) as psql:
        proxy.approve()
        assert psql.wait(PATIENCE_S) == 0


def _denied(proxy: Served, database: str) -> None:
    with held(proxy, database) as psql:
        proxy.deny()
        psql.wait(PATIENCE_S)


def _killed(proxy: Fragile, database: str) -> None:
    """Kill it when what no transaction can hold has run and its outcome is not written: nobody will ever know.

    When it is started again somebody else may decide, too.
    """
    proxy.stand.halt("before outcome")
    with ThreadPoolExecutor(1) as beside, proxy.connect(database) as client:
        sent = beside.submit(client.execute, "CREATE INDEX CONCURRENTLY orders_total ON orders (total)")
        threading.Thread(target=lambda: proxy.approve(max_rows=None), daemon=True).start()
        until(proxy.stand.is_halted, "the proxy to stand still")
        proxy.send(signal.SIGKILL)
        assert proxy.gone() == -signal.SIGKILL
        assert isinstance(sent.exception(PATIENCE_S), psycopg.OperationalError)
    with proxy.roster.open("a") as roster:
        roster.write(f"cy {public_line(bytes(SigningKey.generate().verify_key))}\n")
    proxy.start()


@contextmanager
def _reader(proxy: Served) -> Iterator[SqliteReader]:
    with SqliteReader(proxy.ledger) as reader:
        yield reader


def _export(proxy: Served, folder: Path) -> None:
    """Keep an export, with what an auditor has from elsewhere."""
    key = (proxy.folder / "proxy.vkey").read_text().strip()
    (folder / "hand").mkdir()
    with _reader(proxy) as reader:
        export_folder(reader, folder / "hand" / "evidence", key, secrets=True)
    head = (folder / "hand" / "evidence" / "checkpoint.txt").read_text()
    put_beside(folder / "hand", key=key, roster=proxy.roster.read_text(), head=head, verifier=shipped_verifier())


def test_of_what_a_proxy_has_recorded_nothing_is_told_but_what_nobody_knows(
    ground: Ground, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.audit.running import run

    heads = [word for path in ground.heads(tmp_path) for word in ("--heads", str(path))]
    (tmp_path / "roster").write_text(ground.roster)
    known = ["--key", ground.vkey, "--allowed-signers", str(tmp_path / "roster")]
    check_ledger(ground.path, ground.vkey)
    done = run("verify", "--ledger", ground.path, *known, *heads)
    assert (done.exit_code, "FAIL" in done.stdout, "gap  outcome unknown: R-" in done.stdout) == (2, False, True)
    with SqliteReader(ground.path) as reader:
        export_folder(reader, tmp_path / "e", ground.vkey, secrets=True)
    assert standalone.main([str(tmp_path / "e"), *known]) == 2
    assert "incomplete  outcome unknown: R-" in capsys.readouterr().out


@pytest.mark.parametrize("attack", CASES)
def test_an_attack_is_told_at_its_place(attack: Attack, ground: Ground, tmp_path: Path) -> None:
    attacked(attack, ground, tmp_path)


@needs_the_tools
def test_its_export_is_as_the_page_says_by_hand(ground: Ground, folder: Path) -> None:
    steps = by_hand(folder / "hand")
    assert [step.printed for step in steps if not step.is_as_told] == []
    assert steps[-1].printed[-1] == "status 0"
    path = folder / "hand" / "evidence" / "entries.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"xid":"', b'"xid":"1', 1))
    steps = by_hand(folder / "hand")
    assert not any(steps[number].is_as_told for number in (0, 1, -1))
    assert steps[-1].printed[-1] == "status 1"
