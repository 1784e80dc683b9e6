"""The second verifier over what a real proxy has recorded: the file that comes with an export, run by a bare Python.

Other tests hold it against the first one over ledgers that are built; here are the entries of real sessions.
"""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from nacl.signing import SigningKey
from tests.flow.beside import deciding
from tests.flow.conftest import SCHEMA
from tests.flow.second import verify_apart
from tests.flow.served import Served, until
from tests.flow.untouched import untouched
from tests.second.agreement import both_over_folder

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.openssh import public_line

FIRST = (
    r"^ok  ([0-9]+) entries .*, head ([0-9a-f]{16})$.*^ok  ([0-9]+) decisions: .*: ([0-9]+) sent \(([0-9]+) committed,"
)


@pytest.fixture(scope="module")
def recorded(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy that has been through all that ends a request, and has been killed and started again."""
    with Served(postgres, tmp_path_factory.mktemp("second") / "pgnotary", hold_s=60) as proxy:
        with untouched(postgres, "second_shop", SCHEMA, "nobody_second") as database:
            _decided(proxy, database)
            _bound(proxy, database)
            _in_blocks(proxy, database)
            _not_run(proxy, database)
        yield proxy


def _run(proxy: Served, database: str, text: str, max_rows: int | None = None) -> None:
    with proxy.open_psql(database, "-c", text) as psql:
        proxy.approve(max_rows)
        psql.wait(30)


def _decided(proxy: Served, database: str) -> None:
    proxy.run_psql(database, "-c", "SELECT 1", "-c", "INSERT INTO orders VALUES (101, 'open', 1)", "-c", "SELECT 1/0")
    _run(proxy, database, "DELETE FROM orders WHERE id = 1", 5)
    _run(proxy, database, "UPDATE orders SET total = total + 1", 5)  # more than was signed
    _run(proxy, database, "UPDATE orders SET id = 2")  # fails
    _run(proxy, database, "DELETE FROM items WHERE order_id = 3; UPDATE orders SET total = 3 WHERE id = 3; SELECT 1")
    _run(proxy, database, "DROP VIEW innocent")
    _run(proxy, database, "TRUNCATE items")
    with proxy.open_psql(database, "-c", "DELETE FROM orders") as psql:
        proxy.deny()
        psql.wait(30)


def _bound(proxy: Served, database: str) -> None:
    with proxy.connect(database, cursor_factory=psycopg.Cursor) as client:
        with deciding(proxy.approve):
            client.execute("DELETE FROM orders WHERE id = %s AND status <> %s", (5, "it's"))
        with deciding(proxy.approve):
            client.cursor().executemany("UPDATE orders SET total = %s WHERE id = %s", [(1, 6), (None, 7), (3, 8)][::2])
        with deciding(proxy.approve), client.cursor() as cursor, cursor.copy("COPY orders FROM STDIN") as copy:
            copy.write_row((200, "copied", 1))


def _in_blocks(proxy: Served, database: str) -> None:
    with proxy.connect(database) as client:
        for ends in ("ROLLBACK", "COMMIT", "PREPARE TRANSACTION 'second'"):
            client.execute("BEGIN")
            client.execute("SELECT count(*) FROM orders")
            with deciding(proxy.approve):
                client.execute("DELETE FROM orders WHERE id IN (9, 10)")
            client.execute(ends.encode())
        client.execute("COMMIT PREPARED 'second'")


def _not_run(proxy: Served, database: str) -> None:
    with proxy.open_psql(database, "-c", "DELETE FROM orders") as psql:
        proxy.held()
        psql.send_signal(signal.SIGINT)
        psql.wait(30)
    proxy.reload(f"{proxy.roster.read_text()}cy {public_line(bytes(SigningKey.generate().verify_key))}\n")
    with proxy.open_psql(database, "-c", "DELETE FROM orders"):
        held = proxy.held()
        proxy.stop(signal.SIGKILL)
    proxy.start()
    until(lambda: [entry for entry in proxy.life(held.id) if entry["type"] == "orphaned"], "the request to be orphaned")


def _alone(folder: Path, proxy: Served, *words: str) -> tuple[int, list[str]]:
    """Run it in an empty environment, without site-packages, as somebody who has the key and the roster."""
    ran = verify_apart(proxy, folder, "--allowed-signers", proxy.roster, *words)
    assert not ran.stderr
    return ran.returncode, ran.stdout.splitlines()


@pytest.fixture(scope="module")
def exported(recorded: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "evidence"
    recorded.pgnotary("export", str(folder))
    return folder


def test_it_finds_no_fault_and_counts_what_the_first_one_counts(recorded: Served, exported: Path) -> None:
    status, second = _alone(exported, recorded)
    first = recorded.pgnotary("verify", str(exported), "--key", str(recorded.folder / "proxy.vkey"))
    said = re.search(FIRST, first, re.MULTILINE | re.DOTALL)
    assert said is not None, first
    size, head, decisions, sent, committed = said.groups()
    assert status == 0
    assert second[0].startswith(f"ok  {size} entries of tests.localhost/flow, head {head}")
    assert f", {decisions} decisions, 0 rejected, {sent} executions, {committed} committed, " in second[1]


def test_it_has_seen_all_that_ends_a_request(exported: Path) -> None:
    entries = [json.loads(line) for line in (exported / "entries.jsonl").read_text().splitlines()]
    ends = {(entry["type"], entry["body"].get("result", "")) for entry in entries if entry.get("request")}
    results = {"committed", "rolled-back", "failed", "prepared"}
    ends -= {(name, "") for name in ("request", "preview", "intent", "executed", "ending")}
    assert ends == {("outcome", result) for result in results} | {
        (name, "") for name in ("decision", "withdrawn", "orphaned")
    }


def test_without_the_sealed_values_it_verifies_too(recorded: Served, tmp_path: Path) -> None:
    recorded.pgnotary("export", str(tmp_path / "bare"), "--withhold", "*")
    assert (tmp_path / "bare" / "opened.jsonl").read_bytes() == b""
    status, told = _alone(tmp_path / "bare", recorded)
    assert (status, told[-1]) == (2, "incomplete  sealed values that are withheld: 36")


def _without_the_last(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _other_rows(lines: list[bytes]) -> list[bytes]:
    return [re.sub(rb'"rows":1\b', b'"rows":2', line) for line in lines]


@pytest.mark.parametrize("change", [_without_the_last, _swapped, _other_rows])
def test_what_is_changed_in_it_is_found(
    recorded: Served, exported: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    shutil.copytree(exported, tmp_path / "changed")
    path = tmp_path / "changed" / "entries.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert _alone(tmp_path / "changed", recorded)[0] == 1
    faults, _ = both_over_folder(tmp_path / "changed", (recorded.folder / "proxy.vkey").read_text().strip())
    assert faults
