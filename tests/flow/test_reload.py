"""SIGHUP: people and rules change while the proxy runs; what is held keeps the rules that it was held under."""

import functools
import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.flow.served import PASSWORD, Served, until
from tests.listed import listed

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer

DELETE = "DELETE FROM items WHERE order_id <= 10"
READ = "SELECT count(*) FROM items"


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("reload") / "pgnotary"
    with Served(postgres, folder, approvers=("ana", "bo"), hold_s=60) as proxy:
        yield proxy
        proxy.entries()
        proxy.pgnotary("verify")


@pytest.fixture
def first(served: Served) -> Iterator[str]:
    """The configuration as it was, which comes back into force behind the test."""
    before = served.config.read_text()
    yield before
    if served.config.read_text() != before:
        _reload(served, before)


def _policies(served: Served) -> list[dict[str, Any]]:
    return [entry["body"] for entry in served.entries() if entry["type"] == "policy"]


def _ask(served: Served, config: str) -> None:
    assert served.process is not None
    served.config.write_text(config)
    served.process.send_signal(signal.SIGHUP)


def _reload(served: Served, config: str) -> dict[str, Any]:
    known = len(_policies(served))
    _ask(served, config)
    until(lambda: len(_policies(served)) > known, "the new policy in the ledger")
    return _policies(served)[-1]


def _digest(served: Served) -> str:
    return str(json.loads(served.pgnotary("policy", "show", "--json"))["digest"])


STRICTER = """
[[group]]
name = "dba"
people = ["ana", "bo"]

[[policy.rule]]
name = "all"
result = "hold"
relation = "public.items"
approvals = "2 of dba"
"""


def test_a_stricter_policy_counts_at_once_and_what_is_held_keeps_its_own(
    served: Served, database: str, first: str
) -> None:
    with served.connect(database) as known, served.open_psql(database, "-c", DELETE) as psql:
        # Read before, the short way and the long one: what is remembered of it must not outlive the policy.
        for _ in range(3):
            assert known.execute(READ).fetchone() == (100,)
        held = served.held()
        changed = _reload(served, first + STRICTER)
        assert changed["policy"] == _digest(served) != held.context.policy
        with served.open_psql(database, "-c", READ) as reading:
            paper = until(
                lambda: next((each.id for each in served.api.requests() if each.id != held.id), None), "the read"
            )
            served.become("ana").decide(held, Answer.APPROVE)
            deleted, _ = psql.communicate(timeout=30)
            assert deleted.rstrip().endswith("DELETE 10")
            asked = served.held()
            assert (asked.id, asked.context.policy, asked.context.needs) == (paper, changed["policy"], 2)
            for person in ("ana", "bo"):
                served.become(person).decide(asked, Answer.APPROVE)
            printed, _ = reading.communicate(timeout=30)
        assert "Needs 2 of dba (ana, bo)." in printed
        # The session that was open before is under it as well.
        denying = threading.Thread(target=served.deny)
        denying.start()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied by bo"):
            known.execute(READ)
        denying.join(30)
    life = served.life(held.id)
    assert life[0]["body"]["policy"] == held.context.policy
    assert life[-1]["body"]["result"] == "committed"


def test_what_a_driver_has_prepared_before_is_judged_by_the_new_policy(
    served: Served, database: str, first: str
) -> None:
    with served.connect(database, cursor_factory=psycopg.Cursor, prepare_threshold=0) as known:
        for _ in range(3):
            assert known.execute(READ).fetchone() == (100,)
        _reload(served, first + STRICTER.replace('"hold"', '"refuse"').replace('approvals = "2 of dba"\n', ""))
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="policy/all"):
            known.execute(READ)


def _is_told(served: Served, words: str) -> bool:
    return words in served.log


def test_an_invalid_file_changes_nothing_and_says_what_is_wrong(served: Served, database: str, first: str) -> None:
    policies = len(_policies(served))
    for wrong, told in (
        (first + STRICTER.replace("2 of dba", "3 of dba"), "so that nobody could ever meet it"),
        (first + "[policy", "is not TOML"),
        (first + "[[role]]\nname = 'x'\npassword_file = 'nowhere'\n", "cannot be read"),
    ):
        _ask(served, wrong)
        until(functools.partial(_is_told, served, told), told)
    assert "the configuration was not reloaded, the one before stays in force" in served.log
    assert served.run_psql(database, "-Atc", READ).stdout == "100\n"
    assert len(_policies(served)) == policies
    served.config.write_text(first)


def test_what_cannot_change_is_said_and_left(served: Served, database: str, first: str) -> None:
    moved = first.replace(f"127.0.0.1:{served.port}", "127.0.0.1:1").replace("tests.localhost/flow", "tests.other/flow")
    assert moved != first
    assert _reload(served, moved)["left"] == ["listen.address", "ledger.name"]
    until(lambda: "listen.address has changed in the file; that takes a restart" in served.log, "the line")
    assert served.run_psql(database, "-Atc", READ).stdout == "100\n"


def test_who_is_no_user_any_more_is_sent_away_and_does_not_come_back(served: Served, database: str, first: str) -> None:
    with served.connect(database, user="bo") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        head, _, rest = first.partition('[[user]]\nname = "bo"')
        assert rest
        after = rest[rest.index("\n[") :]
        _reload(served, head + after.lstrip("\n"))
        with pytest.raises(psycopg.OperationalError, match="not in the configuration any more"):
            until(lambda: connection.execute("SELECT 1").fetchone() is None, "the end")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        served.connect(database, user="bo")
    _reload(served, first)
    with psycopg.connect(host="127.0.0.1", port=served.port, user="bo", password=PASSWORD, dbname=database) as again:
        assert again.execute("SELECT 1").fetchone() == (1,)


def test_the_limit_of_waiting_statements_is_a_persons_whatever_their_user_is_called(
    served: Served, database: str, first: str
) -> None:
    block = first[first.index('[[user]]\nname = "eva"') :]
    block = block[: block.index("\n[", 1) + 1]
    second = block.replace('name = "eva"', 'name = "eva_app"') + 'person = "Eva"\n\n'
    changed = first.replace(block, block + second).replace("[policy]\n", "[policy]\nmax_held_per_person = 1\n")
    assert changed.count("[[user]]") == first.count("[[user]]") + 1
    _reload(served, changed)
    with served.open_psql(database, "-c", DELETE) as psql, served.connect(database, user="eva_app") as other:
        held = served.held()
        with pytest.raises(psycopg.errors.TooManyConnections, match=r"1 statement of Eva waits .*max_held_per_person"):
            other.execute(DELETE)
        served.become("ana").decide(held, Answer.APPROVE)
        assert psql.communicate(timeout=30)[0].rstrip().endswith("DELETE 10")

    def refused() -> list[dict[str, Any]]:
        entries = [entry for entry in served.entries() if entry["type"] == "forwarded"]
        return [each for entry in entries for each in listed(entry["body"]) if each.get("sqlstate") == "53300"]

    until(refused, "the record of the refusal")
    opened = {entry["session"]: entry["body"] for entry in served.entries() if entry["type"] == "session-opened"}
    assert {body["person"] for body in opened.values() if body["user"] == "eva_app"} == {"Eva"}
