"""TLS on both legs: what we show to clients, what we demand of PostgreSQL, and to what a login can be bound.

Files that the configuration names enter; a `ServerTls` (our certificate, ready to be shown) or a client's context
leaves, or ConfigError. TLS below 1.2, compression, renegotiation and session tickets do not happen here. A session of
TLS 1.2 may be taken up by its id, with what was verified when it began, until the certificate is read again: a new one
has a memory of its own. Private keys that need a passphrase are refused, not asked for.

Sources: PostgreSQL 18, "SSL Support", "SSL Session Encryption"; be_tls_init() in src/backend/libpq/be-secure-openssl.c;
RFC 5929, section 4 (tls-server-end-point); RFC 7301 (ALPN).
"""

import contextlib
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asn1crypto.x509 import Certificate  # type: ignore[import-untyped]  # asn1crypto has no py.typed

from pgnotary.errors import ConfigError

__all__ = ["ALPN", "ALPN_HTTP", "ServerTls", "certificate_names", "end_point", "server_tls", "upstream_context"]

# PG_ALPN_PROTOCOL in src/include/libpq/pqcomm.h.
ALPN = "postgresql"
# RFC 7301, section 6: what callers of the approval API speak.
ALPN_HTTP = "http/1.1"

# Names of a certificate that are told apart by the words of openssl's configuration, not by where they happen to be.
_ALTERNATIVE_NAMES = frozenset({"DNS", "URI", "email"})


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What clients are shown, as it was when the files were read; it never changes."""

    context: ssl.SSLContext = field(repr=False)
    end_point: bytes | None
    """What SCRAM-SHA-256-PLUS binds to; None for a certificate whose signature has no hash: then it is not offered."""
    required: bool
    """A client that goes on in plain text is refused."""


def server_tls(certificate: Path, key: Path, client_ca: Path | None, *, required: bool, alpn: str = ALPN) -> ServerTls:
    """Return what to show to clients; raises ConfigError if the files cannot be used, or do not belong together.

    `certificate` holds ours in PEM, then those between it and its authority. With `client_ca` a client's certificate is
    asked for: one that none of these authorities has signed, or that has expired, ends the handshake; none at all does
    not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, alpn)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _PassphraseNeeded:
        raise ConfigError(f"{key}: the key is encrypted: expected one without a passphrase") from None
    except OSError as error:
        raise ConfigError(f"{certificate}, {key}: expected a certificate and its key in PEM: {_why(error)}") from error
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        _trust(context, client_ca)
    return ServerTls(context, end_point(_shown_by(context)), required)


def upstream_context(ca: Path | None) -> ssl.SSLContext:
    """Return a context that takes nobody for PostgreSQL but who has a good certificate for the name that is dialled.

    `ca` is a file of authorities in PEM; None: those that the system trusts. Raises ConfigError if it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, ca)
    return context


def end_point(certificate: bytes) -> bytes | None:
    """Return tls-server-end-point of a certificate in DER; None if its signature has no hash of its own.

    RFC 5929: by the hash of its signature algorithm; "if [it] is either MD5 or SHA-1, then use SHA-256".
    """
    algorithm = Certificate.load(certificate)["signature_algorithm"]
    # PostgreSQL and libpq know no hash for these, although asn1crypto names the one inside.
    if algorithm["algorithm"].native in ("ed25519", "ed448"):
        return None
    try:
        name = algorithm.hash_algo
    except ValueError:
        return None
    if name in ("md5", "sha1"):
        name = "sha256"
    return hashlib.new(name, certificate).digest() if name in hashlib.algorithms_guaranteed else None


def certificate_names(peer: ssl.SSLObject) -> frozenset[str]:
    """Return the names in a peer's verified certificate: `CN:eva`, `email:eva@example.com`, `DNS:...`, `URI:...`.

    Empty without a certificate. Of several common names none is returned: nobody could say which of them is meant.
    """
    found: Mapping[str, object] = peer.getpeercert() or {}
    common: list[str] = []
    names: set[str] = set()
    match found.get("subject", ()):
        case tuple(subject):
            common = [value for part in subject for name, value in part if name == "commonName"]
    match found.get("subjectAltName", ()):
        case tuple(alternatives):
            names = {f"{kind}:{value}" for kind, value in alternatives if kind in _ALTERNATIVE_NAMES}
    return frozenset(names | ({f"CN:{common[0]}"} if len(common) == 1 else set()))


def _harden(context: ssl.SSLContext, alpn: str = ALPN) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([alpn])


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise ConfigError(f"{ca}: expected certificates of authorities in PEM: {_why(error)}") from error


def _shown_by(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a client will see, in DER.

    Seen in a handshake, not read from the file: that may have been replaced since the context read it.
    """
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname = False
    looking.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = looking.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return client.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        raise ConfigError(f"the certificate cannot be used for TLS: {_why(error)}") from error


class _PassphraseNeeded(Exception):
    pass


def _no_passphrase() -> str:
    raise _PassphraseNeeded


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
