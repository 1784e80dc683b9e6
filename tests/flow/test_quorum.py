"""Two of dba and one of owners, over real psql: who counts, how often, and what psql, approvers and the ledger say."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.flow.second import verify_apart
from tests.flow.served import Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

GROUPS = """
[[group]]
name = "dba"
people = ["ana", "bo"]

[[group]]
name = "owners"
people = ["cy"]
"""
PEOPLE = ("ana", "bo", "cy", "dan")
DELETE = "DELETE FROM items WHERE order_id <= 10"


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("quorum") / "pgnotary"
    needs = ["2 of dba", "1 of owners"]
    with Served(postgres, folder, approvers=PEOPLE, tables=GROUPS, hold_s=60, reminder_s=1, approvals=needs) as proxy:
        yield proxy
        proxy.entries()
        proxy.pgnotary("verify")
        export = folder / "export"
        proxy.pgnotary("export", str(export), "--secrets")
        second = verify_apart(proxy, export)
        assert second.returncode == 2, second.stdout


def _types(served: Served, request: str) -> list[str]:
    return [entry["type"] for entry in served.life(request)]


def test_two_of_dba_and_one_of_owners_are_needed_and_each_step_is_told(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        assert paper.context.needs == 3
        served.become("ana").decide(paper, Answer.APPROVE, "ana looked", max_rows=50)
        listed = served.pgnotary("requests")
        assert "approved by ana, needs 1 of dba (bo) and 1 of owners (cy)" in listed
        shown: dict[str, Any] = json.loads(served.pgnotary("show", paper.id, "--json"))
        assert (shown["approved_by"], shown["missing"]) == (["ana"], "1 more of dba and 1 more of owners")
        assert "needs         2 of dba (ana, bo) and 1 of owners (cy)" in served.pgnotary("show", paper.id)
        said = served.pgnotary(
            "approve", f"{paper.id}@{paper.digest}", "-m", "cy looked", "--yes", "--wait", "0",
            "--max-rows", "10", "--key", str(served.folder / "approvers" / "cy"), expected=8,
        )  # fmt: skip
        assert said.splitlines()[0].endswith(", 1 more of dba needed")
        assert psql.poll() is None
        served.become("bo").decide(paper, Answer.APPROVE, "bo looked", max_rows=20)
        printed, _ = psql.communicate(timeout=30)
    assert "Needs 2 of dba (ana, bo) and 1 of owners (cy)." in printed
    assert f"{paper.id} approved by ana: ana looked (ledger #" in printed
    assert "; needs 1 more of dba and 1 more of owners" in printed
    assert "; needs 1 more of dba\n" in printed
    assert printed.rstrip().endswith("DELETE 10")
    life = served.life(paper.id)
    assert [entry["type"] for entry in life] == [
        "request", "preview", "decision", "decision", "decision", "intent", "executed", "outcome"
    ]  # fmt: skip
    assert [entry["body"].get("lacks") for entry in life[2:5]] == [2, 1, None]
    assert life[0]["body"]["quorum"] == [
        {"count": 2, "group": "dba", "people": ["ana", "bo"]},
        {"count": 1, "group": "owners", "people": ["cy"]},
    ]
    assert len(life[5]["body"]["approvals"]) == 3
    told = served.pgnotary("search", "--who", "ana", "--json")
    assert json.loads(told.splitlines()[-1])["approved_before_by"] == ["ana", "cy"]


def test_the_smallest_number_of_rows_of_all_approvals_holds(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        for person, rows in (("ana", 100), ("cy", 9), ("bo", None)):
            served.become(person).decide(paper, Answer.APPROVE, max_rows=rows)
        printed, _ = psql.communicate(timeout=30)
    assert "10 rows affected, approved for at most 9" in printed
    assert served.outcome(paper.id)["ceiling_exceeded"] == {"max_rows": 9, "rows": 10}
    with served.behind(database) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (100,)


def test_nobody_counts_twice_nor_for_a_group_that_they_are_not_in(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        served.become("ana").decide(paper, Answer.APPROVE)
        with pytest.raises(ApiError, match=f"ana has approved {paper.id} already: each person counts once") as again:
            served.decide(paper, Answer.APPROVE)
        assert again.value.status == 409
        for answer in (Answer.APPROVE, Answer.DENY):
            with pytest.raises(ApiError, match=f"dan is in none of the groups that {paper.id} needs: 2 of dba") as no:
                served.become("dan").decide(paper, answer)
            assert no.value.status == 403
        assert psql.poll() is None
        # One denial is enough, by somebody who has approved before, too.
        served.become("ana").decide(paper, Answer.DENY, "I was wrong")
        printed, _ = psql.communicate(timeout=30)
    assert f"{paper.id} denied by ana: I was wrong" in printed
    assert _types(served, paper.id) == [
        "request", "preview", "decision", "decision-rejected", "decision-rejected", "decision-rejected", "decision"
    ]  # fmt: skip


def _ask_in_vain(connection: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(psycopg.errors.QueryCanceled):
        connection.execute(DELETE)


def test_who_asks_is_not_one_of_them(served: Served, database: str) -> None:
    with served.connect(database, user="bo") as connection:
        asking = threading.Thread(target=_ask_in_vain, args=(connection,))
        asking.start()
        paper = served.held()
        with pytest.raises(ApiError, match="bo asked for it: somebody else must decide"):
            served.become("bo").decide(paper, Answer.APPROVE)
        served.become("ana").decide(paper, Answer.APPROVE)
        connection.cancel()
        asking.join(30)
    until(lambda: _types(served, paper.id)[-1] == "withdrawn", "the withdrawal")
    assert _types(served, paper.id) == ["request", "preview", "decision-rejected", "decision", "withdrawn"]


def test_approvals_that_come_at_the_same_time_all_count(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        signed = [(served.become(person).signed(paper, Answer.APPROVE)) for person in ("ana", "bo", "cy")]
        threads = [threading.Thread(target=served.api.decide, args=(paper.id, *each)) for each in signed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        printed, _ = psql.communicate(timeout=30)
    assert printed.rstrip().endswith("DELETE 10")


def test_an_approval_whose_key_is_revoked_before_the_last_one_never_runs(served: Served, database: str) -> None:
    before = served.roster.read_text()
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        for person in ("ana", "cy"):
            served.become(person).decide(paper, Answer.APPROVE)
        served.reload("".join(line for line in before.splitlines(keepends=True) if not line.startswith("ana")))
        served.become("bo").decide(paper, Answer.APPROVE)
        printed, _ = psql.communicate(timeout=30)
    assert f"{paper.id} does not run: the approval by ana does not count any more" in printed
    assert _types(served, paper.id)[-2:] == ["decision", "void"]
    assert "nobody on the roster has the key" in served.life(paper.id)[-1]["body"]["why"]
    served.reload(before)
