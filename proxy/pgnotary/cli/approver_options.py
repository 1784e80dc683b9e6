"""What the approver's commands have in common: how to reach the proxy, which request is meant, which keys are at hand.

Options, environment and files enter; a place, a target and keys leave. A flag beats the environment; a private key that
others can read is refused, as ssh refuses it.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from pgnotary.approval.memory import Memory
from pgnotary.config import load
from pgnotary.errors import BadCheckpoint, BadKey
from pgnotary.ledger.checkpoint import parse_vkey
from pgnotary.request.openssh import PrivateKey, read_private_key

__all__ = [
    "DEFAULT_KEY",
    "Place",
    "ProxyKey",
    "Target",
    "config_option",
    "heads_option",
    "key_option",
    "load_key",
    "load_proxy_key",
    "memory_of",
    "place_of",
    "proxy_key_option",
    "read_target",
    "socket_option",
]

DEFAULT_KEY = Path("~/.config/pgnotary/id_ed25519")
DEFAULT_HEADS = Path("~/.local/state/pgnotary/heads")
_SSH_KEY = Path("~/.ssh/id_ed25519")
_CONFIG = Path("pgnotary.toml")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_TARGET = re.compile(r"(R-[1-9][0-9]{0,17})(?:@([0-9A-Fa-f]{8,64}))?")
_FILE = click.Path(path_type=Path, dir_okay=False)

socket_option = click.option(
    "--socket", "socket_path", type=_FILE, envvar="PGNOTARY_SOCKET", metavar="PATH", help="The proxy's approval socket."
)
config_option = click.option(
    "--config", "-c", type=_FILE, envvar="PGNOTARY_CONFIG", help="Where the socket is named.  [default: pgnotary.toml]"
)
key_option = click.option(
    "--key",
    "key_path",
    type=_FILE,
    envvar="PGNOTARY_KEY",
    help=f"Your private key.  [default: {DEFAULT_KEY} or {_SSH_KEY}]",
)
proxy_key_option = click.option(
    "--proxy-key",
    type=_FILE,
    envvar="PGNOTARY_PROXY_KEY",
    help="The proxy's verifier key.  [default: proxy.vkey beside the socket]",
)


heads_option = click.option(
    "--heads",
    "heads_path",
    type=_FILE,
    envvar="PGNOTARY_HEADS",
    help=f"Where ledgers' heads are remembered.  [default: {DEFAULT_HEADS}]",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A request, and the first hex digits of its leaf if they were said."""

    id: str
    prefix: str = ""


def read_target(_ctx: click.Context, _param: click.Parameter, value: str) -> Target:
    """Read `R-1` or `R-1@9b1f22aa`, as an argument's callback."""
    found = _TARGET.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is not R-1, or R-1@ and at least 8 hex digits of its digest")
    return Target(found[1], (found[2] or "").lower())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is."""

    socket: Path
    ledger: Path | None = None
    """Its ledger's file, if a configuration names one that we can read."""


def place_of(ctx: click.Context, socket_path: Path | None, config: Path | None) -> Place:
    """Return where the proxy is that is meant; raises ConfigError or UsageError."""
    config_said = ctx.get_parameter_source("config") is ParameterSource.COMMANDLINE
    socket_said = ctx.get_parameter_source("socket_path") is ParameterSource.COMMANDLINE
    if socket_path is not None and (socket_said or not config_said):
        return Place(socket_path)
    if config is None and not _CONFIG.is_file():
        raise click.UsageError(f"where is the proxy? there is no ./{_CONFIG}: say --socket PATH or --config FILE")
    loaded = load(config or _CONFIG)
    return Place(loaded.socket, loaded.ledger_file if os.access(loaded.ledger_file, os.R_OK) else None)


def load_key(path: Path | None) -> PrivateKey:
    """Return the approver's key; raises BadKey if there is none, or one that others can read."""
    if path is None:
        candidates = [each.expanduser() for each in (DEFAULT_KEY, _SSH_KEY)]
        path = next((each for each in candidates if each.exists()), None)
    if path is None:
        raise BadKey("you have no key yet: make one with `pgnotary key new`, or say --key FILE")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                raise BadKey(f"{path}: others can read this private key (mode {mode:04o}): chmod 600 it")
            return read_private_key(file.read(65_536))
    except OSError as error:
        raise BadKey(f"{path}: cannot be read: {error.strerror}") from error
    except BadKey as error:
        said = str(error).removeprefix(f"{path}: ")
        if "passphrase" in said:
            # Whatever OpenSSH could do with it: no command takes a signature that was made elsewhere.
            said = (
                "this private key is protected by a passphrase, which is not asked for here: "
                "make another key with `pgnotary key new`, or take the passphrase off a copy with ssh-keygen -p"
            )
        raise BadKey(f"{path}: {said}") from error


def memory_of(path: Path | None) -> Memory:
    """Return where this person's machine remembers heads: the XDG base directory for state, unless said otherwise."""
    if path is not None:
        return Memory(path)
    state = os.environ.get("XDG_STATE_HOME", "")
    # "All paths set in these environment variables must be absolute. [...] consider the path invalid and ignore it."
    return Memory(Path(state, "pgnotary", "heads") if Path(state).is_absolute() else DEFAULT_HEADS.expanduser())


@dataclass(frozen=True, slots=True)
class ProxyKey:
    """The key that a proxy's heads are checked with."""

    text: str
    said: bool
    """Whether the approver has named it; otherwise it lay beside the socket, where who runs the proxy has put it."""


def load_proxy_key(path: Path | None, socket_path: Path) -> ProxyKey | None:
    """Return the proxy's verifier key, or None if none is known; raises BadCheckpoint if it cannot be read."""
    said = path is not None
    if path is None:
        path = socket_path.parent / "proxy.vkey"
        if not path.exists():
            return None
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise BadCheckpoint(f"{path}: the proxy's key cannot be read: {error.strerror}") from error
    return ProxyKey(parse_vkey(text).text, said)
