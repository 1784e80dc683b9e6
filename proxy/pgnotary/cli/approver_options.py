"""What the approver's commands have in common: how to reach the proxy, which request is meant, which keys are at hand.

Options, environment and files enter; a place, a target and keys leave. A flag beats the environment; a private key that
others can read is refused, as ssh refuses it.

A proxy is reached by its Unix socket, or over HTTPS. There each call is signed, for this one proxy: its verifier key
must be known beforehand, or it could have calls signed that it then makes elsewhere in the caller's name.
"""

import functools
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import click
from click.core import ParameterSource

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.memory import Memory
from pgnotary.approval.place import Server, UnixSocket, server_at
from pgnotary.config import load
from pgnotary.errors import BadCheckpoint, BadKey
from pgnotary.ledger.checkpoint import parse_vkey
from pgnotary.request.openssh import PrivateKey, read_private_key
from pgnotary.request.signs import Signs

__all__ = [
    "DEFAULT_KEY",
    "Place",
    "ProxyKey",
    "Target",
    "Where",
    "at_proxy",
    "heads_option",
    "key_option",
    "load_key",
    "memory_of",
    "read_target",
]

DEFAULT_KEY = Path("~/.config/pgnotary/id_ed25519")
DEFAULT_HEADS = Path("~/.local/state/pgnotary/heads")
_SSH_KEY = Path("~/.ssh/id_ed25519")
_CONFIG = Path("pgnotary.toml")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_TARGET = re.compile(r"(R-[1-9][0-9]{0,17})(?:@([0-9A-Fa-f]{8,64}))?")
_FILE = click.Path(path_type=Path, dir_okay=False)

_socket_option = click.option(
    "--socket", "socket_path", type=_FILE, envvar="PGNOTARY_SOCKET", metavar="PATH", help="The proxy's approval socket."
)
_config_option = click.option(
    "--config", "-c", type=_FILE, envvar="PGNOTARY_CONFIG", help="Where the socket is named.  [default: pgnotary.toml]"
)
_server_option = click.option(
    "--server",
    envvar="PGNOTARY_SERVER",
    metavar="URL",
    help="The proxy's approval API, https://HOST:PORT; needs --proxy-key.",
)
_ca_option = click.option(
    "--ca",
    type=_FILE,
    envvar="PGNOTARY_CA",
    help="PEM: who may vouch for the server, or its own certificate.  [default: those the system trusts]",
)
key_option = click.option(
    "--key",
    "key_path",
    type=_FILE,
    envvar="PGNOTARY_KEY",
    help=f"Your private key.  [default: {DEFAULT_KEY} or {_SSH_KEY}]",
)
_proxy_key_option = click.option(
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
class ProxyKey:
    """The key that a proxy's heads are checked with."""

    text: str
    said: bool
    """Whether the approver has named it; otherwise it lay beside the socket, where who runs the proxy has put it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is, and what is known of it here."""

    api: UnixSocket | Server
    ledger: Path | None = None
    """Its ledger's file, if a configuration names one that we can read."""
    named_key: Path | None = None
    """The file of its verifier key, if it was said."""

    def proxy_key(self) -> ProxyKey | None:
        """Return the proxy's verifier key, or None if none is known; raises BadCheckpoint if it cannot be read."""
        if self.named_key is not None:
            return ProxyKey(_read_vkey(self.named_key), said=True)
        if isinstance(self.api, Server):
            return ProxyKey(self.api.proxy, said=True)
        beside = self.api.path.parent / "proxy.vkey"
        return ProxyKey(_read_vkey(beside), said=False) if beside.exists() else None

    def client(self, key: Callable[[], Signs]) -> ApprovalClient:
        """Return a client; only over HTTPS it needs the caller's key, and signs each call."""
        return ApprovalClient(self.api, key() if isinstance(self.api, Server) else None)

    def signing_client(self, key: Signs) -> ApprovalClient:
        """Return a client that signs each call on the Unix socket too; raises UsageError if nobody knows for whom."""
        if isinstance(self.api, Server):
            return ApprovalClient(self.api, key)
        if (found := self.proxy_key()) is None:
            raise click.UsageError("this call is signed for one proxy: say --proxy-key FILE, its verifier key")
        return ApprovalClient(UnixSocket(self.api.path, found.text), key)


Where: TypeAlias = Callable[[], Place]
"""Works out where the proxy is; raises ConfigError, BadCheckpoint or UsageError."""


def at_proxy(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the proxy is; the command gets as `where` what works that out, or raises."""

    @_socket_option
    @_config_option
    @_server_option
    @_ca_option
    @_proxy_key_option
    @click.pass_context
    @functools.wraps(command)
    def placed(
        ctx: click.Context,
        /,
        *arguments: object,
        socket_path: Path | None,
        config: Path | None,
        server: str | None,
        ca: Path | None,
        proxy_key: Path | None,
        **rest: object,
    ) -> None:
        def where() -> Place:
            return _place_of(ctx, socket_path, config, server, ca, proxy_key)

        command(*arguments, where=where, **rest)

    return placed


def _place_of(
    ctx: click.Context,
    socket_path: Path | None,
    config: Path | None,
    server: str | None,
    ca: Path | None,
    proxy_key: Path | None,
) -> Place:
    """Return where the proxy is that is meant; raises ConfigError, BadCheckpoint or UsageError."""
    given = {"socket_path": socket_path, "server": server, "config": config}
    said = [name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    # A configuration beside a socket says nothing more of the place.
    meant = [name for name in said or given if given[name] is not None and name != "config"]
    if len(meant) > 1:
        raise click.UsageError("where is the proxy? a socket and a server are named: say --socket PATH or --server URL")
    if meant == ["server"] and server is not None:
        if proxy_key is None:
            raise click.UsageError(
                "calls over HTTPS are signed for one proxy: say --proxy-key FILE, the proxy.vkey that its operator "
                "has given you"
            )
        return Place(server_at(server, _read_vkey(proxy_key), ca), named_key=proxy_key)
    if meant and socket_path is not None:
        return Place(UnixSocket(socket_path), named_key=proxy_key)
    if config is None and not _CONFIG.is_file():
        raise click.UsageError(
            f"where is the proxy? there is no ./{_CONFIG}: say --socket PATH or --config FILE, or --server URL"
        )
    loaded = load(config or _CONFIG)
    readable = os.access(loaded.ledger_file, os.R_OK)
    return Place(UnixSocket(loaded.socket), loaded.ledger_file if readable else None, proxy_key)


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


def _read_vkey(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise BadCheckpoint(f"{path}: the proxy's key cannot be read: {error.strerror}") from error
    return parse_vkey(text).text
