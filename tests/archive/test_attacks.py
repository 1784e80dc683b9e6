"""What can be done to an archive, and to a ledger that was archived, and that `verify` finds it."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.archive.kept import Site
from tests.archive.running import run
from tests.second.agreement import both_over_folder
from tests.verify.builder import LEDGER, PROXY_SEED, START, VKEY

from pgnotary.audit import standalone
from pgnotary.errors import LedgerBroken
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import decode, encode
from pgnotary.ledger.tree import Tree, leaf_hash
from pgnotary.store.sqlite import SqliteStore


def together(site: Site) -> tuple[int, str]:
    """Verify the ledger with its archive, and its export with the archive by the second verifier: they agree."""
    done = run("verify", "-c", site.config, "--archive", site.folder / "a1")
    return done.exit_code, done.stdout


def second(site: Site) -> int:
    rest = site.folder / "rest"
    assert run("export", rest, "-c", site.config).exit_code == 0
    words = [rest, "--key", VKEY, "--allowed-signers", site.folder / "allowed_signers", "--archive", site.folder / "a1"]
    return standalone.main([*map(str, words), "--quiet"])


def edited(path: Path, *statements: str) -> None:
    """What somebody with a database editor does, who puts the guard rails back afterwards."""
    db = sqlite3.connect(path, isolation_level=None)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.close()


def in_entries(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(archive: Path) -> None:
        path = archive / "entries.jsonl"
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    return change


def without_line(name: str, number: int) -> Callable[[Path], None]:
    def change(archive: Path) -> None:
        lines = (archive / name).read_bytes().splitlines(keepends=True)
        del lines[number]
        (archive / name).write_bytes(b"".join(lines))

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_entries(b'"version":"0.1"', b'"version":"0.2"'),
        in_entries(b'"executions":4', b'"executions":5'),
        without_line("entries.jsonl", 0),
        without_line("entries.jsonl", 100),
        without_line("entries.jsonl", 255),
        lambda archive: (archive / "proxy.vkey").unlink(),
        lambda archive: (archive / "allowed_signers").write_text("# nobody\n"),
        lambda archive: (archive / "decisions" / "R-1.json").unlink(),
        lambda archive: (archive / "entries.jsonl").write_bytes((archive / "entries.jsonl").read_bytes()[:-1]),
    ],
    ids=["a word", "a number", "the first", "one", "the last", "key", "roster", "decision", "the last byte"],
)
def test_an_operator_who_edits_the_archive_afterwards(pruned: Site, change: Callable[[Path], None]) -> None:
    change(pruned.folder / "a1")
    status, text = together(pruned)
    assert (status, text.startswith("FAIL  ")) == (1, True), text
    assert second(pruned) == 1


def test_an_archive_of_which_values_were_taken_out_is_whole_but_for_them(pruned: Site) -> None:
    without_line("opened.jsonl", 0)(pruned.folder / "a1")
    status, text = together(pruned)
    assert status == 2
    assert "opened.jsonl is not the file that was archived: values were taken out of it since" in text
    assert "gap  1 sealed value is withheld" in text
    assert second(pruned) == 2


@pytest.mark.parametrize("field", ["ledger", "body"])
def test_an_archive_of_another_ledger_under_the_same_key_is_refused(pruned: Site, field: str) -> None:
    """One of another name, and one of another past: linked and signed anew, each is a good ledger by itself."""
    archive = pruned.folder / "a1"
    tree, raws, prev = Tree(), [], bytes(32)
    for line in (archive / "entries.jsonl").read_bytes().splitlines():
        fields = json.loads(line)
        if field == "ledger":
            fields["ledger"] = "else.where"
        elif fields["type"] == "proxy-started":
            fields["body"]["version"] = "0.2"
        raw = encode({**fields, "prev": prev.hex()})
        prev = leaf_hash(raw)
        tree.append(prev)
        raws.append(raw + b"\n")
    (archive / "entries.jsonl").write_bytes(b"".join(raws))
    name = "else.where" if field == "ledger" else LEDGER
    (archive / "checkpoint.txt").write_text(notes.sign(notes.Checkpoint(name, 256, tree.root()), LEDGER, PROXY_SEED))
    status, text = together(pruned)
    assert (status, "FAIL  #255 has leaf" in text) == (1, True)
    assert f"FAIL  {archive / 'entries.jsonl'} is not the file that was archived" in text
    assert second(pruned) == 1


def test_an_archive_that_leaves_a_gap_or_is_given_twice_is_refused(pruned: Site) -> None:
    short = pruned.folder / "short"
    done = run("export", short, "--ledger", pruned.folder / "a1")
    assert done.exit_code == 0
    note = (short / "checkpoint.txt").read_text()
    (short / "checkpoint.txt").write_text(note.replace("\n256\n", "\n255\n"))
    done = run("verify", "-c", pruned.config, "--archive", short)
    assert (done.exit_code, "#255 to #255 are in no archive that was given" in done.stdout) == (1, True)
    twice = ("--archive", pruned.folder / "a1")
    done = run("verify", "-c", pruned.config, *twice, *twice)
    assert (done.exit_code, "#0 to #255 are in two of them" in done.stdout) == (1, True)


def test_an_archive_of_a_ledger_that_was_never_archived_is_refused(whole: Site, pruned: Site) -> None:
    done = run("verify", "-c", whole.config, "--archive", pruned.folder / "a1")
    assert (done.exit_code, "#0 to #255 are in two of them" in done.stdout) == (1, True)


def test_an_operator_who_deletes_old_entries_without_a_word(whole: Site) -> None:
    edited(whole.ledger, "DELETE FROM entry WHERE seq < 256", "DELETE FROM checkpoint WHERE size BETWEEN 1 AND 255")
    done = run("verify", "-c", whole.config)
    assert (done.exit_code, "says seq 256, expected 0: 256 entries are gone" in done.stdout) == (1, True)


def test_an_operator_who_puts_a_base_below_what_is_left_and_tells_nobody(whole: Site, pruned: Site) -> None:
    db = sqlite3.connect(pruned.ledger)
    [(base,)] = db.execute("SELECT document FROM base").fetchall()
    db.close()
    table = "CREATE TABLE base(id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB NOT NULL) STRICT"
    edited(
        whole.ledger,
        "DELETE FROM sealed WHERE leaf IN (SELECT leaf FROM entry WHERE seq < 256)",
        "DELETE FROM request_state WHERE leaf IN (SELECT leaf FROM entry WHERE seq < 256)",
        "DELETE FROM entry WHERE seq < 256",
        table,
        f"INSERT INTO base VALUES (1, x'{base.hex()}')",
        "PRAGMA user_version=2",
    )
    done = run("verify", "-c", whole.config)
    assert done.exit_code == 1
    assert done.stdout == (
        "FAIL  #256 is the first entry that is here, and no entry says that those before it were archived: they were "
        "taken away\n"
    )
    # The proxy does not start on it either.
    with pytest.raises(LedgerBroken, match="no entry says that they were archived"):
        start(whole)


def test_an_operator_who_takes_more_away_than_was_archived(pruned: Site) -> None:
    edited(pruned.ledger, "DELETE FROM entry WHERE seq < 300")
    done = run("verify", "-c", pruned.config)
    assert (done.exit_code, "says seq 300, expected 256: 44 entries are gone" in done.stdout) == (1, True)
    with pytest.raises(LedgerBroken, match="entry 256 is missing"):
        start(pruned)


@pytest.mark.parametrize(
    "forge",
    [
        lambda base: {**base, "used": {"highest": 0, "free": []}},
        lambda base: {**base, "roots": ["ab" * 32]},
        lambda base: {**base, "prev": "ab" * 32},
        lambda base: {key: value for key, value in base.items() if key != "allowed_signers"},
        lambda base: {**base, "sessions": []},
        lambda base: {**base, "size": 512},
        lambda base: {**base, "ledger": "else.where"},
    ],
    ids=["numbers", "roots", "prev", "roster", "sessions", "size", "ledger"],
)
def test_an_operator_who_forges_the_base(pruned: Site, forge: Callable[[object], object]) -> None:
    db = sqlite3.connect(pruned.ledger, isolation_level=None)
    [(raw,)] = db.execute("SELECT document FROM base").fetchall()
    forged = encode(forge(decode(raw)))  # type: ignore[arg-type]
    db.execute("UPDATE base SET document = ?", (forged,))
    db.close()
    assert run("verify", "-c", pruned.config).exit_code == 1
    # Also if the archive is given, and the base is not needed.
    assert together(pruned)[0] == 1
    with pytest.raises(LedgerBroken, match="the file stands on"):
        start(pruned)
    rest = pruned.folder / "rest"
    run("export", rest, "-c", pruned.config)
    if rest.exists():
        assert both_over_folder(rest, VKEY)[0]
        assert second_of(rest, pruned) == 1


def second_of(rest: Path, site: Site) -> int:
    words = [rest, "--key", VKEY, "--archive", site.folder / "a1"]
    return standalone.main([*map(str, words), "--quiet"])


@pytest.mark.parametrize("document", ["NULL", "'text'", "x'7b7d'", "x''"])
def test_what_is_no_base_at_all(pruned: Site, document: str) -> None:
    edited(pruned.ledger, "DELETE FROM base")
    if document != "NULL":
        db = sqlite3.connect(pruned.ledger, isolation_level=None)
        # The column takes bytes only.
        with contextlib.suppress(sqlite3.IntegrityError):
            db.execute(f"INSERT INTO base VALUES (1, {document})")
        db.close()
    done = run("verify", "-c", pruned.config)
    assert (done.exit_code, "FAIL  " in done.stdout) == (1, True)
    with pytest.raises(LedgerBroken):
        start(pruned)


def test_a_file_whose_version_and_tables_disagree_is_refused(whole: Site, pruned: Site) -> None:
    edited(whole.ledger, "PRAGMA user_version=2")
    assert "the file has no table base" in run("verify", "-c", whole.config).stdout
    edited(pruned.ledger, "PRAGMA user_version=1")
    assert "the file has a table 'base', which no ledger has" in run("verify", "-c", pruned.config).stdout
    for each in (whole, pruned):
        with pytest.raises(LedgerBroken):
            start(each)


def test_a_base_in_a_folder_that_is_changed_anywhere_is_found_by_both(pruned: Site) -> None:
    rest = pruned.folder / "rest"
    run("export", rest, "-c", pruned.config)
    assert both_over_folder(rest, VKEY)[0] == ()
    good = (rest / "base.json").read_bytes()
    for at in range(0, len(good), 150):
        (rest / "base.json").write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert both_over_folder(rest, VKEY)[0], at
    for other in (b"", b"{}", good[:-1], good + b"\n"):
        (rest / "base.json").write_bytes(other)
        assert both_over_folder(rest, VKEY)[0]
    (rest / "base.json").unlink()
    assert both_over_folder(rest, VKEY)[0]


def start(site: Site) -> None:
    """Open the ledger as a proxy does."""

    async def opening() -> None:
        store = await SqliteStore.open(site.ledger, LEDGER, PROXY_SEED, now=lambda: START)
        await store.close()

    asyncio.run(opening())
