"""Ledgers by name: the list that a person keeps of the proxies that they decide for.

The file `config.toml` enters, places by name leave, or ConfigError names file, key and expectation. Its paths are
relative to its folder, `~` is the home of whoever runs the command. A name that is not in the list is never guessed.
Neither the list nor a file by which it says whom to believe counts if others can write it.

    [ledger.prod]
    server = "https://db.example:7443"    # or socket = "..."
    ca_file = "prod-ca.pem"
    proxy_key = "prod.vkey"
    key = "~/.ssh/id_ed25519"
"""

import contextlib
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pgnotary.errors import ConfigError

__all__ = ["KnownPlace", "at_home", "known_places", "list_path", "only_ours"]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MAX_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: str = ""
    socket: str = ""
    ca_file: str = ""
    proxy_key: str = ""
    key: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ledger: dict[str, _Said] = {}


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """How to reach a proxy, as the list says; either `server` or `socket` is there."""

    name: str
    server: str | None
    socket: Path | None
    ca: Path | None
    proxy_key: Path | None
    key: Path | None


def at_home(path: Path) -> Path:
    """Return a path with the home that its `~` means; raises ConfigError if there is none, or nobody of that name."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: whose home is that? expected HOME to be set, or an account of that name") from error


def list_path() -> Path:
    """Return where the list is: the XDG base directory for configuration says so."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else at_home(Path("~/.config"))
    return folder / "pgnotary" / "config.toml"


def known_places() -> list[KnownPlace]:
    """Return the list, in its order; empty if there is no such file. Raises ConfigError."""
    path = list_path()
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    # It says whose proxy keys are believed: what it names counts as named by its owner.
    _check_mode(path, mode)
    try:
        file = msgspec.convert(tomllib.loads(content.decode()), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    return [_place(path, name, said) for name, said in file.ledger.items()]


def only_ours(path: Path) -> Path:
    """Return where the list says that a verifier key or a certificate is; raises ConfigError if others can write it.

    What is not there, or cannot be looked at, is for whoever reads it to say.
    """
    with contextlib.suppress(OSError):
        _check_mode(path, stat.S_IMODE(path.stat().st_mode))
    return path


def _check_mode(path: Path, mode: int) -> None:
    if mode & _OTHERS_WRITE:
        raise ConfigError(
            f"{path}: others can write it (mode {mode:04o}), and so choose which proxy you believe: chmod go-w it"
        )


def _place(path: Path, name: str, said: _Said) -> KnownPlace:
    of = f"{path}: ledger.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{path}: ledger {name!r:.80}: expected a name of letters, digits and . _ -")
    if bool(said.server) == bool(said.socket):
        raise ConfigError(f'{of}: expected either server = "https://HOST:PORT" or socket = "PATH"')
    if said.server and not said.proxy_key:
        raise ConfigError(f"{of}.proxy_key: expected the file of the proxy's verifier key, beside server")
    if said.ca_file and not said.server:
        raise ConfigError(f"{of}.ca_file: expected beside server only; a socket has no certificate")

    def near(value: str) -> Path | None:
        return path.parent / at_home(Path(value)) if value else None

    return KnownPlace(
        name, said.server or None, near(said.socket), near(said.ca_file), near(said.proxy_key), near(said.key)
    )
