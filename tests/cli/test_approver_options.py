"""Where the proxy is and which key is meant."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.approval.office import (
    key_file,
)
from tests.cli.office import office

from pgnotary.cli import pgnotary

# Options.


async def test_the_configuration_names_the_socket_and_a_flag_beats_the_environment() -> None:
    async with office() as desk:
        desk.hold()
        config = desk.folder / "pgnotary.toml"
        config.write_text(f'[approval]\nsocket = "{desk.socket.name}"\n')
        nowhere = {"PGNOTARY_SOCKET": str(desk.folder / "nowhere")}
        assert (await desk.run("requests", "--config", config, env=nowhere)).exit_code == 0
        assert (await desk.run("requests", env=nowhere | {"PGNOTARY_CONFIG": str(config)})).exit_code == 7
        assert (await desk.run("requests", "--config", desk.folder / "none.toml")).exit_code == 2


async def test_without_a_place_it_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGNOTARY_SOCKET", raising=False)
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)
    result = CliRunner().invoke(pgnotary, ["requests"])
    assert result.exit_code == 2
    assert "--socket PATH or --config FILE" in result.stderr


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
async def test_a_private_key_that_others_can_read_is_refused(mode: int) -> None:
    async with office() as desk:
        desk.hold()
        key = key_file(desk.folder, "bo", mode)
        result = await desk.run("deny", f"R-1@{desk.context()}", "-m", "why", "--yes", "--key", key)
        assert result.exit_code == 5
        assert f"mode {mode:04o}" in result.stderr
        assert desk.desk.taken == []


async def test_a_key_is_looked_for_at_home() -> None:
    async with office() as desk:
        desk.hold()
        words = ("deny", f"R-1@{desk.context()}", "-m", "why", "--yes")
        result = await desk.run(*words)
        assert result.exit_code == 5
        assert "pgnotary key new" in result.stderr
        ssh = desk.folder / ".ssh"
        ssh.mkdir()
        key_file(desk.folder, "mallory").rename(ssh / "id_ed25519")
        assert "nobody on the roster" in (await desk.run(*words)).stderr
        own = desk.folder / ".config" / "pgnotary"
        own.mkdir(parents=True)
        key_file(desk.folder, "bo").rename(own / "id_ed25519")
        assert (await desk.run(*words)).exit_code == 0


@pytest.mark.parametrize("text", ["", "nonsense", "ssh-ed25519 AAAA"])
async def test_a_file_that_is_no_private_key_is_named(text: str) -> None:
    async with office() as desk:
        desk.hold()
        path = desk.folder / "key"
        path.write_text(text)
        path.chmod(0o600)
        result = await desk.run("deny", "R-1@" + "9b1f22aa" * 8, "-m", "why", "--yes", "--key", path)
        assert result.exit_code == 5
        assert str(path) in result.stderr


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
async def test_a_key_with_a_passphrase_is_met_with_advice_that_can_be_followed() -> None:
    async with office() as desk:
        desk.hold()
        path = desk.folder / "locked"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(path)]
        await asyncio.to_thread(lambda: subprocess.run(make, check=True, stdin=subprocess.DEVNULL))
        result = await desk.run("deny", "R-1@" + "9b1f22aa" * 8, "-m", "why", "--yes", "--key", path)
        assert result.exit_code == 5
        assert "ssh-add" in result.stderr
        assert "`pgnotary key new`" in result.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--server", "https://db.example"), "say --proxy-key FILE"),
        (("--server", "http://db.example", "--proxy-key", "{vkey}"), "expected https://"),
        (("--server", "db.example:7443", "--proxy-key", "{vkey}"), "expected https://HOST"),
        (
            ("--server", "https://db.example", "--proxy-key", "{vkey}", "--socket", "{vkey}"),
            "--socket and --server name different places",
        ),
        (("--server", "https://db.example", "--proxy-key", "{vkey}", "--ca", "/none"), "/none: expected certificates"),
    ],
)
async def test_a_server_is_reached_by_https_with_the_key_that_calls_are_signed_for(
    words: tuple[str, ...], why: str
) -> None:
    async with office() as desk:
        vkey = str(desk.folder / "proxy.vkey")
        result = await desk.run(
            "requests", *(word.format(vkey=vkey) for word in words), "--key", key_file(desk.folder, "bo")
        )
        assert result.exit_code == 2
        assert why in " ".join(result.stderr.split())


async def test_a_server_on_the_command_line_beats_a_socket_in_the_environment() -> None:
    async with office() as desk:
        words = ("--server", "http://127.0.0.1:1", "--proxy-key", desk.folder / "proxy.vkey")
        result = await desk.run("requests", *words, "--key", key_file(desk.folder, "bo"))
        assert result.exit_code == 7
        assert "http://127.0.0.1:1" in result.stderr
