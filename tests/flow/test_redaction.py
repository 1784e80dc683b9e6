"""Redaction over a real proxy: somebody who may erases a text with the command, and it is in no file afterwards."""

import secrets
import signal
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pexpect
import pytest
from nacl.signing import SigningKey
from tests.flow.conftest import SCHEMA
from tests.flow.second import verify_apart
from tests.flow.served import Served, until
from tests.flow.untouched import untouched

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.ledger.checkpoint import verify as read_checkpoint
from pgnotary.ledger.entries import parse_entry
from pgnotary.request import redaction, sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.openssh import private_key_file, public_line
from pgnotary.request.redaction import Values

MARK = "geheim-4711-0815"
RITA = bytes([5]) * 32


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres) -> Iterator[str]:
    with untouched(postgres, "redaction_shop", SCHEMA, "nobody_redaction") as database:
        yield database


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy, rita who may redact, and three requests of eva's that have ended: R-1 and R-2 with the mark."""
    with Served(postgres, tmp_path_factory.mktemp("redact") / "pgnotary", hold_s=60) as proxy:
        key = proxy.folder / "rita"
        key.write_text(private_key_file(RITA, "rita", 7))
        key.chmod(0o600)
        line = f'rita namespaces="redaction@pgnotary" {public_line(bytes(SigningKey(RITA).verify_key))}\n'
        proxy.reload(proxy.roster.read_text() + line)
        for text in (f"'{MARK}'", f"'{MARK}'", "'other'"):
            with proxy.open_psql(shop, "-c", f"DELETE FROM orders WHERE status = {text}") as psql:
                proxy.approve(0)
                psql.wait(30)
        proxy.run_psql(shop, "-c", f"SELECT '{MARK}' AS forwarded")
        until(lambda: [each for each in proxy.entries() if each["type"] == "forwarded"], "what was forwarded")
        yield proxy


def digest(proxy: Served, of: str | int) -> str:
    return parse_entry(proxy.api.sealed(of)[0].entry).leaf.hex()


def redact(proxy: Served, of: str | int, *words: str, key: str = "rita", expected: int = 0) -> str:
    name = of if isinstance(of, str) else f"#{of}"
    mine = str(proxy.folder / key)
    words = ("--yes", "-m", "erasure request 4711", "--key", mine, "--heads", str(proxy.folder / "heads"), *words)
    return proxy.pgnotary("redact", f"{name}@{digest(proxy, of)}", *words, expected=expected)


def remains(proxy: Served, mark: str = MARK) -> list[str]:
    """The files of the proxy's folder that hold the mark."""
    return [path.name for path in proxy.folder.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]


def signed(proxy: Served, values: Values, namespace: str = sshsig.REDACTION_NAMESPACE) -> tuple[bytes, str]:
    note = read_checkpoint(proxy.api.head(), (proxy.folder / "proxy.vkey").read_text().strip())
    raw = redaction.document(
        note.origin,
        [values],
        reason="x",
        redactor="rita",
        seen=Seen(note.size, note.root),
        redacted_at=datetime.now(UTC),
        nonce=secrets.token_bytes(16),
    )
    return raw, sshsig.sign(raw, RITA, namespace)


def refused(proxy: Served, values: Values, namespace: str = sshsig.REDACTION_NAMESPACE) -> str:
    with pytest.raises(ApiError) as error:
        proxy.api.redact(*signed(proxy, values, namespace))
    assert error.value.status == 403
    return str(error.value)


def values_of(proxy: Served, of: str | int, *names: str) -> Values:
    entry = parse_entry(proxy.api.sealed(of)[0].entry)
    return Values(entry.position.seq, entry.leaf, names)


def test_a_statement_is_erased_by_somebody_who_may_and_the_ledger_says_so(served: Served, tmp_path: Path) -> None:
    assert remains(served), "the search finds what is there"
    [forwarded] = [each["seq"] for each in served.entries() if each["type"] == "forwarded"]
    said = redact(served, "R-1", "--field", "statement")
    assert said.endswith("erased    no byte of it is left in the ledger's files\n")
    redact(served, "R-2")
    redact(served, forwarded)
    assert remains(served) == []
    verified = served.pgnotary("verify", expected=2)
    assert "gap  3 sealed values are redacted, all authorised\n" in verified
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    words = f"redacted on {day} by rita: erasure request 4711"
    for command in (["show", "R-1"], ["replay", "R-1"], ["search", "--json"], ["export", "--csv", "-"]):
        assert words in served.pgnotary(*command), command
    assert words in served.pgnotary("search", "--forwarded")
    report = served.pgnotary("report")
    assert "| Sealed values redacted | 3 |" in report
    assert "| rita | statement of \\#" in report
    told = served.pgnotary("replay", f"#{served.entries()[-1]['seq']}")
    assert f"t1 of #{forwarded}" in told
    # The page that was signed is whole or none.
    served.pgnotary("show", "R-1", "--page", "--ledger", str(served.ledger), expected=1)
    served.pgnotary("export", str(tmp_path / "out"))
    assert [
        path for path in (tmp_path / "out").rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()
    ] == []
    second = verify_apart(served, tmp_path / "out")
    assert (second.returncode, "redacted, all by who may: 3" in second.stdout) == (2, True), second.stdout


def test_who_may_only_decide_erases_nothing(served: Served) -> None:
    redact(served, "R-3", key="approvers/bo", expected=5)
    assert len(served.api.sealed("R-3")[0].kept) == 1


def test_redactions_that_must_not_count_are_refused_and_change_nothing(served: Served, shop: str) -> None:
    before = len(served.entries())
    wanted = values_of(served, "R-3", "statement")
    assert "for namespace 'decision@pgnotary'" in refused(served, wanted, sshsig.DECISION_NAMESPACE)
    assert "has no sealed reason" in refused(served, Values(wanted.seq, wanted.leaf, ("reason",)))
    assert "there is no entry" in refused(served, Values(wanted.seq, bytes(32), ("statement",)))
    assert "does not cover #99999" in refused(served, Values(99_999, wanted.leaf, ("statement",)))
    assert "there is no entry" in refused(served, Values(0, wanted.leaf, ("statement",)))
    raw, signature = signed(served, wanted)
    with pytest.raises(ApiError, match="is wrong"):
        served.api.redact(raw.replace(b'"reason":"x"', b'"reason":"y"'), signature)
    with pytest.raises(ApiError, match="cannot be read"):
        served.api.redact(b"{}" * 100, signature)
    served.pgnotary("redact", "#99999", "-m", "x", "--yes", expected=2)
    served.pgnotary(
        "redact", f"#99999@{'0' * 64}", "-m", "x", "--yes", "--key", str(served.folder / "rita"), expected=1
    )
    served.pgnotary("redact", f"R-3@{'0' * 64}", "-m", "x", "--yes", "--key", str(served.folder / "rita"), expected=6)
    # Of a request or an entry that shares its first digits with another one, whoever runs the proxy can give either.
    few = digest(served, "R-3")[:16]
    served.pgnotary("redact", f"R-3@{few}", "-m", "x", "--yes", "--key", str(served.folder / "rita"), expected=2)
    redact(served, "R-3", "--field", "sample", expected=2)
    redact(served, "R-3", "-m", "one\ntwo", expected=2)
    with served.open_psql(shop, "-c", "DELETE FROM orders WHERE status = 'held'") as psql:
        paper = served.held()
        assert "is held: what it asks is still needed" in refused(served, values_of(served, paper.id, "statement"))
        served.deny()
        psql.wait(30)
    assert [each["type"] for each in served.entries()[before:]].count("redacted") == 0
    assert served.api.erasure().hindrance == ""


def test_a_person_is_shown_what_goes_and_is_asked(served: Served) -> None:
    words = ["redact", "R-3", "-m", "asked for by its subject", "--key", str(served.folder / "rita")]
    words += ["--heads", str(served.folder / "heads"), "--config", str(served.config)]
    question = "Sign that 1 value of R-3@[0-9a-f]{16} is DELETED FOR GOOD"
    for answer, last, status in (("n", "nothing was signed", 1), ("y", "no byte of it is left", 0)):
        person = pexpect.spawn(sys.executable, ["-m", "pgnotary.cli", *words], encoding="utf-8", timeout=30)
        person.expect(question)
        page = person.before or ""
        assert "statement (41 bytes)" in page
        assert "asked for by its subject" in page
        assert "eva on redaction_shop" in page
        assert "status = 'other'" not in page, "what is erased is not spread once more"
        person.sendline(answer)
        person.expect(last)
        person.expect(pexpect.EOF)
        person.close()
        assert person.exitstatus == status


def test_the_same_redaction_counts_once(served: Served, shop: str) -> None:
    with served.open_psql(shop, "-c", "DELETE FROM orders WHERE status = 'twice'") as psql:
        name = served.deny().id
        psql.wait(30)
    document, signature = signed(served, values_of(served, name, "statement"))
    served.api.redact(document, signature)
    with pytest.raises(ApiError, match="was redacted before"):
        served.api.redact(document, signature)
    redact(served, name, expected=6)


def test_a_reader_keeps_bytes_back_and_a_killed_proxy_erases_them_at_its_next_start(served: Served, shop: str) -> None:
    mark = "geheim-0000-1111"
    with served.open_psql(shop, "-c", f"DELETE FROM orders WHERE status = '{mark}'") as psql:
        name = served.deny().id
        psql.wait(30)
    reader = sqlite3.connect(f"file:{served.ledger}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sealed").fetchall()
    said = redact(served, name, "--wait", "0", expected=8)
    assert "redacted" in said
    assert "no byte of it is left" not in said
    assert "a program is reading the ledger's file" in served.api.erasure().hindrance
    assert remains(served, mark)
    served.stop(signal.SIGKILL)
    reader.close()
    assert (served.folder / "ledger.db.erasing").exists()
    served.start()
    until(lambda: not served.api.erasure().hindrance, "the erasure")
    assert remains(served, mark) == []
    assert "no redaction names" not in served.pgnotary("verify", expected=2)
