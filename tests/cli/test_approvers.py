"""The roster, changed where it stands."""

import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.approval.office import SEEDS, public_of

from pgnotary.cli import pgnotary
from pgnotary.cli.exits import Failed
from pgnotary.cli.roster_text import without
from pgnotary.errors import BadSignature
from pgnotary.request import sshsig
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.request.roster import Signer, parse_roster
from pgnotary.setup import replace_text


def _line(person: str, of: str | None = None) -> str:
    return Signer(person, public_of(SEEDS[of or person]), ("decision@pgnotary",)).line


TEXT = f"# the people of the shop\n\n{_line('ana')}\n  # bo is on call\n{_line('bo')}\r\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pgnotary.toml"
    path.write_text("")
    (tmp_path / "allowed_signers").write_text(TEXT, newline="")
    (tmp_path / "allowed_signers").chmod(0o640)
    return path


def _run(config: Path, *words: str, stdin: str = "") -> Result:
    words = ("approvers", *words, "--config", str(config))
    result = CliRunner().invoke(pgnotary, words, input=stdin, prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def _text(config: Path) -> str:
    return (config.parent / "allowed_signers").read_bytes().decode()


def test_everybody_is_listed_with_their_keys(config: Path) -> None:
    lines = _run(config, "list").stdout.splitlines()
    assert lines == [f"{each:<3}  {fingerprint(public_of(SEEDS[each]))}  decision@pgnotary" for each in ("ana", "bo")]
    listed = json.loads(_run(config, "list", "--json").stdout)
    assert [(each["person"], each["counts"]) for each in listed] == [("ana", True), ("bo", True)]


def test_a_line_is_added_and_everything_else_kept(config: Path) -> None:
    result = _run(config, "add", _line("eva"))
    assert result.exit_code == 0, result.stderr
    assert "SIGHUP" in result.stderr
    assert _text(config) == TEXT + _line("eva") + "\n"
    assert stat.S_IMODE((config.parent / "allowed_signers").stat().st_mode) == 0o640


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_public_key_is_added_for_a_person_that_is_named(way: str, config: Path) -> None:
    text = public_line(public_of(SEEDS["eva"]), "mallory@else") + "\n"
    path = config.parent / "eva.pub"
    path.write_text(text)
    words = ("add", str(path) if way == "file" else "-")
    assert _run(config, *words, stdin=text).exit_code == 2, "whose it is, its comment does not say"
    assert _run(config, *words, "--person", "eva@corp", stdin=text).exit_code == 0
    [*_, added] = parse_roster(_text(config)).signers
    assert (added.person, added.public, added.namespaces) == (
        "eva@corp", public_of(SEEDS["eva"]), ("decision@pgnotary",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "namespaces"),
    [
        (("--engineer",), ("request@pgnotary",)),
        (("--redactor",), ("decision@pgnotary", "redaction@pgnotary")),
        (("--engineer", "--redactor"), ("request@pgnotary", "redaction@pgnotary")),
    ],
)
def test_what_a_key_is_for_is_said(options: tuple[str, ...], namespaces: tuple[str, ...], config: Path) -> None:
    key = public_line(public_of(SEEDS["eva"]))
    assert _run(config, "add", key, "--person", "eva", *options).exit_code == 0
    assert parse_roster(_text(config)).signers[-1].namespaces == namespaces


@pytest.mark.parametrize(
    ("what", "more"),
    [
        (_line("eva", "bo"), ()),
        (_line("ANA", "eva"), ()),
        (_line("eva") + "\n" + _line("mallory"), ()),
        ("* " + public_line(public_of(SEEDS["eva"])), ()),
        ("eva cert-authority " + public_line(public_of(SEEDS["eva"])), ()),
        (public_line(public_of(SEEDS["eva"])), ("--person", "eva mallory")),
        (public_line(public_of(SEEDS["eva"])), ("--person", "eva\nmallory")),
        ("ssh-rsa AAAA", ("--person", "eva")),
        ("", ()),
        ("nonsense", ()),
        (_line("eva"), ("--person", "ana")),
        (_line("eva"), ("--engineer",)),
        ("# only a comment", ()),
    ],
)
def test_what_no_roster_can_hold_is_refused_and_nothing_changed(what: str, more: tuple[str, ...], config: Path) -> None:
    result = _run(config, "add", what, *more)
    assert result.exit_code == 2, result.stderr
    assert _text(config) == TEXT


def test_a_key_that_counts_for_everything_is_said(config: Path) -> None:
    result = _run(config, "add", f"eva {public_line(public_of(SEEDS['eva']))}")
    assert "counts for everything" in result.stderr


@pytest.mark.parametrize("who", ["bo", fingerprint(public_of(SEEDS["bo"]))])
def test_a_revoked_key_counts_no_longer_from_that_moment_and_its_line_stays(who: str, config: Path) -> None:
    before = datetime.now(UTC)
    assert _run(config, "revoke", who).exit_code == 0
    ana, bo = parse_roster(_text(config)).signers
    assert (ana.valid_before, bo.public) == (None, public_of(SEEDS["bo"]))
    roster = parse_roster(_text(config))
    with pytest.raises(BadSignature, match="was valid until"):
        roster.find(bo.public, datetime.now(UTC))
    assert roster.find(bo.public, before - timedelta(seconds=2)).person == "bo"
    assert "# the people of the shop\n\n" in _text(config)
    assert "# bo is on call" in _text(config)
    again = _run(config, "revoke", who)
    assert (again.exit_code, "was revoked before" in again.stderr) == (6, True)
    assert "DOES NOT COUNT NOW" in _run(config, "list").stdout


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_ssh_keygen_reads_a_revoked_key_as_we_do(config: Path) -> None:
    assert _run(config, "revoke", "bo").exit_code == 0
    signature = config.parent / "sig"
    signature.write_text(sshsig.sign(b"yes", SEEDS["bo"], "decision@pgnotary"))
    roster = config.parent / "allowed_signers"
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(roster), "-I", "bo"]
    verify += ["-n", "decision@pgnotary", "-s", str(signature)]
    now = subprocess.run(verify, input=b"yes", check=False, capture_output=True)
    then = datetime.now(UTC) - timedelta(hours=1)
    earlier = [*verify, "-O", f"verify-time={then:%Y%m%d%H%M%SZ}"]
    assert now.returncode != 0
    assert subprocess.run(earlier, input=b"yes", check=False, capture_output=True).returncode == 0


def test_a_key_that_has_not_counted_yet_becomes_a_comment() -> None:
    at = datetime(2026, 11, 27, 12, tzinfo=UTC)
    later = Signer("eva", public_of(SEEDS["eva"]), None, at + timedelta(days=1)).line
    changed, ended = without(f"{TEXT}{later}\n", "eva", at)
    assert [each.person for each in ended] == ["eva"]
    assert f"# revoked 2026-11-27T12:00:00Z, before it counted: {later}\n" in changed
    assert parse_roster(changed).people == ("ana", "bo")


def test_all_keys_of_a_person_are_revoked_together() -> None:
    text = _line("ana") + "\n" + _line("ana", "eva") + "\n" + _line("bo")
    changed, ended = without(text, "ana", datetime.now(UTC))
    assert len(ended) == 2
    assert [each.valid_before is None for each in parse_roster(changed).signers] == [False, False, True]
    with pytest.raises(Failed, match="nobody on the roster"):
        without(text, "mallory", datetime.now(UTC))


def test_the_last_one_is_revoked_with_a_word_about_it(config: Path) -> None:
    assert "nobody is left" not in _run(config, "revoke", "ana").stderr
    assert "nobody is left" in _run(config, "revoke", "bo").stderr


def test_of_two_changes_at_once_neither_undoes_the_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other: list[subprocess.Popen[bytes]] = []

    def slowly(path: Path, text: bytes) -> None:
        # It has time enough to change the roster in between.
        words = ["approvers", "revoke", "bo", "--config", str(config)]
        other.append(subprocess.Popen([sys.executable, "-m", "pgnotary.cli", *words]))
        with suppress(subprocess.TimeoutExpired):
            other[0].wait(1.5)
        replace_text(path, text)

    monkeypatch.setattr("pgnotary.cli.approvers.replace_text", slowly)
    assert _run(config, "add", _line("eva")).exit_code == 0
    assert other[0].wait(20) == 0
    ends = {each.person: each.valid_before is not None for each in parse_roster(_text(config)).signers}
    assert ends == {"ana": False, "bo": True, "eva": False}


def test_a_roster_that_is_a_link_stays_one(config: Path) -> None:
    roster = config.parent / "allowed_signers"
    roster.rename(config.parent / "elsewhere")
    roster.symlink_to("elsewhere")
    assert _run(config, "revoke", "bo").exit_code == 0
    assert roster.is_symlink()
    assert "valid-before" in (config.parent / "elsewhere").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_roster_that_cannot_be_written_is_left_as_it_is(config: Path) -> None:
    config.parent.chmod(0o500)
    try:
        assert _run(config, "revoke", "bo").exit_code == 2
    finally:
        config.parent.chmod(0o700)
    assert _text(config) == TEXT
