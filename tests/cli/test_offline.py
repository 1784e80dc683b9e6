"""The approver without a network: what is exported, signed elsewhere, handed in, and what was changed on its way."""

import asyncio
import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import Result
from tests.approval.office import VKEY, MemoryLedger, key_file
from tests.approval.office import signed as approval
from tests.cli.office import Desk, office, spawn

from pgnotary.ledger.canonical import JSON, b64, encode
from pgnotary.ledger.entries import Draft, EntryType, Receipt, parse_entry
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.life import State
from pgnotary.request.signed_context import context_digest, context_document


async def _export(desk: Desk, *more: str | Path) -> Path:
    path = desk.folder / "R-1.paper"
    path.unlink(missing_ok=True)
    result = await desk.run("show", "R-1", "--export", path, *more)
    assert result.exit_code == 0, result.stderr
    return path


async def _sign(desk: Desk, paper: Path, *more: str | Path, person: str = "bo") -> Result:
    """Sign as a script does, on a machine that reaches no proxy and knows its key."""
    vkey, digest = desk.folder / "known.vkey", desk.context()
    vkey.write_text(VKEY + "\n")
    words = ("sign", paper, "-m", "backup b-771", "--person", person, "--key", key_file(desk.folder, person))
    means = ("--out", _out(desk), "--proxy-key", vkey, "--digest", digest, "--yes")
    return await desk.run(*words, *means, *more, env=_away(desk))


def _away(desk: Desk) -> dict[str, str]:
    return {"PGNOTARY_SOCKET": str(desk.folder / "nowhere"), "PGNOTARY_HEADS": str(desk.folder / "offline.heads")}


def _out(desk: Desk) -> Path:
    return desk.folder / "R-1.signed"


async def test_a_decision_travels_by_file() -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        assert stat.S_IMODE(paper.stat().st_mode) == 0o600
        signed = await _sign(desk, paper, "--approve", "--max-rows", "2000")
        assert signed.exit_code == 0, signed.stderr
        for shown in ("   1 | DELETE FROM orders", "rows          at most 2,000", "why           backup b-771"):
            assert shown in signed.stderr
        assert desk.desk.taken == []
        handed = await desk.run("submit", _out(desk))
        assert (handed.exit_code, handed.stdout) == (0, "approved  R-1  ledger #2\n"), handed.stderr
        assert (desk.taken.answer, desk.taken.approver, desk.taken.ceiling) == (Answer.APPROVE, "bo", Ceiling(2000))
        again = await desk.run("submit", _out(desk))
        assert again.exit_code == 6


async def test_a_denial_travels_too_and_a_late_one_says_so() -> None:
    async with office() as desk:
        desk.hold()
        assert (await _sign(desk, await _export(desk), "--deny")).exit_code == 0
        desk.desk.retire("R-1", State.EXPIRED)
        assert (await desk.run("submit", _out(desk))).exit_code == 4


async def test_in_a_terminal_it_asks_and_only_yes_signs() -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        (desk.folder / "known.vkey").write_text(VKEY)
        key = key_file(desk.folder, "bo")

        def scene(answer: str) -> bool:
            words = f"sign {paper} --deny -m no --person bo --out {_out(desk)} --key {key}".split()
            child = spawn(desk, *words, "--proxy-key", str(desk.folder / "known.vkey"), "--heads", str(desk.heads))
            child.expect("Sign denial of R-1@[0-9a-f]{16}")
            child.sendline(answer)
            child.expect(pexpect.EOF)
            child.close()
            return _out(desk).exists()

        assert not await asyncio.to_thread(scene, "n")
        assert await asyncio.to_thread(scene, "y")


async def test_nothing_is_written_over() -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        assert (await desk.run("show", "R-1", "--export", paper)).exit_code == 2
        _out(desk).write_text("precious")
        assert (await _sign(desk, paper, "--deny")).exit_code == 2
        assert _out(desk).read_text() == "precious"


async def test_without_the_key_of_the_proxy_nothing_is_signed_and_later_it_is_remembered() -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        words = f"sign {paper} --deny -m no --person bo --yes --out {_out(desk)}".split()
        more = ("--key", key_file(desk.folder, "bo"), "--digest", desk.context())
        result = await desk.run(*words, *more, env=_away(desk))
        assert (result.exit_code, "--proxy-key FILE" in result.stderr) == (5, True)
        assert (await _sign(desk, paper, "--deny")).exit_code == 0
        _out(desk).unlink()
        assert (await desk.run(*words, *more, env=_away(desk))).exit_code == 0


async def test_a_ledger_that_grew_is_exported_from_what_the_other_machine_remembers() -> None:
    async with office() as desk:
        desk.hold()
        assert (await _sign(desk, await _export(desk), "--deny")).exit_code == 0
        _out(desk).unlink()
        desk.hold("R-2")
        refused = await _sign(desk, await _export(desk), "--deny")
        assert refused.exit_code == 6
        assert "remembers 2 entries" in refused.stderr
        assert "pgnotary show R-1 --export FILE --known 2" in refused.stderr
        assert (await _sign(desk, await _export(desk, "--known", "2"), "--deny")).exit_code == 0
        assert not list(desk.folder.glob("*misbehaviour*"))


async def test_an_older_file_than_was_seen_since_accuses_nobody() -> None:
    async with office() as desk:
        desk.hold()
        older = (await _export(desk)).rename(desk.folder / "older")
        desk.hold("R-2")
        assert (await _sign(desk, await _export(desk), "--deny")).exit_code == 0
        _out(desk).unlink()
        assert (await _sign(desk, older, "--deny")).exit_code == 6
        assert not list(desk.folder.glob("*misbehaviour*"))


async def test_a_rewritten_ledger_is_refused_with_the_proof_kept() -> None:
    async with office() as desk:
        desk.hold()
        assert (await _sign(desk, await _export(desk), "--deny")).exit_code == 0
        _out(desk).unlink()
        desk.desk.open.clear()
        desk.ledger.raws.clear()
        desk.hold("R-1", "DELETE FROM other")
        refused = await _sign(desk, await _export(desk, "--known", "2"), "--deny")
        assert (refused.exit_code, "two different histories" in refused.stderr) == (5, True), refused.stderr
        assert not _out(desk).exists()
        assert list(desk.folder.glob("*misbehaviour*"))


async def test_another_request_with_the_same_first_digits_is_not_signed_from_a_file_by_a_script() -> None:
    async with office() as desk:
        desk.hold()
        refused = await _sign(desk, await _export(desk), "--approve", "--digest", desk.context()[:16])
        assert (refused.exit_code, _out(desk).exists()) == (2, False)
        assert "all 64 hex digits of the digest behind --digest, found 16: `pgnotary show ID --json`" in refused.stderr


async def test_neither_another_preview_nor_the_request_alone_is_signed_from_a_file_by_a_script() -> None:
    async with office() as desk:
        asked = desk.hold(exact=3)
        judged = desk.context()
        desk.preview_anew(exact=50_000)
        paper = await _export(desk)
        assert (await _sign(desk, paper, "--approve", "--digest", judged)).exit_code == 6
        alone = await _sign(desk, paper, "--approve", "--digest", asked.leaf.hex())
        assert (alone.exit_code, _out(desk).exists()) == (2, False)
        assert "found request_leaf, which is of the request alone" in alone.stderr


async def test_ones_own_request_and_another_digest_are_refused() -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        assert (await _sign(desk, paper, "--approve", person="eva")).exit_code == 5
        assert (await _sign(desk, paper, "--approve", "--digest", "0" * 64)).exit_code == 6
        assert (await _sign(desk, paper)).exit_code == 2
        assert not _out(desk).exists()


def _b64(text: str, old: bytes, new: bytes) -> str:
    raw = base64.b64decode(text)
    assert old in raw
    return base64.b64encode(raw.replace(old, new)).decode()


def _statement(told: dict[str, Any]) -> None:
    salt, value = told["paper"]["request"]["opened"]["statement"]
    told["paper"]["request"]["opened"]["statement"] = [salt, _b64(value, b"orders", b"others")]


def _entry(which: str, old: bytes, new: bytes) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        told["paper"][which]["entry"] = _b64(told["paper"][which]["entry"], old, new)

    return change


def _note(told: dict[str, Any]) -> None:
    told["head"]["note"] = told["head"]["note"].replace("\n2\n", "\n3\n")


def _withheld(told: dict[str, Any]) -> None:
    del told["paper"]["request"]["opened"]["reason"]


def _path(told: dict[str, Any]) -> None:
    told["head"]["inclusion"][0][0] = base64.b64encode(bytes(32)).decode()


def _id(told: dict[str, Any]) -> None:
    told["paper"]["id"] = "R-2"


def _hostile_id(told: dict[str, Any]) -> None:
    told["paper"]["id"] = name = "R-1\x1b[2J\nApprove R-9"
    for which in ("request", "preview"):
        entry = json.loads(base64.b64decode(told["paper"][which]["entry"]))
        entry["request"] = name
        told["paper"][which]["entry"] = base64.b64encode(encode(entry)).decode()


def _context(told: dict[str, Any]) -> str:
    request, preview = (parse_entry(base64.b64decode(told["paper"][each]["entry"])) for each in ("request", "preview"))
    return context_digest(context_document(request, preview)).hex()


def _unknown(told: dict[str, Any]) -> None:
    told["more"] = 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(_statement, "statement", id="another-statement"),
        pytest.param(_entry("request", b'"role":"app_rw"', b'"role":"app_ro"'), "request", id="another-role"),
        pytest.param(_entry("preview", b'"exact":1204', b'"exact":1'), "preview", id="fewer-rows"),
        pytest.param(_note, "the note was changed", id="another-size"),
        pytest.param(_withheld, "withheld", id="without-the-reason"),
        pytest.param(_path, "not in the ledger", id="another-proof"),
        pytest.param(_id, "asked for R-2", id="another-id"),
        pytest.param(_hostile_id, "is no request's id", id="with-an-id-that-clears-the-screen"),
        pytest.param(_unknown, "unknown field", id="with-more-in-it"),
    ],
)
async def test_a_paper_that_was_changed_on_its_way_is_refused_with_what_differs(
    change: Callable[[dict[str, Any]], None], told: str
) -> None:
    async with office() as desk:
        desk.hold()
        paper = await _export(desk)
        body = json.loads(paper.read_text())
        change(body)
        paper.write_text(json.dumps(body))
        # Who has changed it says its digest, too.
        result = await _sign(desk, paper, "--approve", "--digest", _context(body))
        assert result.exit_code == 5, result.stderr
        assert told in result.stderr.splitlines()[-1]
        assert "\x1b" not in result.stderr
        assert not _out(desk).exists()


@pytest.mark.parametrize(
    ("old", "new"), [(b'"max_rows":1204', b'"max_rows":9999'), (b'"approve"', b'"deny"'), (b"b-771", b"b-772")]
)
async def test_a_signed_decision_that_was_changed_on_its_way_is_not_handed_in(old: bytes, new: bytes) -> None:
    async with office() as desk:
        desk.hold()
        assert (await _sign(desk, await _export(desk), "--approve")).exit_code == 0
        body = json.loads(_out(desk).read_text())
        body["document"] = _b64(body["document"], old, new)
        _out(desk).write_text(json.dumps(body))
        result = await desk.run("submit", _out(desk))
        assert (result.exit_code, "was changed behind its signing" in result.stderr) == (5, True)
        assert desk.desk.taken == []
        assert desk.desk.rejected == []


def _approval_of_ana(desk: Desk, ledger: MemoryLedger) -> Receipt:
    """An entry of an approval in some ledger, with ana's name under it and mallory's signature."""
    lying = desk.desk.open["R-1"]
    document, signature = approval(ledger, lying.request, lying.preview, approver="ana", by="mallory")
    body: dict[str, JSON] = {"answer": "approve", "document": b64(document), "signature": signature, "lacks": 1}
    return ledger.put(Draft(EntryType.DECISION, body, "S-00000001", "R-1", lying.preview.entry.leaf))


async def test_an_approval_that_was_put_into_the_file_persuades_nobody() -> None:
    async with office() as desk:
        desk.hold()
        forged = _approval_of_ana(desk, MemoryLedger(list(desk.ledger.raws)))
        paper = await _export(desk)
        body = json.loads(paper.read_text())
        body["paper"]["decisions"] = [base64.b64encode(forged.entry.raw).decode()]
        for proofs in (body["head"]["inclusion"], [*body["head"]["inclusion"], body["head"]["inclusion"][1]]):
            body["head"]["inclusion"] = proofs
            paper.write_text(json.dumps(body))
            result = await _sign(desk, paper, "--approve")
            assert result.exit_code == 5, result.stderr
            assert not _out(desk).exists()


async def test_an_approval_that_the_ledger_holds_is_shown_where_the_file_is_signed() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.open["R-1"].decisions = (_approval_of_ana(desk, desk.ledger).filed(),)
        desk.hold("R-2")
        result = await _sign(desk, await _export(desk), "--approve")
        assert result.exit_code == 0, result.stderr
        assert "approved by ana" in result.stderr


async def test_a_decision_over_another_request_of_that_id_says_what_differs() -> None:
    async with office() as desk:
        desk.hold()
        assert (await _sign(desk, await _export(desk), "--approve")).exit_code == 0
        desk.desk.open.clear()
        desk.hold("R-1", "DELETE FROM others")
        result = await desk.run("submit", _out(desk))
        assert result.exit_code == 6
        assert "request_leaf is" in result.stderr
        assert desk.desk.taken == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v":"pgnotary/paper/1"}', "\x1b[2J", '{"v":' * 5_000, '{"x":' * 50_000]
)
async def test_what_is_no_such_file_is_one_line(text: str) -> None:
    async with office() as desk:
        desk.hold()
        path = desk.folder / "odd"
        path.write_text(text)
        for result in (await _sign(desk, path, "--deny"), await desk.run("submit", path)):
            assert result.exit_code == 5
            assert result.stderr.count("\n") == 1
            assert "\x1b" not in result.stderr
