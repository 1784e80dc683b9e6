"""The page of an ended request: what its decision is about, or an error, and never what nobody was shown."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import FolderReader
from pgnotary.cli import pgnotary
from pgnotary.cli.exits import Failed
from pgnotary.cli.paper_view import describe
from pgnotary.cli.past_page import past_page
from pgnotary.errors import BrokenSeal
from pgnotary.request.decision import Answer


def exported(ledger: Ledger, folder: Path) -> Path:
    export_folder(ledger, folder, VKEY)
    return folder


def decided() -> Ledger:
    ledger = Ledger().start()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    return ledger


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(pgnotary, ["show", *map(str, words)])


def test_the_page_is_what_the_decision_is_about(tmp_path: Path) -> None:
    paper, decision = past_page(FolderReader(exported(decided(), tmp_path / "e")), "R-1")
    assert decision is not None
    assert (decision.context.hex(), decision.answer) == (paper.digest, Answer.APPROVE)
    done = run("R-1", "--page", "--ledger", tmp_path / "e")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == list(describe(paper))
    assert done.stderr == "R-1   bo said approve to this\n"


def test_a_page_is_drawn_from_the_document_and_never_from_the_entries(tmp_path: Path) -> None:
    paper, _ = past_page(FolderReader(exported(decided(), tmp_path / "e")), "R-1")
    nothing: Any = None
    assert list(describe(replace(paper, request=nothing, preview=nothing))) == list(describe(paper))


def test_of_one_that_nobody_decided_the_page_is_what_could_have_been_signed(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    done = run("R-1", "--page", "--ledger", exported(ledger, tmp_path / "e"))
    assert (done.exit_code, done.stderr) == (0, "R-1   nobody has decided over it\n")


def test_nobody_was_shown_a_request_without_a_preview(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.ask("R-1")
    with pytest.raises(Failed, match="nobody was shown a page of it"):
        past_page(FolderReader(exported(ledger, tmp_path / "e")), "R-1")


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        (2, lambda body: body.update(role="postgres")),
        (2, lambda body: body.update(search_path="evil")),
        (3, lambda body: body.update(exact=1)),
        (3, lambda body: body.update(why="nothing to see")),
    ],
)
def test_a_page_that_was_edited_since_is_not_the_one_that_was_signed(
    tmp_path: Path, entry: int, change: Callable[[dict[str, Any]], None]
) -> None:
    ledger = decided()
    ledger.edit(entry, lambda fields: change(fields["body"]))
    ledger.relink()
    with pytest.raises(BrokenSeal, match="the decision is about the context"):
        past_page(FolderReader(exported(ledger, tmp_path / "e")), "R-1")


def test_another_request_than_the_digest_says_is_not_shown(tmp_path: Path) -> None:
    folder = exported(decided(), tmp_path / "e")
    assert run("R-1@00000000", "--page", "--ledger", folder).exit_code == 6
    told = json.loads(run("R-1", "--page", "--json", "--ledger", folder).stdout)
    for digest in (told["request_leaf"], told["context"]):
        assert run(f"R-1@{digest[:8]}", "--page", "--ledger", folder).exit_code == 0
        # Its story goes by both, too: the question named the context.
        ended = run(f"R-1@{digest[:16]}", "--ledger", folder, "--socket", tmp_path / "none")
        assert (ended.exit_code, "R-1" in ended.stdout) == (0, True), ended.stderr
