"""Where a proxy's approval API is: a Unix socket of this machine, or a host that is reached by HTTPS.

What a person says enters, a `Place` leaves, or ConfigError; then a connection that has not been made yet. Plain HTTP
goes to loopback alone. Certificates are always verified, with the name of the host: against a file of authorities, or
of the server's own certificate, or else against those that this system trusts.
"""

import http.client
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pgnotary.errors import ConfigError

__all__ = ["DEFAULT_PORT", "Place", "Server", "UnixSocket", "is_loopback", "server_at"]

DEFAULT_PORT = 7443

_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket in the file system."""

    path: Path
    proxy: str = ""
    """The verifier key of its ledger, which calls are signed for; empty: they go unsigned."""

    def __str__(self) -> str:
        return str(self.path)

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """Return a connection to make calls with."""
        return _UnixConnection(self.path, timeout_s)


@dataclass(frozen=True, slots=True)
class Server:
    """A host that is reached by HTTPS, or on loopback by HTTP."""

    host: str
    port: int
    proxy: str
    """The verifier key of its ledger, which calls are signed for."""
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """Return a connection to make calls with."""
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=self.tls)


Place: TypeAlias = UnixSocket | Server


def server_at(url: str, proxy: str, ca: Path | None) -> Server:
    """Return the server at `https://host[:port]`; raises ConfigError.

    `proxy` is the verifier key of its ledger. `ca`: a PEM file of authorities, or of the certificate that it shows;
    None: those that this system trusts.
    """
    found = _URL.fullmatch(url)
    if found is None or not 0 < (port := int(found[3] or DEFAULT_PORT)) < 65_536:
        raise ConfigError(f"server is {url!r}: expected https://HOST or https://HOST:PORT")
    scheme, host = found[1], found[2].strip("[]")
    # No name server knows such a name, and looking it up is no OSError.
    if not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise ConfigError(f"server is {url!r:.200}: expected https://HOST with 1 to 63 characters between dots")
    if scheme == "https":
        return Server(host, port, proxy, _context(ca))
    if not is_loopback(host):
        raise ConfigError(f"server is {url!r}: expected https://, since plain HTTP is for loopback only")
    if ca is not None:
        raise ConfigError(f"server is {url!r}: expected https://, since there is a file of authorities ({ca})")
    return Server(host, port, proxy, None)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine and nothing else."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    # So that the file may hold the server's own certificate, and with it that one alone is trusted.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise ConfigError(f"{ca}: expected certificates in PEM: {error.strerror or error}") from error
    return context


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
