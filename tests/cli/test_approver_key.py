"""A key for an approver."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgnotary.cli import pgnotary
from pgnotary.request.openssh import fingerprint, read_private_key, read_public_line
from pgnotary.request.roster import parse_roster

# key new


def test_a_new_key_is_for_its_owner_alone_and_fits_the_roster(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bo"
    result = CliRunner().invoke(pgnotary, ["key", "new", "--out", str(path), "--person", "bo@corp"])
    assert result.exit_code == 0, result.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = read_private_key(path.read_text())
    [signer] = parse_roster(result.stdout).signers
    assert (signer.person, signer.public, signer.namespaces) == ("bo@corp", private.public, ("decision@pgnotary",))
    assert result.stdout.startswith('bo@corp namespaces="decision@pgnotary" ssh-ed25519 AAAA')
    assert read_public_line((tmp_path / "new" / "bo.pub").read_text()).public == private.public
    assert fingerprint(private.public) in result.stderr
    again = CliRunner().invoke(pgnotary, ["key", "new", "--out", str(path), "--person", "bo@corp"])
    assert again.exit_code == 2
    assert read_private_key(path.read_text()) == private


def test_a_key_that_may_redact_is_for_both_purposes(tmp_path: Path) -> None:
    words = ["key", "new", "--out", str(tmp_path / "rita"), "--person", "rita", "--redactor"]
    [signer] = parse_roster(CliRunner().invoke(pgnotary, words).stdout).signers
    assert signer.namespaces == ("decision@pgnotary", "redaction@pgnotary")


def test_the_key_of_an_engineer_decides_nothing(tmp_path: Path) -> None:
    words = ["key", "new", "--out", str(tmp_path / "eva"), "--person", "eva", "--engineer"]
    [signer] = parse_roster(CliRunner().invoke(pgnotary, words).stdout).signers
    assert signer.namespaces == ("request@pgnotary",)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_ssh_keygen_reads_a_new_key(tmp_path: Path) -> None:
    path = tmp_path / "bo"
    assert CliRunner().invoke(pgnotary, ["key", "new", "--out", str(path), "--person", "bo"]).exit_code == 0
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True)
    assert done.stdout.split()[:2] == (tmp_path / "bo.pub").read_text().split()[:2]


@pytest.mark.parametrize("taken", ["bo", "bo.pub"])
def test_a_new_key_overwrites_nothing(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("precious")
    result = CliRunner().invoke(pgnotary, ["key", "new", "--out", str(tmp_path / "bo")])
    assert result.exit_code == 2
    assert "not overwritten" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


@pytest.mark.parametrize("name", ["two words", "*", "a,b", "bo\nana"])
def test_a_name_that_no_roster_can_hold_makes_no_key(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(pgnotary, ["key", "new", "--out", str(tmp_path / "bo"), "--person", name])
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())
