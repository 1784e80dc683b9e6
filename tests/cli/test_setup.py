"""`init`, `user add`, `check`: what is wrong is said in one line, before anything is written."""

import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result
from tests.flow.served import until

from pgnotary.cli import pgnotary
from pgnotary.config import load
from pgnotary.errors import ConfigError
from pgnotary.request.roster import Signer, parse_roster
from pgnotary.request.sshsig import DECISION_NAMESPACE
from pgnotary.setup import NewFile, check_person, ledger_name, make_folder, write_new

DSN = "postgresql://app:secret-words@127.0.0.1:5432/shop"


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(pgnotary, list(words), input=stdin)


def refused(result: Result) -> str:
    """Return what a failed command said: one line, no traceback, no password."""
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    (said,) = [line for line in result.stderr.splitlines() if not line.startswith(("Usage:", "Try '")) and line]
    assert "secret-words" not in said
    return said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `init` writes when it is not told another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)
    return tmp_path / "pgnotary"


@pytest.fixture
def made(folder: Path) -> Path:
    """The configuration in a folder that `init` has written."""
    result = run("init", "--upstream", DSN)
    assert result.exit_code == 0, result.output
    return folder / "pgnotary.toml"


# --- init -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--upstream", "postgresql://u:secret-words@127.0.0.1:99999/shop"], ["--upstream", "65535"]),
        (["--upstream", "postgresql://u:secret-words@127.0.0.1:port/shop"], ["--upstream", "65535"]),
        (["--upstream", "postgresql://u:secret-words@[::1/shop"], ["--upstream", "expected postgresql://"]),
        (["--upstream", "mysql://u:secret-words@127.0.0.1/shop"], ["--upstream", "expected postgresql://"]),
        (["--upstream", "postgresql://127.0.0.1/shop"], ["--upstream", "expected postgresql://role"]),
        (["--upstream", f"{DSN}?sslmode=require"], ["sslmode", "not carried"]),
        (["--upstream", f"{DSN}?connect_timeout=3&options=-cx"], ["connect_timeout, options", "not carried"]),
        (["--upstream", "postgresql://u:secret#words@127.0.0.1/shop"], ["%23"]),
        (["--upstream", "postgresql://u:secret-words@db.example.com/shop"], ["upstream.address", "db.example.com"]),
        (["--listen", "foo"], ["listen.address is 'foo'", "host:port"]),
        (["--listen", "127.0.0.1:²"], ["listen.address", "host:port"]),
        (["--listen", "0.0.0.0:6432"], ["listen.address", "loopback"]),
        (["--name", "vm/Shop"], ["ledger.name is 'vm/Shop'"]),
        (["--approver", "../../x"], ["'../../x'"]),
        (["--approver", "a/../../x"], ["'a/../../x'", "no slash"]),
        (["--approver", "a b"], ["'a b' cannot be an approver's name"]),
        (["--approver", ""], ["'' cannot be an approver's name"]),
        (["--upstream", "postgresql://..%2F..%2Fx:secret-words@127.0.0.1/shop"], ["'../../x'", "no slash"]),
        (["--user", "x" * 70], ["63 characters, not 70"]),
        (["--user", ""], ["63 characters, not 0"]),
        (["--user", "a\nb"], ["control characters"]),
        (["--user", "bo"], ["both 'bo'", "nobody decides over their own requests"]),
        (["--user", "Bo"], ["both 'Bo'"]),
        (["--folder", "/proc/no/such"], ["cannot be written"]),
        (["--folder", "/dev/null/x"], ["cannot be written"]),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_an_init_that_fails_leaves_nothing_and_the_corrected_one_works(
    folder: Path, options: list[str], words: list[str]
) -> None:
    said = refused(run("init", "--upstream", DSN, *options))
    for word in words:
        assert word in said
    assert list(folder.parent.rglob("*")) == []
    assert run("init", "--upstream", DSN).exit_code == 0


@pytest.mark.parametrize(
    ("database", "name"), [("Shop", "shop"), ("my%20db", "my-db"), ("Gesch%C3%A4ft", "gesch-ft"), ("a%2Fb", "a-b")]
)
def test_a_database_of_any_name_gets_a_legal_ledger_name(folder: Path, database: str, name: str) -> None:
    result = run("init", "--upstream", f"postgresql://u:p@127.0.0.1/{database}")
    assert result.exit_code == 0, result.output
    assert load(folder / "pgnotary.toml").file.ledger.name.endswith(f"/{name}")
    assert f"/{database}'" in result.output or f"/{database}\n" in result.output


def test_a_long_machine_name_still_makes_a_ledger_name() -> None:
    assert ledger_name("VM_1." + "x" * 200, "shop").startswith("vm_1.xxx")
    assert len(ledger_name("x" * 200, "shop")) == 100


def test_the_ledger_has_the_name_that_was_said(folder: Path) -> None:
    assert run("init", "--upstream", DSN, "--name", "shop.example.com/main").exit_code == 0
    assert load(folder / "pgnotary.toml").key().name == "shop.example.com/main"
    assert (folder / "proxy.vkey").read_text().startswith("shop.example.com/main+")


def test_init_into_a_folder_that_has_one_of_its_files_writes_none_of_the_others(folder: Path) -> None:
    folder.mkdir()
    (folder / "allowed_signers").write_text("mine")
    assert "exists already" in refused(run("init", "--upstream", DSN))
    assert [path.name for path in folder.rglob("*")] == ["allowed_signers"]
    assert (folder / "allowed_signers").read_text() == "mine"


def test_init_writes_into_the_folder_where_it_stands(folder: Path) -> None:
    assert run("init", "--upstream", DSN, "--folder", ".").exit_code == 0
    assert run("check").exit_code == 0


def test_a_role_without_a_password_needs_no_file_for_one(folder: Path) -> None:
    assert run("init", "--upstream", "postgresql://app@127.0.0.1/shop").exit_code == 0
    assert load(folder / "pgnotary.toml").password("app") == ""
    assert not (folder / "secrets").exists()


def test_the_folder_of_a_unix_socket_can_stand_in_a_dsn(folder: Path) -> None:
    assert run("init", "--upstream", "postgresql://app@%2FRun%2Fpg:5433/shop").exit_code == 0
    upstream = load(folder / "pgnotary.toml").upstream
    assert (upstream.host, upstream.port) == ("/Run/pg", 5433)


def test_every_line_that_init_prints_can_be_pasted_whatever_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init", "--upstream", "postgresql://u:p@[::1]/a b", "--folder", "my folder", "--user", "eva o")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.stdout.splitlines()}
    psql, url = shlex.split(lines["engineer"])
    assert psql == "psql"
    parts = urlsplit(url)
    assert (parts.username, parts.hostname, parts.path) == ("eva%20o", "127.0.0.1", "/a%20b")
    done = subprocess.run(lines["auditor"].replace("verify", "check"), shell=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    key = shlex.split(lines["approver"])[-1]
    assert Path(key).is_file()


# --- write_new ------------------------------------------------------------------------------------------------------


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match="taken: exists already"):
        write_new(NewFile(tmp_path / "a" / "b" / "new", "x"), NewFile(tmp_path / "taken", "y"))
    assert [path.name for path in tmp_path.rglob("*")] == ["taken"]


@pytest.mark.parametrize(
    "name", ["a b", "a\tb", "a\u00a0b", "", "#a", "-a", "a*", "a,b", 'a"', "a\nb ssh-ed25519", "x" * 129]
)
def test_who_cannot_stand_on_a_roster_is_no_approver(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be an approver's name"):
        check_person(name)


@pytest.mark.parametrize("name", ["bo", "bo@example.com", "team/bo", "x" * 128])
def test_who_can_stand_on_a_roster_may_be_an_approver(name: str) -> None:
    check_person(name)


def test_a_key_for_a_name_with_a_blank_is_refused_in_words_about_the_name(tmp_path: Path) -> None:
    said = refused(run("key", "new", "--person", "a b", "--out", str(tmp_path / "key")))
    assert "'a b' cannot be an approver's name" in said
    assert list(tmp_path.iterdir()) == []


# --- user add -------------------------------------------------------------------------------------------------------


def test_a_user_is_added_with_a_verifier_and_the_file_keeps_its_mode(made: Path) -> None:
    made.chmod(0o640)
    result = run("user", "add", "ana", "--config", str(made), stdin="her password\n")
    assert result.exit_code == 0, result.output
    added = load(made).user("ana")
    assert added is not None
    assert added.role == "app"
    assert "her password" not in made.read_text()
    assert made.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in made.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 70, "63 characters, not 70"),
        ("", "63 characters, not 0"),
        ('a"b', "no quotes"),
        ("a\x1b[2J", "control characters"),
        ("eva", "stands there already"),
    ],
)
def test_a_user_that_cannot_be_leaves_the_configuration_as_it_was(made: Path, name: str, words: str) -> None:
    before = made.read_bytes()
    said = refused(run("user", "add", name, "--config", str(made), stdin="password\n"))
    assert words in said
    assert made.read_bytes() == before
    assert run("check", "--config", str(made)).exit_code == 0


def test_a_user_without_a_password_is_not_added(made: Path) -> None:
    before = made.read_bytes()
    assert "no password on stdin" in refused(run("user", "add", "ana", "--config", str(made)))
    assert made.read_bytes() == before


def test_a_user_of_one_role_among_several_must_say_which(made: Path) -> None:
    with made.open("a") as file:
        file.write('[[role]]\nname = "other"\n')
    said = refused(run("user", "add", "ana", "--config", str(made), stdin="password\n"))
    assert "--role: expected one of app, other" in said
    assert run("user", "add", "ana", "-c", str(made), "--role", "other", stdin="password\n").exit_code == 0
    user = load(made).user("ana")
    assert user is not None
    assert user.role == "other"


def test_a_configuration_behind_a_symbolic_link_stays_behind_it(made: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(made)
    assert run("user", "add", "ana", "--config", str(link), stdin="password\n").exit_code == 0
    assert link.is_symlink()
    assert load(made).user("ana") is not None


def test_check_prints_how_many_rules_there_are_and_their_digest(made: Path) -> None:
    policy = load(made).policy
    rules = f", profile default, {len(policy.rules)} rules, policy {policy.digest}, ledger "
    assert rules in run("check", "--config", str(made)).output
    made.write_text(made.read_text() + '[[policy.rule]]\nname = "a"\nresult = "hold"\n')
    assert f", {len(policy.rules) + 1} rules, policy {load(made).policy.digest}, " in (
        run("check", "--config", str(made)).output
    )
    assert load(made).policy.digest != policy.digest


@pytest.mark.parametrize(
    ("person", "on_roster", "noted"),
    [
        ("", "eva@corp", True),
        ("eva@corp", "Eva", True),
        ("EVA@corp", "eva@corp", False),
        ("", "eva", False),
        ("", "bo@corp", False),
    ],
)
def test_check_notes_who_may_be_somebody_on_the_roster_under_another_name(
    made: Path, person: str, on_roster: str, noted: bool
) -> None:
    made.write_text(made.read_text().replace('name = "eva"\n', f'name = "eva"\nperson = "{person}"\n'))
    line = Signer(on_roster, bytes(range(32)), (DECISION_NAMESPACE,)).line
    (made.parent / "allowed_signers").write_text(f"{line}\n")
    result = run("check", "--config", str(made))
    assert result.exit_code == 0, result.output
    assert (f"which has {on_roster}: if that is the same person" in result.stderr) is noted


# --- check and serve look at the same things ------------------------------------------------------------------------


def _a_verifier_of_nonsense(config: Path) -> str:
    text = config.read_text()
    start = text.index('verifier = "') + len('verifier = "')
    config.write_text(text[:start] + "nonsense" + text[text.index('"', start) :])
    return "user 'eva': verifier: not a SCRAM verifier"


def _a_ledger_that_is_a_folder(config: Path) -> str:
    (config.parent / "ledger.db").mkdir()
    return "ledger.file is 'ledger.db': expected a file"


def _a_ledger_in_no_folder(config: Path) -> str:
    config.write_text(config.read_text().replace("[ledger]", '[ledger]\nfile = "no/such/ledger.db"'))
    return "ledger.file is 'no/such/ledger.db': expected a file"


def _no_password(config: Path) -> str:
    (config.parent / "secrets" / "app").unlink()
    return "role app: password_file is 'secrets/app', which cannot be read"


def _no_key(config: Path) -> str:
    (config.parent / "proxy.key").unlink()
    return "ledger.key_file is 'proxy.key', which cannot be read"


def _no_roster(config: Path) -> str:
    (config.parent / "allowed_signers").unlink()
    return "approval.roster is 'allowed_signers', which cannot be read"


@pytest.mark.parametrize(
    "fault",
    [_a_verifier_of_nonsense, _a_ledger_that_is_a_folder, _a_ledger_in_no_folder, _no_password, _no_key, _no_roster],
)
@pytest.mark.parametrize("word", ["check", "serve"])
def test_what_serve_would_need_and_does_not_find_is_said_before_it_starts(made: Path, fault: object, word: str) -> None:
    assert callable(fault)
    expected = fault(made)
    said = refused(run(word, "--config", str(made)))
    assert expected in said
    assert not (made.parent / "pgnotary.sock").exists()


def beside_sqlite(told: str) -> list[str]:
    """The lines that do not warn of the SQLite that this Python comes with."""
    return [line for line in told.splitlines() if "WAL-reset" not in line]


def test_a_port_that_is_taken_is_said_in_one_line(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made.write_text(made.read_text().replace("127.0.0.1:6432", f"127.0.0.1:{port}"))
        done = subprocess.run(
            [sys.executable, "-m", "pgnotary.cli", "serve", "--config", str(made)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = beside_sqlite(done.stderr)
    assert "listen.address: cannot listen at 127.0.0.1 port" in line
    assert str(port) in line
    assert line.endswith("address already in use; stop what listens there, or choose another port")


def test_a_ledger_that_another_proxy_holds_is_said_in_one_line(made: Path) -> None:
    made.write_text(made.read_text().replace("127.0.0.1:6432", "127.0.0.1:0"))
    command = [sys.executable, "-m", "pgnotary.cli", "serve", "--config", str(made)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as first:
        try:
            assert first.stderr is not None
            until((made.parent / "pgnotary.sock").exists, "the first proxy to listen")
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        finally:
            first.send_signal(signal.SIGTERM)
    assert done.returncode == 2
    (line,) = beside_sqlite(done.stderr)
    assert f"is in use by process {first.pid}" in line


# --- the files that are shipped -------------------------------------------------------------------------------------


def test_the_example_of_a_roster_can_be_read() -> None:
    roster = parse_roster(Path("config/allowed_signers.example").read_text())
    assert roster.people == ("ana", "bo")
    assert [signer.valid_before is not None for signer in roster.signers] == [False, True]


def test_making_a_folder_twice_changes_nothing(tmp_path: Path) -> None:
    def make() -> Path:
        return make_folder(
            tmp_path, listen="127.0.0.1:0", upstream="127.0.0.1:1", role="app", password="x", name="localhost/shop"
        )

    before = {path: path.read_bytes() for path in make().parent.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="exists already"):
        make()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert before
