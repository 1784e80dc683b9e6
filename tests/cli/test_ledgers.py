"""Ledgers by name."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.approval.office import VKEY, key_file
from tests.cli.office import office

from pgnotary.cli import pgnotary


def _listed(folder: Path, text: str) -> None:
    (folder / "pgnotary").mkdir(exist_ok=True)
    (folder / "pgnotary" / "config.toml").write_text(text)


def _run(folder: Path, *words: str) -> Result:
    result = CliRunner().invoke(pgnotary, words, env={"XDG_CONFIG_HOME": str(folder)}, prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


async def test_a_name_stands_for_place_and_key_and_a_flag_beats_the_environment() -> None:
    async with office() as desk:
        desk.hold()
        key_file(desk.folder, "bo")
        (desk.folder / "prod.vkey").write_text(VKEY + "\n")
        _listed(
            desk.folder,
            f'[ledger.prod]\nsocket = "{desk.socket}"\nkey = "~/bo.key"\nproxy_key = "../prod.vkey"\n'
            '[ledger.else]\nsocket = "nowhere"\n',
        )
        away = {"PGNOTARY_SOCKET": None, "XDG_CONFIG_HOME": str(desk.folder)}
        deny = ("deny", f"R-1@{desk.context()}", "-m", "no", "--yes")
        assert (await desk.run("requests", "--at", "else", env=away)).exit_code == 7  # type: ignore[arg-type]
        environment = away | {"PGNOTARY_AT": "else"}
        result = await desk.run(*deny, "--at", "prod", env=environment)  # type: ignore[arg-type]
        assert result.exit_code == 0, result.stderr
        assert desk.taken.approver == "bo"


async def test_two_places_are_never_chosen_between() -> None:
    async with office() as desk:
        _listed(desk.folder, '[ledger.prod]\nsocket = "nowhere"\n')
        environment = {"XDG_CONFIG_HOME": str(desk.folder)}
        both = await desk.run("requests", "--at", "prod", "--socket", desk.socket, env=environment)
        assert (both.exit_code, "--at and --socket" in both.stderr) == (2, True)
        beside = await desk.run("requests", env=environment | {"PGNOTARY_AT": "prod"})
        assert beside.exit_code == 2, "PGNOTARY_SOCKET is set too"


def test_they_are_listed(tmp_path: Path) -> None:
    assert _run(tmp_path, "ledgers").exit_code == 0
    _listed(
        tmp_path,
        '[ledger.prod]\nserver = "https://db.example:7443"\nproxy_key = "prod.vkey"\nca_file = "/etc/ca.pem"\n'
        '[ledger.here]\nsocket = "/run/pgnotary/approvals.sock"\n',
    )
    folder = tmp_path / "pgnotary"
    assert _run(tmp_path, "ledgers").stdout.splitlines() == [
        f"prod  server https://db.example:7443  ca_file /etc/ca.pem  proxy_key {folder}/prod.vkey",
        "here  socket /run/pgnotary/approvals.sock",
    ]
    assert json.loads(_run(tmp_path, "ledgers", "--json").stdout)[1] == {
        "ledger": "here", "socket": "/run/pgnotary/approvals.sock",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[ledger.prod", "is not TOML"),
        ("[ledger.prod]\n", 'ledger.prod: expected either server = "https://HOST:PORT" or socket'),
        ('[ledger.prod]\nserver = "https://a"\nsocket = "b"\n', "ledger.prod: expected either"),
        ('[ledger.prod]\nserver = "https://a"\n', "ledger.prod.proxy_key: expected"),
        ('[ledger.prod]\nsocket = "a"\nca_file = "b"\n', "ledger.prod.ca_file: expected beside server"),
        ("[ledger.prod]\nsocket = 7\n", "$.ledger[...].socket"),
        ('[ledger.prod]\nsockets = "a"\n', "unknown field `sockets`"),
        ('[ledgers.prod]\nsocket = "a"\n', "unknown field `ledgers`"),
        ('[ledger."a b"]\nsocket = "a"\n', "expected a name of letters"),
        ('[ledger."\\u001b[2J"]\nsocket = "a"\n', "expected a name of letters"),
        ('[ledger.test]\nsocket = "a"\n', "expected [ledger.prod], which --at names; it has test"),
        ('[ledger.prod]\nserver = "http://db.example"\nproxy_key = "k"\n', "the proxy's key cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_file_key_and_expectation(text: str, told: str, tmp_path: Path) -> None:
    _listed(tmp_path, text)
    result = _run(tmp_path, "requests", "--at", "prod")
    assert result.exit_code in {2, 5}
    assert told in result.stderr
    assert str(tmp_path) in result.stderr
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_can_write_is_not_believed(mode: int, tmp_path: Path) -> None:
    _listed(tmp_path, '[ledger.prod]\nsocket = "a"\n')
    (tmp_path / "pgnotary" / "config.toml").chmod(mode)
    result = _run(tmp_path, "ledgers")
    assert (result.exit_code, f"mode {mode:04o}" in result.stderr) == (2, True)


@pytest.mark.parametrize("named", ["proxy_key", "ca_file"])
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_key_or_a_certificate_that_others_can_write_names_no_proxy(named: str, mode: int, tmp_path: Path) -> None:
    _listed(tmp_path, '[ledger.prod]\nserver = "https://127.0.0.1:1"\nproxy_key = "proxy_key"\nca_file = "ca_file"\n')
    folder = tmp_path / "pgnotary"
    for each in ("proxy_key", "ca_file"):
        (folder / each).write_text(VKEY)
        (folder / each).chmod(0o644)
    (folder / named).chmod(mode)
    result = _run(tmp_path, "requests", "--at", "prod")
    assert result.exit_code == 2
    assert f"{folder / named}: others can write it (mode {mode:04o}), and so choose which proxy you" in result.stderr
    # The list still tells of it, and what a command names itself is believed instead.
    assert _run(tmp_path, "ledgers").exit_code == 0
    (folder / "named").write_text(VKEY)
    option = "--proxy-key" if named == "proxy_key" else "--ca"
    beaten = _run(tmp_path, "requests", "--at", "prod", option, str(folder / "named"))
    assert "others can write" not in beaten.stderr


def test_a_home_that_nobody_has_is_told_in_one_line(tmp_path: Path) -> None:
    _listed(tmp_path, '[ledger.prod]\nsocket = "~nobody-of-that-name/s"\n')
    for words in (("requests", "--at", "prod"), ("key", "show", "--person", "bo", "--key", "~nobody-of-that-name/k")):
        result = _run(tmp_path, *words)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "whose home is that?" in result.stderr


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_key_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    assert _run(tmp_path, "key", "show", "--person", "bo", "--key", "/dev/zero").exit_code == 5
