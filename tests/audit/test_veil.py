"""What auditors are told of statements that hold secrets, and what an export hands over."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.audit.running import run
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import OPENED
from pgnotary.audit.story import stories
from pgnotary.audit.veil import NOTE, Veil
from pgnotary.cli.auditor import print_story
from pgnotary.ledger.canonical import JSON, decode, unb64
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.sample import Sample, SampleColumn, Value, sealed_rows

SECRET = "hunter2-of-eva"


pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def secretive() -> Ledger:
    """A ledger in which a secret stands wherever a text can stand."""
    ledger = Ledger().start()
    ledger.open_session()
    ledger.forward("select 1", f"select dblink_connect('host=h password={SECRET}')")
    ledger.ask(
        "R-1",
        statement=f"ALTER ROLE eva PASSWORD '{SECRET}'",
        reason=f"see postgres://eva:{SECRET}@db",
        kind="alter",
        why=f"the text cannot be read: syntax error at or near \"'{SECRET}'\"",
    )
    step = ledger.last["R-1"]
    sample = Sample(relation="public.links", columns=(SampleColumn(name="url"), SampleColumn(name="note")), rows=1)
    body: dict[str, JSON] = {"status": "partly", "took_us": 5, "sample": msgspec.to_builtins(sample)}
    rows = sealed_rows([(Value(f"postgres://eva:{SECRET}@db"), Value("plain"))])
    preview = Draft(EntryType.PREVIEW, body, step.session, "R-1", step.leaf, {"sample": rows})
    ledger.last["R-1"] = ledger.previews["R-1"] = ledger.append(preview)
    ledger.wait(30).decide("R-1")
    ledger.run("R-1")
    ledger.ask("R-2", statement="DELETE FROM orders")
    return ledger


@pytest.fixture
def folder(secretive: Ledger, tmp_path: Path) -> Path:
    """All of it, secrets too."""
    export_folder(secretive, tmp_path / "all", VKEY, secrets=True)
    return tmp_path / "all"


TELLING = [
    ["search", "--json"],
    ["search", "--forwarded"],
    ["search", "--forwarded", "--json"],
    ["replay", "R-1"],
    ["replay", "S-00000001"],
    ["export", "--csv", "-"],
]


@pytest.mark.parametrize("words", TELLING)
def test_a_secret_is_hidden_and_said_to_be(words: list[str], folder: Path) -> None:
    done = run(*words, "--ledger", folder, "--key", VKEY)
    assert done.exit_code == 0
    assert SECRET not in done.stdout
    assert "***" in done.stdout
    assert NOTE in done.stderr


@pytest.mark.parametrize("words", TELLING)
def test_it_is_shown_to_who_asks(words: list[str], folder: Path) -> None:
    done = run(*words, "--secrets", "--ledger", folder, "--key", VKEY)
    assert done.exit_code == 0
    assert SECRET in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["search"], ["report"], ["verify"]])
def test_what_tells_no_texts_tells_no_secret(words: list[str], folder: Path) -> None:
    done = run(*words, *(["--ledger"] if words != ["verify"] else []), folder, "--key", VKEY)
    assert done.exit_code == 0
    assert SECRET not in done.stdout + done.stderr


def test_the_note_is_about_what_was_printed(folder: Path) -> None:
    assert run("replay", "R-2", "--ledger", folder).stderr == ""
    assert run("search", "--json", "--text", "orders", "--ledger", folder).stderr == ""


def test_a_search_cannot_be_used_to_guess_a_secret(folder: Path) -> None:
    for words in ([], ["--forwarded"]):
        guessed = run("search", "--json", "--text", SECRET[:4], "--ledger", folder, *words)
        assert guessed.stdout == ""
        assert run("search", "--json", "--text", SECRET[:4], "--ledger", folder, "--secrets", *words).stdout != ""


def test_the_story_of_an_ended_request_is_veiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pgnotary.audit.folder import FolderReader

    print_story(FolderReader(folder), "R-1")
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert "ALTER ROLE eva PASSWORD '***'" in told.out
    print_story(FolderReader(folder), "R-1", secrets=True)
    assert SECRET in capsys.readouterr().out


def test_a_story_keeps_all_but_its_secrets(secretive: Ledger) -> None:
    told, bare = (next(stories(secretive.entries(), veil)) for veil in (Veil(), None))
    assert told.statement == "ALTER ROLE eva PASSWORD '***'"
    assert told.reason == "see postgres://eva:***@db"
    assert told.preview is not None
    assert SECRET not in told.why
    assert [step.leaf for step in told.steps] == [step.leaf for step in bare.steps]
    assert told.decision == bare.decision


def _values(folder: Path) -> Iterator[tuple[str, bytes]]:
    for line in (folder / OPENED).read_bytes().splitlines():
        fields = decode(line)
        yield str(fields["name"]), unb64(str(fields["value"]))


def test_an_export_withholds_values_that_hold_secrets_and_verifies(
    secretive: Ledger, folder: Path, tmp_path: Path
) -> None:
    done = run("export", tmp_path / "some", "--ledger", folder, "--key", VKEY)
    assert done.exit_code == 0
    assert "4 of the values withheld, because they hold secrets: --secrets writes them too" in done.stderr
    assert all(SECRET.encode() not in value for _, value in _values(tmp_path / "some"))
    assert sorted(name for name, _ in _values(tmp_path / "some")) == ["statement", "t1"]
    verified = run("verify", tmp_path / "some", "--key", VKEY)
    assert (verified.exit_code, "gap  4 sealed values are withheld\n" in verified.stdout) == (2, True)
    assert export_folder(secretive, tmp_path / "again", VKEY).secret == 4


def test_an_export_gives_them_whole_to_who_asks(folder: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "every", "--secrets", "--ledger", folder, "--key", VKEY)
    assert "hold secrets" not in done.stderr
    assert (tmp_path / "every" / OPENED).read_bytes() == (folder / OPENED).read_bytes()


def test_a_broken_ledger_is_exported_without_secrets_too(secretive: Ledger, tmp_path: Path) -> None:
    broken = next(i for i, each in enumerate(secretive.stored) if "statement" in each.opened)
    secretive.stored[broken] = type(secretive.stored[broken])(b"{", secretive.stored[broken].opened)
    export_folder(secretive, tmp_path / "broken", VKEY)
    assert all(SECRET.encode() not in value for _, value in _values(tmp_path / "broken"))


def test_the_table_has_no_secret(folder: Path) -> None:
    header, row, *_ = csv.reader(io.StringIO(run("export", "--csv", "-", "--ledger", folder).stdout))
    assert row[header.index("statement")] == "ALTER ROLE eva PASSWORD '***'"


def test_json_has_the_same_names_with_and_without(folder: Path) -> None:
    veiled, bare = (run("search", "--json", "--ledger", folder, *words).stdout for words in ([], ["--secrets"]))
    assert [json.loads(line).keys() for line in veiled.splitlines()] == [
        json.loads(line).keys() for line in bare.splitlines()
    ]


def test_the_rows_of_a_sample_are_told_without_the_secrets_in_them(folder: Path) -> None:
    told = run("replay", "R-1", "--ledger", folder).stdout
    assert "row 1: url 'postgres://eva:***@db', note 'plain'" in told
    assert f"row 1: url 'postgres://eva:{SECRET}@db'" in run("replay", "R-1", "--secrets", "--ledger", folder).stdout


def test_rows_that_are_withheld_are_said_to_be(secretive: Ledger, tmp_path: Path) -> None:
    export_folder(secretive, tmp_path / "some", VKEY, withhold=("sample",), secrets=True)
    assert "sample: 1 row of public.links, (withheld)" in run("replay", "R-1", "--ledger", tmp_path / "some").stdout
