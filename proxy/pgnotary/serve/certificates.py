"""The certificates in force: what new connections are shown, read again when the operator asks for it.

The configuration enters; what clients are shown leaves, and what callers of the approval API are, or None where TLS is
not configured; and how PostgreSQL is dialled. Files that cannot be used change nothing: the certificate before stays in
force, and the log says why. A connection keeps what it was shown.
"""

import logging
from collections.abc import Callable

from pgnotary.config import Config
from pgnotary.errors import ConfigError
from pgnotary.serve.tls import ALPN_HTTP, ServerTls, server_tls, upstream_context
from pgnotary.serve.upstream import UpstreamAddress

__all__ = ["CertificateInForce", "read_for_approval", "read_for_clients", "upstream_of"]

log = logging.getLogger(__name__)


class CertificateInForce:
    """The certificate of one listener; called, it says what to show now. ConfigError if the first cannot be used.

    By default that of the listener for clients.
    """

    def __init__(self, config: Config, read: Callable[[Config], ServerTls | None] | None = None) -> None:
        self._config = config
        self._read = read or read_for_clients
        self._shown = self._read(config)

    def __call__(self) -> ServerTls | None:
        """Return what a connection that comes now is shown."""
        return self._shown

    def reload(self) -> None:
        """Read the files again."""
        try:
            shown = self._read(self._config)
        except ConfigError as error:
            log.warning("the certificate was not reloaded, the one before stays in force: %s", error)
            return
        self._shown = shown
        if shown is not None:
            log.info("the certificate was reloaded as %s says", self._config.path)


def read_for_clients(config: Config) -> ServerTls | None:
    """Return what clients are shown; raises ConfigError."""
    tls = config.file.listen.tls
    if not tls.certificate_file:
        return None
    client_ca = config.near(tls.client_ca_file) if tls.client_ca_file else None
    certificate, key = config.near(tls.certificate_file), config.near(tls.key_file)
    return server_tls(certificate, key, client_ca, required=config.tls_required)


def read_for_approval(config: Config) -> ServerTls | None:
    """Return what callers of the approval API are shown; raises ConfigError."""
    tls = config.file.approval.tls
    if not tls.certificate_file:
        return None
    certificate, key = config.near(tls.certificate_file), config.near(tls.key_file)
    return server_tls(certificate, key, None, required=True, alpn=ALPN_HTTP)


def upstream_of(config: Config) -> UpstreamAddress:
    """Return where PostgreSQL is and how it proves that; raises ConfigError if its authorities cannot be read."""
    named, address = config.file.upstream, config.upstream
    if named.tls == "disable":
        return UpstreamAddress(address.host, address.port)
    ca = config.near(named.ca_file) if named.ca_file else None
    return UpstreamAddress(address.host, address.port, upstream_context(ca))
