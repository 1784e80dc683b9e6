"""The certificate in force: what new connections are shown, read again when the operator asks for it.

The configuration enters; what clients are shown leaves, or None if TLS is not configured, and how PostgreSQL is
dialled. Files that cannot be used change nothing: the certificate before stays in force, and the log says why. A
connection keeps what it was shown.
"""

import logging

from pgnotary.config import Config
from pgnotary.errors import ConfigError
from pgnotary.serve.tls import ServerTls, server_tls, upstream_context
from pgnotary.serve.upstream import UpstreamAddress

__all__ = ["CertificateInForce", "upstream_of"]

log = logging.getLogger(__name__)


class CertificateInForce:
    """The certificate of one proxy; called, it says what to show now. ConfigError if the first cannot be used."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._shown = _read(config)

    def __call__(self) -> ServerTls | None:
        """Return what a connection that comes now is shown."""
        return self._shown

    def reload(self) -> None:
        """Read the files again."""
        try:
            shown = _read(self._config)
        except ConfigError as error:
            log.warning("the certificate was not reloaded, the one before stays in force: %s", error)
            return
        self._shown = shown
        if shown is not None:
            log.info("the certificate was reloaded from %s", self._config.file.listen.tls.certificate_file)


def _read(config: Config) -> ServerTls | None:
    tls = config.file.listen.tls
    if not tls.certificate_file:
        return None
    client_ca = config.near(tls.client_ca_file) if tls.client_ca_file else None
    certificate, key = config.near(tls.certificate_file), config.near(tls.key_file)
    return server_tls(certificate, key, client_ca, required=config.tls_required)


def upstream_of(config: Config) -> UpstreamAddress:
    """Return where PostgreSQL is and how it proves that; raises ConfigError if its authorities cannot be read."""
    named, address = config.file.upstream, config.upstream
    if named.tls == "disable":
        return UpstreamAddress(address.host, address.port)
    ca = config.near(named.ca_file) if named.ca_file else None
    return UpstreamAddress(address.host, address.port, upstream_context(ca))
