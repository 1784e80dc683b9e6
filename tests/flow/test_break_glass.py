"""Breaking the glass over real psql: alone, also one's own, loudly, and looked at by somebody else afterwards."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.by_hand import say_yes
from tests.flow.second import verify_apart
from tests.flow.served import Served, until
from tests.pages import Page, run

from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

PAGE = "quorum.md"
GROUPS = """
[[group]]
name = "dba"
people = ["ana", "cy"]

[[group]]
name = "on-call"
people = ["bo"]
"""
DELETE = "DELETE FROM items WHERE order_id <= 10"


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("glass") / "pgnotary"
    with Served(
        postgres,
        folder,
        approvers=("ana", "bo", "cy"),
        tables=GROUPS,
        hold_s=60,
        approvals=["2 of dba"],
        break_glass="on-call",
    ) as proxy:
        yield proxy
        proxy.entries()
        proxy.pgnotary("verify")


def _second(served: Served, name: str) -> subprocess.CompletedProcess[str]:
    """What the second verifier says of an export."""
    export = served.folder / name
    served.pgnotary("export", str(export), "--secrets")
    return verify_apart(served, export, "--allowed-signers", served.roster)


def _key(served: Served, person: str) -> tuple[str, str]:
    return "--key", str(served.folder / "approvers" / person)


def _typed(served: Served, person: str, line: str) -> str:
    """Let somebody type a line where they work, and say yes."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TERM": "dumb"}
    environment |= {"PGNOTARY_CONFIG": str(served.config), "PGNOTARY_KEY": _key(served, person)[1]}
    return say_yes(line, environment=environment)


def test_bo_breaks_the_glass_for_his_own_statement_and_cy_reviews_it(served: Served, page: Page, database: str) -> None:
    notices: list[str] = []
    with served.connect(database, user="bo") as connection:
        connection.add_notice_handler(lambda told: notices.append(f"{told.message_primary} {told.message_hint}"))
        asking = threading.Thread(target=connection.execute, args=(DELETE,))
        asking.start()
        paper: Paper = served.held()
        assert "break-glass   by bo, alone, to be reviewed afterwards" in served.pgnotary("show", paper.id)
        # As an approval it does not count, and nobody else may.
        served.pgnotary("approve", f"{paper.id}@{paper.digest}", "-m", "mine", "--yes", *_key(served, "bo"), expected=5)
        for person in ("ana", "cy"):
            with pytest.raises(ApiError, match=f"{person} may not break the glass: only bo may"):
                served.become(person).decide(paper, Answer.BREAK_GLASS, "now")
        with pytest.raises(ApiError, match="breaks the glass without a reason"):
            served.become("bo").decide(paper, Answer.BREAK_GLASS, " ")
        said = _typed(served, "bo", page.take("pgnotary approve").line({"R-7": paper.id}))
        asking.join(30)
    assert "executed: DELETE 10, committed" in said
    assert any(f"{paper.id} GLASS BROKEN by bo: the disk is full, ticket 815" in notice for notice in notices)
    assert any(f"pgnotary reviewed {paper.id}" in notice for notice in notices)
    assert [entry["body"].get("answer") for entry in served.life(paper.id) if entry["type"] == "decision"] == [
        "break-glass"
    ]
    # Until somebody else has looked at it, the evidence is incomplete, and the report says which.
    assert f"{paper.id}: bo broke the glass, and nobody has reviewed it" in served.pgnotary("verify", expected=2)
    pinned = _second(served, "before")
    assert pinned.returncode == 2, pinned.stdout
    report = served.pgnotary("report", expected=0)
    assert "## Glass broken, and not reviewed" in report
    assert "GLASS BROKEN by bo, at most 10 rows; NOT REVIEWED" in report
    assert "GLASS BROKEN by bo" in served.pgnotary("search", "--who", "bo")
    mine = ("reviewed", f"{paper.id}@{paper.request_leaf}", "-m", "fine", "--yes")
    served.pgnotary(*mine, *_key(served, "bo"), expected=5)
    told = run(*page.take("pgnotary replay").words({"R-7": paper.id, "pgnotary.toml": served.config}))
    assert (told.exit_code, "the disk is full, ticket 815" in told.output) == (0, True), told.output
    said = _typed(served, "cy", page.take("pgnotary reviewed").line({"R-7": paper.id}))
    assert f"reviewed  {paper.id}  ledger #" in said
    served.pgnotary(*mine, *_key(served, "ana"), expected=6)
    served.pgnotary("verify")
    after = _second(served, "after")
    assert after.returncode == 0, after.stdout
    assert "reviewed by cy" in served.pgnotary("report")
    [review] = [entry["body"] for entry in served.entries() if entry["type"] == "reviewed"]
    assert (review["request"], review["reviewer"], review["words"]) == (
        paper.id, "cy", "right, the rows are in the backup of the day before",
    )  # fmt: skip


def test_an_approval_beside_it_bounds_nothing_and_the_wait_for_the_review_outlives_the_proxy(
    served: Served, database: str
) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        served.become("ana").decide(paper, Answer.APPROVE, max_rows=1)
        served.become("bo").decide(paper, Answer.BREAK_GLASS, "now", max_rows=10)
        printed, _ = psql.communicate(timeout=30)
    assert printed.rstrip().endswith("DELETE 10")
    served.stop()
    served.start()
    [waiting] = until(served.api.reviews, "what waits")
    assert waiting.decision
    served.pgnotary("reviewed", f"{paper.id}@{paper.request_leaf}", "-m", "seen", "--yes", *_key(served, "ana"))
    assert served.api.reviews() == []


def test_a_key_that_is_revoked_before_it_runs_breaks_nothing(served: Served, database: str) -> None:
    before = served.roster.read_text()
    with served.connect(database) as connection:
        connection.execute("BEGIN")
        asking: Any = threading.Thread(target=_fails, args=(connection,))
        asking.start()
        paper = served.held()
        served.reload("".join(line for line in before.splitlines(keepends=True) if not line.startswith("bo")))
        with pytest.raises(ApiError, match="nobody on the roster has the key"):
            served.become("bo").decide(paper, Answer.BREAK_GLASS, "now")
        served.become("ana").decide(paper, Answer.DENY)
        asking.join(30)
    served.reload(before)


def _fails(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(DELETE)
