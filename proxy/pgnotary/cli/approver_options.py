"""What the approver's commands have in common: how to reach the proxy, which key is meant, which heads are remembered.

Options, environment and files enter; a place and a memory leave. A flag beats the environment, and that beats a list of
ledgers by name.

A proxy is reached by its Unix socket, or over HTTPS. There each call is signed, for this one proxy: its verifier key
must be known beforehand, or it could have calls signed that it then makes elsewhere in the caller's name.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.memory import Memory
from pgnotary.approval.place import Server, UnixSocket, server_at
from pgnotary.cli.known_places import at_home, known_places, list_path, only_ours
from pgnotary.config import load
from pgnotary.errors import BadCheckpoint, ConfigError
from pgnotary.ledger.checkpoint import parse_vkey
from pgnotary.request.signs import Signs

__all__ = [
    "DEFAULT_KEY",
    "SSH_KEY",
    "Place",
    "ProxyKey",
    "Where",
    "at_proxy",
    "heads_option",
    "key_option",
    "memory_of",
    "place_in",
    "proxy_key_option",
    "read_vkey",
]

DEFAULT_KEY = Path("~/.config/pgnotary/id_ed25519")
DEFAULT_HEADS = Path("~/.local/state/pgnotary/heads")
SSH_KEY = Path("~/.ssh/id_ed25519")
_CONFIG = Path("pgnotary.toml")
_PLACING = ("at", "socket_path", "config", "server", "ca", "proxy_key")

_FILE = click.Path(path_type=Path, dir_okay=False)


def _names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        return [CompletionItem(each.name) for each in known_places() if each.name.startswith(incomplete)]
    except ConfigError:
        return []


_socket_option = click.option(
    "--socket", "socket_path", type=_FILE, envvar="PGNOTARY_SOCKET", metavar="PATH", help="The proxy's approval socket."
)
_config_option = click.option(
    "--config", "-c", type=_FILE, envvar="PGNOTARY_CONFIG", help="Where the socket is named.  [default: pgnotary.toml]"
)
_at_option = click.option(
    "--at",
    envvar="PGNOTARY_AT",
    metavar="NAME",
    shell_complete=_names,
    help="The ledger of that name in your config.toml; see `pgnotary ledgers`.",
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
    help=f"Your private key; or a .pub, if an ssh-agent holds it.  [default: {DEFAULT_KEY}, {SSH_KEY}, an agent's]",
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
    own_key: Path | None = None
    """The file of the key that its user signs with there, if their list of ledgers names one."""

    def proxy_key(self) -> ProxyKey | None:
        """Return the proxy's verifier key, or None if none is known; raises BadCheckpoint if it cannot be read."""
        if self.named_key is not None:
            return ProxyKey(read_vkey(self.named_key), said=True)
        if isinstance(self.api, Server):
            return ProxyKey(self.api.proxy, said=True)
        beside = self.api.path.parent / "proxy.vkey"
        return ProxyKey(read_vkey(beside), said=False) if beside.exists() else None

    def client(self, key: Callable[[], Signs], timeout_s: float = 10.0) -> ApprovalClient:
        """Return a client; only over HTTPS it needs the caller's key, and signs each call."""
        return ApprovalClient(self.api, key() if isinstance(self.api, Server) else None, timeout_s)

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

    @_at_option
    @_socket_option
    @_config_option
    @_server_option
    @_ca_option
    @proxy_key_option
    @click.pass_context
    @functools.wraps(command)
    def placed(
        ctx: click.Context,
        /,
        *arguments: object,
        **rest: object,
    ) -> None:
        for name in _PLACING:
            del rest[name]
        command(*arguments, where=lambda: place_in(ctx), **rest)

    return placed


def place_in(ctx: click.Context) -> Place:
    """Return where the proxy is that the words of a command mean; raises ConfigError, BadCheckpoint or UsageError."""
    at, socket_path, config, server, ca, proxy_key = (ctx.params.get(name) for name in _PLACING)
    given = {"at": at, "socket_path": socket_path, "server": server, "config": config}
    said = [name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    # A configuration beside a socket says nothing more of the place.
    meant = [name for name in said or given if given[name] is not None and name != "config"]
    if len(meant) > 1:
        words = " and ".join(f"--{name.removesuffix('_path')}" for name in meant)
        raise click.UsageError(f"where is the proxy? {words} name different places: say one of them")
    if meant == ["at"] and at is not None:
        return _known(at, ca, proxy_key)
    if meant == ["server"] and server is not None:
        if proxy_key is None:
            raise click.UsageError(
                "calls over HTTPS are signed for one proxy: say --proxy-key FILE, the proxy.vkey that its operator "
                "has given you"
            )
        return Place(server_at(server, read_vkey(proxy_key), ca), named_key=proxy_key)
    if meant and socket_path is not None:
        return Place(UnixSocket(socket_path), named_key=proxy_key)
    if config is None and not _CONFIG.is_file():
        raise click.UsageError(
            f"where is the proxy? there is no ./{_CONFIG}: say --socket PATH or --config FILE, "
            "--server URL or --at NAME"
        )
    loaded = load(config or _CONFIG)
    readable = os.access(loaded.ledger_file, os.R_OK)
    return Place(UnixSocket(loaded.socket), loaded.ledger_file if readable else None, proxy_key)


def _known(name: str, ca: Path | None, proxy_key: Path | None) -> Place:
    """Return the place of a ledger that has a name here; what the command says of it beats the list."""
    places = {each.name: each for each in known_places()}
    if (found := places.get(name)) is None:
        known = ", ".join(sorted(places)) or "none"
        raise ConfigError(f"{list_path()}: expected [ledger.{name}], which --at names; it has {known}")
    vkey = proxy_key or (found.proxy_key and only_ours(found.proxy_key))
    if found.socket is not None:
        return Place(UnixSocket(found.socket), named_key=vkey, own_key=found.key)
    if found.server is None or vkey is None:
        raise ConfigError(f"{list_path()}: ledger.{name}: expected server and proxy_key, or socket")
    ca = ca or (found.ca and only_ours(found.ca))
    return Place(server_at(found.server, read_vkey(vkey), ca), named_key=vkey, own_key=found.key)


def memory_of(path: Path | None) -> Memory:
    """Return where this person's machine remembers heads: the XDG base directory for state, unless said otherwise."""
    if path is not None:
        return Memory(path)
    state = os.environ.get("XDG_STATE_HOME", "")
    # "All paths set in these environment variables must be absolute. [...] consider the path invalid and ignore it."
    return Memory(Path(state, "pgnotary", "heads") if Path(state).is_absolute() else at_home(DEFAULT_HEADS))


def read_vkey(path: Path) -> str:
    """Return the verifier key in a file; raises BadCheckpoint if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise BadCheckpoint(f"{path}: the proxy's key cannot be read: {error.strerror}") from error
    return parse_vkey(text).text
